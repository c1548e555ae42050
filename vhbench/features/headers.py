"""What a feature file says about itself, and its features as a stream of blocks."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from vhbench.errors import DataError
from vhbench.features.inputs import check_regular, open_regular
from vhbench.videos import BLOCK_BYTES

if TYPE_CHECKING:
    import h5py

DTYPES = ("float16", "float32", "float64", "uint8")
NPY_MAGIC = b"\x93NUMPY"
HDF5_ERRORS = (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError, OverflowError, MemoryError)
LARGEST_BLOCK_BYTES = 512 * 2**20  # a block may grow to this where the file's chunks are long
LARGEST_RATIO = 2**14  # that compression reaches on anything but a constant
NPY_ERRORS = (ValueError, TypeError, KeyError, SyntaxError, RecursionError, MemoryError, OverflowError, TokenError)


@dataclass(frozen=True)
class Header:
    """What a feature file says about itself; making one reads no features.

    Attributes:
        path: the file that holds the features, with links resolved.
        key: name of the HDF5 data set; "" for `.npy`.
        shape: (videos, frames, dim).
        dtype: float16, float32, float64 or uint8, in the file's byte order.
        offset: byte at which the features start if they lie uncompressed, in C order and in this machine's byte order;
            None if they do not.
        block: videos to read at a time.
    """

    path: Path
    key: str
    shape: tuple[int, int, int]
    dtype: np.dtype
    offset: int | None
    block: int

    @property
    def nbytes(self) -> int:
        """Size of the uncompressed features in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_header(path: Path, key: str = "feats") -> Header:
    """Read shape, dtype and layout of a feature file.

    Args:
        path: HDF5 or `.npy` file; told apart by content, not by name.
        key: name of the HDF5 data set; `.npy` files have none.

    Raises:
        DataError: the file is missing, unreadable, of another format, truncated or empty, has no data set `key`, or its
            features are not a (videos, frames, dim) array of a dtype in `DTYPES`.
    """
    start = magic(path)
    path = path.resolve()
    if start.startswith(NPY_MAGIC):
        return _npy_header(path)
    if is_hdf5(path):
        with open_hdf5(path) as file, hdf5_reading(path):
            return _hdf5_header(path, find_data_set(file, path, [key], 'key = "..."'))
    raise DataError(f"{path} is neither HDF5 nor .npy: frame features must be in one of these formats.")


def blocks(header: Header, start: int = 0) -> Iterator[np.ndarray]:
    """Yield the features in order, as C-ordered little-endian arrays of shape (up to `header.block`, frames, dim).

    Args:
        header: the file.
        start: the video to begin with.

    Raises:
        DataError: a block cannot be read.
    """
    source = (_read_in_place if header.offset is not None else _read_through_library)(header, start)
    little = header.dtype.newbyteorder("<")
    try:
        for block in source:
            yield np.ascontiguousarray(block, dtype=little)
            start += len(block)
    except HDF5_ERRORS as error:  # numpy too: it refuses to map a truncated file with a ValueError
        stop = min(start + header.block, header.shape[0]) - 1
        raise DataError(
            f"{header.path}: videos {start} to {stop} cannot be read ({error}). Copy or download the file again; "
            "if it is sound, its compression filter may be missing (pip install hdf5plugin)."
        ) from error


def magic(path: Path) -> bytes:
    """Return the first 8 bytes of a file.

    Raises:
        DataError: the file is missing, empty, no regular file, or may not be read.
    """
    try:
        with open_regular(path) as file:
            start = file.read(8)
    except FileNotFoundError as error:
        raise DataError(f"There is no file {path}.") from error
    except OSError as error:
        raise DataError(
            f"Cannot read {path}: {error.strerror or error}. Check the file and its permissions."
        ) from error
    if not start:
        raise DataError(f"{path} is empty (0 bytes). Copy or download it again.")
    return start


def is_hdf5(path: Path) -> bool:
    """Say whether a file is HDF5, also behind a user block as in MATLAB 7.3 files."""
    import h5py

    return bool(h5py.is_hdf5(path))


def open_hdf5(path: Path) -> h5py.File:
    """Open an HDF5 file for reading.

    Raises:
        DataError: it is damaged or truncated, or a program has it open for writing.
    """
    import h5py

    try:
        return h5py.File(path, "r", locking="best-effort")  # some network file systems know no locks
    except BlockingIOError as error:
        raise DataError(
            f"{path} is open for writing in another program: let that program finish, or close the file there, and run "
            "the same command again."
        ) from error
    except OSError as error:
        if "h5clear" in str(error):
            raise DataError(
                f"{path} is marked as open for writing: a program is still writing it, or ended without closing it. "
                "Close it there; if no program has it open, write or copy it again, or clear the mark with "
                f"`h5clear -s {path.name}` (HDF5's tools)."
            ) from error
        raise DataError(
            f"{path} cannot be opened: it is truncated, damaged or still being written ({error}). "
            "Copy or download it again."
        ) from error


@contextlib.contextmanager
def hdf5_reading(path: Path) -> Iterator[None]:
    """Turn what h5py raises over damaged structures, which has many types, into a DataError."""
    try:
        yield
    except MemoryError as error:
        raise memory_error(path) from error
    except HDF5_ERRORS as error:
        raise DataError(f"{path} is damaged and cannot be read ({error}). Copy or download it again.") from error


def memory_error(path: Path) -> DataError:
    """Build the error for a file that asks for more memory than there is, which need not be damage."""
    return DataError(
        f"{path} needs more memory than there is: look at its shape, and use a larger machine if it is right."
    )


def find_data_set(file: h5py.File, path: Path, keys: list[str], setting: str) -> h5py.Dataset:
    """Return the data set under the first of `keys` that the file has.

    Args:
        file: open HDF5 file.
        path: its name, for the message.
        keys: names to try.
        setting: the manifest entry that names another key, for the message.

    Raises:
        DataError: it has none of them; the message names the data sets it has.
    """
    import h5py

    for key in keys:
        check_links(file, path, key)
        if isinstance(found := file.get(key), h5py.Dataset):
            return found
    names: list[str] = []
    file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
    raise missing_key(path, keys, names, setting)


def check_links(file: h5py.File, path: Path, key: str) -> None:
    """Raise DataError where a name of an HDF5 file leads into another file that is no regular one."""
    import h5py

    parts = key.strip("/").split("/")
    for end in range(1, len(parts) + 1):
        link = file.get("/".join(parts[:end]), getlink=True)
        if isinstance(link, h5py.ExternalLink):
            for place in {path.parent / link.filename, Path(link.filename)}:
                with contextlib.suppress(OSError):
                    check_regular(place)
            return


class MissingKey(DataError):
    """A file has no data set or variable of an expected name.

    Args:
        text: which file has which names instead.
        setting: the manifest entry that names another; empty where there is none.

    Attributes:
        without_setting: the text alone.
    """

    def __init__(self, text: str, setting: str):
        super().__init__(f"{text}. Name the right one with {setting} in the manifest." if setting else f"{text}.")
        self.without_setting = f"{text}."


def missing_key(path: Path, keys: list[str], names: list[str], setting: str) -> MissingKey:
    """Build the error for a file that has no data set or variable of an expected name."""
    wanted = " or ".join(map(repr, keys))
    if not names:
        return MissingKey(f"{path} has no {wanted}: it holds no data set at all", "")
    has = ", ".join(map(repr, names[:10])) + (", …" if len(names) > 10 else "")
    return MissingKey(f"{path} has no {wanted}; it has {has}", setting)


def _hdf5_header(path: Path, data: h5py.Dataset) -> Header:
    if data.is_virtual or data.external:
        raise DataError(
            f"{data.name!r} of {path} keeps its numbers in other files: name those files themselves in `features`."
        )
    path = Path(data.file.filename).resolve()  # another file where the key is an external link
    chunk = data.chunks[0] if data.chunks else 1
    # get_offset() is None for chunked, compressed and compact data sets and for those never written
    header = _header(path, data.name.lstrip("/"), data.shape, data.dtype, offset := data.id.get_offset(), chunk)
    if offset is not None:
        check_length(path, offset + header.nbytes)
    stored = data.id.get_storage_size()
    if header.nbytes > LARGEST_RATIO * max(stored, 2**16):
        raise DataError(
            f"{header.key!r} of {path} should have {header.nbytes / 1e9:.3g} GB by its shape {header.shape}, but "
            f"{stored} bytes are stored: it was never filled, or is damaged. Copy or download it again."
        )
    return header


def _npy_header(path: Path) -> Header:
    with path.open("rb") as file:
        shape, fortran_order, dtype = read_npy_header(file, path)
        header = _header(path, "", shape, dtype, None if fortran_order else file.tell(), 1)
        check_length(path, file.tell() + header.nbytes)
        return header


def read_npy_header(file: IO[bytes], path: Path) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Return the shape, whether it is in Fortran order, and the dtype of a `.npy` file; leaves `file` at the array.

    Raises:
        DataError: the header is damaged.
    """
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version[0] == 1 else np.lib.format.read_array_header_2_0
        shape, fortran_order, dtype = read(file)
    except NPY_ERRORS as error:
        raise DataError(f"{path} is not a sound .npy file ({error}). Copy or download it again.") from error
    if not all(0 <= length < 2**63 for length in shape):
        raise DataError(f"{path} is not a sound .npy file (no array has its shape). Copy or download it again.")
    return shape, fortran_order, dtype


def check_length(path: Path, whole: int) -> None:
    """Raise DataError where a file is shorter than its header says."""
    size = path.stat().st_size
    if size < whole:
        raise DataError(f"{path} is truncated: it has {size} bytes of {whole}. Copy or download it again.")


def _header(path: Path, key: str, shape: tuple[int, ...] | None, dtype: Any, offset: int | None, chunk: int) -> Header:
    what = f"{key!r} of {path}" if key else str(path)
    if shape is None or len(shape) != 3:
        raise DataError(f"{what} has shape {shape}: frame features must be (videos, frames, dimensions).")
    if dtype.name not in DTYPES:
        raise DataError(f"{what} has dtype {dtype}: features must be one of {', '.join(DTYPES)}.")
    if 0 in shape:
        raise DataError(f"{what} holds no features: its shape is {shape}.")
    video = shape[1] * shape[2] * dtype.itemsize
    block = max(1, BLOCK_BYTES // video)
    if not dtype.isnative:
        offset = None
    if offset is None:
        # whole chunks, so that none is decompressed twice
        block = max(chunk, block // chunk * chunk)
        block = min(block, max(1, LARGEST_BLOCK_BYTES // video))
    return Header(path, key, (shape[0], shape[1], shape[2]), np.dtype(dtype), offset, block)


def _read_in_place(header: Header, first: int) -> Iterator[np.ndarray]:
    videos, *video = header.shape
    with header.path.open("rb") as file:
        file.seek((header.offset or 0) + first * math.prod(video) * header.dtype.itemsize)
        for start in range(first, videos, header.block):
            count = min(header.block, videos - start)
            array = np.fromfile(file, header.dtype, count * math.prod(video))
            if array.size < count * math.prod(video):
                raise OSError("the file ends before they do")
            yield array.reshape(count, *video)


def _read_through_library(header: Header, first: int) -> Iterator[np.ndarray]:
    if not header.key:  # .npy in Fortran order or of foreign byte order
        array = np.load(header.path, mmap_mode="r", allow_pickle=False)
        for start in range(first, header.shape[0], header.block):
            yield array[start : start + header.block]
        return
    with open_hdf5(header.path) as file:
        data = file[header.key]
        for start in range(first, header.shape[0], header.block):
            yield data[start : start + header.block]
