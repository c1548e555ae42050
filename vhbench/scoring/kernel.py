"""The counting kernel: how many database codes lie at each Hamming distance of each query.

A histogram filled one increment at a time waits for memory at every pair. This one never increments. A block of
distances d becomes a block of one-hot words 1 << d, and bit-sliced counters add these words up: plane p of a counter
holds bit p of the count of every bit position, and a carry-save adder, five logic operations, brings two more words in
(positional population count: Harley & Seal; Klarqvist, Mula & Lemire 2019). Everything is XOR, popcount, shift and
logic on 512-bit vectors, without branches, and its time does not depend on the data.

Codes longer than a lane of the vectors take one pass over the distances per lane width ("window"). Vectors are written
out in LLVM's own vector types, which it lowers to what the machine has (AVX-512, AVX2, NEON).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]

from vhbench.errors import UsageError
from vhbench.system.environment import import_without

no_threads = re.fullmatch(r"\s*(-\d+|0+)\s*", os.environ.get("NUMBA_NUM_THREADS", ""))
numba = import_without("numba", *(["NUMBA_NUM_THREADS"] if no_threads else []))  # else it could not be imported
extending = import_without("numba.extending")

F = TypeVar("F", bound=Callable[..., Any])

VECTOR_BITS = 512
LEVELS = 6  # a block is 2^6 vectors: these planes stay in registers
PLANES = 13  # counts up to 2^13 - 1 per lane, so a tile of 2^12 vectors cannot overflow
GROUP = 16  # queries that share a block while it is in the first-level cache


def compiled(function: F) -> F:
    """Compile with numba: releases the GIL and is cached on disk beside the source, or in the user's cache folder."""
    if numba.config.DISABLE_JIT:
        raise UsageError("NUMBA_DISABLE_JIT switches off what compiles the scoring: unset it, and start Python anew.")
    try:
        return cast(F, numba.njit(nogil=True, cache=True)(function))
    except RuntimeError:  # neither can be written to: compile in every process
        return cast(F, numba.njit(nogil=True)(function))


def intrinsic(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let compiled functions call what this function generates as LLVM code."""
    return cast(Callable[..., Any], extending.intrinsic(function))


def lane_dtype(bits: int) -> np.dtype:
    """Return the type of the words that codes are counted in: twice as many of the narrow ones fit a vector."""
    return np.dtype(np.uint32 if bits <= 32 else np.uint64)


def vectors(context: Any, builder: ir.IRBuilder, array_type: Any, array: Any, kind: ir.Type) -> tuple[Any, Any]:
    """Return functions load(i) and store(value, i) that see an array's memory as a row of `kind`s."""
    data = context.make_array(array_type)(context, builder, array).data
    base = builder.bitcast(data, kind.as_pointer())
    align = array_type.dtype.bitwidth // 8

    def at(i: int) -> Any:
        return builder.gep(base, [ir.Constant(ir.IntType(64), i)])

    return (lambda i: builder.load(at(i), align=align)), (lambda value, i: builder.store(value, at(i), align=align))


@intrinsic
def distance(typingctx: Any, a: Any, b: Any) -> Any:
    """Count the bits in which two words differ; stays in the words' own width, so that loops over it vectorise."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.ctpop(builder.xor(*args))

    return a(a, b), codegen


@intrinsic
def _add_block(typingctx: Any, distances: Any, planes: Any) -> Any:
    """Count a block of distances into a counter's planes; distances not below the lane width count nowhere."""
    width = distances.dtype.bitwidth
    vector = ir.VectorType(ir.IntType(width), VECTOR_BITS // width)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        load_distances, _ = vectors(context, builder, signature.args[0], args[0], vector)
        load, store = vectors(context, builder, signature.args[1], args[1], vector)
        zero, one, limit = (ir.Constant(vector, [x] * vector.count) for x in (0, 1, width))
        rows = iter(range(1 << LEVELS))
        plane = [load(p) for p in range(LEVELS)]

        def carry(level: int) -> Any:
            """Add the next 2^level one-hot words; return their carry, which weighs 2^level."""
            if level == 0:
                d = load_distances(next(rows))
                return builder.select(builder.icmp_unsigned("<", d, limit), builder.shl(one, d), zero)
            a, b, c = carry(level - 1), carry(level - 1), plane[level - 1]
            half = builder.xor(a, b)
            plane[level - 1] = builder.xor(half, c)
            return builder.or_(builder.and_(a, b), builder.and_(half, c))

        rest = carry(LEVELS)
        for p in range(LEVELS):
            store(plane[p], p)
        for p in range(LEVELS, PLANES):
            old = load(p)
            store(builder.xor(old, rest), p)
            rest = builder.and_(old, rest)
        return context.get_dummy_value()

    return numba.types.void(distances, planes), codegen


@intrinsic
def _read_counter(typingctx: Any, planes: Any, counts: Any) -> Any:
    """Read a counter: counts[b] (uint16, 64 of them) sums 2^p over planes p and their 64-bit words that have bit b."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vector = ir.VectorType(ir.IntType(16), 64)
        load, _ = vectors(context, builder, signature.args[0], args[0], ir.IntType(64))
        _, store = vectors(context, builder, signature.args[1], args[1], vector)
        total, one = (ir.Constant(vector, [x] * 64) for x in (0, 1))
        words = VECTOR_BITS // 64
        for p in reversed(range(PLANES)):
            total = builder.shl(total, one)
            for w in range(p * words, (p + 1) * words):
                bits = builder.bitcast(load(w), ir.VectorType(ir.IntType(1), 64))
                total = builder.add(total, builder.zext(bits, vector))
        store(total, 0)
        return context.get_dummy_value()

    return numba.types.void(planes, counts), codegen


@compiled
def _fill_distances(query: np.ndarray, codes: np.ndarray, start: int, stop: int, filler: int, out: np.ndarray) -> None:
    """Write the distances of codes[:, start:stop] to `out`, and `filler` behind them."""
    size = stop - start
    for w in range(len(query)):
        word = query[w]
        column = codes[w, start:stop]
        if w == 0:
            for j in range(size):
                out[j] = distance(word, column[j])
        else:
            for j in range(size):
                out[j] += distance(word, column[j])
    out[size:] = filler


@compiled
def hamming(a: np.ndarray, b: np.ndarray) -> int:
    """Return the Hamming distance of two packed codes, uint64 of shape (words,)."""
    d = 0
    for w in range(len(a)):
        d += distance(a[w], b[w])
    return d


@compiled
def histogram(queries: np.ndarray, codes: np.ndarray, bits: int, out: np.ndarray) -> None:
    """Count database items per distance, for each query.

    Args:
        queries: shape (queries, words), of `lane_dtype(bits)`.
        codes: shape (words, n), the same dtype: the database, one row a word.
        bits: length of the codes.
        out: int64, shape (queries, bits + 1), zeros: receives the counts at distances 0..bits.
    """
    width = 8 * codes.itemsize
    lanes = VECTOR_BITS // width
    block = lanes << LEVELS
    tile = lanes << (PLANES - 1)
    windows = (bits + width - 1) // width
    n = codes.shape[1]
    distances = np.empty(block, codes.dtype)
    planes = np.empty((min(GROUP, len(queries)), windows, PLANES, lanes), codes.dtype)
    counts = np.empty(64, np.uint16)
    for tile_start in range(0, n, tile):
        tile_stop = min(n, tile_start + tile)
        for first in range(0, len(queries), GROUP):
            group = min(GROUP, len(queries) - first)
            planes[:] = 0
            for start in range(tile_start, tile_stop, block):
                for i in range(group):
                    # `bits` is as good as any filler: distance `bits` is not counted but found by subtraction below
                    _fill_distances(queries[first + i], codes, start, min(tile_stop, start + block), bits, distances)
                    for w in range(windows):
                        if w > 0:
                            for j in range(block):
                                distances[j] -= width
                        _add_block(distances, planes[i, w])
            for i in range(group):
                for w in range(windows):
                    _read_counter(planes[i, w], counts)
                    for b in range(64):  # narrow lanes share a 64-bit word
                        t = w * width + b % width
                        if t < bits:
                            out[first + i, t] += counts[b]
    for i in range(len(queries)):
        out[i, bits] = n - out[i, :bits].sum()


@compiled
def histogram_of_relevant(
    queries: np.ndarray,
    codes: np.ndarray,
    bits: int,
    pieces: np.ndarray,
    set_start: np.ndarray,
    set_classes: np.ndarray,
    class_start: np.ndarray,
    class_items: np.ndarray,
    out: np.ndarray,
) -> None:
    """Count relevant database items per distance, for each query: those that share at least one class with it.

    Queries lie in order of their label sets, so that the relevant codes are gathered once per set and then counted like
    any database.

    Args:
        queries: as for `histogram`.
        codes: as for `histogram`.
        bits: length of the codes.
        pieces: int64, shape (pieces, 3): label set, first query, end of the queries.
        set_start: the classes of label set s are set_classes[set_start[s] : set_start[s + 1]].
        set_classes: see `set_start`.
        class_start: the database rows of class c are class_items[class_start[c] : class_start[c + 1]].
        class_items: see `class_start`.
        out: as for `histogram`.
    """
    n = codes.shape[1]
    seen_in = np.full(n, -1, np.int32)
    relevant = np.empty(n + 1, np.int32)
    gathered = np.empty(codes.size, codes.dtype)
    for p in range(len(pieces)):
        label_set, first, end = pieces[p, 0], pieces[p, 1], pieces[p, 2]
        size = 0
        for c in set_classes[set_start[label_set] : set_start[label_set + 1]]:
            for j in class_items[class_start[c] : class_start[c + 1]]:
                relevant[size] = j  # without a branch: overwritten by the next one if seen before
                size += seen_in[np.uint64(j)] != p
                seen_in[np.uint64(j)] = p
        part = gathered[: codes.shape[0] * size].reshape((codes.shape[0], size))
        for w in range(codes.shape[0]):
            for i in range(size):
                part[w, i] = codes[w, np.uint64(relevant[i])]
        histogram(queries[first:end], part, bits, out[first:end])
