"""Locks between processes. The operating system frees them when their owner dies, so a killed process blocks nobody."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from vhbench.errors import StoreError
from vhbench.system.files import TEMPORARY, make_folder, write_error

LOCK = ".lock"  # the file that stands for its folder
TRIES, PAUSE = 5, 0.02  # seconds
HELD = (errno.EWOULDBLOCK, errno.EACCES)  # what `flock` says of a lock that another process holds
CLEAR = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # no link is followed, no pipe is waited for
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP)  # what it says on a file system that has none


def lock(descriptor: int, *, wait: bool = False) -> bool:
    """Lock an open file or folder until it is closed; return False where another process holds it.

    Args:
        descriptor: of the file.
        wait: until the other process is done.

    Raises:
        OSError: its file system has no locks.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in HELD:
            raise
        return False
    return True


@contextlib.contextmanager
def hold(folder: Path) -> Iterator[bool]:
    """Hold a folder's lock while the block runs; yield False if another process holds it.

    The folder is made, what a killed owner was writing in it is removed, and at the end it goes if it is empty.

    Raises:
        StoreError: the folder cannot be written, or its file system has no locks.
    """
    descriptor = _take(folder / LOCK)
    if descriptor is None:
        yield False
        return
    try:
        for left in folder.rglob(f"{TEMPORARY}*"):
            with contextlib.suppress(OSError):
                left.unlink()
        yield True
    finally:
        with contextlib.suppress(OSError):  # a lock file that nobody holds is no harm
            (folder / LOCK).unlink(missing_ok=True)
        os.close(descriptor)
        with contextlib.suppress(OSError):
            folder.rmdir()


def is_held(folder: Path) -> bool:
    """Say whether a living process holds a folder's lock."""
    try:
        descriptor = os.open(folder / LOCK, os.O_RDONLY | CLEAR)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in HELD
    finally:
        os.close(descriptor)
    return False


def _take(path: Path) -> int | None:
    """Take a lock and return its descriptor, or None if another process holds it.

    Raises:
        StoreError: as for `hold`.
    """
    try:
        return _try(path)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise write_error(path.parent, error) from error
        raise StoreError(
            f"Cannot lock {path}: {error.strerror}. Without locks two processes could do the same run: choose an --out "
            "on a file system that has them (a local disk, NFS 4 with its lock service, Lustre mounted with flock)."
        ) from error


def _try(path: Path) -> int | None:
    for _ in range(TRIES):
        try:
            make_folder(path.parent)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | CLEAR, 0o666)
        except FileNotFoundError:  # the owner before us has just removed the empty folder
            continue
        try:
            # the owner before us may have removed the file between our open and our lock
            if lock(descriptor):
                if os.fstat(descriptor).st_ino == path.stat().st_ino:
                    return descriptor
            else:
                time.sleep(PAUSE)  # held: by an owner, or for an instant by `is_held`
        except FileNotFoundError:
            pass
        except OSError:
            os.close(descriptor)
            raise
        os.close(descriptor)
    return None
