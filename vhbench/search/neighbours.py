"""The nearest codes of a query, by comparing it with every one.

A part of the database is read in blocks that stay in the first-level cache. The distances of a block are counted
without a branch; only where one of them is near enough is the block looked through again. What is near enough shrinks
as codes are found: a buffer takes up candidates, and when it is full, the k best stay, by counting how many there are
at each distance. All is done in whole numbers and in the order of rows, so that ties fall to the first ones.
"""

from __future__ import annotations

import numpy as np

from vhbench.scoring import kernel
from vhbench.scoring.counts import in_threads

BLOCK_ROWS = 512
PART_ROWS = 1 << 20  # what a thread looks through at a time
QUERIES = 64  # that go through a block together
SPARE = 16  # room in the buffer beyond twice k
FAR = np.iinfo(np.int32).max  # distance of the places that a part with fewer than k rows leaves


def nearest(codes: np.ndarray, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Find the k codes at the least Hamming distance of each query; of codes at one distance, those of the first rows.

    The codes may be a memory map: they are read once for up to 64 queries, and never copied.

    Args:
        codes: uint8, shape (n, bytes): packed codes, unused bits 0.
        queries: uint8, shape (queries, bytes): packed alike.
        k: from 1 to n.

    Returns:
        Rows of `codes`, int64, and distances, int32, both of shape (queries, k), the nearest first.

    Raises:
        ValueError: the arrays are of another form, or k is out of range.
    """
    for name, array in (("codes", codes), ("queries", queries)):
        if array.dtype != np.uint8 or array.ndim != 2 or 0 in array.shape:
            raise ValueError(f"{name} must be packed codes, uint8 (n, bytes), not {array.dtype} {array.shape}.")
    if codes.shape[1] != queries.shape[1]:
        raise ValueError(f"codes have {codes.shape[1]} bytes and queries {queries.shape[1]}.")
    if not 1 <= k <= len(codes):
        raise ValueError(f"k must be from 1 to {len(codes)}, not {k}.")
    database, asked = _as_words(codes), _as_words(queries)
    n, total = len(codes), len(queries)
    parts, groups = -(-n // PART_ROWS), -(-total // QUERIES)
    capacity = 2 * k + SPARE
    rows, distances = np.empty((total, parts * k), np.int64), np.full((total, parts * k), FAR, np.int32)

    def search(unit: int, _: int) -> None:
        part, first = unit % parts, unit // parts * QUERIES
        start, group = part * PART_ROWS, slice(first, min(total, first + QUERIES))
        found = np.empty((group.stop - first, capacity), np.int64), np.empty((group.stop - first, capacity), np.int32)
        _search(asked[group], database[start : start + PART_ROWS], k, *found)
        some = min(k, PART_ROWS, n - start)
        rows[group, part * k : part * k + some] = found[0][:, :some] + start
        distances[group, part * k : part * k + some] = found[1][:, :some]

    in_threads(search, parts * groups, 1)
    if parts == 1:
        return rows, distances
    order = np.argsort(distances, axis=1, kind="stable")[:, :k]  # parts stand in the order of rows
    return np.take_along_axis(rows, order, axis=1), np.take_along_axis(distances, order, axis=1)


def _as_words(codes: np.ndarray) -> np.ndarray:
    """Return the same memory, read-only, as words of 64 bits where a code is a whole number of them."""
    words: np.ndarray = np.ascontiguousarray(codes).view(np.ndarray)
    if codes.shape[1] % 8 == 0:
        words = words.view(np.uint64)
    words.flags.writeable = False  # so that one compiled form serves memory maps and arrays
    return words


@kernel.compiled
def _search(queries: np.ndarray, codes: np.ndarray, k: int, rows: np.ndarray, distances: np.ndarray) -> None:
    """Write rows and distances of the nearest codes to the first k places; fewer where there are not so many codes.

    Args:
        queries: shape (queries, words), unsigned.
        codes: shape (n, words), the same dtype.
        k: how many are asked for.
        rows: int64, shape (queries, capacity), capacity above k: receives the rows; the places behind them
            are room to work in.
        distances: int32, the same shape.
    """
    bits = 8 * codes.itemsize * codes.shape[1]
    capacity = rows.shape[1]
    words, flat = np.empty((codes.shape[1], BLOCK_ROWS), codes.dtype), codes.reshape(codes.size)
    block = np.empty(BLOCK_ROWS, np.int32)
    size = np.zeros(len(queries), np.int64)
    limit = np.full(len(queries), bits, np.int32)  # the largest distance that can still be among the k nearest
    counts = np.empty(bits + 2, np.int64)
    best_rows, best_distances = np.empty(k, np.int64), np.empty(k, np.int32)
    for start in range(0, len(codes), BLOCK_ROWS):
        length = min(BLOCK_ROWS, len(codes) - start)
        if len(words) == 1:
            words[0, :length] = flat[start : start + length]
        else:
            for w in range(len(words)):
                for j in range(length):
                    words[w, j] = codes[start + j, w]
        for i in range(len(queries)):
            if not _fill_distances(queries[i], words, length, limit[i], block):
                continue
            for j in range(length):
                if block[j] <= limit[i]:
                    rows[i, size[i]] = start + j
                    distances[i, size[i]] = block[j]
                    size[i] += 1
                    if size[i] == capacity:
                        _keep_best(rows[i], distances[i], capacity, counts, best_rows, best_distances)
                        size[i] = k
                        limit[i] = distances[i, k - 1] - 1  # a later row at the same distance comes after it
    for i in range(len(queries)):
        _keep_best(rows[i], distances[i], size[i], counts, best_rows, best_distances)


@kernel.compiled
def _fill_distances(query: np.ndarray, words: np.ndarray, length: int, limit: int, out: np.ndarray) -> bool:
    """Write the distances of the codes words[:, :length] to `out`; say whether one of them is at most `limit`."""
    near = False
    for w in range(len(query)):
        word = query[w]
        column = words[w]
        if w == 0:
            for j in range(length):
                out[j] = np.int32(kernel.distance(word, column[j]))
        else:
            for j in range(length):
                out[j] += np.int32(kernel.distance(word, column[j]))
    for j in range(length):
        near |= out[j] <= limit
    return near


@kernel.compiled
def _keep_best(
    rows: np.ndarray, distances: np.ndarray, size: int, counts: np.ndarray, best_rows: np.ndarray, best: np.ndarray
) -> None:
    """Sort the first `size` candidates by distance, stably, and leave the first len(best) of them in place."""
    counts[:] = 0
    for i in range(size):
        counts[distances[i] + 1] += 1
    for t in range(1, len(counts)):
        counts[t] += counts[t - 1]
    for i in range(size):
        place = counts[distances[i]]
        counts[distances[i]] += 1
        if place < len(best):
            best_rows[place] = rows[i]
            best[place] = distances[i]
    some = min(size, len(best))
    rows[:some] = best_rows[:some]
    distances[:some] = best[:some]
