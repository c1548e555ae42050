"""The stamp of a feature file."""

import json
from dataclasses import replace

import h5py
import numpy as np
import pytest

from vhbench.errors import DataError
from vhbench.features.stamp import ATTRIBUTE, Stamp, read_stamp

STAMP = Stamp("vgg16", "ab" * 32, "fc7", "25 frames", "224 pixels", {"torch": "2.13.0"})


@pytest.fixture
def file(tmp_path):
    """A function that writes a feature file with an attribute in place of its stamp, and returns its path."""

    def write(value=None):
        path = tmp_path / "feats.h5"
        with h5py.File(path, "w") as opened:
            opened["feats"] = np.zeros((2, 3, 4), np.float32)
            if value is not None:
                opened.attrs[ATTRIBUTE] = value
        return path

    return write


def test_a_stamp_is_read_as_it_was_written(file):
    assert read_stamp(file(json.dumps(STAMP.to_json()))) == STAMP


def test_published_files_have_none(file, tmp_path):
    np.save(tmp_path / "feats.npy", np.zeros((2, 3, 4), np.float32))
    assert read_stamp(file()) is read_stamp(tmp_path / "feats.npy") is None


@pytest.mark.parametrize(
    "value",
    ["", "{", "[" * 5000, "[]", "null", json.dumps({**STAMP.to_json(), "network": 3}), json.dumps({"network": "vgg16"}),
     json.dumps({**STAMP.to_json(), "versions": {"torch": 2}}), json.dumps({**STAMP.to_json(), "more": ""}), 5,
     np.arange(3)],
    ids=range(11),
)  # fmt: skip
def test_what_is_no_stamp_is_refused(file, value):
    with pytest.raises(DataError, match=r"feats\.h5 has a"):
        read_stamp(file(value))


def test_differences_name_what_differs_but_not_the_versions():
    assert STAMP.differences(replace(STAMP, versions={})) == []
    assert STAMP.differences(replace(STAMP, layer="fc6", sampling="8 frames")) == [
        "the layer (fc7 and fc6)",
        "how frames are chosen (25 frames and 8 frames)",
    ]
