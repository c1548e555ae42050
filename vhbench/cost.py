"""What a method costs at a given size: learnt numbers, memory, operations and bytes a video; measured by running it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from vhbench.errors import MethodError
from vhbench.method import Budget, FitContext, Method
from vhbench.training import ENCODE_BATCH, NeuralMethod, Training, isolated_torch
from vhbench.videos import VideoSet

BATCHES = (2, 3, 4)  # videos a counted step; three points fix a polynomial of degree 2 in the batch's size
LOOP_VIDEOS = 64  # synthetic training videos of a method that uses the training loop
ALL_EPOCHS = 8  # of a stage; of one with more, the first two and the last two stand for all
# of any other: many, as from few videos it may learn less (clusters, say), and of few frames, so that it takes seconds
FIT_VIDEOS, FIT_FRAMES = 512, 2


@runtime_checkable
class StatesOperations(Protocol):
    """A method that says how much it computes, because code outside torch cannot be counted by running it."""

    def operations(self, frames: int, dim: int) -> tuple[float, float]:
        """Return floating-point operations (2 a multiply-add): what a video adds to `fit`, and what encoding it takes.

        What `fit` computes once, whatever the number of videos, is left out.

        Args:
            frames: frames a video.
            dim: feature dimensions a frame.
        """


@dataclass(frozen=True)
class Phase:
    """What training or encoding takes.

    Attributes:
        parameters: learnt numbers: all in training, those that encoding reads in encoding.
        weight_bytes: memory of these numbers.
        flops: operations a video, 2 a multiply-add. For training in epochs: in the first epoch and in the last. None:
            not counted.
        passes: how often each video is read.
    """

    parameters: int
    weight_bytes: int
    flops: tuple[float, ...] | None
    passes: float


@dataclass(frozen=True)
class Cost:
    """What a method costs at one size.

    Attributes:
        bits: code length.
        frames: frames a video.
        dim: feature dimensions a frame.
        videos: synthetic training videos that it was measured with, and
        video_frames: their frames.
        training: of `fit`.
        encoding: of `encode`.
        epochs: passes of the training loop; None for a method that does not use it.
        batch: videos a training step that the operations are given for; None likewise.
        training_bytes: memory of weights, gradients and the optimiser's state; None likewise.
    """

    bits: int
    frames: int
    dim: int
    videos: int
    video_frames: int
    training: Phase
    encoding: Phase
    epochs: int | None = None
    batch: int | None = None
    training_bytes: int | None = None

    @property
    def video_bytes(self) -> int:
        """A video's features as float32."""
        return 4 * self.frames * self.dim

    @property
    def code_bytes(self) -> int:
        """A packed code."""
        return -(-self.bits // 8)


class SyntheticFrames:
    """Random features of any number of videos, made when read; they take no memory.

    Args:
        videos: how many.
        frames: frames a video.
        dim: feature dimensions a frame.
    """

    def __init__(self, videos: int, frames: int, dim: int):
        self.shape = (videos, frames, dim)
        self.dtype = np.dtype(np.float32)
        self.rows_read = 0

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """Return float32 features in [0, 1), the same for a row each time."""
        self.rows_read += len(rows)
        made = np.empty((len(rows), *self.shape[1:]), dtype=np.float32)
        for row, out in zip(rows, made, strict=True):
            np.random.default_rng(int(row)).random(out=out, dtype=np.float32)
        return made


def measure(method: Method, frames: int, dim: int) -> Cost:
    """Measure what an unfitted method costs, on the CPU.

    A neural method runs a few training steps and encodes a few videos. Its matrix products and convolutions, forward
    and backward, are counted as 2 operations a multiply-add; elementwise arithmetic, the optimiser and what is computed
    once from the training set are not. Counts on batches of 2, 3 and 4 videos are continued to the method's own batch,
    exactly if they are polynomials of degree 2 in the batch's size. Any other method is fitted once, to videos of few
    frames and for one epoch if it has epochs, and its operations are what it states (`StatesOperations`).

    Args:
        method: the method, with its hyper-parameters and code length.
        frames: frames a video.
        dim: feature dimensions a frame.

    Raises:
        MethodError: the method cannot run at this size or on a CPU.
    """
    conflict = method.tags.conflict(bits=method.bits, frames=frames, dim=dim, device="cpu")
    if conflict is not None:
        raise MethodError(f"{type(method).__name__} {conflict}.")
    return _neural(method, frames, dim) if isinstance(method, NeuralMethod) else _other(method, frames, dim)


def _other(method: Method, frames: int, dim: int) -> Cost:
    videos, few = max(FIT_VIDEOS, 2 * method.bits), min(frames, max(FIT_FRAMES, method.tags.min_frames))
    features = SyntheticFrames(videos, few, dim)
    train = VideoSet(features)
    method.fit(train, FitContext(budget=Budget(epochs=1)))
    fitted = features.rows_read / videos
    method.encode(train)
    encoded = features.rows_read / videos - fitted
    parameters, size = learnt(method)
    stated = method.operations(frames, dim) if isinstance(method, StatesOperations) else None
    fit_flops, encode_flops = ((stated[0],), (stated[1],)) if stated else (None, None)
    training = Phase(parameters, size, fit_flops, fitted)
    return Cost(method.bits, frames, dim, videos, few, training, Phase(parameters, size, encode_flops, encoded))


def learnt(method: Method) -> tuple[int, int]:
    """Return how many numbers `fit` has learnt, network parameters or entries of arrays, and their bytes.

    Raises:
        MethodError: an attribute that ends in an underscore is neither a network nor an array of numbers.
    """
    if isinstance(method, NeuralMethod):
        weights = list(method.module_.parameters())
        return sum(weight.numel() for weight in weights), _bytes(weights)
    count = size = 0
    for name, value in vars(method).items():
        if not name.endswith("_"):
            continue
        tensors = list(value.parameters()) if hasattr(value, "parameters") else None
        arrays = [np.asarray(value)] if tensors is None else [tensor.detach().cpu().numpy() for tensor in tensors]
        for array in arrays:
            if array.dtype == object:
                raise MethodError(f"{type(method).__name__}.{name} is not an array, so its size is not known.")
            count, size = count + array.size, size + array.nbytes
    return count, size


def _neural(method: NeuralMethod, frames: int, dim: int) -> Cost:
    features = SyntheticFrames(LOOP_VIDEOS, frames, dim)
    few = torch.from_numpy(features[np.arange(max(BATCHES))])
    features.rows_read = 0
    ctx = FitContext()
    with isolated_torch(ctx):
        torch.manual_seed(ctx.torch_seed("init"))
        module = method.build(frames, dim)
        flops, epochs, read, training_bytes = _train(method, module, features, few, ctx)
        module.eval()
        with torch.inference_mode():
            counts = [_count(partial(method.codes, module, few[:n])) for n in BATCHES]
            used = _parameters_read(module, partial(method.codes, module, few))
    every = list(module.parameters())
    return Cost(
        method.bits,
        frames,
        dim,
        LOOP_VIDEOS,
        frames,
        Phase(sum(p.numel() for p in every), _bytes(every), flops, read),
        Phase(sum(p.numel() for p in used), _bytes(used), (_per_video(counts, ENCODE_BATCH),), 1.0),
        epochs,
        method.batch_size,
        training_bytes,
    )


def _train(
    method: NeuralMethod, module: nn.Module, features: SyntheticFrames, few: torch.Tensor, ctx: FitContext
) -> tuple[tuple[float, ...], int, float, int]:
    """Go through the epochs as training does, with steps in the first and the last alone.

    Long stages are cut to the first and the last two epochs, so that what methods do between epochs, such as clustering
    the videos, takes seconds here; those left out are taken to read as many videos as these.

    Returns:
        Operations a video in these epochs; how many epochs there are, and how often they read each video; bytes of
        weights, gradients and the optimisers' state.
    """
    train = VideoSet(features)
    method.prepare(module, train, ctx)
    training = Training(method, module, train, ctx)
    weights = list(module.parameters())
    flops, read, gradient_bytes, state_bytes = [], features.rows_read / LOOP_VIDEOS, 0, {}
    for number, times in _sample(training.epochs):
        features.rows_read = 0
        moment = training.start_epoch(number)
        inputs = method.inputs(module, train, moment)
        batch, each = (few, 1.0) if inputs is train else _made_of(inputs, features)
        if number in (0, len(training.epochs) - 1):
            counts = [
                _count(partial(training.gradient, batch[:n], replace(moment, rows=torch.arange(n)))) for n in BATCHES
            ]
            flops.append(_per_video(counts, method.batch_size))
            gradient_bytes = max(gradient_bytes, _bytes(w.grad for w in weights if w.grad is not None))
            for optimizer in training.optimizers:
                optimizer.step()
                for weight, state in optimizer.state.items():
                    state_bytes[weight] = _bytes(value for value in state.values() if isinstance(value, torch.Tensor))
                optimizer.state.clear()  # large, and no longer needed
        method.end_epoch(module, train, moment)
        read += times * (each + features.rows_read / LOOP_VIDEOS)
    module.zero_grad(set_to_none=True)
    return tuple(flops), len(training.epochs), read, _bytes(weights) + gradient_bytes + sum(state_bytes.values())


def _sample(epochs: Sequence[tuple[int, int, int]]) -> list[tuple[int, float]]:
    """Return the epochs to go through, and how many each of them stands for.

    Args:
        epochs: as in `Training`.
    """
    sampled = []
    for number, (_, epoch, count) in enumerate(epochs):
        if count <= ALL_EPOCHS:
            sampled.append((number, 1.0))
        elif epoch < 2 or epoch >= count - 2:
            sampled.append((number, count / 4))
    return sampled


def _made_of(inputs: VideoSet, features: SyntheticFrames) -> tuple[torch.Tensor, float]:
    """Return a few of an epoch's inputs, and how many videos are read for each; `features` do not count them."""
    before, size = features.rows_read, max(BATCHES)
    few = torch.cat(list(inputs.subset(np.arange(size)).batches(size)))
    read, features.rows_read = features.rows_read - before, before
    return few, read / size


def _count(run: Callable[[], object]) -> int:
    """Return the floating-point operations in the matrix products and convolutions of a call, 2 a multiply-add."""
    with FlopCounterMode(display=False) as counter:
        run()
    return int(counter.get_total_flops())


def _per_video(counts: list[int], batch: int) -> float:
    """Continue counts for batches of 2, 3 and 4 videos to a batch of another size, and divide by that size."""
    a, b, c = counts
    total = a + (batch - 2) * (b - a) + (batch - 2) * (batch - 3) // 2 * (c - 2 * b + a)
    return total / batch


class _Reads(TorchDispatchMode):
    """Notes the memory of every tensor that an operation is given."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for leaf in tree_leaves((args, kwargs)):
            if isinstance(leaf, torch.Tensor) and leaf.layout == torch.strided:
                self.seen.add(leaf.untyped_storage().data_ptr())
        return func(*args, **(kwargs or {}))


def _parameters_read(module: nn.Module, run: Callable[[], object]) -> list[nn.Parameter]:
    """Return the module's parameters that a call reads."""
    with _Reads() as reads:
        run()
    return [p for p in module.parameters() if p.untyped_storage().data_ptr() in reads.seen]


def _bytes(tensors: Iterable[torch.Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
