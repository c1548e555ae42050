"""VideoSet: the label-free view of frame features that methods see."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    import torch

BLOCK_BYTES = 64 * 2**20  # read this much at a time when streaming


class Frames(Protocol):
    """Frame features wherever they lie: an array in memory, a memory map, or several files read as one."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(videos, frames, dim)."""

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """Return the features of the rows (int64, any order) as an array of shape (len(rows), frames, dim)."""


class VideoSet:
    """Videos as frame features, without labels, so that an unsupervised method cannot see one.

    Args:
        features: array-like of shape (videos, frames, dim), any real dtype; read lazily, never written.
        rows: which videos, and in which order (int); all by default.
    """

    def __init__(self, features: Frames | np.ndarray, rows: np.ndarray | None = None):
        self._features = features
        self._rows = np.arange(features.shape[0]) if rows is None else np.asarray(rows, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        return f"VideoSet({len(self)} videos, {self.frames} frames, {self.dim} dimensions)"

    @property
    def frames(self) -> int:
        """Frames a video (m)."""
        return int(self._features.shape[1])

    @property
    def dim(self) -> int:
        """Feature dimensions a frame (l)."""
        return int(self._features.shape[2])

    def subset(self, rows: np.ndarray) -> VideoSet:
        """Return the videos at these positions (int array or boolean mask), in this order."""
        return VideoSet(self._features, self._rows[rows])

    def arrays(self, size: int, rng: np.random.Generator | None = None) -> Iterator[np.ndarray]:
        """Yield arrays of shape (up to `size`, frames, dim), float32; every video once, the last one may be smaller.

        Args:
            size: videos at a time.
            rng: shuffles the videos; None keeps their order.
        """
        for block in self._blocks(size, rng):
            yield block.astype(np.float32, copy=False)

    def batches(
        self, size: int, rng: np.random.Generator | None = None, *, device: str = "cpu"
    ) -> Iterator[torch.Tensor]:
        """Yield float32 tensors of shape (up to `size`, frames, dim) on `device`; otherwise as `arrays`."""
        import torch

        for block in self._blocks(size, rng):
            yield torch.from_numpy(block).to(device).float()  # cast there: less to move, and torch casts faster

    def _blocks(self, size: int, rng: np.random.Generator | None) -> Iterator[np.ndarray]:
        rows = self._rows if rng is None else rng.permutation(self._rows)
        for start in range(0, len(rows), size):
            yield np.asarray(self._features[rows[start : start + size]])

    def mean_frames(self) -> np.ndarray:
        """Return each video's mean over its frames: float32, shape (videos, dim). Streams; never holds the set."""
        size = max(1, BLOCK_BYTES // (4 * self.frames * self.dim))
        means = np.empty((len(self), self.dim), dtype=np.float32)
        start = 0
        for array in self.arrays(size):
            means[start : start + len(array)] = array.mean(axis=1)
            start += len(array)
        return means
