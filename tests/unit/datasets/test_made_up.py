"""Made-up data sets: the field's files, the same bytes for a seed, never over real data."""

import fcntl
import os
import shutil
import subprocess
import tomllib
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import scipy.io

from vhbench.datasets.made_up import make_data_set, plan_data_set, standard_manifest
from vhbench.datasets.manifest_protocol import load_manifest
from vhbench.datasets.marker import read_marker
from vhbench.errors import DataError, StoreError, UsageError
from vhbench.testing.files import write_manifest

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
        values = tomllib.loads(standard_manifest(like).path.read_text())
        values.pop("variants", None)
        protocol = load_manifest(write_manifest(tmp_path / f"{like}.toml", **{**values, "dim": 64}))
        return plan_data_set(like, scale=scale, protocol=protocol, **options)

    return lay_out


@pytest.fixture
def made(small, tmp_path):
    """Make such a data set and return its folder."""

    def make_it(like="hmdb51", data="data", **options):
        assert make_data_set(small(like, **options), tmp_path / data)
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
    layout = plan_data_set(like)
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
    layout = plan_data_set("yfcc", scale=0.1)
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


def test_some_videos_of_fcvid_and_yfcc_have_two_labels(small):
    for like, several in {"fcvid": True, "yfcc": True, "activitynet": False, "ucf101": False}.items():
        layout = small(like)
        numbers = [layout.source.labels(videos).sum(axis=1) for _, videos in layout.labels.values()]
        share = (np.concatenate(numbers) == 2).mean()
        assert 0.15 < share < 0.35 if several else share == 0


# what is there already


def test_the_same_again_is_left_alone(made, small, tmp_path):
    folder = made()
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert make_data_set(small(), tmp_path / "data") is False
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


@pytest.mark.parametrize("place", ["data/hmdb51", "data"])
@pytest.mark.parametrize("name", ["hmdb_train_feats.h5", "hmdb_test_labels.mat"])
def test_files_that_may_be_real_are_never_touched(small, tmp_path, place, name):
    (tmp_path / place).mkdir(parents=True)
    (tmp_path / place / name).write_text("real")
    with pytest.raises(DataError, match=f"{tmp_path / place / name} exists and is not known to be synthetic"):
        make_data_set(small(), tmp_path / "data")
    assert (tmp_path / place / name).read_text() == "real"
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] in (
        [name, "hmdb51.toml"],
        ["hmdb51.toml", name],
    )


def test_made_up_files_never_join_others(small, tmp_path):
    (tmp_path / "data/hmdb51").mkdir(parents=True)
    (tmp_path / "data/hmdb51/notes.txt").write_text("mine")
    with pytest.raises(DataError, match=r"notes\.txt exists .* never go beside or over others"):
        make_data_set(small(), tmp_path / "data")


@pytest.mark.parametrize(
    ("options", "words"), [({"seed": 1}, "scale 0.001 and seed 0"), ({"gzip": True}, "contiguous")]
)
def test_another_synthetic_set_is_not_replaced(made, small, tmp_path, options, words):
    before = contents(made())
    with pytest.raises(DataError, match=words) as refused:
        make_data_set(small(**options), tmp_path / "data")
    assert "Remove that folder" in str(refused.value)
    assert contents(tmp_path / "data/hmdb51") == before


@pytest.mark.parametrize("name", ["hmdb_train_feats.h5", "hmdb_test_labels.mat"])
def test_a_synthetic_set_that_lost_a_file_is_not_taken_for_whole(made, small, tmp_path, name):
    (made() / name).unlink()
    with pytest.raises(DataError, match=f"{name}.*synthetic file.*Remove that folder"):
        make_data_set(small(), tmp_path / "data")


def test_an_empty_folder_is_filled_also_behind_a_link(small, tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "data/hmdb51").symlink_to(tmp_path / "disk")
    assert make_data_set(small(), tmp_path / "data")
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
        make_data_set(small(), tmp_path / "data")
    os.close(descriptor)
    assert make_data_set(small(), tmp_path / "data")


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
        make_data_set(layout, small_disk, lambda done, total: reports.append(done))
    assert not reports and not list(small_disk.iterdir())


@pytest.mark.parametrize("gzip", [False, True])
def test_a_disk_that_fills_up_leaves_nothing_behind(small, small_disk, monkeypatch, gzip):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10**12))
    free = os.statvfs(small_disk).f_bfree
    with pytest.raises(StoreError, match="The disk is full: cannot write") as refused:
        make_data_set(small(scale=0.3, gzip=gzip), small_disk)
    assert not list(small_disk.iterdir())
    del refused
    assert os.statvfs(small_disk).f_bfree == free, "no open file holds on to what was written"


def test_the_room_that_compressed_files_take_is_foreseen(small, made, tmp_path, monkeypatch):
    size = sum(path.stat().st_size for path in made(scale=0.1, gzip=True).glob("*.h5"))
    for free, enough in ((size, False), (1.3 * size, True)):
        monkeypatch.setattr(shutil, "disk_usage", lambda path, free=free: SimpleNamespace(free=free))
        layout = small(scale=0.1, gzip=True)
        if enough:
            assert make_data_set(layout, tmp_path / "other")
        else:
            with pytest.raises(StoreError, match="too full"):
                make_data_set(layout, tmp_path / "other")


def test_an_error_half_way_leaves_nothing(small, tmp_path):
    def stop(done, total):
        if done > total / 2:
            raise RuntimeError

    with pytest.raises(RuntimeError):
        make_data_set(small(scale=0.1), tmp_path / "data", stop)
    assert not list((tmp_path / "data").iterdir())


def test_progress_counts_every_byte(small, tmp_path):
    reports = []
    make_data_set(small(), tmp_path / "data", lambda done, total: reports.append((done, total)))
    total = (153 + 153) * 25 * 64 * 4
    assert reports[-1] == (total, total) and [done for done, _ in reports] == sorted({done for done, _ in reports})


# wrong input


@pytest.mark.parametrize("scale", [0, -1, 1.5, float("nan")])
def test_scales_that_make_no_sense(scale):
    with pytest.raises(UsageError, match="above 0"):
        plan_data_set("fcvid", scale=scale)


def test_an_unknown_data_set_names_the_nearest():
    with pytest.raises(UsageError, match="'hmdb51'"):
        plan_data_set("hmdb")
