"""What is known of feature files that were read before: their digests and, of compressed ones, a copy."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vhbench.errors import DataError, VhbenchError
from vhbench.features.headers import Header, read_header
from vhbench.features.reading import DIGEST_BYTES, Damaged, digest_videos
from vhbench.features.state import FileState
from vhbench.system.files import atomic_write, cache_folder, write_error
from vhbench.system.locks import lock

FORMAT = "vhbench.features/1"  # part of every cache name: raise it when what is stored changes
LOCK = "lock"


@dataclass(frozen=True)
class Checked:
    """A feature file known to be finite.

    Attributes:
        header: where its uncompressed features lie: the file itself or its copy in the cache; `offset` is set.
        digests: uint8 (videos, 32), the sha256 of each video's bytes (C order, little-endian).
        origin: the file itself as it was then.
    """

    header: Header
    digests: np.ndarray
    origin: FileState


@dataclass(frozen=True)
class Entry:
    """The cache files of one state (size and time of change) of one feature file.

    Attributes:
        folder: holds the files of all its states, of which only the present one is kept.
        state: the start of the files' names.
    """

    folder: Path
    state: str

    @property
    def digests(self) -> Path:
        """The digests, once the whole file has been read."""
        return self.folder / f"{self.state}.sha256.npy"

    @property
    def copy(self) -> Path:
        """The uncompressed copy, once it is complete."""
        return self.folder / f"{self.state}.npy"

    def parts(self, owner: str = "") -> tuple[Path, Path]:
        """Return the names of the digests and the copy while they grow; an owner has them to itself."""
        return self.folder / f"{self.state}{owner}.sha256.part", self.folder / f"{self.state}{owner}.part"


def check(header: Header) -> Checked:
    """Return the file's digests and where to read it from; reads the features only if this state of it is not known.

    A reading that was interrupted, by a kill or a full disk, goes on where it stopped.

    Raises:
        DataError: the features hold NaN or infinity or cannot be read, or the cache folder cannot be written.
    """
    entry = entry_of(header)
    if known := _known(header, entry):
        return known
    try:
        with _alone(entry.folder) as alone:
            if known := _known(header, entry):  # another process did it while this one waited
                return known
            if alone:
                _sweep(entry)
            return _read_once(header, entry, alone)
    except DataError:
        raise
    except VhbenchError as error:
        raise DataError(
            f"{error} Set $VHBENCH_CACHE to a folder with enough room to keep the cache elsewhere."
        ) from error


def features_folder() -> Path:
    """Return the folder with the cache folders of all feature files."""
    return cache_folder() / "features"


def entry_of(header: Header) -> Entry:
    """Return where the present state of a file is or would be cached."""
    state = FileState.of(header.path)
    folder = features_folder() / f"{header.path.stem}-{_short(FORMAT, str(header.path), header.key)}"
    return Entry(folder, _short(str(state.size), str(state.changed)))


def load_digests(header: Header, entry: Entry) -> np.ndarray | None:
    """Return the digests that an earlier reading of this state left, as in `Checked`; None where there are none."""
    try:
        digests: np.ndarray = np.load(entry.digests, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return digests if digests.shape == (header.shape[0], DIGEST_BYTES) and digests.dtype == np.uint8 else None


def sound_copy(header: Header, entry: Entry) -> Header | None:
    """Return where the uncompressed copy of this state lies; None where there is none of the right form and size."""
    try:
        copy = read_header(entry.copy)
    except (DataError, OSError):
        return None
    if copy.offset is None or (copy.shape, copy.dtype.name) != (header.shape, header.dtype.name):
        return None
    return copy if entry.copy.stat().st_size == copy.offset + copy.nbytes else None


def folder_bytes(folder: Path) -> int:
    """Return how many bytes the files below a folder take; 0 where it does not exist."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else 0


def clear(folder: Path) -> int | None:
    """Remove the cache folder of one feature file.

    A run that reads the copy in it goes on undisturbed: its open file outlives the name.

    Returns:
        The bytes freed; None where a process is filling the folder, which is then left alone.

    Raises:
        StoreError: it cannot be removed.
    """
    try:
        with (folder / LOCK).open("ab") as file:
            with contextlib.suppress(OSError):  # the file system knows no locks
                if not lock(file.fileno()):
                    return None
            freed = folder_bytes(folder)
            shutil.rmtree(folder)
    except OSError as error:
        raise write_error(folder, error) from error
    return freed


def _short(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode(errors="surrogateescape")).hexdigest()[:16]


def _known(header: Header, entry: Entry) -> Checked | None:
    origin = FileState.of(header.path)
    digests = load_digests(header, entry)
    place = header if header.offset is not None else sound_copy(header, entry)
    return Checked(place, digests, origin) if digests is not None and place else None


def _read_once(header: Header, entry: Entry, alone: bool) -> Checked:
    """Write the digests of all videos and, where the file cannot be read in place, its uncompressed copy."""
    origin = FileState.of(header.path)
    digests_so_far, copy_so_far = entry.parts("" if alone else f".{os.getpid()}")

    try:
        digests = digest_videos(header, digests_so_far, copy_so_far)
        if entry_of(header) != entry:
            raise Damaged(f"{header.path} changed while it was read. Run the same command again.")
    except BaseException as error:
        if isinstance(error, Damaged) or not alone:  # else another process may go on with what this one leaves
            digests_so_far.unlink(missing_ok=True)
            copy_so_far.unlink(missing_ok=True)
        raise
    if header.offset is None:
        copy_so_far.replace(entry.copy)
    with atomic_write(entry.digests) as file:
        np.save(file, digests)
    digests_so_far.unlink(missing_ok=True)
    return Checked(read_header(entry.copy) if header.offset is None else header, digests, origin)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[bool]:
    """Let one process at a time fill a cache folder; yield False where the file system knows no locks."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / LOCK).open("ab")
    except OSError as error:
        raise write_error(folder, error) from error
    with file:
        try:
            lock(file.fileno(), wait=True)
        except OSError:
            yield False
        else:
            yield True


def _sweep(entry: Entry) -> None:
    """Remove what was made from earlier states of the file, and what a killed process left half-written."""
    for path in entry.folder.iterdir():
        if path.name != LOCK and not path.name.startswith(entry.state):
            with contextlib.suppress(OSError):
                path.unlink()
