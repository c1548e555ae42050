"""What hashing from two masked views of a video shares: the views, the sign of frames, and the contrastive loss.

ConMH (AAAI 2023) put them together; S5VH, AutoSSVH and WSCH learn from the same three. The rules are those of the codes
released with these papers.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch


class View(NamedTuple):
    """Which frames of each video a view sees; positions ascend, so time runs forwards.

    Attributes:
        visible: int64, shape (batch, frames seen).
        hidden: int64, shape (batch, other frames).
    """

    visible: torch.Tensor
    hidden: torch.Tensor

    def seen(self, x: torch.Tensor) -> torch.Tensor:
        """Return the rows of x, (batch, frames, width), that the view sees: (batch, frames seen, width)."""
        return x.gather(1, self.visible.unsqueeze(2).expand(-1, -1, x.shape[2]))

    def missed(self, x: torch.Tensor) -> torch.Tensor:
        """Return the rows of x, (batch, frames, width), that the view does not see: (batch, other frames, width)."""
        return x.gather(1, self.hidden.unsqueeze(2).expand(-1, -1, x.shape[2]))


def two_views(batch: int, frames: int, mask_ratio: float, device: torch.device | str = "cpu") -> tuple[View, View]:
    """Draw two views of each video from torch's global generator: the first and the last frames of a random order.

    A view misses int(mask_ratio * frames) frames; the two are disjoint where that is at least half of the frames.

    Args:
        batch: videos.
        frames: frames a video (m).
        mask_ratio: share of the frames that a view does not see, in [0, 1).
        device: where the positions lie.
    """
    return views_of(torch.rand(batch, frames, device=device).argsort(1), mask_ratio)


def views_of(order: torch.Tensor, mask_ratio: float) -> tuple[View, View]:
    """Return the two views that orders of the frames, int64 (batch, frames), stand for; see `two_views`."""
    frames = order.shape[1]
    missed = int(mask_ratio * frames)
    return (
        View(order[:, : frames - missed].sort(1).values, order[:, frames - missed :].sort(1).values),
        View(order[:, missed:].sort(1).values, order[:, :missed].sort(1).values),
    )


class _FrameSign(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return 2 * ((x + 1) / 2).clamp(0, 1).round() - 1

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> torch.Tensor:
        x: torch.Tensor = ctx.saved_tensors[0]
        return grads[0] * ((x > -1) & (x <= 1))


def frame_sign(x: torch.Tensor) -> torch.Tensor:
    """Return -1 or +1 in x's dtype, with 0 -> -1; the gradient passes where -1 < x <= 1, as in the released codes.

    `layers.sign_ste` is UVVH's, which has +1 at 0 and passes the gradient at -1 too.
    """
    return _FrameSign.apply(x)  # type: ignore[no-any-return, no-untyped-call]


def video_code(codes: torch.Tensor) -> torch.Tensor:
    """Return the vote of the frames' codes, (batch, frames, bits) of -1 and +1, as bool (batch, bits); a tie is +1.

    The released programs take sign(mean), which leaves a 0 where an even number of frames is tied; such a code is not
    binary, and its distance to itself is not 0.
    """
    return codes.sum(1) >= 0


def debiased_contrastive(u: torch.Tensor, v: torch.Tensor, temperature: float, tau: float) -> torch.Tensor:
    """Return the debiased contrastive loss of two views (Chuang et al., NeurIPS 2020), a scalar in u's dtype.

    Each of the 2 B vectors has its partner as the positive and the 2 B - 2 vectors of other videos as negatives, from
    whose sum the share tau that is expected to be of its own class is taken out.

    Args:
        u: vectors of one view of each video, shape (batch, width), of any length.
        v: those of the other view.
        temperature: T, by which cosines are divided.
        tau: the share of videos that are expected to be of one class, in [0, 1).
    """
    batch = len(u)
    with torch.autocast(u.device.type, enabled=False):
        both = torch.nn.functional.normalize(torch.cat([u, v]), dim=1)
        similar = (both @ both.T / temperature).exp()
        video = torch.arange(batch, device=u.device).repeat(2)
        others = (similar * (video[:, None] != video)).sum(1)
        positive = ((both[:batch] * both[batch:]).sum(1) / temperature).exp().repeat(2)
        count = 2 * batch - 2
        floor = count * math.exp(-1 / temperature)
        negative = ((others - tau * count * positive) / (1 - tau)).clamp_min(floor)
        return -(positive / (positive + negative)).log().mean()
