"""NeuralMethod and the one training loop that all neural methods share."""

from __future__ import annotations

import abc
import contextlib
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import nn

from vhbench.errors import MethodError
from vhbench.method import Epoch, FitContext, Method
from vhbench.system.gpus import float32_products
from vhbench.videos import VideoSet

ENCODE_BATCH = 256  # videos; fixed, so that a video's code does not depend on how many are encoded


@dataclass(frozen=True)
class Moment:
    """Where in the training a batch is seen.

    Attributes:
        epoch: 0-based epoch of its stage.
        epochs: how many epochs that stage has.
        rows: which training videos the batch holds: positions in the training set, int64, on the run's device; empty
            before an epoch's first batch and after its last.
        stage: 0-based stage; see `NeuralMethod.stages`.
        step: 0-based step of the stage, counted over its epochs.
        steps: how many steps the stage has.
        ctx: the run's side of training.
    """

    epoch: int
    epochs: int
    rows: torch.Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))
    stage: int = 0
    step: int = 0
    steps: int = 0
    ctx: FitContext = field(default_factory=FitContext)

    def rng(self, stream: str) -> np.random.Generator:
        """Return a generator that depends on the run's seed, the stream's name, the stage and the epoch alone."""
        return self.ctx.rng(f"{stream} {self.stage} {self.epoch}")

    def autocast(self) -> torch.autocast:
        """Return the context in which matrix products have the run's precision."""
        return torch.autocast(torch.device(self.ctx.device).type, torch.bfloat16, enabled=self.ctx.precision == "bf16")


class NeuralMethod(Method):
    """A method that trains a torch module in epochs over minibatches.

    You write `build`, `loss` and `codes`; the loop below owns the rest: seeding, precision, checkpoints, resuming, the
    divergence check and the log. Your constructor must take `epochs`, `batch_size`, `lr` and `weight_decay`.

    What training keeps from step to step lives in the module: parameters, buffers, and non-persistent buffers
    (`register_buffer(..., persistent=False)`) for what only training needs, such as a state of every training video,
    which `Moment.rows` counts. Checkpoints hold all three, saved models the first two. Random numbers (dropout, masks
    of two views) come from torch's global generator, which the loop seeds anew in each epoch; so a resumed training is
    the undisturbed one.

    What a published program does beside this has a function of its own to override: `optimizer` (one or several),
    `lr_factor` (a schedule), `gradient` (in place of the loss' own), `before_step` (clipping), `after_step`, `stages`
    (several, each with fresh optimisers), `inputs` (batches of something else than the videos), and `start_stage`,
    `start_epoch`, `end_epoch`. `vhbench check --simulate-gpu` checks that all of it is right on a GPU.
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
            videos: float32, shape (batch, frames, dim); rows of `inputs`.
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

    def stages(self, epochs: int) -> Sequence[int]:
        """Return how many epochs each stage of the training has: one stage, unless a method says otherwise.

        Args:
            epochs: what the run may spend: `epochs`, or less where its budget is smaller; further stages are shortened
                in the same ratio.
        """
        return (epochs,)

    def start_stage(self, module: Any, train: VideoSet, moment: Moment) -> None:
        """Do what a stage needs before its first epoch, e.g. cluster the videos; called in training mode.

        Its optimisers are made afterwards. On resuming it is not called again: what it makes lies in buffers.

        Args:
            module: the network.
            train: the training videos, in the order that `Moment.rows` counts in.
            moment: the epoch that begins.
        """

    def start_epoch(self, module: Any, train: VideoSet, moment: Moment) -> None:
        """Do what an epoch needs before its first batch; arguments as for `start_stage`."""

    def end_epoch(self, module: Any, train: VideoSet, moment: Moment) -> None:
        """Do what follows an epoch's last batch; arguments as for `start_stage`."""

    def optimizer(self, module: Any) -> torch.optim.Optimizer | Sequence[torch.optim.Optimizer]:
        """Return a stage's optimiser, or several: Adam with L2 weight decay unless a method says otherwise."""
        return torch.optim.Adam(module.parameters(), lr=self.lr, weight_decay=self.weight_decay, fused=True)

    def inputs(self, module: Any, train: VideoSet, moment: Moment) -> VideoSet:
        """Return what an epoch's batches are made of, video for video: the training videos unless a stage learns from
        something that was made of them, which may lie on the run's device; arguments as for `start_stage`.
        """
        return train

    def lr_factor(self, moment: Moment) -> float:
        """Return by what the optimisers' learning rates are multiplied at a moment: a schedule by epoch or by step."""
        return 1.0

    def gradient(self, module: Any, videos: torch.Tensor, moment: Moment) -> dict[str, torch.Tensor]:
        """Add the gradient of a batch to the parameters' `grad`, and return the terms of the loss.

        That of the terms' sum, unless a method estimates it otherwise (score functions, several backward passes).
        Arguments as for `loss`.
        """
        with moment.autocast():
            parts = self.loss(module, videos, moment)
        torch.stack(list(parts.values())).sum().backward()  # type: ignore[no-untyped-call]
        return parts

    def before_step(self, module: Any, moment: Moment) -> None:
        """Change the gradients before they are applied, e.g. clip them."""

    def after_step(self, module: Any, moment: Moment) -> None:
        """Do what follows a step, e.g. renew centres or a mean of the weights; without gradients."""

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
            Training(self, module, train, ctx).run()
        if not all(bool(weight.isfinite().all()) for weight in module.parameters()):
            raise MethodError(f"The last step left NaN or infinite weights: training diverged. lr is {self.lr:g}.")
        return self.take(module, train)

    def take(self, module: nn.Module, train: VideoSet) -> Self:
        """Make a network one's own, in eval mode; what has come of these training videos is what `encode` needs."""
        self.shape_ = np.array([train.frames, train.dim])
        self.module_ = module.eval()
        return self

    def encode(self, videos: VideoSet) -> np.ndarray:
        """Encode with the trained network, in float32 whatever it was trained in; see `Method.encode`."""
        self.check_fitted()
        if (videos.frames, videos.dim) != tuple(self.shape_):
            frames, dim = self.shape_
            raise MethodError(
                f"{type(self).__name__} was built for videos of {frames} frames x {dim} dimensions; "
                f"these have {videos.frames} x {videos.dim}."
            )
        device = str(next(self.module_.parameters()).device)
        parts = [np.empty((0, self.bits), dtype=bool)]
        exact = float32_products(tf32=False) if device.startswith("cuda") else contextlib.nullcontext()
        with exact, torch.inference_mode():
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
    """Give torch a run's settings, and keep them and its random state from leaking out."""
    before = torch.are_deterministic_algorithms_enabled()
    with contextlib.ExitStack() as stack:
        devices = []
        if ctx.device.startswith("cuda"):
            devices = [torch.device(ctx.device)]
            stack.enter_context(float32_products(tf32=ctx.precision == "tf32"))
        stack.enter_context(torch.random.fork_rng(devices=devices))
        stack.callback(_use_deterministic_algorithms, before)
        _use_deterministic_algorithms(ctx.deterministic or before)
        yield


def _use_deterministic_algorithms(wanted: bool) -> None:
    if wanted != torch.are_deterministic_algorithms_enabled():  # setting it imports torch's compiler, for seconds
        torch.use_deterministic_algorithms(wanted)


class Training:
    """The training of one network: `NeuralMethod.fit` runs it, `vhbench.cost` measures parts of it.

    Args:
        method: the method, which says what a step does.
        module: its network, prepared, on the run's device.
        train: the training videos.
        ctx: the run's side.

    Attributes:
        epochs: (stage, epoch of the stage, epochs of the stage) of every epoch, in order.
        optimizers: of the present stage.
    """

    def __init__(self, method: NeuralMethod, module: nn.Module, train: VideoSet, ctx: FitContext):
        self._method, self._module, self._train, self._ctx = method, module, train, ctx
        stages = method.stages(method.epochs if ctx.budget.epochs is None else ctx.budget.epochs)
        self.epochs = [(stage, epoch, count) for stage, count in enumerate(stages) for epoch in range(count)]
        self.optimizers: list[torch.optim.Optimizer] = []
        # a last batch of one video is left out: batch norm has no variance to work with
        self._steps = len(train) // method.batch_size + (len(train) % method.batch_size > 1)

    def run(self) -> None:
        """Train from the checkpoint, or from the start, to the end.

        Raises:
            MethodError: the loss became NaN or infinite.
        """
        for number in range(self._resume(), len(self.epochs)):
            started = time.perf_counter()
            moment = self.start_epoch(number)
            parts = self._steps_of(number, moment)
            self._method.end_epoch(self._module, self._train, moment)
            self._report(number, parts, time.perf_counter() - started)
            self._ctx.show(number + 1, self._method.take(self._module, self._train))
            if self._ctx.checkpoint is not None and number + 1 < len(self.epochs) and self._ctx.checkpoint.due():
                self._save(number + 1)

    def start_epoch(self, number: int) -> Moment:
        """Begin an epoch, and its stage where it is the first of one.

        Args:
            number: 0-based, over all stages.
        """
        stage, epoch, epochs = self.epochs[number]
        # every epoch has its own streams, so that a resumed run draws the same numbers as an undisturbed one
        torch.manual_seed(self._ctx.torch_seed(f"epoch {number}"))
        self._module.train()
        nothing = torch.empty(0, dtype=torch.int64, device=self._ctx.device)
        moment = Moment(epoch, epochs, nothing, stage, epoch * self._steps, epochs * self._steps, self._ctx)
        if epoch == 0:
            self._method.start_stage(self._module, self._train, moment)
            self._make_optimizers()
        self._method.start_epoch(self._module, self._train, moment)
        return moment

    def gradient(self, videos: torch.Tensor, moment: Moment) -> dict[str, torch.Tensor]:
        """Leave the gradient of one batch in the parameters and return the terms of its loss."""
        self._module.zero_grad(set_to_none=True)
        return self._method.gradient(self._module, videos, moment)

    def step(self, videos: torch.Tensor, moment: Moment) -> dict[str, torch.Tensor]:
        """Do one step on a batch and return the terms of its loss."""
        parts = self.gradient(videos, moment)
        self._method.before_step(self._module, moment)
        factor = self._method.lr_factor(moment)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = factor * group["initial_lr"]
            optimizer.step()
        with torch.no_grad():
            self._method.after_step(self._module, moment)
        return parts

    def _steps_of(self, number: int, moment: Moment) -> dict[str, float]:
        """Do an epoch's steps and return the mean of each term of the loss."""
        size, device = self._method.batch_size, self._ctx.device
        sums: dict[str, torch.Tensor] = {}
        order = self._ctx.rng(f"shuffle {number}").permutation(len(self._train))
        groups = torch.split(torch.from_numpy(order).to(device), size)
        inputs = self._method.inputs(self._module, self._train, moment)
        batches = inputs.subset(order).batches(size, device=device)
        for step, (rows, videos) in enumerate(zip(groups, batches, strict=True)):
            if step == self._steps:
                continue
            parts = self.step(videos, replace(moment, rows=rows, step=moment.step + step))
            for name, value in parts.items():
                sums[name] = sums.get(name, torch.zeros((), device=device)) + value.detach()
        return {name: float(value) / self._steps for name, value in sums.items()}

    def _report(self, number: int, parts: dict[str, float], seconds: float) -> None:
        """Tell how an epoch went, unless its loss is no number."""
        loss, total = sum(parts.values()), len(self.epochs)
        if not math.isfinite(loss):
            terms = ", ".join(f"{name} {value:.4g}" for name, value in parts.items())
            raise MethodError(
                f"The loss became {loss} in epoch {number + 1} of {total} ({terms}): training diverged. "
                f"Try a lower learning rate (lr is {self._method.lr:g})."
            )
        self._ctx.report(Epoch(number + 1, total, loss, parts, seconds))

    def _make_optimizers(self) -> None:
        made = self._method.optimizer(self._module)
        self.optimizers = [made] if isinstance(made, torch.optim.Optimizer) else list(made)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["initial_lr"] = group["lr"]

    def _save(self, number: int) -> None:
        """Write the state in which an epoch begins."""
        assert self._ctx.checkpoint is not None
        optimizers = [optimizer.state_dict() for optimizer in self.optimizers]
        self._ctx.checkpoint.save({"module": _tensors(self._module), "optimizers": optimizers, "epoch": number})

    def _resume(self) -> int:
        """Restore the checkpoint, if there is one, and return how many epochs are done."""
        state: dict[str, Any] | None = self._ctx.checkpoint.load() if self._ctx.checkpoint is not None else None
        if state is None:
            return 0
        _restore(self._module, state["module"], self._ctx.device)
        self._make_optimizers()
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        return int(state["epoch"])


def _tensors(module: nn.Module) -> dict[str, torch.Tensor]:
    """Return all that training changes: parameters and buffers, the non-persistent ones too."""
    named = [*module.named_parameters(), *module.named_buffers()]
    return {name: tensor.detach() for name, tensor in named}


def _restore(module: nn.Module, saved: dict[str, torch.Tensor], device: str) -> None:
    """Give a new network what `_tensors` returned, buffers too that a stage or an epoch had made or resized."""
    own = _tensors(module)
    for name, value in saved.items():
        if name in own and own[name].shape == value.shape:
            own[name].copy_(value)
            continue
        folder, _, leaf = name.rpartition(".")
        owner = module.get_submodule(folder)
        if leaf in owner._buffers:
            setattr(owner, leaf, value.to(device))
        else:
            owner.register_buffer(leaf, value.to(device), persistent=False)
