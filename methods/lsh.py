"""LSH: signs of random projections of a video's mean frame.

Charikar: Similarity Estimation Techniques from Rounding Algorithms, ACM Symposium on Theory of Computing, 2002.
"""

from __future__ import annotations

from typing import Self

import numpy as np

from vhbench.method import FitContext, Method
from vhbench.methods.projection import mean_of, project
from vhbench.videos import VideoSet


class LSH(Method):
    """Random hyperplanes: signs of Gaussian projections of the centred mean frame (2002).

    The probability that two videos differ in a bit is the angle between them divided by pi. It learns nothing but the
    mean, so it is the floor that a learnt method must clear.

    Differences from the paper, and why:

    - A video is the mean of its frames, as for every shallow method here.
    - The training mean is subtracted. Features after a ReLU all lie in one orthant, where angles are small: without
      centring, map@20 of 16, 32, 64 and 128 bits on the 14 classes of UCF101 is .07 to .08 lower.

    Args:
        bits: code length k, one hyperplane a bit.
    """

    name = "lsh"
    reference = "Charikar, STOC 2002"

    def __init__(self, bits: int):
        self.bits = bits

    def fit(self, train: VideoSet, ctx: FitContext) -> Self:
        """Draw the directions and take the training mean; see `Method.fit`."""
        self.mean_ = mean_of(train.mean_frames())
        self.directions_ = ctx.rng("directions").standard_normal((train.dim, self.bits))
        return self

    def encode(self, videos: VideoSet) -> np.ndarray:
        """Return the signs of the projections; see `Method.encode`."""
        self.check_fitted()
        return project(videos.mean_frames(), self.mean_, self.directions_) >= 0

    def operations(self, frames: int, dim: int) -> tuple[float, float]:
        """Means; encoding also projects; see `cost.StatesOperations`."""
        return frames * dim, frames * dim + 2 * dim * self.bits
