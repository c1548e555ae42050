"""From codes and labels to the table that every metric is computed from: items and relevant items per distance."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from vhbench import codes as binary
from vhbench.scoring import kernel
from vhbench.scoring.labels import ClassLists, read_labels

QUERY_TILE = 512
DATABASE_BLOCK = 1 << 19  # rows counted at a time: what a thread needs in memory does not grow with the database


@dataclass(frozen=True)
class DistanceCounts:
    """Per query, database items and relevant ones at each Hamming distance; adds up over shards of the database.

    Attributes:
        items: int64, shape (queries, bits + 1): n_t, items at distance t.
        relevant: int64, the same shape: r_t, those that share at least one label with the query.
        self_distance: int64, shape (queries,): distance of the database item that is the query itself, -1 for none; or
            None if queries are not in the database.
        self_relevant: bool, shape (queries,): whether that item counts in `relevant` (it does unless it has no label).
    """

    items: np.ndarray
    relevant: np.ndarray
    self_distance: np.ndarray | None = None
    self_relevant: np.ndarray | None = None

    def __add__(self, other: DistanceCounts) -> DistanceCounts:
        """Add the counts of the same queries in another shard of the database.

        Raises:
            ValueError: the counts are of other queries or code lengths, or both shards hold the same query.
        """
        if self.items.shape != other.items.shape:
            raise ValueError(f"Cannot add counts of shape {self.items.shape} and {other.items.shape}.")
        items, relevant = self.items + other.items, self.relevant + other.relevant
        if self.self_distance is None and other.self_distance is None:
            return DistanceCounts(items, relevant)
        (mine, mine_relevant), (theirs, theirs_relevant) = self._self_match(), other._self_match()
        if ((mine >= 0) & (theirs >= 0)).any():
            raise ValueError("Cannot add counts: a query is its own match in both shards.")
        return DistanceCounts(items, relevant, np.maximum(mine, theirs), mine_relevant | theirs_relevant)

    def _self_match(self) -> tuple[np.ndarray, np.ndarray]:
        if self.self_distance is None or self.self_relevant is None:
            return np.full(len(self.items), -1, np.int64), np.zeros(len(self.items), bool)
        return self.self_distance, self.self_relevant


@dataclass(frozen=True)
class Retrieval:
    """Checked inputs of an evaluation, in the form that the kernels take.

    Attributes:
        query_codes: bool, shape (queries, bits).
        database_codes: bool, shape (n, bits).
        queries, database: the class lists of their labels.
        n_classes: number of classes.
        self_index: int64, shape (queries,): database row that is the query, -1 for none; or None.
    """

    query_codes: np.ndarray
    database_codes: np.ndarray
    queries: ClassLists
    database: ClassLists
    n_classes: int
    self_index: np.ndarray | None

    @property
    def bits(self) -> int:
        """Length of the codes."""
        return int(self.query_codes.shape[1])


def count_distances(
    query_codes: np.ndarray,
    database_codes: np.ndarray,
    query_labels: np.ndarray,
    database_labels: np.ndarray,
    *,
    self_index: np.ndarray | None = None,
) -> DistanceCounts:
    """Count, per query and Hamming distance, the database items and the relevant ones.

    A database too large for one pass is counted in shards whose counts are added; the sum is the same to the last bit.

    Args:
        query_codes: bool, shape (queries, bits).
        database_codes: bool, shape (n, bits).
        query_labels: class numbers or names (queries,), or multi-hot (queries, classes); see `vhbench.evaluate`.
        database_labels: the same form for the database. An item is relevant if it shares at least one label.
        self_index: int, shape (queries,): the row of this database (or shard) that is the query itself, -1 for none;
            None if queries are not in the database.

    Raises:
        ValueError: an input has another dtype, shape or range; the message says which.
    """
    return count_retrieval(
        read_retrieval(query_codes, database_codes, query_labels, database_labels, self_index=self_index)
    )


def read_retrieval(
    query_codes: object,
    database_codes: object,
    query_labels: object,
    database_labels: object,
    *,
    self_index: object = None,
) -> Retrieval:
    """Check the inputs of `count_distances`; raises ValueError."""
    q = binary.check_codes(query_codes, "query_codes")
    d = binary.check_codes(database_codes, "database_codes")
    if q.shape[1] != d.shape[1]:
        raise ValueError(f"query_codes have {q.shape[1]} bits and database_codes {d.shape[1]}.")
    labels = read_labels(query_labels, database_labels, len(q), len(d))
    if self_index is None:
        return Retrieval(q, d, *labels, None)
    rows = np.asarray(self_index)
    if rows.shape != (len(q),) or rows.dtype.kind not in "iu":
        raise ValueError(
            f"self_index must be integers of shape ({len(q)},), one per query, not {rows.dtype} of shape {rows.shape}."
        )
    rows = rows.astype(np.int64)
    if ((rows < -1) | (rows >= len(d))).any():
        raise ValueError(
            f"self_index must lie in -1..{len(d) - 1} (-1 for a query that is not in the database), "
            f"but spans {rows.min()}..{rows.max()}."
        )
    return Retrieval(q, d, *labels, rows)


def count_retrieval(data: Retrieval) -> DistanceCounts:
    """Count checked inputs; see `count_distances`."""
    lane = kernel.lane_dtype(data.bits)
    queries = binary.pack(data.query_codes).astype(lane)
    sets, set_of_query = data.queries.distinct()
    order = np.argsort(set_of_query, kind="stable")
    sorted_queries, pieces = queries[order], _pieces(set_of_query[order])

    def count_block(start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Return items and, for queries in sorted order, relevant items among the database rows start..stop-1."""
        database = np.ascontiguousarray(binary.pack(data.database_codes[start:stop]).astype(lane).T)
        by_class = data.database.part(start, stop).items_by_class(data.n_classes)
        items, relevant = np.zeros((2, len(queries), data.bits + 1), np.int64)
        in_threads(
            lambda a, b: kernel.histogram(queries[a:b], database, data.bits, items[a:b]), len(queries), QUERY_TILE
        )
        in_threads(
            lambda a, b: kernel.histogram_of_relevant(
                sorted_queries, database, data.bits, pieces[a:b], sets.start, sets.classes, *by_class, relevant
            ),
            len(pieces),
        )
        return items, relevant

    n = len(data.database_codes)
    items, sorted_relevant = count_block(0, min(n, DATABASE_BLOCK))
    for start in range(DATABASE_BLOCK, n, DATABASE_BLOCK):
        more_items, more_relevant = count_block(start, min(n, start + DATABASE_BLOCK))
        items += more_items
        sorted_relevant += more_relevant
    relevant = np.empty_like(sorted_relevant)
    relevant[order] = sorted_relevant
    return DistanceCounts(items, relevant, *_find_self(data))


def in_threads(work: Callable[[int, int], None], n: int, tile: int = 0) -> None:
    """Call work(start, stop) on consecutive parts of range(n), in as many threads as numba may use.

    Compiled code releases the GIL. Python threads rather than numba's: they survive a fork and may run side by side.

    Args:
        work: called once per part; parts do not depend on the number of threads if `tile` is given.
        n: end of the range.
        tile: length of a part; 0 for a few parts per thread.
    """
    threads = thread_count()
    tile = tile or -(-n // (16 * threads))
    starts = range(0, n, tile)
    if threads == 1 or len(starts) == 1:
        for start in starts:
            work(start, min(n, start + tile))
        return
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(work, start, min(n, start + tile)) for start in starts]:
            done.result()


def thread_count() -> int:
    """Return the number of threads: all CPUs of this process, or what NUMBA_NUM_THREADS says."""
    return max(1, int(kernel.numba.config.NUMBA_NUM_THREADS))


def _pieces(sets: np.ndarray) -> np.ndarray:
    """Cut sorted queries where the label set changes and after QUERY_TILE: rows of label set, first query, end."""
    position = np.arange(len(sets))
    new_set = np.concatenate([[True], sets[1:] != sets[:-1]])
    since = position - np.maximum.accumulate(np.where(new_set, position, 0))
    first = np.flatnonzero(since % QUERY_TILE == 0)
    return np.stack([sets[first], first, np.append(first[1:], len(sets))], axis=1)


def _find_self(data: Retrieval) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return distance and relevance of each query's own database item."""
    if data.self_index is None:
        return None, None
    inside = np.flatnonzero(data.self_index >= 0)
    rows = data.self_index[inside]
    distance = np.full(len(data.query_codes), -1, np.int64)
    distance[inside] = (data.query_codes[inside] != data.database_codes[rows]).sum(axis=1)
    relevant = np.zeros(len(data.query_codes), bool)
    mine, own = data.queries.take(inside), data.database.take(rows)
    a, b = (np.repeat(np.arange(len(inside)), np.diff(x.start)) * data.n_classes + x.classes for x in (mine, own))
    relevant[inside[np.intersect1d(a, b) // max(1, data.n_classes)]] = True
    return distance, relevant
