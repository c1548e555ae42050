"""Opening a manifest's files: every number is checked, known variants and synthetic files are told apart and noted."""

import h5py
import numpy as np
import pytest

from vhbench.datasets.manifest_protocol import load_manifest
from vhbench.datasets.marker import Marker, write_marker
from vhbench.errors import DataError, UsageError
from vhbench.testing.files import write_hdf5, write_manifest, write_mat


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("VHBENCH_CACHE", str(folder))
    return folder


@pytest.fixture
def own(tmp_path):
    """Write a manifest with 4 database videos, 2 of them queries, of 3 frames, 5 dimensions and 6 classes; load it."""
    rng = np.random.default_rng(0)
    base = rng.random((4, 3, 5), np.float32)
    write_hdf5(tmp_path / "base.h5", base)
    write_hdf5(tmp_path / "query.h5", base[[2, 0]])
    labels = np.array([[1, 0, 0, 0, 0, 0], [0, 1, 0, 1, 0, 0], [0, 0, 0, 1, 0, 0], [0, 0, 0, 0, 0, 1]])
    write_mat(tmp_path / "base.mat", labels)
    write_mat(tmp_path / "query.mat", labels[[2, 0]])

    def load(allow_counts=False, variants="", **changes):
        entries = {
            "name": "own",
            "queries_in_database": True,
            "train": {"features": ["base.h5"], "count": 4},
            "query": {"features": ["query.h5"], "labels": ["query.mat"], "count": 2},
            "database": {"features": ["base.h5"], "labels": ["base.mat"], "count": 4},
            "frames": 3,
            "dim": 5,
            "classes": 6,
        }
        for name, value in changes.items():
            entries[name] = {**entries[name], **value} if isinstance(value, dict) else value
        path = write_manifest(tmp_path / "own.toml", **entries)
        path.write_text(f"{path.read_text()}\n[variants]\n{variants}\n")
        return load_manifest(path).load(None, allow_counts=allow_counts)[0]

    load.folder, load.labels = tmp_path, labels
    return load


@pytest.mark.parametrize(
    ("changes", "words", "note"),
    [
        ({"frames": 4}, ["says frames = 4, but", "base.h5 has 3"], {"frames": [4, 3]}),
        ({"dim": 6}, ["says dim = 6, but", "base.h5 has 5"], {"dim": [6, 5]}),
        (
            {"classes": 7},
            ["says classes = 7, but", "query.mat label 6 classes"],
            {"query classes": [7, 6], "database classes": [7, 6]},
        ),
        ({"query": {"count": 3}}, ["[query]", "count = 3", "have 2 videos"], {"query videos": [3, 2]}),
    ],
)
def test_every_number_is_checked(own, changes, words, note):
    with pytest.raises(DataError) as caught:
        own(**changes)
    assert all(word in str(caught.value) for word in [*words, "own.toml", "--allow-counts"])
    assert own(allow_counts=True, **changes).notes == {"allowed_counts": note}


def test_the_right_numbers_leave_no_note(own):
    split = own()
    assert split.notes == {} and split.relevance.self_index.tolist() == [2, 0]


def test_known_variants_are_accepted_by_name_and_noted(own):
    known = '"nine" = { database = 9 }\n"four videos" = { database = 4 }'
    assert own(database={"count": 9}, variants=known).notes == {"variants": ["four videos"]}
    assert own(variants=known).notes == {}


def test_class_numbers_may_leave_classes_out_but_not_exceed_them(own):
    write_mat(own.folder / "base.mat", np.array([1, 2, 6, 6]))
    write_mat(own.folder / "query.mat", np.array([6, 1]))
    assert own().notes == {}
    with pytest.raises(DataError, match=r"classes = 5, but .*label 6 classes"):
        own(classes=5)


@pytest.mark.parametrize(
    ("variants", "words"),
    [
        ("v = 3", "'v' in [variants] of"),
        ("v = { clases = 3 }", "'clases'"),
        ('v = { classes = "3" }', "must be a positive whole number"),
    ],
)
def test_faulty_variants_are_named(own, variants, words):
    with pytest.raises((DataError, UsageError)) as caught:
        own(variants=variants)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value"), [("folder", "a/b"), ("folder", ".."), ("published", [3]), ("keep_frames", 0)]
)
def test_faulty_entries_are_named(own, key, value):
    with pytest.raises(DataError, match=key):
        own(**{key: value})


# the label file with one column too many


SEVEN = "seven = { classes = 7 }"


def with_extra(labels, column, content):
    return np.insert(labels, column, content, axis=1)


@pytest.mark.parametrize("column", range(7))
def test_the_extra_label_column_is_found_by_the_queries_own_labels(own, column):
    expected = own().relevance
    write_mat(own.folder / "base.mat", with_extra(own.labels, column, 1))
    split = own(variants=SEVEN)
    assert split.notes == {"variants": ["seven"]}
    assert split.relevance.digest == expected.digest


def test_an_extra_column_among_empty_ones_changes_nothing(own):
    expected = own().relevance
    write_mat(own.folder / "base.mat", with_extra(own.labels, 4, 0))  # beside column 4, which no video has
    split = own(variants=SEVEN)
    matches = (split.relevance.query_labels.astype(int) @ split.relevance.database_labels.T.astype(int)) > 0
    assert np.array_equal(matches, (expected.query_labels.astype(int) @ expected.database_labels.T.astype(int)) > 0)


def test_labels_that_agree_without_no_column_are_refused(own):
    write_mat(own.folder / "base.mat", with_extra(1 - own.labels, 2, 1))
    with pytest.raises(DataError, match=r"one label column more .*queries do not tell which.*right version"):
        own(variants=SEVEN)


def test_an_extra_column_that_might_be_either_of_two_in_use_is_refused(own):
    twice = own.labels[:, [0, 1, 2, 3, 3, 4, 5]]  # columns 3 and 4 alike in the queries, not everywhere
    twice[1, 4] = 0
    write_mat(own.folder / "base.mat", twice)
    with pytest.raises(DataError, match="queries do not tell which"):
        own(variants=SEVEN)


def test_an_extra_column_is_an_error_where_queries_are_not_in_the_database(own):
    write_mat(own.folder / "base.mat", with_extra(own.labels, 2, 1))
    with pytest.raises(DataError, match=r"matrix of 6 classes and .*matrix of 7 classes"):
        own(variants=SEVEN, queries_in_database=False)


# synthetic files


MARKER = Marker("own", 0.1, 3, {"train": 4, "query": 2, "database": 4})


def test_the_markers_counts_replace_the_manifests_and_everything_is_synthetic(own):
    write_marker(own.folder, MARKER)
    split = own(train={"count": 40}, query={"count": 20}, database={"count": 40})
    assert split.synthetic
    assert split.notes == {"synthetic": [{"like": "own", "scale": 0.1, "seed": 3}]}


def test_files_that_contradict_their_marker_are_refused(own):
    write_marker(own.folder, Marker("own", 0.1, 3, {"train": 5, "query": 2, "database": 4}))
    with pytest.raises(DataError, match=r"marker synthetic\.toml beside them says train = 5, but .*base\.h5 have 4"):
        own()


def test_the_marker_of_another_data_set_vouches_for_no_count_but_still_says_synthetic(own):
    write_marker(own.folder, Marker("fcvid", 0.1, 3, MARKER.counts))
    assert own().synthetic
    with pytest.raises(DataError, match="count = 40"):
        own(train={"count": 40})


@pytest.mark.parametrize("file", ["query.h5", "query.mat"])
def test_one_synthetic_file_makes_the_whole_synthetic(own, file, tmp_path):
    made_up = tmp_path / "made-up"
    write_marker(made_up, MARKER)
    (own.folder / file).rename(made_up / file)
    (own.folder / file).symlink_to(made_up / file)
    assert own().synthetic


def test_zero_videos_are_noted_and_said(own, caplog):
    with h5py.File(own.folder / "base.h5", "a") as file:
        file["feats"][1] = 0
    assert own().notes == {"zero_videos": {"train": 1}}
    assert "1 videos of" in caplog.text and "zero throughout" in caplog.text


def test_a_damaged_marker_is_refused(own):
    (own.folder / "synthetic.toml").write_text("like = ")
    with pytest.raises(DataError, match=r"synthetic\.toml cannot be read"):
        own()
