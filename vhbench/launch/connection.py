"""The launcher's end of its talk with `vhbench.launch.server`."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any

from vhbench.errors import StoreError

STARTS = 3  # in a row without a report, before the launcher gives up
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


class LostError(Exception):
    """The server has died, and every run with it."""


class Connection:
    """A server process and the pipes to it.

    Args:
        threads: how many each run may use.
    """

    def __init__(self, threads: int):
        self._environment = {**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(threads))}
        self._starts = 0
        self._rest = b""
        self._open()

    def start(self, key: str, job: Mapping[str, Any], environment: Mapping[str, str]) -> None:
        """Ask for a run.

        Args:
            key: names it in reports.
            job: what `vhbench.launch.jobs.Job.to_json` gave.
            environment: variables for its process.
        """
        self._send({"start": key, "job": job, "environment": environment})

    def signal(self, key: str, number: int) -> None:
        """Send a signal to a run's process and its children."""
        self._send({"signal": key, "number": number})

    def reports(self, seconds: float) -> list[dict[str, Any]]:
        """Return the reports that are there, waiting for so long until one is.

        Raises:
            LostError: the server has died; `restart` starts another.
        """
        if not select.select([self._out], [], [], seconds)[0]:
            return []
        chunk = os.read(self._out, 1 << 16)
        if not chunk:
            raise LostError
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        self._starts = 0
        return [json.loads(line) for line in lines]

    def restart(self) -> None:
        """Start another server.

        Raises:
            StoreError: the last ones have all died without a report.
        """
        self.close()
        if self._starts == STARTS:
            raise StoreError(
                f"The local launcher's helper process died {STARTS} times in a row; its last words stand above, if it "
                "had any. --launcher inline does without it."
            )
        self._open()

    def close(self) -> None:
        """End the server, and every run that is still at work."""
        with contextlib.suppress(BrokenPipeError):
            self._in.close()
        try:
            self._process.wait(1)
        except subprocess.TimeoutExpired:  # it imports, and does not listen yet
            self._process.kill()
            self._process.wait()
        os.close(self._out)

    def _open(self) -> None:
        self._starts += 1
        if self._starts > 1:
            time.sleep(1)  # whatever killed the last one may be over
        # as multiprocessing does: what this process can import, its children can
        code = f"import sys; sys.path[:] = {sys.path!r}; from vhbench.launch.server import main; main()"
        self._process = subprocess.Popen(
            [sys.executable, "-c", code, str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=self._environment,
            start_new_session=True,  # Ctrl-C at the terminal is not for it
        )
        assert self._process.stdin and self._process.stdout
        self._in = self._process.stdin
        self._out = os.dup(self._process.stdout.fileno())
        self._process.stdout.close()
        self._rest = b""

    def _send(self, request: Mapping[str, Any]) -> None:
        with contextlib.suppress(BrokenPipeError):  # it has died: `reports` says so
            self._in.write(json.dumps(request).encode() + b"\n")
            self._in.flush()
