"""NeuralMethod and the one training loop that all neural methods share."""

from __future__ import annotations

import abc
import contextlib
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import nn

from vhbench.errors import MethodError
from vhbench.method import Epoch, FitContext, Method
from vhbench.videos import VideoSet

ENCODE_BATCH = 256  # videos; fixed, so that a video's code does not depend on how many are encoded


@dataclass(frozen=True)
class Moment:
    """Where in the training a batch is seen.

    Attributes:
        epoch: 0-based epoch.
        epochs: how many epochs this run trains.
        rows: which training videos the batch holds: positions in the training set, int64, on the CPU; empty before an
            epoch's first batch.
    """

    epoch: int
    epochs: int
    rows: torch.Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))


class NeuralMethod(Method):
    """A method that trains a torch module in epochs over minibatches.

    You write `build`, `loss` and `codes`; this class owns the loop: seeding, precision, checkpoints, resuming, the
    divergence check and the log. Your constructor must take `epochs`, `batch_size`, `lr` and `weight_decay`.

    What training keeps from step to step lives in the module: parameters, buffers, and non-persistent buffers
    (`register_buffer(..., persistent=False)`) for what only training needs. Checkpoints hold all three, saved models
    the first two.
    """

    epochs: int
    batch_size: int
    lr: float
    weight_decay: float

    module_: nn.Module

    @abc.abstractmethod
    def build(self, frames: int, dim: int) -> nn.Module:
        """Return the network, initialised from torch's global generator (seeded by the loop).

        Args:
            frames: frames a video (m).
            dim: feature dimensions a frame (l).

        Raises:
            MethodError: the network cannot be built for this size.
        """

    @abc.abstractmethod
    def loss(self, module: Any, videos: torch.Tensor, moment: Moment) -> dict[str, torch.Tensor]:
        """Return the named terms of the loss on a batch, scalar tensors; their sum is minimised.

        Args:
            module: the network, in training mode.
            videos: float32, shape (batch, frames, dim).
            moment: where in the training this is.
        """

    @abc.abstractmethod
    def codes(self, module: Any, videos: torch.Tensor) -> torch.Tensor:
        """Return the codes of a batch, bool of shape (batch, bits); the module is in eval mode, without gradients."""

    def prepare(self, module: Any, train: VideoSet, ctx: FitContext) -> None:
        """Compute what the loss needs from the whole training set; called once before the first epoch, and on resuming.

        Args:
            module: the new network, on the run's device; put what you keep into non-persistent buffers.
            train: the training videos.
            ctx: the run's side of training.
        """

    def start_epoch(self, module: Any, train: VideoSet, moment: Moment) -> None:
        """Do what an epoch needs before its first batch, e.g. initialise a second stage; called in training mode.

        Args:
            module: the network.
            train: the training videos, in the order that `Moment.rows` counts in.
            moment: the epoch that begins.
        """

    def optimizer(self, module: nn.Module) -> torch.optim.Optimizer:
        """Return the optimiser: Adam with L2 weight decay unless a method says otherwise."""
        return torch.optim.Adam(module.parameters(), lr=self.lr, weight_decay=self.weight_decay, fused=True)

    def fit(self, train: VideoSet, ctx: FitContext) -> Self:
        """Train the network; see `Method.fit`.

        Raises:
            MethodError: fewer than 2 training videos, a batch size below 2, or the training diverged.
        """
        # batch norm needs two videos a step
        if len(train) < 2:
            raise MethodError(f"{type(self).__name__} needs at least 2 training videos; there are {len(train)}.")
        if self.batch_size < 2:
            raise MethodError(f"{type(self).__name__} needs a batch_size of at least 2; it is {self.batch_size}.")
        with isolated_torch(ctx):
            torch.manual_seed(ctx.torch_seed("init"))
            module = self.build(train.frames, train.dim).to(ctx.device)
            self.prepare(module, train, ctx)
            _train(self, module, train, ctx)
        if not all(bool(weight.isfinite().all()) for weight in module.parameters()):
            raise MethodError(f"The last step left NaN or infinite weights: training diverged. lr is {self.lr:g}.")
        self.shape_ = np.array([train.frames, train.dim])
        self.module_ = module.eval()
        return self

    def encode(self, videos: VideoSet) -> np.ndarray:
        """Encode with the trained network; see `Method.encode`."""
        self.check_fitted()
        if (videos.frames, videos.dim) != tuple(self.shape_):
            frames, dim = self.shape_
            raise MethodError(
                f"{type(self).__name__} was built for videos of {frames} frames x {dim} dimensions; "
                f"these have {videos.frames} x {videos.dim}."
            )
        device = str(next(self.module_.parameters()).device)
        parts = [np.empty((0, self.bits), dtype=bool)]
        with torch.inference_mode():
            for batch in videos.batches(ENCODE_BATCH, device=device):
                parts.append(self.codes(self.module_, batch).cpu().numpy())
        return np.concatenate(parts)

    def save(self, path: Path | str) -> None:
        """Write hyper-parameters and weights to one file that `load` reads without unpickling code."""
        self.check_fitted()
        state = {name: value.cpu() for name, value in self.module_.state_dict().items()}
        torch.save({"config": self._config(), "shape": self.shape_.tolist(), "state": state}, path)

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read what `save` wrote, onto the CPU."""
        saved = torch.load(path, map_location="cpu", weights_only=True)
        method = cls._from_config(saved["config"], path)
        with torch.random.fork_rng(devices=[]):
            module = method.build(*saved["shape"])
        module.load_state_dict(saved["state"])
        method.shape_ = np.array(saved["shape"])
        method.module_ = module.eval()
        return method


@contextlib.contextmanager
def isolated_torch(ctx: FitContext) -> Iterator[None]:
    """Keep a run's torch settings and random state from leaking out."""
    devices = [torch.device(ctx.device)] if ctx.device.startswith("cuda") else []
    before = torch.are_deterministic_algorithms_enabled()
    with torch.random.fork_rng(devices=devices):
        _use_deterministic_algorithms(ctx.deterministic or before)
        try:
            yield
        finally:
            _use_deterministic_algorithms(before)


def _use_deterministic_algorithms(wanted: bool) -> None:
    if wanted != torch.are_deterministic_algorithms_enabled():  # setting it imports torch's compiler, for seconds
        torch.use_deterministic_algorithms(wanted)


def _train(method: NeuralMethod, module: nn.Module, train: VideoSet, ctx: FitContext) -> None:
    optimizer = method.optimizer(module)
    epochs = method.epochs if ctx.budget.epochs is None else ctx.budget.epochs
    for epoch in range(_resume(module, optimizer, ctx), epochs):
        started = time.perf_counter()
        # every epoch has its own streams, so that a resumed run draws the same numbers as an undisturbed one
        torch.manual_seed(ctx.torch_seed(f"epoch {epoch}"))
        parts = _train_epoch(method, module, optimizer, train, Moment(epoch, epochs), ctx)
        loss = sum(parts.values())
        if not math.isfinite(loss):
            terms = ", ".join(f"{name} {value:.4g}" for name, value in parts.items())
            raise MethodError(
                f"The loss became {loss} in epoch {epoch + 1} of {epochs} ({terms}): training diverged. "
                f"Try a lower learning rate (lr is {method.lr:g})."
            )
        ctx.report(Epoch(epoch + 1, epochs, loss, parts, time.perf_counter() - started))
        if ctx.checkpoint is not None and epoch + 1 < epochs and ctx.checkpoint.due():
            state = {"module": _tensors(module), "optimizer": optimizer.state_dict(), "epoch": epoch + 1}
            ctx.checkpoint.save(state)


def _resume(module: nn.Module, optimizer: torch.optim.Optimizer, ctx: FitContext) -> int:
    """Restore the checkpoint, if there is one, and return how many epochs are done."""
    state: dict[str, Any] | None = ctx.checkpoint.load() if ctx.checkpoint is not None else None
    if state is None:
        return 0
    with torch.no_grad():
        for name, tensor in _tensors(module).items():
            tensor.copy_(state["module"][name])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["epoch"])


def _tensors(module: nn.Module) -> dict[str, torch.Tensor]:
    """Return all that training changes: parameters and buffers, the non-persistent ones too."""
    named = [*module.named_parameters(), *module.named_buffers()]
    return {name: tensor.detach() for name, tensor in named}


def _train_epoch(
    method: NeuralMethod,
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    train: VideoSet,
    moment: Moment,
    ctx: FitContext,
) -> dict[str, float]:
    """Run one epoch and return the mean of each term of the loss over its steps."""
    module.train()
    method.start_epoch(module, train, moment)
    device_type = torch.device(ctx.device).type
    sums: dict[str, torch.Tensor] = {}
    steps = 0
    order = ctx.rng(f"shuffle {moment.epoch}").permutation(len(train))
    batches = train.subset(order).batches(method.batch_size, device=ctx.device)
    for rows, videos in zip(torch.split(torch.from_numpy(order), method.batch_size), batches, strict=True):
        if len(videos) == 1:
            continue  # batch norm has no variance to work with; another video is left over in each epoch
        moment = replace(moment, rows=rows)
        with torch.autocast(device_type, torch.bfloat16, enabled=ctx.precision == "bf16"):
            parts = method.loss(module, videos, moment)
        optimizer.zero_grad(set_to_none=True)
        torch.stack(list(parts.values())).sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        steps += 1
        for name, value in parts.items():
            sums[name] = sums.get(name, torch.zeros((), device=ctx.device)) + value.detach()
    return {name: float(value) / steps for name, value in sums.items()}
