"""What the hardware allows, measured: memory bandwidth, matrix products, population counts, reading of files.

Import this after `machine.start`, which sets the number of threads.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numba
import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import cgutils

from vhbench.benchmarks.machine import best_of
from vhbench.scoring.counts import in_threads, thread_count
from vhbench.scoring.kernel import VECTOR_BITS, compiled, intrinsic, vectors

if TYPE_CHECKING:
    import torch

REPEAT = 5
L1_WORDS = 2048  # 64-bit words: half of a first-level cache of 32 KB
POPCOUNT_ROUNDS = 100_000
TOTALS = 4  # vectors that counts are added to, so that no addition waits for the one before


def memory_bandwidth(device: str = "cpu", nbytes: int = 1 << 29) -> float:
    """Return how fast memory is read, bytes/s: a sum over an array of `nbytes`, far larger than caches; all threads.

    On a GPU: a copy, of which every byte is read and written.
    """
    if device.startswith("cuda"):
        import torch

        source = torch.ones(nbytes // 4, device=device)
        target = torch.empty_like(source)
        return 2 * nbytes / _seconds_on(device, lambda: target.copy_(source))
    words = np.ones(nbytes // 8, np.int64)
    return nbytes / best_of(REPEAT, in_threads, lambda a, b: _sum(words[a:b]), len(words)).wall


def matmul_rate(
    rows: int = 4096, inner: int = 4096, columns: int = 4096, dtype: torch.dtype | None = None, device: str = "cpu"
) -> float:
    """Return how fast torch multiplies matrices (rows, inner) and (inner, columns), in operations/s, two a product.

    Args:
        rows: of the first matrix; a large square by default.
        inner: its columns, and the rows of the second one.
        columns: of the second one.
        dtype: float32 by default.
        device: "cpu" or "cuda:N".
    """
    import torch

    generator = torch.Generator().manual_seed(0)
    a, b = (
        torch.randn(shape, generator=generator).to(device, dtype or torch.float32)
        for shape in ((rows, inner), (inner, columns))
    )
    return 2 * rows * inner * columns / _seconds_on(device, lambda: a @ b)


def popcount_rate(dtype: np.dtype) -> float:
    """Return how many XORs with population count of words of `dtype` (uint32, uint64) are done a second; all threads.

    The words lie in the first-level cache and the counts are added up: what a Hamming distance costs at least.
    """
    words = np.random.default_rng(0).integers(0, 1 << 31, L1_WORDS * 8 // dtype.itemsize).astype(dtype)
    threads = thread_count()

    def count(first: int, end: int) -> None:
        _popcounts(words, np.zeros(TOTALS * VECTOR_BITS // (8 * dtype.itemsize), dtype), POPCOUNT_ROUNDS)

    work = best_of(REPEAT, in_threads, count, threads, 1)
    return threads * POPCOUNT_ROUNDS * len(words) / work.wall


def read_with_dd(path: Path) -> None:
    """Read the file's bytes as fast as the system does, from the disk or its page cache."""
    subprocess.run(["dd", f"if={path}", "of=/dev/null", "bs=1M", "status=none"], check=True)


def drop_from_cache(path: Path) -> None:
    """Have the system forget the file's pages."""
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


def share_in_cache(path: Path) -> float:
    """Return which part of the file is in the page cache."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as memory:
        pages = -(-len(memory) // mmap.PAGESIZE)
        states = (ctypes.c_ubyte * pages)()
        first = ctypes.c_char.from_buffer(memory)
        failed = ctypes.CDLL(None).mincore(
            ctypes.c_void_p(ctypes.addressof(first)), ctypes.c_size_t(len(memory)), states
        )
        del first
        return float("nan") if failed else sum(state & 1 for state in states) / pages


def _seconds_on(device: str, function: Callable[[], Any]) -> float:
    """Return the shortest time of a torch function after one call to warm up, the device's queue included."""
    import torch

    if not device.startswith("cuda"):
        function()
        return best_of(REPEAT, function).wall
    times = []
    for _ in range(REPEAT + 1):
        torch.cuda.synchronize(device)
        began = time.perf_counter()
        for _ in range(10):  # one call is over before the clock can be read
            function()
        torch.cuda.synchronize(device)
        times.append((time.perf_counter() - began) / 10)
    return min(times[1:])


@compiled
def _sum(words: np.ndarray) -> int:
    total = 0
    for j in range(len(words)):
        total += words[j]
    return total


@intrinsic
def _add_distances(typingctx: Any, query: Any, words: Any, totals: Any) -> Any:
    """Add popcount(query ^ words[j]) up over L1_WORDS 64-bit words, in vectors that stay in registers."""
    width = words.dtype.bitwidth
    vector = ir.VectorType(ir.IntType(width), VECTOR_BITS // width)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        name, kind = f"llvm.ctpop.v{vector.count}i{width}", ir.FunctionType(vector, [vector])
        popcount = cgutils.get_or_insert_function(builder.module, kind, name)  # type: ignore[no-untyped-call]
        load_words, _ = vectors(context, builder, signature.args[1], args[1], vector)
        load, store = vectors(context, builder, signature.args[2], args[2], vector)
        one = builder.insert_element(ir.Constant(vector, ir.Undefined), args[0], ir.Constant(ir.IntType(32), 0))
        mask = ir.Constant(ir.VectorType(ir.IntType(32), vector.count), [0] * vector.count)
        queries = builder.shuffle_vector(one, one, mask)
        total = [load(i) for i in range(TOTALS)]
        for i in range(L1_WORDS * 64 // VECTOR_BITS):
            distances = builder.call(popcount, [builder.xor(load_words(i), queries)])
            total[i % TOTALS] = builder.add(total[i % TOTALS], distances)
        for i in range(TOTALS):
            store(total[i], i)
        return context.get_dummy_value()

    return numba.types.void(query, words, totals), codegen


@compiled
def _popcounts(words: np.ndarray, totals: np.ndarray, rounds: int) -> None:
    for r in range(rounds):
        _add_distances(words[np.uint64(r) % np.uint64(len(words))], words, totals)
