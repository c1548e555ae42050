"""`vhbench search` for what is no code yet: features and videos, encoded by the model beside the codes."""

import json
from dataclasses import replace

import h5py
import numpy as np
import pytest

import vhbench as package
from vhbench.errors import UsageError
from vhbench.features.stamp import ATTRIBUTE, Stamp

STAMP = Stamp("lite0", "ab" * 32, "pool", "3 frames", "224 pixels", {"av": "18.0.0"})
NAMES = [f"class/video {row}.mp4" for row in range(30)]


def write(path, features, stamp=STAMP, names=()):
    with h5py.File(path, "w") as file:
        file["feats"] = features
        if names:
            file["names"] = [name.encode() for name in names]
        if stamp:
            file.attrs[ATTRIBUTE] = json.dumps(stamp.to_json())
    return path


@pytest.fixture(scope="module")
def features():
    return np.random.default_rng(0).normal(size=(30, 3, 8)).astype(np.float16)


@pytest.fixture(scope="module")
def model(features):
    return package.fit("itq", features.astype(np.float32), bits=8, seed=0)


@pytest.fixture
def folder(model, features, tmp_path):
    """A gallery with its model, of features with a stamp."""
    model.save(tmp_path / "kept")
    package.encode(tmp_path / "kept", write(tmp_path / "all.h5", features, names=NAMES), tmp_path / "codes")
    return tmp_path / "codes"


def test_each_video_of_a_feature_file_is_a_query(vhbench, folder, features, tmp_path):
    path = write(tmp_path / "some.h5", features[[4, 9]], names=["one.mp4", "other.mp4"])
    result = vhbench("search", folder, "--query", path, "-k", 30)
    assert result.code == 0 and result.out.split()[0] == "query"
    found = json.loads(vhbench("search", folder, "--query", path, "-k", 30, "--format", "json").out)
    for name, row in (("one.mp4", 4), ("other.mp4", 9)):
        mine = [item for item in found if item["query"] == name]
        assert [item["distance"] for item in mine if item["row"] == row] == [0], "a file is nobody's row"
        theirs = package.search(folder, row, k=29)
        assert [item["row"] for item in mine if item["row"] != row] == theirs["row"].tolist()
    np.save(tmp_path / "some.npy", features[[4, 9]])
    bare = package.search(folder, tmp_path / "some.npy", k=30)
    assert bare["query"].unique().tolist() == ["some.npy, video 0", "some.npy, video 1"]
    assert bare["row"].tolist() == [item["row"] for item in found]


def test_features_of_another_kind_are_refused_with_the_difference(vhbench, folder, features, tmp_path):
    path = write(tmp_path / "wide.h5", np.ones((2, 3, 9), np.float16))
    result = vhbench("search", folder, "--query", path)
    assert result.code == 2 and "trained on features of 8 dimensions; these have 9" in result.error


def test_a_video_is_extracted_as_the_gallerys_were(vhbench, folder, features, tmp_path, monkeypatch):
    asked = []

    def features_of(videos, stamp, *, weights, network, device):
        asked.append((videos, stamp, weights, network, device))
        return features[5:6].astype(np.float32) + np.float32(1e-6)  # less than float16 tells apart

    monkeypatch.setattr("vhbench.video.extraction.features_of", features_of)
    video = tmp_path / "new.mp4"
    video.write_bytes(b"moving pictures")
    result = vhbench("search", folder, "--query", video, "-k", 30, "--format", "json", "--weights", tmp_path / "w")
    found = json.loads(result.out)
    assert [item["distance"] for item in found if item["row"] == 5] == [0] and found[0]["query"] == "new.mp4"
    assert asked == [([video], STAMP, tmp_path / "w", None, "cpu")]


def test_without_a_stamp_a_video_is_refused_and_features_are_taken_with_a_word(vhbench, model, features, tmp_path):
    model.save(tmp_path / "kept")
    package.encode(tmp_path / "kept", write(tmp_path / "all.h5", features, stamp=None), tmp_path / "codes")
    (tmp_path / "new.mp4").write_bytes(b"moving pictures")
    result = vhbench("search", tmp_path / "codes", "--query", tmp_path / "new.mp4")
    assert result.code == 2 and "have no stamp" in result.error and "give their file" in result.error
    result = vhbench("search", tmp_path / "codes", "--query", tmp_path / "all.h5", "-k", 1)
    assert result.code == 0 and "mind: " in result.err and "no stamp" in result.err


def test_queries_of_another_stamp_than_the_gallerys_are_refused(vhbench, folder, features, tmp_path):
    path = write(tmp_path / "other.h5", features[:1], stamp=replace(STAMP, network="resnet50"))
    result = vhbench("search", folder, "--query", path)
    assert result.code == 2 and "the network (lite0 and resnet50)" in result.error
    with pytest.raises(UsageError, match="takes a number of neighbours"):
        package.search(folder, tmp_path / "all.h5", k=0)
