"""Once per feature file: check that it is finite, digest every video, and copy it out of its compression."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vhbench.errors import DataError, VhbenchError
from vhbench.features.headers import Header, blocks, read_header
from vhbench.files import atomic_write, cache_folder, write_error

FORMAT = "vhbench.features/1"  # part of every cache name: raise it when what is stored changes
DIGEST_BYTES = 32

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checked:
    """A feature file known to be finite.

    Attributes:
        header: where its uncompressed features lie: the file itself or its copy in the cache; `offset` is set.
        digests: uint8 (videos, 32), the sha256 of each video's bytes (C order, little-endian).
    """

    header: Header
    digests: np.ndarray


@dataclass(frozen=True)
class _Entry:
    """The cache files of one state (size and time of change) of one feature file."""

    folder: Path
    state: str

    @property
    def digests(self) -> Path:
        return self.folder / f"{self.state}.sha256.npy"

    @property
    def copy(self) -> Path:
        return self.folder / f"{self.state}.npy"


def check(header: Header) -> Checked:
    """Return the file's digests and where to map it from; reads the features only if this state of it is not known.

    Raises:
        DataError: the features hold NaN or infinity or cannot be read, or the cache folder cannot be written.
    """
    entry = _entry(header)
    if known := _known(header, entry):
        return known
    try:
        with _alone(entry.folder) as alone:
            if known := _known(header, entry):  # another process did it while this one waited
                return known
            if alone:
                _sweep(entry)
            log.info("reading %s once (%.1f GB) to check it", header.path, header.nbytes / 1e9)
            return _read_once(header, entry)
    except DataError:
        raise
    except VhbenchError as error:
        raise DataError(
            f"{error} Set $VHBENCH_CACHE to a folder with enough room to keep the cache elsewhere."
        ) from error


def _entry(header: Header) -> _Entry:
    stat = header.path.stat()
    name = _short(FORMAT, str(header.path), header.key)
    folder = cache_folder() / "features" / f"{header.path.stem}-{name}"
    return _Entry(folder, _short(str(stat.st_size), str(stat.st_mtime_ns)))


def _short(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode(errors="surrogateescape")).hexdigest()[:16]


def _known(header: Header, entry: _Entry) -> Checked | None:
    try:
        digests = np.load(entry.digests, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    if digests.shape != (header.shape[0], DIGEST_BYTES) or digests.dtype != np.uint8:
        return None
    if header.offset is not None:
        return Checked(header, digests)
    copy = _sound_copy(header, entry.copy)
    return Checked(copy, digests) if copy else None


def _sound_copy(header: Header, path: Path) -> Header | None:
    try:
        copy = read_header(path)
    except (DataError, OSError):
        return None
    if copy.offset is None or (copy.shape, copy.dtype.name) != (header.shape, header.dtype.name):
        return None
    return copy if path.stat().st_size == copy.offset + copy.nbytes else None


def _read_once(header: Header, entry: _Entry) -> Checked:
    """Write the digests of all videos and, where the file cannot be mapped, its uncompressed copy."""
    digests = np.empty((header.shape[0], DIGEST_BYTES), dtype=np.uint8)
    with atomic_write(entry.copy) if header.offset is None else contextlib.nullcontext() as copy:
        if copy:
            layout = {"descr": header.dtype.newbyteorder("<").str, "fortran_order": False, "shape": header.shape}
            np.lib.format.write_array_header_1_0(copy, layout)
        start = 0
        for block in blocks(header):
            _check_finite(block, start, header.path)
            for row, video in enumerate(block, start):
                digests[row] = np.frombuffer(hashlib.sha256(video).digest(), dtype=np.uint8)
            if copy:
                copy.write(block.data)
            start += len(block)
        if _entry(header) != entry:
            raise DataError(f"{header.path} changed while it was read. Run the same command again.")
    with atomic_write(entry.digests) as file:
        np.save(file, digests)
    return Checked(read_header(entry.copy) if header.offset is None else header, digests)


def _check_finite(block: np.ndarray, start: int, path: Path) -> None:
    finite = np.isfinite(block)
    if finite.all():
        return
    row, frame, column = (int(i) for i in np.argwhere(~finite)[0])
    value = "NaN" if np.isnan(block[row, frame, column]) else "infinity"
    raise DataError(
        f"{path} holds {value} in video {start + row}, frame {frame} (both counted from 0). "
        "Extract that video's features again or leave the video out."
    )


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[bool]:
    """Let one process at a time fill a cache folder; yield False where the file system knows no locks."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("ab")
    except OSError as error:
        raise write_error(folder, error) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError:
            yield False
        else:
            yield True


def _sweep(entry: _Entry) -> None:
    """Remove what was made from earlier states of the file, and what a killed process left half-written."""
    for path in entry.folder.iterdir():
        if path.name != "lock" and not path.name.startswith(entry.state):
            with contextlib.suppress(OSError):
                path.unlink()
