"""Feature files: every layout opens to the same numbers, every fault is one clear sentence."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from vhbench.errors import DataError
from vhbench.features import SampledFrames, open_features, read_header, read_labels
from vhbench.testing.files import write_hdf5, write_npy

ORDER = np.array([6, 0, 3, 3, 5])
TINY = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
TINY_DIGEST = "f2748daee1273f1e11e6f10d949a267dfc0b2a1f9235fa7f161b9abe15021497"


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


def test_a_data_set_that_was_never_written_is_refused(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("feats", (7, 3, 4), np.float32)
    assert "holds nothing but zeros" in fault(tmp_path / "a.h5")


# what is wrong with a feature file


def fault(path, key="feats"):
    with pytest.raises(DataError) as caught:
        open_features([path], key)
    message = str(caught.value)
    assert path.stem in message and "\n" not in message
    return message


@pytest.mark.parametrize("compression", [None, "gzip"])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize(("value", "word"), [(np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "infinity")])
def test_nan_and_infinity_are_named_with_video_and_frame(tmp_path, cache, videos, compression, dtype, value, word):
    videos = videos.astype(dtype)
    videos[5, 2, 1] = value
    path = write_hdf5(tmp_path / "a.h5", videos, compression=compression)
    for _ in range(2):
        assert f"{word} in video 5, frame 2" in fault(path)
    assert list(cache.rglob("*.npy")) == []


def test_a_wrong_key_names_the_keys_there_are(tmp_path, videos):
    path = write_hdf5(tmp_path / "a.h5", videos, key="group/features")
    assert "has no 'feats'; it has 'group/features'. Name the right one with key = \"...\"" in fault(path)
    assert "has no 'group'; it has 'group/features'" in fault(path, "group")
    assert np.array_equal(open_features([path], "group/features")[ORDER], videos[ORDER])


def test_an_hdf5_file_without_data_sets_says_so(tmp_path):
    h5py.File(tmp_path / "a.h5", "w").close()
    assert "holds no data set at all" in fault(tmp_path / "a.h5")


def test_a_missing_file_is_named(tmp_path):
    assert "There is no file" in fault(tmp_path / "a.h5")


def test_a_folder_is_not_a_file(tmp_path):
    (tmp_path / "a.h5").mkdir()
    assert "a.h5 is a folder, not a file" in fault(tmp_path / "a.h5")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_an_unreadable_file_is_named(tmp_path, videos):
    path = write_hdf5(tmp_path / "a.h5", videos)
    path.chmod(0)
    assert "Permission denied. Check the file and its permissions" in fault(path)


def test_permission_denied_is_one_sentence(tmp_path, monkeypatch, videos):
    path = write_hdf5(tmp_path / "a.h5", videos)

    def denied(self, *args):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", denied)
    assert "Permission denied. Check the file and its permissions" in fault(path)


def test_an_empty_file_is_named(tmp_path):
    (tmp_path / "a.h5").write_bytes(b"")
    assert "is empty (0 bytes)" in fault(tmp_path / "a.h5")


def test_another_format_is_named(tmp_path):
    (tmp_path / "a.h5").write_text("video,feature\n1,2\n")
    assert "is neither HDF5 nor .npy" in fault(tmp_path / "a.h5")


def test_truncated_files_are_named(tmp_path, videos):
    path = write_hdf5(tmp_path / "a.h5", videos)
    path.write_bytes(path.read_bytes()[:-10])
    assert "is truncated, damaged or still being written" in fault(path)
    path = write_npy(tmp_path / "b.npy", videos)
    path.write_bytes(path.read_bytes()[:-10])
    assert "is truncated: it has 454 bytes of 464. Copy or download it again" in fault(path)
    path.write_bytes(path.read_bytes()[:20])
    assert "is not a sound .npy file" in fault(path)


def test_a_damaged_chunk_names_the_videos(tmp_path, monkeypatch):
    monkeypatch.setattr("vhbench.features.headers.BLOCK_BYTES", 10 * 3 * 40 * 4)
    path = write_hdf5(tmp_path / "a.h5", np.zeros((50, 3, 40), np.float32), compression="gzip", chunks=(10, 3, 40))
    with h5py.File(path) as file:
        chunk = file["feats"].id.get_chunk_info_by_coord((20, 0, 0))
    raw = bytearray(path.read_bytes())
    raw[chunk.byte_offset : chunk.byte_offset + chunk.size] = bytes(chunk.size)
    path.write_bytes(raw)
    assert "videos 20 to 29 cannot be read" in fault(path)


def test_wrong_ranks_dtypes_and_empty_sets_are_named(tmp_path, videos):
    assert "has shape (7, 3): frame features must be (videos, frames, dim" in fault(
        write_hdf5(tmp_path / "a.h5", videos[..., 0])
    )
    assert "has dtype int64: features must be one of float16, float32, float64, uint8" in fault(
        write_npy(tmp_path / "b.npy", videos.astype(np.int64))
    )
    assert "holds no features: its shape is (0, 3, 4)" in fault(write_hdf5(tmp_path / "c.h5", videos[:0]))
    assert "holds no features: its shape is (0, 3, 4)" in fault(write_npy(tmp_path / "d.npy", videos[:0]))


def test_pickled_objects_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[[{}]]]), allow_pickle=True)
    assert "has dtype object" in fault(tmp_path / "a.npy")


def test_virtual_and_external_data_sets_are_refused(tmp_path, videos):
    source = write_hdf5(tmp_path / "real.h5", videos)
    layout = h5py.VirtualLayout(shape=videos.shape, dtype=videos.dtype)
    layout[...] = h5py.VirtualSource(str(source), "feats", shape=videos.shape)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_virtual_dataset("feats", layout)
    assert "keeps its numbers in other files: name those files themselves" in fault(tmp_path / "a.h5")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file.create_dataset("feats", videos.shape, videos.dtype, external=[(str(tmp_path / "raw"), 0, videos.nbytes)])
    assert "keeps its numbers in other files" in fault(tmp_path / "b.h5")


def test_parts_that_differ_are_named(tmp_path, videos):
    first = write_hdf5(tmp_path / "a.h5", videos)
    second = write_hdf5(tmp_path / "b.h5", videos[:, :2])
    with pytest.raises(DataError, match=r"a\.h5 has 3 frames of 4 dimensions and .*b\.h5 has 2 of 4"):
        open_features([first, second])
    third = write_hdf5(tmp_path / "c.h5", videos.astype(np.float16))
    with pytest.raises(DataError, match=r"a\.h5 is float32 and .*c\.h5 is float16"):
        open_features([first, third])


def test_importing_features_needs_no_torch_pandas_or_h5py():
    code = (
        "import sys, vhbench.datasets.manifest_protocol; print({'torch', 'pandas', 'h5py', 'scipy'} & set(sys.modules))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.strip() == "set()"


# files that are none, and files that somebody writes


def fifo(path):
    os.mkfifo(path)


def device(path):
    path.symlink_to("/dev/zero")


def link_to_fifo(path):
    os.mkfifo(path.with_name("pipe"))
    path.symlink_to(path.with_name("pipe"))


def socket_file(path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


def loop(path):
    path.symlink_to(path)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (fifo, "is a named pipe, not a file"),
        (device, "is a link to a device, not a file"),
        (link_to_fifo, "is a link to a named pipe, not a file"),
        (socket_file, "is a socket, not a file"),
        (loop, "Cannot read"),
    ],
)
def test_only_regular_files_are_opened(tmp_path, monkeypatch, make, words):
    monkeypatch.chdir(tmp_path)  # a socket's name must be short
    for name in ("a.h5", "a.npy", "a.mat", "a.csv"):
        make(Path(name))
        for read in (lambda path: open_features([path]), lambda path: read_labels([path])):
            with pytest.raises(DataError, match=words):
                read(Path(name))
        for path in tmp_path.iterdir():
            path.unlink()


def test_a_link_inside_an_hdf5_file_to_something_else_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["feats"] = h5py.ExternalLink("pipe", "feats")
        file["labels"] = h5py.ExternalLink(str(tmp_path / "pipe"), "x")
    with pytest.raises(DataError, match="pipe is a named pipe, not a file"):
        open_features([tmp_path / "a.h5"])
    with pytest.raises(DataError, match="pipe is a named pipe, not a file"):
        read_labels([tmp_path / "a.h5"])


HOLD = """
import sys, time, h5py, numpy as np
with h5py.File(sys.argv[1], sys.argv[2], **({"libver": "latest"} if "latest" in sys.argv else {})) as file:
    file.require_dataset("feats", (7, 3, 4), "f4")
    file.flush()
    if "swmr" in sys.argv:
        file.swmr_mode = True
    print("open", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize(
    ("how", "while_open", "after"),
    [
        (["r+"], "is open for writing in another program: let that program finish, or close", None),
        (["w", "latest"], "is open for writing in another program", "is marked as open for writing"),
        (["w", "latest", "swmr"], "is marked as open for writing: a program is still writing it", "h5clear -s a.h5"),
    ],
)
def test_a_file_that_another_program_holds_open_is_told_apart_from_a_damaged_one(
    tmp_path, videos, how, while_open, after
):
    path = write_hdf5(tmp_path / "a.h5", videos)
    holder = subprocess.Popen([sys.executable, "-c", HOLD, path, *how], stdout=subprocess.PIPE)
    try:
        holder.stdout.readline()
        message = fault(path)
        assert while_open in message and "damaged" not in message
    finally:
        holder.kill()  # so that it is never closed
        holder.communicate()
    if after:
        assert after in fault(path)
    else:
        assert np.array_equal(open_features([path])[ORDER], videos[ORDER])


# numbers that cannot be


@pytest.mark.parametrize("compression", [None, "gzip"])
@pytest.mark.parametrize("value", [1e39, -1e300])
def test_values_beyond_float32_are_named_with_video_and_frame(tmp_path, videos, compression, value):
    videos = videos.astype(np.float64)
    videos[5, 2, 1] = value
    assert f"holds {value:g}, which is beyond float32, in video 5, frame 2" in fault(
        write_hdf5(tmp_path / "a.h5", videos, compression=compression)
    )
    videos[5, 2, 1] = np.finfo(np.float32).max
    assert len(open_features([write_hdf5(tmp_path / "b.h5", videos, compression=compression)])) == 7


@pytest.mark.parametrize(
    "shape",
    [
        "(7, 3, 400000)",
        "(-7, 3, 4)",
        "(7, -3, -4)",
        f"({10**30}, 3, 4)",
        f"({'9' * 4000}, {'9' * 4000}, 4)",
        "(7,) * 3",
    ],
)
@pytest.mark.parametrize("order", ["False", "True"])
def test_npy_headers_of_impossible_shapes_are_one_sentence(tmp_path, shape, order):
    header = f"{{'descr': '<f4', 'fortran_order': {order}, 'shape': {shape}}}\n".encode()
    content = b"\x93NUMPY\x02\0" + len(header).to_bytes(4, "little") + header + bytes(400)
    (tmp_path / "a.npy").write_bytes(content)
    assert len(fault(tmp_path / "a.npy")) < 1000


def test_hdf5_files_that_hold_nothing_of_a_huge_shape_are_refused_before_they_are_read(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("feats", (2**40, 25, 4096), np.float32, chunks=(1, 25, 4096))
    assert "should have 4.5e+08 GB by its shape" in fault(tmp_path / "a.h5")
    assert "0 bytes are stored: it was never filled" in fault(tmp_path / "a.h5")
