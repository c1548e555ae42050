"""The protocols to tune on: which videos they hold, and what of the queries they never see."""

import numpy as np
import pytest

from vhbench.datasets.manifest_protocol import load_manifest
from vhbench.datasets.problems import equal_rows, load_checked
from vhbench.errors import DataError, UsageError
from vhbench.plugins.registry import Registry
from vhbench.testing.fakes import make_protocol
from vhbench.testing.files import write_hdf5, write_manifest, write_mat

LABELS = np.arange(40) % 4


@pytest.fixture
def own(tmp_path):
    """A data set with training videos of their own, 40 of them, apart from 8 queries and 12 database videos."""
    videos = np.random.default_rng(0).standard_normal((60, 4, 6)).astype(np.float32)
    parts = {
        "train": (videos[:40], LABELS),
        "query": (videos[40:48], LABELS[:8]),
        "database": (videos[48:], LABELS[:12]),
    }
    tables = {}
    for role, (features, labels) in parts.items():
        write_hdf5(tmp_path / f"{role}.h5", features)
        write_mat(tmp_path / f"{role}.mat", np.eye(4)[labels])
        tables[role] = {"features": [f"{role}.h5"], "labels": [f"{role}.mat"]}
    return write_manifest(tmp_path / "own.toml", name="own", **tables)


def load(manifest, judge="retrieval", share=0.2, seed=0):
    protocol = Registry().protocol(f"{manifest}-tune-{judge}-{share}-{seed}")
    [split] = load_checked(protocol, None, False)
    return protocol, split


def test_held_out_videos_are_asked_for_among_the_other_training_videos(own):
    protocol, split = load(own)
    assert protocol.name == split.name == "own-tune-retrieval-0.2-0" and protocol.trained_on == "own"
    assert (len(split.query.videos), len(split.train.videos)) == (8, 32) and split.database is split.train
    features = np.concatenate([block for part in (split.query, split.train) for block in part.videos.arrays(50)])
    labels = np.concatenate([split.relevance.query_labels, split.relevance.database_labels])
    order = [next(i for i, video in enumerate(features) if np.array_equal(video, wanted)) for wanted in train(own)]
    assert sorted(order) == list(range(40)), "every training video plays one role"
    assert np.array_equal(labels[order], np.eye(4, dtype=bool)[LABELS])
    assert "problems" not in split.notes


def train(manifest):
    import h5py

    with h5py.File(manifest.with_name("train.h5")) as file:
        return file["feats"][:]


def test_by_loss_there_is_no_label_and_each_held_out_video_is_relevant_to_itself_alone(own):
    for role in ("train", "query", "database"):
        own.with_name(f"{role}.mat").unlink()
    protocol, split = load(own, "loss")
    assert protocol.judged_by_loss and split.database is split.query
    assert np.array_equal(split.relevance.self_index, np.arange(8))
    assert np.array_equal(split.relevance.query_labels, split.relevance.database_labels)


@pytest.mark.parametrize("judge", ["loss", "retrieval"])
@pytest.mark.parametrize("change", ["shuffled", "removed"])
def test_the_queries_labels_change_nothing(own, judge, change):
    before = load(own, judge)[1].digests()
    for role, count in (("query", 8), ("database", 12)):
        own.with_name(f"{role}.mat").unlink()
        if change == "shuffled":
            write_mat(own.with_name(f"{role}.mat"), np.eye(4)[np.random.default_rng(1).permutation(LABELS)[:count]])
    assert load(own, judge)[1].digests() == before


def test_share_and_seed_decide_which_videos_are_held_out(own):
    digests = [load(own, share=share, seed=seed)[1].query.digest for share, seed in ((0.2, 0), (0.2, 1), (0.3, 0))]
    assert len(set(digests)) == 3 and load(own)[1].query.digest == digests[0]


def test_a_training_video_that_is_a_query_takes_no_part_and_none_is_learnt_from_that_is_held_out(own):
    videos = train(own)
    videos[1::2] = videos[0::2]  # 1 is like 0, 3 like 2, ...
    write_hdf5(own.with_name("train.h5"), videos)
    write_hdf5(own.with_name("query.h5"), np.concatenate([videos[[6]], np.ones((7, 4, 6), np.float32)]))
    split = load(own)[1]
    held, learnt = (
        {video.tobytes() for b in part.videos.arrays(50) for video in b} for part in (split.query, split.train)
    )
    assert not held & learnt and videos[6].tobytes() not in held | learnt
    assert split.notes["left_out"] == 40 - len(split.query.videos) - len(split.train.videos) > 2


def test_too_few_videos_are_refused(own):
    with pytest.raises(DataError, match=r"cannot hold 0\.03 of 40 training videos of own out: at least 2 are held out"):
        load(own, share=0.03)


def test_queries_that_are_the_training_videos_leave_none(own):
    text = own.read_text()
    own.write_text(text.replace("query.h5", "train.h5").replace("query.mat", "train.mat"))
    with pytest.raises(DataError, match="of 0 training videos"):
        load(own)


def test_labels_of_the_training_videos_are_needed_for_retrieval_alone(own):
    own.write_text(own.read_text().replace('labels = ["train.mat"]', ""))
    assert len(load(own, "loss")[1].query.videos) == 8
    with pytest.raises(DataError, match="own has no labels for its training videos"):
        load(own)


@pytest.fixture
def divided(tmp_path):
    """Write a manifest of one set of 40 videos, 8 of which are queries, or that are several folds."""
    videos = np.random.default_rng(0).standard_normal((40, 4, 6)).astype(np.float32)
    write_hdf5(tmp_path / "all.h5", videos)
    write_mat(tmp_path / "all.mat", LABELS)

    def write(**rule):
        table = {"features": ["all.h5"], "labels": ["all.mat"], **rule}
        return write_manifest(tmp_path / "divided.toml", name="divided", split=table)

    return write


@pytest.mark.parametrize("judge", ["loss", "retrieval"])
def test_of_one_set_that_is_divided_the_queries_take_no_part(divided, judge):
    manifest = divided(queries=0.2)
    [whole] = load_manifest(manifest).load(None)
    split = load(manifest, judge)[1]
    digests = np.concatenate([split.query.row_digests, split.train.row_digests])
    assert len(digests) == len(whole.train.videos) == 32 and not equal_rows(digests, whole.query.row_digests).any()
    assert equal_rows(digests, whole.train.row_digests).all()


def test_of_several_splits_one_is_named(divided):
    manifest = divided(folds=4)
    with pytest.raises(UsageError, match=r"divided is of several splits, .* tune on one of them, as on divided-fold1"):
        load(manifest)
    protocol, split = load(f"{manifest}-fold2")
    assert protocol.name == "divided-fold2-tune-retrieval-0.2-0" and len(split.train.videos) == 24


def test_a_protocol_that_searches_another_data_set_counts_as_the_one_that_it_trains_on():
    registry = Registry()
    protocol = registry.protocol("demo-to-demo-shift-tune-loss-0.1-0")
    assert protocol.name == "demo-tune-loss-0.1-0" == registry.protocol("demo-tune-loss-0.1-0").name
    assert registry.protocol("demo-to-demo-shift").name == "demo-to-demo-shift"


def test_a_path_may_hold_anything(tmp_path):
    manifest = make_protocol(tmp_path / "a-to-b")
    assert load(manifest, "loss", 0.25)[0].name == "tiny-tune-loss-0.25-0"


@pytest.mark.parametrize("name", ["demo-tune-loss-0.0-0", "demo-tune-queries-0.1-0", "nowhere-tune-loss-0.1-0"])
def test_what_names_no_such_protocol_is_unknown(name):
    with pytest.raises(UsageError, match="Unknown protocol"):
        Registry().protocol(name)
