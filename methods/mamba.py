"""Mamba's selective scan and block in plain torch, for sequences of some tens of steps.

Gu, Dao: Mamba: Linear-Time Sequence Modeling with Selective State Spaces, Conference on Language Modeling, 2024.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

STATES = 16  # d_state: numbers that a channel remembers
WINDOW = 4  # d_conv: steps that the convolution sees
EXPAND = 2  # channels of the scan for each of the block's width
CHUNK = 2**18  # numbers in a sequence of states that a CPU scans at a time; more fall out of its caches
GPU_CHUNK = 2**28  # as many take 1 GiB in float32


class Mamba(nn.Module):
    """One Mamba block on (batch, length, width), equal to `Mamba` of mamba-ssm 2.0.4.

    Linear layers have torch's initialisation; the network that holds the block gives them its own. (Mamba's own starts
    the bias of `dt_proj` so that steps are between 0.001 and 0.1; where it starts at 0, they are about 0.7.)

    Args:
        width: input and output channels.
    """

    def __init__(self, width: int):
        super().__init__()
        inner, self.rank = EXPAND * width, math.ceil(width / 16)
        self.in_proj = nn.Linear(width, 2 * inner, bias=False)
        self.conv = nn.Conv1d(inner, inner, WINDOW, groups=inner)
        self.x_proj = nn.Linear(inner, self.rank + 2 * STATES, bias=False)
        self.dt_proj = nn.Linear(self.rank, inner)
        self.a_log = nn.Parameter(torch.arange(1, STATES + 1).float().log().repeat(inner, 1))
        self.d = nn.Parameter(torch.ones(inner))
        self.out_proj = nn.Linear(inner, width, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (batch, length, width) to the same shape; a step's output depends on that step and those before it."""
        out: torch.Tensor = self.out_proj(self.scan(x))
        return out

    def scan(self, x: torch.Tensor) -> torch.Tensor:
        """Return what `out_proj` reads, (batch, length, 2 width): forward without its last product."""
        x, gate = self.in_proj(x).chunk(2, 2)
        x = nn.functional.silu(causal_conv(x, self.conv.weight, self.conv.bias))
        step, b, c = self.x_proj(x).split([self.rank, STATES, STATES], 2)
        step = self.dt_proj(step)
        with torch.autocast(x.device.type, enabled=False):
            dtype = self.a_log.dtype
            x, step, b, c = x.to(dtype), nn.functional.softplus(step.to(dtype)), b.to(dtype), c.to(dtype)
            y = selective_scan(x, step, -self.a_log.exp(), b, c) + self.d * x
            return y * nn.functional.silu(gate.to(dtype))


def causal_conv(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """Return a convolution over time of each channel by itself, which sees a step and those before it.

    Args:
        x: shape (batch, length, channels).
        weight: shape (channels, 1, window), as `nn.Conv1d` keeps it; the last is of the step itself.
        bias: shape (channels,), or None.
    """
    window, length = weight.shape[2], x.shape[1]
    taps = weight[:, 0].to(x.dtype).unbind(1)
    x = nn.functional.pad(x, (0, 0, window - 1, 0))
    out = taps[0] * x[:, :length] if bias is None else torch.addcmul(bias.to(x.dtype), taps[0], x[:, :length])
    for j in range(1, window):
        out = torch.addcmul(out, taps[j], x[:, j : j + length])
    return out


def selective_scan(
    x: torch.Tensor, step: torch.Tensor, a: torch.Tensor, b: torch.Tensor, c: torch.Tensor
) -> torch.Tensor:
    """Return y_t = h_t c_t of the states h_t = exp(step_t a) h_(t-1) + step_t x_t b_t from h_0 = 0 (Mamba, Eq. 2).

    The states are computed in pieces that fit a CPU's caches, and again in the backward pass, so none is kept.

    Args:
        x: shape (batch, length, channels).
        step: Delta, of x's shape, positive.
        a: shape (channels, states), negative.
        b: shape (batch, length, states).
        c: as b.

    Returns:
        y, of x's shape.
    """
    return _Scan.apply(x, step, a, b, c)  # type: ignore[no-any-return, no-untyped-call]


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *inputs: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(*inputs)
        x, step, a, b, c = inputs
        y = torch.empty_like(x)
        for part in _parts(x, a):
            _, h = _states(x[part], step[part], a, b[part])
            torch.matmul(h, c[part].unsqueeze(3), out=y[part].unsqueeze(3))
        return y

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, ...]:
        x, step, a, b, c = ctx.saved_tensors
        parts = [_gradient(grads[0][i], x[i], step[i], a, b[i], c[i]) for i in _parts(x, a)]
        of_x, of_step, of_a, of_b, of_c = zip(*parts, strict=True)
        return torch.cat(of_x), torch.cat(of_step), torch.stack(of_a).sum(0), torch.cat(of_b), torch.cat(of_c)


def _parts(x: torch.Tensor, a: torch.Tensor) -> list[slice]:
    """Return which sequences to scan together."""
    size = max(1, (GPU_CHUNK if x.is_cuda else CHUNK) // (x.shape[1] * a.numel()))
    return [slice(start, start + size) for start in range(0, len(x), size)]


def _states(x: torch.Tensor, step: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the decays exp(step_t a) and the states h_t, both (batch, length, channels, states)."""
    decay = (step.unsqueeze(3) * a).exp_()
    h = (step * x).unsqueeze(3) * b.unsqueeze(2)
    each, factors = h.unbind(1), decay.unbind(1)
    for t in range(1, len(each)):
        each[t].addcmul_(factors[t], each[t - 1])
    return decay, h


def _gradient(
    grad: torch.Tensor, x: torch.Tensor, step: torch.Tensor, a: torch.Tensor, b: torch.Tensor, c: torch.Tensor
) -> tuple[torch.Tensor, ...]:
    """Return the gradients of x, step, a, b and c from that of y."""
    decay, h = _states(x, step, a, b)
    of_h = grad.unsqueeze(3) * c.unsqueeze(2)
    each, factors = of_h.unbind(1), decay.unbind(1)
    for t in range(len(each) - 1, 0, -1):
        each[t - 1].addcmul_(factors[t], each[t])
    of_c = (grad.unsqueeze(2) @ h).squeeze(2)
    of_b = ((step * x).unsqueeze(2) @ of_h).squeeze(2)
    of_product = (of_h @ b.unsqueeze(3)).squeeze(3)  # of step_t x_t
    of_exponent = decay[:, 1:].mul_(of_h[:, 1:]).mul_(h[:, :-1])  # of step_t a; the first state has no decay
    of_step = of_product * x
    of_step[:, 1:] += torch.einsum("blds,ds->bld", of_exponent, a)
    of_a = of_exponent.mul_(step[:, 1:].unsqueeze(3)).sum((0, 1))
    return of_product * step, of_step, of_a, of_b, of_c
