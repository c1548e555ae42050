"""Feature files: every layout opens to the same numbers; files that change are found out."""

import os
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from vhbench.errors import DataError
from vhbench.features import SampledFrames, open_features, read_header
from vhbench.testing.files import write_hdf5, write_npy

ORDER = np.array([6, 0, 3, 3, 5])
TINY = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
TINY_DIGEST = "f2748daee1273f1e11e6f10d949a267dfc0b2a1f9235fa7f161b9abe15021497"


def copies(cache):
    return [path for path in cache.rglob("*.npy") if not path.name.endswith(".sha256.npy")]


LAYOUTS = {
    "contiguous": lambda path, x: write_hdf5(path, x),
    "gzip": lambda path, x: write_hdf5(path, x, compression="gzip"),
    "gzip, chunks of two videos": lambda path, x: write_hdf5(path, x, compression="gzip", chunks=(2, 3, 4)),
    "lzf, chunks across videos": lambda path, x: write_hdf5(path, x, compression="lzf", chunks=(7, 1, 2)),
    "big-endian": lambda path, x: write_hdf5(path, x.astype(x.dtype.newbyteorder(">"))),
    "big-endian gzip": lambda path, x: write_hdf5(path, x.astype(x.dtype.newbyteorder(">")), compression="gzip"),
    "npy": lambda path, x: write_npy(path.with_suffix(".npy"), x),
    "npy in Fortran order": lambda path, x: write_npy(path.with_suffix(".npy"), np.asfortranarray(x)),
}


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "uint8"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_and_dtype_gives_the_same_numbers_and_digest(tmp_path, videos, layout, dtype):
    videos = (10 * videos).astype(np.int8).astype(dtype)
    features = open_features([LAYOUTS[layout](tmp_path / "a.h5", videos)])
    assert features.shape == (7, 3, 4)
    found = features[ORDER]
    assert found.dtype.name == features.dtype.name == dtype and found.dtype.isnative
    assert np.array_equal(found, videos[ORDER])
    assert features.digest == open_features([write_npy(tmp_path / "plain.npy", videos)]).digest


def test_contiguous_files_are_read_where_they_lie_and_compressed_ones_are_copied_once(tmp_path, cache, videos):
    open_features([write_hdf5(tmp_path / "a.h5", videos)])
    assert copies(cache) == []
    open_features([write_hdf5(tmp_path / "b.h5", videos, compression="gzip")])
    assert len(copies(cache)) == 1


def test_a_user_block_shifts_the_offset(tmp_path, videos):
    with h5py.File(tmp_path / "a.h5", "w", userblock_size=1024) as file:
        file["feats"] = videos
    assert read_header(tmp_path / "a.h5").offset is not None
    assert np.array_equal(open_features([tmp_path / "a.h5"])[ORDER], videos[ORDER])


def test_an_external_link_leads_to_the_other_file(tmp_path, videos):
    write_hdf5(tmp_path / "real.h5", videos, key="deep/x")
    with h5py.File(tmp_path / "link.h5", "w") as file:
        file["feats"] = h5py.ExternalLink("real.h5", "deep/x")
    assert read_header(tmp_path / "link.h5").path == tmp_path / "real.h5"
    assert np.array_equal(open_features([tmp_path / "link.h5"])[ORDER], videos[ORDER])


def test_several_files_read_as_one(tmp_path, videos):
    parts = [
        write_hdf5(tmp_path / "1.h5", videos[:2], compression="gzip"),
        write_hdf5(tmp_path / "2.h5", videos[2:3]),
        write_npy(tmp_path / "3.npy", videos[3:]),
    ]
    features = open_features(parts)
    assert features.shape == (7, 3, 4)
    assert np.array_equal(features[ORDER], videos[ORDER])
    assert np.array_equal(features[np.arange(7)], videos)
    assert features.digest == open_features([write_npy(tmp_path / "all.npy", videos)]).digest
    assert features.digest != open_features(parts[::-1]).digest


def test_many_blocks_cover_the_file(tmp_path, monkeypatch, videos):
    monkeypatch.setattr("vhbench.features.headers.BLOCK_BYTES", 2 * videos[0].nbytes)
    for name, layout in LAYOUTS.items():
        features = open_features([layout(tmp_path / f"{name}.h5", videos)])
        assert np.array_equal(features[np.arange(7)], videos)


def test_rows_out_of_range_are_an_index_error(tmp_path, videos):
    features = open_features([write_hdf5(tmp_path / "a.h5", videos)])
    assert features[np.array([], dtype=np.int64)].shape == (0, 3, 4)
    for rows in ([7], [-1]):
        with pytest.raises(IndexError, match="of 7 videos"):
            features[np.array(rows)]


def test_what_is_returned_may_be_written_and_the_file_stays_as_it_was(tmp_path, videos):
    features = open_features([write_hdf5(tmp_path / "a.h5", videos)])
    features[ORDER][:] = 0
    assert np.array_equal(features[ORDER], videos[ORDER])


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("compression", [None, "lzf"])
def test_a_file_that_was_read_through_does_not_stay_in_memory(tmp_path, compression):
    def resident():
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    array = np.ones((512, 16, 2048), np.float32)  # 64 MB
    features = open_features([write_hdf5(tmp_path / "a.h5", array, compression=compression)])
    before = resident()
    for rows in np.random.default_rng(0).permutation(512).reshape(-1, 32):
        features[rows]
    assert resident() - before < 24 * 2**20


# digests


def test_digest_is_pinned(tmp_path):
    """A change here makes every stored run look as if its data had changed: raise cache.FORMAT and say so."""
    assert open_features([write_npy(tmp_path / "a.npy", TINY)]).digest == TINY_DIGEST


def test_digest_tells_content_dtype_shape_and_order_apart(tmp_path):
    variants = [
        TINY,
        TINY[::-1],
        TINY.astype(np.float16),
        TINY.reshape(2, 4, 3),
        TINY.reshape(1, 6, 4),
        TINY[:1],
        np.where(TINY == 5, 6, TINY),
    ]
    digests = {open_features([write_npy(tmp_path / f"{i}.npy", x)]).digest for i, x in enumerate(variants)}
    assert len(digests) == len(variants)


# files that change under a run


def truncate(path):
    os.truncate(path, path.stat().st_size - 8)


def write_over(path):
    with path.open("r+b") as file:
        file.seek(-40, os.SEEK_END)
        file.write(bytes(4))
    os.utime(path, ns=(1, 1))


def replace(path):
    other = write_hdf5(path.with_name("other.h5"), np.ones((7, 3, 4), np.float32))
    os.utime(other, ns=(1, 1))
    other.replace(path)


@pytest.mark.parametrize("change", [truncate, write_over])
def test_a_file_that_changes_where_it_lies_is_not_read_on(tmp_path, videos, change):
    path = write_hdf5(tmp_path / "a.h5", videos)
    features = open_features([path])
    features.check_unchanged()
    change(path)
    with pytest.raises(DataError, match=r"a\.h5 was changed, replaced or removed while it was in use"):
        features[ORDER]
    with pytest.raises(DataError, match=r"a\.h5 was changed"):
        features.check_unchanged()


@pytest.mark.parametrize("compression", [None, "gzip"])
@pytest.mark.parametrize("change", [replace, os.unlink])
def test_a_file_that_is_replaced_gives_its_old_numbers_and_is_found_out(tmp_path, videos, change, compression):
    path = write_hdf5(tmp_path / "a.h5", videos, compression=compression)
    features = open_features([path])
    change(path)
    assert np.array_equal(features[ORDER], videos[ORDER])
    with pytest.raises(DataError, match=r"a\.h5 was changed, replaced or removed"):
        features.check_unchanged()


def test_a_copy_may_be_removed_under_a_run(tmp_path, cache, videos):
    features = open_features([write_hdf5(tmp_path / "a.h5", videos, compression="gzip")])
    copies(cache)[0].unlink()
    assert np.array_equal(features[ORDER], videos[ORDER])
    features.check_unchanged()


def test_a_copy_that_changes_is_not_read_on(tmp_path, cache, videos):
    features = open_features([write_hdf5(tmp_path / "a.h5", videos, compression="gzip")])
    truncate(copies(cache)[0])
    with pytest.raises(DataError, match="was changed"):
        features[ORDER]


def test_reads_that_come_in_parts_are_put_together(tmp_path, monkeypatch, videos):
    features = open_features([write_hdf5(tmp_path / "a.h5", videos)])
    real = os.preadv
    monkeypatch.setattr(os, "preadv", lambda file, buffers, offset: real(file, [buffers[0][:7]], offset))
    assert np.array_equal(features[ORDER], videos[ORDER])


def test_a_file_cut_short_between_two_looks_is_an_error(tmp_path, monkeypatch, videos):
    features = open_features([write_hdf5(tmp_path / "a.h5", videos)])
    monkeypatch.setattr(os, "preadv", lambda *given: 0)
    with pytest.raises(DataError, match=r"a\.h5 was cut short while in use"):
        features[ORDER]


def test_long_stretches_are_read_in_several_goes(tmp_path, monkeypatch, videos):
    monkeypatch.setattr("vhbench.features.frames.LARGEST_READ", 2 * videos[0].nbytes)
    features = open_features([write_hdf5(tmp_path / "a.h5", videos)])
    goes = []
    real = os.preadv
    monkeypatch.setattr(os, "preadv", lambda *given: goes.append(len(given[1])) or real(*given))
    assert np.array_equal(features[np.arange(7)], videos) and goes == [2, 2, 2, 1]


def test_rows_can_be_read_into_an_array_at_hand(tmp_path, videos):
    features = open_features([write_hdf5(tmp_path / "a.h5", videos)])
    out = np.full((5, 3, 4), 9, np.float32)
    assert features.read(ORDER, out) is out and np.array_equal(out, videos[ORDER])


# frames


def test_sampled_frames_are_those_asked_for(tmp_path, videos):
    sampled = SampledFrames(open_features([write_hdf5(tmp_path / "a.h5", videos)]), np.array([0, 2]))
    assert sampled.shape == (7, 2, 4) and sampled.dtype == np.float32
    assert np.array_equal(sampled[ORDER], videos[ORDER][:, [0, 2]])


# zeros


def test_videos_of_zeros_are_counted(tmp_path, videos):
    videos[[1, 4]] = 0
    assert open_features([write_hdf5(tmp_path / "a.h5", videos)]).zero_rows.tolist() == [1, 4]


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_a_file_of_zeros_is_refused_also_among_others(tmp_path, videos, compression):
    first = write_hdf5(tmp_path / "a.h5", videos)
    zeros = write_hdf5(tmp_path / "b.h5", np.zeros_like(videos), compression=compression)
    with pytest.raises(DataError, match=r"b\.h5 holds nothing but zeros: it was never filled. Download it again"):
        open_features([first, zeros])


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_a_file_that_ends_in_zeros_is_refused(tmp_path, videos, compression):
    whole = write_hdf5(tmp_path / "a.h5", videos)
    videos[5:] = 0
    half = write_hdf5(tmp_path / "b.h5", videos, compression=compression)
    with pytest.raises(DataError, match=r"b\.h5 is half-written: its last 2 of 7 videos are zero throughout"):
        open_features([whole, half, whole])
