"""A file as it was at one moment, and how far a long reading is."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from vhbench.errors import DataError


@dataclass(frozen=True)
class FileState:
    """A file as it was at one moment.

    Attributes:
        path: the file.
        size: in bytes.
        modified: when its content was last written, in nanoseconds; copying programs set it to what it was elsewhere.
        changed: when content, name or permissions last changed, in nanoseconds; nobody can set it.
        inode: its number on its file system, another one where it was replaced.
    """

    path: Path
    size: int
    modified: int
    changed: int
    inode: int

    @classmethod
    def of(cls, path: Path, descriptor: int | None = None) -> FileState:
        """Return the present state of a file, or of what an open descriptor holds of it.

        Raises:
            OSError: there is no such file any more.
        """
        stat = path.stat() if descriptor is None else os.fstat(descriptor)
        return cls(path, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)

    def check(self, descriptor: int | None = None) -> None:
        """Raise DataError where the file is in another state, or what the descriptor holds of it was written to.

        A file whose name was removed while it is open is whole, though its time of change is another.
        """
        try:
            now = FileState.of(self.path, descriptor)
        except OSError:
            now = None
        if descriptor is None:
            same = now == self
        else:
            same = now is not None and (now.size, now.modified) == (self.size, self.modified)
        if not same:
            raise DataError(
                f"{self.path} was changed, replaced or removed while it was in use: no number may come of it. "
                "Put the right file in place and run the same command again."
            )


class Meter:
    """How much of something has been read, and how fast.

    Args:
        total: bytes to read.
        done: bytes read before now.
    """

    def __init__(self, total: int, done: int = 0):
        self._total = total
        self._done = self._before = done
        self._started = time.monotonic()

    def add(self, count: int) -> None:
        """Count bytes read."""
        self._done += count

    def __str__(self) -> str:
        rate = (self._done - self._before) / max(time.monotonic() - self._started, 1e-9)
        left = (self._total - self._done) / rate if rate else 0.0
        more = f", about {left:.0f} s left" if left > 0 else ""
        return f"{self._done / 1e9:.1f} of {self._total / 1e9:.1f} GB, {rate / 1e6:.0f} MB/s{more}"
