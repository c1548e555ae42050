"""Network pieces that several methods share."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn


class SignSTE(torch.autograd.Function):
    """sign(x) with 0 -> +1; backward, the gradient passes where |x| <= 1 and is 0 elsewhere (UVVH paper, III-B)."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        """Return -1 or +1 in x's dtype."""
        ctx.save_for_backward(x)
        return sign(x)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> torch.Tensor:
        """Clip the gradient to the linear part of hard tanh."""
        x: torch.Tensor = ctx.saved_tensors[0]
        return grads[0] * (x.abs() <= 1)


def sign(x: torch.Tensor) -> torch.Tensor:
    """Return -1 or +1 in x's dtype, with 0 -> +1 (UVVH paper, Eq. 9)."""
    return torch.where(x >= 0, 1.0, -1.0).to(x.dtype)


def sign_ste(x: torch.Tensor) -> torch.Tensor:
    """Return sign(x) with the clipped straight-through gradient."""
    return SignSTE.apply(x)  # type: ignore[no-any-return, no-untyped-call]


def windows(x: torch.Tensor, kernel: int, stride: int) -> torch.Tensor:
    """Cut (batch, length, channels) into overlapping windows (batch, steps, kernel * channels); a copy."""
    steps = (x.shape[1] - kernel) // stride + 1
    taps = [x[:, j : j + (steps - 1) * stride + 1 : stride] for j in range(kernel)]
    return torch.cat(taps, dim=2)


def overlap_add(taps: torch.Tensor, kernel: int, stride: int, length: int) -> torch.Tensor:
    """Add windows (batch, steps, kernel * channels) up where they overlap: the adjoint of `windows`."""
    batch, steps, width = taps.shape
    out = taps.new_zeros(batch, length, width // kernel)
    for j, tap in enumerate(taps.chunk(kernel, dim=2)):
        out[:, j : j + (steps - 1) * stride + 1 : stride] += tap
    return out


class _Windows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, kernel: int, stride: int) -> torch.Tensor:
        ctx.geometry = kernel, stride, x.shape[1]
        return windows(x, kernel, stride)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        return overlap_add(grads[0], *ctx.geometry), None, None


class _OverlapAdd(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, taps: torch.Tensor, kernel: int, stride: int, length: int) -> torch.Tensor:
        ctx.geometry = kernel, stride, (taps.shape[1] - 1) * stride + kernel
        return overlap_add(taps, kernel, stride, length)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        kernel, stride, reached = ctx.geometry
        return windows(grads[0][:, :reached], kernel, stride), None, None, None


class TemporalConv(nn.Module):
    """1-D convolution over time on (batch, length, channels), as one matrix product.

    The same function as `nn.Conv1d`; on CPUs several times as fast where channels are many and frames few
    (`benchmarks/layers.py`).

    Args:
        channels_in: input channels.
        channels_out: output channels.
        kernel: window length in frames.
        stride: step in frames.
    """

    def __init__(self, channels_in: int, channels_out: int, kernel: int, stride: int):
        super().__init__()
        self.kernel, self.stride = kernel, stride
        self.weight = nn.Parameter(_xavier(channels_in, channels_out, kernel, (kernel * channels_in, channels_out)))
        self.bias = nn.Parameter(torch.zeros(channels_out))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (batch, length, channels_in) to (batch, steps, channels_out)."""
        if torch.is_autocast_enabled(x.device.type):
            x = x.to(torch.get_autocast_dtype(x.device.type))  # before the windows copy every frame several times
        cut: torch.Tensor = _Windows.apply(x, self.kernel, self.stride)  # type: ignore[no-untyped-call]
        return cut @ self.weight + self.bias


class TemporalDeconv(nn.Module):
    """Transposed 1-D convolution over time on (batch, steps, channels), as one matrix product.

    The same function as `nn.ConvTranspose1d`.

    Args:
        channels_in: input channels.
        channels_out: output channels.
        kernel: window length in frames.
        stride: step in frames.
        padding: extra frames at the end of the output that no window reaches (`output_padding`).
    """

    def __init__(self, channels_in: int, channels_out: int, kernel: int, stride: int, padding: int = 0):
        super().__init__()
        self.kernel, self.stride, self.padding = kernel, stride, padding
        self.weight = nn.Parameter(_xavier(channels_in, channels_out, kernel, (channels_in, kernel * channels_out)))
        self.bias = nn.Parameter(torch.zeros(channels_out))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (batch, steps, channels_in) to (batch, (steps - 1) * stride + kernel + padding, channels_out)."""
        length = (x.shape[1] - 1) * self.stride + self.kernel + self.padding
        out: torch.Tensor = _OverlapAdd.apply(x @ self.weight, self.kernel, self.stride, length)  # type: ignore[no-untyped-call]
        return out + self.bias


def _xavier(channels_in: int, channels_out: int, kernel: int, shape: tuple[int, int]) -> torch.Tensor:
    """Xavier-uniform weights with the fans of a convolution, as `nn.init.xavier_uniform_` counts them."""
    bound = math.sqrt(6 / (kernel * (channels_in + channels_out)))
    return torch.empty(shape).uniform_(-bound, bound)


class FrameBatchNorm(nn.BatchNorm1d):
    """Batch normalisation of each channel of (batch, length, channels) over batch and time."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise; the shape stays."""
        return super().forward(x.flatten(0, 1)).view_as(x)


class LSTM(nn.LSTM):
    """A one-layer LSTM on (batch, length, channels) that returns the hidden states (batch, length, hidden).

    On CPUs it is unrolled: one matrix product gives the input's share of every step's gates, and no step waits for
    oneDNN's threads (`benchmarks/layers.py`). The weights and the function are those of `nn.LSTM`.

    Args:
        channels: input channels.
        hidden: hidden units.
    """

    weight_ih_l0: torch.Tensor
    weight_hh_l0: torch.Tensor
    bias_ih_l0: torch.Tensor
    bias_hh_l0: torch.Tensor

    def __init__(self, channels: int, hidden: int):
        super().__init__(channels, hidden, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        """Run over the sequence from a zero state."""
        if x.is_cuda:
            return self.on_gpu(x)[0]
        gates = nn.functional.linear(x, self.weight_ih_l0, self.bias_ih_l0 + self.bias_hh_l0)
        recurrent = self.weight_hh_l0.t()
        h = c = gates.new_zeros(len(x), self.hidden_size)
        states = []
        for gate in gates.unbind(1):
            i, f, g, o = (gate + h @ recurrent).chunk(4, 1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            states.append(h)
        return torch.stack(states, 1)

    def on_gpu(self, x: torch.Tensor) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
        """Run torch's own LSTM and return what it returns, in the weights' dtype also under autocast."""
        # cuDNN computes in float16 under autocast, whatever dtype was asked for, and most gradients fall out of that
        # one's range; the loop for CPUs, and bl2's and dh's decoders, are plain matrix products, which keep to bfloat16
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.to(self.weight_ih_l0.dtype))  # type: ignore[no-any-return]


def xavier_init(module: nn.Module) -> None:
    """Give linear and LSTM weights Xavier-uniform values and zero biases (UVVH paper, IV-C).

    An LSTM's stacked gates are initialised gate by gate.
    """
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.LSTM):
        for name, parameter in module.named_parameters():
            if name.startswith("bias"):
                nn.init.zeros_(parameter)
            else:
                for gate in parameter.chunk(4):
                    nn.init.xavier_uniform_(gate)
