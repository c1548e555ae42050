"""The feature cache: what was read once is not read again, and nothing stale or broken is ever used."""

import os
import threading

import h5py
import numpy as np
import pytest

from vhbench.errors import DataError
from vhbench.features import cache as cache_module
from vhbench.features import open_features
from vhbench.testing.files import write_hdf5

ORDER = np.array([6, 0, 3, 3, 5])


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("VHBENCH_CACHE", str(folder))
    return folder


@pytest.fixture
def videos():
    return np.random.default_rng(0).standard_normal((7, 3, 4)).astype(np.float32)


def copies(cache):
    return [path for path in cache.rglob("*.npy") if not path.name.endswith(".sha256.npy")]


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_the_second_opening_reads_no_features(tmp_path, monkeypatch, videos, compression):
    path = write_hdf5(tmp_path / "a.h5", videos, compression=compression)
    first = open_features([path])
    monkeypatch.setattr(cache_module, "blocks", lambda header: pytest.fail("the features were read again"))
    again = open_features([path])
    assert again.digest == first.digest
    assert np.array_equal(again[ORDER], videos[ORDER])


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_a_changed_file_is_read_again_and_leaves_no_rubbish(tmp_path, cache, videos, compression):
    path = write_hdf5(tmp_path / "a.h5", videos, compression=compression)
    before = open_features([path])
    kept = sorted(p.suffixes for p in cache.rglob("*.npy"))
    write_hdf5(path, videos + 1, compression=compression)
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    after = open_features([path])
    assert after.digest != before.digest
    assert np.array_equal(after[ORDER], videos[ORDER] + 1)
    assert sorted(p.suffixes for p in cache.rglob("*.npy")) == kept


def test_two_files_of_one_name_do_not_share_a_copy(tmp_path, videos):
    for i in range(2):
        (tmp_path / str(i)).mkdir()
        path = write_hdf5(tmp_path / str(i) / "a.h5", videos + i, compression="gzip")
        os.utime(path, ns=(1, 1))
    for i in range(2):
        assert np.array_equal(open_features([tmp_path / str(i) / "a.h5"])[ORDER], videos[ORDER] + i)


def test_two_keys_of_one_file_do_not_share_a_copy(tmp_path, videos):
    path = write_hdf5(tmp_path / "a.h5", videos, compression="gzip")
    with h5py.File(path, "a") as file:
        file.create_dataset("other", data=videos + 1, compression="gzip")
    assert np.array_equal(open_features([path])[ORDER], videos[ORDER])
    assert np.array_equal(open_features([path], "other")[ORDER], videos[ORDER] + 1)


def _truncate(path):
    path.write_bytes(path.read_bytes()[:-10])


def _lengthen(path):
    path.write_bytes(path.read_bytes() + b"0123456789")


def _empty(path):
    path.write_bytes(b"")


def _scramble(path):
    path.write_bytes(b"not an array at all")


def _other_shape(path):
    np.save(path, np.zeros((1, 2, 3), np.float32))


@pytest.mark.parametrize("damage", [_truncate, _lengthen, _empty, _scramble, _other_shape, os.unlink])
def test_a_damaged_copy_is_made_again(tmp_path, cache, videos, damage):
    path = write_hdf5(tmp_path / "a.h5", videos, compression="gzip")
    open_features([path])
    damage(copies(cache)[0])
    assert np.array_equal(open_features([path])[ORDER], videos[ORDER])


@pytest.mark.parametrize("damage", [_truncate, _empty, _scramble, _other_shape, os.unlink])
def test_a_damaged_verdict_is_made_again(tmp_path, cache, videos, damage):
    path = write_hdf5(tmp_path / "a.h5", videos)
    digest = open_features([path]).digest
    damage(next(cache.rglob("*.sha256.npy")))
    assert open_features([path]).digest == digest


def test_half_written_copies_of_killed_processes_are_removed(tmp_path, cache, videos):
    path = write_hdf5(tmp_path / "a.h5", videos, compression="gzip")
    open_features([path])
    left = copies(cache)[0].with_name(".tmp-abc.npy")
    copies(cache)[0].rename(left)
    open_features([path])
    assert not left.exists()


def test_an_interrupted_first_reading_leaves_nothing_usable(tmp_path, cache, monkeypatch, videos):
    path = write_hdf5(tmp_path / "a.h5", videos, compression="gzip")

    def interrupted(header):
        yield videos[:3]
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(cache_module, "blocks", interrupted)
        with pytest.raises(KeyboardInterrupt):
            open_features([path])
    assert [p for p in cache.rglob("*") if p.is_file() and p.name != "lock"] == []
    assert np.array_equal(open_features([path])[ORDER], videos[ORDER])


def test_openers_at_the_same_time_read_the_file_once(tmp_path, monkeypatch, videos):
    path = write_hdf5(tmp_path / "a.h5", videos, compression="gzip")
    readings = []
    real = cache_module.blocks
    monkeypatch.setattr(cache_module, "blocks", lambda header: readings.append(1) or real(header))
    found = []
    threads = [threading.Thread(target=lambda: found.append(open_features([path])[ORDER])) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(readings) == 1
    assert all(np.array_equal(x, videos[ORDER]) for x in found) and len(found) == 4


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path, cache, monkeypatch, videos):
    path = write_hdf5(tmp_path / "a.h5", videos, compression="gzip")

    def changing(header):
        yield videos
        os.utime(path, ns=(1, 1))

    monkeypatch.setattr(cache_module, "blocks", changing)
    with pytest.raises(DataError, match=r"a\.h5 changed while it was read. Run the same command again"):
        open_features([path])
    assert list(cache.rglob("*.npy")) == []


def test_an_unusable_cache_folder_names_the_variable_to_set(tmp_path, monkeypatch, videos):
    path = write_hdf5(tmp_path / "a.h5", videos)
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    monkeypatch.setenv("VHBENCH_CACHE", str(blocked / "cache"))
    with pytest.raises(DataError, match=r"Cannot write .*file.*Set \$VHBENCH_CACHE"):
        open_features([path])


def test_a_full_disk_names_the_variable_to_set(tmp_path, cache, monkeypatch, videos):
    path = write_hdf5(tmp_path / "a.h5", videos, compression="gzip")

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match=r"disk is full.*\$VHBENCH_CACHE"):
        open_features([path])
    assert list(cache.rglob("*.npy")) == []


def test_a_filled_cache_serves_where_it_cannot_be_written(tmp_path, monkeypatch, videos):
    path = write_hdf5(tmp_path / "a.h5", videos, compression="gzip")
    open_features([path])
    monkeypatch.setattr(cache_module, "_alone", lambda folder: pytest.fail("the cache folder was written"))
    assert np.array_equal(open_features([path])[ORDER], videos[ORDER])
