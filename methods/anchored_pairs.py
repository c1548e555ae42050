"""What BTH and DKPH share: a first training that finds anchors, and a second one on pairs drawn by them.

Li, Li, Lu, Zhou (BTH): Self-Supervised Video Hashing via Bidirectional Transformers, CVPR 2021. DKPH: Dual-Stream
Knowledge-Preserving Hashing for Unsupervised Video Retrieval, ECCV 2022.
"""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from vhbench.method import FitContext
from vhbench.methods.bert import mean_squared_error
from vhbench.methods.corruption import corrupted
from vhbench.methods.forms import check_forms
from vhbench.methods.read_out import pack
from vhbench.methods.schedule import decayed
from vhbench.methods.similar_pairs import SimilarityTags, find_anchors, nearest_anchors
from vhbench.training import Moment, NeuralMethod
from vhbench.videos import VideoSet


class Pairs(NamedTuple):
    """What is known of a batch's pairs.

    Attributes:
        similar: s, +1 or -1, shape (pairs,).
        anchors: the anchor next to each video, shape (pairs, 2, width).
    """

    similar: torch.Tensor
    anchors: torch.Tensor


class AnchoredPairs(NeuralMethod):
    """Two trainings; a subclass writes `__init__`, `build`, `codes` and `pair_loss`.

    `build` returns a network with `encoder` (`vhbench.methods.bert.Encoder`), `frame_states`, which maps hidden states
    to the codes of frames, and their linear `read_out`. The first training reconstructs corrupted videos. Then the mean
    hidden states of all videos, by k-means, give the anchors, these the tags of pairs (`similar_pairs`), and new
    weights learn from pairs that are drawn anew in each epoch.

    Attributes:
        stage1_epochs: epochs of the first training; `epochs` counts the second one.
        anchors: anchors asked for.
        target: "released" or "described", see `vhbench.methods.corruption.corrupted`.
    """

    stage1_epochs: int
    anchors: int
    target: str

    @abc.abstractmethod
    def pair_loss(
        self, module: Any, target: torch.Tensor, hidden: torch.Tensor, pairs: Pairs
    ) -> dict[str, torch.Tensor]:
        """Return the terms of the second training's loss.

        Args:
            module: the network, in training mode.
            target: frames to reconstruct, (2 pairs, frames, dim); the two videos of a pair follow each other.
            hidden: of what the encoder made of the corrupted frames, (2 pairs, frames, width).
            pairs: what is known of them.
        """

    def prepare(self, module: Any, train: VideoSet, ctx: FitContext) -> None:
        """Check that the target is known."""
        check_forms(target=self.target)

    def stages(self, epochs: int) -> Sequence[int]:
        """Return the epochs of both trainings; a first one that is asked for has at least one."""
        first = round(self.stage1_epochs * epochs / self.epochs) if self.epochs else self.stage1_epochs
        return max(first, min(self.stage1_epochs, 1)), epochs

    def lr_factor(self, moment: Moment) -> float:
        """Return .9 to the number of whole 20 epochs of the stage, but no rate below 1e-4 (released)."""
        return decayed(self.lr, moment.epoch)

    def start_stage(self, module: Any, train: VideoSet, moment: Moment) -> None:
        """Before the second training, find the anchors and start from new weights."""
        if moment.stage == 0:
            return
        points, device = self._latents(module, train, moment), moment.ctx.device
        anchors = find_anchors(points, self.anchors, moment.ctx.rng("anchors"))
        near = nearest_anchors(points, anchors)
        module.register_buffer("anchors", torch.from_numpy(anchors).to(device), persistent=False)
        module.register_buffer("near", torch.from_numpy(near).to(device), persistent=False)
        module.load_state_dict(self.build(train.frames, train.dim).state_dict())

    def _latents(self, module: Any, train: VideoSet, moment: Moment) -> np.ndarray:
        """Return the mean hidden state of every video, float32, shape (videos, width)."""
        module.eval()
        with torch.no_grad(), moment.autocast():
            batches = train.batches(self.batch_size, device=moment.ctx.device)
            means = [module.encoder(videos).mean(1).cpu().numpy() for videos in batches]
        module.train()
        return np.concatenate(means)

    def start_epoch(self, module: Any, train: VideoSet, moment: Moment) -> None:
        """In the second training, draw a partner for every video."""
        if moment.stage == 0:
            return
        partners, similar = SimilarityTags(module.near.cpu().numpy()).pairs(moment.rng("pairs"))
        device = moment.ctx.device
        module.register_buffer("partners", torch.from_numpy(partners).to(device), persistent=False)
        module.register_buffer("similar", torch.from_numpy(similar).to(device), persistent=False)

    def inputs(self, module: Any, train: VideoSet, moment: Moment) -> VideoSet:
        """Return the videos, and in the second training each with its partner's frames after its own."""
        return train if moment.stage == 0 else train.joined(module.partners.cpu().numpy()[:, None])

    def loss(self, module: Any, videos: torch.Tensor, moment: Moment) -> dict[str, torch.Tensor]:
        """Return the reconstruction of the first training, or the terms of `pair_loss`."""
        if moment.stage == 1:
            videos = videos.reshape(2 * len(videos), -1, videos.shape[2])
        seen, target = corrupted(videos, self.target)
        hidden = module.encoder(pack(seen))
        if moment.stage == 0:
            return {"recon": mean_squared_error(target, module.frame_states(hidden), module.read_out)}
        both = torch.stack([moment.rows, module.partners[moment.rows]], 1)
        anchors = module.anchors[module.near[both, 0]]
        return self.pair_loss(module, target, hidden, Pairs(module.similar[moment.rows], anchors))


def neighbour_loss(codes: torch.Tensor, similar: torch.Tensor) -> torch.Tensor:
    """Return the mean of (s - <b_i, b_j> / k)^2 over pairs.

    Args:
        codes: b, shape (pairs, 2, bits).
        similar: s, +1 or -1, shape (pairs,).
    """
    return (similar - (codes[:, 0] * codes[:, 1]).mean(1)).square().mean()


def anchor_loss(latents: torch.Tensor, anchors: torch.Tensor) -> torch.Tensor:
    """Return the squared distance of both videos of a pair from their anchors, over pairs and dimensions.

    Args:
        latents: mean hidden states, shape (pairs, 2, width).
        anchors: the nearest anchors, shape (pairs, 2, width).
    """
    return 2 * (latents - anchors).square().mean()
