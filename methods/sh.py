"""SH: signs of the smoothest eigenfunctions of a box around the principal components of a video's mean frame.

Weiss, Torralba, Fergus: Spectral Hashing, Advances in Neural Information Processing Systems 21, 2008.
"""

from __future__ import annotations

from typing import Self

import numpy as np

from vhbench.method import FitContext, Method
from vhbench.methods.components import mean_frames_and_components
from vhbench.methods.projection import project
from vhbench.videos import VideoSet


class SH(Method):
    """Spectral hashing: the smoothest sinusoids along the principal components (2008).

    The data are taken to fill a box along their principal components evenly. On a side from a to b, the graph
    Laplacian's eigenfunctions are sin(pi/2 + j pi/(b-a) (x-a)), j = 1, 2, ..., with eigenvalues that grow with
    j/(b-a). The code is the signs of the `bits` smoothest over all sides, so long sides get several bits. It has no
    randomness: all seeds give the same codes.

    The first bits of all components count alike, as in PCA hashing, although later components say little about a video,
    and outliers stretch the box: on 14 classes of UCF101 a quarter of 128 bits is the same for four of five videos, and
    map@20 (.510) is below that of random hyperplanes (.627).

    Differences from the paper, and why:

    - A video is the mean of its frames, as for every shallow method here.
    - The box spans the least and greatest training value of each component, as in the authors' code; the paper leaves
      open how to fit it.
    - A component without variance has no eigenfunction. Where no component has variance, bits are constant.

    Args:
        bits: code length k; min(k, feature size, training videos - 1) components are looked at.
    """

    name = "sh"
    reference = "Weiss, Torralba, Fergus, NIPS 2008"

    def __init__(self, bits: int):
        self.bits = bits

    def fit(self, train: VideoSet, ctx: FitContext) -> Self:
        """Find the principal components, their ranges and the smoothest modes; see `Method.fit`."""
        count = min(self.bits, train.dim, len(train) - 1)
        means, self.mean_, components = mean_frames_and_components(train, count)
        projected = project(means, self.mean_, components)
        low, high = projected.min(axis=0), projected.max(axis=0)
        sides, modes = smoothest_modes(high - low, self.bits)
        self.directions_ = components[:, sides]
        self.starts_ = low[sides]
        widths = (high - low)[sides]
        self.frequencies_ = np.divide(np.pi * modes, widths, out=np.zeros(self.bits), where=widths > 0)
        return self

    def encode(self, videos: VideoSet) -> np.ndarray:
        """Return the signs of the eigenfunctions; see `Method.encode`."""
        self.check_fitted()
        values = project(videos.mean_frames(), self.mean_, self.directions_)
        codes: np.ndarray = np.sin(np.pi / 2 + self.frequencies_ * (values - self.starts_)) >= 0
        return codes

    def operations(self, frames: int, dim: int) -> tuple[float, float]:
        """Means, the scatter matrix, a projection; encoding projects; see `cost.StatesOperations`."""
        encode = frames * dim + 2 * dim * self.bits
        return encode + dim**2, encode


def smoothest_modes(widths: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the sides and the modes of the eigenfunctions with the smallest eigenvalues, smallest first.

    Args:
        widths: b - a of each side of the box, shape (sides,); those of width 0 come last.
        bits: how many eigenfunctions.

    Returns:
        Positions of the sides and modes j >= 1, both int64 of shape (bits,); of equal eigenvalues the earlier side
        comes first.
    """
    modes = np.arange(1, bits + 1)  # more than `bits` modes of one side are never among the smallest
    slowness = np.divide(1.0, widths, out=np.full(len(widths), np.inf), where=widths > 0)
    chosen = np.argsort((slowness[:, None] * modes).ravel(), kind="stable")[:bits]
    return chosen // bits, modes[chosen % bits]
