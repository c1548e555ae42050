"""The feature cache: what was read once is not read again, and nothing stale or broken is ever used."""

import os
import shutil
import subprocess
import sys
import threading
import time

import h5py
import numpy as np
import pytest

from vhbench.errors import DataError
from vhbench.features import cache as cache_module
from vhbench.features import open_features, reading
from vhbench.testing.files import write_hdf5

ORDER = np.array([6, 0, 3, 3, 5])


def copies(cache):
    return [path for path in cache.rglob("*.npy") if not path.name.endswith(".sha256.npy")]


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_the_second_opening_reads_no_features(tmp_path, monkeypatch, videos, compression):
    path = write_hdf5(tmp_path / "a.h5", videos, compression=compression)
    first = open_features([path])
    monkeypatch.setattr(reading, "blocks", lambda *given: pytest.fail("the features were read again"))
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


# readings that were interrupted


@pytest.fixture
def small_blocks(monkeypatch):
    """Read two videos at a time."""
    monkeypatch.setattr("vhbench.features.headers.BLOCK_BYTES", 2 * 3 * 4 * 4)


class Killed(BaseException):
    """What ends a reading from outside."""


@pytest.fixture
def read_until(monkeypatch, small_blocks):
    """Open a file, but end the reading once it has reached a video; returns the videos read and the features."""
    real = reading.blocks

    def read(path, last):
        rows = []

        def counted(header, start):
            for block in real(header, start):
                if last is not None and start >= last:
                    raise Killed
                rows.extend(range(start, start + len(block)))
                yield block
                start += len(block)

        with monkeypatch.context() as patch:
            patch.setattr(reading, "blocks", counted)
            try:
                return rows, open_features([path])
            except Killed:
                return rows, None

    return read


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_an_interrupted_reading_goes_on_where_it_stopped(tmp_path, cache, read_until, videos, compression):
    path = write_hdf5(tmp_path / "a.h5", videos, compression=compression, chunks=(1, 3, 4) if compression else None)
    assert read_until(path, 4) == ([0, 1, 2, 3], None)
    assert list(cache.rglob("*.npy")) == [], "nothing that could pass for whole"
    rows, features = read_until(path, None)
    assert rows == [4, 5, 6]
    assert np.array_equal(features[ORDER], videos[ORDER])
    assert features.digest == open_features([write_hdf5(tmp_path / "b.h5", videos)]).digest
    assert list(cache.rglob("*.part")) == []


def tear_copy(part, digests):
    content = bytearray(part.read_bytes())
    content[-5] ^= 1  # in video 3
    part.write_bytes(content)


def cut_copy(part, digests):
    part.write_bytes(part.read_bytes()[:-1])


def cut_digests(part, digests):
    digests.write_bytes(digests.read_bytes()[:-1])


def blank_digests(part, digests):
    digests.write_bytes(digests.read_bytes()[:-32] + bytes(32))


def scramble_header(part, digests):
    part.write_bytes(b"garbage" + part.read_bytes()[7:])


def lengthen_copy(part, digests):
    part.write_bytes(part.read_bytes() + bytes(1000))


@pytest.mark.parametrize(
    ("damage", "first"),
    [
        (tear_copy, 3),
        (cut_copy, 3),
        (cut_digests, 3),
        (blank_digests, 3),
        (scramble_header, 0),
        (lengthen_copy, 4),
        (lambda part, digests: part.unlink(), 0),
        (lambda part, digests: digests.unlink(), 0),
    ],
)
def test_what_a_crash_tore_is_read_again(tmp_path, cache, read_until, videos, damage, first):
    path = write_hdf5(tmp_path / "a.h5", videos, compression="gzip", chunks=(1, 3, 4))
    read_until(path, 4)
    (digests,) = cache.rglob("*.sha256.part")
    damage(digests.with_name(digests.name.replace(".sha256", "")), digests)
    rows, features = read_until(path, None)
    assert rows == list(range(first, 7))
    assert np.array_equal(features[np.arange(7)], videos)


def test_half_a_reading_of_another_state_of_the_file_is_not_gone_on_with(tmp_path, cache, read_until, videos):
    path = write_hdf5(tmp_path / "a.h5", videos, compression="gzip", chunks=(1, 3, 4))
    read_until(path, 4)
    write_hdf5(path, videos + 1, compression="gzip", chunks=(1, 3, 4))
    os.utime(path, ns=(1, 1))
    rows, features = read_until(path, None)
    assert rows == list(range(7)) and np.array_equal(features[ORDER], videos[ORDER] + 1)
    assert list(cache.rglob("*.part")) == []


def test_a_fault_behind_the_point_of_interruption_is_found(tmp_path, cache, read_until, videos):
    videos[6, 2, 1] = np.nan
    path = write_hdf5(tmp_path / "a.h5", videos, compression="gzip", chunks=(1, 3, 4))
    read_until(path, 4)
    with pytest.raises(DataError, match="NaN in video 6, frame 2"):
        read_until(path, None)
    assert list(cache.rglob("*.part")) == [], "a faulty file takes no room"


def test_a_process_killed_while_it_copies_leaves_a_reading_to_go_on_with(tmp_path, cache):
    array = np.random.default_rng(0).random((600, 8, 512), np.float32)
    path = write_hdf5(tmp_path / "a.h5", array, compression="gzip", chunks=(1, 8, 512))
    code = (
        "import sys; from pathlib import Path; import vhbench.features.headers as h; h.BLOCK_BYTES = 2**18\n"
        "from vhbench.features import open_features; open_features([Path(sys.argv[1])])"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    child = subprocess.Popen([sys.executable, "-c", code, path], env=environment)
    while child.poll() is None and not any(part.stat().st_size > 100 * 32 for part in cache.rglob("*.sha256.part")):
        time.sleep(0.001)
    child.kill()
    child.wait()
    (digests,) = cache.rglob("*.sha256.part")
    left = digests.stat().st_size // 32
    assert 100 < left < 600
    assert np.array_equal(open_features([path])[np.arange(600)], array)


def test_openers_at_the_same_time_read_the_file_once(tmp_path, monkeypatch, videos):
    path = write_hdf5(tmp_path / "a.h5", videos, compression="gzip")
    readings = []
    real = reading.blocks
    monkeypatch.setattr(reading, "blocks", lambda *given: readings.append(1) or real(*given))
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

    def changing(header, start):
        yield videos
        os.utime(path, ns=(1, 1))

    monkeypatch.setattr(reading, "blocks", changing)
    with pytest.raises(DataError, match=r"a\.h5 changed while it was read. Run the same command again"):
        open_features([path])
    assert [path.name for path in cache.rglob("*") if path.is_file()] == ["lock"]


def test_an_unusable_cache_folder_names_the_variable_to_set(tmp_path, monkeypatch, videos):
    path = write_hdf5(tmp_path / "a.h5", videos)
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    monkeypatch.setenv("VHBENCH_CACHE", str(blocked / "cache"))
    with pytest.raises(DataError, match=r"Cannot write .*file.*Set \$VHBENCH_CACHE"):
        open_features([path])


def test_a_disk_that_fills_while_copying_is_gone_on_with_when_there_is_room(tmp_path, cache, monkeypatch, videos):
    path = write_hdf5(tmp_path / "a.h5", videos, compression="gzip")

    def full(*args):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(DataError, match=r"disk is full.*\$VHBENCH_CACHE"):
            open_features([path])
    assert list(cache.rglob("*.npy")) == []
    assert np.array_equal(open_features([path])[ORDER], videos[ORDER])


def test_a_disk_without_room_for_the_copy_is_said_before_it_is_made(tmp_path, cache, monkeypatch, videos):
    path = write_hdf5(tmp_path / "a.h5", videos, compression="gzip")
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=videos.nbytes - 1))
    monkeypatch.setattr(reading, "blocks", lambda *given: pytest.fail("the features were read"))
    with pytest.raises(DataError, match=r"too full.*GB free.*clear-cache.*Set \$VHBENCH_CACHE"):
        open_features([path])


def test_a_real_disk_that_fills_up_ends_in_a_sentence(tmp_path, monkeypatch):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = (
        shutil.which("mount")
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=256k", "vhbench-test", disk], capture_output=True, check=False
        ).returncode
    )
    if not mounted:
        pytest.skip("mounting a file system is not allowed here")
    try:
        monkeypatch.setenv("VHBENCH_CACHE", str(disk))
        monkeypatch.setattr(reading, "_check_room", lambda folder, needed: None)
        array = np.random.default_rng(0).random((100, 8, 512), np.float32)
        path = write_hdf5(tmp_path / "a.h5", array, compression="gzip", chunks=(1, 8, 512))
        monkeypatch.setattr("vhbench.features.headers.BLOCK_BYTES", 2**14)
        with pytest.raises(DataError, match=r"disk is full.*Free space.*\$VHBENCH_CACHE"):
            open_features([path])
        subprocess.run(["mount", "-o", "remount,size=8m", disk], check=True)
        assert np.array_equal(open_features([path])[np.arange(100)], array)
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def test_a_filled_cache_serves_where_it_cannot_be_written(tmp_path, monkeypatch, videos):
    path = write_hdf5(tmp_path / "a.h5", videos, compression="gzip")
    open_features([path])
    monkeypatch.setattr(cache_module, "_alone", lambda folder: pytest.fail("the cache folder was written"))
    assert np.array_equal(open_features([path])[ORDER], videos[ORDER])
