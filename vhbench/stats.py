"""Uncertainty of a mean over queries: bootstrap intervals, paired sign-flip tests, Holm's correction.

The unit is the query: where a method was run with several seeds, each query's AP is averaged over them first. Random
draws depend on the seed and on the number of queries alone and are shared by all columns: a row's interval and a pair's
p stay what they are when a method is added, and a whole table costs little more than one row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

RESAMPLES = 10_000
BLOCK = 2**22  # numbers of a block of random weights, of 8 bytes each
TOLERANCE = 1e-10  # sums that differ by less than this part of what was added up are ties


def bootstrap_interval(
    values: np.ndarray, *, level: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of a mean (Efron & Tibshirani 1993, Sec. 13.3).

    Args:
        values: one number a query, shape (queries,).
        level: nominal coverage, between 0 and 1.
        resamples: how many samples of as many queries, drawn with replacement.
        seed: of the draws.

    Returns:
        Its lower and upper end.

    Raises:
        ValueError: no values, NaN among them, or an impossible level or number of resamples.
    """
    low, high = bootstrap_intervals(_column(values), level=level, resamples=resamples, seed=seed)[:, 0]
    return float(low), float(high)


def bootstrap_intervals(
    values: np.ndarray, *, level: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> np.ndarray:
    """Return what `bootstrap_interval` does for each column of values of the same queries.

    Args:
        values: shape (queries, columns).
        level: as there.
        resamples: as there.
        seed: as there.

    Returns:
        Lower and upper ends, float64, shape (2, columns).

    Raises:
        ValueError: as there.
    """
    return _ends(_weighted_sums(values, _counts, resamples, seed) / len(values), level)


def bootstrap_differences(
    values: np.ndarray,
    pairs: Sequence[tuple[int, int]],
    *,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> np.ndarray:
    """Return the interval of the difference of two columns' means, paired: the same queries are drawn for both.

    Args:
        values: of the same queries, shape (queries, columns).
        pairs: column numbers; the second is subtracted.
        level: as for `bootstrap_interval`.
        resamples: as there.
        seed: as there.

    Returns:
        Lower and upper ends, float64, shape (2, pairs).

    Raises:
        ValueError: as there.
    """
    means = _weighted_sums(values, _counts, resamples, seed) / len(values)
    ends = np.empty((2, len(pairs)))
    for number, (a, b) in enumerate(pairs):  # one at a time: all at once would not fit in memory
        ends[:, number] = _ends(means[:, [a]] - means[:, [b]], level)[:, 0]
    return ends


def _ends(means: np.ndarray, level: float) -> np.ndarray:
    """Return the percentiles of resampled means between which a part `level` of them lies."""
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, not {level}.")
    ends: np.ndarray = np.quantile(means, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return ends


def sign_flip(differences: np.ndarray, *, resamples: int = RESAMPLES, seed: int = 0) -> float:
    """Return the two-sided p-value of a paired sign-flip test: is the mean of the differences zero?

    If two methods were alike, each query's difference could as well have the other sign (Fisher 1935, Sec. 21). With c
    of n random choices of signs at least as far from zero as what was observed, p = (c + 1) / (n + 1), which is never 0
    and makes the test valid (Phipson & Smyth 2010).

    Args:
        differences: one method's values less the other's, query by query, shape (queries,).
        resamples: n.
        seed: of the signs.

    Raises:
        ValueError: no values, NaN among them, or no resamples.
    """
    column = _column(differences)
    values = np.hstack([column, np.zeros_like(column)])
    return float(sign_flip_pairs(values, [(0, 1)], resamples=resamples, seed=seed)[0])


def sign_flip_pairs(
    values: np.ndarray, pairs: Sequence[tuple[int, int]], *, resamples: int = RESAMPLES, seed: int = 0
) -> np.ndarray:
    """Return what `sign_flip` does for pairs of columns of values of the same queries.

    Args:
        values: shape (queries, columns).
        pairs: column numbers.
        resamples: as there.
        seed: as there.

    Returns:
        p-values, float64, shape (pairs,), not corrected for their number (`holm`).

    Raises:
        ValueError: as there.
    """
    totals, sizes = values.sum(axis=0, dtype=np.float64), np.abs(values).sum(axis=0, dtype=np.float64)
    sums = 2 * _weighted_sums(values, _coins, resamples, seed) - totals  # coins are 0 or 1, signs -1 or 1
    p = np.empty(len(pairs))
    for number, (a, b) in enumerate(pairs):
        least = abs(totals[a] - totals[b]) - TOLERANCE * (sizes[a] + sizes[b])
        as_far = int((np.abs(sums[:, a] - sums[:, b]) >= least).sum())
        p[number] = (as_far + 1) / (resamples + 1)
    return p


def holm(p: np.ndarray | Sequence[float]) -> np.ndarray:
    """Return p-values adjusted for their number by Holm's step-down procedure (Holm 1979).

    Rejecting where the adjusted p is at most alpha keeps the chance of any false rejection at alpha, however the tests
    depend on each other.

    Args:
        p: shape (tests,).

    Returns:
        Float64, shape (tests,), at most 1, in the order given.
    """
    p = np.asarray(p, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return adjusted


def _column(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1:
        raise ValueError(f"values must have the shape (queries,), not {values.shape}.")
    return values[:, None]


Draw = Callable[[np.random.Generator, int, int], np.ndarray]


def _weighted_sums(values: np.ndarray, draw: Draw, resamples: int, seed: int) -> np.ndarray:
    """Return sums of each column under random weights of the queries; float64, shape (resamples, columns)."""
    values = np.asarray(values, dtype=np.float64)
    if not len(values) or np.isnan(values).any():
        raise ValueError("There must be values, and no NaN among them: leave out queries that have no score.")
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1, not {resamples}.")
    rng = np.random.default_rng(seed)
    with threadpool_limits(1, "blas"):  # threads that wait for a busy core make such products ten times slower
        return np.vstack([draw(rng, block, len(values)) @ values for block in _blocks(resamples, len(values))])


def _blocks(resamples: int, queries: int) -> Iterator[int]:
    size = max(1, BLOCK // queries)
    for start in range(0, resamples, size):
        yield min(size, resamples - start)


def _counts(rng: np.random.Generator, samples: int, queries: int) -> np.ndarray:
    """Return how often each query is drawn, with replacement, in each sample; shape (samples, queries)."""
    counts = np.empty((samples, queries))
    for row in counts:
        row[:] = np.bincount(rng.integers(queries, size=queries), minlength=queries)
    return counts


def _coins(rng: np.random.Generator, samples: int, queries: int) -> np.ndarray:
    """Return 0 or 1 for each query in each sample; shape (samples, queries)."""
    words = rng.integers(
        2**64, size=(samples, -(-queries // 64)), dtype=np.uint64
    )  # whole: no bits lost between blocks
    return np.unpackbits(words.astype("<u8").view(np.uint8), axis=1, count=queries).astype(np.float64)
