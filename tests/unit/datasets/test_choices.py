"""What a manifest chooses of its files: rows, frames, names of videos and classes, features side by side."""

import numpy as np
import pytest
from manifest_files import LABELS, fault, manifest, split

from vhbench.cli.data_status import state_of
from vhbench.datasets.choices import chosen_frames, chosen_rows
from vhbench.datasets.manifest_protocol import load_manifest
from vhbench.datasets.opening import Opening
from vhbench.datasets.verification import judge, role_of
from vhbench.errors import DataError
from vhbench.features.verify import look_through
from vhbench.testing.files import write_hdf5, write_mat, write_npy

ROLES = ("train", "query", "database")


def read(part):
    return np.concatenate([*part.videos.arrays(100)])


def verified(folder, **changes):
    """The digests that `data verify` prints, and what it says."""
    protocol = load_manifest(manifest(folder, **changes))
    opening = Opening(protocol, None)
    found = {header: look_through(header) for role in ROLES for header in opening.headers(role)}
    roles = {role: role_of(protocol, opening, role, found) for role in ROLES}
    return {role: roles[role].part.digest for role in ROLES}, judge(protocol, opening, roles)


# rows


@pytest.mark.parametrize(
    ("rows", "expected"),
    [("1:4", [1, 2, 3]), (":5:2", [0, 2, 4]), ("4:", [4, 5]), ([5, 0, 2], [5, 0, 2]), ("rows.npy", [3, 1]),
     ("rows.txt", [2, 4]), ("mask.npy", [0, 5])],
)  # fmt: skip
def test_rows_choose_videos_with_their_labels_and_names(folder, videos, rows, expected):
    write_npy(folder / "rows.npy", np.array([3, 1]))
    (folder / "rows.txt").write_text("2\n4\n")
    write_npy(folder / "mask.npy", np.isin(np.arange(6), [0, 5]))
    (folder / "names.txt").write_text("".join(f"video {n}\n" for n in range(6)))
    found = split(folder, database={"rows": rows, "names": ["names.txt"]})
    assert np.array_equal(read(found.database), videos[expected])
    assert found.relevance.database_labels.tolist() == LABELS[expected].tolist()
    assert found.database.names.tolist() == [f"video {n}" for n in expected]
    assert len(found.train.videos) == 6 and found.train.names is None
    assert np.array_equal(found.database.row_digests, found.train.row_digests[expected])


def test_digests_tell_rows_and_their_order_apart_and_all_rows_are_no_choice(folder):
    digests = [split(folder, database={"rows": rows}).database.digest for rows in ([0, 1, 2], [0, 2, 1], "0:4")]
    assert len(set(digests)) == 3
    assert split(folder, database={"rows": "0:6"}).digests() == split(folder).digests()


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("0:7", "The rows in table [database] of {0}/p.toml name 6, but there are 6 videos, 0 to 5."),
        ([0, 9], "name 9, but there are 6 videos"),
        ([1, 2, 1], "name 1 more than once"),
        ("3:3", "are none of the 6 videos"),
        ([], "choose rows by a range"),
        ([-1], "choose rows by a range"),
        (7, "must be a text in quotes or a list"),
        ("none.npy", "none.npy of protocol mine is missing"),
        ("half.npy", "give the numbers of rows, counted from 0"),
        ("far.npy", "name 99"),
        ("nan.npy", "give the numbers of rows"),
        ("inf.npy", "holds numbers that are no rows"),
    ],
)
def test_rows_that_cannot_be_are_named(folder, rows, words):
    for name, array in (("half", [0.5]), ("far", [99]), ("nan", [np.nan]), ("inf", [np.inf])):
        write_npy(folder / f"{name}.npy", np.array(array))
    assert words.format(folder) in fault(folder, database={"rows": rows})


def test_ranges_are_those_of_python():
    for first in (None, 0, 3, 9):
        for end in (None, 4, 10):
            for step in (None, 1, 3):
                text = ":".join("" if n is None else str(n) for n in (first, end)) + (f":{step}" if step else "")
                expected = np.arange(10)[first:end:step].tolist()
                if expected:
                    found = chosen_rows(text, 10, None, "here")
                    assert (np.arange(10) if found is None else found).tolist() == expected


# frames


@pytest.mark.parametrize(("keep", "expected"), [("0:3:2", [0, 2]), ([2, 0], [2, 0]), (1, [1]), (":2", [0, 1])])
def test_frames_are_a_number_a_range_or_a_list(folder, videos, keep, expected):
    found = split(folder, keep_frames=keep)
    assert np.array_equal(read(found.database), videos[:, expected]) and found.notes["frames_kept"] == expected
    assert verified(folder, keep_frames=keep)[0] == {role: getattr(found, role).digest for role in ROLES}


@pytest.mark.parametrize(
    ("keep", "words"),
    [("0:4", "name 3, but there are 3 frames"), ([0, 0], "name 0 more than once"), ("x", "keep_frames is 'x': say how"),
     ([0.5], "choose frames by a range"), (-1, "`keep_frames`")],
)  # fmt: skip
def test_frames_that_cannot_be_are_named(folder, keep, words):
    assert words in fault(folder, keep_frames=keep)


def test_a_range_of_all_frames_is_told_apart_from_none():
    assert chosen_frames("0:3", 3).tolist() == [0, 1, 2] and chosen_frames(None, 3) is None
    with pytest.raises(DataError, match="keep_frames is 4, but the videos have 3 frames"):
        chosen_frames(4, 3)


# names of classes


def test_a_file_names_the_classes_by_their_numbers(folder):
    (folder / "classes.txt").write_text("run\njump\nswim\n")
    found = split(folder, classes="classes.txt")
    assert found.relevance.class_names == ("run", "jump", "swim")
    assert found.relevance.digest == split(folder).relevance.digest
    write_npy(folder / "from1.npy", LABELS + 1)
    (folder / "classes.txt").write_text("1 run\n2 jump\n3 swim\n")
    labels = {"query": {"features": ["base.h5"], "labels": ["from1.npy"]}, "database": {"labels": ["from1.npy"]}}
    found = split(folder, classes="classes.txt", queries_in_database=True, **labels)
    assert [found.relevance.class_names[label] for label in found.relevance.query_labels[:3]] == ["run", "jump", "swim"]


@pytest.mark.parametrize(
    ("text", "labels", "words"),
    [
        ("run\njump\n", None, "names 2 classes, but"),
        ("run\njump\nrun\n", None, "names two classes 'run'"),
        ("run\n\nswim\n", None, "has a blank among its classes in line or row 1"),
        ("", None, "blank"),
        ("run\njump\n", LABELS, "names 2 classes, but {0}/own.npy number them up to 2 and from 0"),
        ("run\njump\n", np.array(["run", "jump", "swim"] * 2), "does not name the class 'swim'"),
    ],
)
def test_lists_of_classes_that_do_not_fit_are_named(folder, text, labels, words):
    (folder / "classes.txt").write_text(text)
    changes = {}
    if labels is not None:
        write_npy(folder / "own.npy", labels)
        table = {"features": ["base.h5"], "labels": ["own.npy"]}
        changes = {"query": table, "database": table, "queries_in_database": True}
    assert words.format(folder) in fault(folder, classes="classes.txt", **changes)


# side by side


@pytest.fixture
def sound(folder):
    """Sound of the same videos: 2 dimensions, half precision."""
    sound = np.random.default_rng(1).standard_normal((6, 3, 2)).astype(np.float16)
    write_hdf5(folder / "sound.h5", sound)
    write_hdf5(folder / "sound-1.h5", sound[:2], compression="gzip")
    write_hdf5(folder / "sound-2.h5", sound[2:])
    write_hdf5(folder / "query-sound.h5", sound[:2] + 1)
    return sound


def beside(base, **changes):
    of_base = {"features": ["base.h5"], "beside": base}
    query = {"beside": ["query-sound.h5"]}
    return {"train": of_base, "database": {**of_base, "labels": ["base.mat"]}, "query": query, **changes}


def test_dimensions_lie_behind_each_other(folder, videos, sound):
    found = split(folder, dim=6, **beside(["sound.h5"]))
    assert np.array_equal(read(found.database), np.concatenate([videos, sound], axis=2))
    assert (found.query.videos.dim, found.database.videos.itemsize) == (6, 4)
    parts = split(folder, **beside([["sound-1.h5", "sound-2.h5"]]))
    assert parts.digests() == found.digests() and np.array_equal(read(parts.database), read(found.database))
    rows = found.database.videos.subset(np.array([4, 1]))
    assert np.array_equal(next(rows.arrays(2)), np.concatenate([videos, sound], axis=2)[[4, 1]])
    plain = split(folder)
    assert all(found.digests()[role] != plain.digests()[role] for role in ROLES)
    assert found.relevance.digest == plain.relevance.digest
    found.check_unchanged()


def test_every_file_counts_in_the_digest(folder, videos, sound):
    before = split(folder, **beside(["sound.h5"])).digests()
    sound[3, 1, 0] += 1
    write_hdf5(folder / "sound.h5", sound)
    after = split(folder, **beside(["sound.h5"])).digests()
    assert before["database"] != after["database"] and before["query"] == after["query"]


def test_verify_prints_the_digests_of_runs_and_finds_queries_in_the_database(folder, sound):
    changes = beside(["sound.h5"], keep_frames="0:2")
    changes["query"] = {"features": ["base.h5"], "labels": ["base.mat"], "beside": ["sound.h5"], "rows": [1, 2]}
    changes["database"]["rows"] = [0, 1, 5]
    digests, verdict = verified(folder, **changes)
    found = split(folder, **changes)
    assert digests == {role: getattr(found, role).digest for role in ROLES}
    assert any(text.startswith("1 of 2 queries is database videos too") for text in verdict.problems)


def test_status_counts_all_files(folder, sound):
    protocol = load_manifest(manifest(folder, **beside(["sound.h5"], classes="classes.txt")))
    state = state_of(protocol, None)
    assert state.missing == ["classes.txt"] and len(state.found) == 6 and not state.fault


@pytest.mark.parametrize(
    ("base", "words"),
    [
        (["query-sound.h5"], "cannot lie beside"),
        (["short.h5"], "1 frames and 3; the same videos in the same order, with as many frames"),
        (["none.h5"], "none.h5 of protocol mine is missing"),
        ([[]], "`beside` in table [train]"),
        ([3], "`beside` in table [train]"),
        ("sound.h5", "`beside` in table [train]"),
        (["sound.h5", "sound.h5"], "all tables need as many entries in `beside`"),
    ],
)
def test_files_that_cannot_lie_side_by_side_are_named(folder, sound, base, words):
    write_hdf5(folder / "short.h5", sound[:, :1])
    assert words in fault(folder, **beside(base))


def test_sizes_count_all_dimensions(folder, sound):
    assert "says dim = 4, but" in fault(folder, dim=4, **beside(["sound.h5"]))


# names


@pytest.mark.parametrize("file", ["names.txt", "names.csv", "names.npy", "names.h5", "names.mat"])
def test_names_come_from_every_format(folder, file):
    import h5py

    names = [f"{n:06}" for n in range(6)]
    (folder / "names.txt").write_text("\n".join(names))
    (folder / "names.csv").write_text("class,names\n" + "".join(f"a,{name}\n" for name in names))
    write_npy(folder / "names.npy", np.array(names))
    with h5py.File(folder / "names.h5", "w") as opened:
        opened["names"] = names
    write_mat(folder / "names.mat", np.array(names, dtype=object)[:, None], "names")
    assert split(folder, database={"names": [file]}).database.names.tolist() == names
