"""Checkpoints: where an interrupted training continues from."""

from __future__ import annotations

import time
import zipfile
from pathlib import Path
from typing import Any

from vhbench.files import atomic_write


class Checkpoint:
    """The state of one unfinished training, kept as `state.pt` in a folder of its own.

    Tensors and plain values only: it is read with `weights_only=True` and cannot run code.

    Args:
        folder: made on the first save.
        key: identifies the run and the method's source; a state saved under another key is never continued from.
        every: seconds between saves; 0 saves after every epoch.
    """

    def __init__(self, folder: Path, key: str, every: float = 30.0):
        self.path = folder / "state.pt"
        self._key = key
        self._every = every
        self._last = time.monotonic()

    def due(self) -> bool:
        """Say whether it is time to save again."""
        return time.monotonic() - self._last >= self._every

    def save(self, state: dict[str, Any]) -> None:
        """Write the state atomically: a kill at any moment leaves the earlier state or this one.

        Raises:
            VhbenchError: the folder cannot be written or the disk is full.
        """
        import torch

        with atomic_write(self.path) as file:
            try:
                torch.save({"key": self._key, "state": state}, file)
            except RuntimeError as error:
                if isinstance(error.__context__, OSError):  # torch hides a full disk behind an error of its own
                    raise error.__context__ from None
                raise
        self._last = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """Return the saved state, or None where there is none, it is damaged, or it belongs to another run or code."""
        import torch

        if not self.path.is_file():
            return None
        try:
            with zipfile.ZipFile(self.path) as archive:  # torch's file is a zip; torch itself skips the checksums
                if archive.testzip() is not None:
                    return None
            saved = torch.load(self.path, map_location="cpu", weights_only=True)
            return saved["state"] if saved["key"] == self._key else None
        except Exception:  # damage has many faces; training starts over and comes to the same result
            return None
