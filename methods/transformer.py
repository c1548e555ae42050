"""A transformer block and the sine code of positions, in the form that ConMH and the methods built on it share.

Pre-norm blocks as in Dosovitskiy et al. (ICLR 2021) with the projections of VideoMAE (Tong et al., NeurIPS 2022):
queries and values have a bias, keys have none, and a head has width // heads units, so that heads need not fill the
width. Positions follow Vaswani et al. (NeurIPS 2017), Section 3.5.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from vhbench.errors import MethodError

EPS = 1e-6  # of the layer norms in and after blocks (released)


class TransformerBlock(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)), with the exact GELU and no dropout.

    Args:
        width: units of a token.
        heads: attention heads.
        mlp: units of the MLP's hidden layer, in widths.

    Raises:
        MethodError: there are more heads than units, or none.
    """

    def __init__(self, width: int, heads: int, mlp: int = 4):
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=EPS)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=EPS)
        self.mlp = nn.Sequential(nn.Linear(width, mlp * width), nn.GELU(), nn.Linear(mlp * width, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (batch, tokens, width) to the same shape."""
        x = x + self.attention(self.norm1(x))
        mixed: torch.Tensor = x + self.mlp(self.norm2(x))
        return mixed


class Attention(nn.Module):
    """Self-attention of all tokens; arguments as for `TransformerBlock`."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        if not 1 <= heads <= width:
            raise MethodError(f"heads must be between 1 and the width of a token, {width}; it is {heads}.")
        self.heads = heads
        inner = heads * (width // heads)
        self.query_key_value = nn.Linear(width, 3 * inner, bias=False)
        self.query_bias = nn.Parameter(torch.zeros(inner))
        self.value_bias = nn.Parameter(torch.zeros(inner))
        self.out = nn.Linear(inner, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (batch, tokens, width) to the same shape."""
        batch, tokens, _ = x.shape
        bias = torch.cat([self.query_bias, torch.zeros_like(self.query_bias), self.value_bias])
        joint = nn.functional.linear(x, self.query_key_value.weight, bias)
        q, k, v = joint.view(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(2, 3) * q.shape[3] ** -0.5).softmax(3)
        mixed: torch.Tensor = self.out((weights @ v).transpose(1, 2).flatten(2))
        return mixed


def sine_positions(frames: int, width: int) -> torch.Tensor:
    """Return sin(t / 10000^(j / width)) in the even columns j and the cosine of the same in the odd column after each.

    Args:
        frames: positions t = 0, 1, ...
        width: units of a token.

    Returns:
        float32, shape (frames, width).
    """
    column = np.arange(width)
    angle = np.arange(frames)[:, None] / 10000 ** (column // 2 * 2 / width)
    return torch.from_numpy(np.where(column % 2 == 0, np.sin(angle), np.cos(angle)).astype(np.float32))
