"""DKPH: one stream for a video's code and one for what changes in time, which both serve the reconstruction.

Li, Xie, Ge, Zhang, Min, Zhang: Dual-Stream Knowledge-Preserving Hashing for Unsupervised Video Retrieval,
ECCV 2022. "Released" below means the authors' program, which the forms and constants are taken from.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import nn

from vhbench.methods.anchored_pairs import AnchoredPairs, Pairs, anchor_loss, neighbour_loss
from vhbench.methods.bert import Encoder, mean_squared_error
from vhbench.methods.two_views import frame_sign


class DKPH(AnchoredPairs):
    """Two streams behind BTH's Transformer: a video's code and real-valued states of its frames (2022).

    The hidden states h_t of all frames together give the code b; each h_t gives u_t, which has no sign; a linear
    read-out rebuilds frame t from b + u_t. As in BTH (`bth`), anchors and pairs come from a first training, which is
    BTH's. The second one minimises

        Lrec + .11 mean (s - <b_i, b_j> / k)^2 + .9 (Lanc + .1 Ltri)

    where Lanc is BTH's term of anchors, and Ltri the triplet loss max(|h - w a_i| - |h - w a_j| + .5, 0) of h = mean
    h_i, with w = (1 - s) / 2: for similar pairs it is the constant .5.

    Differences from the paper and from the released program, and why:

    - The paper reconstructs clean frames; in the released program the target is corrupted as well, and published
      numbers were made so: the default. `target="described"` is the paper's.
    - The released program also encodes queries and database with dropout, which its evaluation never turns off; here
      a video has one code, without dropout.
    - The released anchors and tags are BTH's. Here the network finds its own: as BTH, by a read-out of the signs of
      u_t, before all weights are drawn anew.
    - Corruption, partners and anchors as in `bth`.

    Args:
        bits: code length k.
        epochs: passes over the training set in the second training (released: 0 to 48).
        stage1_epochs: passes in the first training (BTH's 56).
        batch_size: videos a step, each with a partner in the second training (released).
        lr: Adam's learning rate, times .9 every 20 epochs, at least 1e-4 (released).
        weight_decay: L2 term of Adam (released: its option's value is not used, so 0).
        width: of the hidden states (released); the feed-forward layer has 4 times as many units.
        blocks: of the encoder (released).
        heads: of its attention (released).
        dropout: rate (released).
        anchors: most anchors (released).
        pairwise_weight: of the pairs' term (released).
        temporal_weight: of the anchors' and the triplets' term together (released).
        triplet_weight: of the triplets within it (released).
        margin: of the triplets (released).
        target: what is reconstructed, "released" or "described", see above.
    """

    name = "dkph"
    reference = "Li, Xie, Ge, Zhang, Min, Zhang, ECCV 2022"
    presets: ClassVar[dict[str, dict[str, Any]]] = {"fcvid": {}}  # the released program's only settings

    def __init__(
        self,
        bits: int,
        *,
        epochs: int = 49,
        stage1_epochs: int = 56,
        batch_size: int = 256,
        lr: float = 3e-4,
        weight_decay: float = 0.0,
        width: int = 256,
        blocks: int = 1,
        heads: int = 1,
        dropout: float = 0.1,
        anchors: int = 2000,
        pairwise_weight: float = 0.11,
        temporal_weight: float = 0.9,
        triplet_weight: float = 0.1,
        margin: float = 0.5,
        target: str = "released",
    ):
        self.bits = bits
        self.epochs = epochs
        self.stage1_epochs = stage1_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.weight_decay = weight_decay
        self.width = width
        self.blocks = blocks
        self.heads = heads
        self.dropout = dropout
        self.anchors = anchors
        self.pairwise_weight = pairwise_weight
        self.temporal_weight = temporal_weight
        self.triplet_weight = triplet_weight
        self.margin = margin
        self.target = target

    def build(self, frames: int, dim: int) -> nn.Module:
        """Return the encoder, both streams and the read-out."""
        encoder = Encoder(frames, dim, self.width, self.blocks, self.heads, self.dropout)
        return Network(self.bits, frames, encoder)

    def pair_loss(
        self, module: Network, target: torch.Tensor, hidden: torch.Tensor, pairs: Pairs
    ) -> dict[str, torch.Tensor]:
        """Return the four terms of the second training."""
        codes = frame_sign(module.logits(hidden))
        states = codes.unsqueeze(1) + module.changes(hidden)
        latents = hidden.mean(1).view(-1, 2, self.width)
        apart = (1 - pairs.similar[:, None, None]) / 2
        own, other = (apart * pairs.anchors).unbind(1)
        triplet = nn.functional.triplet_margin_loss(latents[:, 0], own, other, margin=self.margin)
        return {
            "recon": mean_squared_error(target, states, module.read_out),
            "pairwise": self.pairwise_weight * neighbour_loss(codes.view(-1, 2, self.bits), pairs.similar),
            "anchor": self.temporal_weight * anchor_loss(latents, pairs.anchors),
            "triplet": self.temporal_weight * self.triplet_weight * triplet,
        }

    def codes(self, module: Network, videos: torch.Tensor) -> torch.Tensor:
        """Return the signs of the first stream as bool."""
        return module.logits(module.encoder(videos)) >= 0


class Network(nn.Module):
    """Encoder, the stream of the code, the stream of what changes in time, and a linear read-out of frames."""

    def __init__(self, bits: int, frames: int, encoder: Encoder):
        super().__init__()
        self.encoder = encoder
        width, dim = encoder.frame_map.out_features, encoder.frame_map.in_features
        self.hash = nn.Linear(frames * width, bits)
        self.temporal = nn.Linear(width, bits)
        self.read_out = nn.Linear(bits, dim)

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Map hidden states (batch, frames, width) to what the code is the sign of, (batch, bits)."""
        return self.hash(hidden.flatten(1)).to(hidden.dtype)  # type: ignore[no-any-return]

    def changes(self, hidden: torch.Tensor) -> torch.Tensor:
        """Map hidden states to u, (batch, frames, bits)."""
        return self.temporal(hidden).to(hidden.dtype)  # type: ignore[no-any-return]

    def frame_states(self, hidden: torch.Tensor) -> torch.Tensor:
        """Map hidden states to the codes of frames from which the first training rebuilds them: the signs of u."""
        return frame_sign(self.changes(hidden))
