"""K-means by Lloyd's rounds from given centres, on the points' own device.

`anchors.k_means` is scikit-learn's, from k-means++: for methods whose programs neither choose how to start nor drop
clusters.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

BLOCK = 8192  # points whose distances are computed, or which are added up in float64, at a time


class Clustering(NamedTuple):
    """What k-means found.

    Attributes:
        centres: shape (clusters, width).
        labels: each point's nearest centre, int64, shape (points,).
        squared: its squared distance to it, shape (points,).
    """

    centres: torch.Tensor
    labels: torch.Tensor
    squared: torch.Tensor


def lloyd(points: torch.Tensor, centres: torch.Tensor, rounds: int, *, keep_empty: bool = True) -> Clustering:
    """Return centres after up to so many rounds, each point's nearest and its squared distance to it.

    Args:
        points: shape (n, width).
        centres: to start from, shape (clusters, width).
        rounds: at most; less where no point changes its centre.
        keep_empty: a centre that loses all its points stays where it is, instead of being dropped.
    """
    labels, squared = nearest(points, centres)
    for _ in range(rounds):
        size = torch.bincount(labels, minlength=len(centres)).unsqueeze(1)
        sums = torch.zeros_like(centres, dtype=torch.float64)
        for block, own in zip(torch.split(points, BLOCK), torch.split(labels, BLOCK), strict=True):
            sums.index_add_(0, own, block.double())
        means = (sums / size.clamp_min(1)).to(centres.dtype)
        if keep_empty:
            centres = torch.where(size > 0, means, centres)
        else:
            centres, labels = means[size[:, 0] > 0], (size[:, 0] > 0).cumsum(0)[labels] - 1
        before = labels
        labels, squared = nearest(points, centres)
        if torch.equal(labels, before):
            break
    return Clustering(centres, labels, squared)


def nearest(points: torch.Tensor, centres: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the position of each point's nearest centre, int64, and the squared distance to it, both (points,)."""
    parts = []
    for block in torch.split(points, BLOCK):
        least = torch.addmm(centres.square().sum(1), block, centres.T, alpha=-2).min(1)
        parts.append((least.indices, least.values + block.square().sum(1)))
    labels, squared = (torch.cat(part) for part in zip(*parts, strict=True))
    return labels, squared.clamp_min(0)
