"""t-SNE of a few points in any number of dimensions, by its exact gradient.

Van der Maaten, Hinton: Visualizing Data using t-SNE, Journal of Machine Learning Research 9, 2008. scikit-learn's exact
form has a kernel of its own in more than two dimensions, and takes some ten times as long for hundreds of points.
"""

from __future__ import annotations

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

HALVINGS = 50  # of the interval in which a point's bandwidth is looked for
START, EXAGGERATION, EXAGGERATED = 1e-2, 4.0, 50  # standard deviation at first; factor of P, and updates that have it
SPEED = 100.0  # learning rate
SLOW, FAST, SLOW_UPDATES = 0.5, 0.8, 250  # momentum, and the updates with the smaller one
LEAST_GAIN = 0.01


def t_sne(points: np.ndarray, size: int, perplexity: float, updates: int, rng: np.random.Generator) -> np.ndarray:
    """Return places whose neighbourhoods, by a Student kernel of one degree of freedom, are those of the points.

    The constants are the paper's: 50 updates with early exaggeration, momentum .5 and then .8, adaptive gains.

    Args:
        points: float64, shape (n, dim).
        size: dimensions of the embedding.
        perplexity: how many neighbours a point has, so to say; made smaller where there are fewer than three times
            as many other points.
        updates: steps of the gradient descent (1,000 in the paper).
        rng: draws the start.

    Returns:
        float64, shape (n, size), centred.
    """
    count = len(points)
    places = START * rng.standard_normal((count, size))
    if count < 2:
        return np.zeros((count, size))
    wanted = joint_probabilities(points, min(perplexity, max(1.0, (count - 1) / 3)))
    move, gain = np.zeros_like(places), np.ones_like(places)
    with threadpool_limits(1, user_api="blas"):  # the order of sums would else change the places with the threads
        for update in range(updates):
            slope = gradient(places, wanted * (EXAGGERATION if update < EXAGGERATED else 1.0))
            gain = np.maximum(np.where((slope > 0) != (move > 0), gain + 0.2, gain * 0.8), LEAST_GAIN)
            move = (SLOW if update < SLOW_UPDATES else FAST) * move - SPEED * gain * slope
            places = places + move
            places -= places.mean(axis=0)
    return places


def joint_probabilities(points: np.ndarray, perplexity: float) -> np.ndarray:
    """Return P, float64, shape (n, n): symmetric, its diagonal 0, its sum 1 (Section 3.1 of the paper).

    Args:
        points: float64, shape (n, dim), at least 2.
        perplexity: two to the power of the entropy of each point's neighbours.
    """
    squared = _squared_distances(points)
    np.fill_diagonal(squared, np.inf)
    squared -= squared.min(axis=1, keepdims=True)  # nothing underflows for all neighbours at once
    scale = np.where(np.isfinite(squared), squared, 0).max()
    low, high = np.full(len(points), -60.0), np.full(len(points), 60.0)  # log2 of the precision, in units of the scale
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        entropy = _entropy(_neighbours(squared, 2.0**middle / (scale or 1.0)))
        flat = entropy > np.log2(perplexity)
        low, high = np.where(flat, middle, low), np.where(flat, high, middle)
    conditional = _neighbours(squared, 2.0 ** ((low + high) / 2) / (scale or 1.0))
    joint: np.ndarray = (conditional + conditional.T) / (2 * len(points))
    return joint


def gradient(places: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return the gradient of the Kullback-Leibler divergence of Q from P by the places (Eq. 5), shape (n, size).

    Args:
        places: float64, shape (n, size).
        wanted: P, shape (n, n); exaggerated or not.
    """
    kernel = 1 / (1 + _squared_distances(places))
    np.fill_diagonal(kernel, 0)
    pull = (wanted - kernel / kernel.sum()) * kernel
    slope: np.ndarray = 4 * (pull.sum(axis=1)[:, None] * places - pull @ places)
    return slope


def _squared_distances(points: np.ndarray) -> np.ndarray:
    sizes = np.einsum("ij,ij->i", points, points)
    squared: np.ndarray = np.maximum(sizes[:, None] - 2 * (points @ points.T) + sizes, 0)
    return squared


def _neighbours(squared: np.ndarray, precision: np.ndarray) -> np.ndarray:
    """Return p(j|i) by rows."""
    kernel = np.exp(-squared * precision[:, None])
    shares: np.ndarray = kernel / kernel.sum(axis=1, keepdims=True)
    return shares


def _entropy(conditional: np.ndarray) -> np.ndarray:
    """Return the entropy of each row in bits."""
    logs = np.log2(conditional, out=np.zeros_like(conditional), where=conditional > 0)
    entropy: np.ndarray = -(conditional * logs).sum(axis=1)
    return entropy
