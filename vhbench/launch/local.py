"""The local launcher: several runs at a time on this machine, each in a process of its own."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vhbench.errors import UsageError
from vhbench.grid.cells import Cell, recorded_since
from vhbench.grid.order import longest_first, waits
from vhbench.grid.runner import Work, record_end
from vhbench.launch.connection import Connection, LostError
from vhbench.launch.jobs import job_of
from vhbench.launch.outcome import ELSEWHERE, INTERRUPTED, RECORDED, STOPPED, Outcome
from vhbench.launch.slots import Slot, make_slots, share_of_threads
from vhbench.launch.watching import RunProgress, memory_of, reason_of
from vhbench.plugins.launcher import Seconds
from vhbench.runs.record import Record
from vhbench.system.text import plain

TICK = 0.2  # seconds between looks at memory, time and epochs
TRIES = 3  # of a run that something kills
GRACE = 10.0  # seconds that an interrupted run has to give back its claim
PRINTED_LINES = 20


def launch(
    cells: Sequence[Cell],
    work: Work,
    *,
    workers: int | None = None,
    gpus: Sequence[int] = (),
    per_gpu: int = 1,
    memory_limit: float | None = None,
    time_limit: Seconds | None = None,
) -> None:
    """Do the cells, the longest first; a run that crashes or is killed costs itself only.

    Ctrl-C: finish what runs. A second time: stop it; checkpoints stay.

    Args:
        cells: the runs.
        work: how they are done.
        workers: runs at a time, spread over all GPUs; by default one a GPU, and without GPUs one for every 4 cores.
        gpus: numbers of the GPUs to use, e.g. 0,1, instead of `workers`; all by default.
        per_gpu: runs at a time on each of them; 1 by default.
        memory_limit: MB of host memory that a run may take, mapped files not counted.
        time_limit: how long a run may take, e.g. 90 (seconds), 30m or 2h; then it is ended.

    Raises:
        UsageError: an impossible option.
        StoreError: the store cannot be written.
        KeyboardInterrupt: runs were left undone.
    """
    for name, value in (("workers", workers), ("per-gpu", per_gpu)):
        if value is not None and value < 1:
            raise UsageError(f"--{name} must be at least 1, not {value}.")
    for name, limit in (("memory-limit", memory_limit), ("time-limit", time_limit)):
        if limit is not None and not 0 < limit < math.inf:
            raise UsageError(f"--{name} must be above 0, not {limit}.")
    if memory_limit is not None and not Path("/proc/self/status").exists():
        raise UsageError("--memory-limit needs /proc, which this system does not have: leave it out.")
    slots = make_slots(work.settings.device, workers, tuple(gpus), per_gpu)
    _Pool(cells, work, slots, memory_limit, time_limit).run()


@dataclass
class _Running:
    """A run that has been handed over to a process.

    Attributes:
        cell: the run.
        slot: its place, given back when it ends.
        progress: how far it is.
        pid: its process, None until that has started.
        started: when that was.
        limit: which limit it broke.
    """

    cell: Cell
    slot: Slot
    progress: RunProgress
    pid: int | None = None
    started: float = 0.0
    limit: str = ""


class _Pool:
    """Runs that wait, runs that run, and places for them."""

    def __init__(
        self,
        cells: Sequence[Cell],
        work: Work,
        slots: Sequence[Slot],
        memory_limit: float | None,
        time_limit: float | None,
    ):
        self._work = work
        self._free = list(slots)
        self._memory_limit, self._time_limit = memory_limit, time_limit
        self._waiting = longest_first(cells, work.store)
        self._running: dict[str, _Running] = {}
        self._kills: dict[str, int] = {}
        self._error: Outcome | None = None
        self._interrupts = self._answered = 0
        self._stopped_at = math.inf
        self._connection = Connection(share_of_threads(len(slots)))

    def run(self) -> None:
        """Work off everything."""
        try:
            before = signal.signal(signal.SIGINT, self._interrupt)
        except ValueError:  # not in the main thread, which alone gets Ctrl-C
            before = None
        try:
            while self._running or (self._waiting and not self._ending):
                self._start()
                self._step()
        finally:
            if before is not None:
                signal.signal(signal.SIGINT, before)
            self._connection.close()
        if self._error:
            raise self._error.error
        if self._waiting:
            raise KeyboardInterrupt

    @property
    def _ending(self) -> bool:
        return bool(self._error or self._interrupts)

    def _interrupt(self, number: int, frame: Any) -> None:
        self._interrupts += 1

    def _start(self) -> None:
        """Fill the free places."""
        while self._free and not self._ending and (cell := self._next()):
            self._waiting.remove(cell)
            slot = self._free.pop(0)
            job = job_of(cell, self._work, slot.device, slot.sharing)
            progress = RunProgress(self._work.store.path(cell.spec), cell.spec.budget["epochs"])
            self._running[cell.spec.id] = _Running(cell, slot, progress)
            self._connection.start(cell.spec.id, job.to_json(), slot.environment)

    def _next(self) -> Cell | None:
        """Return the next run; one that is measured against another of the grid waits until that is recorded."""
        undone = {cell.spec.id for cell in self._waiting} | self._running.keys()
        return next((cell for cell in self._waiting if not waits(cell, undone)), None)

    def _step(self) -> None:
        """Hear what happened, look after what runs, and answer Ctrl-C."""
        try:
            for report in self._connection.reports(TICK):
                running = self._running[report["key"]]
                if "pid" in report:
                    running.pid, running.started = report["pid"], time.monotonic()
                    self._work.observer.started(running.cell)
                else:
                    self._ended(running, report["code"], report["printed"], Outcome(**report["outcome"]))
        except LostError:
            self._lost()
        for running in self._running.values():
            if running.pid is not None:
                self._look_after(running)
        if self._interrupts > self._answered:
            self._answer_interrupt()
        elif time.monotonic() - self._stopped_at > GRACE:
            self._signal_all(signal.SIGKILL)

    def _answer_interrupt(self) -> None:
        self._answered = self._interrupts
        count = len(self._running)
        if self._interrupts == 1:
            runs = "1 run is" if count == 1 else f"{count} runs are"
            self._work.observer.said(f"Ctrl-C: {runs} finished first; press it again to stop.")
        elif self._interrupts == 2:
            self._work.observer.said("Ctrl-C: stopping; checkpoints stay.")
            self._stopped_at = time.monotonic()
            self._signal_all(signal.SIGINT)
        else:
            self._signal_all(signal.SIGKILL)

    def _signal_all(self, number: int) -> None:
        for key in self._running:
            self._connection.signal(key, number)

    def _look_after(self, running: _Running) -> None:
        """Keep to the limits and tell the last epoch."""
        if not running.limit and (limit := self._broken_limit(running)):
            running.limit = limit
            self._connection.signal(running.cell.spec.id, signal.SIGKILL)
        if epoch := running.progress.news():
            self._work.observer.epoch(running.cell, epoch)

    def _broken_limit(self, running: _Running) -> str:
        if self._memory_limit is not None:
            taken = memory_of(running.pid or 0)
            if taken > self._memory_limit:
                return f"It took {taken:.0f} MB of memory; --memory-limit is {self._memory_limit:g} MB."
        if self._time_limit is not None and time.monotonic() - running.started > self._time_limit:
            return f"It took more than --time-limit, {self._time_limit:g} s."
        return ""

    def _ended(self, running: _Running, code: int, printed: str, outcome: Outcome) -> None:
        """Note how a run's process ended; record what it could not record itself."""
        cell, store = running.cell, self._work.store
        del self._running[cell.spec.id]
        self._free.append(running.slot)
        cut_off = code == -signal.SIGKILL or outcome.kind == INTERRUPTED
        if outcome.kind == STOPPED:
            self._error = self._error or outcome
        elif self._stopped_at < math.inf and outcome.kind not in (RECORDED, ELSEWHERE):
            with store.claim(cell.spec):  # removes what a process that had to be killed has left
                pass
            self._waiting.append(cell)
        elif cut_off and not (running.limit or recorded_since(cell, store)) and self._try_again(cell):
            pass
        else:
            record = store.read(cell.spec)
            if outcome.kind != ELSEWHERE and (outcome.kind != RECORDED or record is None):
                record = record_end(cell, store, running.limit or reason_of(code, printed), printed)
            self._tell(cell, record, printed)

    def _try_again(self, cell: Cell) -> bool:
        """Put a run that something has killed at the end of the queue, but not for ever."""
        self._kills[cell.spec.id] = self._kills.get(cell.spec.id, 0) + 1
        if self._kills[cell.spec.id] == TRIES:
            return False
        self._work.observer.said("its process was killed; the run is continued later", cell)
        self._waiting.append(cell)
        return True

    def _tell(self, cell: Cell, record: Record | None, printed: str) -> None:
        lines = printed.strip().splitlines()[-PRINTED_LINES:]
        for line in lines if record is None or record.status == "done" else []:  # else it is in traceback.txt
            self._work.observer.said(f"| {plain(line)}", cell)
        self._work.observer.finished(cell, record)

    def _lost(self) -> None:
        """Go on after the helper process has died, and every run with it."""
        self._connection.restart()
        for running in list(self._running.values()):
            self._ended(running, -signal.SIGKILL, "", Outcome())
