"""The local launcher's helper: a process that has imported what every run needs and forks itself once a run.

Where there is a GPU, and the run may use it, the forked process starts Python anew.

It reads requests from standard input and writes reports to standard output, a line of JSON each:

    {"start": key, "job": job, "environment": {...}}
      ->  {"key": key, "pid": n}, later {"key": key, "code", "printed", "outcome"}
    {"signal": key, "number": n}

`code` is the exit code of the run's process, minus the signal's number where a signal ended it; `outcome` is what it
has said of the run itself, see `vhbench.launch.outcome`. The end of standard input ends the helper and every run: a
launcher that dies leaves nothing behind that computes unseen.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import select
import signal
import sys
import tempfile
import traceback
from dataclasses import asdict
from typing import IO, Any, NoReturn

from vhbench.launch import worker
from vhbench.launch.outcome import Listener
from vhbench.launch.watching import tail
from vhbench.system.environment import start_afresh
from vhbench.system.processes import die_with

PAUSE = 0.05  # seconds between looks for runs that have ended


class Server:
    """Starts runs, signals them and reports their ends.

    Args:
        requests: descriptor to read from.
        reports: descriptor to write to.
    """

    def __init__(self, requests: int, reports: int):
        self._requests = requests
        self._reports = reports
        self._running: dict[int, tuple[str, IO[bytes], Listener]] = {}

    def serve(self) -> None:
        """Work until the launcher closes its end, then kill what still runs."""
        rest = b""
        while True:
            if select.select([self._requests], [], [], PAUSE)[0]:
                chunk = os.read(self._requests, 1 << 16)
                if not chunk:
                    break
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    self._answer(json.loads(line))
            self._reap()
        for pid in self._running:
            _signal_group(pid, signal.SIGKILL)

    def _answer(self, request: dict[str, Any]) -> None:
        if "start" in request:
            if request["job"]["spec"]["budget"]["epochs"]:
                importlib.import_module("torch._dynamo")  # as every optimiser does, for more than a second
            self._start(request["start"], json.dumps(request["job"]), request["environment"])
        else:
            for pid, (key, *_) in self._running.items():
                if key == request["signal"]:
                    _signal_group(pid, request["number"])

    def _start(self, key: str, job: str, environment: dict[str, str]) -> None:
        output, listener = tempfile.TemporaryFile(), Listener()  # noqa: SIM115 (open until the run has ended)
        server = os.getpid()
        pid = os.fork()
        if pid == 0:
            os.setsid()  # Ctrl-C at the terminal is the launcher's to answer, and a kill reaches the run's children too
            os.close(self._reports)
            nothing = os.open(os.devnull, os.O_RDONLY)
            for number, source in enumerate((nothing, output.fileno(), output.fileno())):
                os.dup2(source, number)
            die_with(server)
            os.set_inheritable(listener.descriptor, True)
            _run(job, {**environment, **listener.environment})
        self._running[pid] = (key, output, listener)
        self._report({"key": key, "pid": pid})

    def _reap(self) -> None:
        for pid in list(self._running):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                key, output, listener = self._running.pop(pid)
                _signal_group(pid, signal.SIGKILL)  # what the run has started and left behind
                end = {"code": os.waitstatus_to_exitcode(status), "printed": tail(output)}
                self._report({"key": key, **end, "outcome": asdict(listener.hear())})
                output.close()
                listener.close()

    def _report(self, report: dict[str, Any]) -> None:
        os.write(self._reports, json.dumps(report).encode() + b"\n")


def warm_up() -> None:
    """Do once what every run would do again for seconds: import, load the compiled kernels, look at the surroundings.

    Nothing here may leave a thread behind or touch a GPU: neither survives a fork.
    """
    for name in ("torch", "pandas", "scipy.linalg", "scipy.io", "h5py", "vhbench.training", "vhbench.launch.jobs"):
        importlib.import_module(name)
    import numpy as np

    from vhbench.plugins.registry import Registry
    from vhbench.scoring import evaluate
    from vhbench.system import environment

    codes, labels = np.eye(4, dtype=bool), np.arange(4) % 2
    scores = evaluate(codes, codes, labels, labels, ks=(1,), self_index=np.arange(4))
    for by in ("rank", "radius"):
        scores.precision_recall(by=by)
    environment.describe("cpu")
    registry = Registry()
    registry.protocols()
    for entry in registry.methods():
        _ = entry.fingerprint  # remembers what it has read of the files that methods share


def main() -> None:
    """Get ready, then serve."""
    die_with(int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    start_afresh()
    reports = os.dup(1)
    os.dup2(2, 1)  # what a library prints must not stand among the reports
    warm_up()
    Server(0, reports).serve()


def _run(job: str, environment: dict[str, str]) -> NoReturn:
    """Do a job and end the process, without what the server would do at its own end."""
    code = 1
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.environ.update(environment)
        if json.loads(job)["settings"]["device"] != "cpu" and _has_gpu():
            _start_anew(job)
        code = worker.main(job)
    except BaseException:  # the launcher records it
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _start_anew(job: str) -> NoReturn:
    """Do a job in a fresh interpreter in this process's place: a GPU's driver need not survive a fork."""
    text = tempfile.TemporaryFile()  # noqa: SIM115 (the new program reads it)
    text.write(job.encode())
    text.seek(0)
    os.dup2(text.fileno(), 0)
    imports = f"import sys; sys.path[:] = {sys.path!r}; from vhbench.launch.worker import main"
    os.execv(sys.executable, [sys.executable, "-c", f"{imports}; sys.exit(main(sys.stdin.read()))"])


def _signal_group(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


if __name__ == "__main__":
    main()
