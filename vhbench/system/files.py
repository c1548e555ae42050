"""Writing files so that a reader sees the whole of one or nothing, and finding the cache folder."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from vhbench.errors import StoreError

TEMPORARY = ".tmp-"  # prefix of files that are being written
DAMAGED = ".damaged-"  # in the names of files that were set aside


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file beside `path`; on success flush it to disk and rename it over `path`.

    Raises:
        StoreError: the folder cannot be written or the disk is full; `path` is then as it was before.
    """
    temporary: Path | None = None
    try:
        make_folder(path.parent)
        descriptor, name = tempfile.mkstemp(prefix=TEMPORARY, suffix=path.name, dir=path.parent)
        temporary = Path(name)
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
        temporary = None
        sync_folder(path.parent)
    except OSError as error:
        raise write_error(path, error) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically. NaN and infinity are refused (ValueError)."""
    text = json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False)
    with atomic_write(path) as file:
        file.write(text.encode() + b"\n")


def make_folder(path: Path) -> None:
    """Make a folder and the parents it lacks, each flushed to disk: a power cut must not take a record's folder away.

    Raises:
        OSError: one of them cannot be made.
    """
    missing = []
    while not path.is_dir() and path != path.parent:
        missing.append(path)
        path = path.parent
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to disk: what was made, renamed or removed in it survives a power cut."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:  # it may be written but not read, and so not flushed
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # what file systems say that cannot flush folders
            raise
    finally:
        os.close(descriptor)


def set_aside(path: Path) -> Path:
    """Rename a damaged file to its `aside_name` and return its new path.

    Raises:
        StoreError: it cannot be renamed.
    """
    aside = aside_name(path)
    try:
        path.rename(aside)
        sync_folder(path.parent)
    except OSError as error:
        raise write_error(path, error) from error
    return aside


def aside_name(path: Path) -> Path:
    """Return the path for a damaged file: `<name>.damaged-<n>`, with the first n from 1 that is free."""
    number = 1
    while (aside := path.with_name(f"{path.name}{DAMAGED}{number}")).exists():
        number += 1
    return aside


def write_error(path: Path, error: OSError) -> StoreError:
    """Turn an operating system's refusal to write into one sentence that says what to do."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreError(f"The disk is full: cannot write {path}. Free space and run the same command again.")
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        return StoreError(f"Cannot write {path}: a part of this path is a file, not a folder. Choose another folder.")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT):
        return StoreError(f"Cannot write {path}: {error.strerror}. Choose a folder that you may write to.")
    if error.errno == errno.EFBIG:
        return StoreError(
            f"Cannot write {path}: it would be larger than this file system or `ulimit -f` allows. Raise the limit or "
            "choose another folder, and run the same command again."
        )
    if error.errno == errno.ESTALE:
        return StoreError(
            f"Cannot write {path}: the file server has lost track of it ({error.strerror}). Check that the folder is "
            "still there and mounted, and run the same command again."
        )
    return StoreError(f"Cannot write {path}: {error.strerror or error}.")


def read_error(path: Path, error: OSError) -> StoreError:
    """Turn an operating system's refusal to read into one sentence."""
    if error.errno == errno.ESTALE:
        return StoreError(
            f"Cannot read {path}: the file server has lost track of it ({error.strerror}). Check that the folder is "
            "still there and mounted, and run the same command again."
        )
    return StoreError(f"Cannot read {path}: {error.strerror or error}.")


def sha256_of(path: Path) -> str:
    """Return the hexadecimal sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cache_folder() -> Path:
    """Return the folder for what can be made again: `$VHBENCH_CACHE`, or `vhbench` in the user's cache folder."""
    if own := os.environ.get("VHBENCH_CACHE"):
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "vhbench"


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
