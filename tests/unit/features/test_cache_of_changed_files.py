"""Files that change under their name: other content of the same size and date is read anew, and said."""

import os

import numpy as np
import pytest

from vhbench.errors import DataError
from vhbench.features import cache as cache_module
from vhbench.features import open_features, reading
from vhbench.testing.files import write_hdf5

ORDER = np.array([6, 0, 3, 3, 5])


def copies(cache):
    return [path for path in cache.rglob("*.npy") if not path.name.endswith(".sha256.npy")]


def rewrite_quietly(path, videos, compression=None):
    """Write other content of the same size, and give the file its old date, as tar and rsync do."""
    stat = path.stat()
    write_hdf5(path, videos, compression=compression, chunks=(1, 3, 4) if compression else None)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (stat.st_size, stat.st_mtime_ns)


@pytest.mark.parametrize("replaced", [False, True])
def test_other_content_of_the_same_size_and_date_is_read_and_said(tmp_path, cache, caplog, videos, replaced):
    path = write_hdf5(tmp_path / "a.h5", videos)
    before = open_features([path])
    if replaced:
        stat = path.stat()
        other = write_hdf5(tmp_path / "b.h5", videos[::-1])
        os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        other.replace(path)
    else:
        rewrite_quietly(path, videos[::-1])
    after = open_features([path])
    assert after.digest != before.digest and np.array_equal(after[ORDER], videos[::-1][ORDER])
    assert "a.h5 is not what it was when it was first read, though its size and date are the same" in caplog.text
    assert len(list(cache.rglob("*.sha256.npy"))) == 1


def test_a_file_that_only_got_another_name_or_mode_keeps_its_digest_without_a_word(tmp_path, caplog, videos):
    path = write_hdf5(tmp_path / "a.h5", videos)
    before = open_features([path]).digest
    path.chmod(0o600)
    os.link(path, tmp_path / "b.h5")
    assert open_features([path]).digest == before and "not what it was" not in caplog.text


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_digesting_anew_reads_each_file_once_more_and_keeps_what_it_finds(tmp_path, monkeypatch, videos, compression):
    path = write_hdf5(tmp_path / "a.h5", videos, compression=compression)
    before = open_features([path]).digest
    readings = []
    real = reading.blocks
    monkeypatch.setattr(reading, "blocks", lambda *given: readings.append(1) or real(*given))
    with cache_module.digesting_anew():
        assert open_features([path]).digest == open_features([path]).digest == before
    assert len(readings) == 1
    assert np.array_equal(open_features([path])[ORDER], videos[ORDER]) and len(readings) == 1


def test_digesting_anew_finds_what_no_date_tells(tmp_path, monkeypatch, caplog, videos):
    """Content that changed while inode and every date stayed, as on a disk that rots, is found only by reading."""
    path = write_hdf5(tmp_path / "a.h5", videos)
    before = open_features([path]).digest
    state = cache_module.FileState.of(path)
    rewrite_quietly(path, videos + 1)
    monkeypatch.setattr(cache_module.FileState, "of", lambda path, descriptor=None: state)
    assert open_features([path]).digest == before
    with cache_module.digesting_anew():
        after = open_features([path])
    assert after.digest != before and "is not what it was when it was first read" in caplog.text
    assert open_features([path]).digest == after.digest


@pytest.mark.parametrize("place", [-1, 130])
def test_a_copy_is_verified_by_digest_when_it_is_read(tmp_path, cache, videos, place):
    path = write_hdf5(tmp_path / "a.h5", videos, compression="gzip")
    open_features([path])
    (copy,) = copies(cache)
    content = bytearray(copy.read_bytes())
    content[place] ^= 1
    copy.write_bytes(content)
    row = (place % len(content) - (len(content) - videos.nbytes)) // videos[0].nbytes
    features = open_features([path])
    sound = np.array([other for other in range(7) if other != row])
    assert np.array_equal(features[sound], videos[sound])
    with pytest.raises(
        DataError, match=rf"cached copy of .*a\.h5 is damaged at video {row} .* Run the same command ag"
    ):
        features[ORDER if row in ORDER else np.array([row])]
    assert not copy.exists()
    assert np.array_equal(open_features([path])[ORDER], videos[ORDER])


def test_each_video_of_a_copy_in_doubt_is_digested_once(tmp_path, cache, monkeypatch, videos):
    path = write_hdf5(tmp_path / "a.h5", videos, compression="gzip")
    features = open_features([path])
    with monkeypatch.context() as patch:  # nothing was written to it since it was made
        patch.setattr("vhbench.features.frames.hashlib", None)
        assert np.array_equal(features[ORDER], videos[ORDER])
    (copy,) = copies(cache)
    copy.chmod(0o600)
    features = open_features([path])
    features[ORDER]
    monkeypatch.setattr("vhbench.features.frames.hashlib", None)
    assert np.array_equal(features[ORDER], videos[ORDER])


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_cached_digests_that_rotted_are_made_again(tmp_path, cache, videos, compression):
    path = write_hdf5(tmp_path / "a.h5", videos, compression=compression)
    digest = open_features([path]).digest
    (kept,) = cache.rglob("*.sha256.npy")
    sound = kept.read_bytes()
    for place in (-40, 140):
        content = bytearray(sound)
        content[place] ^= 4
        kept.write_bytes(content)
        assert open_features([path]).digest == digest and kept.read_bytes()[:-32] == sound[:-32]
