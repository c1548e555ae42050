"""Feature scaling, learnt on the training videos and applied to frames as they are read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np

from vhbench.errors import DataError, UsageError, unknown
from vhbench.videos import BLOCK_BYTES, Frames, VideoSet

KINDS = ("none", "l2", "standard", "whiten")
BLOCK = 1024  # frames computed at a time in float64


@dataclass(frozen=True)
class Normalization:
    """A choice of feature scaling.

    - `none`: features as they are, as in the papers.
    - `l2`: every frame has unit length; a frame of zeros stays one.
    - `standard`: every dimension has mean 0 and variance 1 over the frames of the training videos.
    - `whiten`: less their mean, frames v are multiplied by C^(-strength/2), C the covariance of the frames of the
      training videos. At strength 1 all directions have variance 1; at 0.5 a variance becomes its square root.

    A dimension or direction that does not vary over the training videos becomes 0 under `standard` and `whiten`.

    Args:
        kind: one of `KINDS`.
        strength: of `whiten`, above 0 and at most 1; 1 for the others.

    Raises:
        UsageError: there is no such kind, or the strength is out of range or given to another kind than `whiten`.
    """

    kind: str = "none"
    strength: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise unknown("feature scaling", self.kind, KINDS)
        if self.kind != "whiten" and self.strength != 1:
            raise UsageError(f"Feature scaling {self.kind!r} has no strength; 'whiten' has, e.g. whiten=0.5.")
        if not 0 < self.strength <= 1:
            raise UsageError(f"The strength of 'whiten' is {self.strength:g}; it must be above 0 and at most 1.")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a kind, or a kind with its strength, e.g. "whiten=0.5".

        Raises:
            UsageError: as the class says, or the strength is not a number.
        """
        kind, equals, strength = text.partition("=")
        try:
            return cls(kind, float(strength) if equals else 1.0)
        except ValueError:
            raise UsageError(f"The strength {strength!r} in {text!r} is not a number, e.g. whiten=0.5.") from None

    def __str__(self) -> str:
        """Return what `parse` reads."""
        return self.kind if self.strength == 1 else f"{self.kind}={self.strength:g}"

    def learn(self, train: VideoSet) -> Scaling:
        """Compute the scaling from the training videos, in one pass over them that never holds them.

        `whiten` holds two float64 matrices of (dim, dim), and takes 2 dim^2 operations a frame and some 10 dim^3.

        Raises:
            DataError: there is no training video, or a feature is NaN or infinite.
        """
        if self.kind in ("none", "l2"):
            return Scaling(unit=self.kind == "l2")
        mean, second = moments(train, covariance=self.kind == "whiten")
        rounding = (np.finfo(np.float32).eps * np.abs(mean)) ** 2  # variance that float32 features may have from it
        if self.kind == "standard":
            return Scaling(mean, inverse_power(second, 0.5, rounding))
        values, vectors = np.linalg.eigh(second)
        least = max(rounding.max(), len(mean) * np.finfo(np.float64).eps * values[-1])
        return Scaling(mean, (vectors * inverse_power(values, self.strength / 2, least)) @ vectors.T)


class Scaling:
    """A learnt feature scaling.

    Args:
        mean: float64, shape (dim,), subtracted from every frame; None: nothing is.
        factor: float64, multiplies what is left: shape (dim,) each dimension, (dim, dim) the frame as a row vector.
        unit: give every frame unit length instead.
    """

    def __init__(self, mean: np.ndarray | None = None, factor: np.ndarray | None = None, *, unit: bool = False):
        self.mean, self.factor, self.unit = mean, factor, unit

    def of(self, videos: VideoSet) -> VideoSet:
        """Return the videos with their frames scaled as they are read; the videos themselves where nothing is."""
        if not self.unit and self.mean is None:
            return videos
        return videos.scaled(lambda features: ScaledFrames(features, self))

    def apply(self, frames: np.ndarray) -> np.ndarray:
        """Return scaled frames, float32, computed in float64: a frame's result does not depend on the others.

        Args:
            frames: any real dtype, shape (..., dim); not written.

        Raises:
            DataError: the frames are of another size than those learnt from.
        """
        dim = frames.shape[-1]
        if self.mean is not None and dim != len(self.mean):
            raise DataError(
                f"The feature scaling was learnt from {len(self.mean)} dimensions; these features have {dim}."
            )
        scaled = np.empty(frames.shape, dtype=np.float32)
        rows, out = frames.reshape(-1, dim), scaled.reshape(-1, dim)
        for start in range(0, len(rows), BLOCK):
            out[start : start + BLOCK] = self._apply(rows[start : start + BLOCK].astype(np.float64))
        return scaled

    def _apply(self, rows: np.ndarray) -> np.ndarray:
        if self.unit:
            lengths = np.linalg.norm(rows, axis=1, keepdims=True)
            rows /= np.where(lengths > 0, lengths, 1)
            return rows
        if self.mean is None or self.factor is None:
            return rows
        rows -= self.mean
        scaled: np.ndarray = rows * self.factor if self.factor.ndim == 1 else rows @ self.factor
        return scaled


class ScaledFrames:
    """Videos whose frames are scaled as they are read; satisfies `vhbench.videos.Frames`.

    Args:
        features: the videos.
        scaling: applied to every block of them that is asked for.
    """

    def __init__(self, features: Frames, scaling: Scaling):
        self._features = features
        self._scaling = scaling
        self.dtype = np.dtype(np.float32)
        self.shape = features.shape

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """Return the rows' scaled frames as a new array (len(rows), frames, dim), float32."""
        return self._scaling.apply(self._features[rows])


def moments(train: VideoSet, *, covariance: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean of all frames, and their variances or covariance about it (divided by the number of frames).

    Sums are of frames less the mean of the first ones, so that a mean far from 0 costs no digits.

    Args:
        train: the videos; read once.
        covariance: all of it, shape (dim, dim), and not only its diagonal (dim,).

    Returns:
        float64, shape (dim,); float64, shape (dim, dim) or (dim,).

    Raises:
        DataError: there is no video, or a feature is NaN or infinite.
    """
    if len(train) == 0:
        raise DataError("There are no training videos to learn a feature scaling from.")
    shift = total = np.zeros(train.dim)
    second = np.zeros((train.dim, train.dim) if covariance else train.dim)
    with np.errstate(invalid="ignore"):  # refused below
        for i, rows in enumerate(_blocks(train)):
            shift = shift if i else rows.mean(axis=0)
            rows -= shift
            total = total + rows.sum(axis=0)
            second += rows.T @ rows if covariance else np.square(rows).sum(axis=0)
        count = len(train) * train.frames
        off = total / count
        second = second / count - (np.outer(off, off) if covariance else off**2)
    if not np.isfinite(second).all():
        raise DataError("The training features contain NaN or infinite values.")
    return shift + off, second


def inverse_power(variances: np.ndarray, power: float, least: np.ndarray | float) -> np.ndarray:
    """Return variances^-power, and 0 where a variance is not above `least`."""
    powers: np.ndarray = np.maximum(variances, np.finfo(float).tiny) ** -power
    return np.where(variances > least, powers, 0.0)


def _blocks(videos: VideoSet) -> Iterator[np.ndarray]:
    """Yield the frames of all videos in float64, shape (up to BLOCK, dim)."""
    for array in videos.arrays(max(1, BLOCK_BYTES // (4 * videos.frames * videos.dim))):
        rows = array.reshape(-1, videos.dim)
        for start in range(0, len(rows), BLOCK):
            yield rows[start : start + BLOCK].astype(np.float64)
