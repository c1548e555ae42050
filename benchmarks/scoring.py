"""Scoring beside faiss's top-100 search and beside the dense way of released code.

    python -m vhbench.benchmarks.scoring [--queries 45600] [--database 45600] [--bits 16,64,128] [--labels single]
        [--dense 10000] [--threads N] [--repeat 3] [--quick]

- ours: everything that a run record stores, i.e. `evaluate`, every metric of six K, and both precision-recall curves.
- faiss: `IndexBinaryFlat.search` for the top 100 alone; no metric, and ties in whatever order its heap leaves them.
- dense, at a size that fits: all distances by a float matrix product, argsort of every row, the label similarity matrix
  by a float product too, mAP at six K; the best that full matrices can do.
- released: the same with the labels' product in integers, without BLAS, as S5VH's code has it, where it takes most of
  the time; that code's loops over queries, slower still, are vectorised here.
- bound: the XORs and population counts that the distances of all pairs take, and of relevant pairs once more, at the
  rate measured; or, if that takes longer, reading all codes and writing all counts once at the bandwidth measured.

Ours and faiss take turns, and the best of --repeat counts; processor time (cpu) suffers less from other work than wall
clock. Compilation (once per machine, then cached on disk) is excluded by a first call on small inputs, and reported.
Codes are class centres with 30 % of their bits flipped. Peak memory of ours is that of a fresh process, interpreter and
libraries included. Keep the machine idle.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from vhbench.benchmarks import machine

if TYPE_CHECKING:
    import numpy as np

    from vhbench.scoring import Scores

KS = (5, 20, 40, 60, 80, 100)
CLASSES = 239
BLOCK = 1 << 16  # codes made at a time
QUICK = {"queries": 1000, "database": 5000, "bits": [16, 64], "dense": 1000, "repeat": 1}
NO_FAISS = 'faiss is not installed, so that its column stays empty: pip install "vhbench[bench]"'


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = machine.options(__doc__)
    parser.add_argument("--queries", type=int, default=45_600)
    parser.add_argument("--database", type=int, default=45_600)
    parser.add_argument("--bits", type=machine.numbers, default=[16, 64, 128])
    parser.add_argument("--labels", choices=("single", "multi"), default="single", help="multi: 1 to 3 of 239 each")
    parser.add_argument("--dense", type=int, default=10_000, help="queries and items of the dense way; 0 to skip it")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--only-ours", action="store_true", help=argparse.SUPPRESS)  # the fresh process for memory
    return machine.parse(parser, QUICK)


def make_data(n: int, bits: int, labels: str) -> tuple[np.ndarray, np.ndarray]:
    """Return codes (bool) and labels of n items; made in blocks, so that it takes no memory beside them."""
    import numpy as np

    rng = np.random.default_rng(0)
    classes = rng.integers(0, CLASSES, n)
    centres, codes = rng.random((CLASSES, bits)) < 0.5, np.empty((n, bits), bool)
    for start in range(0, n, BLOCK):
        part = codes[start : start + BLOCK]
        np.less(rng.random(part.shape, dtype=np.float32), 0.3, out=part)
        part ^= centres[classes[start : start + BLOCK]]
    if labels == "single":
        return codes, classes
    hot = np.eye(CLASSES, dtype=bool)[classes]
    for more in (0.5, 0.2):
        chosen = np.flatnonzero(rng.random(n) < more)
        hot[chosen, rng.integers(0, CLASSES, len(chosen))] = True
    return codes, hot


def ours(queries: int, codes: np.ndarray, labels: np.ndarray) -> Scores:
    """Compute everything that a run record stores."""
    import numpy as np

    from vhbench.scoring import evaluate

    scores = evaluate(codes[:queries], codes, labels[:queries], labels, ks=KS, self_index=np.arange(queries))
    scores.record()
    scores.precision_recall("rank")
    scores.precision_recall("radius")
    return scores


def faiss_top_100(queries: int, codes: np.ndarray) -> None:
    """Search the exact top 100 of each query."""
    import faiss
    import numpy as np

    octets = np.packbits(codes, axis=1, bitorder="little")
    index = faiss.IndexBinaryFlat(8 * octets.shape[1])
    index.add(octets)
    index.search(octets[:queries], 100)


def dense(codes: np.ndarray, labels: np.ndarray, label_type: str) -> list[float]:
    """Mean AP at each K, divided by K, with ties as argsort leaves them; the labels' product in `label_type`."""
    import numpy as np

    signs = codes.astype(np.float32) * 2 - 1
    distances = 0.5 * (codes.shape[1] - signs @ signs.T)
    hot = np.eye(CLASSES, dtype=label_type)[labels] if labels.ndim == 1 else labels.astype(label_type)
    similar = (hot @ hot.T) > 0
    order = np.argsort(distances, axis=1)
    hits = np.take_along_axis(similar, order, axis=1)[:, : max(KS)]
    precisions = hits * np.cumsum(hits, axis=1) / np.arange(1, max(KS) + 1)
    return [float((precisions[:, :k].sum(axis=1) / k).mean()) for k in KS]


def peak_mb_of_ours(args: argparse.Namespace, bits: int) -> float:
    """Run `ours` in a fresh process."""
    options = {"queries": args.queries, "database": args.database, "bits": bits, "labels": args.labels}
    command = [sys.executable, "-m", "vhbench.benchmarks.scoring", "--only-ours", "--threads", str(args.threads)]
    command += [word for name, value in options.items() for word in (f"--{name}", str(value))]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


def pairs_counted(scores: Scores) -> int:
    """Return how many distances were counted: of all pairs, and of relevant pairs once more."""
    return int(scores.counts.items.sum()) + int(scores.counts.relevant.sum())


def bound_seconds(pairs: int, queries: int, items: int, bits: int, bandwidth: float, popcounts: float) -> float:
    """Return the shortest time that the operations and the bytes of the counting could take.

    Args:
        pairs: what `pairs_counted` returns.
        queries: number of queries.
        items: size of the database.
        bits: length of the codes.
        bandwidth: of memory, bytes/s.
        popcounts: words of the lane's type a second.
    """
    from vhbench.scoring.kernel import lane_dtype

    lane = lane_dtype(bits)
    words = -(-bits // (8 * lane.itemsize))
    nbytes = words * lane.itemsize * (queries + items) + 2 * 8 * queries * (bits + 1)
    return max(pairs * words / popcounts, nbytes / bandwidth)


def beside_faiss(args: argparse.Namespace, faiss_there: bool) -> None:
    """Print ours, faiss and the bound for each code length."""
    from vhbench.benchmarks import bounds
    from vhbench.scoring.kernel import lane_dtype

    n = max(args.queries, args.database)
    print(f"{args.queries:,} queries x {n:,} items, {args.labels} labels of {CLASSES} classes, best of {args.repeat}")
    bandwidth = bounds.memory_bandwidth()
    columns = ("ours s", "faiss s", "faiss/ours", "ours cpu", "faiss cpu", "by cpu", "bound s", "of bound", "peak MB")
    table = machine.Table("bits", *columns, width=4)
    compile_s = 0.0
    rates: dict[str, float] = {}
    for bits in args.bits:
        codes, labels = make_data(n, bits, args.labels)
        compile_s += machine.best_of(1, ours, 64, codes[:64], labels[:64]).wall
        lane = lane_dtype(bits)
        rates[lane.name] = rates.get(lane.name) or bounds.popcount_rate(lane)
        found: list[Scores] = []
        contestants: dict[str, Callable[[], object]] = {}
        contestants["ours"] = lambda c=codes, y=labels, f=found: f.append(ours(args.queries, c, y))  # type: ignore[misc]
        if faiss_there:
            contestants["faiss"] = lambda c=codes: faiss_top_100(args.queries, c)  # type: ignore[misc]
        times = machine.take_turns(contestants, args.repeat)
        mine, theirs = times["ours"], times.get("faiss")
        bound = bound_seconds(pairs_counted(found[0]), args.queries, n, bits, bandwidth, rates[lane.name])
        beside: list[float | str | None] = [mine.wall, None, None, mine.cpu, None, None]
        if theirs:
            beside[1:3] = theirs.wall, machine.ratio(theirs.wall, mine.wall)
            beside[4:6] = theirs.cpu, machine.ratio(theirs.cpu, mine.cpu)
        table.row(bits, *beside, bound, machine.share(bound, mine.wall), peak_mb_of_ours(args, bits))
    listed = ", ".join(f"{rate / 1e9:.1f} G/s of {name}" for name, rate in rates.items())
    print(f"bound: XOR and population count {listed}; memory {bandwidth / 1e9:.1f} GB/s")
    print(f"Not in these times: {compile_s:.1f} s of first calls (compiling, or loading what was compiled before).")


def beside_dense(args: argparse.Namespace) -> None:
    """Print ours and the dense way for each code length."""
    print(f"\n{args.dense:,} queries x {args.dense:,} items")
    columns = ("ours s", "dense s", "dense/ours", "by cpu", "released s", "released/ours", "by cpu")
    table = machine.Table("bits", *columns, width=4)
    for bits in args.bits:
        codes, labels = make_data(args.dense, bits, args.labels)
        mine = machine.best_of(args.repeat, ours, args.dense, codes, labels)
        cells: list[float | str] = [mine.wall]
        for label_type in ("float32", "int64"):
            theirs = machine.best_of(1, dense, codes, labels, label_type)
            cells += [theirs.wall, *(machine.ratio(b, a) for a, b in zip(mine, theirs, strict=True))]
        table.row(bits, *cells)


def main() -> None:
    """Run and print the comparison."""
    args = parse()
    if args.only_ours:
        machine.set_threads(args.threads)
        ours(args.queries, *make_data(max(args.queries, args.database), args.bits[0], args.labels))
        print(machine.peak_mb())
        return
    machine.start(args, "numpy", "numba", "faiss-cpu")
    try:
        import faiss
    except ImportError:
        print(NO_FAISS, file=sys.stderr)
    else:
        faiss.omp_set_num_threads(args.threads)
    beside_faiss(args, "faiss" in sys.modules)
    if args.dense:
        beside_dense(args)


if __name__ == "__main__":
    machine.run(main)
