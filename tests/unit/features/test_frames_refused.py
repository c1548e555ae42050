"""Feature files that cannot be used: every fault is one clear sentence."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from vhbench.errors import DataError
from vhbench.features import open_features, read_labels
from vhbench.testing.files import write_hdf5, write_npy

ORDER = np.array([6, 0, 3, 3, 5])


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


def test_a_data_set_that_was_never_written_is_refused(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("feats", (7, 3, 4), np.float32)
    assert "holds nothing but zeros" in fault(tmp_path / "a.h5")
