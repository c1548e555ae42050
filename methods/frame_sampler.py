"""A sampler that learns which frames of a video to show: AutoSSVH's, which its released training never calls."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from vhbench.methods.two_views import View

NOISE = 10.0  # standard deviation of the Gaussian noise on the scores (released)
TEMPERATURE = 0.5  # of the softmax in whose place the choice stands (released)


class FrameSampler(nn.Module):
    """Scores frames, adds noise and takes the best; learns, by a reversed gradient, to take what makes the loss great.

    Args:
        width: units of a frame's token.
    """

    def __init__(self, width: int):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))
        self.norm = nn.LayerNorm(width)
        self.score = nn.Linear(width, 1)

    def scores(self, tokens: torch.Tensor) -> torch.Tensor:
        """Map (batch, frames, width) to a score of each frame between 0 and 1, (batch, frames, 1)."""
        scores: torch.Tensor = self.score(tokens + self.norm(self.mlp(tokens)))
        return scores.sigmoid()

    def forward(self, tokens: torch.Tensor, count: int) -> tuple[View, torch.Tensor]:
        """Choose frames; the noise comes from torch's global generator.

        Args:
            tokens: all frames, shape (batch, frames, width).
            count: frames to choose.

        Returns:
            The view, and the tokens it sees, (batch, count, width): in value those of `View.seen`; their gradient
            reaches the scores of all frames as if the choice were a softmax.
        """
        uniform = torch.rand(tokens.shape[:2], device=tokens.device).clamp_min(torch.finfo(torch.float32).tiny)
        return self.choose(tokens, count, uniform, torch.randn_like(uniform))

    def choose(
        self, tokens: torch.Tensor, count: int, uniform: torch.Tensor, normal: torch.Tensor
    ) -> tuple[View, torch.Tensor]:
        """Choose frames with given noise, both of shape (batch, frames); see `forward`."""
        with torch.autocast(tokens.device.type, enabled=False):
            tokens = tokens.to(self.score.weight.dtype)
            noisy = self.scores(tokens)[..., 0] + NOISE * normal - (-uniform.log()).log()
            noisy = (noisy - noisy.mean()) / noisy.std()
            soft = (_Reversed.apply(noisy) / TEMPERATURE).softmax(1)  # type: ignore[no-untyped-call]
            order = noisy.argsort(1, descending=True)
            view = View(order[:, :count].sort(1).values, order[:, count:].sort(1).values)
            hard = torch.zeros_like(soft).scatter(1, view.visible, 1.0)
            return view, view.seen(tokens * (hard + (soft - soft.detach())).unsqueeze(2))


class _Reversed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> torch.Tensor:
        return -grads[0]
