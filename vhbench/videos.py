"""VideoSet: the label-free view of frame features that methods see."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np

if TYPE_CHECKING:
    import torch

T = TypeVar("T")

BLOCK_BYTES = 24 * 2**20  # read at a time when streaming; from 32 MiB on, glibc takes fresh pages for every block


class Frames(Protocol):
    """Frame features wherever they lie: an array in memory, a memory map, or several files read as one."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(videos, frames, dim)."""

    @property
    def dtype(self) -> np.dtype:
        """Of the features."""

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """Return the features of the rows (int64, any order) as an array of shape (len(rows), frames, dim)."""


class VideoSet:
    """Videos as frame features, without labels, so that an unsupervised method cannot see one.

    Args:
        features: array-like of shape (videos, frames, dim), any real dtype, or a tensor on a GPU; read lazily, never
            written.
        rows: which videos, and in which order (int); all by default.
    """

    def __init__(self, features: Frames | np.ndarray | torch.Tensor, rows: np.ndarray | None = None):
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

    @property
    def itemsize(self) -> int:
        """Bytes of one feature as it is stored."""
        return int(self._features.dtype.itemsize)

    @property
    def nbytes(self) -> int:
        """Bytes of all features as they are stored."""
        return len(self) * self.frames * self.dim * self.itemsize

    def same_as(self, other: VideoSet) -> bool:
        """Say whether these are the same videos of the same features, in the same order."""
        return self._features is other._features and np.array_equal(self._rows, other._rows)

    def subset(self, rows: np.ndarray) -> VideoSet:
        """Return the videos at these positions (int array or boolean mask), in this order."""
        return VideoSet(self._features, self._rows[rows])

    def scaled(self, scaled_frames: Callable[[Frames], Frames]) -> VideoSet:
        """Return the same videos with features that are made from these when they are read, e.g. whitened ones.

        Args:
            scaled_frames: makes them; see `vhbench.features.normalize.ScaledFrames`.
        """
        return VideoSet(scaled_frames(self._features), self._rows)  # type: ignore[arg-type]

    def arrays(self, size: int, rng: np.random.Generator | None = None) -> Iterator[np.ndarray]:
        """Yield arrays of shape (up to `size`, frames, dim), float32; every video once, the last one may be smaller.

        The next array is read in the background while the caller works on this one.

        Args:
            size: videos at a time.
            rng: shuffles the videos; None keeps their order.
        """
        for block in read_ahead(map(self._block, self._groups(size, rng))):
            yield block.astype(np.float32, copy=False)

    def batches(
        self, size: int, rng: np.random.Generator | None = None, *, device: str = "cpu"
    ) -> Iterator[torch.Tensor]:
        """Yield float32 tensors of shape (up to `size`, frames, dim) on `device`; otherwise as `arrays`."""
        import torch

        held = self._features if isinstance(self._features, torch.Tensor) else None
        if held is not None and held.is_cuda:
            # the order goes there once: a copy a step would make the GPU wait
            for rows in torch.split(torch.from_numpy(self._order(rng)).to(held.device), size):
                yield held[rows].to(device).float()
            return

        def tensors() -> Iterator[torch.Tensor]:
            for rows in self._groups(size, rng):
                tensor = torch.from_numpy(self._block(rows)) if held is None else held[torch.from_numpy(rows)]
                yield tensor.pin_memory() if device.startswith("cuda") else tensor

        for tensor in read_ahead(tensors()):
            # cast there: less to move, and torch casts faster
            yield tensor.to(device, non_blocking=True).float()

    def resident(self, device: str = "cpu", *, half: bool = False) -> VideoSet:
        """Read the videos once and return the same ones held in memory, in their own dtype.

        Args:
            device: "cpu" for the host's memory, "cuda:N" for a GPU's.
            half: keep them as float16, which halves the memory and rounds each feature to 11 bits.
        """
        import torch

        dtype = torch.float16 if half else torch.from_numpy(np.empty(0, self._features.dtype)).dtype
        held = torch.empty((len(self), self.frames, self.dim), dtype=dtype, device=device)
        size = max(1, BLOCK_BYTES // (self.itemsize * self.frames * self.dim))
        start = 0
        for rows in self._groups(size, None):
            held[start : start + len(rows)] = torch.from_numpy(self._block(rows))
            start += len(rows)
        return VideoSet(held)

    def _order(self, rng: np.random.Generator | None) -> np.ndarray:
        return self._rows if rng is None else rng.permutation(self._rows)

    def _groups(self, size: int, rng: np.random.Generator | None) -> Iterator[np.ndarray]:
        rows = self._order(rng)
        for start in range(0, len(rows), size):
            yield rows[start : start + size]

    def _block(self, rows: np.ndarray) -> np.ndarray:
        block = self._features[rows]  # type: ignore[index]
        return block.cpu().numpy() if hasattr(block, "cpu") else np.asarray(block)

    def mean_frames(self) -> np.ndarray:
        """Return each video's mean over its frames: float32, shape (videos, dim). Streams; never holds the set."""
        means = np.empty((len(self), self.dim), dtype=np.float32)
        for _ in self.mean_blocks(1, means):
            pass
        return means

    def mean_blocks(self, least: int, out: np.ndarray) -> Iterator[np.ndarray]:
        """Read what `mean_frames` returns, and yield parts of it as soon as they are read.

        Args:
            least: videos in each part but the last.
            out: float32, shape (videos, dim); what is yielded is a view of its rows.
        """
        begin = end = 0
        for array in self.arrays(max(1, BLOCK_BYTES // (4 * self.frames * self.dim))):
            array.mean(axis=1, out=out[end : end + len(array)])
            end += len(array)
            if end - begin >= least or end == len(out):
                yield out[begin:end]
                begin = end


def read_ahead(items: Iterator[T]) -> Iterator[T]:
    """Yield the items, each computed in a background thread while the caller works on the one before.

    An error in the background is raised where the item would have come.
    """
    end = object()
    with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as thread:
        coming = thread.submit(next, items, end)
        while (item := coming.result()) is not end:
            coming = thread.submit(next, items, end)
            yield item  # type: ignore[misc]
