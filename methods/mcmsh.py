"""MCMSH: an MLP-mixer with gates of three ranges, and codes that five videos a step pull together and apart.

ACM Multimedia 2022, github.com/haoyanbin918/MCMSH; the paper was not at hand. "Released" below means that program,
which the forms and constants are taken from.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from vhbench.errors import MethodError
from vhbench.method import Tags
from vhbench.methods.anchored_pairs import anchor_loss, neighbour_loss
from vhbench.methods.components import principal_components
from vhbench.methods.corruption import draw_corruption
from vhbench.methods.forms import check_forms
from vhbench.methods.layers import sign
from vhbench.methods.mixer import TOKEN_SQUEEZE, Context, Mixer
from vhbench.methods.projection import mean_of
from vhbench.methods.schedule import decayed
from vhbench.methods.similar_pairs import SIMILAR, SimilarityTags, find_anchors, nearest_anchors
from vhbench.training import Moment, NeuralMethod
from vhbench.videos import VideoSet

VIDEOS = 5  # whose codes a step compares for each video of the batch: itself, its pair, a similar one, two dissimilar
MARGINS = 1 / 4, 1 / 64  # a bit, of the two comparisons of distances (released)


class MCMSH(NeuralMethod):
    """MLP-mixer with gates of long, middle and short range, trained on quintuples that anchors choose (2022).

    A frame's features become width-many numbers (`project`), a mixer layer (`vhbench.methods.mixer`) exchanges them
    between frames and between features, and a linear layer gives bits y_t. A video's code is the sign of
    h = mean_t tanh(alpha y_t). Nothing is reconstructed. Anchors are k-means centres of mean frames; videos are similar
    or dissimilar by the anchors that they share (`similar_pairs`). For video i of a batch, an epoch draws a partner j,
    s = +1 for similar and -1 for dissimilar with equal probability, a similar video p and two dissimilar ones q and r:

        .8 (|mean e_i - a_i|^2 + |mean e_j - a_j|^2) / width + .1 (s - <h_i, h_j> / k)^2
        + .01 (|h_i - b_i|^2 + |h_j - b_j|^2) / k
        + .01 [(k / 4 + |h_i - h_p|^2 - |h_i - h_q|^2)_+ + (k / 64 + |h_i - h_p|^2 - |h_q - h_r|^2)_+]

    with e what the mixer makes of frames, a the anchor nearest to a video, reduced to `width` dimensions by PCA, and b
    the sign of h. Frames of i and j are corrupted as in BERT (`corruption`). The five videos go through the network one
    after the other, so batch norm sees five batches a step.

    Differences from the paper and from the released program, and why:

    - alpha is sqrt(epoch + 1), from 1 in the first epoch. Codes are made with that of the last epoch, kept in the saved
      model: so the released runner scores; the released evaluation script has 1, which gives other codes.
    - The released quantisation term has no gradient at all, because the straight-through gradient of b cancels that of
      h, and published numbers were made so: the default, which only reports it. `quantization="described"` holds b.
    - The released PCA does not sort its eigenvectors, so which of them it keeps is an accident; here they are those of
      the largest eigenvalues. Where anchors or dimensions are fewer than `width`, the other coordinates are 0.
    - A replaced frame becomes one of the batch; in the released program, one of the whole training set.
    - A video to which all videos are similar gets any video for a dissimilar one.
    - Whether the released first weights of the gates are normal or uniform is not known: normal.

    Args:
        bits: code length k.
        epochs: passes over the training set (released: 0 to 55).
        batch_size: videos i a step (released).
        lr: Adam's learning rate, times .9 every 20 epochs, at least 1e-4 (released).
        weight_decay: L2 term of Adam (released: none).
        width: of the mixer (released).
        squeeze: features a unit of the gates over features (released).
        dropout: rate in the MLPs (released).
        anchors: most anchors (released).
        anchor_weight: of the anchors' term (released).
        pairwise_weight: of the pairs' term (released).
        quantization_weight: of the quantisation term (released).
        margin_weight: of the comparisons of distances (released).
        quantization: "released" or "described", see above.
    """

    name = "mcmsh"
    reference = "ACM Multimedia 2022, github.com/haoyanbin918/MCMSH"
    tags = Tags(min_frames=TOKEN_SQUEEZE)
    presets: ClassVar[dict[str, dict[str, Any]]] = {"fcvid": {}}  # the released program's only settings

    def __init__(
        self,
        bits: int,
        *,
        epochs: int = 56,
        batch_size: int = 256,
        lr: float = 3e-4,
        weight_decay: float = 0.0,
        width: int = 256,
        squeeze: int = 16,
        dropout: float = 0.5,
        anchors: int = 2000,
        anchor_weight: float = 0.8,
        pairwise_weight: float = 0.1,
        quantization_weight: float = 0.01,
        margin_weight: float = 0.01,
        quantization: str = "released",
    ):
        self.bits = bits
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.weight_decay = weight_decay
        self.width = width
        self.squeeze = squeeze
        self.dropout = dropout
        self.anchors = anchors
        self.anchor_weight = anchor_weight
        self.pairwise_weight = pairwise_weight
        self.quantization_weight = quantization_weight
        self.margin_weight = margin_weight
        self.quantization = quantization

    def build(self, frames: int, dim: int) -> nn.Module:
        """Return the network.

        Raises:
            MethodError: `squeeze` does not divide `width`, or the quantisation is unknown.
        """
        if self.width % self.squeeze:
            raise MethodError(f"width must be a multiple of squeeze; {self.width} is none of {self.squeeze}.")
        check_forms(quantization=self.quantization)
        return Network(frames, dim, self.width, self.bits, self.squeeze, self.dropout)

    def lr_factor(self, moment: Moment) -> float:
        """Return .9 to the number of whole 20 epochs, but no rate below 1e-4 (released)."""
        return decayed(self.lr, moment.epoch)

    def start_stage(self, module: Network, train: VideoSet, moment: Moment) -> None:
        """Find the anchors, each video's nearest ones, and the anchors' principal components."""
        means, device = train.mean_frames(), moment.ctx.device
        anchors = find_anchors(means, self.anchors, moment.ctx.rng("anchors"))
        module.near = torch.from_numpy(nearest_anchors(means, anchors)).to(device)
        module.anchors = torch.from_numpy(reduced(anchors, self.width)).to(device)

    def start_epoch(self, module: Network, train: VideoSet, moment: Moment) -> None:
        """Set alpha, and draw for every video the four others that it is compared with."""
        module.alpha.fill_(math.sqrt(moment.epoch + 1))
        rng, tags = moment.rng("quintuples"), SimilarityTags(module.near.cpu().numpy())
        others, similar = quintuples(tags, rng)
        module.others = torch.from_numpy(others).to(moment.ctx.device)
        module.similar = torch.from_numpy(similar).to(moment.ctx.device)

    def inputs(self, module: Network, train: VideoSet, moment: Moment) -> VideoSet:
        """Return each video's frames with those of the four others after its own."""
        return train.joined(module.others.cpu().numpy())

    def loss(self, module: Network, videos: torch.Tensor, moment: Moment) -> dict[str, torch.Tensor]:
        """Return the four terms of the loss."""
        dtype = module.project.weight.dtype
        projected = functional.linear(videos, module.project.weight).to(dtype)
        five = list(projected.chunk(VIDEOS, 1))
        five[:2] = corrupted_pair(five[0], five[1])
        encoded = [module.encode(frames) for frames in five]
        with torch.autocast(videos.device.type, enabled=False):
            return self.terms(module, encoded, moment.rows)

    def terms(self, module: Network, encoded: list[torch.Tensor], rows: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the terms of the loss of what the network made of five videos each."""
        item, pair, similar, *dissimilar = (module.steep_mean(x) for x in encoded)
        both = torch.stack([rows, module.others[rows, 0]], 1)
        latents = torch.stack([x.mean(1) for x in encoded[:2]], 1)
        parts = {
            "anchor": self.anchor_weight * anchor_loss(latents, module.anchors[module.near[both, 0]]),
            "pairwise": self.pairwise_weight * neighbour_loss(torch.stack([item, pair], 1), module.similar[rows]),
            "margin": self.margin_weight * margins(item, similar, dissimilar[0], dissimilar[1]),
        }
        values = torch.stack([item, pair])
        values = values.detach() if self.quantization == "released" else values
        error = 2 * (values - sign(values).detach()).square().mean()  # of both videos
        return {**parts, "quantization": self.quantization_weight * error}

    def codes(self, module: Network, videos: torch.Tensor) -> torch.Tensor:
        """Return the signs of the mean of the frames' steep bits."""
        projected = functional.linear(videos, module.project.weight)
        return module.steep_mean(module.encode(projected)) >= 0


def reduced(anchors: np.ndarray, width: int) -> np.ndarray:
    """Return the anchors' first principal components, about the anchors' mean: float32, shape (anchors, width).

    Args:
        anchors: float32, shape (anchors, dim).
        width: how many; zeros where there are not so many.
    """
    scores, mean = np.zeros((len(anchors), width), dtype=np.float32), mean_of(anchors)
    count = min(width, len(anchors) - 1, anchors.shape[1])
    if count:
        scores[:, :count] = (anchors - mean) @ principal_components(anchors, mean, count)
    return scores


def quintuples(tags: SimilarityTags, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw for every video a partner, a similar video and two dissimilar ones.

    The second dissimilar video is drawn once more where it is similar to the first (released).

    Returns:
        Positions of these four, int64, shape (videos, 4); +1 for similar and -1 for dissimilar partners, float32.
    """
    rows = np.arange(len(tags.nearest))
    partners, similar = tags.pairs(rng)
    drawn = [partners, tags.similar(rows, rng)]
    for _ in range(2):
        apart = tags.dissimilar(rows, rng)
        drawn.append(np.where(apart < 0, rng.integers(len(rows), size=len(rows)), apart))
    again = np.flatnonzero(tags.tags(drawn[2], drawn[3]) == SIMILAR)
    apart = tags.dissimilar(again, rng)
    drawn[3][again] = np.where(apart < 0, drawn[3][again], apart)
    return np.stack(drawn, 1), similar


def corrupted_pair(item: torch.Tensor, pair: torch.Tensor) -> list[torch.Tensor]:
    """Corrupt the frames of two batches of videos, each (batch, frames, width), after a linear map without bias.

    Corruption moves whole frames or makes them 0, so it commutes with the map and need not copy their features.
    """
    both = torch.cat([item, pair])
    videos, frames, _ = both.shape
    return list(draw_corruption(videos, frames, both.device).apply(both).chunk(2))


def margins(item: torch.Tensor, similar: torch.Tensor, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Return how far distances of dissimilar videos fall short of those of similar ones and a margin, on average.

    Args:
        item: h_i, shape (batch, bits).
        similar: h_p of a similar video, same shape, and
        one: h_q of a dissimilar one, and
        other: h_r of another.
    """
    bits = item.shape[1]
    pairs = (item, similar), (item, one), (one, other)
    near, far, apart = (functional.pairwise_distance(x, y).square() for x, y in pairs)
    first, second = (
        (share * bits + near - distance).relu() for share, distance in zip(MARGINS, (far, apart), strict=True)
    )
    return (first + second).mean()


class Network(nn.Module):
    """Projection of frames, the mixer layer, and the linear map to the bits of frames.

    Attributes:
        alpha: how steep tanh is, a number.
        near: each training video's nearest anchors, int64, shape (videos, 5).
        anchors: reduced to the width, float32, shape (anchors, width).
        others: what each training video is compared with in this epoch, int64, shape (videos, 4).
        similar: +1 or -1 for the first of these, float32, shape (videos,).
    """

    alpha: torch.Tensor
    near: torch.Tensor
    anchors: torch.Tensor
    others: torch.Tensor
    similar: torch.Tensor

    def __init__(self, frames: int, dim: int, width: int, bits: int, squeeze: int, dropout: float):
        super().__init__()
        self.project = nn.Linear(dim, width)
        squeezed = width // squeeze
        self.tokens = Mixer(frames, width, frames // TOKEN_SQUEEZE, 1, dropout)
        self.channels = Mixer(width, frames, squeezed, squeezed, dropout)
        self.last = Context(width, frames, squeezed, squeezed)
        self.binary = nn.Linear(width, bits)
        self.register_buffer("alpha", torch.ones(()))
        for name, dtype in (("near", torch.int64), ("anchors", None), ("others", torch.int64), ("similar", None)):
            self.register_buffer(name, torch.empty(0, dtype=dtype), persistent=False)

    def encode(self, projected: torch.Tensor) -> torch.Tensor:
        """Map `project`'s output without its bias, (batch, frames, width), to e of the same shape."""
        x = self.tokens((projected + self.project.bias).relu())
        encoded: torch.Tensor = self.last(self.channels(x.transpose(1, 2)))
        return encoded.transpose(1, 2)

    def steep_mean(self, encoded: torch.Tensor) -> torch.Tensor:
        """Map e to h, (batch, bits), the mean of tanh(alpha y_t) over frames."""
        bits: torch.Tensor = self.binary(encoded)
        return (self.alpha * bits).tanh().mean(1)
