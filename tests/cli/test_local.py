"""`--launcher local` with real processes: crashes, limits, Ctrl-C, and kills of anything at any moment."""

import contextlib
import io
import json
import os
import random
import re
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from vhbench import run
from vhbench.cli import main
from vhbench.runs.store import Store

PLUGINS = Path(__file__).parent / "plugins"
SMALL_NET, CRASHING = PLUGINS / "small_net.py", PLUGINS / "crashing.py"
EPOCHS = 6
LOCAL = ("--launcher", "local", "--workers", "2", "--device", "cpu")


def command(*words):
    """Run a command in this process; returns its exit code and what it printed for people."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()), pytest.raises(SystemExit) as end:
        main([str(word) for word in words])
    return end.value.code, said.getvalue()


def records(out):
    found, problems = Store(out).records()
    assert problems == []
    return {(r.spec["method"], r.spec["bits"], r.spec["seed"]): r for r in found}


def hidden(out):
    return [path for path in out.rglob("*") if path.name.startswith(".")]


# crashes


@pytest.fixture(scope="module")
def crashed(tiny, fake_methods, tmp_path_factory):
    """A grid of methods that crash and methods that work; returns the exit code, what was said, and the records."""
    out = tmp_path_factory.mktemp("crashed")
    words = ["run", "--protocol", tiny, "--bits", 8, "--plugin", CRASHING, "--plugin", fake_methods, "--out", out]
    methods = "segfault,killed,leaves,eats,talks,fake,fake-nan-loss,exits,exits-63,exits-65,exits-66,exits-130"
    code, said = command(*words, "--method", methods, *LOCAL, "--memory-limit", 480)
    return code, said, {method: record for (method, _, _), record in records(out).items()}


@pytest.mark.parametrize(
    ("method", "reason"),
    [
        ("segfault", "Its process crashed: Segmentation fault (SIGSEGV)."),
        ("killed", "Its process was killed (SIGKILL), as the system does when memory runs out."),
        ("leaves", "Its process ended with exit code 0 before the run was recorded."),
        ("fake-nan-loss", "The loss became nan in epoch 1 of 2: training diverged."),
        ("exits", "Its process ended with exit code 255 before the run was recorded."),
        ("exits-63", "Its process ended with exit code 63 before the run was recorded."),
        ("exits-65", "Its process ended with exit code 65 before the run was recorded."),
        ("exits-66", "Its process ended with exit code 66 before the run was recorded."),
        ("exits-130", "Its process ended with exit code 130 before the run was recorded."),
    ],
)
def test_a_run_whose_process_ends_is_recorded_with_the_reason(crashed, method, reason):
    code, said, found = crashed
    assert (found[method].status, found[method].data["reason"]) == ("failed", reason)
    assert code == 1 and f"failed: {reason}" in said


def test_a_crash_costs_its_own_run_only(crashed):
    _, _, found = crashed
    assert {method for method, record in found.items() if record.status == "done"} == {"fake", "talks"}


def test_the_last_words_and_the_place_of_a_crash_are_kept(crashed):
    _, _, found = crashed
    text = (found["segfault"].folder / "traceback.txt").read_text()
    assert text.startswith("the last words\n") and "Fatal Python error: Segmentation fault" in text
    assert 'crashing.py", line' in text


def test_a_killed_run_is_tried_again_but_not_for_ever(crashed):
    _, said, _ = crashed
    assert said.count("its process was killed; the run is continued later") == 2


def test_lines_name_their_run_and_what_a_run_prints_is_told_apart(crashed):
    _, said, _ = crashed
    lines = said.splitlines()
    first = next(n for n, line in enumerate(lines) if line.endswith("| first line"))
    assert "talks" in lines[first] or any("talks on tiny" in line for line in lines[:first])
    assert lines[first + 1] == "    | second line"
    assert lines[first + 2].startswith("    map@20 0.")


def test_nothing_is_left_of_runs_that_crashed(crashed):
    _, _, found = crashed
    assert hidden(found["fake"].folder.parents[2]) == []


# limits


def test_a_run_that_takes_too_much_memory_is_ended_and_says_so(crashed):
    _, _, found = crashed
    assert re.fullmatch(r"It took \d+ MB of memory; --memory-limit is 480 MB\.", found["eats"].data["reason"])


def test_a_run_that_takes_too_long_is_ended_and_says_so(tiny, out):
    words = ["run", "--method", "sleeps", "--protocol", tiny, "--bits", 8, "--plugin", CRASHING, "--out", out]
    code, said = command(*words, *LOCAL, "--time-limit", "1s")
    assert code == 1 and "failed: It took more than --time-limit, 1 s." in said
    assert hidden(out) == []


# Ctrl-C and kills


@pytest.fixture
def words(tiny):
    """A grid of 6 runs of about half a second each, with a checkpoint after every epoch; of 12 with six seeds."""
    return [
        "run", "--method", "small-net", "--protocol", tiny, "--bits", "8,16", "--seeds", "0,1,2", *LOCAL,
        "--plugin", SMALL_NET, "--set", "small-net.pause=0.03", "--epochs", EPOCHS, "--checkpoint-every", "0",
    ]  # fmt: skip


@pytest.fixture
def undisturbed(tiny, tmp_path):
    """Do the same grid in one process, without pauses."""

    def do(seeds):
        out = tmp_path / "undisturbed"
        run("small-net", tiny, (8, 16), seeds=seeds, plugins=[SMALL_NET], epochs=EPOCHS, device="cpu", out=out)
        return records(out)

    return do


def has_epochs(out, count):
    return sum(log.read_text().count("\n") for log in out.rglob("train.jsonl")) >= count


def recorded(out):
    return {path: path.read_bytes() for path in out.rglob("run.json")}


def descendants(pid):
    """Return the processes that a process has started, and those that they have."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            name, _, rest = stat.read_text().rpartition(")")
            parents[int(name.split()[0])] = int(rest.split()[1])
    found = [child for child, parent in parents.items() if parent == pid]
    return found + [below for child in found for below in descendants(child)]


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def kill(pids):
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def assert_gone(pids):
    end = time.monotonic() + 60
    while left := [pid for pid in pids if alive(pid)]:
        assert time.monotonic() < end, f"still at work: {left}"
        time.sleep(0.02)


def assert_same_results(out, undisturbed):
    found = records(out)
    assert found.keys() == undisturbed.keys()
    for key, record in found.items():
        other = undisturbed[key]
        assert record.status == "done", record.data["reason"]
        assert record.scores == other.scores
        codes, wanted = np.load(record.folder / "codes.npz"), np.load(other.folder / "codes.npz")
        assert set(codes) == set(wanted) and all(np.array_equal(codes[name], wanted[name]) for name in codes)
        epochs = [json.loads(line)["epoch"] for line in (record.folder / "train.jsonl").read_text().splitlines()]
        assert epochs == list(range(1, EPOCHS + 1))


def unfinished(out):
    return [log.parent for log in out.rglob("train.jsonl") if not log.with_name("run.json").exists()]


def test_ctrl_c_once_finishes_what_runs(start, words, out):
    child = start(*words, "--out", out)
    child.wait_for(lambda: has_epochs(out, 1))
    assert child.signal(signal.SIGINT) == 130
    assert "finished first; press it again to stop." in child.printed
    assert recorded(out) and unfinished(out) == [] and len(recorded(out)) < 6
    assert hidden(out) == []


def test_ctrl_c_twice_stops_what_runs_and_keeps_checkpoints(start, words, out):
    child = start(*words, "--set", "small-net.pause=3", "--out", out)
    child.wait_for(lambda: has_epochs(out, 1))
    os.kill(child.process.pid, signal.SIGINT)
    child.wait_for(lambda: "press it again" in child.printed)
    assert child.signal(signal.SIGINT) == 130
    assert child.printed.endswith("Interrupted: finished runs are kept; the same command continues.\n")
    assert "Traceback" not in child.printed and hidden(out) == []
    assert recorded(out) == {} and any((folder / "checkpoint").is_dir() for folder in unfinished(out))


def test_a_grid_survives_the_kill_of_a_run_and_of_the_launcher(start, words, out, undisturbed, vhbench):
    words = [*words, "--out", out]
    first = start(*words)
    first.wait_for(lambda: has_epochs(out, 2))
    server = descendants(first.process.pid)[0]
    kill(descendants(server)[:1])
    first.wait_for(lambda: "its process was killed; the run is continued later" in first.printed)
    first.wait_for(lambda: recorded(out))
    others, before = descendants(first.process.pid), recorded(out)
    assert first.signal(signal.SIGKILL) == -signal.SIGKILL
    assert_gone(others)
    last = start(*words)
    assert last.end() == 0, last.printed
    finish(out, undisturbed(range(3)), before, vhbench)


@pytest.mark.slow
def test_a_grid_of_twelve_survives_kills_at_fifty_random_moments(start, words, tmp_path, undisturbed, vhbench):
    rng, wanted = random.Random(0), undisturbed(range(6))
    words = [*words, "--seeds", "0,1,2,3,4,5"]
    grids, before, out = 0, {}, tmp_path / "0"
    for _ in range(50):
        child = start(*words, "--out", out)
        if rng.random() < 0.9:  # else while it starts
            child.wait_for(lambda child=child: "[1/" in child.printed)
        time.sleep(rng.uniform(0, 2))
        below = descendants(child.process.pid)
        everything = [child.process.pid, *below]
        kill(rng.choice([everything[:1], below[:1], below[-1:], everything]))  # the launcher, its helper, a run, all
        time.sleep(rng.uniform(0, 0.5))
        before |= recorded(out)
        below += descendants(child.process.pid)
        child.signal(signal.SIGKILL)
        assert_gone(below)
        if len(recorded(out)) == 12:
            finish(out, wanted, before, vhbench)
            grids, before = grids + 1, {}
            out = tmp_path / str(grids)
    last = start(*words, "--out", out)
    assert last.end() == 0, last.printed
    finish(out, wanted, before, vhbench)


def finish(out, undisturbed, before, vhbench):
    vhbench("status", "--tidy", "--out", out)
    assert hidden(out) == []
    assert_same_results(out, undisturbed)
    assert before.items() <= recorded(out).items(), "a finished run was done again"


@pytest.mark.slow
def test_sixteen_processes_on_one_grid_do_each_run_once(start, tiny, out, tmp_path):
    plugin = tmp_path / "counted.py"
    plugin.write_text(COUNTED)
    words = ["run", "--method", "counted", "--protocol", tiny, "--bits", "8,16", "--seeds", "0,1", "--out", out]
    children = [start(*words, "--plugin", plugin, "--device", "cpu") for _ in range(16)]
    assert [child.end() for child in children] == [0] * 16, [child.printed for child in children]
    fits = (tmp_path / "fits.txt").read_text().splitlines()
    assert sorted(fits) == sorted(f"{bits} {seed}" for bits in (8, 16) for seed in (0, 1))
    assert len(records(out)) == 4 and hidden(out) == []


COUNTED = """
from pathlib import Path
from vhbench.testing.fakes import FakeMethod

class Counted(FakeMethod):
    name = "counted"

    def fit(self, train, ctx):
        with Path(__file__).with_name("fits.txt").open("a") as file:
            file.write(f"{self.bits} {ctx.seed}\\n")
        return super().fit(train, ctx)
"""


# GPUs, simulated: the plugin of these runs simulates those that each process is shown


def test_runs_are_shared_out_among_gpus_and_each_sees_its_own_alone(vhbench_process, tiny, out, tmp_path):
    words = ["run", "--plugin", PLUGINS / "on_two_gpus.py", "--method", "on-two-gpus", "--protocol", tiny, "--out", out]
    ended = vhbench_process(*words, "--bits", "8,16,24,32", "--launcher", "local", "--gpus", "0,1", "--per-gpu", 2)
    assert ended.code == 0, ended.err
    together = sorted(path.read_text() for path in (tmp_path / "begun").iterdir())
    assert together == ["0 as cuda:0", "0 as cuda:0", "1 as cuda:0", "1 as cuda:0"]
    assert {record.data["environment"]["gpu"] for record in records(out).values()} == {"Simulated GPU (CUDA None)"}
