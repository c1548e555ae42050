"""What a SLURM job does: one run in a process of its own, put back into the queue when SLURM wants the place back."""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vhbench.checkpoint import Checkpoint
from vhbench.launch.connection import THREAD_VARIABLES
from vhbench.launch.outcome import ELSEWHERE, INTERRUPTED, RECORDED, STOPPED, Listener
from vhbench.launch.watching import reason_of, tail
from vhbench.runs.record import CHECKPOINT, RECORD

TICK = 0.1  # seconds between looks at the run's process
WARNING = 90.0  # seconds before a job's end at which SLURM says so, where its time is long enough for that
GRACE = 20.0  # seconds that a run has to end its epoch and write a checkpoint
EARLY = 90.0  # seconds by which SLURM's warning may come before it is due
ENDING = (-signal.SIGTERM, -signal.SIGUSR2)  # exit codes of a process that SLURM has told to end
WORD = 5.0  # seconds in which this process hears of that too; a method can also end itself so
STAY = 600.0  # seconds between SLURM's first signal and its last, at most


class Task:
    """One run, as submitit wants it: called in the job, and asked for a checkpoint when SLURM signals its end.

    submitit keeps what it calls as a pickle in its own folder, and its own program unpickles it in the job; vhbench
    never does. It holds no more than this class's name and plain values: there is no state in an instance that a job
    has not begun.
    """

    _process: subprocess.Popen[bytes] | None = None
    _started = 0.0
    _told = False
    _checkpoint: int | None = None  # when it was written, at the start of this turn

    def __call__(self, job: Mapping[str, Any], limit: float, threads: int | None) -> str:
        """Do the run and record its end, whatever that is.

        Args:
            job: what `vhbench.launch.jobs.Job.to_json` gave.
            limit: seconds of the SLURM job.
            threads: how many the run may use; None: as many as it wants.

        Raises:
            RuntimeError: it could not be recorded; the message is in the job's log.
        """
        self._started, self._checkpoint = time.monotonic(), _written(job)
        self._listen_to_slurm()
        with tempfile.TemporaryFile() as output, contextlib.closing(Listener()) as listener:
            # another process than this one: a crash then costs the run, and this one records it
            self._process = subprocess.Popen(
                [sys.executable, "-m", "vhbench.launch.worker"],
                stdin=subprocess.PIPE, stdout=output, stderr=output, pass_fds=[listener.descriptor],
                env={**_environment(threads), **listener.environment},
            )  # fmt: skip
            assert self._process.stdin
            self._process.stdin.write(json.dumps(dict(job)).encode())
            self._process.stdin.close()
            # not wait(): it cannot be called again in the signal handler, which stops the process
            while (code := self._process.poll()) is None:
                time.sleep(TICK)
            printed, outcome = tail(output), listener.hear()
        sys.stderr.write(printed)
        if (code in ENDING or outcome.kind == INTERRUPTED) and self._was_told():
            time.sleep(STAY)  # SLURM told every process of the job to end: what becomes of the job it says next
            raise RuntimeError("The run was interrupted; its checkpoint stays.")
        if outcome.kind == STOPPED:
            raise RuntimeError(outcome.message)
        if outcome.kind == ELSEWHERE:
            return "another process does or has done this run"
        if outcome.kind != RECORDED or not _record(job).exists():
            _record_end(job, reason_of(code, printed), printed)
        return "recorded"

    def _listen_to_slurm(self) -> None:
        """Note when SLURM tells this process to end; what submitit does then it goes on to do."""
        before = signal.getsignal(signal.SIGTERM)

        def hear(number: int, frame: Any) -> None:
            self._told = True
            if callable(before):
                before(number, frame)

        signal.signal(signal.SIGTERM, hear)

    def _was_told(self) -> bool:
        """Say whether SLURM has told this process to end; the run's process may have heard of it a moment before."""
        end = time.monotonic() + WORD
        while not self._told and time.monotonic() < end:
            time.sleep(TICK)
        return self._told

    def checkpoint(self, job: Mapping[str, Any], limit: float, threads: int | None) -> Any:
        """Stop the run after its next checkpoint, and return what is to be done in the next turn.

        None, and the run recorded as failed, where it had its full time and has no more to show than before.
        """
        from submitit.core.utils import DelayedSubmission

        signal.signal(signal.SIGUSR2, signal.SIG_IGN)
        self._stop(min(GRACE, warning(limit) * 2 / 3))
        had_its_time = time.monotonic() - self._started >= limit - warning(limit) - EARLY
        if had_its_time and _written(job) == self._checkpoint:
            _record_end(job, f"It took more than --time-limit, {limit:g} s, and wrote no checkpoint to go on from.", "")
            return None
        return DelayedSubmission(Task(), job, limit, threads)

    def _stop(self, seconds: float) -> None:
        """End the run's process: by itself after its epoch, or by force after so many seconds."""
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGUSR2)
        end = time.monotonic() + seconds
        while process.poll() is None and time.monotonic() < end:
            time.sleep(TICK)
        process.kill()
        while process.poll() is None and time.monotonic() < end + seconds:
            time.sleep(TICK)


def warning(limit: float) -> float:
    """Return how many seconds before the end of its time a job is to be told.

    Args:
        limit: seconds of the job.
    """
    return math.floor(min(WARNING, limit / 4))


def _environment(threads: int | None) -> dict[str, str]:
    own = os.environ.get("OMP_NUM_THREADS", "")
    if threads is None or (own.isdecimal() and int(own) < threads):
        return dict(os.environ)
    return {**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(threads))}


def _folder(job: Mapping[str, Any]) -> Path:
    """Return a run's folder; its method and protocol need not be loaded for that."""
    return Path(job["folder"], job["out"], job["run"])


def _record(job: Mapping[str, Any]) -> Path:
    return _folder(job) / RECORD


def _written(job: Mapping[str, Any]) -> int | None:
    """Return when the run's checkpoint was written."""
    try:
        return Checkpoint(_folder(job) / CHECKPOINT, "").path.stat().st_mtime_ns
    except OSError:
        return None


def _record_end(job: Mapping[str, Any], reason: str, printed: str) -> None:
    from vhbench.launch.jobs import Job, record_job_end

    record_job_end(Job.from_json(job), reason, printed)
