"""A file for HDF5 to write to, which the library can always close."""

from __future__ import annotations

import io
from typing import Any


class Sink(io.FileIO):
    """A file that HDF5 can always write to: where the disk refuses, it says so only when asked.

    HDF5 cannot close a file that it could not write: it keeps the disk full until the process ends with a crash.
    """

    _error: OSError | None = None

    def check(self) -> None:
        """Raise the OSError that a write has met."""
        if self._error:
            raise self._error

    def write(self, data: Any) -> int:
        """Write all of `data`; after an error, drop it."""
        view = memoryview(data).cast("B")
        done = 0
        while done < len(view) and not self._error:
            try:
                done += super().write(view[done:])
            except OSError as error:
                self._error = error
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        """Cut or lengthen the file; after an error, leave it."""
        try:
            return size or 0 if self._error else super().truncate(size)
        except OSError as error:
            self._error = error
            return size or 0
