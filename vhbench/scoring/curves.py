"""Precision-recall curves from distance counts: by rank and by Hamming radius, two different things."""

from __future__ import annotations

import numpy as np

from vhbench.scoring.kernel import compiled

DENSE_RANKS = 100
SPARSE_RANKS = 150


def rank_grid(longest: int) -> np.ndarray:
    """Return the ranks at which the curve is drawn: 1..100, then 150 geometrically spaced up to `longest`; int64."""
    dense = np.arange(1, min(longest, DENSE_RANKS) + 1)
    if longest <= DENSE_RANKS:
        return dense
    return np.unique(np.concatenate([dense, np.geomspace(DENSE_RANKS, longest, SPARSE_RANKS).round().astype(np.int64)]))


@compiled
def add_up_by_rank(
    items: np.ndarray,
    relevant: np.ndarray,
    self_distance: np.ndarray,
    self_relevant: np.ndarray,
    totals: np.ndarray,
    ranks: np.ndarray,
    precision: np.ndarray,
    recall: np.ndarray,
) -> None:
    """Add up expected precision and recall at each rank over the queries that have relevant items.

    Within a group of n tied items, r of them relevant, the expected hits grow by r / n a rank (McSherry & Najork 2008).

    Args:
        items: n_t, int64, shape (queries, bits + 1).
        relevant: r_t, int64, shape (queries, bits + 1).
        self_distance: int64, shape (queries,): distance at which one item is left out, -1 for none.
        self_relevant: bool, shape (queries,): whether that item is a relevant one.
        totals: int64, shape (queries,): relevant items of each query; those with none are skipped.
        ranks: int64, ascending, none beyond the end of a list.
        precision: float64, shape (ranks,): the sums are added to it.
        recall: likewise.
    """
    for q in range(len(items)):
        if totals[q] == 0:
            continue
        before = found = i = 0
        for t in range(items.shape[1]):
            n, r = items[q, t], relevant[q, t]
            if t == self_distance[q]:
                n, r = n - 1, r - self_relevant[q]
            while i < len(ranks) and ranks[i] <= before + n:
                hits = found + r * (ranks[i] - before) / n
                precision[i] += hits / ranks[i]
                recall[i] += hits / totals[q]
                i += 1
            before, found = before + n, found + r


@compiled
def add_up_by_radius(
    items: np.ndarray,
    relevant: np.ndarray,
    self_distance: np.ndarray,
    self_relevant: np.ndarray,
    totals: np.ndarray,
    precision: np.ndarray,
    recall: np.ndarray,
    answered: np.ndarray,
) -> None:
    """Add up precision and recall within each Hamming radius over the queries that have relevant items.

    Args:
        items: as for `add_up_by_rank`, and so the next four.
        relevant: r_t.
        self_distance: -1 for none.
        self_relevant: whether it counts in r_t.
        totals: relevant items of each query.
        precision: float64, shape (bits + 1,): the sums are added to it.
        recall: likewise.
        answered: float64, shape (bits + 1,): receives how many queries return anything; the rest have no precision.
    """
    for q in range(len(items)):
        if totals[q] == 0:
            continue
        returned = found = 0
        for t in range(items.shape[1]):
            returned, found = returned + items[q, t], found + relevant[q, t]
            if t == self_distance[q]:
                returned, found = returned - 1, found - self_relevant[q]
            recall[t] += found / totals[q]
            if returned > 0:
                precision[t] += found / returned
                answered[t] += 1
