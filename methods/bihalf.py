"""Bi-half: a linear code of a video's mean frame, each bit of which splits every batch in halves.

Li, van Gemert: Deep Unsupervised Image Hashing by Maximizing Bit Entropy, AAAI Conference on Artificial Intelligence,
2021.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from vhbench.method import FitContext
from vhbench.methods.projection import mean_of
from vhbench.training import Moment, NeuralMethod
from vhbench.videos import VideoSet


class BiHalf(NeuralMethod):
    """Bi-half net: one linear layer that keeps cosines, each bit +1 on just half of a batch (2021).

    In training, a bit is +1 for the half of the batch with the larger values and -1 for the other, so that its entropy
    is largest. The loss compares pairs, the first half of the batch with the second: (cos(b_i, b_j) - cos(x_i, x_j))^2.
    Its gradient by the bits is handed on to the values u, with gamma (u - b) / (batch bits) added. The logged loss does
    not hold this pull, and rises where it is the stronger of the two, as on 14 classes of UCF101.

    Differences from the paper, and why:

    - A video is the mean of its frames, centred on the training videos' mean as for every shallow method here, which
      makes cosines of unlike videos negative and not only small; the paper hashes images, and clips by another network.
    - New videos are coded by the sign of u, as a video's code may not depend on others.
    - Of an odd batch, the last video is in no pair, and the smaller half of it is +1.
    - The paper's text was not at hand; the rules and constants are those of a survey of its program. The first weights
      are torch's.

    Args:
        bits: code length k.
        epochs: passes over the training set (this project's choice).
        batch_size: videos a step (released).
        lr: learning rate of stochastic gradient descent with momentum .9 (released).
        weight_decay: L2 term on the weights (released).
        gamma: how much the values are drawn to their bits (6, released).
    """

    name = "bihalf"
    reference = "Li, van Gemert, AAAI 2021"

    def __init__(
        self,
        bits: int,
        *,
        epochs: int = 60,
        batch_size: int = 64,
        lr: float = 1e-4,
        weight_decay: float = 5e-4,
        gamma: float = 6.0,
    ):
        self.bits = bits
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.weight_decay = weight_decay
        self.gamma = gamma

    def build(self, frames: int, dim: int) -> nn.Module:
        """Return the linear layer."""
        return Network(self.bits, dim)

    def prepare(self, module: Network, train: VideoSet, ctx: FitContext) -> None:
        """Keep the training videos' mean frames on the run's device, in no checkpoint, and their mean."""
        means = train.mean_frames()
        module.mean.copy_(torch.from_numpy(mean_of(means)))
        module.train_means = VideoSet(torch.from_numpy(means).unsqueeze(1).to(ctx.device))

    def optimizer(self, module: Network) -> torch.optim.Optimizer:
        """Return stochastic gradient descent with momentum."""
        return torch.optim.SGD(module.parameters(), lr=self.lr, momentum=0.9, weight_decay=self.weight_decay)

    def inputs(self, module: Network, train: VideoSet, moment: Moment) -> VideoSet:
        """Return the videos' mean frames, as one frame each."""
        return module.train_means

    def loss(self, module: Network, videos: torch.Tensor, moment: Moment) -> dict[str, torch.Tensor]:
        """Return the mean squared difference of the pairs' cosines."""
        half = len(videos) // 2
        with torch.autocast(videos.device.type, enabled=False):  # one small product, and cosines
            x = videos.mean(dim=1) - module.mean
            codes = bi_half(module.layer(x), self.gamma)
            cosines = [nn.functional.cosine_similarity(y[:half], y[half : 2 * half]) for y in (codes, x)]
            return {"similarity": (cosines[0] - cosines[1]).square().mean()}

    def codes(self, module: Network, videos: torch.Tensor) -> torch.Tensor:
        """Return the signs of the linear layer's values as bool."""
        values: torch.Tensor = module.layer(videos.mean(dim=1) - module.mean)
        return values >= 0


class Network(nn.Module):
    """A linear layer on centred mean frames."""

    mean: torch.Tensor
    train_means: VideoSet

    def __init__(self, bits: int, dim: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.layer = nn.Linear(dim, bits)


class _BiHalf(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, gamma: float) -> torch.Tensor:
        larger = values.topk(len(values) // 2, dim=0).indices
        codes = torch.full_like(values, -1).scatter(0, larger, 1)
        ctx.save_for_backward(values, codes)
        ctx.gamma = gamma
        return codes

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None]:
        values, codes = ctx.saved_tensors
        return grads[0] + ctx.gamma * (values - codes) / values.numel(), None


def bi_half(values: torch.Tensor, gamma: float) -> torch.Tensor:
    """Return for each bit +1 where a video is among the half with the larger values, else -1, shape (batch, bits).

    The gradient by the values is that by the codes, plus gamma (values - codes) / (batch bits).

    Args:
        values: u, shape (batch, bits).
        gamma: weight of the second part.
    """
    return _BiHalf.apply(values, gamma)  # type: ignore[no-any-return, no-untyped-call]
