"""Retrieval metrics the slow way, straight from their definitions: sort, walk down the list, enumerate orders of ties.

Shares nothing with vhbench.scoring. One query at a time: `distance` and `relevant` describe its database items, in
database order, without the item to be dropped.
"""

from __future__ import annotations

import itertools
import math

import numpy as np


def distances(query: np.ndarray, database: np.ndarray) -> np.ndarray:
    return np.array([sum(a != b for a, b in zip(query.tolist(), item.tolist(), strict=True)) for item in database])


def share_label(a, b) -> bool:
    """Single labels (numbers) or multi-hot rows."""
    if np.ndim(a) == 0:
        return bool(a == b)
    return any(x and y for x, y in zip(a.tolist(), b.tolist(), strict=True))


def metric_of_list(kind: str, hits: list[bool], k: int, den: str | None) -> float:
    """The metric of one ranked list of relevance flags."""
    total, found, precisions = sum(hits), 0, 0.0
    for rank, hit in enumerate(hits[:k], start=1):
        if hit:
            found += 1
            precisions += found / rank
    if kind == "precision":
        return found / k
    if kind == "recall":
        return found / total
    if kind == "ndcg":
        ideal = [rank <= total for rank in range(1, len(hits) + 1)]
        return discounted_gain(hits[:k]) / discounted_gain(ideal[:k])
    if kind == "mrr":
        return 1 / (hits.index(True) + 1)
    divisor = {"k": k, "min": min(total, k), "r": total, "hits": found}[den]
    return precisions / divisor if divisor else 0.0


def discounted_gain(hits: list[bool]) -> float:
    """DCG with binary relevance."""
    return math.fsum(1 / math.log2(1 + rank) for rank, hit in enumerate(hits, start=1) if hit)


def orders(distance: np.ndarray, relevant: np.ndarray, ties: str):
    """Yield the relevance flags of every ranking to average over."""
    groups = [relevant[distance == t].tolist() for t in sorted(set(distance.tolist()))]
    if ties == "index":
        yield [hit for group in groups for hit in group]
    elif ties in ("best", "worst"):
        yield [hit for group in groups for hit in sorted(group, reverse=ties == "best")]
    else:
        for arranged in itertools.product(*(placements(group) for group in groups)):
            yield [hit for group in arranged for hit in group]


def placements(group: list[bool]):
    """All arrangements of a tie group; each stands for equally many permutations."""
    for places in itertools.combinations(range(len(group)), sum(group)):
        yield [i in places for i in range(len(group))]


def n_orders(distance: np.ndarray, relevant: np.ndarray) -> int:
    groups = [relevant[distance == t] for t in set(distance.tolist())]
    return math.prod(math.comb(len(group), int(group.sum())) for group in groups)


def metric(kind, distance, relevant, k, den=None, ties="expected") -> float:
    """The metric of one query; NaN if nothing is relevant. `expected` enumerates: keep it small."""
    if not relevant.any():
        return math.nan
    return float(np.mean([metric_of_list(kind, hits, k, den) for hits in orders(distance, relevant, ties)]))


def sampled(kind, distance, relevant, k, den, samples, rng) -> tuple[float, float]:
    """Mean and standard error over random orders of tied items."""
    values = []
    for _ in range(samples):
        order = np.lexsort([rng.random(len(distance)), distance])
        values.append(metric_of_list(kind, relevant[order].tolist(), k, den))
    return float(np.mean(values)), float(np.std(values) / math.sqrt(samples))


class Brute:
    """All queries of a small case; the same names and options as Scores."""

    def __init__(self, query_codes, database_codes, query_labels, database_labels, self_index=None) -> None:
        self.distance = np.array([distances(q, database_codes) for q in query_codes])
        self.relevant = np.array([[share_label(q, d) for d in database_labels] for q in query_labels])
        self.self_index = self_index

    def lists(self, self_match="keep"):
        """Distances and relevance of each query's database items, in database order."""
        for q in range(len(self.distance)):
            kept = np.ones(self.distance.shape[1], bool)
            if self_match == "drop" and self.self_index[q] >= 0:
                kept[self.self_index[q]] = False
            yield self.distance[q, kept], self.relevant[q, kept]

    def per_query(self, kind, k=None, den=None, ties="expected", self_match="keep") -> np.ndarray:
        return np.array([metric(kind, d, r, k, den, ties) for d, r in self.lists(self_match)])

    def within(self, radius, self_match="keep") -> np.ndarray:
        """Precision of the items within a Hamming radius, 0 where there are none; NaN if nothing is relevant."""
        found = []
        for distance, relevant in self.lists(self_match):
            flags = [hit for d, hit in zip(distance.tolist(), relevant.tolist(), strict=True) if d <= radius]
            found.append((sum(flags) / len(flags) if flags else 0.0) if any(relevant) else math.nan)
        return np.array(found)

    def by_radius(self, bits, self_match="keep"):
        """Rows of radius, recall, precision, n_empty."""
        scored = [(d, r) for d, r in self.lists(self_match) if r.any()]
        for radius in range(bits + 1):
            recalls = [r[d <= radius].sum() / r.sum() for d, r in scored]
            precisions = [r[d <= radius].mean() for d, r in scored if (d <= radius).any()]
            mean = np.mean(precisions) if precisions else math.nan
            yield radius, np.mean(recalls), mean, len(scored) - len(precisions)
