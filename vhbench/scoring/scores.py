"""`evaluate`: codes and labels in, every retrieval metric out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from vhbench import codes as binary
from vhbench.errors import UsageError, unknown
from vhbench.scoring import ap, curves
from vhbench.scoring.counts import QUERY_TILE, DistanceCounts, Retrieval, count_retrieval, in_threads, read_retrieval
from vhbench.scoring.kernel import compiled
from vhbench.scoring.metrics import BEST, EXPECTED, WORST, Formula
from vhbench.scoring.names import Metric, record_metrics

if TYPE_CHECKING:
    import pandas as pd

KS = (5, 20, 40, 60, 80, 100)
ORDERS = {"expected": EXPECTED, "best": BEST, "worst": WORST}
LIST_TILE = 1 << 18  # ranks, of all queries at work in a thread, that an order by database index is kept for


def evaluate(
    query_codes: np.ndarray,
    database_codes: np.ndarray,
    query_labels: np.ndarray,
    database_labels: np.ndarray,
    *,
    ks: Sequence[int] = KS,
    self_index: np.ndarray | None = None,
) -> Scores:
    """Rank the database by Hamming distance for every query and return the scores of the ranking.

    Exact, without a distance matrix: memory grows with queries x (bits + 1) only.

    Args:
        query_codes: bool, shape (queries, bits).
        database_codes: bool, shape (n, bits).
        query_labels: class numbers or names (queries,), or a matrix (queries, classes) of zeros and one positive value,
            or booleans; what an array means, `vhbench.features.read_array` says, as for label files.
        database_labels: the same form for the database. An item is relevant if it shares at least one label; labels by
            which every item is relevant are scored like any others, which protocols refuse.
        ks: the cut-off ranks of `Scores.record`; its methods take any other K as well.
        self_index: int, shape (queries,): the database row that is the query itself, -1 for none; None if queries are
            not in the database. Needed for `self_match="drop"`.

    Raises:
        ValueError: an input has another dtype, shape or range, or labels have no clear meaning; the message says which.
    """
    data = read_retrieval(query_codes, database_codes, query_labels, database_labels, self_index=self_index)
    return Scores(count_retrieval(data), ks=ks, retrieval=data)


@dataclass(frozen=True)
class _TopK:
    """Per query, float64: sum of precisions at the relevant ranks up to K, and relevant items up to K."""

    precisions: np.ndarray
    hits: np.ndarray


class Scores:
    """Scores of one ranking. `evaluate` makes them; `Scores(counts)` does from counts added up over shards.

    Queries without any relevant item (after the self match is dropped, where it is) have no score: they are NaN per
    query and left out of every mean; `n_scored` counts the others. A mean over no query is NaN. A metric named with
    empty=zero counts them as 0 instead.

    Methods take `ties`, the order of items at equal distance where it matters: `expected` (mean over all orders;
    McSherry & Najork 2008), `best`, `worst` (relevant ones first or last), `index` (database order); and `self_match`:
    `keep`, or `drop` the database item that is the query itself. A K beyond the database is allowed: the list ends.
    `value` and `per_query` take any metric by its name; `vhbench.scoring.metrics` has them all.

    Args:
        counts: items and relevant items per query and distance.
        ks: the cut-off ranks of `record`.
        retrieval: what was counted; only ties="index" needs it.

    Raises:
        ValueError: a K is not a positive integer.
    """

    def __init__(self, counts: DistanceCounts, *, ks: Sequence[int] = KS, retrieval: Retrieval | None = None) -> None:
        self.counts = counts
        self.ks = tuple(_check_k(k) for k in ks)
        self._retrieval = retrieval
        self._longest = int(counts.items.sum(axis=1).max())
        self._kept_relevant = counts.relevant.sum(axis=1)
        self._top: dict[tuple[int, str, str], _TopK] = {}

    @property
    def n_queries(self) -> int:
        """Number of queries, scored or not."""
        return len(self.counts.items)

    @property
    def in_database(self) -> bool:
        """Whether queries sit in the database, so that self_match="drop" is defined."""
        return self.counts.self_distance is not None

    def n_scored(self, self_match: str = "keep") -> int:
        """Count the queries that have a relevant item; `self_match` as for `map`."""
        return int((self.n_relevant(self_match) > 0).sum())

    def n_relevant(self, self_match: str = "keep") -> np.ndarray:
        """Return R, the relevant database items of each query; int64, shape (queries,).

        Raises:
            UsageError: `self_match` does not exist, or is drop where queries are not in the database.
        """
        distance, relevant = self._dropped(self_match)
        total: np.ndarray = self._kept_relevant - ((distance >= 0) & relevant)
        return total

    def ap(self, k: int, den: str = "k", ties: str = "expected", self_match: str = "keep") -> np.ndarray:
        """Return AP@K of each query; float64, shape (queries,), NaN for queries without a relevant item.

        AP@K is the sum of the precisions at the ranks of the relevant items up to K (Eq. 16 of UVVH), divided by
        `den`: `k`, `min` (min(R, K), as in Eq. 16), `r` (R), or `hits` (relevant items up to K; 0 if there are none;
        ties="index" only).

        Raises:
            ValueError: k is not a positive integer, or ties="index" is asked of summed counts.
            UsageError: an option does not exist or is not defined here.
        """
        return self.per_query(Metric("map", _check_k(k), den, ties, self_match))

    def map(self, k: int, den: str = "k", ties: str = "expected", self_match: str = "keep") -> float:
        """Return mAP@K, the mean of `ap` over the queries that have a relevant item."""
        return self.value(Metric("map", _check_k(k), den, ties, self_match))

    def precision(self, k: int, ties: str = "expected", self_match: str = "keep") -> float:
        """Return mean precision@K: relevant items up to rank K, divided by K. Errors as for `ap`."""
        return self.value(Metric("precision", _check_k(k), None, ties, self_match))

    def recall(self, k: int, ties: str = "expected", self_match: str = "keep") -> float:
        """Return mean recall@K: relevant items up to rank K, divided by R. Errors as for `ap`."""
        return self.value(Metric("recall", _check_k(k), None, ties, self_match))

    def ndcg(self, k: int, ties: str = "expected", self_match: str = "keep") -> float:
        """Return mean nDCG@K with binary relevance (`vhbench.scoring.metrics.ndcg`). Errors as for `ap`."""
        return self.value(Metric("ndcg", _check_k(k), None, ties, self_match))

    def mrr(self, ties: str = "expected", self_match: str = "keep") -> float:
        """Return the mean reciprocal rank of the first relevant item. Errors as for `ap`."""
        return self.value(Metric("mrr", None, None, ties, self_match))

    def precision_within(self, radius: int = 2, self_match: str = "keep") -> float:
        """Return mean precision within a Hamming radius; a query with nothing in it counts as 0. Errors as for `ap`."""
        return self.value(Metric("precision", None, None, "expected", self_match, radius))

    def per_query(self, metric: Metric | str) -> np.ndarray:
        """Return a metric of each query; float64, shape (queries,), NaN (or 0) for queries without a relevant item.

        Args:
            metric: a Metric, or a name whose missing options are the literature's. Errors as for `ap`.
        """
        if isinstance(metric, str):
            metric = Metric.parse(metric, in_database=self.in_database)
        total = self.n_relevant(metric.self_match).astype(np.float64)
        values = self._by_formula(metric) if metric.definition.formula else self._from_top_k(metric, total)
        values[total == 0] = 0.0 if metric.empty == "zero" else np.nan
        return values

    def value(self, metric: Metric | str) -> float:
        """Return the mean of `per_query` over the queries that have a value. Arguments as there."""
        values = self.per_query(metric)
        scored = values[~np.isnan(values)]
        return float(scored.mean()) if len(scored) else float("nan")

    def metrics(self) -> list[Metric]:
        """List what every run record stores, for the K of `ks` (`record_metrics`)."""
        return record_metrics(self.ks, self.in_database, self.n_scored() < self.n_queries)

    def record(self) -> dict[str, float]:
        """Return what every run record stores: full metric name -> value."""
        return {str(metric): self.value(metric) for metric in self.metrics()}

    def precision_recall(self, by: str = "rank", self_match: str = "keep") -> pd.DataFrame:
        """Return the precision-recall curve, averaged over the queries that have a relevant item.

        Args:
            by: `rank` or `radius`. By rank: expected precision and recall of the first `rank` items over all orders of
                tied items, at ranks 1..100 and 150 more geometrically spaced to the end of the (shortest) list. By
                radius: of all items within each Hamming distance 0..bits.
            self_match: as for `map`.

        Returns:
            Columns `rank`, `recall`, `precision`; or `radius`, `recall`, `precision`, `n_empty`: precision is undefined
            for queries that return nothing within a radius, so it is the mean over the others (NaN if there are none)
            and `n_empty` says how many those were.

        Raises:
            UsageError: an option does not exist or is not defined here.
        """
        import pandas as pd

        if by not in ("rank", "radius"):
            raise unknown("curve", by, ("rank", "radius"))
        distance, relevant = self._dropped(self_match)
        total = self.n_relevant(self_match)
        n_scored = (total > 0).sum()
        lengths = self.counts.items.sum(axis=1) - (distance >= 0)
        points = curves.rank_grid(lengths.min()) if by == "rank" else np.arange(self.counts.items.shape[1])
        sums = np.zeros((-(-self.n_queries // QUERY_TILE), 3, len(points)))

        def work(a: int, b: int) -> None:
            rows = (self.counts.items[a:b], self.counts.relevant[a:b], distance[a:b], relevant[a:b], total[a:b])
            precision, recall, answered = sums[a // QUERY_TILE]
            if by == "rank":
                curves.add_up_by_rank(*rows, points, precision, recall)
                answered += (total[a:b] > 0).sum()
            else:
                curves.add_up_by_radius(*rows, precision, recall, answered)

        in_threads(work, self.n_queries, QUERY_TILE)
        precision, recall, answered = sums.sum(axis=0)
        with np.errstate(invalid="ignore"):
            curve = pd.DataFrame({by: points, "recall": recall / n_scored, "precision": precision / answered})
        if by == "radius":
            curve["n_empty"] = (n_scored - answered).astype(np.int64)
        return curve

    def distances(self, self_match: str = "keep") -> pd.DataFrame:
        """Count the pairs of a query and a database item at each Hamming distance, relevant ones and others.

        Only queries that have a relevant item count; each of their pairs counts once.

        Args:
            self_match: as for `map`.

        Returns:
            Columns `distance` (0..bits), `relevant`, `others`, all int64.

        Raises:
            UsageError: `self_match` does not exist or is not defined here.
        """
        import pandas as pd

        distance, relevant = self._dropped(self_match)
        scored = self.n_relevant(self_match) > 0
        found, items = (counts[scored].sum(axis=0) for counts in (self.counts.relevant, self.counts.items))
        dropped = scored & (distance >= 0)
        np.subtract.at(items, distance[dropped], 1)
        np.subtract.at(found, distance[dropped & relevant], 1)
        return pd.DataFrame({"distance": np.arange(len(items)), "relevant": found, "others": items - found})

    def _dropped(self, self_match: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the distance of the item to leave out of each query's list (-1: none), and whether it is relevant."""
        if self_match == "keep":
            return np.full(self.n_queries, -1, np.int64), np.zeros(self.n_queries, bool)
        if self_match != "drop":
            raise unknown("self match", self_match, ("keep", "drop"))
        if self.counts.self_distance is None or self.counts.self_relevant is None:
            raise UsageError("self=drop is defined only where queries sit in the database: give self_index.")
        return self.counts.self_distance, self.counts.self_relevant

    def _from_top_k(self, metric: Metric, total: np.ndarray) -> np.ndarray:
        """Return AP, precision or recall at K of each query; `total` is R of each."""
        k = _check_k(metric.k)
        top = self._top_k(k, metric.ties, metric.self_match)
        sums = top.precisions if metric.kind == "map" else top.hits
        divisors = {"k": np.full_like(total, k), "min": np.minimum(total, k), "hits": top.hits, "r": total}
        divisor = divisors[{"map": str(metric.den), "precision": "k", "recall": "r"}[metric.kind]]
        values: np.ndarray = np.divide(sums, divisor, out=np.zeros_like(total), where=divisor > 0)
        return values

    def _top_k(self, k: int, ties: str, self_match: str) -> _TopK:
        key = (k, ties, self_match)
        if key not in self._top:
            top = _TopK(np.empty(self.n_queries), np.empty(self.n_queries))
            if ties == "index":
                self._in_lists(
                    k, self_match, lambda a, b, _, hit: ap.top_k_by_index(hit, top.precisions[a:b], top.hits[a:b])
                )
            else:
                self._rank_by_counts(k, ties, self_match, top)
            self._top[key] = top
        return self._top[key]

    def _rank_by_counts(self, k: int, ties: str, self_match: str, top: _TopK) -> None:
        distance, relevant = self._dropped(self_match)
        harmonic = ap.harmonic_numbers(min(k, self._longest))

        def work(a: int, b: int) -> None:
            ap.top_k(
                self.counts.items[a:b], self.counts.relevant[a:b], distance[a:b], relevant[a:b],
                k, ORDERS[ties], harmonic, top.precisions[a:b], top.hits[a:b],
            )  # fmt: skip

        in_threads(work, self.n_queries)

    def _by_formula(self, metric: Metric) -> np.ndarray:
        """Return what the formula of a metric makes of each query."""
        formula = _compiled(metric.definition.formula)
        cut = metric.k or metric.radius or 0
        values = np.zeros(self.n_queries)
        if metric.ties == "index":
            self._in_lists(
                self._longest,
                metric.self_match,
                lambda a, b, items, relevant: formula(items, relevant, cut, EXPECTED, values[a:b]),
            )
            return values
        distance, is_relevant = self._dropped(metric.self_match)

        def work(a: int, b: int) -> None:
            items, relevant = self.counts.items[a:b], self.counts.relevant[a:b]
            dropped = np.flatnonzero(distance[a:b] >= 0)
            if len(dropped):
                items, relevant = items.copy(), relevant.copy()
                items[dropped, distance[a:b][dropped]] -= 1
                relevant[dropped, distance[a:b][dropped]] -= is_relevant[a:b][dropped]
            formula(items, relevant, cut, ORDERS[metric.ties], values[a:b])

        in_threads(work, self.n_queries, QUERY_TILE)
        return values

    def _in_lists(self, k: int, self_match: str, use: Callable[[int, int, np.ndarray, np.ndarray], object]) -> None:
        """Rank by distance and database index; call `use(a, b, is_item, is_relevant)` for queries a to b - 1.

        The arrays are int64, shape (b - a, K): whether there is an item at a rank, and whether it is relevant.
        """
        data = self._retrieval
        if data is None:
            raise ValueError("ties='index' needs the order of the database, which counts do not have: use evaluate.")
        queries, database = binary.pack(data.query_codes), binary.pack(data.database_codes)
        row = np.full(self.n_queries, -1, np.int64)
        if self_match == "drop" and data.self_index is not None:
            row = data.self_index
        lists = (data.queries.start, data.queries.classes, data.database.start, data.database.classes)
        k = min(k, self._longest)

        def work(a: int, b: int) -> None:
            is_item, is_relevant = np.zeros((2, b - a, k), np.int64)
            ap.lists_by_index(a, queries, database, self.counts.items, *lists, row, is_item, is_relevant)
            use(a, b, is_item, is_relevant)

        in_threads(work, self.n_queries, max(1, LIST_TILE // k))


@cache
def _compiled(formula: Formula) -> Formula:
    return compiled(formula)


def _check_k(k: int | None) -> int:
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
        raise ValueError(f"k must be a positive integer, not {k!r}.")
    return int(k)
