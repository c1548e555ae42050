"""Manifests: the data set that they describe opens as written, and files that contradict it are named."""

import os
import re
import tempfile
from pathlib import Path

import numpy as np
import pytest
from manifest_files import LABELS, fault, manifest, split

from vhbench.datasets.manifest_protocol import load_manifest
from vhbench.errors import DataError
from vhbench.testing.files import write_data_set, write_hdf5, write_mat, write_mat73, write_npy

REAL = Path(__file__).parents[4] / "shared" / "data" / "ucf101-14"


# what a sound one gives


def test_a_split_holds_the_videos_and_labels(folder, videos):
    found = split(folder)
    assert found.name == "mine"
    assert [len(part.videos) for part in (found.train, found.query, found.database)] == [6, 2, 6]
    assert (found.query.videos.frames, found.query.videos.dim) == (3, 4)
    assert np.array_equal(next(found.query.videos.arrays(2)), videos[:2] + 1)
    assert found.relevance.query_labels.tolist() == [0, 1]
    assert found.relevance.database_labels.tolist() == LABELS.tolist()
    assert found.relevance.self_index is None


def test_roles_that_name_the_same_files_share_one_part(folder):
    found = split(folder)
    assert found.train is found.database
    assert found.train is not found.query
    assert found.digests()["train"] == found.digests()["database"] != found.digests()["query"]


def test_defaults_and_settings(folder):
    protocol = load_manifest(manifest(folder))
    assert (protocol.name, protocol.title, protocol.version, protocol.budget) == ("mine", "mine", 1, "paper")
    assert protocol.ks == (5, 20, 40, 60, 80, 100)
    assert not protocol.queries_in_database and not protocol.synthetic
    settings = {"title": "T", "version": 3, "budget": "quick", "ks": [1, 7], "synthetic": True}
    protocol = load_manifest(manifest(folder, queries_in_database=True, **settings))
    assert {name: getattr(protocol, name) for name in settings} == {**settings, "ks": (1, 7)}
    assert protocol.queries_in_database


def test_describe_names_every_file(folder):
    rows = dict(load_manifest(manifest(folder, query={"count": 2})).describe())
    assert rows["query"] == "2 videos: query.h5 with query.mat"
    assert rows["train"] == "base.h5"
    assert rows["queries in database"] == "no"


def test_loading_a_manifest_opens_no_data(tmp_path):
    assert load_manifest(manifest(tmp_path)).name == "mine"


def test_labels_that_are_not_all_one_hot_stay_multi_hot(folder):
    several = np.eye(3)[LABELS]
    several[0] = 1
    write_mat(folder / "base.mat", several)
    relevance = split(folder).relevance
    assert relevance.database_labels.dtype == relevance.query_labels.dtype == np.bool_
    assert np.array_equal(relevance.database_labels, several)
    assert relevance.query_labels.shape == (2, 3)


def test_several_files_a_part_and_own_keys(folder, videos):
    write_hdf5(folder / "1.h5", videos[:4], key="f")
    write_hdf5(folder / "2.h5", videos[4:], key="f", compression="gzip")
    write_mat(folder / "1.mat", np.eye(3)[LABELS[:4]], "gt")
    write_mat73(folder / "2.mat", np.eye(3)[LABELS[4:]], "gt")
    database = {"features": ["1.h5", "2.h5"], "labels": ["1.mat", "2.mat"], "key": "f", "label_key": "gt", "count": 6}
    write_npy(folder / "query.npy", np.eye(3)[LABELS[:2]])
    found = split(folder, database=database, query={"labels": ["query.npy"]})
    assert np.array_equal(next(found.database.videos.arrays(6)), videos)
    assert found.relevance.database_labels.tolist() == LABELS.tolist()
    assert found.database.digest == found.train.digest  # the same videos, whatever the files


def test_one_label_file_may_cover_several_feature_files(folder, videos):
    write_hdf5(folder / "1.h5", videos[:4])
    write_hdf5(folder / "2.h5", videos[4:])
    assert split(folder, database={"features": ["1.h5", "2.h5"]}).relevance.database_labels.tolist() == LABELS.tolist()


# where files lie


def test_files_are_looked_for_in_the_data_folder_then_beside_the_manifest(folder, videos):
    data = folder / "data"
    (data / "mine").mkdir(parents=True)
    assert len(split(folder, data).query.videos) == 2
    for place, count in ((data, 1), (data / "mine", 2)):
        write_hdf5(place / "query.h5", videos[:count])
        write_mat(place / "query.mat", np.eye(3)[LABELS[:count]])
        assert len(split(folder, data).query.videos) == count


def test_absolute_paths_are_taken_as_they_are(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    path = manifest(elsewhere, train={"features": [str(folder / "base.h5")]})
    assert load_manifest(path).find(str(folder / "base.h5"), None) == folder / "base.h5"


def test_a_missing_file_names_the_places_and_the_option(folder):
    (folder / "query.h5").unlink()
    data = folder / "data"
    message = fault(folder, data)
    assert message.startswith("query.h5 of protocol mine is missing: looked in ")
    assert f"{data / 'mine'}, {data}, {folder}." in message
    assert "--data DIR or $VHBENCH_DATA" in message
    assert f"looked in {folder}." in fault(folder)


# queries in the database


def test_queries_in_the_same_files_are_their_own_rows(folder):
    same = {"features": ["base.h5"], "labels": ["base.mat"]}
    assert split(folder, queries_in_database=True, query=same).relevance.self_index.tolist() == [0, 1, 2, 3, 4, 5]


def test_queries_in_other_files_are_found_by_their_features(folder, videos):
    base = videos[[0, 1, 2, 1, 4, 5]]  # row 3 repeats row 1: the first one counts
    write_hdf5(folder / "base.h5", base, compression="gzip")
    write_hdf5(folder / "query.h5", np.stack([base[5], base[3], base[0] + 1]))
    write_mat(folder / "query.mat", np.eye(3)[[2, 1, 0]])
    index = split(folder, queries_in_database=True).relevance.self_index
    assert index.dtype == np.int64 and index.tolist() == [5, 1, -1]


# digests


def test_digests_do_not_depend_on_names_dtypes_of_labels_or_compression(folder, videos):
    before = split(folder).digests()
    write_npy(folder / "other.npy", videos)
    write_npy(folder / "numbers.npy", LABELS.astype(np.float64))
    write_mat73(folder / "queries.mat", LABELS[:2].astype(np.uint8), "gt")
    changes = {
        "name": "other",
        "train": {"features": ["other.npy"]},
        "database": {"features": ["other.npy"], "labels": ["numbers.npy"]},
        "query": {"labels": ["queries.mat"], "label_key": "gt"},
    }
    assert split(folder, **changes).digests() == before


def test_multi_hot_digests_do_not_depend_on_dtype_or_format(folder):
    several = np.eye(3)[LABELS]
    several[0] = 1
    digests = set()
    for dtype in (np.uint8, np.float64, np.bool_):
        for write in (write_mat, write_mat73):
            write(folder / "base.mat", several.astype(dtype))
            digests.add(split(folder).relevance.digest)
    assert len(digests) == 1


def test_the_relevance_digest_tells_labels_classes_and_self_index_apart(folder):
    several = np.eye(3)[LABELS]
    several[0] = 1
    digests = {split(folder).relevance.digest, split(folder, queries_in_database=True).relevance.digest}
    for database in (several, several[::-1], np.pad(several, ((0, 0), (0, 1)))):
        write_mat(folder / "base.mat", database)
        write_mat(folder / "query.mat", np.eye(database.shape[1])[LABELS[:2]])
        digests.add(split(folder).relevance.digest)
    assert len(digests) == 5


def test_digests_are_pinned(tmp_path):
    """A change here makes every stored run look as if its data had changed."""
    features = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    write_hdf5(tmp_path / "base.h5", features)
    write_hdf5(tmp_path / "query.h5", features[1:])
    write_mat(tmp_path / "base.mat", np.array([[1, 1, 0], [0, 0, 1]], dtype=np.uint8))
    write_mat(tmp_path / "query.mat", np.array([[0, 0, 1]], dtype=np.uint8))
    base = "f2748daee1273f1e11e6f10d949a267dfc0b2a1f9235fa7f161b9abe15021497"
    assert split(tmp_path, queries_in_database=True).digests() == {
        "train": base,
        "query": "a8390db3685715c9b835f95008a0322e12f3619861cf2d20c4006adb2af996d3",
        "database": base,
        "relevance": "ed8e2aa4484405b3ae5fb62c04a7f76f669bf3bf8a0545faf2cb879b5df1e953",
    }


# training labels


def test_training_labels_are_read_only_when_asked_for(folder):
    path = manifest(folder, train={"labels": ["missing.mat"]})
    protocol = load_manifest(path)
    assert len(protocol.load(None)[0].train.videos) == 6
    with pytest.raises(DataError, match=r"missing\.mat of protocol mine is missing"):
        protocol.train_labels(None)
    write_mat(folder / "missing.mat", LABELS)
    assert protocol.train_labels(None).tolist() == LABELS.tolist()


def test_training_labels_are_the_databases_where_the_features_are(folder):
    assert np.array_equal(load_manifest(manifest(folder)).train_labels(None), np.eye(3)[LABELS])
    other = load_manifest(manifest(folder, train={"features": ["query.h5"]}))
    with pytest.raises(
        DataError, match=r"mine has no labels for its training videos: \[train\] in .*p\.toml names none"
    ):
        other.train_labels(None)


# contradictions between files


def test_counts_that_do_not_match_are_both_named(folder):
    message = fault(folder, query={"count": 3})
    assert re.search(r"\[query\] in .*p\.toml says count = 3, but .*query\.h5 have 2 videos", message)


def test_labels_that_do_not_match_their_features_are_both_named(folder):
    write_mat(folder / "query.mat", np.eye(3))
    assert re.search(r"query\.mat label 3 videos, but .*query\.h5 hold 2", fault(folder))


def test_sizes_that_differ_between_roles_are_both_named(folder, videos):
    write_hdf5(folder / "query.h5", videos[:2, :, :3])
    message = fault(folder)
    assert re.search(r"base\.h5 has 3 frames of 4 dimensions and .*query\.h5 has 3 of 3", message)


def test_classes_that_differ_between_roles_are_both_named(folder):
    write_mat(folder / "query.mat", np.eye(4)[:2])
    message = fault(folder)
    assert "[query] (query.mat) holds a matrix of 4 classes and [database] (base.mat) holds a matrix of 3" in message


def test_contradictions_are_found_before_features_are_read(folder, monkeypatch):
    monkeypatch.setattr("vhbench.features.reading.blocks", lambda *given: pytest.fail("features were read"))
    write_mat(folder / "query.mat", np.eye(3))
    assert "label 3 videos" in fault(folder)


def test_faults_of_features_are_raised_on_loading(folder, videos):
    videos[4, 1, 0] = np.nan
    write_hdf5(folder / "base.h5", videos)
    assert "base.h5 holds NaN in video 4, frame 1" in fault(folder)
    assert "has no 'x'; it has 'feats'" in fault(folder, train={"key": "x"})
    (folder / "base.h5").write_bytes(b"")
    assert "base.h5 is empty (0 bytes)" in fault(folder)


def test_names_that_no_file_system_takes_are_one_sentence(folder):
    assert "File name too long" in fault(folder, query={"features": ["f" * 300]})
    assert "is missing" in fault(folder, query={"labels": ["a\0b"]})
    assert "at most 100" in fault(folder, name="n" * 101)


@pytest.mark.parametrize("what", ["manifest", "features", "labels"])
def test_a_pipe_in_place_of_a_file_does_not_hang(folder, what):
    path = manifest(folder)
    place = {"manifest": path, "features": folder / "query.h5", "labels": folder / "query.mat"}[what]
    place.unlink()
    os.mkfifo(place)
    with pytest.raises(DataError, match=f"{place.name} is a named pipe, not a file"):
        load_manifest(path).load(None)


# whole data sets


def test_the_data_set_for_tests_loads_and_repeats(tmp_path):
    splits = [load_manifest(write_data_set(tmp_path / name)).load(None)[0] for name in ("a", "b")]
    assert splits[0].digests() == splits[1].digests()
    assert [len(splits[0].train.videos), len(splits[0].query.videos)] == [40, 12]


@pytest.mark.skipif(not REAL.is_dir(), reason=f"the real data set is not at {REAL}")
def test_the_real_data_set_loads(monkeypatch):
    with tempfile.TemporaryDirectory() as cache:  # not tmp_path: pytest would keep the 380 MB
        monkeypatch.setenv("VHBENCH_CACHE", cache)
        [found] = load_manifest(REAL / "protocol.toml").load(REAL.parent)
    assert (len(found.train.videos), len(found.query.videos), len(found.database.videos)) == (1341, 524, 1341)
    assert (found.train.videos.frames, found.train.videos.dim) == (25, 4096)
    assert found.train.digest == found.database.digest != found.query.digest
    assert np.bincount(found.relevance.database_labels).sum() == 1341
    assert np.bincount(found.relevance.query_labels).size == 14
