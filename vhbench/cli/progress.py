"""Showing a grid at work: bars on a terminal, plain lines elsewhere; always on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click

from vhbench.cli.words import describe_epoch, duration
from vhbench.grid.cells import Cell
from vhbench.grid.lacking import recorded_ks
from vhbench.grid.order import Estimates
from vhbench.grid.settings import Observer
from vhbench.grid.time_left import TimeLeft
from vhbench.method import Epoch
from vhbench.runs.groups import USUAL_K
from vhbench.runs.record import Record
from vhbench.runs.store import Store
from vhbench.scoring import Metric

QUIET = 30.0  # seconds between plain lines on a run's epochs


@contextmanager
def progress(cells: Sequence[Cell], store: Store) -> Iterator[Observer]:
    """Yield an observer that shows these runs while the block does them; `store` has those that tell how long."""
    if not sys.stderr.isatty():
        yield PlainProgress(len(cells))
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    bars = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[left]}", style="progress.remaining"),  # of the grid anew whenever the bars are drawn
        TextColumn("{task.fields[note]}"),
        console=Console(stderr=True),
        transient=True,
    )
    with bars:
        yield BarProgress(bars, len(cells), TimeLeft(cells, Estimates(store.records()[0])))


class PlainProgress(Observer):
    """One line when a run starts and ends, and one now and then between; a line that follows another run's names it."""

    def __init__(self, total: int):
        self._total = total
        self._numbers: dict[str, int] = {}
        self._last: str | None = None  # the run that the last line is about
        self._placed = ""
        self._said = time.monotonic()

    def started(self, cell: Cell) -> None:
        """Say which run begins."""
        self._say(self._name(cell))
        self._last = cell.spec.id

    def placed(self, cell: Cell, text: str) -> None:
        """Say where the training features are, unless they are where the last run's were."""
        if text != self._placed:
            self.said(f"training features {text}", cell)
        self._placed = text

    def epoch(self, cell: Cell, epoch: Epoch) -> None:
        """Say how far training is, unless that was said a moment ago."""
        if epoch.number == epoch.total or time.monotonic() - self._said >= QUIET:
            self.said(f"epoch {describe_epoch(epoch)}", cell)

    def finished(self, cell: Cell, record: Record | None) -> None:
        """Say how the run ended."""
        if cell.spec.id not in self._numbers:
            self.started(cell)  # it was not: another process has it
        self.said(outcome(cell, record), cell)

    def said(self, text: str, cell: Cell | None = None) -> None:
        """Print a line."""
        key = cell.spec.id if cell else None
        self._say(text if cell is None else f"    {text}" if key == self._last else f"{self._name(cell)}: {text}")
        self._last = key

    def _name(self, cell: Cell) -> str:
        number = self._numbers.setdefault(cell.spec.id, len(self._numbers) + 1)
        return f"[{number}/{self._total}] {cell.label}"

    def _say(self, line: str) -> None:
        self._said = time.monotonic()
        click.echo(line, err=True)


class _GridLeft:
    """A grid's time left, which is computed when it is printed.

    Args:
        left: of the grid.
    """

    def __init__(self, left: TimeLeft):
        self._left = left

    def __str__(self) -> str:
        seconds, unknown = self._left.seconds()
        parts = [f"about {duration(seconds)} left"] if seconds or not unknown else []
        return " and ".join([*parts, *([f"the unknown time of {unknown}"] if unknown else [])])


class BarProgress(Observer):
    """A bar for the grid and one for each running method's epochs."""

    def __init__(self, bars: Any, total: int, left: TimeLeft):
        self._bars = bars
        self._placed = ""
        self._left = left
        self._grid = bars.add_task("grid", total=total, note="", left=_GridLeft(left))
        self._runs: dict[str, Any] = {}

    def started(self, cell: Cell) -> None:
        """Give the run a bar."""
        self._remove(cell)
        epochs = cell.spec.budget["epochs"] or 1
        self._runs[cell.spec.id] = self._bars.add_task(cell.label, total=epochs, note="", left="")

    def placed(self, cell: Cell, text: str) -> None:
        """Leave a line where the training features are, unless they are where the last run's were."""
        if text != self._placed:
            self.said(f"training features {text}", cell)
        self._placed = text

    def epoch(self, cell: Cell, epoch: Epoch) -> None:
        """Move the run's bar."""
        left = f"about {duration(epoch.seconds * (epoch.total - epoch.number))} left" if epoch.total else ""
        task = self._runs[cell.spec.id]
        self._bars.update(task, completed=epoch.number, total=epoch.total, note=f"loss {epoch.loss:.4g}", left=left)

    def finished(self, cell: Cell, record: Record | None) -> None:
        """Move the first bar and leave a line."""
        self._remove(cell)
        self._left.finished(cell, record)
        self._bars.advance(self._grid)
        self.said(outcome(cell, record), cell)

    def said(self, text: str, cell: Cell | None = None) -> None:
        """Leave a line above the bars."""
        self._bars.console.print(f"{cell.label}: {text}" if cell else text, markup=False, highlight=False)

    def _remove(self, cell: Cell) -> None:
        if (task := self._runs.pop(cell.spec.id, None)) is not None:
            self._bars.remove_task(task)


def outcome(cell: Cell, record: Record | None) -> str:
    """Return in a few words how a run ended."""
    if record is None:
        return "another process is doing this run"
    if record.status != "done":
        return f"{record.status}: {record.data['reason']}"
    times = record.data["timing"]
    return (
        f"{_judged(record)} (fit {duration(times['fit_s'])}, encode {duration(times['encode_s'])}, "
        f"score {duration(times['score_s'])})"
    )


def _judged(record: Record) -> str:
    """Return a run's map@20, or at the K nearest to 20 that it has; what it was done for where that is a loss."""
    if "held_out" in record.data:
        return f"loss {record.data['held_out']['loss']:.4g} on held-out videos"
    k = min(recorded_ks(record), key=lambda k: abs(k - USUAL_K))
    value = record.scores[str(Metric.parse(f"map@{k}"))]
    return f"map@{k} {'undefined' if value is None else f'{value:.3f}'}"
