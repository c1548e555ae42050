"""Linear projections of mean frames, which the shallow methods share."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy.linalg

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


def principal_components(means: np.ndarray, mean: np.ndarray, bits: int) -> np.ndarray:
    """Return the eigenvectors of the covariance with the largest eigenvalues, largest first.

    The same on every machine: an eigenvector's coefficient of largest magnitude is positive, and a direction without
    variance, where the eigenvector is arbitrary, is a column of zeros, so that its bit is constant.

    Args:
        means: mean frames, float32, shape (videos, dim).
        mean: their mean, float64, shape (dim,).
        bits: how many.

    Returns:
        float64, shape (dim, bits).

    Raises:
        MethodError: `bits` components cannot be told from so few videos or dimensions.
    """
    videos, dim = means.shape
    if bits > dim:
        raise MethodError(f"{bits} principal components need at least {bits} feature dimensions; there are {dim}.")
    if bits >= videos:
        raise MethodError(f"{bits} principal components need at least {bits + 1} training videos; there are {videos}.")
    if videos < dim:  # the same vectors from the smaller of X X' and X' X
        centred = means - mean
        values, vectors = _top(centred @ centred.T, bits)
        vectors = centred.T @ vectors / np.sqrt(np.maximum(values, np.finfo(float).tiny))
    else:
        scatter = np.zeros((dim, dim))
        for block in _centred(means, mean):
            scatter += block.T @ block
        values, vectors = _top(scatter, bits)
    peaks = vectors[np.abs(vectors).argmax(axis=0), np.arange(bits)]
    vectors *= np.where(peaks < 0, -1.0, 1.0)
    vectors[:, values <= max(videos, dim) * np.finfo(float).eps * values[0]] = 0
    return vectors


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
    return np.concatenate([np.empty((0, directions.shape[1])), *(b @ directions for b in _centred(means, mean))])


def _centred(means: np.ndarray, mean: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(means), BLOCK):
        yield means[start : start + BLOCK] - mean


def _top(matrix: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the largest eigenvalues of a symmetric matrix, largest first, and their eigenvectors as columns."""
    size = len(matrix)
    values, vectors = scipy.linalg.eigh(matrix, subset_by_index=(size - count, size - 1))
    return values[::-1], vectors[:, ::-1]
