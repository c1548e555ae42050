"""Searching a folder of codes beside faiss's exact index.

    python -m vhbench.benchmarks.searching [--codes 10000000] [--bits 16,64,128] [--queries 1,64] [-k 10] [--threads N]
        [--repeat 3] [--quick]

- ours: the k nearest from the file, which is mapped; ties fall to the first rows.
- faiss: `IndexBinaryFlat.search`, codes copied into its memory; ties fall as its heap has them. Distances must agree.
- bound: reading all codes once at the bandwidth measured, or XOR and population count of all pairs at the rate
  measured, whichever takes longer.
- open s: opening the folder; peak MB: of a fresh process that opens it and searches once, interpreter, libraries and
  the mapped pages of the file included.

Codes are random. Ours and faiss take turns, and the best of --repeat counts. The file is in the system's cache.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vhbench.benchmarks import machine
from vhbench.benchmarks.scoring import NO_FAISS

if TYPE_CHECKING:
    import numpy as np

    from vhbench.search.gallery import Gallery

QUICK = {"codes": 100_000, "repeat": 1}


def parse() -> argparse.Namespace:
    """Parse the command line."""
    parser = machine.options(__doc__)
    parser.add_argument("--codes", type=int, default=10_000_000)
    parser.add_argument("--bits", type=machine.numbers, default=[16, 64, 128])
    parser.add_argument("--queries", type=machine.numbers, default=[1, 64])
    parser.add_argument("-k", type=int, default=10)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--only-ours", type=Path, help=argparse.SUPPRESS)
    return machine.parse(parser, QUICK)


def make_gallery(folder: Path, n: int, bits: int) -> Gallery:
    """Write random codes."""
    import numpy as np

    from vhbench.search.gallery import write_gallery

    octets = np.random.default_rng(0).integers(0, 256, (n, -(-bits // 8)), dtype=np.uint8)
    octets[:, -1] &= 0xFF >> -bits % 8
    return write_gallery(folder, octets, bits=bits)


def ours(gallery: Gallery, queries: np.ndarray, k: int) -> np.ndarray:
    """Return the distances of the nearest."""
    from vhbench.search.neighbours import nearest

    return nearest(gallery.codes, queries, k)[1]


def bound_seconds(gallery: Gallery, queries: int, bandwidth: float, rate: float) -> float:
    """Return the time that the memory or the processor takes at least."""
    words = -(-gallery.codes.shape[1] // 8)
    return float(max(gallery.codes.nbytes / bandwidth, queries * len(gallery) * words / rate))


def peak_mb_of_ours(args: argparse.Namespace, folder: Path) -> float:
    """Return the peak memory of a fresh process that opens the folder and searches once."""
    words = [sys.executable, "-m", "vhbench.benchmarks.searching", "--only-ours", str(folder)]
    words += ["-k", str(args.k), "--threads", str(args.threads)]
    return float(subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True).stdout)


def compare(args: argparse.Namespace, folder: Path, bits: int, faiss: Any, table: machine.Table, rates: Any) -> None:
    """Print a row for each number of queries."""
    import numpy as np

    from vhbench.search.gallery import open_gallery

    gallery = make_gallery(folder, args.codes, bits)
    opening = machine.best_of(args.repeat, open_gallery, folder).wall
    peak = peak_mb_of_ours(args, folder)
    index = None
    if faiss:
        index = faiss.IndexBinaryFlat(8 * gallery.codes.shape[1])
        index.add(np.array(gallery.codes))
    for number in args.queries:
        rows = np.random.default_rng(1).integers(0, len(gallery), number)
        queries = np.array(gallery.codes[rows])
        found = ours(gallery, queries, args.k)  # compiles, and fills the cache
        contestants: dict[str, Any] = {"ours": partial(ours, gallery, queries, args.k)}
        if index is not None:
            contestants["faiss"] = partial(index.search, queries, args.k)
            assert np.array_equal(index.search(queries, args.k)[0], found), "faiss finds other distances"
        times = machine.take_turns(contestants, args.repeat)
        mine, theirs = times["ours"], times.get("faiss")
        beside: list[float | str | None] = [mine.wall, None, None, mine.cpu, None, None]
        if theirs:
            beside[1:3] = theirs.wall, machine.ratio(theirs.wall, mine.wall)
            beside[4:6] = theirs.cpu, machine.ratio(theirs.cpu, mine.cpu)
        bound = bound_seconds(gallery, number, *rates)
        table.row(f"{bits} x {number}", *beside, bound, machine.share(bound, mine.wall), opening, peak)


def main() -> None:
    """Run and print the comparison."""
    args = parse()
    machine.set_threads(args.threads)
    if args.only_ours:
        from vhbench.search.gallery import open_gallery

        gallery = open_gallery(args.only_ours)
        ours(gallery, gallery.codes[:1], args.k)
        print(machine.peak_mb())
        return
    machine.start(args, "numpy", "numba", "faiss-cpu")
    faiss: Any = None
    try:
        faiss = import_module("faiss")
        faiss.omp_set_num_threads(args.threads)
    except ImportError:
        print(NO_FAISS, file=sys.stderr)
    import numpy as np

    from vhbench.benchmarks import bounds

    print(f"{args.codes:,} codes, the nearest {args.k}, best of {args.repeat}")
    columns = ("ours s", "faiss s", "faiss/ours", "ours cpu", "faiss cpu", "by cpu", "bound s", "of bound", "open s")
    table = machine.Table("bits x queries", *columns, "peak MB", width=14)
    rates = bounds.memory_bandwidth(), bounds.popcount_rate(np.dtype(np.uint64))
    for bits in args.bits:
        with tempfile.TemporaryDirectory() as folder:
            compare(args, Path(folder), bits, faiss, table, rates)
    print(f"bound: memory {rates[0] / 1e9:.1f} GB/s; XOR and population count {rates[1] / 1e9:.1f} G/s of uint64")


if __name__ == "__main__":
    machine.run(main)
