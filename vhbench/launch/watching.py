"""What can be seen of a run from outside its process: epochs, memory, and how it ended."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from typing import IO

from vhbench.method import Epoch
from vhbench.runs.record import TRAIN_LOG
from vhbench.runs.train_log import last_epoch

TAIL = 8192  # bytes of what a run printed that are reported


class RunProgress:
    """How far a run is, as its `train.jsonl` tells whoever looks again and again.

    Args:
        folder: the run's.
        total: how many epochs it trains, None where that is not known.
    """

    def __init__(self, folder: Path, total: int | None):
        self._folder, self._total = folder, total
        self._seen = self._changed()

    def news(self) -> Epoch | None:
        """Return the last epoch, or None where nothing has happened since the last look."""
        if (changed := self._changed()) == self._seen:
            return None
        self._seen = changed
        with contextlib.suppress(ValueError):  # the run itself mends a damaged log
            return last_epoch(self._folder, self._total)
        return None

    def _changed(self) -> int:
        try:
            return (self._folder / TRAIN_LOG).stat().st_mtime_ns
        except OSError:
            return 0


def memory_of(pid: int) -> float:
    """Return how many MB (10^6 bytes) of memory a process takes, 0 once it has ended.

    Mapped files are not counted: the system takes their pages back where it needs them.
    """
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    sizes = dict(line.split(":", 1) for line in status.splitlines())
    return sum(int(sizes[name].split()[0]) for name in ("RssAnon", "RssShmem") if name in sizes) * 1024 / 1e6


def reason_of(code: int, printed: str) -> str:
    """Say in one sentence what ended a process that did not record its run.

    Args:
        code: its exit code, minus the signal's number where a signal ended it.
        printed: the last that it printed.
    """
    if code == -signal.SIGKILL:
        return "Its process was killed (SIGKILL), as the system does when memory runs out."
    if code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
        return f"Its process crashed: {signal.strsignal(-code)} ({name})."
    last = printed.strip().rpartition("\n")[2]
    return f"Its process ended with exit code {code} before the run was recorded{f': {last}' if last else ''}."


def tail(output: IO[bytes]) -> str:
    """Return the last that was printed into a file."""
    size = output.seek(0, os.SEEK_END)
    output.seek(max(0, size - TAIL))
    return output.read().decode(errors="replace")
