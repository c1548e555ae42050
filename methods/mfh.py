"""MFH: codes of frames from a neighbourhood graph and a linear map learnt together, pooled over a video.

Song, Yang, Huang, Shen, Hong: Multiple Feature Hashing for Real-Time Large Scale Near-Duplicate Video Retrieval, ACM
Multimedia, 2011. Here with one feature a frame, as in Li et al. (UVVH, IV-D).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np
import scipy.linalg

from vhbench.errors import MethodError
from vhbench.method import FitContext, Method, Tags
from vhbench.methods.anchors import AnchorGraph
from vhbench.methods.components import principal_components
from vhbench.methods.projection import mean_of
from vhbench.videos import BLOCK_BYTES, VideoSet

SAMPLE = 50_000  # random training frames for principal components and anchors
EACH = 8  # of them at least from a video, where it has so many: whole videos are read, a few of a large set


class MFH(Method):
    """Multiple feature hashing: a linear code of frames that follows a neighbourhood graph (2011).

    The relaxed codes Y of all n training frames, Y' Y = I, and a linear map (W, b) from frames to codes minimise

        tr(F' L F) + gamma ||Y - F||^2 + alpha (||X' W + 1 b - Y||^2 + beta ||W||^2),

    where L is the Laplacian of a graph over the frames, so Y are the eigenvectors with the smallest eigenvalues of

        D = gamma L (L + gamma I)^-1 + alpha (I - 1 1'/n - X_c (X_c' X_c + beta I)^-1 X_c').

    A video's bit is the sign of the mean of its frames' signs.

    The features' scatter is far above `beta`, so the last term hardly tells directions apart, and the graph chooses
    among them even at the default gamma. The first bits say most about a video's class and the last ones little, but
    all count alike, as in PCA hashing: on 14 classes of UCF101, map@20 of 64 and 128 bits (seed 0: .482, .459;
    gamma = 1: .507, .468) is below that of random hyperplanes (.524, .627), although the same 64 values, scaled to
    unit variance and averaged over a video, give .74 under a random rotation (.71 to .75 of five).

    Differences from the paper, and why:

    - The graph is an anchor graph, I - L = Z Lambda^-1 Z', over all frames, instead of exact neighbours of a sample.
      Then D = c I - G G' with a thin G, and the eigenvectors follow exactly from G' G, which is added up block by
      block; no matrix has n rows. Its weights follow the scale of the features; exp(-d^2) of raw features is 0.
    - Frames are first reduced to `components` principal components, which with the anchors are learnt from 50,000
      random frames (all, where there are fewer), 8 or more of a video.
    - The constant eigenvector is taken out of G exactly; a released port of the method keeps it.
    - Released code takes the mean of the test set as the threshold; here a code depends on its own video alone.

    Args:
        bits: code length k; at most the feature size and the components.
        alpha: weight of the linear map (1 in the demonstration of a released port).
        beta: ridge of the linear map (0.01, ibid.).
        gamma: tie between Y and the graph's own embedding F (0.001, ibid.; the paper tunes all three from 1e-6 to 1e6).
        anchors: cluster centres of k-means (this project's choice).
        neighbours: anchors that a frame is tied to (5 neighbours in the port).
        components: principal components kept of a frame; 0 keeps the features as they are (this project's choice).
        pool: "sign" averages the frames' signs (UVVH, IV-D), "real" their values.
    """

    name = "mfh"
    reference = "Song, Yang, Huang, Shen, Hong, ACM Multimedia 2011"
    tags = Tags(bits_within_dim=True)

    def __init__(
        self,
        bits: int,
        *,
        alpha: float = 1.0,
        beta: float = 1e-2,
        gamma: float = 1e-3,
        anchors: int = 500,
        neighbours: int = 5,
        components: int = 512,
        pool: str = "sign",
    ):
        self.bits = bits
        self.alpha = alpha
        self.beta = beta
        self.gamma = gamma
        self.anchors = anchors
        self.neighbours = neighbours
        self.components = components
        self.pool = pool

    def fit(self, train: VideoSet, ctx: FitContext) -> Self:
        """Reduce the frames, find anchors, add the Gram blocks up and solve for the map; see `Method.fit`."""
        self._check()
        sample = sample_frames(train, ctx.rng("sample"))
        centre = mean_of(sample)
        basis = None
        if self.components:
            count = min(self.components, train.dim, len(sample) - 1)
            basis = principal_components(sample, centre, count)
        size = train.dim if basis is None else basis.shape[1]
        if self.bits > size:
            raise MethodError(
                f"mfh learns at most one bit a component of the frames; {self.bits} bits were asked of {size} "
                f"(components={self.components}, {train.dim} dimensions, {len(sample)} frames). Set components higher "
                "or ask for fewer bits."
            )
        points = narrowing(centre, basis)(sample)
        del sample
        graph = AnchorGraph.learn(points, self.anchors, self.neighbours, ctx.rng("frames"))
        del points
        blocks = GramBlocks.add_up(train, centre, basis, graph)
        weights = linear_map(blocks, self.bits, self.alpha, self.beta, self.gamma)
        self.mean_ = blocks.mean
        self.directions_ = weights if basis is None else basis @ weights
        return self

    def encode(self, videos: VideoSet) -> np.ndarray:
        """Return the signs of the frames' pooled codes; see `Method.encode`."""
        self.check_fitted()
        if videos.dim != len(self.mean_):
            raise MethodError(f"Learnt from features of {len(self.mean_)} dimensions; these have {videos.dim}.")
        parts = [np.empty((0, self.bits), dtype=bool)]
        for frames in videos.arrays(videos_a_block(videos)):
            values = reduced(frames.reshape(-1, videos.dim), self.mean_, self.directions_)
            values = values.reshape(len(frames), videos.frames, self.bits)
            if self.pool == "sign":
                parts.append(2 * np.count_nonzero(values >= 0, axis=1) >= videos.frames)
            else:
                parts.append(values.mean(axis=1) >= 0)
        return np.concatenate(parts)

    def operations(self, frames: int, dim: int) -> tuple[float, float]:
        """A frame's projection, distances to anchors, Gram blocks; encoding projects; see `cost.StatesOperations`."""
        size = min(self.components, dim) or dim
        reduce = 2 * dim * size if self.components else 0
        block = 2 * size * self.anchors + 2 * size * self.neighbours + 2 * size**2
        return frames * (dim + reduce + block), 2 * frames * dim * self.bits

    def _check(self) -> None:
        if self.alpha < 0 or self.beta <= 0 or self.gamma <= 0:
            raise MethodError(
                f"mfh needs alpha >= 0, beta > 0 and gamma > 0; alpha is {self.alpha:g}, beta {self.beta:g}, "
                f"gamma {self.gamma:g}."
            )
        if self.components < 0:
            raise MethodError(f"mfh's components must be 0 (none) or more, not {self.components}.")
        if self.pool not in ("sign", "real"):
            raise MethodError(f'mfh pools by "sign" or "real", not {self.pool!r}.')


@dataclass(frozen=True)
class GramBlocks:
    """All that the eigenproblem needs to know of n frames, with U = Z Lambda^-1/2 and X_c the centred frames.

    Anchors that no frame is tied to are left out.

    Attributes:
        frames: n.
        mass: Z' 1, the diagonal of Lambda, shape (p,).
        uu: U' U, shape (p, p).
        ux: U' X_c, shape (p, l).
        xx: X_c' X_c, shape (l, l).
        mean: of the frames as they were before they were projected, shape (dim,).
    """

    frames: int
    mass: np.ndarray
    uu: np.ndarray
    ux: np.ndarray
    xx: np.ndarray
    mean: np.ndarray

    @classmethod
    def add_up(cls, train: VideoSet, centre: np.ndarray, basis: np.ndarray | None, graph: AnchorGraph) -> Self:
        """Read the training set once and add its frames' products up in float64.

        Args:
            train: training videos.
            centre: near the mean of their frames, shape (dim,); what it misses is taken out of the sums at the end.
            basis: projection of the frames less the centre, shape (dim, l), or None.
            graph: anchors in these coordinates.

        Raises:
            MethodError: a feature is NaN or infinite.
        """
        anchors, size = graph.anchors.shape
        mass, zz = np.zeros(anchors), np.zeros((anchors, anchors))
        zx, xx = np.zeros((anchors, size)), np.zeros((size, size))
        total, x_total = np.zeros(train.dim), np.zeros(size)
        narrowed = narrowing(centre, basis)
        for block in train.arrays(videos_a_block(train)):
            frames = block.reshape(-1, train.dim)
            total += frames.sum(axis=0, dtype=np.float64)
            if not np.isfinite(total).all():
                raise MethodError("The training features contain NaN or infinite values.")
            x = narrowed(frames)
            z = graph.weights(x)
            mass += z.sum(axis=0)
            zz += (z.T @ z).toarray()
            zx += z.T @ x
            xx += x.T @ x
            x_total += x.sum(axis=0)
        count = len(train) * train.frames
        off = x_total / count
        zx -= np.outer(mass, off)
        xx -= count * np.outer(off, off)
        used = mass > 0
        scale = 1 / np.sqrt(mass[used])
        uu = scale[:, None] * zz[np.ix_(used, used)] * scale
        return cls(count, mass[used], uu, scale[:, None] * zx[used], xx, total / count)


def sample_frames(train: VideoSet, rng: np.random.Generator) -> np.ndarray:
    """Return up to `SAMPLE` random frames of random videos, which are all that is read.

    Args:
        train: training videos.
        rng: draws the sample.

    Returns:
        float32, shape (frames, dim); all frames of the set in their order where they are no more than `SAMPLE`.

    Raises:
        MethodError: there is no video.
    """
    if len(train) * train.frames == 0:
        raise MethodError("There are no training videos.")
    each = min(train.frames, max(EACH, SAMPLE // len(train)))
    videos = np.sort(rng.choice(len(train), min(len(train), SAMPLE // each), replace=False))
    sample = np.empty((len(videos), each, train.dim), dtype=np.float32)
    start = 0
    for block in train.subset(videos).arrays(videos_a_block(train)):
        frames = np.sort(rng.random(block.shape[:2]).argsort(axis=1)[:, :each], axis=1)
        sample[start : start + len(block)] = np.take_along_axis(block, frames[:, :, None], axis=1)
        start += len(block)
    return sample.reshape(-1, train.dim)


def linear_map(blocks: GramBlocks, bits: int, alpha: float, beta: float, gamma: float) -> np.ndarray:
    """Return W = (X_c' X_c + beta I)^-1 X_c' Y, the map from centred frames to codes; b is then -mean' W.

    Args:
        blocks: Gram blocks of the training frames.
        bits: columns of Y.
        alpha: weight of the linear map.
        beta: its ridge.
        gamma: tie to the graph.

    Returns:
        float64, shape (l, bits), each column's coefficient of largest magnitude positive.
    """
    _, on_anchors, on_features = eigenvectors(blocks, bits, alpha, beta, gamma)
    cross = blocks.ux.T @ on_anchors + blocks.xx @ on_features
    weights: np.ndarray = scipy.linalg.solve(blocks.xx + beta * np.eye(len(blocks.xx)), cross, assume_a="pos")
    peaks = weights[np.abs(weights).argmax(axis=0), np.arange(bits)]
    return weights * np.where(peaks < 0, -1.0, 1.0)


def eigenvectors(
    blocks: GramBlocks, bits: int, alpha: float, beta: float, gamma: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the smallest eigenvalues of D but for the constant vector's, and their eigenvectors Y = U_c A + X_c B.

    By Woodbury's identity D = c I - G G' on vectors of mean 0, with c = gamma - c1 + alpha, c1 = gamma^2 / (1 + gamma),
    G = [U_c P, X_c Q], P P' = c1 ((1 + gamma) I - U' U)^-1 and Q Q' = alpha (X_c' X_c + beta I)^-1; U_c is U with its
    columns' means taken off. Y are the leading left singular vectors of G.

    Args:
        blocks: Gram blocks of the training frames.
        bits: how many.
        alpha: weight of the linear map.
        beta: its ridge.
        gamma: tie to the graph.

    Returns:
        Eigenvalues, smallest first, shape (bits,); A, shape (p, bits); B, shape (l, bits), all float64. Where G has no
        further singular vector, columns of zeros.
    """
    # P and Q from eigenvectors, not Cholesky factors: the diagonal blocks of G' G are then exact, and the eigenvalues
    # of the linear part, which lie within beta / variance of alpha, stay apart
    constant = np.sqrt(blocks.mass / blocks.frames)  # U' 1 / sqrt(n), the eigenvector of U' U whose eigenvalue is 1
    smooth, p = scipy.linalg.eigh(blocks.uu - np.outer(constant, constant))
    smooth = smooth.clip(0, 1)
    variance, q = scipy.linalg.eigh(blocks.xx)
    variance = variance.clip(0)
    c1 = gamma**2 / (1 + gamma)
    p *= np.sqrt(c1 / (1 + gamma - smooth))
    q *= np.sqrt(alpha / (variance + beta))
    cross = p.T @ blocks.ux @ q
    gram = np.diag(np.concatenate([c1 * smooth / (1 + gamma - smooth), alpha * variance / (variance + beta)]))
    gram[: len(p), len(p) :], gram[len(p) :, : len(p)] = cross, cross.T
    values, right = scipy.linalg.eigh(gram, subset_by_index=(len(gram) - bits, len(gram) - 1))
    values, right = values[::-1], right[:, ::-1]
    real = values > len(gram) * np.finfo(float).eps * values[0]
    right = right / np.sqrt(np.where(real, values, 1)) * real
    return gamma - c1 + alpha - values, p @ right[: len(p)], q @ right[len(p) :]


def reduced(frames: np.ndarray, mean: np.ndarray, basis: np.ndarray | None) -> np.ndarray:
    """Return centred frames, projected where there is a basis, in float64: signs must not depend on the block's size.

    Args:
        frames: shape (frames, dim).
        mean: shape (dim,); subtracted.
        basis: shape (dim, columns), or None.
    """
    centred: np.ndarray = frames - mean
    return centred if basis is None else centred @ basis


def narrowing(mean: np.ndarray, basis: np.ndarray | None) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function of frames that does as `reduced`, but multiplies in float32: most of the work of learning.

    This rounds as much as the features themselves have been rounded to float32.
    """
    if basis is None:
        return lambda frames: reduced(frames, mean, None)
    narrow, offset = basis.astype(np.float32), mean @ basis
    return lambda frames: frames @ narrow - offset


def videos_a_block(videos: VideoSet) -> int:
    """Return how many videos make a block of `BLOCK_BYTES`."""
    return max(1, BLOCK_BYTES // (4 * videos.frames * videos.dim))
