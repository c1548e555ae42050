"""The corruption of frames that BTH brought from BERT to videos, and what is then to be reconstructed.

Li, Li, Lu, Zhou (BTH): Self-Supervised Video Hashing via Bidirectional Transformers, CVPR 2021; DKPH, BerVAE and
MCMSH took it over. The rules are those of the codes released with these papers.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from vhbench.methods.forms import check_forms

SHARE = 0.15  # of the frames that are chosen; of these, 80 % become zeros, 10 % another frame, 10 % stay
ZEROED, REPLACED = 0.8 * SHARE, 0.9 * SHARE  # up to which a frame's random number says so


class Corruption(NamedTuple):
    """What becomes of each frame of a batch.

    Attributes:
        source: which frame stands in its place, counted over the batch's videos x frames: int64, (videos, frames).
        kept: 0 where it is zeroed, 1 elsewhere: float32, (videos, frames).
    """

    source: torch.Tensor
    kept: torch.Tensor

    def apply(self, videos: torch.Tensor) -> torch.Tensor:
        """Return a corrupted copy of (videos, frames, dim)."""
        frames = videos.flatten(0, 1).index_select(0, self.source.flatten())
        return frames.mul_(self.kept.to(frames.dtype).view(-1, 1)).view_as(videos)


def draw_corruption(videos: int, frames: int, device: torch.device | str = "cpu") -> Corruption:
    """Draw from torch's global generator which frames of a batch are corrupted, and how.

    A replaced frame becomes any frame of the batch. The released programs take any frame of the training set, which a
    batch is a random part of; reading a whole video for each such frame would cost a third of all reading.

    Args:
        videos: videos of the batch.
        frames: frames a video (m).
        device: where the numbers lie.
    """
    chance = torch.rand(videos, frames, device=device)
    own = torch.arange(videos * frames, device=device).view(videos, frames)
    other = torch.randint(videos * frames, (videos, frames), device=device)
    replaced = (chance >= ZEROED) & (chance < REPLACED)
    return Corruption(torch.where(replaced, other, own), (chance >= ZEROED).float())


def corrupted(videos: torch.Tensor, target: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Corrupt a batch, and return what the network sees and what it is to reconstruct.

    Args:
        videos: shape (videos, frames, dim); it is not changed.
        target: "released": the corrupted frames themselves, one tensor with what the network sees, because the
            programs' loaders corrupt the array that the target is a view of; "described": the clean frames, as the
            papers say.

    Raises:
        MethodError: the target is neither.
    """
    check_forms(target=target)
    seen = draw_corruption(videos.shape[0], videos.shape[1], videos.device).apply(videos)
    return seen, seen if target == "released" else videos
