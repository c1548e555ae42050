"""Manifests of one set of videos that `[split]` divides."""

import numpy as np
import pytest

from vhbench.datasets.manifest_protocol import load_manifest
from vhbench.datasets.problems import load_checked
from vhbench.errors import VhbenchError
from vhbench.testing.files import write_hdf5, write_manifest

NAMES = [f"v_{name}_g{group:02}_c{clip:02}" for name in ("Jump", "Run") for group in (1, 2, 3) for clip in (1, 2)]
LABELS = np.repeat([0, 1], 6)


@pytest.fixture
def one(tmp_path):
    """Features of 12 videos in one file, as `vhbench extract` writes them."""
    import h5py

    videos = np.random.default_rng(0).standard_normal((12, 3, 4)).astype(np.float32)
    with h5py.File(write_hdf5(tmp_path / "feats.h5", videos), "a") as file:
        file["labels"] = LABELS
        file["classes"] = ["Jump", "Run"]
        file["names"] = NAMES
    return tmp_path


def own(folder, top=None, **changes):
    table = {"features": ["feats.h5"], "labels": ["feats.h5"], "names": ["feats.h5"], "by": "group", "queries": 0.3}
    table = {key: value for key, value in {**table, **changes}.items() if value is not None}
    return load_manifest(write_manifest(folder / "own.toml", name="own", **(top or {}), split=table))


def opened(folder, top=None, **changes):
    [split] = load_checked(own(folder, top, **changes), None, False)
    return split


def fault(folder, top=None, **changes):
    with pytest.raises(VhbenchError) as caught:
        opened(folder, top, **changes)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 500
    return message


def read(part):
    return np.concatenate([*part.videos.arrays(100)])


def every(folder):
    import h5py

    with h5py.File(folder / "feats.h5") as file:
        return file["feats"][()]


# [split]


def test_train_is_the_database_and_queries_are_the_others(one):
    split = opened(one, {"classes": "feats.h5"})
    assert split.train is split.database and split.relevance.self_index is None
    assert sorted([*split.query.names, *split.database.names]) == sorted(NAMES)
    assert not set(split.query.groups) & set(split.database.groups)
    rows = [NAMES.index(name) for name in split.query.names]
    assert np.array_equal(read(split.query), every(one)[rows])
    assert split.relevance.query_labels.tolist() == LABELS[rows].tolist()
    assert split.relevance.class_names == ("Jump", "Run")
    assert "problems" not in split.notes


def test_digests_follow_the_choice_of_videos(one):
    found = [opened(one, by=by, seed=seed).digests() for by in ("group", "random") for seed in (0, 1)]
    assert found[0] == opened(one, by="group", seed=0).digests()
    assert len({digests["query"] for digests in found}) == 4 and len({digests["train"] for digests in found}) == 4


def test_clips_of_one_group_on_both_sides_are_a_problem(one):
    split = opened(one, by="random", queries=0.5)
    text = split.notes["problems"]["same_group"]
    shared = np.isin(split.query.groups, split.database.groups).sum()
    assert text.startswith(f"{shared} of 6 queries ha") and "(as v_" in text and "clips of one scene" in text


def test_groups_from_a_file_or_a_pattern(one):
    (one / "groups.txt").write_text("".join(f"{row % 3}\n" for row in range(12)))
    split = opened(one, names=None, groups=["groups.txt"])
    assert split.query.names is None and not set(split.query.groups) & set(split.database.groups)
    split = opened(one, pattern="v_.*_(g[0-9]+)_c.*", queries=0.5)
    assert set(split.query.groups) | set(split.database.groups) == {"g01", "g02", "g03"}
    assert not set(split.query.groups) & set(split.database.groups)


def test_unseen_classes_of_a_split(one):
    from vhbench.protocols.unseen_classes import UnseenVideos

    base = own(one, queries=0.4)
    [split] = UnseenVideos(base, held_out=[1]).load(None)
    [whole] = base.load(None)
    assert set(split.train.names) == {name for name in whole.train.names if "Jump" in name}
    assert {*split.query.names, *split.database.names} == {name for name in NAMES if "Run" in name}
    [everything] = UnseenVideos(base, train_on_all=True, held_out=[1]).load(None)
    assert set(everything.train.names) == {name for name in NAMES if "Jump" in name}
    assert np.array_equal(read(everything.train), every(one)[[NAMES.index(name) for name in everything.train.names]])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"names": None}, "has neither `names` nor `groups`"),
        ({"pattern": "(x).*"}, "12 of 12 names tell no group, the first is 'v_Jump_g01_c01'"),
        ({"names": ["short.txt"]}, "hold 1 names, but there are 12 videos"),
        ({"names": ["none.h5"]}, "none.h5 of protocol own is missing"),
        ({"names": ["plain.h5"]}, "plain.h5 has no 'names' or 'name' or 'videos' or 'video'; it has 'feats'."),
        ({"names": ["blank.txt"]}, "has a blank among its names in line or row 1 (counted from 0)"),
        ({"labels": None}, "lacks `labels` in table [split]"),
        ({"labels": ["short.txt"]}, "label 1 videos"),
        ({"count": 13}, "[split] in"),
        ({"query": 0.2}, "Unknown manifest key 'query': did you mean"),
        ({"by": 3}, "`by` in table [split]"),
        ({"groups": "g.txt"}, "`groups` in table [split]"),
        ({"features": ["feats.h5", "feats.h5"]}, "lists feats.h5 twice"),
        ({"by": "class", "rows": [0, 1, 2, 6]}, "1 class has one video only (1)"),
    ],
)
def test_faults_of_a_split_are_one_sentence(one, changes, words):
    (one / "short.txt").write_text("v_Jump_g01_c01\n")
    (one / "blank.txt").write_text("a\n\nb\n")
    write_hdf5(one / "plain.h5", np.ones((12, 3, 4), np.float32))
    assert words in fault(one, **changes)


@pytest.mark.parametrize(
    ("top", "words"),
    [
        ({"train": {"features": ["feats.h5"]}}, "has [split] and [train]"),
        ({"queries_in_database": True}, "its queries are never database videos"),
    ],
)
def test_a_split_stands_alone(one, top, words):
    assert words in fault(one, top)
