"""Reading `.npz` and `.npy` files of our own: never a pickle, and never more memory than a bound, whatever they say."""

from __future__ import annotations

import contextlib
import io
import math
import os
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import IO, Any

import numpy as np

from vhbench.system.files import LARGEST, open_regular

CHUNK = 1 << 20
HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def read_npz(
    source: Path | str | bytes, only: Collection[str] | None = None, *, links: bool = True, limit: int = LARGEST
) -> dict[str, np.ndarray]:
    """Return the arrays of an `.npz` archive, as NumPy's own `savez` and `savez_compressed` write them.

    Args:
        source: the file, or its content.
        only: names of the arrays to read, where they are there; None: all.
        links: whether the file may be a symbolic link.
        limit: the most bytes that these arrays may have; an archive of 1 MB can hold gigabytes.

    Raises:
        ValueError: it is no such archive, is damaged, holds objects or holds more.
        OSError: the file cannot be read or is no regular file.
        MemoryError: there is no room for what it holds.
    """
    with contextlib.ExitStack() as stack:
        file: IO[bytes] = (
            io.BytesIO(source)
            if isinstance(source, bytes)
            else stack.enter_context(open_regular(Path(source), links=links))
        )
        try:
            archive = stack.enter_context(zipfile.ZipFile(file))
            members = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
            wanted = {name: member for name, member in members.items() if only is None or name in only}
            total = sum(member.file_size for member in wanted.values())
            if total > limit:
                raise ValueError(f"it holds {total} bytes, and such an archive at most {limit}")
            return {name: _read(archive, member) for name, member in wanted.items()}
        except MemoryError:
            raise
        except Exception as error:  # what zipfile's and NumPy's parsers trip over has many types
            raise ValueError(f"no .npz file of plain arrays: {str(error) or type(error).__name__}") from error


def read_npy(path: Path, *, links: bool = True, limit: int = LARGEST) -> np.ndarray:
    """Return the array of an `.npy` file; arguments and errors as for `read_npz`."""
    with open_regular(path, links=links) as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise ValueError(f"it holds {size} bytes, and such a file at most {limit}")
        try:
            return _array(file, size, path.name)
        except (MemoryError, OSError):
            raise
        except Exception as error:  # as for archives
            raise ValueError(f"no .npy file of a plain array: {str(error) or type(error).__name__}") from error


def map_npy(path: Path) -> np.memmap[Any, Any]:
    """Return the array of an `.npy` file without reading it, rows in order; only its header is looked at.

    Raises:
        ValueError: it is no such file, holds objects or nothing, or is not as long as its header says.
        OSError: it cannot be read or is no regular file.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        try:
            shape, fortran, dtype = _header(file, size, path.name)
            if fortran or not math.prod(shape):
                raise ValueError("it holds no rows in order")
            return np.memmap(file, dtype, "r", file.tell(), shape)
        except (MemoryError, OSError):
            raise
        except Exception as error:  # as for archives
            raise ValueError(f"no .npy file of a plain array: {str(error) or type(error).__name__}") from error


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(member) as file:
        return _array(file, member.file_size, member.filename)


def _array(file: IO[bytes], size: int, name: str) -> np.ndarray:
    """Read one array of so many bytes; what its header says is believed only where that is as long."""
    shape, fortran, dtype = _header(file, size, name)
    flat = np.empty(math.prod(shape), dtype)
    _fill(flat.view(np.uint8).data, file)
    array: np.ndarray = flat.reshape(shape[::-1]).transpose() if fortran else flat.reshape(shape)
    return array


def _header(file: IO[bytes], size: int, name: str) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Read the header of an array of so many bytes: shape, whether it lies in Fortran's order, dtype."""
    version = np.lib.format.read_magic(file)
    if version not in HEADERS:
        raise ValueError(f"{name} has version {version} of the .npy format")
    shape, fortran, dtype = HEADERS[version](file)
    if dtype.hasobject or not dtype.itemsize or any(not 0 <= length <= LARGEST for length in shape):
        raise ValueError(f"{name} is no plain array: {dtype} {shape}")
    if math.prod(shape) * dtype.itemsize != size - file.tell():
        raise ValueError(f"{name} is not as long as {dtype} {shape}")
    return shape, fortran, dtype


def _fill(memory: memoryview, file: IO[bytes]) -> None:
    start = 0
    while start < len(memory):
        chunk = file.read(min(CHUNK, len(memory) - start))
        if not chunk:
            raise ValueError("it is cut short")
        memory[start : start + len(chunk)] = chunk
        start += len(chunk)
