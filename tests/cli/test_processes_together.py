"""Several processes on one results folder: each run is done once, and a dead or interrupted process blocks nobody."""

import json
import re
import signal
from pathlib import Path

import pytest

from vhbench.runs.store import Store

SMALL_NET = Path(__file__).parent / "plugins" / "small_net.py"

# leaves a line in `fits.txt` beside it for every training, which takes a while
SLOW = """
import time
from pathlib import Path
from vhbench.testing.fakes import FakeMethod

class Slow(FakeMethod):
    name = "slow"

    def fit(self, train, ctx):
        with Path(__file__).with_name("fits.txt").open("a") as file:
            file.write(f"{self.bits} {ctx.seed}\\n")
        time.sleep(0.15)
        return super().fit(train, ctx)
"""


@pytest.fixture
def words(tiny, out, tmp_path):
    (tmp_path / "slow.py").write_text(SLOW)
    return [
        "run", "--method", "slow", "--protocol", tiny, "--bits", "8,16", "--seeds", "0,1,2", "--out", out,
        "--plugin", tmp_path / "slow.py",
    ]  # fmt: skip


@pytest.fixture
def long_words(tiny, out):
    """A run of some minutes unless it is ended."""
    return [
        "run", "--method", "small-net", "--protocol", tiny, "--bits", "8", "--out", out, "--plugin", SMALL_NET,
        "--set", "small-net.pause=0.1", "--epochs", "500", "--checkpoint-every", "0",
    ]  # fmt: skip


def has_epochs(out, count):
    return any(log.read_text().count("\n") >= count for log in out.rglob("train.jsonl"))


def test_two_processes_share_a_grid_and_do_each_run_once(start, words, out, tmp_path):
    both = [start(*words), start(*words)]
    assert [child.end() for child in both] == [0, 0], [child.printed for child in both]
    fits = (tmp_path / "fits.txt").read_text().splitlines()
    assert sorted(fits) == sorted(f"{bits} {seed}" for bits in (8, 16) for seed in (0, 1, 2))
    records, problems = Store(out).records()
    assert len(records) == 6 and problems == []
    assert not [path for path in out.rglob("*") if path.name.startswith(".")]
    said = "".join(child.printed for child in both)
    assert "another process is doing this run" in said or "Nothing to do" in said or "recorded already" in said


def test_a_running_process_holds_its_run_and_a_killed_one_frees_it(start, long_words, vhbench, out):
    child = start(*long_words)
    child.wait_for(lambda: has_epochs(out, 1))
    assert "running" in vhbench("status", "--out", out).out.splitlines()[0]
    blocked = vhbench(*long_words)
    assert (blocked.code, blocked.out) == (0, "")
    assert "being done by other processes: 1 of 1 runs" in blocked.err and "Nothing to do" not in blocked.err
    assert re.search(r" running: epoch \d+/\d+, .* keep$", vhbench(*long_words, "--dry-run").out.splitlines()[2])
    assert child.signal(signal.SIGKILL) == -signal.SIGKILL
    assert list(out.rglob(".lock")) and "interrupted" in vhbench("status", "--out", out).out.splitlines()[0]
    (log,) = out.rglob("train.jsonl")
    before = log.read_text().count("\n")
    second = start(*long_words)
    second.wait_for(lambda: has_epochs(out, before + 1))
    assert second.process.is_alive(), second.printed


def test_what_a_killed_process_left_half_written_is_removed_by_the_next(start, long_words, vhbench, out):
    child = start(*long_words)
    child.wait_for(lambda: has_epochs(out, 1))
    child.signal(signal.SIGKILL)
    (lock,) = out.rglob(".lock")
    strays = [lock.with_name(".tmp-abcrun.json"), lock.parent / "checkpoint" / ".tmp-abcstate.pt"]
    for stray in strays:
        stray.parent.mkdir(exist_ok=True)
        stray.write_bytes(b"half")
    second = start(*long_words)
    second.wait_for(lambda: not any(stray.exists() for stray in strays))
    assert second.process.is_alive(), second.printed


def test_ctrl_c_ends_with_a_message_and_the_next_run_continues(start, long_words, out):
    child = start(*long_words)
    child.wait_for(lambda: has_epochs(out, 3))
    assert child.signal(signal.SIGINT) == 130
    assert child.printed.endswith("Interrupted: finished runs are kept; the same command continues.\n")
    assert "Traceback" not in child.printed
    assert not [path for path in out.rglob("*") if path.name.startswith(".")], "no lock, no temporary file"
    (log,) = out.rglob("train.jsonl")
    before = log.read_text().splitlines()
    second = start(*long_words)
    second.wait_for(lambda: has_epochs(out, len(before) + 1))
    assert log.read_text().splitlines()[: len(before) - 1] == before[:-1], "the epochs done were not done again"
    assert json.loads(before[0])["epoch"] == 1
