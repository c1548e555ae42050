"""In which order runs are done, and how long they will take as far as recorded ones tell."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from vhbench.grid.cells import Cell
from vhbench.grid.related import nested
from vhbench.runs.record import Record
from vhbench.runs.spec import RunSpec
from vhbench.runs.store import Store


def measured_last(cells: Sequence[Cell]) -> list[Cell]:
    """Return the runs so that those which others are measured against come before them."""
    return sorted(cells, key=lambda cell: cell.measured_against is not None)


def one_by_one(cells: Sequence[Cell]) -> list[Cell]:
    """Return the runs in the order in which one process does them.

    Nested codes come first, the longest first: the shorter ones are cut from them.
    """
    return measured_last(sorted(cells, key=lambda cell: -cell.spec.bits if nested(cell) else 0))


def longest_first(cells: Sequence[Cell], store: Store) -> list[Cell]:
    """Return the runs in the order in which several at a time are soonest done; see `waits` for what must wait."""
    estimates = Estimates(store.records()[0])
    return sorted(cells, key=lambda cell: estimates.rank(cell.spec), reverse=True)


def waits(cell: Cell, undone: Collection[str]) -> bool:
    """Say whether a run has to wait for the one that it is measured against.

    Args:
        cell: the run.
        undone: ids of the runs that are not recorded yet.
    """
    return cell.measured_against in undone


TIMES = {"fit_s", "encode_s", "score_s"}  # of a record's entry `timing`


@dataclass(frozen=True)
class _Timed:
    bits: int
    epochs: int | None
    fit: float
    rest: float


class Estimates:
    """Durations of runs, from the records of runs of the same method on the same protocol.

    Args:
        records: what a store has.
    """

    def __init__(self, records: Iterable[Record]):
        self._known: dict[tuple[str, str], list[_Timed]] = defaultdict(list)
        for record in records:
            self.add(record)

    def add(self, record: Record) -> None:
        """Take a run into account, if it is done and says how long it took."""
        spec, timing = record.spec, record.data.get("timing", {})
        if record.status == "done" and timing.keys() >= TIMES:
            rest = timing["encode_s"] + timing["score_s"]
            timed = _Timed(spec["bits"], spec["budget"].get("epochs"), timing["fit_s"], rest)
            self._known[spec["protocol"], spec["method"]].append(timed)

    def seconds(self, spec: RunSpec) -> float | None:
        """Return about how many seconds a run takes, or None where no run of its method on its protocol is recorded.

        The median over the recorded runs of the nearest code length, their training scaled to the run's epochs.
        """
        known = self._known.get((spec.protocol, spec.method))
        if not known:
            return None
        nearest = min((timed.bits for timed in known), key=lambda bits: abs(math.log(bits / spec.bits)))
        epochs = spec.budget["epochs"]
        return statistics.median(
            timed.fit * (epochs / timed.epochs if epochs and timed.epochs else 1) + timed.rest
            for timed in known
            if timed.bits == nearest
        )

    def rank(self, spec: RunSpec) -> tuple[float, int]:
        """Return a key that is greater for runs that are likely to take longer.

        A method of which nothing is recorded counts as long where it trains in epochs, and as short elsewhere.
        """
        seconds = self.seconds(spec)
        if seconds is None:
            seconds = math.inf if spec.budget["epochs"] else 0.0
        return seconds, spec.bits
