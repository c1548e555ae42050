"""AGH: signs of the smoothest eigenvectors of an anchor graph over the videos' mean frames.

Liu, Wang, Kumar, Chang: Hashing with Graphs, International Conference on Machine Learning, 2011.
"""

from __future__ import annotations

from typing import Self

import numpy as np
import scipy.linalg
import scipy.sparse
import scipy.sparse.csgraph

from vhbench.errors import MethodError
from vhbench.method import FitContext, Method
from vhbench.methods.anchors import AnchorGraph
from vhbench.methods.projection import BLOCK, mean_of
from vhbench.videos import VideoSet

SAMPLE = 10_000  # training videos that k-means sees


class AGH(Method):
    """Anchor graph hashing: signs of an anchor graph's smoothest eigenvectors (2011).

    The graph's adjacency is A = Z Lambda^-1 Z', Z a video's kernel weights on its nearest anchors. Its eigenvectors
    come from the small matrix M = Lambda^-1/2 Z' Z Lambda^-1/2, and a new video's values are z(x) W. With one layer a
    bit is an eigenvector's sign. With two layers an eigenvector gives two bits: its sign, and the sign of its distance
    from a threshold on that side of zero.

    Differences from the paper, and why:

    - A video is the mean of its frames, as for every shallow method here.
    - Eigenvalue 1 is left out, as in the paper, but taken out of M exactly, once for each part that the graph falls
      into. An eigenvector of one part is 0 elsewhere, and its bit constant there; released code leaves that bit to
      rounding.
    - Where there are no more training videos than `anchors`, each is an anchor.

    Args:
        bits: code length k; less than the anchors with one layer, less than twice the anchors with two.
        anchors: cluster centres of k-means (300 in the paper).
        neighbours: s, anchors that a video is tied to (this project's choice; the authors take 2 on the 70,000 images
            of MNIST and advise to try more; of the 1,341 videos of 14 classes of UCF101, 2 make a graph of 12 parts).
        layers: 1 or 2 (both in the paper).
    """

    name = "agh"
    reference = "Liu, Wang, Kumar, Chang, ICML 2011"

    def __init__(self, bits: int, *, anchors: int = 300, neighbours: int = 3, layers: int = 1):
        self.bits = bits
        self.anchors = anchors
        self.neighbours = neighbours
        self.layers = layers

    @property
    def nested(self) -> bool:
        """With one layer, whose eigenvectors come in the same order whatever their number."""
        return self.layers == 1

    def fit(self, train: VideoSet, ctx: FitContext) -> Self:
        """Learn anchors, the graph's eigenvectors and their thresholds; see `Method.fit`."""
        if self.layers not in (1, 2):
            raise MethodError(f"agh has 1 or 2 layers, not {self.layers}: set layers=1 or layers=2.")
        means = train.mean_frames()
        self.mean_ = mean_of(means)
        rng = ctx.rng("anchors")
        rows = np.sort(rng.permutation(len(means))[:SAMPLE])
        graph = AnchorGraph.learn(means[rows] - self.mean_, self.anchors, self.neighbours, rng)
        weights = weights_of(means, self.mean_, graph)
        used = weights.sum(axis=0) > 0
        weights = weights[:, used]
        projection = eigenfunctions(weights)
        if self.bits > (most := self.layers * projection.shape[1]):
            raise MethodError(
                f"agh with layers={self.layers} learns at most {most} bits from {used.sum()} anchors here; {self.bits} "
                f"were asked for. Set anchors or neighbours higher ({len(train)} training videos were clustered, and "
                "each part that their graph falls into costs a bit), or ask for fewer bits."
            )
        self.anchors_, self.bandwidth_ = graph.anchors[used], graph.bandwidth
        self.projection_ = projection[:, : -(-self.bits // self.layers)]
        if self.layers == 2:
            self.thresholds_ = thresholds(weights, weights @ self.projection_)
        return self

    def encode(self, videos: VideoSet) -> np.ndarray:
        """Return the signs of the eigenfunctions, those of the second layer after the first; see `Method.encode`."""
        self.check_fitted()
        graph = AnchorGraph(self.anchors_, self.neighbours, float(self.bandwidth_))
        values = weights_of(videos.mean_frames(), self.mean_, graph) @ self.projection_
        codes: np.ndarray = values >= 0
        if self.layers == 2:
            codes = np.concatenate([codes, second_layer(values, self.thresholds_) >= 0], axis=1)
        return codes[:, : self.bits]

    def operations(self, frames: int, dim: int) -> tuple[float, float]:
        """Means and distances to all anchors; encoding also projects; see `cost.StatesOperations`."""
        weights = frames * dim + 2 * dim * self.anchors
        return weights, weights + 2 * self.neighbours * -(-self.bits // self.layers)


def weights_of(means: np.ndarray, mean: np.ndarray, graph: AnchorGraph) -> scipy.sparse.csr_array:
    """Return mean frames' weights on the anchors, computed in float64 and in blocks.

    Args:
        means: float32, shape (videos, dim).
        mean: float64, shape (dim,); subtracted.
        graph: anchors in centred coordinates.

    Returns:
        Z, float64, shape (videos, anchors).

    Raises:
        MethodError: the features are of another size than those learnt from.
    """
    if means.shape[1] != len(mean):
        raise MethodError(f"Learnt from features of {len(mean)} dimensions; these have {means.shape[1]}.")
    blocks = [graph.weights(means[i : i + BLOCK] - mean) for i in range(0, len(means), BLOCK)]
    return scipy.sparse.vstack([scipy.sparse.csr_array((0, len(graph.anchors))), *blocks], format="csr")


def eigenfunctions(weights: scipy.sparse.csr_array) -> np.ndarray:
    """Return W such that Z W are the eigenvectors of the adjacency for eigenvalues below 1, largest eigenvalue first.

    The eigenvalue 1 has as many eigenvectors as the graph has parts that share no anchor, those constant on each part.

    Args:
        weights: Z, no row or column all zero, shape (n, p).

    Returns:
        sqrt(n) Lambda^-1/2 V Sigma^-1/2, float64, shape (p, p - parts), each column's coefficient of largest magnitude
        positive; where the eigenvalue is 0, Z W is not an eigenvector but 0.
    """
    videos, anchors = weights.shape
    shared = (weights.T @ weights).toarray()
    mass = weights.sum(axis=0)
    scale = 1 / np.sqrt(mass)
    parts, part = scipy.sparse.csgraph.connected_components(shared, directed=False)
    values, columns = [], []
    for own in (np.flatnonzero(part == i) for i in range(parts)):  # so that other parts' coefficients are exactly 0
        trivial = np.sqrt(mass[own] / mass[own].sum())
        small = scale[own, None] * shared[np.ix_(own, own)] * scale[own] - np.outer(trivial, trivial)
        found, vectors = scipy.linalg.eigh(small)  # `trivial` now has the smallest eigenvalue, 0
        real = found[1:] > anchors * np.finfo(float).eps
        column = np.zeros((anchors, len(own) - 1))
        column[own] = scale[own, None] * vectors[:, 1:] / np.sqrt(np.where(real, found[1:], 1)) * real
        values.append(found[1:])
        columns.append(column)
    order = np.argsort(-np.concatenate(values), kind="stable")
    projection: np.ndarray = np.sqrt(videos) * np.concatenate(columns, axis=1)[:, order]
    peaks = projection[np.abs(projection).argmax(axis=0), np.arange(len(order))]
    projection *= np.where(peaks < 0, -1.0, 1.0)
    return projection


def thresholds(weights: scipy.sparse.csr_array, values: np.ndarray) -> np.ndarray:
    """Return the second layer's thresholds: b+ where an eigenvector is not negative, b- where it is (Section 4).

    They minimise f' L f, L = I - A, among those for which f = `second_layer(values, thresholds)` has mean 0. As L 1 is
    0, f' L f depends on c = b+ + b- alone: it is (g - c e)' L (g - c e) with g = |y| and e the indicator of y >= 0.

    Args:
        weights: Z, shape (n, p).
        values: eigenvectors y, float64, shape (n, count).

    Returns:
        float64, shape (2, count): b+ and b-. Where y is 0 everywhere, so are they.
    """
    above = (values >= 0).astype(np.float64)
    size = np.abs(values)
    mass = weights.sum(axis=0)[:, None]
    above_by_anchor, size_by_anchor = weights.T @ above, weights.T @ size
    cut = above.sum(axis=0) - (above_by_anchor**2 / mass).sum(axis=0)  # e' L e
    slope = (above * size).sum(axis=0) - (above_by_anchor * size_by_anchor / mass).sum(axis=0)  # e' L g
    joined = cut > len(values) * np.finfo(float).eps
    total = np.divide(slope, cut, out=np.zeros_like(cut), where=joined)
    many, few = above.sum(axis=0), (1 - above).sum(axis=0)
    cuts: np.ndarray = np.stack([size.sum(axis=0) + few * total, many * total - size.sum(axis=0)]) / len(values)
    return cuts


def second_layer(values: np.ndarray, cuts: np.ndarray) -> np.ndarray:
    """Return y - b+ where y >= 0 and b- - y elsewhere, whose sign is the second layer's bit (Section 4).

    Args:
        values: y, shape (n, count).
        cuts: b+ and b-, shape (2, count).
    """
    folded: np.ndarray = np.where(values >= 0, values - cuts[0], cuts[1] - values)
    return folded
