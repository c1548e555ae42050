"""SSVH's neighbourhood: which training videos are taken to be alike, as a sparse matrix.

Song, Zhang, Li, Gao, Wang, Hong: Self-Supervised Video Hashing with Hierarchical Binary Auto-Encoder, IEEE Transactions
on Image Processing 27 (7), 2018; the rules are those of the code released with it.
"""

from __future__ import annotations

import hashlib

import numpy as np
import scipy.sparse
import torch

from vhbench.errors import MethodError

BLOCK = 2**25  # similarities held at a time; 256 MB
COLUMNS = 4096  # videos cast to float64 at a time


def neighbourhood(means: np.ndarray, k1: int = 10, k2: int = 5, device: str = "cpu") -> scipy.sparse.csr_array:
    """Return which videos are alike: s_ij of SSVH, true or false, symmetric.

    A_i holds the k1 + 1 videos that `nearest` finds for video i. T_i holds the k2 videos j that share the most of their
    A_j with A_i, of those that share any; ties go to the lower index. s_ij is true where j is in A_t for a t in T_i, or
    i in A_t for a t in T_j.

    Time is a matrix product of videos x videos x dim operations. Memory is some 55 entries a video with the defaults
    and one block of at most `BLOCK` similarities or intersections; there is never a videos x videos matrix.

    Args:
        means: mean frames, float32, shape (videos, dim).
        k1: neighbours of a video besides itself.
        k2: neighbours' lists that are united.
        device: where to compute the similarities.

    Returns:
        bool, shape (videos, videos), at most 2 (k1 + 1) k2 entries a video on average; indices sorted.

    Raises:
        MethodError: k1 or k2 is below 1, or a feature is NaN or infinite.
    """
    if min(k1, k2) < 1:
        raise MethodError(f"A neighbourhood needs k1 and k2 of at least 1; they are {k1} and {k2}.")
    lists = nearest(means, k1 + 1, device)
    videos, width = lists.shape
    near = scipy.sparse.csr_array(
        (np.ones(lists.size, dtype=np.int32), lists.ravel(), np.arange(0, lists.size + 1, width)), (videos, videos)
    )
    united = (_voters(near, k2) @ near).astype(bool)
    similar = scipy.sparse.csr_array(united + united.T)
    similar.sort_indices()
    return similar


def nearest(means: np.ndarray, count: int, device: str = "cpu") -> np.ndarray:
    """Return each video's `count` nearest videos by the cosine of their mean frames, itself included.

    Ties go to the lower index. Equal mean frames tie exactly, because the cosine is computed once for all of them: two
    columns of one matrix product may be rounded differently. Cosines are computed in float64, so that rounding decides
    no other comparison in practice: mean frames of similar videos have cosines near 1, where float32 knows only 1e-7.
    A mean frame of zeros has cosine 1 with its like and 0 with all others.

    Args:
        means: mean frames, float32, shape (videos, dim).
        count: how many; all where there are fewer videos.
        device: where to compute.

    Returns:
        int64, shape (videos, min(count, videos)); each row ascending, not by rank.

    Raises:
        MethodError: a feature is NaN or infinite.
    """
    if not np.isfinite(means).all():
        raise MethodError("The training features contain NaN or infinite values.")
    videos = len(means)
    first, group = _distinct(means)
    distinct = torch.from_numpy(means if len(first) == videos else means[first]).to(device)
    groups = torch.from_numpy(group).to(device)
    rows = max(1, BLOCK // videos)
    lists = []
    for start in range(0, len(distinct), rows):
        left = _unit(distinct[start : start + rows])
        cosines = torch.cat([left @ _unit(right).T for right in torch.split(distinct, COLUMNS)], dim=1)
        cosines.diagonal(start).fill_(1)
        if len(first) < videos:
            cosines = cosines[:, groups]
        lists.append(_largest(cosines, min(count, videos)).cpu())
    return torch.cat(lists).numpy()[group]  # type: ignore[no-any-return]


def _distinct(means: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the first position of each distinct row, and for every row the number of its distinct row."""
    digests = np.array([hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in means], dtype="V16")
    _, first, group = np.unique(digests, return_index=True, return_inverse=True)
    order = np.argsort(first)  # in the order of the videos, so that without duplicates nothing is moved
    return first[order], np.argsort(order)[group]


def _unit(vectors: torch.Tensor) -> torch.Tensor:
    """Return the vectors at length 1 in float64; zeros stay zeros."""
    vectors = vectors.double()
    length = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
    return vectors.div_(length.where(length > 0, 1.0))


def _largest(values: torch.Tensor, count: int) -> torch.Tensor:
    """Return the columns of each row's `count` largest values, ascending; ties go to the lower column."""
    least = values.topk(count).values[:, -1:]  # topk's values are well defined under ties, its indices are not
    kept = values >= least
    if kept.count_nonzero() > count * len(values):
        above, ties = values > least, values == least
        kept = above | (ties & (ties.cumsum(1, dtype=torch.int32) <= count - above.sum(1, keepdim=True)))
    return kept.nonzero()[:, 1].view(-1, count)


def _voters(near: scipy.sparse.csr_array, count: int) -> scipy.sparse.csr_array:
    """Return T: for each row of `near`, the `count` rows that share most of its entries, as a sparse matrix."""
    videos = near.shape[0]
    across = near.T.tocsr()
    chosen, sizes = [], []
    rows = max(1, BLOCK // 4 // videos)  # rows of videos that all share a neighbour are dense: index, count, sort key
    for start in range(0, videos, rows):
        shared = near[start : start + rows] @ across
        found = np.diff(shared.indptr)
        row = np.repeat(np.arange(len(found)), found)
        order = np.lexsort((shared.indices, -shared.data, row))
        rank = np.arange(len(row)) - shared.indptr[row]
        chosen.append(shared.indices[order[rank < count]])
        sizes.append(np.minimum(found, count))
    starts = np.concatenate([[0], np.cumsum(np.concatenate(sizes))])
    indices = np.concatenate(chosen)
    return scipy.sparse.csr_array((np.ones(len(indices), dtype=np.int32), indices, starts), near.shape)
