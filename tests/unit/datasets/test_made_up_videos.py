"""Made-up videos: the same bytes everywhere, and shaped like real features."""

import hashlib
from types import SimpleNamespace

import numpy as np
import pytest

from vhbench.datasets.made_up_videos import VideoMaker, Videos, choose
from vhbench.method import Budget, FitContext
from vhbench.plugins.registry import Registry
from vhbench.scoring import evaluate
from vhbench.videos import VideoSet


def draw(name, number, count):
    """Return random words, straight from the description of Philox's keys and counters."""
    key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:16], "little")
    return np.random.Philox(key=key, counter=number * 2**64).random_raw(count).tolist()


def draw_bytes(name, number, count):
    words = draw(name, number, (count + 7) // 8)
    values = [word >> 8 * place & 255 for word in words for place in range(8)]
    return [value - 256 if value > 127 else value for value in values[:count]]


def video_by_hand(name, seed, stream, row, label, classes, frames, dim):
    """Return one video of one label in whole numbers, loop by loop: 512 times its features; and the greatest sum."""
    prototype = draw_bytes(f"{seed}/{name}/classes", 0, classes * 32)[32 * label : 32 * label + 32] + [0] * 96
    own = draw_bytes(f"{seed}/{name}/{stream}", row, (2 * frames + 1) * 128)
    own = [own[start : start + 128] for start in range(0, len(own), 128)]
    order = draw(f"{seed}/{dim}/layer", 0, dim * 128)
    values = draw_bytes(f"{seed}/{dim}/layer", 1, dim * 24)
    bells = draw_bytes(f"{seed}/{dim}/layer", 2, 4 * dim)
    drift, video, greatest = [2 * value for value in own[0]], [], 0
    for t in range(frames):
        if t:
            drift = [7 * before // 8 + step for before, step in zip(drift, own[t], strict=True)]
        inputs = [
            (290 * p + 170 * o + 50 * d + 75 * n) // 128
            for p, o, d, n in zip(prototype, own[2 * frames], drift, own[frames + t], strict=True)
        ]
        frame = []
        for j in range(dim):
            taps = sorted(range(128), key=order[128 * j : 128 * j + 128].__getitem__)[:24]
            weights = [(-2, -1, 1, 2)[values[24 * j + i] & 3] for i in range(24)]
            threshold = 950 + 780 * sum(bells[j::dim]) // 148
            products = [weight * inputs[tap] for weight, tap in zip(weights, taps, strict=True)]
            products.append(-threshold if threshold % 2 else -threshold + 1)
            frame.append(max(sum(products), 0))
            greatest = max(greatest, sum(map(abs, products)))
        video.append(frame)
    return np.array(video), greatest


@pytest.mark.parametrize("row", [0, 7, 1000])
def test_features_are_those_computed_by_hand_in_whole_numbers(row):
    source = VideoMaker("toy", 5, classes=6, frames=4, dim=40)
    videos = Videos("train", np.array([row]))
    expected, greatest = video_by_hand("toy", 5, "train", row, source.labels(videos).argmax(), 6, 4, 40)
    assert np.array_equal(source.features(videos)[0] * 512, expected)
    assert greatest < 2**24, "float32 holds every partial sum"


def test_bytes_are_those_of_the_first_machine_that_made_them():
    source = VideoMaker("ucf101", 0, classes=101, frames=25, dim=4096)
    videos = Videos("train", np.arange(3))
    assert hashlib.sha256(source.features(videos).tobytes()).hexdigest() == (
        "f24790a9715d48b8c6634417945715976a29ea3f08814f8273fd16ea22cf9abb"
    )
    assert hashlib.sha256(source.labels(videos).tobytes()).hexdigest() == (
        "75eef5240055251d4d9a070ef92ce8e742ef1937a43e752daf734ccfb9f3f07c"
    )


@pytest.mark.parametrize("size", [1, 3, 64])
def test_videos_do_not_depend_on_what_they_are_made_with(size):
    source = VideoMaker("toy", 0, classes=7, frames=25, dim=512, several=True)
    rows = np.random.default_rng(0).permutation(100)
    together = source.features(Videos("train", rows))
    blocks = [Videos("train", rows[start : start + size]) for start in range(0, 100, size)]
    assert np.array_equal(np.concatenate([source.features(block) for block in blocks]), together)
    assert np.array_equal(
        np.concatenate([source.labels(block) for block in blocks]), source.labels(Videos("train", rows))
    )


@pytest.fixture(scope="module")
def vgg():
    """Videos of the real size: 12 of each of 10 classes."""
    source = VideoMaker("toy", 0, classes=10, frames=25, dim=4096)
    videos = Videos("train", np.arange(120))
    return SimpleNamespace(features=source.features(videos), classes=source.labels(videos).argmax(axis=1))


def test_three_quarters_of_the_values_are_zero_and_none_is_negative(vgg):
    assert vgg.features.min() == 0
    assert 0.74 < (vgg.features == 0).mean() < 0.80


def test_squared_norms_are_as_in_the_field(vgg):
    norms = np.square(vgg.features).sum(axis=2)
    assert 3300 < norms.mean() < 5000
    assert norms.min() > 2000 and norms.max() < 10_000


def cosines(a, b):
    return (a * b).sum(axis=-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)


def test_frames_are_the_closer_the_nearer_in_time(vgg):
    means = [cosines(vgg.features[:, :-lag], vgg.features[:, lag:]).mean() for lag in (1, 2, 4, 8, 16)]
    assert (np.diff(means) < -0.005).all()
    assert 0.8 < means[0] < 0.95


def test_videos_of_a_class_are_closer_than_others(vgg):
    means = vgg.features.mean(axis=1)
    similar = cosines(means[:, None], means[None])
    same = vgg.classes[:, None] == vgg.classes
    np.fill_diagonal(similar, np.nan)
    assert np.nanmean(similar[same]) > similar[~same].mean() + 0.15
    assert np.nanmin(similar[same]) < np.nanmax(similar[~same]), "but not so that retrieval is trivial"


def test_every_round_of_videos_has_each_class_once():
    hot = VideoMaker("toy", 0, classes=9, frames=2, dim=8).labels(Videos("train", np.arange(90)))
    assert (hot.sum(axis=1) == 1).all()
    assert (hot.reshape(10, 9, 9).sum(axis=1) == 1).all()
    assert len({tuple(order) for order in hot.argmax(axis=1).reshape(10, 9)}) > 1


def test_a_video_of_two_labels_lies_between_both_classes():
    source = VideoMaker("toy", 0, classes=12, frames=10, dim=512, several=True)
    videos = Videos("train", np.arange(600))
    means, hot = source.features(videos).mean(axis=1), source.labels(videos)
    alone = hot.sum(axis=1) == 1
    centres = np.stack([means[alone & (hot[:, c] == 1)].mean(axis=0) for c in range(12)])
    similar = cosines(means[~alone, None], centres[None])
    mine = hot[~alone] == 1
    assert (similar * mine).sum() / mine.sum() > (similar * ~mine).sum() / (~mine).sum() + 0.05


def test_streams_and_names_have_videos_of_their_own():
    one, other = (VideoMaker(name, 0, classes=4, frames=3, dim=16) for name in ("one", "other"))
    rows = np.arange(5)
    assert not np.array_equal(one.features(Videos("train", rows)), one.features(Videos("query", rows)))
    assert not np.array_equal(one.features(Videos("train", rows)), other.features(Videos("train", rows)))


def test_itq_finds_more_than_lsh_and_not_everything():
    source = VideoMaker("toy", 0, classes=40, frames=10, dim=512)
    parts = [Videos("train", np.arange(1000)), Videos("query", np.arange(200))]
    database, queries = (VideoSet(source.features(part)) for part in parts)
    database_labels, query_labels = (source.labels(part).argmax(axis=1) for part in parts)
    scores = {}
    for name in ("lsh", "itq"):
        ctx = FitContext(device="cpu", seed=0, budget=Budget())
        method = Registry().method(name).make(32).fit(database, ctx)
        codes = method.encode(queries), method.encode(database)
        scores[name] = evaluate(*codes, query_labels, database_labels).map(20)
    assert scores["lsh"] + 0.1 < scores["itq"] < 0.95


def test_chosen_rows_are_different_and_depend_on_the_seed():
    chosen = choose("toy", 0, 50, 60)
    assert len(set(chosen.tolist())) == 50 and chosen.min() >= 0 and chosen.max() < 60
    assert not np.array_equal(chosen, choose("toy", 1, 50, 60))
