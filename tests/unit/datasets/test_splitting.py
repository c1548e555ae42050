"""Splitting one set of videos: the rule as it is stated, counted out by hand and against a slow version of it."""

import hashlib
from fractions import Fraction

import numpy as np
import pytest

from vhbench.datasets.splitting import SplitRule, groups_of, query_rows
from vhbench.errors import DataError, UsageError

CLIPS = np.array(
    [f"v_{c}_g{g:02}_c{n:02}" for c in ("Run", "Jump", "Swim") for g in range(1, 8) for n in range(1, g + 2)]
)
CLASSES = np.array([clip.split("_")[1] for clip in CLIPS])


def digest(seed, name):
    return hashlib.sha256(f"{seed} {name}".encode()).hexdigest()


def rounded(share, count):
    return min(max(int(Fraction(str(share)) * count + Fraction(1, 2)), 1), count - 1)


def slowly(by, share, seed, names, classes, groups):
    """The names of the queries, each step as the docstring has it."""
    if by != "group":
        queries = []
        of_class = [[n for n, c in zip(names, classes, strict=True) if c == k] for k in set(classes)]
        for part in [names] if by == "random" else of_class:
            queries += sorted(part, key=lambda name: digest(seed, name))[: rounded(share, len(part))]
        return set(queries)
    queries = set()
    for one in set(classes):
        members = {}
        for name, c, group in zip(names, classes, groups, strict=True):
            if c == one:
                members.setdefault(group, []).append(name)
        wanted = Fraction(str(share)) * sum(map(len, members.values()))
        taken = []
        for group in sorted(members, key=lambda name: digest(seed, name))[:-1]:
            if taken and abs(len(taken) + len(members[group]) - wanted) >= abs(len(taken) - wanted):
                break
            taken += members[group]
        queries |= set(taken)
    return queries


def rule(**values):
    return SplitRule.of(values, "p.toml")


@pytest.mark.parametrize("by", ["random", "class", "group"])
@pytest.mark.parametrize(("share", "seed"), [(0.2, 0), (0.5, 3), (0.05, 1), (0.9, 2)])
def test_the_rule_is_what_it_says(by, share, seed):
    groups = groups_of(CLIPS)
    rows = query_rows(rule(queries=share, seed=seed, by=by), CLASSES, CLIPS, groups)
    assert rows.tolist() == sorted(set(rows.tolist()))
    wanted = slowly(by, share, seed, CLIPS.tolist(), CLASSES.tolist(), groups.tolist())
    assert set(CLIPS[rows]) == wanted and 0 < len(wanted) < len(CLIPS)


@pytest.mark.parametrize("by", ["random", "class", "group"])
def test_the_order_of_the_videos_does_not_matter(by):
    order = np.random.default_rng(0).permutation(len(CLIPS))
    found = [
        set(names[query_rows(rule(by=by), classes, names, groups_of(names))])
        for names, classes in ((CLIPS, CLASSES), (CLIPS[order], CLASSES[order]))
    ]
    assert found[0] == found[1]


def test_another_seed_is_another_split_and_videos_without_names_go_by_their_rows():
    labels = np.zeros(40, dtype=int)
    splits = [tuple(query_rows(rule(seed=seed), labels).tolist()) for seed in range(20)]
    assert len(set(splits)) == 20 and all(len(rows) == 8 for rows in splits)
    by_row = sorted(range(40), key=lambda row: digest(0, row))[:8]
    assert splits[0] == tuple(sorted(by_row))


def test_each_class_gives_its_share_and_each_group_stays_whole():
    labels = np.repeat([4, 9], [10, 30])
    rows = query_rows(rule(by="class", queries=0.3), labels)
    assert np.bincount(labels[rows]).tolist() == [0] * 4 + [3] + [0] * 4 + [9]
    groups = groups_of(CLIPS)
    chosen = np.isin(np.arange(len(CLIPS)), query_rows(rule(by="group"), CLASSES, CLIPS, groups))
    assert not set(groups[chosen]) & set(groups[~chosen])
    assert set(CLASSES[chosen]) == set(CLASSES[~chosen]) == {"Run", "Jump", "Swim"}


def test_groups_of_several_classes_and_videos_of_several_are_split_over_all():
    groups = np.array(["a", "a", "b", "b", "c", "c", "d", "d"])
    mixed = np.array([0, 1] * 4)
    assert len(query_rows(rule(by="group", queries=0.5), mixed, None, groups)) == 4
    several = np.ones((8, 2), dtype=bool)
    assert len(query_rows(rule(by="group", queries=0.5), several, None, groups)) == 4
    assert len(query_rows(rule(by="random", queries=0.5), several)) == 4
    with pytest.raises(DataError, match='several classes or none, so by = "class" is not possible'):
        query_rows(rule(by="class"), several)


def test_groups_are_told_by_names():
    names = np.array(["v_Jump_g01_c01", "Jump/v_Jump_g01_c02.avi", "a\\v_Run_g12_c10.mp4"])
    assert groups_of(names).tolist() == ["v_Jump_g01", "v_Jump_g01", "v_Run_g12"]
    assert groups_of(np.array(["v_Jump_g01_c01", "jump1"])) is None and groups_of(None) is None
    assert groups_of(np.array(["film1_shot2", "film1_shot3"]), "(film[0-9]+)_.*").tolist() == ["film1", "film1"]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"queries": 0.0}, "is 0.0: it is the share of the videos that are queries, above 0 and below 1"),
        ({"queries": 1.0}, "`queries` in table [split] of p.toml is 1.0"),
        ({"queries": 20}, "is 20: it is the share"),
        ({"queries": float("nan")}, "is nan"),
        ({"queries": 10**5000}, "is too large a value"),
        ({"seed": -1}, "`seed` in table [split] of p.toml is -1: it is a whole number from 0 up"),
        ({"seed": True}, "is True"),
        ({"by": "classes"}, "did you mean 'class'?"),
        ({"groups": ["g.txt"]}, 'which only by = "group" uses'),
        ({"by": "group", "groups": ["g.txt"], "pattern": "(.*)"}, "both `groups` and `pattern`"),
        ({"by": "group", "pattern": "(a"}, "is no regular expression"),
        ({"by": "group", "pattern": "a+"}, "has no brackets"),
    ],
)
def test_impossible_rules_are_one_sentence(values, words):
    with pytest.raises((DataError, UsageError)) as caught:
        rule(**values)
    assert words in str(caught.value) and len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("by", "labels", "groups", "words"),
    [
        ("random", [0], None, "1 video cannot be split"),
        ("class", [0, 0, 1, 2, 2, 3], None, "2 classes have one video only (1, 3), which cannot be on both sides"),
        ("group", [0, 0, 1, 1], ["a", "b", "c", "c"], "1 class has one group only (1)"),
        ("group", [0, 0], ["a", "a"], "the 2 videos are of 1 group, 'a': too few for 2 sides"),
    ],
)
def test_what_cannot_be_split_is_named(by, labels, groups, words):
    with pytest.raises(DataError) as caught:
        query_rows(rule(by=by), np.array(labels), None, None if groups is None else np.array(groups))
    assert words in str(caught.value)
