"""Orderings that papers claim, checked against measured rows. They are reported, never asserted."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vhbench.errors import DataError, UsageError
from vhbench.report.published import default_folder
from vhbench.report.rows import Row
from vhbench.system.files import read_text

COLUMNS = ("better", "worse", "protocol", "bits", "metrics", "source", "note")


@dataclass(frozen=True)
class Ordering:
    """A source's claim that one method beats another.

    Attributes:
        better: name of the method that wins.
        worse: name of the other.
        protocol: where.
        bits: at which code lengths.
        metrics: by which metrics, `map@K`; `map-steadiness@K` is less the size of a gain over training in-domain: the
            method whose score changes less wins.
        source: publication, and where in it.
        note: facts about this claim.
    """

    better: str
    worse: str
    protocol: str
    bits: tuple[int, ...]
    metrics: tuple[str, ...]
    source: str
    note: str


@dataclass(frozen=True)
class OrderedPair:
    """One comparison: the two methods at one code length by one metric; a row is None where nothing was measured."""

    bits: int
    metric: str
    better: Row | None
    worse: Row | None

    @property
    def gain(self) -> float | None:
        """By how much the claimed winner leads; negative where it does not; None where a value is missing."""
        values = [row.value if row else None for row in (self.better, self.worse)]
        return None if values[0] is None or values[1] is None else values[0] - values[1]


@dataclass(frozen=True)
class CheckedOrdering:
    """What the measured rows say of an ordering.

    Attributes:
        ordering: the claim.
        cells: its comparisons, code lengths outside, metrics inside.
    """

    ordering: Ordering
    cells: tuple[OrderedPair, ...]

    @property
    def verdict(self) -> str:
        """Say "held", "held in 3 of 4", "reversed" or "not measured"; a tie is not a win."""
        gains = [cell.gain for cell in self.cells if cell.gain is not None]
        if not gains:
            return "not measured"
        held = sum(gain > 0 for gain in gains)
        if held == len(gains) == len(self.cells):
            return "held"
        return "reversed" if held == 0 else f"held in {held} of {len(gains)}"


def read_orderings(folder: Path | str | None = None) -> list[Ordering]:
    """Read every CSV file of a folder of claimed orderings, in order of file and line.

    Args:
        folder: by default `results/published/orderings` of the source checkout that vhbench runs from.

    Raises:
        DataError: there is no such folder, or a file breaks the schema; the message names the file and the line.
    """
    folder = default_folder() / "orderings" if folder is None else Path(folder)
    paths = sorted(folder.glob("*.csv"))
    if not paths:
        raise DataError(f"{folder} holds no CSV files with orderings.")
    return [ordering for path in paths for ordering in _read_file(path)]


def check_orderings(
    orderings: Iterable[Ordering], rows: Sequence[Row], protocol: str | None = None
) -> list[CheckedOrdering]:
    """Hold each ordering against the rows of its protocol.

    Args:
        orderings: the claims.
        rows: measured numbers, of one label a method.
        protocol: check the claims on this protocol instead of their own.

    Raises:
        UsageError: the rows hold a method in two ways, e.g. with two budgets, so that it is not clear which is meant.
    """
    found: dict[tuple[str, str, int, str], Row] = {}
    for row in rows:
        key = (row.protocol, row.method, row.bits, row.metric.partition("[")[0])
        other = found.setdefault(key, row)
        if other is not row:
            raise UsageError(
                f"{row.method} on {row.protocol} was measured in two ways, {other.label} and {row.label}, by "
                f"{other.metric} and {row.metric}: choose one."
            )
    return [_check(ordering, found, protocol or ordering.protocol) for ordering in orderings]


def _check(ordering: Ordering, found: dict[tuple[str, str, int, str], Row], protocol: str) -> CheckedOrdering:
    cells = [
        OrderedPair(
            bits, metric, *(found.get((protocol, name, bits, metric)) for name in (ordering.better, ordering.worse))
        )
        for bits in ordering.bits
        for metric in ordering.metrics
    ]
    return CheckedOrdering(ordering, tuple(cells))


def _read_file(path: Path) -> list[Ordering]:
    try:
        reader = csv.DictReader(io.StringIO(read_text(path), newline=""))
        if reader.fieldnames != list(COLUMNS):
            raise DataError(f"{path}, line 1: the columns must be {','.join(COLUMNS)}.")
        orderings = []
        for cells in reader:
            bits, metrics = tuple(map(int, cells.pop("bits").split())), tuple(cells.pop("metrics").split())
            orderings.append(Ordering(bits=bits, metrics=metrics, **cells))
    except OSError as error:
        raise DataError(f"Cannot read {path}: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text.") from error
    except (AttributeError, TypeError, ValueError, csv.Error) as error:
        raise DataError(f"{path}, line {reader.line_num}: it needs a cell for each of {COLUMNS}.") from error
    return orderings
