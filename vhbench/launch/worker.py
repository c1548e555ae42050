"""The process that does one run: `python -m vhbench.launch.worker [FILE]` reads a job as JSON from FILE or stdin.

It exits with 0 when the run is recorded, done or failed, and with ELSEWHERE when another process does or has done it.
What ends a whole grid, such as a full disk, is one sentence on standard error and STOPPED plus the error's exit code.
SIGUSR2 ends a training after its next epoch, with a checkpoint.
"""

from __future__ import annotations

import faulthandler
import json
import logging
import signal
import sys
from pathlib import Path
from typing import Any

from vhbench.checkpoint import Checkpoint
from vhbench.errors import DeviceError, StoreError, UsageError, VhbenchError

ELSEWHERE = 63
STOPPED = 64
INTERRUPTED = 130


def main(text: str) -> int:
    """Do the job and return the exit code.

    Args:
        text: the job as JSON.
    """
    faulthandler.enable()  # a crash of the interpreter then says on standard error where it was
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    logging.getLogger("vhbench").setLevel(logging.INFO)
    try:
        from vhbench.grid.runner import Observer
        from vhbench.launch.jobs import Job, do

        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise UsageError("A job is JSON, as `vhbench.launch.jobs.Job.to_json` gives it.") from error
        return 0 if do(Job.from_json(value), Observer()) else ELSEWHERE
    except DeviceError:  # the run is recorded, and this process does no other
        return 0
    except VhbenchError as error:
        sys.stderr.write(f"{error}\n")
        return STOPPED + error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED


def raise_stop(code: int, message: str) -> None:
    """Raise in the launcher what stopped a worker; return where its exit code says that nothing did."""
    if code == STOPPED + StoreError.exit_code:
        raise StoreError(message)
    if code == STOPPED + UsageError.exit_code:
        raise UsageError(message)


def _stop(number: int, frame: Any) -> None:
    Checkpoint.stopping = True


if __name__ == "__main__":
    signal.signal(signal.SIGUSR2, _stop)
    sys.exit(main(Path(sys.argv[1]).read_text() if len(sys.argv) > 1 else sys.stdin.read()))
