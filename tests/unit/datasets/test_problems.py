"""Splits that leak or contradict themselves: each kind is counted and noted, or refused where no number is sound."""

import numpy as np
import pytest

from vhbench.datasets.manifest_protocol import load_manifest
from vhbench.datasets.problems import faults_of, load_checked, said_of
from vhbench.errors import DataError
from vhbench.plugins.registry import Registry
from vhbench.protocol import Part, Protocol, Relevance, Split
from vhbench.protocols.unseen_classes import UnseenVideos
from vhbench.testing.files import write_hdf5, write_manifest, write_mat, write_npy
from vhbench.videos import VideoSet

CLASSES = np.arange(12) % 3
ASKED = np.arange(6) % 3


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VHBENCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def base():
    return np.random.default_rng(0).standard_normal((12, 3, 5)).astype(np.float32)


@pytest.fixture
def other():
    return np.random.default_rng(1).standard_normal((6, 3, 5)).astype(np.float32)


@pytest.fixture
def split(tmp_path, base, other):
    """Write a data set of 12 database and training videos and 6 queries, with changes, and load it checked."""

    def load(*, train=None, database=base, query=other, labels=CLASSES, asked=ASKED, allow=False, **entries):
        write_hdf5(tmp_path / "base.h5", database)
        write_hdf5(tmp_path / "query.h5", query)
        if train is not None:
            write_hdf5(tmp_path / "train.h5", train)
        write_npy(tmp_path / "base.npy", np.asarray(labels))
        write_npy(tmp_path / "query.npy", np.asarray(asked))
        path = write_manifest(
            tmp_path / "own.toml",
            name="own",
            **entries,
            train={"features": ["base.h5" if train is None else "train.h5"]},
            query={"features": ["query.h5"], "labels": ["query.npy"]},
            database={"features": ["base.h5"], "labels": ["base.npy"]},
        )
        return load_checked(load_manifest(path), None, allow)[0]

    return load


def problems(split):
    return split.notes.get("problems", {})


def test_sound_data_have_no_problems(split):
    assert split().notes == {}


def test_queries_among_database_and_training_videos_are_counted(split, base, other):
    leaky = np.concatenate([base[3:5], other[2:]])
    assert problems(split(query=leaky)) == {
        "in_database": "2 of 6 queries are database and training videos too, although queries_in_database is false"
    }
    apart = np.random.default_rng(2).standard_normal((4, 3, 5)).astype(np.float32)
    assert problems(split(query=leaky, train=apart)) == {
        "in_database": "2 of 6 queries are database videos too, although queries_in_database is false"
    }
    assert problems(split(query=other, train=np.concatenate([apart, other[4:5]]))) == {
        "in_training": "1 of 6 queries is training videos too"
    }


def test_a_training_set_that_holds_queries_is_a_leak_where_they_sit_in_the_database_too(split, base):
    query = base[:6]
    assert problems(split(query=query, queries_in_database=True)) == {}, "the training set is the database by design"
    found = problems(split(query=query, train=base[4:9] * np.float32(1), queries_in_database=True))
    assert found == {"in_training": "2 of 6 queries are training videos too"}


def test_videos_of_zeros_are_no_leak(split, base, other):
    base[2], other[1] = 0, 0
    assert "problems" not in split(database=base, query=other).notes


def test_frames_that_are_left_out_do_not_hide_a_leak(split, base, other):
    found = problems(split(query=np.concatenate([base[:1], other[1:]]), keep_frames=2))
    assert found["in_database"].startswith("1 of 6 queries is database and training videos too")


def test_queries_that_the_database_should_hold_are_counted(split, base, other):
    found = split(query=np.concatenate([base[:4], other[:2]]), queries_in_database=True)
    assert found.relevance.self_index.tolist() == [0, 1, 2, 3, -1, -1]
    assert problems(found) == {
        "not_found": "2 of 6 queries are not found in the database, although queries_in_database is true"
    }


@pytest.mark.parametrize("change", [lambda x: x.astype(np.float64), lambda x: x.astype(np.float16), lambda x: x + 1e-6])
def test_where_no_query_is_found_in_the_database_there_is_no_sound_number(split, base, change):
    query = change(base[:6])
    with pytest.raises(DataError, match="own: 6 of 6 queries are not found in the database") as caught:
        split(query=query, queries_in_database=True)
    told = f"their features are {query.dtype.name}, those of the database float32: store both alike" in str(
        caught.value
    )
    assert told == (query.dtype != np.float32)


def test_queries_with_other_labels_than_their_own_video_are_counted(split, base):
    query, asked = base[:6], [0, 1, 2, 0, 1, 1]
    assert problems(split(query=query, asked=asked, queries_in_database=True)) == {
        "other_labels": "1 of 6 queries has other labels than the same video in the database"
    }
    matrix = np.eye(3, dtype=np.uint8)[asked]
    matrix[0] = [1, 1, 0]
    found = split(query=query, asked=matrix, labels=np.eye(3, dtype=np.uint8)[CLASSES], queries_in_database=True)
    assert problems(found)["other_labels"].startswith("2 of 6 queries have other labels")


def test_query_classes_that_the_database_lacks_are_counted(split):
    assert problems(split(asked=[0, 1, 2, 7, 8, 8])) == {
        "no_class": "3 of 6 queries have only classes that the database lacks (2 of 5 classes) and are not scored"
    }
    matrix = np.eye(4, dtype=np.uint8)[[0, 1, 2, 3, 3, 0]]
    matrix[4, 0] = 1  # has another class, too
    matrix[5] = 0
    found = split(asked=matrix, labels=np.eye(4, dtype=np.uint8)[CLASSES])
    assert problems(found) == {
        "no_label": "1 of 6 queries has no label and is not scored",
        "no_class": "1 of 6 queries has only classes that the database lacks (1 of 4 classes) and is not scored",
    }


def test_class_names_are_numbered_over_both_files(split):
    names = np.array(["run", "jump", "swim", "bowl"])
    found = split(labels=names[CLASSES], asked=names[[1, 2, 3, 1, 2, 3]])
    assert found.relevance.class_names == ("bowl", "jump", "run", "swim")
    assert found.relevance.query_labels.tolist() == [1, 3, 0, 1, 3, 0], "not taken for numbers that are one too high"
    assert found.relevance.database_labels.tolist() == [2, 1, 3] * 4
    assert list(problems(found)) == ["no_class"]


def test_classes_counted_from_0_in_one_file_and_from_1_in_the_other_are_refused(split):
    with pytest.raises(DataError, match=r"numbers classes from 0 to 2 and .* from 1 to 3: one seems to count from 0"):
        split(asked=ASKED + 1)
    with pytest.raises(DataError, match="one seems to count from 0 and the other from 1"):
        split(labels=CLASSES + 1)
    assert list(problems(split(asked=ASKED + 1, allow=True))) == ["shifted", "no_class"]


def test_one_class_for_all_or_none_in_common_is_refused(split):
    with pytest.raises(DataError, match=r"own: every database video is relevant to every query \(labels: 1 class, one"):
        split(labels=CLASSES * 0, asked=ASKED * 0)
    with pytest.raises(DataError, match="own: no query shares a class with any database video"):
        split(asked=ASKED + 50)


@pytest.mark.parametrize(
    ("query", "database", "found"),
    [
        ([[1, 1], [1, 0]], [[1, 0], [1, 1]], True),
        ([[1, 1, 0], [0, 1, 1]], [[1, 0, 1], [0, 1, 0]], True),  # no class that all have
        ([[1, 1, 0], [0, 1, 1]], [[1, 0, 1], [0, 1, 0], [1, 0, 0]], False),
        ([[1, 1, 0], [0, 0, 0]], [[1, 0, 1], [0, 1, 0]], False),
    ],
)
def test_relevance_of_everything_is_seen_in_matrices(query, database, found):
    query, database = np.array(query, bool), np.array(database, bool)
    assert ((query.astype(int) @ database.T.astype(int)) > 0).all() == found
    faults = faults_of(Relevance.from_labels(query, database))
    assert bool(faults) == found and (not found or faults[0].startswith("every database video is relevant"))


def test_swapped_axes_are_noted_unless_the_manifest_says_so(split, base, other):
    swapped = {"database": base.transpose(0, 2, 1).copy(), "query": other.transpose(0, 2, 1).copy()}
    assert problems(split(**swapped))["axes"].startswith("videos have 5 frames of 3 dimensions, as if the axes were sw")
    assert "problems" not in split(**swapped, frames=5).notes
    with pytest.raises(DataError, match=r"says frames = 3, but .* has 5, as if its axes were swapped"):
        split(**swapped, frames=3, dim=5)
    with pytest.raises(DataError, match=r"says frames = 4, but .*base.h5 has 3: correct"):
        split(frames=4, dim=5)


def test_what_digests_cannot_tell_is_noted(split, base, other):
    found = split(query=other.astype(np.float64))
    assert found.notes["not_checked"] == [
        "whether queries are database videos too (their features are float64, those of the database float32: store "
        "both alike); `vhbench data verify` tells"
    ]


class Bare(Protocol):
    """A protocol of somebody else, which keeps no digests of its videos."""

    name, title = "bare", "Bare"

    def load(self, data, *, allow_counts=False):
        parts = [Part(VideoSet(np.ones((n, 2, 3), np.float32)), f"{n}") for n in (4, 2, 5)]
        names = ("bare", "other")
        return [Split(name, *parts, Relevance.from_labels([0, 1], [0, 0, 1, 1, 2]), notes={"a": 1}) for name in names]


def test_other_protocols_say_what_was_not_checked():
    splits = load_checked(Bare(), None, False)
    assert [list(split.notes) for split in splits] == [["a", "not_checked"]] * 2
    lines, warnings = said_of(splits, "bare")
    assert lines[:2] == [
        "bare, split bare: labels: 3 classes, one a video",
        "bare, split bare: not checked: whether queries are database videos too, since the protocol gives no digests "
        "of its videos",
    ]
    assert len(lines) == 6 and warnings == []


def test_the_embedded_protocols_are_checked_and_sound():
    for name in ("demo", "demo-unseen", "demo-to-demo-shift"):
        for found in load_checked(Registry().protocol(name), None, False):
            assert not {"problems", "not_checked"} & found.notes.keys()


def test_held_out_classes_of_names_and_leaks_in_what_is_drawn(tmp_path, base, other):
    """`X-unseen` draws queries and database from one pool, so that a video that lies there twice may be both."""
    write_hdf5(tmp_path / "base.h5", np.concatenate([base, base]))
    write_hdf5(tmp_path / "query.h5", other)
    write_npy(tmp_path / "base.npy", np.array(["run", "jump", "swim"] * 8))
    write_npy(tmp_path / "query.npy", np.array(["swim", "run", "jump"] * 2))
    table = {"features": ["base.h5"], "labels": ["base.npy"]}
    query = {"features": ["query.h5"], "labels": ["query.npy"]}
    path = write_manifest(tmp_path / "own.toml", name="own", train=table, database=table, query=query)
    protocol = Registry().protocol(str(path))
    assert protocol.train_labels(None).tolist() == [1, 0, 2] * 8  # jump, run, swim
    (found,) = load_checked(UnseenVideos(protocol, held_out=2), None, False)
    assert found.notes["problems"]["in_database"].split(" of ")[0] == str(
        sum(any(np.array_equal(a, b) for b in rows(found.database)) for a in rows(found.query))
    )
    assert found.relevance.class_names == ("jump", "run", "swim")
    with pytest.raises(DataError, match=r"every database video is relevant to every query.*two classes at least"):
        load_checked(UnseenVideos(protocol, held_out=1), None, False)


def rows(part):
    return list(np.concatenate(list(part.videos.arrays(100))))


def test_training_labels_that_count_otherwise_are_refused(tmp_path, base, other):
    write_hdf5(tmp_path / "base.h5", base)
    write_hdf5(tmp_path / "train.h5", base + 1)
    write_hdf5(tmp_path / "query.h5", other)
    for name, labels in (("base", CLASSES), ("query", ASKED), ("train", CLASSES + 1)):
        write_mat(tmp_path / f"{name}.mat", labels)
    tables = {
        role: {"features": [f"{name}.h5"], "labels": [f"{name}.mat"]}
        for role, name in (("train", "train"), ("query", "query"), ("database", "base"))
    }
    path = write_manifest(tmp_path / "own.toml", name="own", **tables)
    load_checked(load_manifest(path), None, False)  # it never reads them
    with pytest.raises(DataError, match=r"\[query\] .* from 0 to 2 and \[train\] .* from 1 to 3: one seems to count"):
        UnseenVideos(load_manifest(path), held_out=2).load(None)
