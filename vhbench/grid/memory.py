"""What training takes of a GPU's memory, known before it begins: the network is run on tensors that have no data."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from unittest import mock

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from vhbench.cost import SyntheticFrames
from vhbench.method import Budget, FitContext
from vhbench.training import Moment, NeuralMethod, Training, isolated_torch
from vhbench.videos import VideoSet


@dataclass(frozen=True)
class TrainingMemory:
    """What training takes at least, in bytes: what an allocator and CUDA's libraries take comes on top.

    The training features are not counted: they stay in host memory where a GPU has no room for them.

    Attributes:
        weights: parameters and buffers.
        gradients: of the parameters.
        state: the optimisers'.
        batch: the videos of a step.
        kept: what the forward pass keeps for the backward pass; 0 where it could not be found out.
    """

    weights: int
    gradients: int
    state: int
    batch: int
    kept: int

    @property
    def total(self) -> int:
        """The most that is held at a time: between forward and backward pass, or between backward pass and step."""
        return self.weights + self.state + max(self.batch + self.kept, self.gradients)


def training_memory(
    method: NeuralMethod, frames: int, dim: int, *, precision: str = "float32", epochs: int | None = None
) -> TrainingMemory:
    """Return what training a network takes at least of a GPU's memory; its first stage is looked at.

    Args:
        method: the method, with its hyper-parameters and code length.
        frames: frames a video.
        dim: feature dimensions a frame.
        precision: as in `FitContext`.
        epochs: that it is trained; None: its own.

    Raises:
        MethodError: the network cannot be built for this size.
    """
    ctx = FitContext(precision=precision, budget=Budget(epochs))
    batch = method.batch_size
    with isolated_torch(ctx):
        with _without_data():
            module = method.build(frames, dim).train()
            weights = _bytes([*module.parameters(), *module.buffers()])
            gradients, state, kept = _bytes(list(module.parameters())), _state(method, module), None
            if type(method).inputs is NeuralMethod.inputs:  # else batches may be of something else than the videos
                with contextlib.suppress(Exception):  # most losses need nothing that is made of data
                    first = method.stages(epochs or method.epochs)[0]
                    moment = Moment(0, first, torch.arange(batch), steps=1, ctx=ctx)
                    kept = _kept(method, module, torch.empty(batch, frames, dim), moment)
        if kept is None:
            with contextlib.suppress(Exception):
                kept, frames = _kept_when_prepared(method, frames, dim, ctx)
    return TrainingMemory(weights, gradients, state, 4 * batch * frames * dim, kept or 0)


@contextlib.contextmanager
def _without_data() -> Iterator[FakeTensorMode]:
    """Make tensors that have a shape and no data, and let methods take the form that they have for GPUs."""
    log = logging.getLogger("torch._subclasses.fake_tensor")  # which tells more of a loss that cannot be run so
    was, log.disabled = log.disabled, True
    try:
        with FakeTensorMode(allow_non_fake_inputs=True) as mode, mock.patch.object(torch.Tensor, "is_cuda", True):
            yield mode
    finally:
        log.disabled = was


def _kept_when_prepared(method: NeuralMethod, frames: int, dim: int, ctx: FitContext) -> tuple[int, int]:
    """Do the same with a network that is prepared on one batch of synthetic videos; return its inputs' frames too."""
    train = VideoSet(SyntheticFrames(method.batch_size, frames, dim))
    module = method.build(frames, dim)
    method.prepare(module, train, ctx)
    moment = replace(Training(method, module, train, ctx).start_epoch(0), rows=torch.arange(len(train)))
    frames = method.inputs(module, train, moment).frames
    with _without_data() as mode:
        for part in module.modules():
            for name, weight in part.named_parameters(recurse=False):
                part.register_parameter(name, nn.Parameter(mode.from_tensor(weight.detach()), weight.requires_grad))
            for name, buffer in part.named_buffers(recurse=False):
                setattr(part, name, mode.from_tensor(buffer))
        return _kept(method, module, torch.empty(len(train), frames, dim), moment), frames


def _kept(method: NeuralMethod, module: nn.Module, videos: torch.Tensor, moment: Moment) -> int:
    """Return the bytes that the loss on a batch keeps for its gradient, beside the network and the batch."""
    held = [*module.parameters(), *module.buffers(), videos]
    sizes = {tensor.untyped_storage()._cdata: 0 for tensor in held}
    alive = []  # else another tensor could get the address of one that is known

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        alive.append(tensor)
        sizes.setdefault(tensor.untyped_storage()._cdata, tensor.untyped_storage().nbytes())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), moment.autocast():
        method.loss(module, videos, moment)
    return sum(sizes.values())


def _state(method: NeuralMethod, module: nn.Module) -> int:
    """Return the bytes of the optimisers' state after a step; 0 where they cannot do one without data."""
    size = 0
    with contextlib.suppress(Exception):
        made = method.optimizer(module)
        for parameter in module.parameters():
            parameter.grad = torch.zeros_like(parameter)
        for optimizer in [made] if isinstance(made, torch.optim.Optimizer) else made:
            optimizer.step()
            for values in optimizer.state.values():
                size += _bytes([value for value in values.values() if isinstance(value, torch.Tensor)])
    module.zero_grad(set_to_none=True)
    return size


def _bytes(tensors: list[torch.Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
