"""`vhbench data manifest` and `data split`: from a feature file of one's own to a protocol."""

import h5py
import numpy as np
import pytest

from vhbench.datasets.manifest_protocol import load_manifest
from vhbench.testing.files import write_hdf5

CLIPS = [f"v_{name}_g{group:02}_c{clip:02}" for name in ("Jump", "Run") for group in range(1, 6) for clip in (1, 2)]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VHBENCH_CACHE", str(tmp_path / "cache"))


def write(path, names=CLIPS, **data_sets):
    rng = np.random.default_rng(0)
    write_hdf5(path, rng.standard_normal((len(names), 3, 4)).astype(np.float32))
    with h5py.File(path, "a") as file:
        for name, values in {"names": names, **data_sets}.items():
            if values is not None:
                file[name] = values
    return path


def table(text):
    """The lines of the sides by their first word: the numbers in them."""
    lines = [line.split() for line in text.splitlines()]
    return {
        line[0]: [word for word in line if word[0].isdigit()]
        for line in lines
        if line and line[0] in ("train", "query")
    }


def test_extracted_features_become_a_protocol(vhbench, tmp_path):
    (tmp_path / "deep").mkdir()
    features = write(tmp_path / "deep" / "feats.h5", labels=np.repeat([0, 1], 10), classes=["Jump", "Run"])
    result = vhbench("data", "manifest", features, "--split", "0.8", "--by", "group", "-o", tmp_path / "own.toml")
    assert result.code == 0 and result.out.splitlines()[-1] == str(tmp_path / "own.toml")
    assert table(result.out) == {"train": ["16", "2", "8", "8"], "query": ["4", "2", "2", "2"]}
    [split] = load_manifest(tmp_path / "own.toml").load(None)
    assert split.name == "own" and split.relevance.class_names == ("Jump", "Run")
    assert len(split.query.videos) == 4 and sorted([*split.query.names, *split.train.names]) == sorted(CLIPS)
    assert 'features = ["deep/feats.h5"]' in (tmp_path / "own.toml").read_text()
    again = vhbench("data", "split", tmp_path / "own.toml")
    assert again.out.splitlines()[0] == "own: 0.2 of the videos are queries, by group, seed 0"
    assert table(again.out) == table(result.out) and "problem" not in again.out


@pytest.mark.parametrize("name", ["v_{}_g{:02}_c01.avi", "x/{}/clip{}.avi"])
def test_names_tell_the_classes(vhbench, tmp_path, name):
    names = [name.format(c, n) for c in ("Jump", "Run") for n in range(5)]
    write(tmp_path / "feats.h5", names)
    result = vhbench(
        "data", "manifest", tmp_path / "feats.h5", "--split", "0.6", "--by", "class", "-o", tmp_path / "p.toml"
    )
    assert result.code == 0, result.err
    assert (tmp_path / "p.classes.txt").read_text() == "Jump\n" * 5 + "Run\n" * 5
    assert table(result.out)["query"][:3] == ["4", "2", "2"]


def test_clips_of_one_scene_on_both_sides_are_said(vhbench, tmp_path):
    write(tmp_path / "feats.h5", labels=np.repeat([0, 1], 10))
    out = vhbench("data", "manifest", tmp_path / "feats.h5", "--split", "0.5", "-o", tmp_path / "own.toml").out
    assert "problem: " in out and 'clips of one scene are on both sides; by = "group" keeps them apart' in out
    result = vhbench("data", "verify", tmp_path / "own.toml")
    assert result.code == 0 and "sound, with 1 problem" in result.out and "clips of one scene" in result.out
    (tmp_path / "own.toml").write_text((tmp_path / "own.toml").read_text().replace('"random"', '"group"'))
    result = vhbench("data", "verify", tmp_path / "own.toml")
    assert "problem" not in result.out and result.out.strip().endswith("sound")
    [split] = load_manifest(tmp_path / "own.toml").load(None)
    for role, digest in split.digests().items():
        assert role == "relevance" or digest in result.out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--split", "1"], "above 0 and below 1, not 1."),
        (["--split", "0"], "above 0 and below 1, not 0."),
        (["--split", "0.8", "--by", "grup"], "did you mean 'group'?"),
        (["--split", "0.8", "--by", "group", "--pattern", "(x"], "is no regular expression"),
        (["--split", "0.8", "--by", "group", "--pattern", "(x)"], "20 of 20 names tell no group"),
        (["--split", "0.8", "--name", "a/b"], "cannot be the protocol's name"),
        (["--split", "0.8", "--labels", "none.txt"], "none.txt"),
        (["--split", "0.8", "--key", "x"], "has no 'x'"),
    ],
)
def test_what_cannot_be_is_one_sentence_and_leaves_no_file(vhbench, tmp_path, options, words):
    write(tmp_path / "feats.h5")
    result = vhbench("data", "manifest", tmp_path / "feats.h5", "-o", tmp_path / "own.toml", *options)
    assert result.code == 2 and words in result.err and result.err.count("Error") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["feats.h5"]


def test_a_manifest_that_is_there_stays(vhbench, tmp_path):
    write(tmp_path / "feats.h5", labels=np.repeat([0, 1], 10))
    words = ("data", "manifest", tmp_path / "feats.h5", "-o", tmp_path / "own.toml", "--split")
    assert vhbench(*words, "0.8").code == vhbench(*words, "0.8").code == 0
    content = (tmp_path / "own.toml").read_bytes()
    result = vhbench(*words, "0.7")
    assert result.code == 2 and "is there already, with other content" in result.err
    assert (tmp_path / "own.toml").read_bytes() == content


def test_without_classes_it_is_said_what_would_tell_them(vhbench, tmp_path):
    write(tmp_path / "feats.h5", ["a", "b"])
    result = vhbench("data", "manifest", tmp_path / "feats.h5", "--split", "0.5", "-o", tmp_path / "own.toml")
    assert result.code == 2 and "Names such as 'a' tell no class" in result.err
    write_hdf5(tmp_path / "bare.h5", np.ones((3, 2, 4), np.float32))
    result = vhbench("data", "manifest", tmp_path / "bare.h5", "--split", "0.5", "-o", tmp_path / "own.toml")
    assert result.code == 2 and "Nothing tells the classes" in result.err


def test_the_sides_of_an_ordinary_protocol(vhbench, data_set):
    result = vhbench("data", "split", data_set)
    assert table(result.out) == {"train": ["40", "4", "10"], "query": ["12", "4", "3"]}


@pytest.fixture
def data_set(tmp_path):
    from vhbench.testing import make_protocol

    return make_protocol(tmp_path / "data")
