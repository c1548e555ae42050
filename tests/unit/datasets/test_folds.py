"""Several splits of one data set: what each holds, how they are named, and what cannot be."""

import json

import numpy as np
import pytest
from manifest_files import manifest, write_videos

from vhbench.datasets.folds import read_protocol
from vhbench.datasets.manifest_protocol import load_manifest
from vhbench.datasets.splitting import SplitRule, groups_of, query_rows
from vhbench.errors import VhbenchError
from vhbench.plugins.registry import Registry
from vhbench.testing.files import write_hdf5, write_manifest, write_npy

CLIPS = np.array([f"v_{c}_g{g}_c{n}" for c in ("Run", "Jump") for g in range(1, 8) for n in range(1, g + 2)])
CLASSES = np.array([clip.split("_")[1] for clip in CLIPS])


@pytest.mark.parametrize("by", ["random", "class", "group"])
@pytest.mark.parametrize("count", [2, 5])
def test_every_video_is_a_query_of_one_fold(by, count):
    rules = [SplitRule(by=by, folds=count, fold=fold) for fold in range(1, count + 1)]
    folds = [query_rows(rule, CLASSES, CLIPS, groups_of(CLIPS)) for rule in rules]
    assert sorted(np.concatenate(folds).tolist()) == list(range(len(CLIPS)))
    if by == "group":
        groups = [set(groups_of(CLIPS)[rows]) for rows in folds]
        assert sum(map(len, groups)) == len(set.union(*groups)) == 14
        assert max(map(len, groups)) - min(map(len, groups)) <= 1
    else:
        assert max(map(len, folds)) - min(map(len, folds)) <= 1
    if by != "random":
        assert all(set(CLASSES[rows]) == {"Run", "Jump"} for rows in folds)


@pytest.fixture
def own(tmp_path):
    """A manifest of 3 folds of 12 videos."""
    write_hdf5(tmp_path / "feats.h5", np.random.default_rng(0).standard_normal((12, 3, 4)).astype(np.float32))
    write_npy(tmp_path / "labels.npy", np.arange(12) % 2)
    table = {"features": ["feats.h5"], "labels": ["labels.npy"], "folds": 3, "by": "class"}
    return write_manifest(tmp_path / "own.toml", name="own", ks=[3], split=table)


def test_a_split_of_several_folds_is_several_protocols(own):
    registry = Registry()
    folds = registry.to_run(str(own))
    assert [name for name, _ in folds] == [f"{own}-fold{n}" for n in (1, 2, 3)]
    for number, (name, protocol) in enumerate(folds, 1):
        assert protocol.name == registry.protocol(name).name == f"own-fold{number}"
        assert (protocol.ks, protocol.trained_on) == ((3,), "own")
        [split] = protocol.load(None)
        assert split.notes["fold"] == {"of": "own", "number": number, "count": 3}
        assert (len(split.query.videos), len(split.train.videos)) == (4, 8) and split.train is split.database
        json.dumps(split.notes)
    digests = {protocol.load(None)[0].query.digest for _, protocol in folds}
    assert len(digests) == 3
    assert dict(registry.protocol(str(own)).describe())["splits"].startswith("3, run one by one: own-fold1, own-fold2")


def test_manifests_of_their_own_are_splits_of_one_protocol(tmp_path):
    write_videos(tmp_path, np.random.default_rng(0).standard_normal((6, 3, 4)).astype(np.float32))
    files = [manifest(tmp_path, f"s{n}.toml", name=f"set{n}", database={"rows": f"{n}:"}).name for n in (1, 2)]
    path = write_manifest(tmp_path / "both.toml", name="both", title="Both", dataset="ucf101", splits=files)
    first, second = (protocol for _, protocol in Registry().to_run(str(path)))
    assert (first.name, second.name, first.title) == ("both-fold1", "both-fold2", "Both: split 1 of 2")
    assert first.trained_on == second.trained_on == "ucf101"
    [split] = second.load(None)
    assert split.digests() == load_manifest(tmp_path / "s2.toml").load(None)[0].digests()
    assert (split.name, split.notes["fold"]["number"]) == ("both-fold2", 2)


def test_one_split_is_itself(tmp_path):
    write_videos(tmp_path, np.ones((6, 3, 4), np.float32))
    path = str(manifest(tmp_path))
    assert [(name, protocol.name) for name, protocol in Registry().to_run(path)] == [(path, "mine")]


def message(function):
    with pytest.raises(VhbenchError) as caught:
        function()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_takes_one_split_says_how_to_name_it(own):
    registry = Registry()
    assert f"name it, as {own}-fold1" in message(lambda: registry.protocol(str(own)).load(None))
    assert "own.toml-fold3" in message(lambda: registry.protocol(f"{own}-fold4"))
    assert "has 3 splits" in message(lambda: registry.protocol(f"{own}-fold{'9' * 5000}"))
    assert "demo has one split" in message(lambda: registry.protocol("demo-fold1"))
    assert "is of several splits" in message(lambda: load_manifest(own))


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"splits": ["none.toml"]}, "There is no manifest"),
        ({"splits": []}, "must list file names"),
        ({"splits": ["own.toml"]}, "which has several splits itself"),
        ({"splits": ["both.toml"]}, "lists both.toml, which has several splits itself"),
        ({"splits": ["a.toml", "a.toml"]}, "lists a.toml twice"),
        ({"splits": ["a.toml"], "ks": [5]}, "has `splits` and `ks`: that stands in the manifests"),
        ({"splits": ["a.toml"], "split": {}}, "has `splits` and `split`"),
        ({"split": {"folds": 1}}, "is 1: it is a number from 2 to 1000"),
        ({"split": {"folds": 0}}, "must be a positive whole number"),
        ({"split": {"folds": 3, "queries": 0.2}}, "both `folds` and `queries`"),
    ],
)
def test_splits_that_cannot_be_are_named(own, entries, words):
    if "split" in entries and "splits" not in entries:
        entries = {"split": {"features": ["feats.h5"], "labels": ["labels.npy"], **entries["split"]}}
    path = write_manifest(own.with_name("both.toml"), name="both", **entries)
    assert words in message(lambda: read_protocol(path))


def test_too_few_videos_or_groups_are_named():
    rule = SplitRule(folds=5, fold=1, path="p.toml")
    assert "3 videos cannot be divided into 5 folds" in message(lambda: query_rows(rule, np.zeros(3)))
    rule = SplitRule(by="group", folds=5, fold=1, path="p.toml")
    groups = np.array(["a", "b"] * 5)
    assert "are of 2 groups, 'a', 'b': too few for 5 sides" in message(
        lambda: query_rows(rule, np.zeros(10, int), None, groups)
    )
