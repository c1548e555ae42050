"""How long a grid that is being worked off will still take."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from vhbench.grid.cells import Cell
from vhbench.grid.order import TIMES, Estimates
from vhbench.runs.record import Record


class TimeLeft:
    """The time that a grid's open runs need, from what like runs took, and from how fast the grid has been so far.

    Runs of unequal length count by their length. How many run at a time, and how much slower or faster they are here
    than where the recorded ones were made, shows in the seconds of work that were done a second.

    Args:
        cells: the runs, none of them begun.
        estimates: durations of recorded runs.
        clock: gives the time in seconds.
    """

    def __init__(self, cells: Sequence[Cell], estimates: Estimates, clock: Callable[[], float] = time.monotonic):
        self._estimates = estimates
        self._clock = clock
        self._open = {cell.spec.id: (cell.spec, estimates.seconds(cell.spec)) for cell in cells}
        self._begun = self._said = clock()
        self._work = 0.0  # seconds that the runs done so far were expected to take

    def finished(self, cell: Cell, record: Record | None) -> None:
        """Take note that a run is over; None: another process does it."""
        _, expected = self._open.pop(cell.spec.id, (None, None))
        self._said = self._clock()
        if record is None or record.status != "done":
            return
        self._estimates.add(record)
        self._open = {
            key: (spec, self._estimates.seconds(spec) if seconds is None else seconds)
            for key, (spec, seconds) in self._open.items()
        }
        if "cut_from" not in record.data:  # else its codes cost nothing, and its times are another run's
            self._work += sum(record.data["timing"][name] for name in TIMES) if expected is None else expected

    def seconds(self) -> tuple[float, int]:
        """Return the seconds that the open runs still need, as far as like ones are recorded, and how many are not."""
        known = [seconds for _, seconds in self._open.values() if seconds is not None]
        until = self._said - self._begun
        speed = self._work / until if self._work and until else 1.0
        left = sum(known) / speed - (self._clock() - self._said)
        return max(0.0, left), len(self._open) - len(known)
