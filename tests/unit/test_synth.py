"""Made-up data sets: the field's files, videos with classes, the same bytes everywhere, never over real data."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import tomllib
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import scipy.io

from vhbench.errors import DataError, StoreError, UsageError
from vhbench.features.marker import read_marker
from vhbench.features.synth import Source, Videos, choose
from vhbench.manifest import load_manifest
from vhbench.method import Budget, FitContext
from vhbench.registry import Registry
from vhbench.scoring import evaluate
from vhbench.synth import make, plan, standard
from vhbench.testing.files import write_manifest
from vhbench.videos import VideoSet

# reference/methods.md 12.4: file -> (videos, frames, dim) of the full size; file -> (variable, videos, columns)
FEATURES = {
    "fcvid": {"fcv_train_feats.h5": (45585, 25, 4096), "fcv_test_feats.h5": (45600, 25, 4096)},
    "activitynet": {
        "train_feats.h5": (9722, 30, 2048), "test_feats.h5": (3758, 30, 2048), "query_feats.h5": (1000, 30, 2048),
    },
    "yfcc": {
        **{f"yfcc_train_feats_{part}.h5": (45532, 25, 4096) for part in range(1, 10)},
        **{f"yfcc_test_feats_{part}.h5": (50628, 25, 4096) for part in (1, 2)},
        "query1000_feats.h5": (1000, 25, 4096),
    },
    "ucf101": {"ucf_train_feats.h5": (9537, 25, 4096), "ucf_test_feats.h5": (3783, 25, 4096)},
    "hmdb51": {"hmdb_train_feats.h5": (3570, 25, 4096), "hmdb_test_feats.h5": (1530, 25, 4096)},
}  # fmt: skip
LABELS = {
    "fcvid": {"fcv_train_labels.mat": ("labels", 45585, 239), "fcv_test_labels.mat": ("labels", 45600, 239)},
    "activitynet": {"re_label.mat": ("re_label", 3758, 200), "q_label.mat": ("q_label", 1000, 200)},
    "yfcc": {
        "yfcc_test_labels_1.mat": ("labels", 50628, 80), "yfcc_test_labels_2.mat": ("labels", 50628, 80),
        "query1000_labels.mat": ("labels", 1000, 80),
    },
    "ucf101": {"ucf_train_labels.mat": ("labels", 9537, 101), "ucf_test_labels.mat": ("labels", 3783, 101)},
    "hmdb51": {"hmdb_train_labels.mat": ("labels", 3570, 51), "hmdb_test_labels.mat": ("labels", 1530, 51)},
}  # fmt: skip


@pytest.fixture
def small(tmp_path):
    """Lay out a data set of 64 dimensions and few videos, with its real files."""

    def lay_out(like="hmdb51", scale=0.001, **options):
        values = tomllib.loads(standard(like).path.read_text())
        values.pop("variants", None)
        protocol = load_manifest(write_manifest(tmp_path / f"{like}.toml", **{**values, "dim": 64}))
        return plan(like, scale=scale, protocol=protocol, **options)

    return lay_out


@pytest.fixture
def made(small, tmp_path):
    """Make such a data set and return its folder."""

    def make_it(like="hmdb51", data="data", **options):
        assert make(small(like, **options), tmp_path / data)
        return tmp_path / data / like

    return make_it


def read(path, key="feats"):
    with h5py.File(path) as file:
        return file[key][:]


def read_mat(path):
    return {name: value for name, value in scipy.io.loadmat(path).items() if not name.startswith("__")}


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# the files


@pytest.mark.parametrize("like", FEATURES)
def test_the_full_size_has_the_field_s_files_shapes_and_label_columns(like):
    layout = plan(like)
    videos = (layout.source.frames, layout.source.dim)
    assert {name: (len(part.rows), *videos) for name, (_, part) in layout.features.items()} == FEATURES[like]
    classes = layout.source.classes
    assert {name: (key, len(part.rows), classes) for name, (key, part) in layout.labels.items()} == LABELS[like]


@pytest.mark.parametrize("like", FEATURES)
def test_what_lies_on_disk_is_what_was_laid_out(made, small, like):
    folder, layout = made(like), small(like)
    assert {path.name for path in folder.iterdir()} == {*FEATURES[like], *LABELS[like], "synthetic.toml"}
    for name, (_, frames, _) in FEATURES[like].items():
        with h5py.File(folder / name) as file:
            assert list(file) == ["feats"]
            assert file["feats"].shape == (len(layout.features[name][1].rows), frames, 64)
            assert file["feats"].dtype == np.dtype("<f4") and file["feats"].chunks is None
    for name, (key, _, classes) in LABELS[like].items():
        found = read_mat(folder / name)
        assert list(found) == [key]
        assert found[key].shape == (len(layout.labels[name][1].rows), classes) and found[key].dtype == np.uint8
        assert set(np.unique(found[key])) == {0, 1}


@pytest.mark.parametrize("like", FEATURES)
def test_the_protocol_opens_them_as_synthetic(made, like, monkeypatch, tmp_path):
    monkeypatch.setenv("VHBENCH_CACHE", str(tmp_path / "cache"))
    folder = made(like)
    (split,) = load_manifest(tmp_path / f"{like}.toml").load(folder.parent)
    marker = read_marker(folder)
    assert split.synthetic
    assert (marker.like, marker.scale, marker.seed) == (like, 0.001, 0)
    sizes = {role: len(getattr(split, role).videos) for role in ("train", "query", "database")}
    assert marker.counts == sizes


def test_yfcc_queries_are_copies_of_different_database_videos(made):
    folder = made("yfcc")
    database = np.concatenate([read(folder / f"yfcc_test_feats_{part}.h5") for part in (1, 2)])
    labels = np.concatenate([read_mat(folder / f"yfcc_test_labels_{part}.mat")["labels"] for part in (1, 2)])
    queries = read(folder / "query1000_feats.h5")
    rows = [np.flatnonzero((database == query).all(axis=(1, 2))).item() for query in queries]
    assert len(set(rows)) == len(queries)
    assert np.array_equal(read_mat(folder / "query1000_labels.mat")["labels"], labels[rows])


def test_activitynet_queries_are_videos_of_their_own(made):
    folder = made("activitynet")
    videos = np.concatenate([read(folder / name) for name in FEATURES["activitynet"]])
    assert len(np.unique(videos.reshape(len(videos), -1), axis=0)) == len(videos)


def test_scale_keeps_that_part_of_every_role():
    layout = plan("yfcc", scale=0.1)
    assert layout.marker.counts == {"train": 40979, "database": 10126, "query": 240}  # 3 queries of each class


def test_a_scaled_set_is_the_start_of_the_full_one(made):
    few, more = (
        read(made(data=data, scale=scale) / "hmdb_train_feats.h5") for data, scale in (("a", 0.01), ("b", 0.1))
    )
    assert len(few) < len(more) and np.array_equal(few, more[: len(few)])


def test_gzip_stores_the_same_videos_in_compressed_chunks(made):
    plain, packed = made(data="a") / "hmdb_train_feats.h5", made(data="b", gzip=True) / "hmdb_train_feats.h5"
    with h5py.File(packed) as file:
        assert file["feats"].compression == "gzip" and file["feats"].chunks == (1, 25, 64)
    assert np.array_equal(read(plain), read(packed)) and packed.stat().st_size < plain.stat().st_size / 2


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(made):
    first, again, other = (contents(made(data=data, seed=seed)) for data, seed in (("a", 3), ("b", 3), ("c", 4)))
    assert first == again
    assert not [name for name in first if name.endswith("_feats.h5") and first[name] == other[name]]


# the videos


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
    source = Source("toy", 5, classes=6, frames=4, dim=40)
    videos = Videos("train", np.array([row]))
    expected, greatest = video_by_hand("toy", 5, "train", row, source.labels(videos).argmax(), 6, 4, 40)
    assert np.array_equal(source.features(videos)[0] * 512, expected)
    assert greatest < 2**24, "float32 holds every partial sum"


def test_bytes_are_those_of_the_first_machine_that_made_them():
    source = Source("ucf101", 0, classes=101, frames=25, dim=4096)
    videos = Videos("train", np.arange(3))
    assert hashlib.sha256(source.features(videos).tobytes()).hexdigest() == (
        "f24790a9715d48b8c6634417945715976a29ea3f08814f8273fd16ea22cf9abb"
    )
    assert hashlib.sha256(source.labels(videos).tobytes()).hexdigest() == (
        "75eef5240055251d4d9a070ef92ce8e742ef1937a43e752daf734ccfb9f3f07c"
    )


@pytest.mark.parametrize("size", [1, 3, 64])
def test_videos_do_not_depend_on_what_they_are_made_with(size):
    source = Source("toy", 0, classes=7, frames=25, dim=512, several=True)
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
    source = Source("toy", 0, classes=10, frames=25, dim=4096)
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
    hot = Source("toy", 0, classes=9, frames=2, dim=8).labels(Videos("train", np.arange(90)))
    assert (hot.sum(axis=1) == 1).all()
    assert (hot.reshape(10, 9, 9).sum(axis=1) == 1).all()
    assert len({tuple(order) for order in hot.argmax(axis=1).reshape(10, 9)}) > 1


def test_some_videos_of_fcvid_and_yfcc_have_two_labels(small):
    for like, several in {"fcvid": True, "yfcc": True, "activitynet": False, "ucf101": False}.items():
        layout = small(like)
        numbers = [layout.source.labels(videos).sum(axis=1) for _, videos in layout.labels.values()]
        share = (np.concatenate(numbers) == 2).mean()
        assert 0.15 < share < 0.35 if several else share == 0


def test_a_video_of_two_labels_lies_between_both_classes():
    source = Source("toy", 0, classes=12, frames=10, dim=512, several=True)
    videos = Videos("train", np.arange(600))
    means, hot = source.features(videos).mean(axis=1), source.labels(videos)
    alone = hot.sum(axis=1) == 1
    centres = np.stack([means[alone & (hot[:, c] == 1)].mean(axis=0) for c in range(12)])
    similar = cosines(means[~alone, None], centres[None])
    mine = hot[~alone] == 1
    assert (similar * mine).sum() / mine.sum() > (similar * ~mine).sum() / (~mine).sum() + 0.05


def test_streams_and_names_have_videos_of_their_own():
    one, other = (Source(name, 0, classes=4, frames=3, dim=16) for name in ("one", "other"))
    rows = np.arange(5)
    assert not np.array_equal(one.features(Videos("train", rows)), one.features(Videos("query", rows)))
    assert not np.array_equal(one.features(Videos("train", rows)), other.features(Videos("train", rows)))


def test_itq_finds_more_than_lsh_and_not_everything():
    source = Source("toy", 0, classes=40, frames=10, dim=512)
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


# what is there already


def test_the_same_again_is_left_alone(made, small, tmp_path):
    folder = made()
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert make(small(), tmp_path / "data") is False
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


@pytest.mark.parametrize("place", ["data/hmdb51", "data"])
@pytest.mark.parametrize("name", ["hmdb_train_feats.h5", "hmdb_test_labels.mat"])
def test_files_that_may_be_real_are_never_touched(small, tmp_path, place, name):
    (tmp_path / place).mkdir(parents=True)
    (tmp_path / place / name).write_text("real")
    with pytest.raises(DataError, match=f"{tmp_path / place / name} exists and is not known to be synthetic"):
        make(small(), tmp_path / "data")
    assert (tmp_path / place / name).read_text() == "real"
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] in (
        [name, "hmdb51.toml"],
        ["hmdb51.toml", name],
    )


def test_made_up_files_never_join_others(small, tmp_path):
    (tmp_path / "data/hmdb51").mkdir(parents=True)
    (tmp_path / "data/hmdb51/notes.txt").write_text("mine")
    with pytest.raises(DataError, match=r"notes\.txt exists .* never go beside or over others"):
        make(small(), tmp_path / "data")


@pytest.mark.parametrize(
    ("options", "words"), [({"seed": 1}, "scale 0.001 and seed 0"), ({"gzip": True}, "contiguous")]
)
def test_another_synthetic_set_is_not_replaced(made, small, tmp_path, options, words):
    before = contents(made())
    with pytest.raises(DataError, match=words) as refused:
        make(small(**options), tmp_path / "data")
    assert "Remove that folder" in str(refused.value)
    assert contents(tmp_path / "data/hmdb51") == before


@pytest.mark.parametrize("name", ["hmdb_train_feats.h5", "hmdb_test_labels.mat"])
def test_a_synthetic_set_that_lost_a_file_is_not_taken_for_whole(made, small, tmp_path, name):
    (made() / name).unlink()
    with pytest.raises(DataError, match=f"{name}.*synthetic file.*Remove that folder"):
        make(small(), tmp_path / "data")


def test_an_empty_folder_is_filled_also_behind_a_link(small, tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "data/hmdb51").symlink_to(tmp_path / "disk")
    assert make(small(), tmp_path / "data")
    assert read_marker(tmp_path / "disk") and not list(tmp_path.rglob(".tmp-*"))


def test_what_a_killed_process_left_is_removed(made, tmp_path):
    left = tmp_path / "data/.tmp-hmdb51"
    left.mkdir(parents=True)
    (left / "hmdb_train_feats.h5").write_bytes(b"half")
    folder = made()
    assert not left.exists() and len(read(folder / "hmdb_train_feats.h5")) == 153


def test_two_processes_do_not_make_one_set(small, tmp_path):
    left = tmp_path / "data/.tmp-hmdb51"
    left.mkdir(parents=True)
    descriptor = os.open(left, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with pytest.raises(DataError, match="Another process is making"):
        make(small(), tmp_path / "data")
    os.close(descriptor)
    assert make(small(), tmp_path / "data")


# stopping, and disks


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 2 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "vhbench-test", disk]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a file system is not allowed here")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_too_little_room_is_said_before_anything_is_made(small, small_disk):
    layout, reports = small(scale=0.1), []
    size = (510 * (25 * 64 * 4 + 51)) / 1e9
    with pytest.raises(StoreError, match=rf"takes {size:.3g} GB and {small_disk} has 0.002\d* GB free"):
        make(layout, small_disk, lambda done, total: reports.append(done))
    assert not reports and not list(small_disk.iterdir())


@pytest.mark.parametrize("gzip", [False, True])
def test_a_disk_that_fills_up_leaves_nothing_behind(small, small_disk, monkeypatch, gzip):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10**12))
    free = os.statvfs(small_disk).f_bfree
    with pytest.raises(StoreError, match="The disk is full: cannot write") as refused:
        make(small(scale=0.3, gzip=gzip), small_disk)
    assert not list(small_disk.iterdir())
    del refused
    assert os.statvfs(small_disk).f_bfree == free, "no open file holds on to what was written"


def test_the_room_that_compressed_files_take_is_foreseen(small, made, tmp_path, monkeypatch):
    size = sum(path.stat().st_size for path in made(scale=0.1, gzip=True).glob("*.h5"))
    for free, enough in ((size, False), (1.3 * size, True)):
        monkeypatch.setattr(shutil, "disk_usage", lambda path, free=free: SimpleNamespace(free=free))
        layout = small(scale=0.1, gzip=True)
        if enough:
            assert make(layout, tmp_path / "other")
        else:
            with pytest.raises(StoreError, match="too full"):
                make(layout, tmp_path / "other")


def test_an_error_half_way_leaves_nothing(small, tmp_path):
    def stop(done, total):
        if done > total / 2:
            raise RuntimeError

    with pytest.raises(RuntimeError):
        make(small(scale=0.1), tmp_path / "data", stop)
    assert not list((tmp_path / "data").iterdir())


def test_progress_counts_every_byte(small, tmp_path):
    reports = []
    make(small(), tmp_path / "data", lambda done, total: reports.append((done, total)))
    total = (153 + 153) * 25 * 64 * 4
    assert reports[-1] == (total, total) and [done for done, _ in reports] == sorted({done for done, _ in reports})


# wrong input


@pytest.mark.parametrize("scale", [0, -1, 1.5, float("nan")])
def test_scales_that_make_no_sense(scale):
    with pytest.raises(UsageError, match="above 0"):
        plan("fcvid", scale=scale)


def test_an_unknown_data_set_names_the_nearest():
    with pytest.raises(UsageError, match="'hmdb51'"):
        plan("hmdb")
