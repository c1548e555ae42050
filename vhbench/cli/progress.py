"""Showing a grid at work: bars on a terminal, plain lines elsewhere; always on standard error."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from vhbench.method import Epoch
from vhbench.plan import Cell
from vhbench.runner import Observer
from vhbench.store import Record

QUIET = 30.0  # seconds between plain lines on a run's epochs


@contextmanager
def progress(total: int) -> Iterator[Observer]:
    """Yield an observer that shows a grid of `total` runs while the block runs."""
    if not sys.stderr.isatty():
        yield PlainProgress(total)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    bars = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=Console(stderr=True),
        transient=True,
    )
    with bars:
        yield BarProgress(bars, total)


class PlainProgress(Observer):
    """One line when a run starts and ends, and one now and then between."""

    def __init__(self, total: int):
        self._total = total
        self._number = 0
        self._running: Cell | None = None
        self._placed = ""
        self._said = time.monotonic()

    def started(self, cell: Cell) -> None:
        """Say which run begins."""
        self._number += 1
        self._running = cell
        self._say(f"[{self._number}/{self._total}] {cell.label}")

    def placed(self, cell: Cell, text: str) -> None:
        """Say where the training features are, unless they are where the last run's were."""
        if text != self._placed:
            self._say(f"    training features {text}")
        self._placed = text

    def epoch(self, cell: Cell, epoch: Epoch) -> None:
        """Say how far training is, unless that was said a moment ago."""
        if epoch.number == epoch.total or time.monotonic() - self._said >= QUIET:
            left = epoch.seconds * (epoch.total - epoch.number)
            self._say(f"    epoch {epoch.number}/{epoch.total}, loss {epoch.loss:.4g}, about {duration(left)} left")

    def finished(self, cell: Cell, record: Record | None) -> None:
        """Say how the run ended."""
        if self._running is not cell:
            self.started(cell)  # it was not: another process has it
        self._say(f"    {outcome(cell, record)}")

    def _say(self, line: str) -> None:
        self._said = time.monotonic()
        with contextlib.suppress(BrokenPipeError):  # the reader has gone; the runs go on
            click.echo(line, err=True)


class BarProgress(Observer):
    """A bar for the grid and one for the running method's epochs."""

    def __init__(self, bars: Any, total: int):
        self._bars = bars
        self._placed = ""
        self._grid = bars.add_task("grid", total=total, note="")
        self._run = bars.add_task("", total=1, note="", visible=False)

    def started(self, cell: Cell) -> None:
        """Name the run on the second bar."""
        epochs = cell.spec.budget["epochs"] or 1
        self._bars.reset(self._run, total=epochs, description=cell.label, note="", visible=True)

    def placed(self, cell: Cell, text: str) -> None:
        """Leave a line where the training features are, unless they are where the last run's were."""
        if text != self._placed:
            self._bars.console.print(f"{cell.label}: training features {text}", markup=False, highlight=False)
        self._placed = text

    def epoch(self, cell: Cell, epoch: Epoch) -> None:
        """Move the second bar."""
        self._bars.update(self._run, completed=epoch.number, total=epoch.total, note=f"loss {epoch.loss:.4g}")

    def finished(self, cell: Cell, record: Record | None) -> None:
        """Move the first bar and leave a line."""
        self._bars.update(self._run, visible=False)
        self._bars.advance(self._grid)
        self._bars.console.print(f"{cell.label}: {outcome(cell, record)}", markup=False, highlight=False)


def outcome(cell: Cell, record: Record | None) -> str:
    """Return in a few words how a run ended."""
    if record is None:
        return "another process is doing this run"
    if record.status != "done":
        return f"{record.status}: {record.data['reason']}"
    k = min(cell.protocol.ks, key=lambda k: abs(k - 20))
    value = next(value for name, value in record.scores.items() if name.startswith(f"map@{k}["))
    score = "undefined" if value is None else f"{value:.3f}"
    times = record.data["timing"]
    return (
        f"map@{k} {score} (fit {duration(times['fit_s'])}, encode {duration(times['encode_s'])}, "
        f"score {duration(times['score_s'])})"
    )


def duration(seconds: float) -> str:
    """Return a time for people: 3.2 s, 4 min 10 s, 2 h 5 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
