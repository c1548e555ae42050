"""The plain way that released code trains: a DataLoader over single videos, Adam, float32, torch's own layers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from vhbench.method import FitContext
from vhbench.methods.layers import LSTM, TemporalConv, TemporalDeconv
from vhbench.methods.recurrent import ReadOut, Target
from vhbench.training import Moment, NeuralMethod
from vhbench.videos import VideoSet


class Videos(Dataset):
    """Videos one by one.

    Args:
        features: float32 (videos, frames, dim), in memory or mapped.
    """

    def __init__(self, features: np.ndarray):
        self._features = features

    def __len__(self) -> int:
        return len(self._features)

    def __getitem__(self, row: int) -> tuple[int, torch.Tensor]:
        """Return a video's number and its features."""
        return row, torch.from_numpy(np.array(self._features[row]))


def epochs_of(
    method: NeuralMethod, features: np.ndarray, epochs: int, device: str, change: Callable[[nn.Module], None]
) -> Iterator[tuple[int, float, float]]:
    """Train, and yield each epoch's stage, its seconds and its mean loss a step when the epoch is over.

    What an epoch's batches are made of is in memory before the clock runs. Optimisers that a method chooses itself are
    its own; all others are torch's default Adam.

    Args:
        method: unfitted; its network and its loss are trained.
        features: float32 (videos, frames, dim).
        epochs: how many, as a run's budget.
        device: "cpu" or "cuda:N".
        change: what is done to the new network, e.g. `torch_layers`.
    """
    train, ctx = VideoSet(features), FitContext(device=device)
    torch.manual_seed(ctx.torch_seed("init"))
    module = method.build(train.frames, train.dim)
    change(module)
    module.to(device)
    method.prepare(module, train, ctx)
    for stage, count in enumerate(method.stages(epochs)):
        for epoch in range(count):
            module.train()
            moment = Moment(epoch, count, stage=stage, ctx=ctx)
            if epoch == 0:
                method.start_stage(module, train, moment)
                optimizers = _optimizers(method, module)
            began = time.perf_counter()
            method.start_epoch(module, train, moment)
            seconds = time.perf_counter() - began
            inputs = method.inputs(module, train, moment)
            videos = features if inputs is train else np.concatenate(list(inputs.arrays(method.batch_size)))
            loader = DataLoader(Videos(videos), method.batch_size, shuffle=True, pin_memory=device != "cpu")
            began = time.perf_counter()
            loss = float(np.mean(_steps(method, module, optimizers, loader, moment)))
            method.end_epoch(module, train, moment)
            yield stage, seconds + time.perf_counter() - began, loss


def _optimizers(method: NeuralMethod, module: nn.Module) -> list[torch.optim.Optimizer]:
    if type(method).optimizer is NeuralMethod.optimizer:
        return [torch.optim.Adam(module.parameters(), lr=method.lr, weight_decay=method.weight_decay)]
    made = method.optimizer(module)
    return [made] if isinstance(made, torch.optim.Optimizer) else list(made)


def _steps(
    method: NeuralMethod,
    module: nn.Module,
    optimizers: list[torch.optim.Optimizer],
    loader: Iterable[tuple[torch.Tensor, torch.Tensor]],
    moment: Moment,
) -> list[float]:
    """Do an epoch's steps at the first learning rate and return their losses."""
    losses = []
    for rows, batch in loader:
        if len(rows) == 1:
            continue
        module.zero_grad()
        parts = method.gradient(module, batch.to(moment.ctx.device), replace(moment, rows=rows))
        method.before_step(module, moment)
        for optimizer in optimizers:
            optimizer.step()
        with torch.no_grad():
            method.after_step(module, moment)
        losses.append(sum(part.item() for part in parts.values()))
    return losses


def same(module: nn.Module) -> None:
    """Leave a network as it is."""


def has_torch_layers(module: nn.Module) -> bool:
    """Say whether a network has layers that `torch_layers` replaces."""
    return any(_plain(child) is not None for child in module.modules())


def torch_layers(module: nn.Module) -> None:
    """Put torch's own layers in the place of vhbench's, with weights of their own."""
    for name, child in module.named_children():
        if (plain := _plain(child)) is not None:
            setattr(module, name, plain)
        else:
            torch_layers(child)


def _plain(layer: nn.Module) -> nn.Module | None:
    if isinstance(layer, TemporalConv):
        width = layer.weight.shape[0] // layer.kernel
        return _ChannelsFirst(nn.Conv1d(width, layer.weight.shape[1], layer.kernel, layer.stride))
    if isinstance(layer, TemporalDeconv):
        width, taps = layer.weight.shape
        sizes = width, taps // layer.kernel, layer.kernel, layer.stride
        return _ChannelsFirst(nn.ConvTranspose1d(*sizes, output_padding=layer.padding))
    if type(layer) is LSTM:  # a subclass returns more than its hidden states
        return _Hidden(layer.input_size, layer.hidden_size, batch_first=True)
    if isinstance(layer, ReadOut):
        return _ReadOut(layer.in_features, layer.out_features)
    return None


class _ChannelsFirst(nn.Module):
    """A convolution of torch's on (batch, length, channels)."""

    def __init__(self, layer: nn.Module):
        super().__init__()
        self.layer = layer

    @property
    def bias(self) -> Any:
        return self.layer.bias

    def forward(self, x: torch.Tensor) -> Any:
        return self.layer(x.transpose(1, 2)).transpose(1, 2)


class _Hidden(nn.LSTM):
    """torch's LSTM, hidden states only."""

    def forward(self, x: torch.Tensor) -> Any:  # type: ignore[override]
        return super().forward(x)[0]


class _ReadOut(nn.Linear):
    """The reconstruction as an array, and its squared error."""

    def start_at(self, mean: torch.Tensor) -> None:
        with torch.no_grad():
            self.bias.view(-1, len(mean)).copy_(mean)

    def error(self, hidden: torch.Tensor, target: Target) -> Any:
        return (target.rows - self(hidden)).square().sum(1).mean()
