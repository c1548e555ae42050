"""Feature files as one object: memory-mapped, concatenated along videos, with the digest of their content."""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vhbench.errors import DataError
from vhbench.features.cache import Checked, check
from vhbench.features.headers import Header, read_header


class Features:
    """Frame features of one or more files, in their order; satisfies `vhbench.videos.Frames`.

    Reading needs no more memory than the rows asked for: the maps give their pages back after each access.

    Attributes:
        shape: (videos, frames, dim).
        dtype: of the files, and of what indexing returns.
        row_digests: uint8 (videos, 32), the sha256 of each video's bytes (C order, little-endian).
        digest: hexadecimal sha256 of dtype, shape and `row_digests`: the same for the same features however they are
            named, compressed or divided into files.
    """

    def __init__(self, files: Sequence[Checked]):
        maps = [_memory_map(file.header) for file in files]
        self._maps = [memory for memory, _ in maps]
        self._arrays = [array for _, array in maps]
        self._ends = np.cumsum([len(array) for array in self._arrays])
        self.dtype = self._arrays[0].dtype
        self.shape: tuple[int, int, int] = (int(self._ends[-1]), *files[0].header.shape[1:])
        self.row_digests = np.concatenate([file.digests for file in files])
        content = hashlib.sha256(f"{self.dtype.name} {self.shape} ".encode())
        content.update(self.row_digests.tobytes())
        self.digest = content.hexdigest()

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """Return the features of the rows (int, any order, repeats allowed) as a new array (len(rows), frames, dim).

        Raises:
            IndexError: a row is negative or beyond the last video.
        """
        rows = np.asarray(rows, dtype=np.int64)
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(self):
            raise IndexError(f"rows {rows.min()} to {rows.max()} asked of {len(self)} videos")
        files = np.searchsorted(self._ends, rows, side="right")
        out = np.empty((len(rows), *self.shape[1:]), dtype=self.dtype)
        for i in np.argsort(rows, kind="stable"):  # in the files' order: far fewer seeks
            array = self._arrays[files[i]]
            out[i] = array[rows[i] - self._ends[files[i]] + len(array)]
        for memory in self._maps:
            memory.madvise(mmap.MADV_DONTNEED)  # else every page ever touched counts as this process's memory
        return out


def open_features(paths: Sequence[Path], key: str = "feats") -> Features:
    """Open feature files and present them as one, concatenated along videos in the order given.

    Contiguous HDF5 data sets and C-ordered `.npy` files are memory-mapped where they lie; others are copied once into
    `$VHBENCH_CACHE` and mapped there. The first opening of a file reads it once, to check that it is finite and to
    digest it; later ones read none of its features until it changes (path, size or time of change).

    Args:
        paths: HDF5 or `.npy` files of shape (videos, frames, dim), equal in all but the number of videos.
        key: name of the HDF5 data set.

    Raises:
        DataError: a file cannot be used (see `read_header`), holds NaN or infinity or disagrees with the first one, or
            the cache folder cannot be written.
    """
    return open_headers([read_header(path, key) for path in paths])


def open_headers(headers: Sequence[Header]) -> Features:
    """Open the files that these headers were read from; otherwise as `open_features`."""
    for other in headers[1:]:
        check_alike(headers[0], other)
        if other.dtype != headers[0].dtype:
            raise DataError(
                f"{headers[0].path} is {headers[0].dtype} and {other.path} is {other.dtype}: "
                "store files that belong together in one dtype."
            )
    return Features([check(header) for header in headers])


def check_alike(first: Header, other: Header) -> None:
    """Raise DataError, naming both files, if their numbers of frames or dimensions differ."""
    if first.shape[1:] != other.shape[1:]:
        raise DataError(
            f"{first.path} has {first.shape[1]} frames of {first.shape[2]} dimensions and {other.path} has "
            f"{other.shape[1]} of {other.shape[2]}: all files of a protocol must agree."
        )


def _memory_map(header: Header) -> tuple[mmap.mmap, np.ndarray]:
    with header.path.open("rb") as file:
        memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return memory, np.ndarray(header.shape, header.dtype, buffer=memory, offset=header.offset or 0)
