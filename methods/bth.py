"""BTH: a bidirectional Transformer that reconstructs corrupted videos and keeps pairs by anchors together or apart.

Li, Li, Lu, Zhou: Self-Supervised Video Hashing via Bidirectional Transformers, CVPR 2021. "Released" below means
the authors' program, which the forms and constants are taken from.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import nn

from vhbench.methods.anchored_pairs import AnchoredPairs, Pairs, anchor_loss, neighbour_loss
from vhbench.methods.bert import Encoder, mean_squared_error
from vhbench.methods.two_views import frame_sign, video_code


class BTH(AnchoredPairs):
    """Bidirectional Transformer on corrupted frames; similar pairs come from anchors of a first training (2021).

    Each frame's hidden state h_t gives a code c_t, from which a linear read-out rebuilds the frame; a video's code is
    the vote of its frames' codes. A first training has the reconstruction alone. Then anchors are clustered among all
    videos' mean hidden states, pairs (i, j) are tagged by the anchors that they share (`similar_pairs`), and a network
    of new weights minimises

        .92 Lrec + .08 mean (s - <mean c_i, mean c_j> / k)^2 + .8 (|mean h_i - a_i|^2 + |mean h_j - a_j|^2) / width

    with s = +1 for similar and -1 for dissimilar pairs and a the anchor nearest to a video. Each epoch draws one
    partner for every video, similar or dissimilar with equal probability.

    Differences from the paper and from the released program, and why:

    - The paper reconstructs clean frames from corrupted ones; in the released program the target is corrupted too, so
      that nothing is denoised, and published numbers were made so: the default. `target="described"` is the paper's.
    - A replaced frame becomes one of the batch; in the released program, one of the whole training set, possibly
      corrupted itself. A partner that is the video itself is corrupted apart from it; there, both are one array.
    - The first training sees single videos, and ends with the released number of epochs; how long the authors' was, and
      on what batches, is not said.
    - The released partners and corruptions may repeat from epoch to epoch, by how old loaders seed; here they do not.
    - Fewer anchors on small sets: at most one to 22 videos, but 10 (`similar_pairs.find_anchors`); the paper has 23.
    - An even number of frames can tie: +1 here, where the released sign is 0, which no binary code has.

    Args:
        bits: code length k.
        epochs: passes over the training set in the second training (released: 0 to 55).
        stage1_epochs: passes in the first training (as many as in the second: this project's choice).
        batch_size: videos a step, each with a partner in the second training (released).
        lr: Adam's learning rate, times .9 every 20 epochs, at least 1e-4 (released).
        weight_decay: L2 term of Adam (released: its option's value is not used, so 0).
        width: of the hidden states (released); the feed-forward layer has 4 times as many units.
        blocks: of the encoder (released).
        heads: of its attention (released).
        dropout: rate (released).
        anchors: most anchors (released).
        recon_weight: of Lrec in the second training (released).
        pairwise_weight: of the pairs' term (released).
        anchor_weight: of the anchors' term (released).
        target: what is reconstructed, "released" or "described", see above.
    """

    name = "bth"
    reference = "Li, Li, Lu, Zhou, CVPR 2021"
    presets: ClassVar[dict[str, dict[str, Any]]] = {"fcvid": {}}  # the released program's only settings

    def __init__(
        self,
        bits: int,
        *,
        epochs: int = 56,
        stage1_epochs: int = 56,
        batch_size: int = 256,
        lr: float = 3e-4,
        weight_decay: float = 0.0,
        width: int = 256,
        blocks: int = 1,
        heads: int = 1,
        dropout: float = 0.1,
        anchors: int = 2000,
        recon_weight: float = 0.92,
        pairwise_weight: float = 0.08,
        anchor_weight: float = 0.8,
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
        self.recon_weight = recon_weight
        self.pairwise_weight = pairwise_weight
        self.anchor_weight = anchor_weight
        self.target = target

    def build(self, frames: int, dim: int) -> nn.Module:
        """Return the encoder and the two linear maps to codes and back."""
        return Network(self.bits, Encoder(frames, dim, self.width, self.blocks, self.heads, self.dropout))

    def pair_loss(
        self, module: Network, target: torch.Tensor, hidden: torch.Tensor, pairs: Pairs
    ) -> dict[str, torch.Tensor]:
        """Return the three terms of the second training."""
        codes = module.frame_states(hidden)
        means = codes.mean(1).view(-1, 2, self.bits)
        latents = hidden.mean(1).view(-1, 2, self.width)
        return {
            "recon": self.recon_weight * mean_squared_error(target, codes, module.read_out),
            "pairwise": self.pairwise_weight * neighbour_loss(means, pairs.similar),
            "anchor": self.anchor_weight * anchor_loss(latents, pairs.anchors),
        }

    def codes(self, module: Network, videos: torch.Tensor) -> torch.Tensor:
        """Return the vote of the frames' codes as bool."""
        return video_code(module.frame_states(module.encoder(videos)))


class Network(nn.Module):
    """Encoder, linear map of its states to logits of frames, and linear read-out of frames from their codes."""

    def __init__(self, bits: int, encoder: Encoder):
        super().__init__()
        self.encoder = encoder
        width, dim = encoder.frame_map.out_features, encoder.frame_map.in_features
        self.binary = nn.Linear(width, bits)
        self.read_out = nn.Linear(bits, dim)

    def frame_states(self, hidden: torch.Tensor) -> torch.Tensor:
        """Map hidden states (batch, frames, width) to codes of frames, -1 and +1, (batch, frames, bits)."""
        return frame_sign(self.binary(hidden).to(hidden.dtype))
