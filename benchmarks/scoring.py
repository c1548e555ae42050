"""Speed and memory of scoring, side by side in one run with the same number of threads.

    python benchmarks/scoring.py [--queries 45600] [--database 45600] [--bits 16,64,128] [--labels single]

- ours: everything that a run record stores, i.e. `evaluate`, every metric of six K, and both precision-recall curves.
- faiss: `IndexBinaryFlat.search` for the top 100 alone; no metric, and ties in whatever order its heap leaves them.
- dense: what released video hashing code does, at a size that fits: all distances by a float matrix product, argsort of
  every row, the label similarity matrix, mAP at six K (vectorised here; the released loops over queries are slower).

Compilation (once per machine, then cached on disk) is excluded by a first call on small inputs, and reported. Codes
are class centres with 30 % of their bits flipped. Times are wall clock, the best of --repeat; keep the machine idle.
Peak memory of ours is that of a fresh process, with the interpreter and the libraries in it.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

KS = (5, 20, 40, 60, 80, 100)
CLASSES = 239


def parse() -> argparse.Namespace:
    """Read the command line."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=45_600)
    parser.add_argument("--database", type=int, default=45_600)
    parser.add_argument("--bits", default="16,64,128")
    parser.add_argument("--labels", choices=("single", "multi"), default="single", help="multi: 1 to 3 of 239 each")
    parser.add_argument("--dense", type=int, default=10_000, help="queries and items of the dense way; 0 to skip it")
    parser.add_argument("--threads", type=int, default=cpus)
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--only-ours", action="store_true", help=argparse.SUPPRESS)  # the fresh process for memory
    return parser.parse_args()


def make_data(n: int, bits: int, labels: str) -> tuple[np.ndarray, np.ndarray]:
    """Codes (bool) and labels of n items."""
    import numpy as np

    rng = np.random.default_rng(0)
    classes = rng.integers(0, CLASSES, n)
    codes = (rng.random((CLASSES, bits)) < 0.5)[classes] ^ (rng.random((n, bits)) < 0.3)
    if labels == "single":
        return codes, classes
    hot = np.eye(CLASSES, dtype=bool)[classes]
    for more in (0.5, 0.2):
        chosen = np.flatnonzero(rng.random(n) < more)
        hot[chosen, rng.integers(0, CLASSES, len(chosen))] = True
    return codes, hot


def ours(queries: int, codes: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Compute everything that a run record stores."""
    import numpy as np

    from vhbench.scoring import evaluate

    scores = evaluate(codes[:queries], codes, labels[:queries], labels, ks=KS, self_index=np.arange(queries))
    record = scores.record()
    scores.precision_recall("rank")
    scores.precision_recall("radius")
    return record


def faiss_top_100(queries: int, codes: np.ndarray) -> None:
    """Search the exact top 100 of each query."""
    import faiss
    import numpy as np

    octets = np.packbits(codes, axis=1, bitorder="little")
    index = faiss.IndexBinaryFlat(8 * octets.shape[1])
    index.add(octets)
    index.search(octets[:queries], 100)


def dense(codes: np.ndarray, labels: np.ndarray) -> list[float]:
    """Mean AP at each K, divided by K, with ties as argsort leaves them."""
    import numpy as np

    signs = codes.astype(np.float32) * 2 - 1
    distances = 0.5 * (codes.shape[1] - signs @ signs.T)
    hot = np.eye(CLASSES, dtype=np.float32)[labels] if labels.ndim == 1 else labels.astype(np.float32)
    similar = (hot @ hot.T) > 0
    order = np.argsort(distances, axis=1)
    hits = np.take_along_axis(similar, order, axis=1)[:, : max(KS)]
    precisions = hits * np.cumsum(hits, axis=1) / np.arange(1, max(KS) + 1)
    return [float((precisions[:, :k].sum(axis=1) / k).mean()) for k in KS]


def best_of(repeat: int, function: Callable[..., Any], *args: Any) -> float:
    """Wall clock in seconds."""
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        function(*args)
        times.append(time.perf_counter() - start)
    return min(times)


def peak_mb() -> float:
    """Peak resident memory of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << (20 if sys.platform == "darwin" else 10))


def peak_mb_of_ours(args: argparse.Namespace, bits: int) -> float:
    """Run `ours` in a fresh process."""
    options = {"queries": args.queries, "database": args.database, "bits": bits, "labels": args.labels}
    command = [sys.executable, __file__, "--only-ours", "--threads", str(args.threads)]
    command += [word for name, value in options.items() for word in (f"--{name}", str(value))]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def cpu_name() -> str:
    """Name the processor as the system does."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.split(": ", 1)[1] for line in lines if line.startswith("model name")), platform.processor())


def main() -> None:
    """Run and print the comparison."""
    args = parse()
    for variable in ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = str(args.threads)  # before numpy, numba or faiss is loaded
    n = max(args.queries, args.database)
    all_bits = [int(bits) for bits in args.bits.split(",")]
    if args.only_ours:
        ours(args.queries, *make_data(n, all_bits[0], args.labels))
        print(peak_mb())
        return

    import faiss

    faiss.omp_set_num_threads(args.threads)
    print(f"machine: {platform.node()}, {cpu_name()}, {args.threads} threads; faiss {faiss.__version__}")
    print(f"{args.queries:,} queries x {n:,} items, {args.labels} labels of {CLASSES} classes, best of {args.repeat}\n")
    print("bits   ours s  faiss s  faiss/ours  peak MB of ours")
    compile_s = 0.0
    for bits in all_bits:
        codes, labels = make_data(n, bits, args.labels)
        compile_s += best_of(1, ours, 64, codes[:64], labels[:64])
        mine = best_of(args.repeat, ours, args.queries, codes, labels)
        theirs = best_of(args.repeat, faiss_top_100, args.queries, codes)
        memory = peak_mb_of_ours(args, bits)
        print(f"{bits:4} {mine:8.2f} {theirs:8.2f} {theirs / mine:10.1f}x {memory:16.0f}", flush=True)
    print(f"\nNot in these times: {compile_s:.1f} s of first calls (compiling, or loading what was compiled before).")
    if args.dense:
        print(f"\n{args.dense:,} queries x {args.dense:,} items\nbits   ours s  dense s  dense/ours")
        for bits in all_bits:
            codes, labels = make_data(args.dense, bits, args.labels)
            mine = best_of(args.repeat, ours, args.dense, codes, labels)
            theirs = best_of(1, dense, codes, labels)
            print(f"{bits:4} {mine:8.2f} {theirs:8.2f} {theirs / mine:10.1f}x", flush=True)


if __name__ == "__main__":
    main()
