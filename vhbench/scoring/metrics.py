"""Every metric: how its name is written, which choices it has, and its formula. A further one is added here alone.

To add one, write its formula and put it into METRICS under its name, with `@K` behind it if it has a cut-off rank or
`@rN` if it has a Hamming radius. Then `Scores`, records (at each K of the protocol; at radius 2; once without either),
rescoring and every report have it. In the tests, `brute.py` needs its definition on one ranked list to hold it against.

A formula fills in the values of some queries, from the groups of tied items in their ranked lists:

    formula(items, relevant, cut, order, values)

    items: int64, shape (queries, groups): how many items are in each group, nearest first. Group t holds those at
        distance t; but for ties=index each group holds one item, in the order of the list. The query's own item is left
        out already where it is to be.
    relevant: int64, the same shape: how many of them are relevant. A query without any is NaN whatever is filled in.
    cut: K, or the radius; 0 for a metric without either.
    order: of the items in a group: EXPECTED (the value is the mean over all orders), BEST or WORST (relevant ones first
        or last). It plays no part in a metric without the choice `ties`.
    values: float64, shape (queries,), zeros: receives the values.

It is plain Python that numba can compile, which is done at its first use: names load without numba.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

EXPECTED, BEST, WORST = range(3)
NEGLIGIBLE = 1e-18  # a share of the value that float64 cannot show

Formula = Callable[[np.ndarray, np.ndarray, int, int, np.ndarray], None]


def ndcg(items: np.ndarray, relevant: np.ndarray, cut: int, order: int, values: np.ndarray) -> None:
    """nDCG@K with binary relevance: the sum of 1 / log2(1 + rank) over relevant items up to rank K, over its maximum.

    Järvelin & Kekäläinen (2002), "Cumulated Gain-Based Evaluation of IR Techniques", with the discount that is usual
    since; the maximum is that of a list with the first min(R, K) items relevant. The mean over orders of tied items
    gives each item of a group the share of relevant ones in it (McSherry & Najork 2008). An item is relevant or not, as
    for all metrics here and in the video hashing literature; work on multi-label images also grades it by the number of
    labels that it shares with the query (He et al. 2018, "Hashing as Tie-Aware Learning to Rank"): another metric.
    """
    longest = 0
    for q in range(len(items)):
        longest = max(longest, items[q].sum())
    discounts = 1.0 / np.log2(np.arange(2.0, min(cut, longest) + 2.0))
    for q in range(len(items)):
        before, gain = 0, 0.0
        for t in range(items.shape[1]):
            n, r = items[q, t], relevant[q, t]
            for i in range(min(n, len(discounts) - before) if r > 0 else 0):
                if order == EXPECTED:
                    gain += r / n * discounts[before + i]
                elif (order == BEST and i < r) or (order == WORST and i >= n - r):
                    gain += discounts[before + i]
            before += n
            if before >= len(discounts):
                break
        ideal = 0.0  # added up in the same order: a perfect ranking scores exactly 1
        for i in range(min(relevant[q].sum(), len(discounts))):
            ideal += discounts[i]
        if ideal > 0:
            values[q] = gain / ideal


def reciprocal_rank(items: np.ndarray, relevant: np.ndarray, cut: int, order: int, values: np.ndarray) -> None:
    """1 / rank of the first relevant item, whose mean is MRR (Voorhees 1999, TREC-8 question answering track).

    In a group of n tied items, r of them relevant, the first i are all others with the probability of drawing i others
    without putting any back; so the mean over all orders adds up over where the first relevant one can be (McSherry &
    Najork 2008).
    """
    for q in range(len(items)):
        before = 0
        for t in range(items.shape[1]):
            n, r = items[q, t], relevant[q, t]
            if r == 0:
                before += n
                continue
            if order == BEST:
                values[q] = 1.0 / (before + 1)
            elif order == WORST:
                values[q] = 1.0 / (before + n - r + 1)
            else:
                others_only = 1.0
                for i in range(n - r + 1):
                    values[q] += others_only * r / (n - i) / (before + i + 1)
                    others_only *= (n - r - i) / (n - i)
                    if others_only < NEGLIGIBLE:
                        break
            break


def precision_within(items: np.ndarray, relevant: np.ndarray, cut: int, order: int, values: np.ndarray) -> None:
    """Precision of what lies within a Hamming radius: the hash lookup of Liu et al. (2011), "Hashing with Graphs".

    As there and in most work since, a query with nothing within the radius counts as 0. (The precision-recall curve by
    radius leaves such queries out and counts them instead.) It is a set, so that the order of ties does not matter.
    """
    for q in range(len(items)):
        returned = items[q, : cut + 1].sum()
        if returned > 0:
            values[q] = relevant[q, : cut + 1].sum() / returned


@dataclass(frozen=True)
class Definition:
    """What a metric's name leaves open, and how it is computed.

    Attributes:
        options: the choices in its full name, in this order: of `den`, `ties` and `self`.
        formula: as above; None for the three that `vhbench.scoring.ap` computes in one pass.
    """

    options: tuple[str, ...] = ("ties", "self")
    formula: Formula | None = None


METRICS: Mapping[str, Definition] = MappingProxyType(
    {
        "map@K": Definition(("den", "ties", "self")),
        "precision@K": Definition(),
        "recall@K": Definition(),
        "ndcg@K": Definition(formula=ndcg),
        "mrr": Definition(formula=reciprocal_rank),
        "precision@rN": Definition(("self",), precision_within),
    }
)
"""How a name is written, K and N standing for numbers -> what it means."""
