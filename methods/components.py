"""Principal components of mean frames or of frames."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import scipy.linalg
from scipy.linalg import blas
from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh

from vhbench.errors import MethodError
from vhbench.methods.projection import mean_of
from vhbench.videos import VideoSet

BLOCK = 2048  # points whose scatter is added up at a time
PANEL = 512  # rows of the scatter added up at a time: what lies below its diagonal within them is wasted
LANCZOS = 32  # dimensions an eigenvector, from which on Lanczos' iteration beats LAPACK
RESTARTS = 20  # of that iteration at most; features need 2, white noise 10


def mean_frames_and_components(train: VideoSet, bits: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return mean frames, their mean and their principal components, whose scatter adds up while others are read.

    Args:
        train: training videos.
        bits: how many components.

    Returns:
        Mean frames, float32, shape (videos, dim); their mean, float64, shape (dim,); the components as
        `principal_components` returns them.

    Raises:
        MethodError: as `mean_of` and `principal_components`.
    """
    if len(train) < train.dim:
        means = train.mean_frames()
        mean = mean_of(means)
        return means, mean, principal_components(means, mean, bits)
    _check(bits, len(train), train.dim)
    means = np.empty((len(train), train.dim), dtype=np.float32)
    scatter = Scatter(train.dim)
    with ThreadPoolExecutor(1, thread_name_prefix="scatter") as adder:
        list(adder.map(scatter.add, train.mean_blocks(BLOCK, means)))
    mean = mean_of(means)
    return means, mean, _signed(*_top(scatter.about(mean), bits), len(means))


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
    _check(bits, count, dim)
    if count < dim:  # the same vectors from the smaller of X X' and X' X
        away = points - mean
        values, vectors = _top(away @ away.T, bits)
        return _signed(values, away.T @ vectors / np.sqrt(np.maximum(values, np.finfo(float).tiny)), count)
    scatter = Scatter(dim)
    for start in range(0, count, BLOCK):
        scatter.add(points[start : start + BLOCK])
    return _signed(*_top(scatter.about(mean), bits), count)


class Scatter:
    """X' X of centred points X, added up block by block before their mean is known.

    Products are of points less the mean of the first block, near enough to the mean of all that taking the difference
    out at the end costs no digits that matter.

    Args:
        dim: dimensions of a point.
    """

    def __init__(self, dim: int):
        self._count = 0
        self._shift: np.ndarray | None = None
        self._upper = np.zeros((dim, dim))

    def add(self, points: np.ndarray) -> None:
        """Add the products of points, shape (n, dim), in float64."""
        if self._shift is None:
            self._shift = points.mean(axis=0, dtype=np.float64)
        with np.errstate(invalid="ignore"):  # `mean_of` refuses what is not finite
            away = points - self._shift
            for start in range(0, away.shape[1], PANEL):  # SciPy's dsyrk holds the interpreter's lock
                self._upper[start : start + PANEL, start:] += away[:, start : start + PANEL].T @ away[:, start:]
        self._count += len(points)

    def about(self, mean: np.ndarray) -> np.ndarray:
        """Return X' X about the points' mean, float64, shape (dim, dim), in Fortran's order: its lower triangle."""
        off = mean - self._shift
        for start in range(0, len(mean), PANEL):
            self._upper[start : start + PANEL] -= self._count * np.outer(off[start : start + PANEL], off)
        return self._upper.T


def _check(bits: int, count: int, dim: int) -> None:
    if bits > dim:
        raise MethodError(f"{bits} principal components need at least {bits} feature dimensions; there are {dim}.")
    if bits >= count:
        raise MethodError(f"{bits} principal components need at least {bits + 1} training videos; there are {count}.")


def _signed(values: np.ndarray, vectors: np.ndarray, count: int) -> np.ndarray:
    """Give each of the eigenvectors of a scatter of `count` points its sign, or zeros where nothing varies."""
    dim, bits = vectors.shape
    peaks = vectors[np.abs(vectors).argmax(axis=0), np.arange(bits)]
    vectors = vectors * np.where(peaks < 0, -1.0, 1.0)
    vectors[:, values <= max(count, dim) * np.finfo(float).eps * values[0]] = 0
    return vectors


def _top(matrix: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the largest eigenvalues of a symmetric matrix, largest first, and their eigenvectors as columns.

    Only its lower triangle is looked at, and may be overwritten.
    """
    size = len(matrix)
    if count * LANCZOS <= size and (found := _lanczos(matrix, count)) is not None:
        return found
    values, vectors = scipy.linalg.eigh(matrix, overwrite_a=True, subset_by_index=(size - count, size - 1))
    return values[::-1], vectors[:, ::-1]


def _lanczos(matrix: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray] | None:
    """As `_top`, to the same accuracy; None where Lanczos' iteration does not converge or has passed a vector over.

    Of an eigenvalue that the matrix has several times it may find too few vectors. Then the matrix without the vectors
    found has a larger eigenvalue than the least one found, which a second iteration sees.
    """

    def times(vector: np.ndarray) -> np.ndarray:
        return blas.dsymv(1.0, matrix, vector, lower=1)  # type: ignore[no-any-return]

    def without(vector: np.ndarray) -> np.ndarray:
        return vector - vectors @ (vectors.T @ vector)  # type: ignore[no-any-return]

    size = len(matrix)
    start, other_start = np.random.default_rng(0).standard_normal((2, size))
    try:
        whole = LinearOperator((size, size), times, dtype=np.float64)
        values, vectors = eigsh(whole, count, which="LA", v0=start, maxiter=RESTARTS)
        rest = LinearOperator((size, size), lambda vector: without(times(without(vector))), dtype=np.float64)
        (left,) = eigsh(rest, 1, which="LA", v0=other_start, maxiter=RESTARTS, tol=1e-3, return_eigenvectors=False)
    except ArpackError:
        return None
    order = np.argsort(-values)
    if left > values.min() + size * np.finfo(float).eps * values.max():
        return None
    return values[order], vectors[:, order]
