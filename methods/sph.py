"""SpH: one sphere a bit, which says whether a video's mean frame lies inside.

Heo, Lee, He, Chang, Yoon: Spherical Hashing, IEEE Conference on Computer Vision and Pattern Recognition, 2012.
"""

from __future__ import annotations

from typing import Self

import numpy as np

from vhbench.errors import MethodError
from vhbench.method import FitContext, Method
from vhbench.methods.projection import centred, mean_of
from vhbench.videos import VideoSet

SAMPLE = 10_000  # training videos that the spheres are fitted to


class SpH(Method):
    """Spherical hashing: spheres that each hold half of the videos, and each two a quarter (2012).

    The centres (pivots) start at means of a few training videos. Each radius makes its sphere hold half of the videos.
    Then two spheres that share more than a quarter of the videos push their pivots apart, two that share less pull them
    together, until on average all pairs share about a quarter: bits are balanced, and independent in pairs.

    Differences from the paper, and why:

    - A video is the mean of its frames, as for every shallow method here.
    - Codes are ranked by the Hamming distance, as those of every method here; the paper's spherical Hamming distance
      divides it by the number of spheres that hold both videos.
    - A radius lies midway between the videos of ranks n/2 and n/2 + 1, so that rounding moves none across.
    - The spheres are fitted to at most 10,000 training videos, drawn at random.
    - The paper's text was not at hand, and the rules are not checked against it. The start matters: on 14 classes of
      UCF101, pivots that start at single videos stay far out, where a video's norm decides several bits at once.

    Args:
        bits: code length k, one sphere a bit; at most the training videos.
        start_videos: training videos whose mean a pivot starts at, at most half of them (several in the journal
            version, IEEE Transactions on Pattern Analysis and Machine Intelligence 2015; how many is not checked).
        overlap_tolerance: how far the mean number of videos in two spheres may be off a quarter, as a share of it (.1).
        spread_tolerance: how large the standard deviation of these numbers may be, likewise (.15).
        iterations: updates of the pivots at most (this project's choice).
    """

    name = "sph"
    reference = "Heo, Lee, He, Chang, Yoon, CVPR 2012"

    def __init__(
        self,
        bits: int,
        *,
        start_videos: int = 5,
        overlap_tolerance: float = 0.1,
        spread_tolerance: float = 0.15,
        iterations: int = 100,
    ):
        self.bits = bits
        self.start_videos = start_videos
        self.overlap_tolerance = overlap_tolerance
        self.spread_tolerance = spread_tolerance
        self.iterations = iterations

    def fit(self, train: VideoSet, ctx: FitContext) -> Self:
        """Move the pivots until their spheres are balanced and independent in pairs; see `Method.fit`."""
        rng = ctx.rng("pivots")
        rows = np.sort(rng.permutation(len(train))[:SAMPLE])
        means = train.subset(rows).mean_frames()
        self.mean_ = mean_of(means)
        if self.bits > len(means):
            raise MethodError(
                f"sph needs at least as many training videos as bits: {self.bits} were asked for, and there are "
                f"{len(means)} videos."
            )
        if self.start_videos < 1:
            raise MethodError(f"sph starts a pivot at 1 training video or more; start_videos is {self.start_videos}.")
        points = means - self.mean_
        few = min(self.start_videos, max(1, len(points) // 2))
        starts = np.stack([points[rng.permutation(len(points))[:few]].mean(axis=0) for _ in range(self.bits)])
        tolerances = (self.overlap_tolerance, self.spread_tolerance)
        self.pivots_ = move_pivots(points, starts, tolerances, self.iterations)
        self.squared_radii_ = halving(squared_distances(points, self.pivots_))
        return self

    def encode(self, videos: VideoSet) -> np.ndarray:
        """Return for each sphere whether the video lies inside; see `Method.encode`."""
        self.check_fitted()
        means = videos.mean_frames()
        if means.shape[1] != len(self.mean_):
            raise MethodError(f"Learnt from features of {len(self.mean_)} dimensions; these have {means.shape[1]}.")
        codes = [squared_distances(block, self.pivots_) <= self.squared_radii_ for block in centred(means, self.mean_)]
        return np.concatenate([np.empty((0, self.bits), dtype=bool), *codes])

    def operations(self, frames: int, dim: int) -> tuple[float, float]:
        """Means, distances at first and at last, all updates that may be; see `cost.StatesOperations`."""
        distances = frames * dim + 2 * dim * self.bits
        return distances + 2 * dim * self.bits + self.iterations * 4 * self.bits**2, distances


def move_pivots(points: np.ndarray, starts: np.ndarray, tolerances: tuple[float, float], iterations: int) -> np.ndarray:
    """Return pivots whose spheres, each with half of the points, share about a quarter in pairs.

    A pivot moves along differences of pivots, so that all of them stay linear combinations of where they started: only
    their coefficients are kept, and distances come from the points' products with the starts.

    Args:
        points: float64, shape (n, dim), roughly centred.
        starts: the pivots at first, float64, shape (bits, dim).
        tolerances: how far the mean overlap may be off n/4, and its standard deviation, both as shares of n/4.
        iterations: updates at most.

    Returns:
        float64, shape (bits, dim).
    """
    bits, quarter = len(starts), len(points) / 4
    with_starts, between_starts = points @ starts.T, starts @ starts.T
    sizes = np.einsum("ij,ij->i", points, points)
    mix = np.eye(bits)
    pairs = np.triu_indices(bits, 1)
    for _ in range(iterations if bits > 1 else 0):
        own = np.einsum("ij,jk,ik->i", mix, between_starts, mix)
        squared = sizes[:, None] - 2 * (with_starts @ mix.T) + own
        inside = (squared <= halving(squared)).astype(np.float64)
        shared = inside.T @ inside
        off = np.abs(shared[pairs] - quarter).mean() / quarter, shared[pairs].std() / quarter
        if off[0] <= tolerances[0] and off[1] <= tolerances[1]:
            break
        push = (shared - quarter) / quarter / (2 * bits)
        np.fill_diagonal(push, 0)
        mix = mix + push.sum(axis=1)[:, None] * mix - push @ mix
    moved: np.ndarray = mix @ starts
    return moved


def halving(squared: np.ndarray) -> np.ndarray:
    """Return the squared radii at which each sphere holds half of the points, shape (bits,).

    Args:
        squared: distances of points to pivots, squared, shape (n, bits).
    """
    half = max(1, len(squared) // 2)
    ranked = np.partition(squared, (half - 1, min(half, len(squared) - 1)), axis=0)
    radii: np.ndarray = (ranked[half - 1] + ranked[min(half, len(squared) - 1)]) / 2
    return radii


def squared_distances(points: np.ndarray, pivots: np.ndarray) -> np.ndarray:
    """Return squared Euclidean distances, float64, shape (n, bits), of points (n, dim) to pivots (bits, dim)."""
    squared: np.ndarray = points @ (-2 * pivots.T)
    squared += np.einsum("ij,ij->i", points, points)[:, None]
    squared += np.einsum("ij,ij->i", pivots, pivots)
    return squared
