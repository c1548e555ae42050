"""Checkpoints: where an interrupted training continues from."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import time
import zipfile
from pathlib import Path
from typing import IO, Any, ClassVar, cast

from vhbench.system.files import NotAFileError, atomic_write, open_regular, read_error, set_aside

DIGEST_MARK = b"sha256:"  # the file ends in this and the hexadecimal sha256 of all before it
TRAILER = len(DIGEST_MARK) + 64
LARGEST_STATE = 1 << 33  # bytes; a file of more was not written by a training
CHUNK = 1 << 20

log = logging.getLogger(__name__)


class Checkpoint:
    """The state of one unfinished training, kept as `state.pt` in a folder of its own.

    Tensors and plain values only: it is read with `weights_only=True` and cannot run code. Nothing in the file is
    looked at before its digest has been checked; a damaged file is set aside as `state.pt.damaged-1`.

    Args:
        folder: made on the first save.
        key: identifies the run and the method's source; a state saved under another key is never continued from.
        every: seconds between saves; 0 saves after every epoch.

    Attributes:
        stopping: set where this process is to end: the next save is then due at once, and the last thing it does.
    """

    stopping: ClassVar[bool] = False

    def __init__(self, folder: Path, key: str, every: float = 30.0):
        self.path = folder / "state.pt"
        self._key = key
        self._every = every
        self._last = time.monotonic()

    def due(self) -> bool:
        """Say whether it is time to save again."""
        return self.stopping or time.monotonic() - self._last >= self._every

    def save(self, state: dict[str, Any]) -> None:
        """Write the state atomically: a kill at any moment leaves the earlier state or this one.

        Raises:
            VhbenchError: the folder cannot be written or the disk is full.
            KeyboardInterrupt: it is written, and this process is to end.
        """
        import torch

        with atomic_write(self.path) as file:
            digested = _Digested(file)
            try:
                torch.save({"key": self._key, "state": state}, cast(IO[bytes], digested))
            except RuntimeError as error:
                # torch hides a full disk and Ctrl-C behind an error of its own
                if isinstance(error.__context__, (OSError, KeyboardInterrupt)):
                    raise error.__context__ from None
                raise
            file.write(DIGEST_MARK + digested.sha256.hexdigest().encode())
        self._last = time.monotonic()
        if self.stopping:
            raise KeyboardInterrupt

    def load(self) -> dict[str, Any] | None:
        """Return the saved state, or None where there is none, it is damaged, or it belongs to another run or code.

        Raises:
            StoreError: the file cannot be read, or is damaged and cannot be renamed.
        """
        try:
            content = self._content()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except NotAFileError as error:
            self._set_aside(str(error.strerror))
            return None
        except OSError as error:
            raise read_error(self.path, error) from error
        if content is None:
            self._set_aside("its sha256 is not the one at its end")
            return None
        try:
            saved = _read(content)
            return saved["state"] if saved["key"] == self._key else None
        except MemoryError:
            raise
        except Exception:  # a file with a right digest that no vhbench wrote: pickled code is refused here
            self._set_aside("it holds something else than tensors and plain values")
            return None

    def _content(self) -> bytes | None:
        """Return what was saved, or None where the digest at its end is not its own; errors as of `open_regular`."""
        with open_regular(self.path, links=False) as file:
            length = os.fstat(file.fileno()).st_size - TRAILER
            if not 0 <= length <= LARGEST_STATE:
                return None
            file.seek(length)
            mark, digest = file.read(TRAILER), hashlib.sha256()
            if not mark.startswith(DIGEST_MARK):
                return None
            file.seek(0)
            for start in range(0, length, CHUNK):  # into memory only once it is known to be sound
                digest.update(file.read(min(CHUNK, length - start)))
            if mark != DIGEST_MARK + digest.hexdigest().encode():
                return None
            file.seek(0)
            return file.read(length)

    def _set_aside(self, what: str) -> None:
        """Rename the damaged file and say so; training starts over and comes to the same result."""
        aside = set_aside(self.path)
        log.warning("%s is damaged (%s): set aside as %s; training starts over.", self.path, what, aside.name)


def _read(content: bytes) -> Any:
    """Return the value that torch has saved; one that would take more memory than it has bytes is refused.

    Raises:
        MemoryError: there is no room for it.
        Exception: of many types, where it is something else.
    """
    import torch

    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if sum(member.file_size for member in archive.infolist()) > len(content):
            raise ValueError("torch does not compress what it saves")
    try:
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except RuntimeError as error:
        if "allocate" in str(error):  # torch's own words for too little memory
            raise MemoryError from error
        raise


class _Digested(io.RawIOBase):
    """A file that is being written, and the sha256 of what has been."""

    def __init__(self, file: IO[bytes]):
        self.sha256 = hashlib.sha256()
        self._file = file

    def writable(self) -> bool:
        """It is for writing."""
        return True

    def write(self, content: Any) -> int:
        """Write and digest."""
        self.sha256.update(content)
        return self._file.write(content)
