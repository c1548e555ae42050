"""Feature files as one object: read where they lie, concatenated along videos, with the digest of their content."""

from __future__ import annotations

import contextlib
import hashlib
import os
import weakref
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from vhbench.errors import DataError
from vhbench.features.cache import Checked, check
from vhbench.features.headers import Header, read_header
from vhbench.features.state import FileState
from vhbench.videos import Frames

LARGEST_READ = 2**22  # bytes at once; a block is several reads, which the READERS share
READERS = 4  # threads: disks answer several requests faster, and copying from the page cache is work too
HALF_WRITTEN = 0.01  # a file whose last videos are zero, and make up more than this of it
MOST_BUFFERS = 1024  # that one read may fill (IOV_MAX)


class Features:
    """Frame features of one or more files, in their order; satisfies `vhbench.videos.Frames`.

    Rows are read from the files themselves into the array asked for: no other memory is needed, the system's page cache
    does what it does for memory maps, and a file that is cut short under a run is an error and not a dead process.

    Attributes:
        shape: (videos, frames, dim).
        dtype: of the files, and of what indexing returns.
        row_digests: uint8 (videos, 32), the sha256 of each video's bytes (C order, little-endian).
        digest: hexadecimal sha256 of dtype, shape and `row_digests`: the same for the same features however they are
            named, compressed or divided into files.
        zero_rows: int64, the videos that are zero throughout, as half-written files hold them.
    """

    def __init__(self, files: Sequence[Checked]):
        self._files = [_OpenFile(file) for file in files]
        self._ends = np.cumsum([file.header.shape[0] for file in files])
        self.dtype = files[0].header.dtype
        self.shape: tuple[int, int, int] = (int(self._ends[-1]), *files[0].header.shape[1:])
        self.row_digests = np.concatenate([file.digests for file in files])
        self.digest = content_digest(self.dtype, self.shape, self.row_digests)
        of_zeros = hashlib.sha256(bytes(files[0].header.nbytes // files[0].header.shape[0])).digest()
        self.zero_rows = np.flatnonzero((self.row_digests == np.frombuffer(of_zeros, np.uint8)).all(axis=1))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """Return the features of the rows as a new array (len(rows), frames, dim); otherwise as `read`."""
        return self.read(rows, np.empty((len(rows), *self.shape[1:]), dtype=self.dtype))

    def read(self, rows: np.ndarray, out: np.ndarray) -> np.ndarray:
        """Read the features of the rows into `out` and return it.

        Args:
            rows: int, any order, repeats allowed.
            out: C-contiguous (len(rows), frames, dim) of this dtype.

        Raises:
            IndexError: a row is negative or beyond the last video.
            DataError: a file has changed since it was opened, or a copy in the cache is damaged.
        """
        rows = np.asarray(rows, dtype=np.int64)
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(self):
            raise IndexError(f"rows {rows.min()} to {rows.max()} asked of {len(self)} videos")
        order = np.argsort(rows, kind="stable")  # in the files' order: far fewer reads
        ordered = rows[order]
        for file, end in zip(self._files, self._ends.tolist(), strict=True):
            begin = end - file.videos
            low, high = np.searchsorted(ordered, (begin, end)).tolist()
            if low < high:
                file.read(ordered[low:high] - begin, out, order[low:high])
        return out

    def check_unchanged(self) -> None:
        """Raise DataError where a file is not what it was when it was opened."""
        for file in self._files:
            file.check_unchanged()


class SampledFrames:
    """Some of the frames of every video; satisfies `vhbench.videos.Frames`.

    Args:
        features: the videos with all their frames.
        frames: which frames, in this order (int).
    """

    def __init__(self, features: Frames, frames: np.ndarray):
        self._features = features
        self._frames = frames
        self.dtype = features.dtype
        self.shape: tuple[int, ...] = (features.shape[0], len(frames), features.shape[2])

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """Return the rows' chosen frames as a new array (len(rows), frames, dim); otherwise as `Features.read`."""
        chosen: np.ndarray = self._features[rows][:, self._frames]
        return chosen


class _OpenFile:
    """One file, open for reading until nobody refers to it; of a copy in doubt, videos are digested when first read."""

    def __init__(self, file: Checked):
        header = file.header
        self.videos = header.shape[0]
        self._video_bytes = header.nbytes // self.videos
        self._offset = header.offset or 0
        self._origin = file.origin
        try:
            self._descriptor = os.open(header.path, os.O_RDONLY)
        except OSError as error:
            raise DataError(f"Cannot read {header.path}: {error.strerror}. Run the same command again.") from error
        weakref.finalize(self, os.close, self._descriptor)
        self._state = FileState.of(header.path, self._descriptor)
        self._digests = file.digests
        self._unchecked = None if file.sound else np.ones(self.videos, dtype=bool)
        if header.path == file.origin.path:
            file.origin.check(self._descriptor)

    def read(self, rows: np.ndarray, out: np.ndarray, places: np.ndarray) -> None:
        """Read rows (rising, repeats allowed) to these places of `out`."""
        self._state.check(self._descriptor)
        target = out.reshape(len(out), -1).view(np.uint8)

        def read_run(run: tuple[int, int]) -> None:
            start, stop = run
            buffers = [target[place] for place in places[start:stop]]
            offset = self._offset + int(rows[start]) * self._video_bytes
            if os.preadv(self._descriptor, buffers, offset) != len(buffers) * self._video_bytes:
                self._read_slowly(buffers, offset)
            if self._unchecked is not None:
                self._check_copy(rows[start:stop], buffers)

        runs = list(_runs(rows, min(MOST_BUFFERS, max(1, LARGEST_READ // self._video_bytes))))
        if len(rows) * self._video_bytes <= LARGEST_READ:
            for run in runs:
                read_run(run)
            return
        with ThreadPoolExecutor(READERS, thread_name_prefix="read") as readers:
            for _ in readers.map(read_run, runs):
                pass

    def _read_slowly(self, buffers: list[np.ndarray], offset: int) -> None:
        """Read again what one read did not bring whole: a network file system may answer in parts."""
        for buffer in buffers:
            done = 0
            while done < len(buffer):
                count = os.preadv(self._descriptor, [buffer[done:].data], offset + done)
                if not count:
                    raise DataError(f"{self._state.path} was cut short while in use. Put the right file in place.")
                done += count
            offset += len(buffer)

    def _check_copy(self, rows: np.ndarray, buffers: list[np.ndarray]) -> None:
        """Compare videos that are read for the first time with their digests; remove the copy where they differ."""
        assert self._unchecked is not None
        for row, buffer in zip(rows.tolist(), buffers, strict=True):
            if self._unchecked[row] and hashlib.sha256(buffer.data).digest() != self._digests[row].tobytes():
                with contextlib.suppress(OSError):
                    self._state.path.unlink()
                raise DataError(
                    f"The cached copy of {self._origin.path} is damaged at video {row} (counted from 0) and was "
                    "removed: no number may come of it. Run the same command again, which makes the copy anew."
                )
            self._unchecked[row] = False

    def check_unchanged(self) -> None:
        self._origin.check()
        self._state.check(self._descriptor)


def _refuse_half_written(file: Checked, zero_rows: np.ndarray, end: int) -> None:
    """Raise DataError for a file that ends in zeros, as one does that was reserved its place and then not filled.

    Args:
        file: the file.
        zero_rows: the videos that are zero throughout, in rising order (int).
        end: number of the video behind the file's last one.
    """
    videos = len(file.digests)
    mine = set(zero_rows[(end - videos <= zero_rows) & (zero_rows < end)].tolist())
    tail = next((count for count in range(len(mine) + 1) if end - 1 - count not in mine), 0)
    if tail == videos:
        raise DataError(f"{file.origin.path} holds nothing but zeros: it was never filled. Download it again.")
    if tail > max(1, HALF_WRITTEN * videos):
        raise DataError(
            f"{file.origin.path} is half-written: its last {tail} of {videos} videos are zero throughout. "
            "Download it again or, if they are meant, leave them out."
        )


def _runs(rows: np.ndarray, longest: int) -> Iterator[tuple[int, int]]:
    """Yield (start, stop) of the stretches of `rows` that rise by one, cut where they pass `longest`."""
    breaks = np.flatnonzero(np.diff(rows) != 1) + 1
    for start, stop in zip([0, *breaks.tolist()], [*breaks.tolist(), len(rows)], strict=True):
        for part in range(start, stop, longest):
            yield part, min(part + longest, stop)


def content_digest(dtype: np.dtype, shape: tuple[int, ...], row_digests: np.ndarray) -> str:
    """Return the hexadecimal sha256 that stands for features of this dtype, shape and these digests of the videos."""
    content = hashlib.sha256(f"{dtype.name} {shape} ".encode())
    content.update(row_digests.tobytes())
    return content.hexdigest()


def open_features(paths: Sequence[Path], key: str = "feats") -> Features:
    """Open feature files and present them as one, concatenated along videos in the order given.

    Contiguous HDF5 data sets and C-ordered `.npy` files are read where they lie; others are copied once into
    `$VHBENCH_CACHE` and read there. The first opening of a file reads it once, to check that it is finite and to
    digest it; later ones read none of its features until it changes (path, size, dates or inode). A copy that
    is not as it was written is compared with the digests as it is read.

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
        if other.dtype.name != headers[0].dtype.name:
            raise DataError(
                f"{headers[0].path} is {headers[0].dtype} and {other.path} is {other.dtype}: "
                "store files that belong together in one dtype."
            )
    files = [check(header) for header in headers]
    features = Features(files)
    for file, end in zip(files, np.cumsum([len(file.digests) for file in files]).tolist(), strict=True):
        _refuse_half_written(file, features.zero_rows, end)
    return features


def check_alike(first: Header, other: Header) -> None:
    """Raise DataError, naming both files, if their numbers of frames or dimensions differ."""
    if first.shape[1:] != other.shape[1:]:
        raise DataError(
            f"{first.path} has {first.shape[1]} frames of {first.shape[2]} dimensions and {other.path} has "
            f"{other.shape[1]} of {other.shape[2]}: all files of a protocol must agree."
        )
