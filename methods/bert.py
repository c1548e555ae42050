"""The small Transformer that BTH, DKPH and BerVAE share, and the squared error of a linear read-out.

Li, Li, Lu, Zhou (BTH): Self-Supervised Video Hashing via Bidirectional Transformers, CVPR 2021. The forms are
those of the released program: blocks with the normalisation first and none after the last one, a layer norm that
divides by the unbiased deviation, GELU by its tanh formula.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from vhbench.errors import MethodError
from vhbench.methods.read_out import pack, squared_error
from vhbench.methods.transformer import sine_positions

NORM_EPS = 1e-6


class LayerNorm(nn.Module):
    """a (x - mean) / (std + eps) + b over the last dimension, with the deviation of n - 1 and eps outside the root."""

    def __init__(self, width: int):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width))
        self.shift = nn.Parameter(torch.zeros(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise in the weights' dtype; the shape stays."""
        x = x.to(self.scale.dtype)
        deviation, mean = torch.std_mean(x, -1, keepdim=True)
        return self.scale * ((x - mean) / (deviation + NORM_EPS)) + self.shift


class Block(nn.Module):
    """Self-attention and a feed-forward layer, each x + dropout(f(norm(x))), and a dropout of the block's output.

    Args:
        width: of the hidden states.
        heads: of the attention.
        dropout: rate, also of the attention's weights and inside the feed-forward layer.
    """

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.heads = heads
        self.norm_attention = LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.attended = nn.Linear(width, width)
        self.norm_forward = LayerNorm(width)
        self.widen = nn.Linear(width, 4 * width)
        self.narrow = nn.Linear(4 * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (batch, frames, width) to the same shape."""
        x = self.attend(x)
        wide = nn.functional.gelu(self.widen(self.norm_forward(x)), approximate="tanh")
        x = x + self.dropout(self.narrow(self.dropout(wide)))
        return self.dropout(x)  # type: ignore[no-any-return]

    def attend(self, x: torch.Tensor) -> torch.Tensor:
        """Return the hidden states after the first residual."""
        # (batch, heads, frames, width of a head) each
        q, k, v = self.qkv(self.norm_attention(x)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        weights = self.dropout((q @ k.transpose(2, 3) / math.sqrt(q.shape[3])).softmax(3))
        return x + self.dropout(self.attended((weights @ v).transpose(1, 2).flatten(2)))  # type: ignore[no-any-return]


class Encoder(nn.Module):
    """A linear map of each frame plus its place in time as sines and cosines, then blocks.

    Args:
        frames: frames a video (m).
        dim: feature dimensions a frame (l).
        width: of the hidden states.
        blocks: how many.
        heads: of each block's attention.
        dropout: rate.

    Raises:
        MethodError: the width is odd or no multiple of the heads.
    """

    position: torch.Tensor

    def __init__(self, frames: int, dim: int, width: int, blocks: int, heads: int, dropout: float):
        super().__init__()
        if width % 2 or width % heads:
            raise MethodError(f"The width must be even and a multiple of the {heads} heads; it is {width}.")
        self.frame_map = nn.Linear(dim, width)
        self.register_buffer("position", sine_positions(frames, width), persistent=False)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.Sequential(*(Block(width, heads, dropout) for _ in range(blocks)))

    def forward(self, videos: torch.Tensor) -> torch.Tensor:
        """Map (batch, frames, dim) to hidden states (batch, frames, width), in the weights' dtype."""
        hidden: torch.Tensor = self.blocks(self.embed(videos))
        return hidden

    def embed(self, videos: torch.Tensor) -> torch.Tensor:
        """Return what the first block sees."""
        embedded: torch.Tensor = self.dropout(self.frame_map(videos) + self.position)
        return embedded


def mean_squared_error(target: torch.Tensor, states: torch.Tensor, read_out: nn.Linear) -> torch.Tensor:
    """Return the mean of (x - W c - b)^2 over videos, frames and dimensions, multiplied out (`read_out.squared_error`).

    Args:
        target: frames x, shape (batch, frames, dim).
        states: c, shape (batch, frames, bits), in the weights' dtype.
        read_out: W and b.
    """
    size, total = torch.linalg.vector_norm(target).square(), target.sum((0, 1))
    return squared_error(pack(target), size, total, states, read_out) / target.numel()
