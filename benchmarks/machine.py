"""What all parts share: their options, the machine's name, turns against the clock, and the table.

A part is a module with a `main()`, run in a process of its own. Nothing heavy is imported before `start` has set the
number of threads, since numpy, numba, torch and faiss read it when they are imported.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import sys
import time
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

from vhbench.errors import UsageError, VhbenchError

THREAD_VARIABLES = ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
BUSY = 0.1  # share of all CPUs' time that others take, from which on a part's wall clock is not to be trusted
LOOK = 0.5  # seconds in which that is measured


class Timing(NamedTuple):
    """Seconds of wall clock, and of processor time over all threads and ended children."""

    wall: float
    cpu: float


def options(doc: str | None) -> argparse.ArgumentParser:
    """Return the parser that every part adds its own options to; `doc` is the part's docstring."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=cpu_count(), help="all CPUs of this process by default")
    parser.add_argument("--quick", action="store_true", help="small sizes, seconds instead of minutes: a first look")
    return parser


def parse(parser: argparse.ArgumentParser, quick: Mapping[str, Any]) -> argparse.Namespace:
    """Parse the command line; `quick` are the defaults with `--quick`."""
    if parser.parse_known_args()[0].quick:
        parser.set_defaults(**quick)
    return parser.parse_args()


def numbers(text: str) -> list[int]:
    """Read comma-separated whole numbers, as an option's type."""
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"takes whole numbers separated by commas, not {text!r}") from None


def cpu_count() -> int:
    """Return how many CPUs this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def start(args: argparse.Namespace, *packages: str, device: str = "cpu") -> None:
    """Set the number of threads, and print the machine, the versions and what disturbs the figures.

    Args:
        args: what `options` parsed.
        packages: distributions whose versions matter to this part.
        device: "cpu" or "cuda:N".

    Raises:
        UsageError: `--threads` is below 1.
    """
    set_threads(args.threads)
    busy = busy_share()
    where = f"{cpu_name()}, {args.threads} of {cpu_count()} CPUs in use"
    if device.startswith("cuda"):
        import torch

        where = f"{torch.cuda.get_device_name(device)} (CUDA {torch.version.cuda}); {where}"
    versions = [f"Python {platform.python_version()}", *map(_with_version, packages)]
    print(f"machine: {where}")
    print(f"versions: {', '.join(versions)}")
    if busy > BUSY:
        taken = f"it takes {100 * busy:.0f} % of the CPUs"
        print(f"Other work is running ({taken}): wall clock times are too long, their ratios indicative only.")
    if args.quick:
        print("Small sizes (--quick): a first look, not figures to quote.")
    print(flush=True)


def busy_share() -> float:
    """Return which part of all CPUs' time other processes take just now; 0 where the system does not say."""
    stat = Path("/proc/stat")
    if not stat.is_file():
        return 0.0
    before = _idle_and_all(stat)
    time.sleep(LOOK)
    idle, whole = (now - then for now, then in zip(_idle_and_all(stat), before, strict=True))
    return 1 - idle / whole if whole else 0.0


def _idle_and_all(stat: Path) -> tuple[int, int]:
    ticks = [int(word) for word in stat.read_text().partition("\n")[0].split()[1:9]]
    return ticks[3] + ticks[4], sum(ticks)


def set_threads(threads: int) -> None:
    """Set how many threads the libraries will use that are not imported yet; UsageError where it is below 1."""
    if threads < 1:
        raise UsageError(f"--threads takes a number from 1 up, not {threads}.")
    for variable in THREAD_VARIABLES:
        os.environ[variable] = str(threads)


def run(main: Callable[[], None]) -> None:
    """Run a part's `main`; what the user can put right ends it with one sentence."""
    try:
        main()
    except VhbenchError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


def cpu_name() -> str:
    """Name the processor as the system does."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _with_version(package: str) -> str:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return f"{package} missing"


def best_of(repeat: int, function: Callable[..., Any], *args: Any) -> Timing:
    """Call a function so many times; return its shortest wall clock and its shortest processor time."""
    return take_turns({"": lambda: function(*args)}, repeat)[""]


def take_turns(
    contestants: Mapping[str, Callable[[], Any]], repeat: int, before: Callable[[], object] | None = None
) -> dict[str, Timing]:
    """Time functions in turns, so that other work on the machine disturbs all alike; the best of each counts.

    Args:
        contestants: name -> function.
        repeat: turns.
        before: called before each function, not timed.
    """
    best = {name: Timing(float("inf"), float("inf")) for name in contestants}
    for _ in range(repeat):
        for name, function in contestants.items():
            if before is not None:
                before()
            wall, cpu = time.perf_counter(), cpu_seconds()
            function()
            found = Timing(time.perf_counter() - wall, cpu_seconds() - cpu)
            best[name] = Timing(*map(min, best[name], found))
    return best


def cpu_seconds() -> float:
    """Return the processor time of this process and of the children that have ended."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def peak_mb() -> float:
    """Return the peak resident memory of this process in MB (2^20 bytes), interpreter and libraries included."""
    status = Path("/proc/self/status")  # Linux's ru_maxrss starts from that of the process that started this one
    for line in status.read_text().splitlines() if status.is_file() else []:
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << (20 if sys.platform == "darwin" else 10))


class Table:
    """A table whose rows are printed as they are measured.

    Args:
        first: heading of the first column, which holds names.
        columns: the other headings.
        width: of the first column.
    """

    def __init__(self, first: str, *columns: str, width: int = 24):
        self._width = max(width, len(first))
        self._columns = [max(9, len(column)) for column in columns]
        self.row(first, *columns)

    def row(self, name: object, *cells: float | str | None) -> None:
        """Print a row; None is a figure that there is not."""
        texts = [f"{_text(cell):>{width}}" for cell, width in zip(cells, self._columns, strict=True)]
        print(f"{name!s:<{self._width}}", *texts, sep="  ", flush=True)


def _text(cell: float | str | None) -> str:
    """Return a number with three digits that count, and a text as it is."""
    if cell is None:
        return "-"
    if isinstance(cell, str):
        return cell
    return f"{cell:,.0f}" if abs(cell) >= 100 or isinstance(cell, int) else f"{cell:.3g}"


def ratio(alternative: float, ours: float) -> str:
    """Return how many times as long the alternative takes; "-" where ours is too short to tell."""
    if ours <= 0:
        return "-"
    return f"{alternative / ours:.1f}x" if alternative < 100 * ours else f"{alternative / ours:,.0f}x"


def share(bound: float, ours: float) -> str:
    """Return which part of the bound is reached, of two times or two rates given the smaller one first."""
    return f"{100 * bound / ours:.0f} %"
