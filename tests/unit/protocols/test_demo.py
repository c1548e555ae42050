import dataclasses
import subprocess
import sys
import warnings

import numpy as np
import pytest

from vhbench.datasets.problems import load_checked
from vhbench.errors import DataError, UsageError
from vhbench.plugins.registry import Registry
from vhbench.protocol import Part, Protocol, Relevance, Split
from vhbench.protocols import cross_dataset, demo, demo_copies, unseen_classes
from vhbench.protocols._demo_features import describe, to_features
from vhbench.protocols._demo_video import COUNTS, LOOKS, MOTIONS, _paths, class_names, digit_images, frames, labels
from vhbench.videos import VideoSet


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """A cache folder that holds both sets; made once."""
    folder = tmp_path_factory.mktemp("demo-cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VHBENCH_CACHE", str(folder))
        for name in LOOKS:
            demo.load_stored(name)
    return folder


@pytest.fixture
def cached(cache, monkeypatch):
    monkeypatch.setenv("VHBENCH_CACHE", str(cache))
    return cache


@pytest.fixture
def split(cached):
    (split,) = demo.Demo("demo").load(None)
    return split


def features(part):
    return np.concatenate(list(part.videos.arrays(1000)))


def map_at_20(order, query_labels, database_labels):
    """Mean AP@20 over min(R, 20) of ranked database rows (queries, items)."""
    hits = database_labels[order[:, :20]] == query_labels[:, None]
    precision = hits.cumsum(axis=1) / np.arange(1, 21)
    relevant = (database_labels == query_labels[:, None]).sum(axis=1)
    return float(((hits * precision).sum(axis=1) / np.minimum(relevant, 20)).mean())


def pooled_cosine_order(split):
    query, database = (features(part).mean(axis=1) for part in (split.query, split.database))
    query, database = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (query, database))
    return np.argsort(-query @ database.T, axis=1, kind="stable")


def fake(name, train_labels, query_labels, database_labels, frames=8, dim=4, self_index=None):
    """A protocol of constant videos whose first value is their row, with these labels."""

    class Fake(Protocol):
        title = f"fake {name}"

        def load(self, data, *, allow_counts=False):
            parts = []
            for role, given in enumerate((train_labels, query_labels, database_labels)):
                rows = np.arange(len(given), dtype=np.float32)[:, None, None]
                parts.append(Part(VideoSet(np.tile(rows, (1, frames, dim))), f"{name} {role}"))
            return [Split(name, *parts, Relevance.from_labels(query_labels, database_labels, self_index))]

    protocol = Fake()
    protocol.name = name
    return protocol


def row_numbers(part):
    return features(part)[:, 0, 0].astype(int).tolist()


# the demo sets


@pytest.mark.parametrize("name", LOOKS)
def test_two_builds_are_equal_and_are_the_published_ones(cached, name):
    made = demo.make(name)
    np.testing.assert_array_equal(made, demo.load_stored(name))
    assert demo.digest(made) == demo.EXPECTED[name]


def test_form(split):
    assert (len(split.train.videos), len(split.query.videos), len(split.database.videos)) == (1240, 300, 1240)
    assert (split.train.videos.frames, split.train.videos.dim) == (16, 128)
    assert split.train.digest == split.database.digest != split.query.digest
    assert split.relevance.self_index is None
    assert class_names()[split.relevance.query_labels[10]] == "4 moving left"
    for given, each in ((split.relevance.database_labels, 62), (split.relevance.query_labels, 15)):
        np.testing.assert_array_equal(np.bincount(given), np.full(20, each))
    assert [p.name for p in demo.protocols()] == ["demo", "demo-shift"]
    assert all(p.budget == "quick" and p.synthetic for p in demo.protocols())


def test_features_have_the_fields_scale_and_sparsity(split):
    values = features(split.train)
    assert values.min() == 0
    assert 0.8 < np.square(values).mean() < 1.2
    assert 0.2 < (values > 0).mean() < 0.3


def test_every_stored_byte_is_exact_as_a_feature():
    stored = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(to_features(stored).astype(np.float64) * 16, stored)


def test_pooled_frames_rank_neither_perfectly_nor_at_random(split):
    order = pooled_cosine_order(split)
    assert 0.4 < map_at_20(order, split.relevance.query_labels, split.relevance.database_labels) < 0.65


def test_left_and_right_differ_in_order_alone():
    left, right = (MOTIONS.index(f"moving {side}") for side in ("left", "right"))
    for look in LOOKS.values():
        paths = _paths(look.size)
        np.testing.assert_array_equal(paths[left][::-1], paths[right])
        assert not np.array_equal(paths[left], paths[right])


def test_a_frame_is_described_on_its_own():
    pictures = frames("demo", "query", np.arange(3))
    np.testing.assert_array_equal(describe(pictures[:, ::-1]), describe(pictures)[:, ::-1])


def test_frames_draws_the_videos_asked_for(split):
    rows = np.array([77, 3])
    pictures = frames("demo", "query", rows)
    assert (pictures.shape, pictures.dtype) == ((2, 16, 32, 32), np.uint8)
    np.testing.assert_array_equal(to_features(describe(pictures)), features(split.query)[rows])


@pytest.mark.parametrize(("name", "role", "row"), [("dmo", "query", 0), ("demo", "train", 0), ("demo", "query", 300)])
def test_frames_refuses_what_does_not_exist(name, role, row):
    with pytest.raises(UsageError):
        frames(name, role, np.array([row]))


def test_query_digits_are_in_no_database():
    query, database = (
        set(np.concatenate([digit_images(name, role) for name in LOOKS])) for role in ("query", "database")
    )
    assert len(query) > 100
    assert not query & database


def test_shift_looks_different():
    plain, shifted = (frames(name, "query", np.arange(100)).astype(int) for name in LOOKS)
    assert (plain > 90).mean() < 0.8 * (shifted > 90).mean()  # larger digits
    assert plain.max() > shifted.max()  # dimmer light
    assert plain.min() < shifted.min()


def test_no_video_of_a_set_occurs_twice(split):
    everything = np.concatenate([features(split.query), features(split.database)])
    assert len(np.unique(everything.reshape(len(everything), -1), axis=0)) == len(everything)


# the cache


@pytest.mark.parametrize("damage", [b"", b"not a zip file", "flip"])
def test_damaged_cache_is_made_again(cached, monkeypatch, tmp_path, damage):
    good = demo.load_stored("demo")
    (kept,) = cached.glob("demo-v*.npz")
    content = bytearray(kept.read_bytes())
    content[len(content) // 2] ^= 1
    path = tmp_path / kept.name
    path.write_bytes(content if damage == "flip" else damage)
    monkeypatch.setenv("VHBENCH_CACHE", str(tmp_path))
    made = []
    monkeypatch.setattr(demo, "make", lambda name: made.append(name) or good)
    np.testing.assert_array_equal(demo.load_stored("demo"), good)
    np.testing.assert_array_equal(demo.load_stored("demo"), good)
    assert made == ["demo"]


def test_other_data_are_used_with_a_warning(cached, monkeypatch, tmp_path):
    other = demo.load_stored("demo") ^ 1
    monkeypatch.setenv("VHBENCH_CACHE", str(tmp_path))
    monkeypatch.setattr(demo, "make", lambda name: other)
    for _ in range(2):  # as made, and from the cache
        with pytest.warns(UserWarning, match="do not compare"):
            np.testing.assert_array_equal(demo.load_stored("demo"), other)


def test_a_folder_that_cannot_be_written_costs_only_the_cache(cached, monkeypatch, tmp_path):
    good = demo.load_stored("demo")
    (tmp_path / "file").touch()
    monkeypatch.setenv("VHBENCH_CACHE", str(tmp_path / "file" / "folder"))
    monkeypatch.setattr(demo, "make", lambda name: good)
    with pytest.warns(UserWarning, match="VHBENCH_CACHE"):
        np.testing.assert_array_equal(demo.load_stored("demo"), good)


def test_listing_and_loading_from_the_cache_import_nothing_heavy(cached):
    code = (
        "import sys; from vhbench.protocols import cross_dataset, demo, demo_copies, unseen_classes\n"
        "[p.describe() for m in (cross_dataset, demo, demo_copies, unseen_classes) for p in m.protocols()]\n"
        "demo.Demo('demo').load(None)\n"
        "print([m for m in ('torch', 'sklearn', 'scipy', 'PIL') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_the_published_sets_load_without_a_warning(cached):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for protocol in demo.protocols():
            protocol.load(None)
    assert [str(warning.message) for warning in caught] == []


# stored results refer to these: with a change here they and new ones never meet again


def test_the_digests_of_the_protocols_made_of_the_demo_are_pinned(cached):
    (unseen,) = Registry().protocol("demo-unseen").load(None)
    assert unseen.digests() == {
        "train": "718f51abca7faa03868eedd9f8e818ef04f7f9db3b4de049d71c2628e6d3662d",
        "query": "4ab2e5b4b94fc3d9a736e626d528701a6795bb39897e44d7d6a688f3ba79afa5",
        "database": "ff8299c179e20f5381ac220eb64d4fe6c91b35a5bc6473d501ca2ebf81324408",
        "relevance": "e707d2938efc6fee927dbec5607a6002a3c0df6076ca43ccf470575cb8c974f5",
    }
    shift, own = Registry().protocol("demo-to-demo-shift").load(None)
    assert shift.digests() == {
        "train": "5dcf03001346b4cc9d19797c1f3a370b4d6bd3fbceff7382d1c63ff7e426dd34",
        "query": "0f0fa3bbb54871d78377a21a0ec48dd7db089183e361b7fd1d17fbaeddb80da1",
        "database": "1d78b578158fb0100e54f8e9ce45ce3db9566fd57b59d443a180c60399f8227d",
        "relevance": "bc8ce28b4eeaca4ea104ebfe8624fc01db5a81f5edaa458a9a9e7774a12450db",
    }
    assert own.digests() == {
        "train": "5dcf03001346b4cc9d19797c1f3a370b4d6bd3fbceff7382d1c63ff7e426dd34",
        "query": "3f620b47fa5e0750dc1e334a0bdb680f78a9baae09748478fe94dd19b2c3af4b",
        "database": "5dcf03001346b4cc9d19797c1f3a370b4d6bd3fbceff7382d1c63ff7e426dd34",
        "relevance": "bc8ce28b4eeaca4ea104ebfe8624fc01db5a81f5edaa458a9a9e7774a12450db",
    }
    (near,) = Registry().protocol("demo-copies").load(None)
    assert near.digests() == {
        "train": "5dcf03001346b4cc9d19797c1f3a370b4d6bd3fbceff7382d1c63ff7e426dd34",
        "query": "6bfbc6768318cb508437e2a4b7d598234960ede8e1b2634730583de226c29d17",
        "database": "5dcf03001346b4cc9d19797c1f3a370b4d6bd3fbceff7382d1c63ff7e426dd34",
        "relevance": "17a376c55faf76e401023a70fd8ceb3c1025b23d80b811e8f82628579881dd41",
    }


# copies


def test_each_copy_has_its_source_alone_as_relevant(cached, split):
    (near,) = load_checked(demo_copies.DemoCopies(), None, allow_counts=False)
    assert near.notes == {}  # no copy is its source
    assert near.database.digest == near.train.digest == split.database.digest
    relevant = near.relevance.query_labels[:, None] == near.relevance.database_labels
    assert (relevant.sum(axis=1) == 1).all()
    order = pooled_cosine_order(near)
    found = map_at_20(order, near.relevance.query_labels, near.relevance.database_labels)
    assert 0.5 < found < 0.9
    assert 0.5 < (order[:, 0] == relevant.argmax(axis=1)).mean() < 0.9


# across data sets


def test_cross_dataset_splits_share_the_training_part(cached):
    protocol = cross_dataset.protocols()[0]
    assert protocol.name == "demo-to-demo-shift"
    main, own = protocol.load(None)
    assert (main.name, own.name) == ("demo-shift", "demo")
    assert main.train is own.train
    assert own.digests() == demo.Demo("demo").load(None)[0].digests()
    shift = demo.Demo("demo-shift").load(None)[0].digests()
    assert {**main.digests(), "train": None} == {**shift, "train": None}
    assert len({main.train.digest, main.query.digest, main.database.digest, own.query.digest}) == 4


def test_cross_dataset_of_unlike_features_is_an_error():
    one = np.array([0])
    for other in (fake("b", one, one, one, frames=9), fake("b", one, one, one, dim=5)):
        with pytest.raises(DataError, match="a-to-b is impossible"):
            cross_dataset.CrossDataset(fake("a", one, one, one), other).load(None)


def test_cross_dataset_version_rises_with_either():
    one = np.array([0])
    a, b = (fake(name, one, one, one) for name in "ab")
    assert cross_dataset.CrossDataset(a, b).version == 1
    b.version = 3
    assert cross_dataset.CrossDataset(a, b).version == 3


# unseen classes


def test_unseen_classes_of_the_demo(cached, split):
    protocol = unseen_classes.protocols()[0]
    (unseen,) = protocol.load(None)
    assert protocol.name == unseen.name == "demo-unseen"
    held = set(protocol.held_out_classes(20).tolist())
    assert len(held) == 6
    assert set(unseen.relevance.query_labels) == set(unseen.relevance.database_labels) == held
    seen = ~np.isin(labels("database"), sorted(held))
    np.testing.assert_array_equal(features(unseen.train), features(split.train)[seen])
    np.testing.assert_array_equal(features(unseen.database), features(split.database)[~seen])
    assert len(unseen.query.videos) == 6 * COUNTS["query"] // 20
    assert not set(unseen.digests().values()) & set(split.digests().values())


def test_unseen_classes_depend_on_seed_or_list(cached):
    base = demo.Demo("demo")

    def digests(held_out, seed=0):
        return unseen_classes.UnseenClasses(base, base.train_labels, held_out, seed).load(None)[0].digests()

    drawn = digests(6)
    assert drawn == digests(6)
    for other in (digests(6, seed=1), digests(5), digests([0, 1, 2])):
        assert all(drawn[role] != other[role] for role in drawn)
    assert digests([2, 1, 0]) == digests([0, 1, 2])


def test_unseen_classes_leave_out_videos_of_both_kinds_and_follow_the_query_in_the_database():
    train = np.array([[1, 0, 0], [0, 1, 0], [0, 1, 1], [0, 0, 0], [1, 1, 0]])
    items = np.array([[0, 0, 1], [0, 1, 0], [0, 1, 1], [0, 0, 1]])
    queries = items[[3, 2, 1, 0, 0]]
    base = fake("base", train, queries, items, self_index=np.array([3, 2, 1, -1, 0]))
    (split,) = unseen_classes.UnseenClasses(base, lambda data: train, [2]).load(None)
    assert row_numbers(split.train) == [0, 1, 4]
    assert row_numbers(split.query) == [0, 3, 4]
    assert row_numbers(split.database) == [0, 3]
    assert split.relevance.self_index.tolist() == [1, -1, 0]
    np.testing.assert_array_equal(split.relevance.query_labels, queries[[0, 3, 4]])


@pytest.mark.parametrize("held_out", [0, 3, 4, [], [3], [-1], [0, 1, 2]])
def test_unseen_classes_that_do_not_exist_are_an_error(held_out):
    three = np.arange(3)
    protocol = unseen_classes.UnseenClasses(fake("base", three, three, three), lambda data: three, held_out)
    with pytest.raises(DataError, match="cannot hold out"):
        protocol.load(None)


def test_unseen_classes_without_queries_are_an_error():
    three = np.arange(3)
    protocol = unseen_classes.UnseenClasses(fake("base", three, np.array([0, 1]), three), lambda data: three, [2])
    with pytest.raises(DataError, match="no query videos"):
        protocol.load(None)


def test_methods_are_handed_no_labels(cached):
    for module in (demo, demo_copies, cross_dataset, unseen_classes):
        for protocol in (p for p in module.protocols() if p.name.startswith("demo")):
            for split in protocol.load(None):
                for part in (split.train, split.query, split.database):
                    known = ["videos", "digest", "row_digests", "stamp", "names", "groups"]
                    assert [field.name for field in dataclasses.fields(part)] == known
                    assert set(vars(part.videos)) == {"_features", "_rows", "_half"}


# the network


@pytest.mark.slow
def test_uvvh_beats_lsh_and_uses_the_order_of_frames(split):
    from vhbench.method import Budget, FitContext
    from vhbench.methods.lsh import LSH
    from vhbench.methods.uvvh import UVVH
    from vhbench.scoring import evaluate

    query = features(split.query)
    rng = np.random.default_rng(0)
    shuffled = VideoSet(np.stack([video[rng.permutation(len(video))] for video in query]))
    ctx = FitContext(seed=0, budget=Budget(epochs=20))

    def score(method, videos):
        codes = method.encode(videos), method.encode(split.database.videos)
        return evaluate(*codes, split.relevance.query_labels, split.relevance.database_labels).map(20, den="min")

    uvvh, lsh = (method(16).fit(split.train.videos, ctx) for method in (UVVH, LSH))
    assert score(uvvh, split.query.videos) > score(lsh, split.query.videos) + 0.05
    assert score(uvvh, shuffled) < 0.6 * score(uvvh, split.query.videos)
