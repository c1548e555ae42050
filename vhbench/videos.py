"""VideoSet: the label-free view of frame features that methods see."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard, TypeVar

import numpy as np

from vhbench.errors import DataError

if TYPE_CHECKING:
    import torch

T = TypeVar("T")

BLOCK_BYTES = 24 * 2**20  # read at a time when streaming; from 32 MiB on, glibc takes fresh pages for every block

HALF = 2  # bytes of a float16


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
        half: round what is wider to float16 when it is read; for what lies in files or arrays.
    """

    def __init__(
        self, features: Frames | np.ndarray | torch.Tensor, rows: np.ndarray | None = None, *, half: bool = False
    ):
        self._features = features
        self._rows = np.arange(features.shape[0]) if rows is None else np.asarray(rows, dtype=np.int64)
        self._half = half and features.dtype.itemsize > HALF

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
        """Bytes of one feature as it is kept."""
        return HALF if self._half else int(self._features.dtype.itemsize)

    @property
    def nbytes(self) -> int:
        """Bytes of all features as they are kept."""
        return len(self) * self.frames * self.dim * self.itemsize

    def same_as(self, other: VideoSet) -> bool:
        """Say whether these are the same videos of the same features, in the same order."""
        same = self._features is other._features and self._half == other._half
        return same and np.array_equal(self._rows, other._rows)

    def subset(self, rows: np.ndarray) -> VideoSet:
        """Return the videos at these positions (int array or boolean mask), in this order."""
        return VideoSet(self._features, self._rows[rows], half=self._half)

    def halved(self) -> VideoSet:
        """Return the same videos with each feature that is wider rounded to float16: 11 bits, at most 65,504.

        Reading one that is larger raises a DataError.
        """
        return VideoSet(self._features, self._rows, half=True)

    def scaled(self, scaled_frames: Callable[[Frames], Frames]) -> VideoSet:
        """Return the same videos with features that are made from these when they are read, e.g. whitened ones.

        Args:
            scaled_frames: makes them; see `vhbench.features.normalize.ScaledFrames`.
        """
        return VideoSet(scaled_frames(self._features), self._rows)  # type: ignore[arg-type]

    def joined(self, others: np.ndarray) -> VideoSet:
        """Return the same videos, each with the frames of others after its own: a batch of them holds these together.

        Nothing is read before it is used. Learning from pairs, triplets and the like gives this to the training loop
        (`NeuralMethod.inputs`).

        Args:
            others: positions in this set, int, shape (videos, n).

        Returns:
            Videos of (1 + n) * frames frames.
        """
        rows = self._rows[np.column_stack([np.arange(len(self)), others])]
        return VideoSet(_Joined(self._features, rows), half=self._half)

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

        if on_gpu(self._features):
            # the order goes there once: a copy a step would make the GPU wait
            order = torch.from_numpy(self._order(rng)).to(self._features.device)
            for rows in torch.split(order, size):
                yield self._features[rows].to(device).float()
        else:
            for tensor in self._moved(self._groups(size, rng), device):
                yield tensor.float()  # cast there: less to move, and torch casts faster

    def _moved(self, groups: Iterator[np.ndarray], device: str) -> Iterator[torch.Tensor]:
        """Yield the features of groups of videos on a device; the next group is read and moved there meanwhile."""
        import torch

        held = self._features if isinstance(self._features, torch.Tensor) else None

        def tensors() -> Iterator[torch.Tensor]:
            for rows in groups:
                yield torch.from_numpy(self._block(rows)) if held is None else held[torch.from_numpy(rows)]

        yield from _uploaded(tensors(), device) if device.startswith("cuda") else read_ahead(tensors())

    def resident(self, device: str = "cpu") -> VideoSet:
        """Read the videos once and return the same ones held in memory, in their own dtype.

        Args:
            device: "cpu" for the host's memory, "cuda:N" for a GPU's.

        Raises:
            OutOfMemoryError: torch's, where the GPU has no room.
        """
        import torch

        dtype = torch.from_numpy(np.empty(0, np.float16 if self._half else self._features.dtype)).dtype
        held = torch.empty((len(self), self.frames, self.dim), dtype=dtype, device=device)
        size = max(1, BLOCK_BYTES // (self.itemsize * self.frames * self.dim))
        start = 0
        for tensor in self._moved(self._groups(size, None), device):
            held[start : start + len(tensor)] = tensor
            start += len(tensor)
        return VideoSet(held)

    def _order(self, rng: np.random.Generator | None) -> np.ndarray:
        return self._rows if rng is None else rng.permutation(self._rows)

    def _groups(self, size: int, rng: np.random.Generator | None) -> Iterator[np.ndarray]:
        rows = self._order(rng)
        for start in range(0, len(rows), size):
            yield rows[start : start + size]

    def _block(self, rows: np.ndarray) -> np.ndarray:
        read = self._features[rows]  # type: ignore[index]
        block = read.cpu().numpy() if hasattr(read, "cpu") else np.asarray(read)
        if not self._half:
            return block
        with np.errstate(over="ignore"):
            rounded = block.astype(np.float16)
        if np.isinf(rounded).any():
            raise DataError("A feature is too large for float16 (65,504): keep the features as they are stored.")
        return rounded

    def mean_frames(self) -> np.ndarray:
        """Return each video's mean over its frames: float32, shape (videos, dim). Streams; never holds the set.

        Videos on a GPU are averaged there.
        """
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
        arrays: Iterator[np.ndarray]
        size = max(1, BLOCK_BYTES // (4 * self.frames * self.dim))
        if on_gpu(self._features):  # averaged there: one frame a video is left
            batches = self.batches(size, device=str(self._features.device))
            arrays = (batch.mean(dim=1, keepdim=True).cpu().numpy() for batch in batches)
        else:
            arrays = self.arrays(size)
        for array in arrays:
            array.mean(axis=1, out=out[end : end + len(array)])
            end += len(array)
            if end - begin >= least or end == len(out):
                yield out[begin:end]
                begin = end


class _Joined:
    """Rows of features, several to a video, one after the other in time.

    Args:
        features: what the rows are of, wherever it lies.
        rows: int64, shape (videos, rows a video).
    """

    def __init__(self, features: Any, rows: np.ndarray):
        self.shape = (len(rows), rows.shape[1] * features.shape[1], features.shape[2])
        self.dtype = features.dtype
        self.is_cuda = on_gpu(features)
        self._features, self._rows = features, rows
        if on_gpu(features):
            import torch

            self.device = features.device
            self._rows = torch.from_numpy(rows).to(self.device)  # type: ignore[assignment]

    def __getitem__(self, videos: np.ndarray) -> np.ndarray:
        """Return the features of videos (an index of the kind that the features take)."""
        read: np.ndarray = self._features[self._rows[videos].reshape(-1)]
        return read.reshape(len(videos), *self.shape[1:])


def on_gpu(features: object) -> TypeGuard[torch.Tensor]:
    """Say whether features are a tensor that lies on a GPU."""
    return bool(getattr(features, "is_cuda", False))


def _uploaded(tensors: Iterator[torch.Tensor], device: str) -> Iterator[torch.Tensor]:
    """Yield tensors of the host on a GPU, the next one moved there while the GPU computes with the one before."""
    import torch

    copies = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def moved() -> Iterator[tuple[torch.Tensor, torch.cuda.Event]]:
        torch.cuda.set_device(device)  # of this thread: coming back from the stream would else begin to use another GPU
        for tensor in tensors:
            with torch.cuda.stream(copies):
                there = tensor.pin_memory().to(device, non_blocking=True)
                done = copies.record_event()
            yield there, done

    for there, done in read_ahead(moved()):
        computing = torch.cuda.current_stream(device)
        computing.wait_event(done)
        there.record_stream(computing)  # its memory is free again after these computations, not after that copy
        yield there


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
