"""What is known of feature files that were read before: their digests and, of compressed ones, a copy."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import shutil
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vhbench.errors import DataError, VhbenchError
from vhbench.features.headers import Header, read_header
from vhbench.features.reading import DIGEST_BYTES, Damaged, digest_videos
from vhbench.features.state import FileState
from vhbench.system.arrays import read_npy
from vhbench.system.files import atomic_write, cache_folder, write_error
from vhbench.system.locks import lock

FORMAT = "vhbench.features/1"  # part of every cache name: raise it when what is stored changes
LOCK = "lock"
DIGESTS = ".sha256.npy"
SEALS = 2  # rows of such a file behind the digests

log = logging.getLogger(__name__)

# the entries digested anew so far, where all are to be; None: what is known holds
_anew: ContextVar[set[Entry] | None] = ContextVar("_anew", default=None)


@dataclass(frozen=True)
class Checked:
    """A feature file known to be finite.

    Attributes:
        header: where its uncompressed features lie: the file itself or its copy in the cache; `offset` is set.
        digests: uint8 (videos, 32), the sha256 of each video's bytes (C order, little-endian).
        origin: the file itself as it was then.
        sound: nothing was written to that place since it was digested; else each video is to be digested when it is
            read.
    """

    header: Header
    digests: np.ndarray
    origin: FileState
    sound: bool


@dataclass(frozen=True)
class Entry:
    """The cache files of one state of one feature file.

    Attributes:
        folder: holds the files of all its states, of which only the present one is kept.
        looks: what stands for its size and the date that copying programs keep.
        state: the start of the files' names: `looks`, and what stands for its inode and time of change.
    """

    folder: Path
    looks: str
    state: str

    @property
    def digests(self) -> Path:
        """The digests, once the whole file has been read; behind them the seals of themselves and of the copy."""
        return self.folder / f"{self.state}{DIGESTS}"

    @property
    def copy(self) -> Path:
        """The uncompressed copy, once it is complete."""
        return self.folder / f"{self.state}.npy"

    def parts(self, owner: str = "") -> tuple[Path, Path]:
        """Return the names of the digests and the copy while they grow; an owner has them to itself."""
        return self.folder / f"{self.state}{owner}.sha256.part", self.folder / f"{self.state}{owner}.part"


@contextlib.contextmanager
def digesting_anew() -> Iterator[None]:
    """Read every feature file that is opened in the block from end to end, whatever is known of it; each once."""
    token = _anew.set(set())
    try:
        yield
    finally:
        _anew.reset(token)


def check(header: Header) -> Checked:
    """Return the file's digests and where to read it from; reads the features only if this state of it is not known.

    A reading that was interrupted, by a kill or a full disk, goes on where it stopped.

    Raises:
        DataError: the features hold NaN or infinity or cannot be read, or the cache folder cannot be written.
    """
    entry = entry_of(header)
    done = _anew.get()
    anew = done is not None and entry not in done
    if not anew and (known := _known(header, entry)):
        return known
    try:
        with _alone(entry.folder) as alone:
            before = _digests_of_lookalike(header, entry)
            if anew:
                _forget(entry)
            elif known := _known(header, entry):  # another process did it while this one waited
                return known
            if alone:
                _sweep(entry)
            found = _read_once(header, entry, alone)
    except DataError:
        raise
    except VhbenchError as error:
        raise DataError(
            f"{error} Set $VHBENCH_CACHE to a folder with enough room to keep the cache elsewhere."
        ) from error
    if done is not None:
        done.add(entry)
    if before is not None and not np.array_equal(before, found.digests):
        log.warning("%s", other_content(header))
    return found


def other_content(header: Header) -> str:
    """Say that a file holds something else than when it was read before, though it looks the same."""
    return f"{header.path} is not what it was when it was first read, though its size and date are the same"


def features_folder() -> Path:
    """Return the folder with the cache folders of all feature files."""
    return cache_folder() / "features"


def entry_of(header: Header) -> Entry:
    """Return where the present state of a file is or would be cached."""
    state = FileState.of(header.path)
    folder = features_folder() / f"{header.path.stem}-{_short(FORMAT, str(header.path), header.key)}"
    looks = _short(str(state.size), str(state.modified))
    return Entry(folder, looks, f"{looks}-{_short(str(state.changed), str(state.inode))}")


def load_digests(header: Header, entry: Entry) -> np.ndarray | None:
    """Return the digests that an earlier reading of this state left, as in `Checked`; None where there are none."""
    stored = _load(header, entry.digests)
    return None if stored is None else stored[:-SEALS]


def save_digests(entry: Entry, digests: np.ndarray) -> None:
    """Keep the digests of a state, as in `Checked`, and the state of the copy, if there is one; raises StoreError."""
    with atomic_write(entry.digests) as file:
        np.save(file, np.concatenate([digests, _seals(digests, entry)]))


def digests_before(header: Header) -> np.ndarray | None:
    """Return the digests of the file as it is or, if there are none, as it was when it looked the same; else None."""
    entry = entry_of(header)
    known = load_digests(header, entry)
    return _digests_of_lookalike(header, entry) if known is None else known


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


def _load(header: Header, path: Path) -> np.ndarray | None:
    """Return the content of a file of digests; None where it is not whole."""
    try:
        stored = read_npy(path)
    except (OSError, ValueError):
        return None
    if stored.shape != (header.shape[0] + SEALS, DIGEST_BYTES) or stored.dtype != np.uint8:
        return None
    digests = stored[:-SEALS]
    return stored if hashlib.sha256(digests.tobytes()).digest() == stored[-SEALS].tobytes() else None


def _seals(digests: np.ndarray, entry: Entry) -> np.ndarray:
    """Return what stands behind digests in their file: by these, neither they nor the copy can change unseen."""
    content = digests.tobytes()
    try:
        state = FileState.of(entry.copy)
    except OSError:
        copy = b""
    else:
        copy = f"{state.size} {state.modified} {state.changed} {state.inode}".encode()
    seals = hashlib.sha256(content).digest() + hashlib.sha256(content + copy).digest()
    return np.frombuffer(seals, np.uint8).reshape(SEALS, DIGEST_BYTES)


def _digests_of_lookalike(header: Header, entry: Entry) -> np.ndarray | None:
    """Return the digests of a state of the same size and date, the present one or an earlier; None where none is."""
    for path in sorted(entry.folder.glob(f"{entry.looks}-*{DIGESTS}")):
        if (stored := _load(header, path)) is not None:
            return stored[:-SEALS]
    return None


def _forget(entry: Entry) -> None:
    """Remove all that is kept of a state."""
    for path in entry.folder.glob(f"{entry.state}*"):
        with contextlib.suppress(OSError):
            path.unlink()


def _known(header: Header, entry: Entry) -> Checked | None:
    origin = FileState.of(header.path)
    stored = _load(header, entry.digests)
    place = header if header.offset is not None else sound_copy(header, entry)
    if stored is None or place is None:
        return None
    digests = stored[:-SEALS]
    return Checked(place, digests, origin, place is header or np.array_equal(stored[-SEALS:], _seals(digests, entry)))


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
    save_digests(entry, digests)
    digests_so_far.unlink(missing_ok=True)
    return Checked(read_header(entry.copy) if header.offset is None else header, digests, origin, sound=True)


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
