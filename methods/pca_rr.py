"""PCA-RR: principal components of a video's mean frame, rotated at random.

Gong, Lazebnik, Gordo, Perronnin: Iterative Quantization: A Procrustean Approach to Learning Binary Codes for
Large-Scale Image Retrieval, IEEE Transactions on Pattern Analysis and Machine Intelligence 35 (12), 2013, where it is a
baseline; after Jégou, Douze, Schmid, Pérez, CVPR 2010.
"""

from __future__ import annotations

from typing import Self

import numpy as np

from vhbench.method import FitContext, Method, Tags
from vhbench.methods.components import mean_frames_and_components
from vhbench.methods.projection import project
from vhbench.videos import VideoSet


class PCARR(Method):
    """PCA and a random rotation: the variance of the principal components spread evenly over the bits (2013).

    What ITQ gains over it is what the learnt rotation gives; what it gains over PCA hashing is what equal variances
    give. At the same seed the rotation is the one that ITQ starts from.

    Differences from the paper, and why:

    - A video is the mean of its frames, as for every shallow method here.

    Args:
        bits: code length k; at most the feature size, and less than the training videos.
    """

    name = "pca-rr"
    reference = "Gong, Lazebnik, Gordo, Perronnin, IEEE Transactions on Pattern Analysis and Machine Intelligence 2013"
    tags = Tags(bits_within_dim=True)

    def __init__(self, bits: int):
        self.bits = bits

    def fit(self, train: VideoSet, ctx: FitContext) -> Self:
        """Find the principal components and draw their rotation; see `Method.fit`."""
        _, self.mean_, components = mean_frames_and_components(train, self.bits)
        rotation, _, _ = np.linalg.svd(ctx.rng("rotation").standard_normal((self.bits, self.bits)))
        self.directions_ = components @ rotation
        return self

    def encode(self, videos: VideoSet) -> np.ndarray:
        """Return the signs of the rotated components; see `Method.encode`."""
        self.check_fitted()
        return project(videos.mean_frames(), self.mean_, self.directions_) >= 0

    def operations(self, frames: int, dim: int) -> tuple[float, float]:
        """Means and the scatter matrix; encoding projects; see `cost.StatesOperations`."""
        return frames * dim + dim**2, frames * dim + 2 * dim * self.bits
