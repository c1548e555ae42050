"""IMH: an embedding of a few bases, carried over to every video by its nearest bases.

Shen, Shen, Shi, van den Hengel, Tang: Inductive Hashing on Manifolds, IEEE Conference on Computer Vision and Pattern
Recognition, 2013.
"""

from __future__ import annotations

from typing import Self

import numpy as np
import scipy.linalg

from vhbench.errors import MethodError
from vhbench.method import FitContext, Method
from vhbench.methods.anchors import AnchorGraph
from vhbench.methods.projection import centred, mean_of
from vhbench.methods.t_sne import t_sne
from vhbench.videos import VideoSet

SAMPLE = 10_000  # training videos that k-means sees
PERPLEXITY, UPDATES = 30.0, 1000  # of t-SNE (van der Maaten, Hinton, 2008)
EMBEDDINGS = ("t-sne", "laplacian")


class IMH(Method):
    """Inductive manifold hashing: signs of an embedding of k-means centres, averaged over the nearest (2013).

    The centres of the training videos' clusters (bases) are embedded in as many dimensions as the code has bits. A
    video lies at the mean of its nearest bases' places, weighted by a Gaussian kernel of the distance; its code is the
    signs there.

    Differences from the paper, and why:

    - A video is the mean of its frames, as for every shallow method here.
    - The kernel's width is the mean distance to the last of the nearest bases, as in `agh`; a constant would depend on
      the features' scale.
    - t-SNE is that of its own paper (2008), by the exact gradient, at perplexity 30 and 1,000 updates. Another BLAS may
      embed otherwise, as rounding grows with the updates.
    - Laplacian eigenmaps see the bases alone; the paper's own form has a further term for the other training videos.
    - The embedding is centred on the bases' mean, so that no bit is lost to a shift.
    - The paper's text was not at hand; the sizes are those of a later benchmark.

    Args:
        bits: code length k; with "laplacian" less than the bases.
        embedding: "t-sne" (the stronger in the paper) or "laplacian".
        bases: cluster centres of k-means (400 in the benchmark FIRe); each training video where there are no more.
        neighbours: s, bases that a video is averaged over (5 in FIRe).
    """

    name = "imh"
    reference = "Shen, Shen, Shi, van den Hengel, Tang, CVPR 2013"

    def __init__(self, bits: int, *, embedding: str = "t-sne", bases: int = 400, neighbours: int = 5):
        self.bits = bits
        self.embedding = embedding
        self.bases = bases
        self.neighbours = neighbours

    @property
    def nested(self) -> bool:
        """With Laplacian eigenmaps, whose coordinates come in the same order whatever their number."""
        return self.embedding == "laplacian"

    def fit(self, train: VideoSet, ctx: FitContext) -> Self:
        """Find the bases and embed them; see `Method.fit`."""
        if self.embedding not in EMBEDDINGS:
            raise MethodError(f"imh embeds by {' or '.join(EMBEDDINGS)}, not {self.embedding!r}: set embedding to one.")
        rng = ctx.rng("bases")
        means = train.subset(np.sort(rng.permutation(len(train))[:SAMPLE])).mean_frames()
        self.mean_ = mean_of(means)
        graph = AnchorGraph.learn(means - self.mean_, self.bases, self.neighbours, rng)
        self.bases_, self.bandwidth_ = graph.anchors, graph.bandwidth
        if self.embedding == "t-sne":
            places = t_sne(graph.anchors, self.bits, PERPLEXITY, UPDATES, rng)
        else:
            places = laplacian(graph, self.bits)
        self.places_ = places - places.mean(axis=0)
        return self

    def encode(self, videos: VideoSet) -> np.ndarray:
        """Return the signs of the videos' places; see `Method.encode`."""
        self.check_fitted()
        means = videos.mean_frames()
        if means.shape[1] != len(self.mean_):
            raise MethodError(f"Learnt from features of {len(self.mean_)} dimensions; these have {means.shape[1]}.")
        graph = AnchorGraph(self.bases_, self.neighbours, float(self.bandwidth_))
        places = [graph.weights(block) @ self.places_ for block in centred(means, self.mean_)]
        return np.concatenate([np.empty((0, self.bits)), *places]) >= 0

    def operations(self, frames: int, dim: int) -> tuple[float, float]:
        """Means and distances to all bases; encoding also averages; see `cost.StatesOperations`."""
        weights = frames * dim + 2 * dim * self.bases
        return weights, weights + 2 * self.neighbours * self.bits


def laplacian(graph: AnchorGraph, bits: int) -> np.ndarray:
    """Return Laplacian eigenmaps of the bases (Belkin, Niyogi, 2003): the smoothest functions on their graph.

    Two bases are tied by the kernel of their distance if one is among the other's nearest. The places are solutions of
    L y = v D y, smallest v first, but for the constant one.

    Args:
        graph: the bases, and how many nearest ones each is tied to.
        bits: how many functions.

    Returns:
        float64, shape (count, bits), each column's value of largest magnitude positive.

    Raises:
        MethodError: there are too few bases.
    """
    count = len(graph.anchors)
    if bits >= count:
        raise MethodError(
            f"imh with embedding='laplacian' learns at most {count - 1} bits from {count} bases here; {bits} were "
            "asked for. Set bases higher, if there are more training videos, or ask for fewer bits."
        )
    near, squared = AnchorGraph(graph.anchors, graph.neighbours + 1, graph.bandwidth).nearest(graph.anchors)
    ties = np.zeros((count, count))
    rows = np.arange(count)[:, None]
    ties[rows, near] = np.exp(-squared / graph.bandwidth**2) if graph.bandwidth > 0 else 1.0
    np.fill_diagonal(ties, 0)
    ties = np.maximum(ties, ties.T)
    mass = np.maximum(ties.sum(axis=1), np.finfo(float).tiny)
    scale = 1 / np.sqrt(mass)
    constant = np.sqrt(mass / mass.sum())
    operator = np.eye(count) - scale[:, None] * ties * scale + 3 * np.outer(constant, constant)  # v is at most 2
    _, vectors = scipy.linalg.eigh(operator, subset_by_index=(0, bits - 1))
    places: np.ndarray = scale[:, None] * vectors
    peaks = places[np.abs(places).argmax(axis=0), np.arange(bits)]
    return places * np.where(peaks < 0, -1.0, 1.0)
