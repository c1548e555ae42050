"""The rules of a method on a GPU, checked on a simulated one: one function a rule; its docstring is the rule.

They come after those of `vhbench.testing.rules`. A rule raises `BrokenRule`, or whatever the method raises.
"""

from __future__ import annotations

import contextlib
import math
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn
from unittest import mock

import numpy as np
import torch
from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from vhbench.checkpoint import Checkpoint
from vhbench.method import Budget, FitContext, Method
from vhbench.testing.rules import BrokenRule
from vhbench.testing.simulated_gpu import simulated_gpus
from vhbench.testing.subject import Make, attempt, unwrap
from vhbench.training import Moment, NeuralMethod
from vhbench.videos import VideoSet

DEVICE = "cuda:0"
BITS, VIDEOS, FRAMES, DIM, BATCH, EPOCHS = 8, 24, 8, 16, 8, 2
ROUNDING = {"float32": 1e-4, "bf16": 0.05}  # of a loss that is computed in another way on a GPU than on the CPU

GpuRule = Callable[["GpuSubject"], None]


@dataclass
class Trained:
    """One finished training.

    Attributes:
        method: the fitted method.
        losses: of each epoch that it reported.
        codes: of all videos.
        waits: what steps of the training loop made the host wait for, by line.
        uploads: what they copied to the GPU.
        float16: recurrent layers that were computed in float16.
    """

    method: Method
    losses: list[float] = field(default_factory=list)
    codes: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=bool))
    waits: Counter[str] = field(default_factory=Counter)
    uploads: Counter[str] = field(default_factory=Counter)
    float16: Counter[str] = field(default_factory=Counter)


class GpuSubject:
    """A method under check on a simulated GPU. Trainings are made when a rule first asks for them, and kept.

    Args:
        make: builds a fresh unfitted method of as many bits as it is given.
    """

    def __init__(self, make: Make):
        self.make = make
        self._trained: dict[tuple[str, str], Trained | Exception] = {}

    @cached_property
    def videos(self) -> np.ndarray:
        """Features of a few videos: float32, shape (videos, frames, dim), not negative."""
        frames = max(FRAMES, self.make(BITS).tags.min_frames)
        return np.random.default_rng(0).random((VIDEOS, frames, DIM), dtype=np.float32)

    @property
    def neural(self) -> bool:
        """Whether it trains in the loop of `NeuralMethod`."""
        return isinstance(self.make(BITS), NeuralMethod)

    def on_cpu(self, precision: str) -> Trained:
        """A training of two epochs on the CPU, in the form that a method has for GPUs."""

        def train() -> Trained:
            with mock.patch.object(torch.Tensor, "is_cuda", True):  # by which a method, and a mean, choose that form
                return self.train("cpu", precision, self._placed("cpu", precision))

        return self._once("cpu", precision, train)

    def first_loss(self, precision: str, *, for_gpus: bool) -> float:
        """The loss of a training's first step on the CPU, without dropout, whose draws follow the layout in memory.

        Args:
            precision: as in `FitContext`.
            for_gpus: in the form that the method has for GPUs.

        Returns:
            NaN where it does not train in the loop of `NeuralMethod`.
        """
        method, losses = self.make(BITS), [math.nan]
        if isinstance(method, NeuralMethod):
            method.batch_size = BATCH
            loss = method.loss

            def stop(module: nn.Module, *rest: Any) -> NoReturn:
                for part in module.modules():
                    if isinstance(part, _DropoutNd):
                        part.p = 0.0
                losses[0] = sum(part.item() for part in loss(module, *rest).values())
                raise _Stopped

            method.loss = stop  # type: ignore[method-assign, assignment]
            form = mock.patch.object(torch.Tensor, "is_cuda", True) if for_gpus else contextlib.nullcontext()
            with form, contextlib.suppress(_Stopped):
                method.fit(VideoSet(self.videos), FitContext(budget=Budget(EPOCHS), precision=precision))
        return losses[0]

    def on_gpu(self, precision: str) -> Trained:
        """The same on a GPU, the videos in host memory for float32 and on the GPU for bf16."""

        def train() -> Trained:
            with simulated_gpus() as traffic:
                return self.train(DEVICE, precision, self._placed(DEVICE, precision), traffic)

        return self._once(DEVICE, precision, train)

    def train(
        self,
        device: str,
        precision: str,
        videos: VideoSet,
        traffic: Any = None,
        checkpoint: Checkpoint | None = None,
    ) -> Trained:
        """Train and encode.

        Args:
            device: where.
            precision: as in `FitContext`.
            videos: for training.
            traffic: of the simulated GPUs, where there are some.
            checkpoint: as in `FitContext`.
        """
        trained = Trained(self.make(BITS))
        ctx = FitContext(
            device=device,
            budget=Budget(EPOCHS),
            precision=precision,
            report=lambda epoch: trained.losses.append(epoch.loss),
            checkpoint=checkpoint,
        )
        method = trained.method
        if isinstance(method, NeuralMethod):
            method.batch_size = BATCH
            if traffic is not None:
                _watch_steps(method, traffic, trained)
        method.fit(videos, ctx)
        if traffic is not None:
            trained.float16 = traffic.float16.copy()
        trained.codes = np.asarray(method.encode(VideoSet(self.videos)))
        return trained

    def _placed(self, device: str, precision: str) -> VideoSet:
        videos = VideoSet(self.videos)
        return videos if precision == "float32" else videos.resident(device)

    def _once(self, device: str, precision: str, train: Callable[[], Trained]) -> Trained:
        if (device, precision) not in self._trained:
            self._trained[device, precision] = attempt(train)
        return unwrap(self._trained[device, precision])


def _watch_steps(method: NeuralMethod, traffic: Any, trained: Trained) -> None:
    """Have a training count what its steps ask of the GPU: all from a call of `loss` to the next in the same epoch."""
    loss = method.loss
    last: list[Any] = [None]

    def watched(module: Any, videos: torch.Tensor, moment: Moment) -> dict[str, torch.Tensor]:
        now = (moment.stage, moment.epoch), traffic.waits.copy(), traffic.uploads.copy()
        if last[0] and last[0][0] == now[0]:
            trained.waits += now[1] - last[0][1]
            trained.uploads += now[2] - last[0][2]
        last[0] = now
        return loss(module, videos, moment)

    method.loss = watched  # type: ignore[method-assign]


def trains_on_a_gpu_as_on_the_cpu(subject: GpuSubject) -> None:
    """In float32, training on a GPU has the losses that it has on the CPU."""
    _compare_losses(subject, "float32")


def trains_in_bf16_on_a_gpu_as_on_the_cpu(subject: GpuSubject) -> None:
    """In bf16, training on a GPU has the losses that it has on the CPU."""
    _compare_losses(subject, "bf16")


def _compare_losses(subject: GpuSubject, precision: str) -> None:
    there, here = subject.on_gpu(precision).losses, subject.on_cpu(precision).losses
    _require(
        there == here,
        f"the losses of the epochs are {there} on a GPU and {here} on the CPU ({precision}): `.cpu()` is the tensor "
        "itself on the CPU and a copy on a GPU, so what is written into it must be copied back",
    )
    one, other = (subject.first_loss(precision, for_gpus=form) for form in (True, False))
    _require(
        not abs(one - other) > ROUNDING[precision] * abs(other),
        f"the first step's loss is {one:.8g} in the form that the method has for GPUs and {other:.8g} in that for the "
        f"CPU ({precision}): both must compute the same function",
    )


def everything_lies_on_the_gpu(subject: GpuSubject) -> None:
    """All parameters and buffers of a network trained on a GPU are there."""
    method = subject.on_gpu("float32").method
    if isinstance(method, NeuralMethod):
        named = [*method.module_.named_parameters(), *method.module_.named_buffers()]
        left = [name for name, tensor in named if str(tensor.device) != DEVICE]
        _require(not left, f"{', '.join(left)} stay on the CPU: make what `prepare` adds on ctx.device")


def a_step_does_not_wait_for_the_gpu(subject: GpuSubject) -> None:
    """No step of training makes the host wait for the GPU."""
    if subject.neural:
        waits = subject.on_gpu("float32").waits + subject.on_gpu("bf16").waits
        _require(
            not waits,
            f"a step waits for the GPU ({_places(waits)}): keep numbers that only log or choose in tensors, avoid "
            "boolean masks as indices, and make what comes from the host once an epoch, in `start_epoch`",
        )


def a_step_uploads_its_videos_only(subject: GpuSubject) -> None:
    """A step copies its batch from host memory and nothing else, and nothing where the videos lie on the GPU."""
    if subject.neural:
        batch = {
            at: n for at, n in subject.on_gpu("float32").uploads.items() if at.partition(" at ")[2][:9] == "videos.py"
        }
        uploads = subject.on_gpu("float32").uploads - Counter(batch) + subject.on_gpu("bf16").uploads
        epochs = len(subject.on_gpu("float32").losses)  # of all stages
        _require(
            not uploads and sum(batch.values()) <= epochs * (VIDEOS // BATCH),
            f"a step copies more than its videos to the GPU ({_places(uploads or Counter(batch))}): make constants, "
            "orders and indices there, in `prepare` or `start_epoch`",
        )


def recurrent_layers_run_outside_autocast(subject: GpuSubject) -> None:
    """Recurrent layers of torch's do not run under autocast, where cuDNN computes them in float16 whatever is asked."""
    layers = subject.on_gpu("bf16").float16
    _require(
        not layers,
        f"{_places(layers)}: on a GPU it is computed in float16, whose range gradients fall out of; put it into "
        "`with torch.autocast(x.device.type, enabled=False):` and give it float32",
    )


def resumes_on_a_gpu(subject: GpuSubject) -> None:
    """A training that is stopped after an epoch and resumed ends as an undisturbed one, on a GPU too."""
    if not subject.neural:
        return
    whole = subject.on_gpu("float32")
    with tempfile.TemporaryDirectory() as folder, simulated_gpus() as traffic:
        videos = VideoSet(subject.videos)
        with contextlib.suppress(_Stopped):
            subject.train(DEVICE, "float32", videos, traffic, _StopsTraining(Path(folder), "check", 0))
        resumed = subject.train(DEVICE, "float32", videos, traffic, Checkpoint(Path(folder), "check", 1e9))
    same = resumed.losses == whole.losses[1:] and np.array_equal(resumed.codes, whole.codes)
    _require(
        same,
        "a resumed training ends otherwise than an undisturbed one: keep what training changes in parameters and "
        "buffers, which checkpoints hold, and let the order in which they are made be the same",
    )


class _Stopped(BaseException):
    """A training was stopped."""


class _StopsTraining(Checkpoint):
    """Stops the training after its first save."""

    def save(self, state: dict[str, Any]) -> None:
        """Save, and stop."""
        super().save(state)
        raise _Stopped


def a_model_of_a_gpu_is_read_on_the_cpu(subject: GpuSubject) -> None:
    """What was trained on a GPU can be saved, and gives the same codes when it is loaded without one."""
    trained = subject.on_gpu("float32")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fitted"
        with simulated_gpus():
            trained.method.save(path)
        loaded = type(trained.method).load(path)
        codes = np.asarray(loaded.encode(VideoSet(subject.videos)))
    _require(
        codes.shape == trained.codes.shape and np.array_equal(codes, trained.codes),
        "a model trained on a GPU and loaded on the CPU gives other codes: keep all that `encode` uses in parameters "
        "and buffers, and let nothing depend on where the network lies",
    )


GPU_RULES: Mapping[str, GpuRule] = MappingProxyType(
    {
        rule.__name__: rule
        for rule in (
            trains_on_a_gpu_as_on_the_cpu,
            trains_in_bf16_on_a_gpu_as_on_the_cpu,
            everything_lies_on_the_gpu,
            a_step_does_not_wait_for_the_gpu,
            a_step_uploads_its_videos_only,
            recurrent_layers_run_outside_autocast,
            resumes_on_a_gpu,
            a_model_of_a_gpu_is_read_on_the_cpu,
        )
    }
)
"""Every rule by name, in the order in which they are checked."""


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise BrokenRule(message)


def _places(counter: Counter[str]) -> str:
    return ", ".join(sorted(counter))
