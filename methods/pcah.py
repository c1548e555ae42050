"""PCAH: signs of the principal components of a video's mean frame.

Wang, Kumar, Chang: Semi-Supervised Hashing for Large-Scale Search, IEEE Transactions on Pattern Analysis and Machine
Intelligence 34 (12), 2012, where it is the unsupervised baseline.
"""

from __future__ import annotations

from typing import Self

import numpy as np

from vhbench.method import FitContext, Method, Tags
from vhbench.methods.components import mean_frames_and_components
from vhbench.methods.projection import project
from vhbench.videos import VideoSet


class PCAH(Method):
    """PCA hashing: signs of the first principal components of the centred mean frame (2012).

    Every bit counts alike although the variance falls from one to the next, so longer codes can retrieve worse. It has
    no randomness: all seeds give the same codes.

    Differences from the paper, and why:

    - A video is the mean of its frames, as for every shallow method here.

    Args:
        bits: code length k, one component a bit; at most the feature size, and less than the training videos.
    """

    name = "pcah"
    reference = "Wang, Kumar, Chang, IEEE Transactions on Pattern Analysis and Machine Intelligence 2012"
    tags = Tags(bits_within_dim=True)

    def __init__(self, bits: int):
        self.bits = bits

    @property
    def nested(self) -> bool:
        """Components come in the same order whatever their number."""
        return True

    def fit(self, train: VideoSet, ctx: FitContext) -> Self:
        """Find the principal components; see `Method.fit`."""
        _, self.mean_, self.directions_ = mean_frames_and_components(train, self.bits)
        return self

    def encode(self, videos: VideoSet) -> np.ndarray:
        """Return the signs of the components; see `Method.encode`."""
        self.check_fitted()
        return project(videos.mean_frames(), self.mean_, self.directions_) >= 0

    def operations(self, frames: int, dim: int) -> tuple[float, float]:
        """Means and the scatter matrix; encoding projects; see `cost.StatesOperations`."""
        return frames * dim + dim**2, frames * dim + 2 * dim * self.bits
