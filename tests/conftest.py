"""What all tests share: no test sees the user's cache or data, and the command line is a function to call."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import runpy
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from vhbench.cli import main
from vhbench.runs.record import SCHEMA, write_record
from vhbench.runs.spec import RunSpec, budget_name
from vhbench.scoring import record_metrics
from vhbench.testing import fakes
from vhbench.testing.fakes import make_protocol

ROOT = Path(__file__).parent.parent

# read when torch is first imported; further threads only wait for each other on data this small
os.environ.setdefault("OMP_NUM_THREADS", "1")


# children start from a process that has imported all this already, which takes seconds
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    ["torch._inductor", "numba.np.linalg", "numba.typed", "h5py", "scipy.io", "pandas", "pytest", "vhbench.grid.runner"]
)


class Result(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one sentence by which a command refuses; nothing else may stand beside it but click's usage line."""
        assert "Traceback" not in self.err
        assert self.out == ""
        *before, last = self.err.strip().splitlines()
        assert last.startswith("Error: ")
        assert not any(line.startswith("Error: ") for line in before)
        return last


@pytest.fixture(autouse=True, scope="session")
def own_surroundings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Give all tests and their child processes a cache of their own and no data folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VHBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        for name in ("VHBENCH_DATA", "COLUMNS"):  # tables would be broken to a width
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest with real files beside it: 40 videos of 8 frames and 24 dimensions, 12 queries, 4 classes."""
    return make_protocol(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def fake_methods() -> Path:
    """A plugin file: `fake`, which is right and quick, and methods that fail in one way each (`fake-nan-loss`, ...)."""
    return Path(fakes.__file__)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A results folder that does not exist yet."""
    return tmp_path / "results"


@pytest.fixture
def vhbench(capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """Run a command in this process; nearly all tests do, since a process of its own takes seconds to start."""

    def run(*arguments: object) -> Result:
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return Result(int(end.value.code or 0), printed.out, printed.err)

    return run


@pytest.fixture
def run_tiny(vhbench: Callable[..., Result], tiny: Path, out: Path, fake_methods: Path) -> Callable[..., Result]:
    """Run `vhbench run` on the tiny protocol with the fake methods at hand; 8 bits unless told otherwise."""

    def run(method: str, *arguments: object) -> Result:
        given = ["--method", method, "--protocol", tiny, "--out", out, "--plugin", fake_methods]
        bits = [] if "--bits" in arguments else ["--bits", "8"]
        return vhbench("run", *given, *bits, *arguments)

    return run


@pytest.fixture(scope="session")
def child_environment() -> dict[str, str]:
    """The environment for a child process: this checkout's vhbench, wherever the child runs."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.fixture
def vhbench_process(tmp_path: Path, child_environment: dict[str, str]) -> Callable[..., Result]:
    """Run a command in a process of its own, in an empty folder; for what cannot be seen from inside this one."""

    def run(*arguments: object, python: tuple[str, ...] = ("-m", "vhbench"), **environment: str) -> Result:
        words = [sys.executable, *python, *map(str, arguments)]
        env = {**child_environment, **environment}
        done = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, check=False)
        return Result(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))

    return run


class Child:
    """A vhbench command in a process of its own, to be killed, interrupted or raced against another.

    Args:
        words: the command.
        log: gets all that the command prints.
        first: lines of Python that the process executes before it.
    """

    def __init__(self, words: tuple[object, ...], log: Path, first: str):
        self._log = log
        given = {"arguments": [str(word) for word in words], "log": str(log), "first": first}
        given["environment"] = dict(os.environ)
        self.process = FORKS.Process(target=runpy.run_path, args=(str(Path(__file__).with_name("child.py")), given))
        self.process.start()

    def wait_for(self, happened: Callable[[], object], seconds: float = 120) -> None:
        """Return when something has happened or the command has ended; fail after so many seconds."""
        end = time.monotonic() + seconds
        while self.process.is_alive() and not happened():
            assert time.monotonic() < end, f"waited too long; the command printed: {self.printed}"
            time.sleep(0.01)

    def signal(self, number: int) -> int:
        """Send a signal and return the exit code, which is minus the signal's number if that ended the process."""
        if self.process.is_alive() and self.process.pid:
            with contextlib.suppress(ProcessLookupError):  # it has just ended
                os.kill(self.process.pid, number)
        return self.end()

    def end(self) -> int:
        """Wait for the command to end and return its exit code."""
        self.process.join(120)
        assert self.process.exitcode is not None, f"waited too long; the command printed: {self.printed}"
        return self.process.exitcode

    @property
    def printed(self) -> str:
        return self._log.read_text() if self._log.exists() else ""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Child]]:
    """Start a command in a process of its own; it is killed at the end of the test if it still runs."""
    children: list[Child] = []

    def start(*words: object, first: str = "") -> Child:
        children.append(Child(words, tmp_path / f"child-{len(children)}.log", first))
        return children[-1]

    yield start
    for child in children:
        child.process.kill()
        child.process.join()


@pytest.fixture
def write_run(out: Path) -> Callable[..., Path]:
    """Write the record of a run that never took place; returns its folder.

    `value` is map@20 in the literature's convention; the strict one is 0.1 above it, all other scores are 0.5. Further
    keywords change entries of the record, or of its specification where the specification has them.
    """

    def write(method: str = "itq", bits: int = 16, seed: int = 0, value: float | None = 0.5, **changes: Any) -> Path:
        protocol, ks = changes.get("protocol", "toy"), changes.pop("ks", (5, 20))
        splits = changes.pop("splits", {protocol: dict.fromkeys(("train", "query", "database", "relevance"), "0" * 64)})
        params = changes.get("params", {"iterations": 50})
        entries = {
            "method": method, "params": params, "bits": bits, "seed": seed, "budget": {"epochs": None, "videos": None},
            "precision": "float32", "protocol": protocol, "version": 1, "splits": splits,
        }  # fmt: skip
        entries |= {name: changes.pop(name) for name in list(changes) if name in entries}
        spec = RunSpec(**entries)
        scores = {str(metric): 0.5 for metric in record_metrics(ks, in_database=False)}
        if 20 in ks:
            scores["map@20[den=k,ties=expected,self=keep]"] = value
            scores["map@20[den=min,ties=expected,self=keep]"] = None if value is None else value + 0.1
        for split in list(splits)[1:]:
            scores |= {f"{split}/{name}": score for name, score in scores.items() if "/" not in name}
        record = {
            "schema": SCHEMA, "id": spec.id, "spec": spec.to_json(), "status": "done", "reason": None,
            "budget": budget_name(spec.budget["epochs"], spec.budget["videos"], spec.params.get("epochs")),
            "synthetic": False, "changed": {},
            "method": {"origin": "built-in", "fingerprint": changes.pop("fingerprint", "")},
            "scores": scores, "queries": {split: {"total": 12, "scored": 11} for split in splits},
            "timing": {}, "environment": {"finished": "2026-01-01T00:00:00+00:00"},
        }  # fmt: skip
        folder = out / spec.folder
        write_record(folder, {**record, **changes})
        return folder

    return write
