"""The process that does one run: `python -m vhbench.launch.worker [FILE]` reads a job as JSON from FILE or stdin.

What came of the run it tells a launcher as `vhbench.launch.outcome` has it. For people it exits with 0 when the run is
recorded, done or failed, or another process does or has done it; what ends a whole grid, such as a full disk, is one
sentence on standard error and the error's exit code. SIGUSR2 ends a training after its next epoch, with a checkpoint.
"""

from __future__ import annotations

import faulthandler
import json
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

from vhbench.checkpoint import Checkpoint
from vhbench.errors import DeviceError, UsageError, VhbenchError
from vhbench.launch.outcome import ELSEWHERE, INTERRUPTED, RECORDED, STOPPED, Outcome, Teller
from vhbench.system.environment import start_afresh
from vhbench.system.text import plain


def main(text: str) -> int:
    """Do the job and return the exit code.

    Args:
        text: the job as JSON.
    """
    teller = Teller(os.environ)
    faulthandler.enable()  # a crash of the interpreter then says on standard error where it was
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    logging.getLogger("vhbench").setLevel(logging.INFO)
    try:
        outcome, code = Outcome(RECORDED if _do(text) else ELSEWHERE), 0
    except DeviceError:  # the run is recorded, and this process does no other
        outcome, code = Outcome(RECORDED), 0
    except VhbenchError as error:
        sys.stderr.write(f"{error}\n")
        outcome, code = Outcome(STOPPED, plain(error), error.exit_code), error.exit_code
    except KeyboardInterrupt:
        outcome, code = Outcome(INTERRUPTED), 130
    teller.tell(outcome)
    return code


def _do(text: str) -> object:
    """Do a job; return None where another process does or has done it."""
    from vhbench.grid.settings import Observer
    from vhbench.launch.jobs import Job, do

    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError("A job is JSON, as `vhbench.launch.jobs.Job.to_json` gives it.") from error
    return do(Job.from_json(value), Observer())


def _stop(number: int, frame: Any) -> None:
    Checkpoint.stopping = True


if __name__ == "__main__":
    start_afresh()
    signal.signal(signal.SIGUSR2, _stop)
    sys.exit(main(Path(sys.argv[1]).read_text() if len(sys.argv) > 1 else sys.stdin.read()))
