"""Scoring's time and memory against the size of the database and the number of queries.

    python -m vhbench.benchmarks.scaling [--largest 10000000] [--queries 10000] [--bits 64] [--figure FILE.svg]
        [--only-ours] [--threads N] [--quick]

Every figure is of a fresh process: seconds of everything that a run record stores (as in the part `scoring`), and peak
resident memory with the codes, bool (items, bits), their labels, the interpreter and the libraries in it. "faiss" is
the top-100 search alone. "files" is what `vhbench score` does: codes of the largest size in files, read in blocks.
Bounds are those of the part `scoring`. Exponents: the slope of log time against log size between the two largest sizes,
1 for linear. --figure draws all of it, and writes the figures beside it as CSV. Keep the machine idle.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vhbench.benchmarks import machine
from vhbench.benchmarks.scoring import NO_FAISS, bound_seconds, faiss_top_100, make_data, ours, pairs_counted

if TYPE_CHECKING:
    import pandas as pd

LABELS = "single"
SHARES = (0.01, 0.03, 0.1, 0.3, 1.0)  # of the largest database
QUERY_SHARES = (0.1, 0.3, 1.0)
MEMORY_LIMIT_MB = 2048
QUICK = {"largest": 1_000_000, "queries": 1000}


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = machine.options(__doc__)
    parser.add_argument("--largest", type=int, default=10_000_000, help="items of the largest database")
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--bits", type=int, default=64)
    parser.add_argument("--figure", type=Path, help="an .svg to draw; its figures go beside it as .csv")
    parser.add_argument("--only-ours", action="store_true", help="leave out faiss, which takes most of the time")
    parser.add_argument("--measure", nargs=3, metavar=("WHAT", "ITEMS", "FOLDER"), help=argparse.SUPPRESS)
    return machine.parse(parser, QUICK)


def measure(what: str, items: int, queries: int, bits: int, folder: Path) -> dict[str, Any]:
    """Do one thing in this process, and say how long it took, what memory, and how many pairs were counted."""
    pairs: list[int] = []
    if what in ("ours", "files"):
        ours(8, *make_data(64, bits, LABELS))  # compiles, or loads what was compiled before
    if what == "files":
        timing = machine.best_of(1, lambda: pairs.append(score_files(folder)))
    else:
        codes, labels = make_data(items, bits, LABELS)
        if what == "make":
            write_files(folder, queries, codes, labels)
            return {}
        if what == "faiss":
            timing = machine.best_of(1, faiss_top_100, queries, codes)
        else:
            timing = machine.best_of(1, lambda: pairs.append(pairs_counted(ours(queries, codes, labels))))
    return {"seconds": timing.wall, "cpu": timing.cpu, "peak_mb": machine.peak_mb(), "pairs": sum(pairs)}


def write_files(folder: Path, queries: int, codes: Any, labels: Any) -> None:
    """Write codes and labels as `vhbench export` does."""
    import numpy as np

    octets = np.packbits(codes, axis=1, bitorder="little")
    for name, rows in (("query", slice(queries)), ("database", slice(None))):
        np.save(folder / f"{name}.npy", octets[rows])
        np.save(folder / f"{name}-labels.npy", labels[rows])
    np.save(folder / "self-index.npy", np.arange(queries))


def score_files(folder: Path) -> int:
    """Count what `write_files` wrote, and compute every metric."""
    from vhbench.scoring import Scores
    from vhbench.scoring.shards import CodeFiles

    scores = Scores(CodeFiles(folder).count()[1])
    scores.record()
    return pairs_counted(scores)


def in_process(what: str, items: int, queries: int, args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Call `measure` in a fresh process."""
    options = ["--queries", queries, "--bits", args.bits, "--threads", args.threads]
    words = ["-m", "vhbench.benchmarks.scaling", "--measure", what, items, folder, *options]
    done = subprocess.run([sys.executable, *map(str, words)], check=True, stdout=subprocess.PIPE, text=True)
    found = json.loads(done.stdout)
    return {"what": what, "items": items, "queries": queries, "bits": args.bits, **found}


def main() -> None:
    """Measure, print and draw."""
    args = parse()
    if args.measure:
        machine.set_threads(args.threads)
        what, items, folder = args.measure
        print(json.dumps(measure(what, int(items), args.queries, args.bits, Path(folder))))
        return
    machine.start(args, "numpy", "numba", "faiss-cpu")
    from importlib.util import find_spec

    with_faiss = find_spec("faiss") is not None
    if not (with_faiss or args.only_ours):
        print(NO_FAISS, file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        rows = series(args, Path(folder), with_faiss and not args.only_ours)
    if args.figure is not None:
        import pandas as pd

        draw(pd.DataFrame(rows), args.figure)
        print(f"drawn: {args.figure}")


def series(args: argparse.Namespace, folder: Path, with_faiss: bool) -> list[dict[str, Any]]:
    """Print a row a size, and return the figures."""
    import numpy as np

    from vhbench.benchmarks import bounds
    from vhbench.scoring.kernel import lane_dtype

    bandwidth, popcounts = bounds.memory_bandwidth(), bounds.popcount_rate(lane_dtype(args.bits))
    columns = ("queries", "ours s", "cpu s", "faiss s", "ratio", "bound s", "of bound", "peak MB", "faiss MB")
    table = machine.Table(f"items, {args.bits} bits", *columns, width=14)
    rows: list[dict[str, Any]] = []

    def add(items: int, queries: int, beside_faiss: bool) -> None:
        mine = in_process("ours", items, queries, args, folder)
        theirs = in_process("faiss", items, queries, args, folder) if beside_faiss else None
        bound = bound_seconds(mine["pairs"], queries, items, args.bits, bandwidth, popcounts)
        other = (theirs["seconds"], machine.ratio(theirs["seconds"], mine["seconds"])) if theirs else (None, None)
        reached = machine.share(bound, mine["seconds"])
        memory = mine["peak_mb"], theirs["peak_mb"] if theirs else None
        table.row(f"{items:,}", queries, mine["seconds"], mine["cpu"], *other, bound, reached, *memory)
        rows.extend([{**mine, "bound": bound}, *([theirs] if theirs else [])])

    for share in SHARES:
        add(int(share * args.largest), args.queries, with_faiss)
    print(f"exponent {exponent(rows, 'items'):.2f} in the database's size\n")
    for share in QUERY_SHARES[:-1]:
        add(args.largest // 10, int(share * args.queries), False)
    tenth = [row for row in rows if row["items"] == args.largest // 10]
    print(
        f"exponent {exponent(sorted(tenth, key=lambda row: row['queries']), 'queries'):.2f} in the number of queries\n"
    )

    in_process("make", args.largest, args.queries, args, folder)
    files = in_process("files", args.largest, args.queries, args, folder)
    table.row("from files", args.queries, files["seconds"], files["cpu"], *[None] * 4, files["peak_mb"], None)
    counted = [row["pairs"] for row in rows if row["what"] == "ours" and row["items"] == args.largest]
    np.testing.assert_equal(files["pairs"], counted[0])
    print(f"bound: {popcounts / 1e9:.1f} G population counts/s; memory {bandwidth / 1e9:.1f} GB/s")
    return [*rows, files]


def exponent(rows: list[dict[str, Any]], size: str) -> float:
    """Return the slope of log processor time against log size between the two largest of ours."""
    a, b = [row for row in rows if row["what"] == "ours"][-2:]
    return math.log(b["cpu"] / a["cpu"]) / math.log(b[size] / a[size])


def draw(rows: pd.DataFrame, path: Path) -> None:
    """Draw time and memory against the database's size, both axes logarithmic, with a line of slope 1."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    from vhbench.report.figures import LOOK
    from vhbench.system.files import atomic_write

    queries, bits = int(rows["queries"].max()), int(rows["bits"].iloc[0])
    shown = rows[rows["queries"] == queries]
    with rc_context(LOOK):
        figure = Figure(figsize=(6.8, 3.2), layout="constrained")
        time, memory = figure.subplots(1, 2)
        for what, marker, label in (("ours", "o", "vhbench, all metrics"), ("faiss", "s", "faiss, top 100 alone")):
            part = shown[shown["what"] == what]
            if len(part):
                time.plot(part["items"], part["seconds"], marker=marker, markersize=4, label=label)
                memory.plot(part["items"], part["peak_mb"], marker=marker, markersize=4, label=label)
        mine = shown[shown["what"] == "ours"]
        last, sizes = mine.iloc[-1], mine["items"]
        guide = {"color": "#777777", "linestyle": ":", "linewidth": 1}
        time.plot(sizes, last["seconds"] * sizes / last["items"], label="linear", **guide)
        time.plot(sizes, mine["bound"], color="#777777", linestyle="--", linewidth=1, label="bound: population counts")
        files = shown[shown["what"] == "files"]
        memory.plot(
            files["items"], files["peak_mb"], "^", markersize=5, color="#2ca02c", label="vhbench score, from files"
        )
        memory.axhline(MEMORY_LIMIT_MB, label="2 GB", **guide)
        for axis, title in ((time, "seconds"), (memory, "peak MB of a fresh process")):
            axis.set(xscale="log", yscale="log", xlabel="items in the database", ylabel=title)
            axis.grid(linewidth=0.3)
            axis.legend(fontsize=7)
        figure.suptitle(f"Scoring {queries:,} queries of {bits} bits")
        with atomic_write(path) as file:
            figure.savefig(file, format="svg", metadata={"Date": None})
    with atomic_write(path.with_suffix(".csv")) as file:
        file.write(rows.to_csv(index=False).encode())


if __name__ == "__main__":
    machine.run(main)
