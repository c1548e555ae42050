"""The state-space block of WSCH: a state-space model of the kind of Mamba-2's, for the few frames of a video.

Dao, Gu: Transformers are SSMs: Generalized Models and Efficient Algorithms Through Structured State Space Duality,
International Conference on Machine Learning, 2024; the block as in github.com/anon271/WSCH ("released").
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

EXPAND = 2  # the block is so many times as wide as the network (released)
GROUP = 2  # channels that a group of its convolution mixes (released)
TAPS = 4  # frames that the convolution sees (released)
DECAYS = 1.0, 16.0  # -A of a head starts between these (released)


class StateSpace(nn.Module):
    """Linear layer to x and z, causal convolution of x, state-space model, times SiLU(z), linear layer.

    As in Mamba-2, but the step sizes, B and C are read from the convolution's output, which has no activation, and no
    norm stands before the last layer (released).

    Args:
        width: of input and output; inside, `EXPAND` times as many channels.
        head_width: channels of a head.
        state: size of a head's state, per channel.
    """

    def __init__(self, width: int, head_width: int, state: int):
        super().__init__()
        inner = EXPAND * width
        heads = inner // head_width
        self.sizes = heads, state, state
        self.expand = nn.Linear(width, 2 * inner, bias=False)
        self.taps = nn.Conv1d(inner, inner, TAPS, groups=inner // GROUP, bias=False).weight
        self.select = nn.Linear(inner, sum(self.sizes), bias=False)
        self.step_bias = nn.Parameter(torch.zeros(heads))
        self.log_decay = nn.Parameter(torch.empty(heads).uniform_(*DECAYS).log())
        self.skip = nn.Parameter(torch.ones(heads))
        self.output = nn.Linear(inner, width)

    def forward(self, t: torch.Tensor) -> torch.Tensor:
        """Map (batch, frames, width) to the same shape and dtype."""
        x, z = self.expand(t).chunk(2, 2)
        x = causal_convolution(x, self.taps)
        selected = self.select(x)
        with torch.autocast(t.device.type, enabled=False):
            y = self.scan(x.to(t.dtype), selected.to(t.dtype)) * functional.silu(z.to(t.dtype))
        out: torch.Tensor = self.output(y)
        return out.to(t.dtype)

    def scan(self, x: torch.Tensor, selected: torch.Tensor) -> torch.Tensor:
        """Return the state-space model's output.

        Args:
            x: the convolution's output, shape (batch, frames, inner).
            selected: what `select` makes of it, shape (batch, frames, heads + 2 x state).
        """
        steps, b, c = torch.split(selected, list(self.sizes), 2)  # type: ignore[no-untyped-call]
        heads = x.view(*x.shape[:2], len(self.skip), -1)
        y = state_space(heads, functional.softplus(steps + self.step_bias), -self.log_decay.exp(), b, c)
        return (y + self.skip.unsqueeze(1) * heads).flatten(2)


def causal_convolution(x: torch.Tensor, taps: torch.Tensor) -> torch.Tensor:
    """Convolve over time with groups of channels, where frames before the first are 0; the last tap is the frame's own.

    The same function as `nn.functional.conv1d`, as one matrix product a group, over frames and channels at once: groups
    are many and small, for which the library takes several times as long.

    Args:
        x: shape (batch, frames, channels).
        taps: weights, shape (channels, channels of a group, taps).
    """
    batch, frames, channels = x.shape
    size, length = taps.shape[1:]
    time = torch.arange(frames, device=x.device)
    lag = time - time.unsqueeze(1)  # of the output's frame behind the input's
    tap = torch.where((lag >= 0) & (lag < length), length - lag, 0)  # 0 is the one of zeros before the first
    matrix = functional.pad(taps.to(x.dtype), (1, 0))[..., tap]
    matrix = matrix.view(-1, size, size, frames, frames)  # group, output, input, and the frames of input and output
    matrix = matrix.permute(0, 3, 2, 4, 1).reshape(-1, frames * size, frames * size)
    grouped = x.reshape(batch, frames, -1, size).permute(2, 0, 1, 3).reshape(-1, batch, frames * size)
    out = torch.bmm(grouped, matrix).view(-1, batch, frames, size)
    return out.permute(1, 2, 0, 3).reshape(batch, frames, channels)


def state_space(
    x: torch.Tensor, steps: torch.Tensor, a: torch.Tensor, b: torch.Tensor, c: torch.Tensor
) -> torch.Tensor:
    """Return y_t = h_t C_t with h_t = exp(A step_t) h_{t-1} + step_t x_t B_t, for all t at once.

    y_t is the sum over s <= t of (C_t . B_s) exp(A (step_{s+1} + ... + step_t)) step_s x_s: an attention, whose cost
    grows with the square of the frames; for up to some hundred of them it is less than that of the recurrence.

    Args:
        x: shape (batch, frames, heads, head width).
        steps: above 0, shape (batch, frames, heads).
        a: A of each head, below 0, shape (heads,).
        b: B, shape (batch, frames, state).
        c: C, shape (batch, frames, state).

    Returns:
        shape (batch, frames, heads, head width).
    """
    steps = steps.transpose(1, 2)
    passed = (a.unsqueeze(1) * steps).cumsum(2)
    causal = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).tril()
    decay = (passed.unsqueeze(3) - passed.unsqueeze(2)).masked_fill(~causal, -math.inf).exp()
    weights = (c @ b.transpose(1, 2)).unsqueeze(1) * decay * steps.unsqueeze(2)
    return (weights @ x.transpose(1, 2)).transpose(1, 2)
