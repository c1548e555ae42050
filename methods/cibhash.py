"""CIBHash: random codes that tell two views of a video from those of all others.

Qiu, Su, Ou, Yu, Chen: Unsupervised Hashing with Contrastive Information Bottleneck, International Joint Conference on
Artificial Intelligence, 2021.
"""

from __future__ import annotations

import torch
from torch import nn

from vhbench.method import FitContext, Tags
from vhbench.methods.projection import mean_of
from vhbench.methods.two_views import debiased_contrastive, two_views
from vhbench.training import Moment, NeuralMethod
from vhbench.videos import VideoSet


class CIBHash(NeuralMethod):
    """Contrastive information bottleneck: sampled codes of two views of a video attract each other (2021).

    A network gives each bit a probability p, and the code is drawn from it; gradients pass the draw as if it were p.
    The loss of a batch of both views' codes is the normalised temperature-scaled cross entropy of their cosines, plus a
    weight times the symmetric Kullback-Leibler divergence of the two views' probabilities.

    Differences from the paper, and why:

    - The paper's views are augmented images (crops, colours, blur), which features do not have. Here a view is the mean
      of a random half of a video's frames, drawn anew in each step; the halves share a frame where their number is odd.
      A video's code comes from the mean of all its frames.
    - Mean frames are centred on the training videos' mean, as for every shallow method here.
    - Cosines are those of -1 and +1, so that they follow the Hamming distance.
    - The divergence is the mean of both directions, summed over bits, averaged over videos.
    - The paper's text was not at hand; the rules and constants are those of a survey; batch and width are not checked.
      Its backbone of convolutions is what made the features.

    Args:
        bits: code length k.
        epochs: passes over the training set (60, released).
        batch_size: videos a step (64, not checked against the paper).
        lr: Adam's learning rate (released).
        weight_decay: L2 term of Adam (this project's choice).
        temperature: T, by which cosines are divided (released).
        kl_weight: weight of the divergence (released).
        mask_ratio: share of the frames that a view does not see (this project's choice).
        width: units of the hidden layer, rectified (1,024, not checked against the paper).
    """

    name = "cibhash"
    reference = "Qiu, Su, Ou, Yu, Chen, IJCAI 2021"
    tags = Tags(min_frames=2)

    def __init__(
        self,
        bits: int,
        *,
        epochs: int = 60,
        batch_size: int = 64,
        lr: float = 1e-3,
        weight_decay: float = 0.0,
        temperature: float = 0.3,
        kl_weight: float = 0.001,
        mask_ratio: float = 0.5,
        width: int = 1024,
    ):
        self.bits = bits
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.weight_decay = weight_decay
        self.temperature = temperature
        self.kl_weight = kl_weight
        self.mask_ratio = mask_ratio
        self.width = width

    def build(self, frames: int, dim: int) -> nn.Module:
        """Return the network of two layers."""
        return Network(self.bits, dim, self.width)

    def prepare(self, module: Network, train: VideoSet, ctx: FitContext) -> None:
        """Keep the mean of the training videos."""
        module.mean.copy_(torch.from_numpy(mean_of(train.mean_frames())))

    def loss(self, module: Network, videos: torch.Tensor, moment: Moment) -> dict[str, torch.Tensor]:
        """Return the contrastive term and the weighted divergence."""
        one, two = (module(mean) for mean in view_means(videos, self.mask_ratio))
        with torch.autocast(videos.device.type, enabled=False):
            contrast = debiased_contrastive(sampled(one), sampled(two), self.temperature, tau=0.0)
            return {"contrast": contrast, "kl": self.kl_weight * symmetric_kl(one, two)}

    def codes(self, module: Network, videos: torch.Tensor) -> torch.Tensor:
        """Return as bool which bits are more likely set than not."""
        logits: torch.Tensor = module(videos.mean(dim=1))
        return logits >= 0


class Network(nn.Module):
    """Two layers that map mean frames (batch, dim) to the logits of the bits' probabilities (batch, bits)."""

    mean: torch.Tensor

    def __init__(self, bits: int, dim: int, width: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.hidden = nn.Linear(dim, width)
        self.head = nn.Linear(width, bits)

    def forward(self, means: torch.Tensor) -> torch.Tensor:
        """Return logits, in the weights' own precision."""
        hidden = self.hidden(means - self.mean).relu()
        with torch.autocast(means.device.type, enabled=False):
            logits: torch.Tensor = self.head(hidden.to(self.head.weight.dtype))
        return logits


def view_means(videos: torch.Tensor, mask_ratio: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the mean frames of two random views of each video, both (batch, dim), in one product.

    Args:
        videos: shape (batch, frames, dim).
        mask_ratio: share of the frames that a view does not see.
    """
    batch, frames, _ = videos.shape
    seen = torch.stack([view.visible for view in two_views(batch, frames, mask_ratio, videos.device)], dim=1)
    shares = videos.new_zeros(batch, 2, frames).scatter(2, seen, 1 / seen.shape[2])
    with torch.autocast(videos.device.type, enabled=False):
        one, two = (shares @ videos).unbind(1)
    return one, two


def sampled(logits: torch.Tensor) -> torch.Tensor:
    """Return codes of -1 and +1, each +1 with its probability; the gradient is that of 2 p - 1.

    Args:
        logits: of the probabilities p, shape (batch, bits).
    """
    p = logits.sigmoid()
    drawn = 2.0 * (torch.rand_like(p) < p) - 1
    return drawn + 2 * (p - p.detach())


def symmetric_kl(one: torch.Tensor, two: torch.Tensor) -> torch.Tensor:
    """Return the mean over videos of (KL(p|q) + KL(q|p)) / 2, summed over bits: a scalar.

    Both directions together are (p - q) (logit p - logit q), which needs no logarithm of a small number.

    Args:
        one: logits of p, shape (batch, bits).
        two: logits of q.
    """
    return 0.5 * ((one.sigmoid() - two.sigmoid()) * (one - two)).sum(dim=1).mean()
