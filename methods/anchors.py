"""The anchor graph: a sparse neighbourhood graph of many points through a few anchors, which several methods share.

Liu, He, Chang: Large Graph Construction for Scalable Semi-Supervised Learning, International Conference on Machine
Learning, 2010. Two points are neighbours as far as they share anchors: with Z the weights of n points on p anchors and
Lambda = diag(Z' 1), the adjacency is A = Z Lambda^-1 Z', whose rows sum to 1, so the Laplacian is I - A.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Self

import numpy as np
import scipy.sparse
from sklearn.cluster import KMeans, kmeans_plusplus
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from vhbench.errors import MethodError

BLOCK = 4096  # points whose distances are computed at a time
ITERATIONS = 5  # of k-means; anchors need not be at its optimum, and 15 more bring them 1 % nearer
SEEDED = 10  # points a cluster, among which k-means++ chooses where k-means starts
SKETCH = 512  # dimensions of the random projection in which it measures distances


@dataclass(frozen=True)
class AnchorGraph:
    """Anchors and the width of the kernel that weighs them.

    Attributes:
        anchors: float64, shape (p, dim), all different.
        neighbours: s, how many anchors a point is tied to; all of them where there are fewer.
        bandwidth: sigma of the kernel exp(-d^2 / sigma^2).
    """

    anchors: np.ndarray
    neighbours: int
    bandwidth: float

    @classmethod
    def learn(cls, sample: np.ndarray, count: int, neighbours: int, rng: np.random.Generator) -> Self:
        """Find anchors by k-means; sigma is the mean distance of the sample to its s-th nearest anchor.

        That sigma is the rule of the released code of anchor graph hashing (Liu et al., ICML 2011): it follows the
        scale of the features, which a constant does not.

        Args:
            sample: points to cluster, shape (n, dim), roughly centred; where n <= count, each is an anchor.
            count: anchors to look for; equal ones are kept once.
            neighbours: s.
            rng: seeds k-means.

        Raises:
            MethodError: `neighbours` is not between 1 and `count`.
        """
        if not 1 <= neighbours <= count:
            raise MethodError(
                f"A point needs between 1 and all {count} anchors as neighbours; neighbours is {neighbours}. "
                "Set neighbours or anchors."
            )
        graph = cls(k_means(sample, count, rng), neighbours, 0.0)
        last = [graph.nearest(sample[i : i + BLOCK])[1][:, -1] for i in range(0, len(sample), BLOCK)]
        return cls(graph.anchors, neighbours, float(np.sqrt(np.concatenate(last)).mean()))

    def nearest(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the nearest anchors, nearest first, and their squared distances.

        Args:
            points: shape (n, dim).

        Returns:
            Positions, int64, and squared distances, float64, both of shape (n, min(s, p)).
        """
        points = np.asarray(points, dtype=np.float64)
        near = min(self.neighbours, len(self.anchors))
        squared = points @ (-2 * self.anchors.T)
        squared += np.square(self.anchors).sum(axis=1)  # what is missing, the points' own norms, orders nothing
        found = np.argpartition(squared, near - 1, axis=1)[:, :near]
        values = np.take_along_axis(squared, found, axis=1)
        order = np.argsort(values, axis=1, kind="stable")
        values = np.take_along_axis(values, order, axis=1) + np.einsum("ij,ij->i", points, points)[:, None]
        return np.take_along_axis(found, order, axis=1), np.maximum(values, 0)

    def weights(self, points: np.ndarray) -> scipy.sparse.csr_array:
        """Return Z, the points' kernel weights on their s nearest anchors, each row summing to 1.

        The nearest anchor's squared distance is taken off before the exponential, which the normalisation undoes: no
        row underflows, however far a point lies from all anchors.

        Args:
            points: shape (n, dim).

        Returns:
            float64, shape (n, p), s entries a row.
        """
        found, squared = self.nearest(points)
        excess = squared - squared[:, :1]
        kernel = np.exp(-excess / self.bandwidth**2) if self.bandwidth > 0 else (excess == 0).astype(np.float64)
        kernel /= kernel.sum(axis=1, keepdims=True)
        rows = np.arange(len(found) + 1) * found.shape[1]
        return scipy.sparse.csr_array((kernel.ravel(), found.ravel(), rows), shape=(len(found), len(self.anchors)))


def k_means(points: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return up to `count` different cluster centres, or the different points themselves where they are no more.

    k-means++ sees a random part of many points, in a random projection of many dimensions: on all of both it takes many
    times as long as k-means itself, for anchors that are 2 % nearer to them.

    Args:
        points: shape (n, dim), roughly centred.
        count: clusters.
        rng: seeds k-means++.

    Returns:
        float64, shape (up to count, dim), in lexicographic order.
    """
    if len(points) > count:
        seed = int(rng.integers(2**31))
        seeded = points if len(points) <= SEEDED * count else rng.choice(points, SEEDED * count, replace=False)
        # with several threads scikit-learn adds their sums up in the order in which they finish
        with threadpool_limits(1, user_api="openmp"), warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # fewer different points than clusters
            _, chosen = kmeans_plusplus(_sketch(seeded, rng), count, random_state=seed)
            start = seeded[chosen].astype(np.float32)  # k-means itself takes half the time in float32
            fitted = KMeans(count, init=start, n_init=1, max_iter=ITERATIONS, random_state=seed).fit(
                points.astype(np.float32)
            )
        points = fitted.cluster_centers_
    return np.unique(points.astype(np.float64), axis=0)


def _sketch(points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return points of at most `SKETCH` dimensions whose distances are about those of the points, up to scale."""
    dim = points.shape[1]
    return points @ rng.standard_normal((dim, SKETCH)) if dim > SKETCH else points
