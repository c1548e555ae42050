"""Linear projections of mean frames, which the shallow methods share."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from vhbench.errors import MethodError

BLOCK = 2048  # videos computed at a time in float64


def mean_of(means: np.ndarray) -> np.ndarray:
    """Return the mean of mean frames.

    Args:
        means: float32, shape (videos, dim).

    Returns:
        float64, shape (dim,).

    Raises:
        MethodError: there is no video, or a feature is NaN or infinite.
    """
    if len(means) == 0:
        raise MethodError("There are no training videos.")
    mean: np.ndarray = means.mean(axis=0, dtype=np.float64)
    if not np.isfinite(mean).all():
        raise MethodError("The training features contain NaN or infinite values.")
    return mean


def project(means: np.ndarray, mean: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Project centred mean frames, in float64 so that a code's signs do not depend on how many videos are encoded.

    Args:
        means: float32, shape (videos, dim).
        mean: float64, shape (dim,); subtracted.
        directions: float64, shape (dim, bits).

    Returns:
        float64, shape (videos, bits).

    Raises:
        MethodError: the features are of another size than those learnt from.
    """
    if means.shape[1] != len(mean):
        raise MethodError(f"Learnt from features of {len(mean)} dimensions; these have {means.shape[1]}.")
    return np.concatenate([np.empty((0, directions.shape[1])), *(b @ directions for b in centred(means, mean))])


def centred(means: np.ndarray, mean: np.ndarray) -> Iterator[np.ndarray]:
    """Yield mean frames less their mean in float64, `BLOCK` at a time."""
    for start in range(0, len(means), BLOCK):
        yield means[start : start + BLOCK] - mean
