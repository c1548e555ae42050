"""Stamps of a protocol's feature files: alike in all roles, noted in the record, unknown in published files."""

import json
from dataclasses import replace

import h5py
import numpy as np
import pytest
from manifest_files import fault, manifest, split, write_videos

from vhbench.datasets.manifest_protocol import load_manifest
from vhbench.datasets.problems import said_of
from vhbench.errors import DataError
from vhbench.features.stamp import ATTRIBUTE, Stamp
from vhbench.protocols.cross_dataset import CrossDataset

STAMP = Stamp("vgg16", "ab" * 32, "fc7", "25 frames", "224 pixels", {"torch": "2.13.0"})
OTHER = replace(STAMP, network="resnet50", layer="pool")


def put(path, stamp):
    with h5py.File(path, "r+") as file:
        file.attrs[ATTRIBUTE] = json.dumps(stamp.to_json())


@pytest.fixture
def folder(tmp_path):
    return write_videos(tmp_path, np.random.default_rng(0).random((6, 3, 4), dtype=np.float32))


def test_published_files_say_nothing_and_nothing_is_noted(folder):
    found = split(folder)
    assert "stamp" not in found.notes and found.train.stamp is None


def test_a_stamp_that_all_roles_share_is_noted(folder):
    put(folder / "base.h5", STAMP)
    put(folder / "query.h5", replace(STAMP, versions={"torch": "2.14.0"}))
    found = split(folder)
    assert found.notes["stamp"] == STAMP.to_json()
    assert found.train.stamp == found.database.stamp == STAMP
    assert "problems" not in found.notes


def test_roles_of_different_stamps_are_refused(folder):
    put(folder / "base.h5", STAMP)
    put(folder / "query.h5", OTHER)
    text = fault(folder)
    assert f"{folder / 'base.h5'} and {folder / 'query.h5'} were not computed alike" in text
    assert "the network (vgg16 and resnet50) and the layer (fc7 and pool)" in text
    assert "its weights" not in text


def test_files_of_one_role_must_agree(folder):
    (folder / "more.h5").write_bytes((folder / "query.h5").read_bytes())
    put(folder / "query.h5", STAMP)
    put(folder / "more.h5", OTHER)
    assert "were not computed alike" in fault(folder, train={"features": ["query.h5", "more.h5"]})


def test_a_file_without_a_stamp_beside_others_is_accepted_with_a_word(folder):
    put(folder / "query.h5", STAMP)
    found = split(folder)
    assert found.train.stamp is None and found.query.stamp == STAMP
    _, warnings = said_of([found], "mine")
    assert any(f"{folder / 'query.h5'} says how its features were computed and" in text for text in warnings)


def data_set(folder, name, stamp):
    made = folder / name
    made.mkdir()
    write_videos(made, np.random.default_rng(0).random((6, 3, 4), dtype=np.float32))
    for file in ("base.h5", "query.h5") if stamp else ():
        put(made / file, stamp)
    return load_manifest(manifest(made, name=name))


def test_data_sets_of_different_stamps_are_not_crossed(tmp_path):
    sets = [data_set(tmp_path, name, stamp) for name, stamp in (("a", STAMP), ("b", OTHER), ("c", STAMP), ("d", None))]
    with pytest.raises(DataError, match=r"The features of a and b were not computed alike: .*vgg16 and resnet50"):
        CrossDataset(sets[0], sets[1]).load(None)
    assert CrossDataset(sets[0], sets[2]).load(None)[0].train.stamp == STAMP
    assert CrossDataset(sets[0], sets[3]).load(None)[0].train.stamp == STAMP
