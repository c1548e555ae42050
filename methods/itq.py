"""ITQ: principal components of a video's mean frame, rotated towards the corners of the binary cube.

Gong, Lazebnik, Gordo, Perronnin: Iterative Quantization: A Procrustean Approach to Learning Binary Codes for
Large-Scale Image Retrieval, IEEE Transactions on Pattern Analysis and Machine Intelligence 35 (12), 2013.
"""

from __future__ import annotations

from typing import Self

import numpy as np

from vhbench.method import FitContext, Method, Tags
from vhbench.methods.components import mean_frames_and_components
from vhbench.methods.projection import project
from vhbench.videos import VideoSet


class ITQ(Method):
    """Iterative quantization: principal components rotated to fit their signs (2013).

    Differences from the paper, and why:

    - A video is the mean of its frames (Li et al., UVVH, IV-D).
    - Centred by the mean of the training videos alone; some released code takes the mean of training and test videos.
    - Exactly `iterations` updates of the rotation; the authors' code runs one more.

    The seed acts through the first rotation only.

    Args:
        bits: code length k; at most the feature size, and less than the training videos.
        iterations: updates of codes and rotation (50 in the paper).
    """

    name = "itq"
    reference = "Gong, Lazebnik, Gordo, Perronnin, IEEE Transactions on Pattern Analysis and Machine Intelligence 2013"
    tags = Tags(bits_within_dim=True)

    def __init__(self, bits: int, *, iterations: int = 50):
        self.bits = bits
        self.iterations = iterations

    def fit(self, train: VideoSet, ctx: FitContext) -> Self:
        """Find the principal components and their rotation; see `Method.fit`."""
        means, self.mean_, components = mean_frames_and_components(train, self.bits)
        projected = project(means, self.mean_, components)
        self.directions_ = components @ learn_rotation(projected, self.iterations, ctx.rng("rotation"))
        return self

    def encode(self, videos: VideoSet) -> np.ndarray:
        """Return the signs of the rotated components; see `Method.encode`."""
        self.check_fitted()
        return project(videos.mean_frames(), self.mean_, self.directions_) >= 0

    def operations(self, frames: int, dim: int) -> tuple[float, float]:
        """Means, scatter, a projection, two products a rotation; encoding projects; see `cost.StatesOperations`."""
        encode = frames * dim + 2 * dim * self.bits
        return encode + dim**2 + self.iterations * 4 * self.bits**2, encode


def learn_rotation(projected: np.ndarray, iterations: int, rng: np.random.Generator) -> np.ndarray:
    """Return the orthogonal R that ITQ reaches; ||sign(V R) - V R|| in the Frobenius norm falls with each iteration.

    Args:
        projected: V, centred and projected training videos, float64, shape (videos, bits).
        iterations: updates, each of the codes and then of the rotation by orthogonal Procrustes.
        rng: draws the first rotation, the left singular vectors of a standard normal matrix.

    Returns:
        float64, shape (bits, bits).
    """
    bits = projected.shape[1]
    rotation, _, _ = np.linalg.svd(rng.standard_normal((bits, bits)))
    for _ in range(iterations):
        codes = 2.0 * (projected @ rotation >= 0) - 1
        left, _, right = np.linalg.svd(codes.T @ projected)
        rotation = right.T @ left.T
    return rotation
