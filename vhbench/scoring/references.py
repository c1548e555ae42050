"""What a score is held against: chance, the cosine of mean frames, and the best that any ranking reaches.

All three come out of the scoring of codes itself: each is a table of items and relevant items per "distance".
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from vhbench.protocol import Relevance, Split
from vhbench.scoring.counts import QUERY_TILE, DistanceCounts
from vhbench.scoring.names import RADIUS, Metric
from vhbench.scoring.scores import Scores, evaluate
from vhbench.stats import bootstrap_intervals

if TYPE_CHECKING:
    import torch

PRODUCTS = 2 * 10**12  # multiplications of one cosine ranking: a minute on a few cores; above it, a sample of queries
CENTRE = 50_000  # training videos that the centre is taken over at most: its error is 1/220 of a standard deviation
BLOCK = 1024  # database videos at a time
TILE = 1 << 22  # similarities at a time
READ = 24 * 2**20  # bytes of float32 frames at a time
LOW = (1 << 32) - 1  # the low half of a key


@dataclass(frozen=True)
class References:
    """The reference scores of one split.

    Attributes:
        values: key of `vhbench.scoring.names.REFERENCES` -> full metric name -> number, None for a mean over no query.
            `chance` is the expected score of a random order, which equal codes have: also of a metric with ties=best or
            ties=worst. `attainable` is that of a ranking with all relevant items first, which with den=k and R < K is
            below 1. `cosine` is that of the exact cosine of centred mean frames, without codes; it lacks what has a
            Hamming radius, and mrr where a first relevant item lies beyond the largest K.
        intervals: full metric name -> 95 % bootstrap interval of `cosine`; empty where it is of all queries.
        queries: how many queries `cosine` is of.
        total: how many queries there are.
    """

    values: dict[str, dict[str, float | None]]
    intervals: dict[str, tuple[float, float]]
    queries: int
    total: int


def references(split: Split, ks: Sequence[int], device: str = "cpu") -> References:
    """Compute the reference scores of a split, for every metric that its runs record.

    Memory is bounded: the database is read once, in blocks. Where queries x items x dimensions pass PRODUCTS, `cosine`
    is of a sample of the queries, drawn by the split's digest.

    Args:
        split: the split; a mean frame is centred on that of its training videos, as ITQ does.
        ks: the cut-off ranks.
        device: for the products of vectors, which are float32.
    """
    relevance = split.relevance
    equal = [np.zeros((len(labels), 1), bool) for labels in (relevance.query_labels, relevance.database_labels)]
    chance = evaluate(
        equal[0],
        equal[1],
        relevance.query_labels,
        relevance.database_labels,
        ks=ks,
        self_index=relevance.self_index,
    )
    sample = _sample(split)
    nearest = nearest_by_cosine(split, sample, max(ks) + 1, device)
    cosine = Scores(_cosine_counts(chance.counts, relevance, sample, nearest), ks=ks)
    shown = {metric: cosine.per_query(metric) for metric in chance.metrics() if _is_defined(metric, cosine)}
    attainable = Scores(_relevant_first(chance.counts), ks=ks)
    values = {
        "chance": {str(metric): _number(chance.value(_any_order(metric))) for metric in chance.metrics()},
        "cosine": {str(metric): _mean(column) for metric, column in shown.items()},
        "attainable": {str(metric): _number(attainable.value(metric)) for metric in chance.metrics()},
    }
    intervals = _intervals(shown) if len(sample) < chance.n_queries else {}
    return References(values, intervals, len(sample), chance.n_queries)


def size_of(split: Split) -> int:
    """Return the multiplications of a split's cosine ranking, had it all queries."""
    return len(split.query.videos) * len(split.database.videos) * split.database.videos.dim


def equal_codes(counts: DistanceCounts) -> DistanceCounts:
    """Return the counts that the same queries had if all codes were equal: every item at distance 0."""
    items, relevant = (table.sum(axis=1, keepdims=True) for table in (counts.items, counts.relevant))
    own = counts.self_distance
    return DistanceCounts(items, relevant, None if own is None else np.minimum(own, 0), counts.self_relevant)


def nearest_by_cosine(split: Split, queries: np.ndarray, k: int, device: str = "cpu") -> np.ndarray:
    """Return each query's nearest database videos by the cosine of centred mean frames, nearest first.

    Args:
        split: the split.
        queries: which queries, int (queries,).
        k: how many; all, where the database has fewer.
        device: of the products.

    Returns:
        Rows of the database, int64 (queries, k). Equal similarities (in float32) are in the order of the database.
    """
    import torch

    centre = _centre(split)
    asked = np.concatenate([_directions(block, centre) for block in _mean_frames(split.query.videos.subset(queries))])
    left = torch.from_numpy(asked).to(device)
    k = min(k, len(split.database.videos))
    keys = torch.full((len(asked), k), torch.iinfo(torch.int64).min, device=device)
    tile, start = max(1, TILE // (BLOCK + k)), 0
    for block in _mean_frames(split.database.videos):
        right = torch.from_numpy(_directions(block, centre)).to(device).T
        rows = LOW - torch.arange(start, start + len(block), device=device)
        for a in range(0, len(asked), tile):
            coming = _sortable(left[a : a + tile] @ right) << 32 | rows
            keys[a : a + tile] = torch.cat([keys[a : a + tile], coming], dim=1).topk(k, dim=1).values
        start += len(block)
    found: np.ndarray = (LOW - (keys & LOW)).cpu().numpy()
    return found


def _sample(split: Split) -> np.ndarray:
    """Return which queries the cosine ranking is computed of, ascending."""
    total, size = len(split.query.videos), size_of(split)
    if size <= PRODUCTS:
        return np.arange(total)
    digest = hashlib.sha256("".join(split.digests().values()).encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:8], "big"))
    return np.sort(rng.choice(total, max(1, PRODUCTS * total // size), replace=False))


def _mean_frames(videos: Any) -> Iterator[np.ndarray]:
    """Yield the mean frames of consecutive videos: float64, shape (BLOCK or a few more, the last fewer; dim)."""
    parts: list[np.ndarray] = []
    for array in videos.arrays(max(1, READ // (4 * videos.frames * videos.dim))):
        parts.append(array.mean(axis=1, dtype=np.float64))
        if sum(map(len, parts)) >= BLOCK:
            yield np.concatenate(parts)
            parts = []
    if parts:
        yield np.concatenate(parts)


def _centre(split: Split) -> np.ndarray:
    """Return the mean over training videos of their mean frames; float64 (dim,)."""
    videos = split.train.videos
    if len(videos) > CENTRE:
        videos = videos.subset(np.linspace(0, len(videos) - 1, CENTRE).astype(np.int64))
    total: np.ndarray = sum((block.sum(axis=0) for block in _mean_frames(videos)), np.zeros(videos.dim))
    return total / len(videos)


def _directions(means: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Return centred mean frames at unit length, float32; one that is the centre itself stays 0."""
    centred = means - centre
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    directions: np.ndarray = np.divide(centred, lengths, out=np.zeros_like(centred), where=lengths > 0)
    return directions.astype(np.float32)


def _sortable(similarities: torch.Tensor) -> torch.Tensor:
    """Return int64 numbers of 32 bits in the order of the float32 ones; -0 and 0 are equal."""
    import torch

    numbers = (similarities + 0.0).view(torch.int32).long()
    return torch.where(numbers < 0, numbers ^ 0x7FFFFFFF, numbers)


def _cosine_counts(
    whole: DistanceCounts, relevance: Relevance, sample: np.ndarray, nearest: np.ndarray
) -> DistanceCounts:
    """Return counts with one item a distance for the nearest, and all others at one more distance."""
    hits = np.empty(nearest.shape, bool)
    wanted, offered = relevance.query_labels[sample], relevance.database_labels
    for a in range(0, len(sample), QUERY_TILE):
        own, found = wanted[a : a + QUERY_TILE, None], offered[nearest[a : a + QUERY_TILE]]
        hits[a : a + QUERY_TILE] = own == found if offered.ndim == 1 else ((own != 0) & (found != 0)).any(axis=2)
    items, relevant = np.ones((2, len(sample), nearest.shape[1] + 1), np.int64)
    relevant[:, :-1] = hits
    items[:, -1] = whole.items[sample].sum(axis=1) - nearest.shape[1]
    relevant[:, -1] = whole.relevant[sample].sum(axis=1) - hits.sum(axis=1)
    if relevance.self_index is None or whole.self_relevant is None:
        return DistanceCounts(items, relevant)
    row = relevance.self_index[sample]
    is_own = nearest == row[:, None]
    place = np.where(is_own.any(axis=1), is_own.argmax(axis=1), nearest.shape[1])
    return DistanceCounts(items, relevant, np.where(row < 0, -1, place), whole.self_relevant[sample])


def _relevant_first(whole: DistanceCounts) -> DistanceCounts:
    """Return counts with the relevant items at distance 0 and the others beyond the radius that is recorded."""
    items, relevant = np.zeros((2, len(whole.items), RADIUS + 2), np.int64)
    items[:, 0] = relevant[:, 0] = whole.relevant.sum(axis=1)
    items[:, -1] = whole.items.sum(axis=1) - items[:, 0]
    if whole.self_distance is None or whole.self_relevant is None:
        return DistanceCounts(items, relevant)
    place = np.where(whole.self_relevant, 0, RADIUS + 1)
    return DistanceCounts(items, relevant, np.where(whole.self_distance < 0, -1, place), whole.self_relevant)


def _is_defined(metric: Metric, cosine: Scores) -> bool:
    """Say whether a metric of the cosine ranking follows from its nearest items."""
    if metric.k is not None or metric.radius is not None:
        return metric.radius is None
    counts, own = cosine.counts, cosine.counts.self_distance
    found = counts.relevant[:, :-1].sum(axis=1)
    if metric.self_match == "drop" and own is not None and counts.self_relevant is not None:
        found -= (own >= 0) & (own < counts.items.shape[1] - 1) & counts.self_relevant
    return bool((found[cosine.n_relevant(metric.self_match) > 0] > 0).all())


def _any_order(metric: Metric) -> Metric:
    return replace(metric, ties="expected") if metric.ties in ("best", "worst") else metric


def _intervals(columns: dict[Metric, np.ndarray]) -> dict[str, tuple[float, float]]:
    """Return an interval for each metric, over the queries that it is defined of."""
    found = {}
    for metric, column in columns.items():
        scored = column[~np.isnan(column)]
        if len(scored):
            low, high = bootstrap_intervals(scored[:, None])[:, 0].tolist()
            found[str(metric)] = (low, high)
    return found


def _mean(column: np.ndarray) -> float | None:
    scored = column[~np.isnan(column)]
    return float(scored.mean()) if len(scored) else None


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
