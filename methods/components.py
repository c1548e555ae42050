"""Principal components of mean frames or of frames."""

from __future__ import annotations

import numpy as np
import scipy.linalg
from scipy.linalg import blas

from vhbench.errors import MethodError
from vhbench.methods.projection import centred


def principal_components(points: np.ndarray, mean: np.ndarray, bits: int) -> np.ndarray:
    """Return the eigenvectors of the covariance with the largest eigenvalues, largest first.

    The same on every machine: an eigenvector's coefficient of largest magnitude is positive, and a direction without
    variance, where the eigenvector is arbitrary, is a column of zeros, so that its bit is constant.

    Args:
        points: mean frames or frames, float32, shape (n, dim).
        mean: their mean, float64, shape (dim,).
        bits: how many.

    Returns:
        float64, shape (dim, bits).

    Raises:
        MethodError: `bits` components cannot be told from so few points or dimensions.
    """
    count, dim = points.shape
    if bits > dim:
        raise MethodError(f"{bits} principal components need at least {bits} feature dimensions; there are {dim}.")
    if bits >= count:
        raise MethodError(f"{bits} principal components need at least {bits + 1} training videos; there are {count}.")
    if count < dim:  # the same vectors from the smaller of X X' and X' X
        away = points - mean
        values, vectors = _top(away @ away.T, bits)
        vectors = away.T @ vectors / np.sqrt(np.maximum(values, np.finfo(float).tiny))
    else:
        values, vectors = _top(_scatter(points, mean), bits)
    peaks = vectors[np.abs(vectors).argmax(axis=0), np.arange(bits)]
    vectors *= np.where(peaks < 0, -1.0, 1.0)
    vectors[:, values <= max(count, dim) * np.finfo(float).eps * values[0]] = 0
    return vectors


def _scatter(points: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Return X' X of the centred points X, float64, shape (dim, dim): its lower triangle, half the work."""
    scatter = np.zeros((points.shape[1],) * 2, order="F")
    for block in centred(points, mean):
        scatter = blas.dsyrk(1.0, block.T, beta=1.0, c=scatter, lower=True, overwrite_c=True)
    return scatter


def _top(matrix: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the largest eigenvalues of a symmetric matrix, largest first, and their eigenvectors as columns.

    Only its lower triangle is looked at.
    """
    size = len(matrix)
    values, vectors = scipy.linalg.eigh(matrix, overwrite_a=True, subset_by_index=(size - count, size - 1))
    return values[::-1], vectors[:, ::-1]
