"""P2Set hash voting: a view's code is pulled towards the cluster of its video, at several numbers of clusters at once.

AutoSSVH (`vhbench.methods.autossvh`) has it, in the form of prototypical contrastive learning (Li, Zhou, Xiong, Hoi:
Prototypical Contrastive Learning of Unsupervised Representations, ICLR 2021). "Released" means AutoSSVH's program.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from vhbench.methods.lloyd import Clustering, lloyd

ITERATIONS, RESTARTS = 20, 5  # of k-means (released)
MEAN_TEMPERATURE = 0.2  # of a set of clusters (released)
LEAST_TEMPERATURE = 0.02  # this project's choice: clusters of equal codes have 0 in the released rule, which divides
SMOOTHING = 10  # added to a cluster's videos in the logarithm (released)


class Clusters(nn.Module):
    """One set of clusters of the training videos, and the loss that pulls codes towards them.

    All state is in non-persistent buffers.

    Args:
        videos: training videos.
        count: clusters.
        bits: code length k.
    """

    centres: torch.Tensor
    temperatures: torch.Tensor
    labels: torch.Tensor

    def __init__(self, videos: int, count: int, bits: int):
        super().__init__()
        self.register_buffer("centres", torch.zeros(count, bits), persistent=False)
        self.register_buffer("temperatures", torch.ones(count), persistent=False)
        self.register_buffer("labels", torch.zeros(videos, dtype=torch.int64), persistent=False)

    @torch.no_grad()
    def learn(self, points: torch.Tensor, rng: np.random.Generator) -> None:
        """Cluster the training videos anew.

        Args:
            points: their normalised mean codes, shape (videos, bits).
            rng: draws where k-means starts.
        """
        self.take(k_means(points, len(self.centres), rng))

    def take(self, found: Clustering) -> None:
        """Take over what k-means found: centres of length 1, each with its temperature."""
        self.centres.copy_(nn.functional.normalize(found.centres, dim=1))
        self.temperatures.copy_(temperatures(found.labels, found.squared, len(found.centres)))
        self.labels.copy_(found.labels)

    def forward(self, codes: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Return the mean of -log(p / (p + n)), a scalar, with exp(cosine / temperature) of a code and a centre.

        p is that of the video's own cluster. n sums over the clusters of the batch's other videos, each as often as it
        occurs, its own too where a second video has it, and over as many other clusters as the batch has videos, drawn
        anew for each call, or all where there are fewer (released).

        Args:
            codes: of length 1, shape (batch, bits).
            rows: the videos' positions in the training set, int64, shape (batch,).
        """
        labels = self.labels[rows]
        times = (labels[:, None] == torch.arange(len(self.centres), device=labels.device)).sum(0)
        logits = codes @ self.centres.T / self.temperatures
        summed = torch.logsumexp(logits + (times + self.others(times, len(rows))).to(logits.dtype).log(), 1)
        return (summed - logits.gather(1, labels[:, None])[:, 0]).mean()

    def others(self, times: torch.Tensor, size: int) -> torch.Tensor:
        """Return 1 for each of up to `size` drawn clusters without a video of the batch, 0 for the rest.

        Args:
            times: videos of the batch in each cluster, shape (clusters,).
            size: clusters to draw.
        """
        order = torch.rand(len(times), device=times.device).masked_fill(times > 0, -1.0)
        drawn = order.topk(min(size, len(times))).indices
        return torch.zeros_like(times).scatter(0, drawn, 1) * (times == 0)


def temperatures(labels: torch.Tensor, squared: torch.Tensor, count: int) -> torch.Tensor:
    """Return each cluster's temperature: the wider it is and the fewer its videos, the higher.

    That is the mean distance to the centre over log(videos + 10); clusters of at most one video get the greatest of
    these; all are then clipped to the 10th and 90th percentile, and scaled to a mean of .2 (released).

    Args:
        labels: of the points, int64, shape (points,).
        squared: their squared distances to their centres, shape (points,).
        count: clusters.
    """
    videos = torch.bincount(labels, minlength=count)
    summed = torch.zeros(count, dtype=torch.float64, device=labels.device)
    summed.index_add_(0, labels, squared.double().clamp_min(0).sqrt())
    wide = summed / videos.clamp_min(1) / (videos + SMOOTHING).double().log()
    wide = torch.where(videos > 1, wide, (wide * (videos > 1)).max())
    low, high = torch.quantile(wide, wide.new_tensor([0.1, 0.9]))
    wide = wide.clamp(low, high)
    mean = wide.mean()
    scaled = torch.where(mean > 0, MEAN_TEMPERATURE * wide / mean, MEAN_TEMPERATURE)
    return scaled.clamp_min(LEAST_TEMPERATURE)


@torch.no_grad()
def k_means(points: torch.Tensor, count: int, rng: np.random.Generator) -> Clustering:
    """Return the best of five runs of Lloyd's algorithm from different points, on the points' own device.

    There, because it is run some thousand times in a training. A centre that loses all its points stays where it is.

    Args:
        points: shape (n, width).
        count: clusters, at most n.
        rng: draws the first centres.
    """
    runs = []
    for _ in range(RESTARTS):
        first = torch.from_numpy(rng.choice(len(points), count, replace=False)).to(points.device)
        runs.append(lloyd(points, points[first], ITERATIONS))
    return runs[int(torch.stack([run.squared.sum() for run in runs]).argmin())]
