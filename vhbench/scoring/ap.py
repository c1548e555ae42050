"""From distance counts to average precision: exact under ties, in closed form per group of tied items.

AP@K adds up, over the relevant items within the first K ranks, the precision at their rank (Eq. 16 of UVVH, whose
min(R, K) is one choice of denominator among several). Items at one distance are tied; the mean over all their orders is
McSherry & Najork (2008), "Computing Information Retrieval Performance Measures Efficiently in the Presence of Tied
Scores". With `before` items and `found` relevant ones ahead of a group of n items, r of them relevant, rank before + i
adds (r / n) (found + 1 + (i - 1)(r - 1) / (n - 1)) / (before + i) to the expectation.
"""

from __future__ import annotations

import numpy as np

from vhbench.scoring.kernel import compiled, hamming
from vhbench.scoring.metrics import EXPECTED, WORST


def harmonic_numbers(n: int) -> np.ndarray:
    """Return H_0..H_n, float64."""
    return np.concatenate([[0.0], np.cumsum(1.0 / np.arange(1, n + 1))])


@compiled
def _sum_of_precisions(before: int, size: int, first: int, slope: float, harmonic: np.ndarray) -> float:
    """Return the sum over i = 0..size-1 of (first + slope i) / (before + 1 + i).

    The numerator is slope times the denominator plus a constant, and that constant is exactly 0 where all items up to
    here are relevant: a perfect ranking scores exactly 1.
    """
    constant = first - slope * (before + 1)
    return slope * size + constant * float(harmonic[before + size] - harmonic[before])


@compiled
def top_k(
    items: np.ndarray,
    relevant: np.ndarray,
    self_distance: np.ndarray,
    self_relevant: np.ndarray,
    k: int,
    order: int,
    harmonic: np.ndarray,
    precisions: np.ndarray,
    hits: np.ndarray,
) -> None:
    """Compute, per query, what AP, precision and recall at K are made of.

    Args:
        items: n_t, int64, shape (queries, bits + 1).
        relevant: r_t, int64, shape (queries, bits + 1).
        self_distance: int64, shape (queries,): distance at which one item is left out, -1 for none.
        self_relevant: bool, shape (queries,): whether that item is a relevant one.
        k: cut-off rank.
        order: EXPECTED, BEST or WORST order of tied items.
        harmonic: H_0..H_n, n being the smaller of k and the length of the longest list.
        precisions: float64, shape (queries,): receives the sum of precisions at the relevant ranks up to K.
        hits: float64, shape (queries,): receives the relevant items up to rank K.
    """
    for q in range(len(items)):
        before = found = 0
        precisions[q] = hits[q] = 0.0
        for t in range(items.shape[1]):
            n, r = items[q, t], relevant[q, t]
            if t == self_distance[q]:
                n, r = n - 1, r - self_relevant[q]
            if n == 0:
                continue
            shown = min(n, k - before)
            if order == EXPECTED:
                slope = (r - 1) / (n - 1) if n > 1 else 1.0
                precisions[q] += r / n * _sum_of_precisions(before, shown, found + 1, slope, harmonic)
                hits[q] += r * shown / n
            else:
                skipped = n - r if order == WORST else 0
                placed = max(0, min(r, shown - skipped))
                if placed > 0:  # else the position may lie beyond `harmonic`
                    precisions[q] += _sum_of_precisions(before + skipped, placed, found + 1, 1.0, harmonic)
                hits[q] += placed
            before, found = before + n, found + r
            if before >= k:
                break


@compiled
def _shares_class(
    a_start: np.ndarray, a_classes: np.ndarray, i: int, b_start: np.ndarray, b_classes: np.ndarray, j: int
) -> bool:
    """Whether item i of one collection and item j of another have a class in common (ascending lists)."""
    x, y = a_start[i], b_start[j]
    while x < a_start[i + 1] and y < b_start[j + 1]:
        if a_classes[x] == b_classes[y]:
            return True
        if a_classes[x] < b_classes[y]:
            x += 1
        else:
            y += 1
    return False


@compiled
def lists_by_index(
    first: int,
    queries: np.ndarray,
    codes: np.ndarray,
    items: np.ndarray,
    query_start: np.ndarray,
    query_classes: np.ndarray,
    item_start: np.ndarray,
    item_classes: np.ndarray,
    dropped: np.ndarray,
    is_item: np.ndarray,
    is_relevant: np.ndarray,
) -> None:
    """Rank by (distance, database index), for queries first, first + 1, ...

    A counting sort of the first K: the counts say at which rank each distance starts, and one scan in database order
    hands out the ranks.

    Args:
        first: number of the first query of this part.
        queries: uint64, shape (queries, words): packed codes of all queries.
        codes: uint64, shape (n, words): packed database codes.
        items: int64, shape (queries, bits + 1): the counts.
        query_start: with `query_classes`, the class lists of the queries.
        query_classes: see `query_start`.
        item_start: with `item_classes`, the class lists of the database.
        item_classes: see `item_start`.
        dropped: int64, shape (queries,): database row to leave out, -1 for none.
        is_item: int64, shape (queries of the part, K), zeros: receives 1 for each rank up to the end of the list.
        is_relevant: the same shape, zeros: receives 1 for each rank with a relevant item.
    """
    part, k = is_relevant.shape
    next_rank = np.empty(items.shape[1], np.int64)
    for i in range(part):
        q = first + i
        next_rank[0] = 0
        for t in range(1, items.shape[1]):
            next_rank[t] = next_rank[t - 1] + items[q, t - 1]
        if dropped[q] >= 0:
            for t in range(hamming(queries[q], codes[dropped[q]]) + 1, len(next_rank)):
                next_rank[t] -= 1
        for j in range(len(codes)):
            d = hamming(queries[q], codes[j])
            rank = next_rank[d]
            if rank < k and j != dropped[q]:
                next_rank[d] = rank + 1
                is_item[i, rank] = 1
                is_relevant[i, rank] = _shares_class(query_start, query_classes, q, item_start, item_classes, j)


@compiled
def top_k_by_index(is_relevant: np.ndarray, precisions: np.ndarray, hits: np.ndarray) -> None:
    """Do what `top_k` does for ranked lists.

    Args:
        is_relevant: as `lists_by_index` fills it in.
        precisions: as for `top_k`.
        hits: as for `top_k`.
    """
    for q in range(len(is_relevant)):
        found = 0
        precisions[q] = 0.0
        for rank in range(is_relevant.shape[1]):
            if is_relevant[q, rank]:
                found += 1
                precisions[q] += found / (rank + 1)
        hits[q] = found
