"""`--launcher local` with real processes: crashes, limits, Ctrl-C, and kills of anything at any moment."""

import contextlib
import io
import json
import os
import random
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from vhbench import run
from vhbench.cli import main
from vhbench.store import Store

PLUGINS = Path(__file__).parent / "plugins"
SMALL_NET, CRASHING = PLUGINS / "small_net.py", PLUGINS / "crashing.py"
BITS, SEEDS, EPOCHS = (8, 16), range(6), 6
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
    code, said = command(*words, "--method", "segfault,killed,leaves,talks,fake,fake-nan-loss", *LOCAL)
    return code, said, {method: record for (method, _, _), record in records(out).items()}


@pytest.mark.parametrize(
    ("method", "reason"),
    [
        ("segfault", "Its process crashed: Segmentation fault (SIGSEGV)."),
        ("killed", "Its process was killed (SIGKILL), as the system does when memory runs out."),
        ("leaves", "Its process ended with exit code 0 before the run was recorded."),
        ("fake-nan-loss", "The loss became nan in epoch 1 of 2: training diverged."),
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


def test_a_run_that_takes_too_much_memory_is_ended_and_says_so(tiny, fake_methods, out):
    table = run(
        ["eats", "fake"], tiny, 8, plugins=[CRASHING, fake_methods], out=out, device="cpu", launcher="local",
        workers=1, memory_limit=480,
    )  # fmt: skip
    assert table["status"].tolist() == ["failed", "done"]
    assert table["reason"][0].startswith("It took ") and "--memory-limit is 480 MB" in table["reason"][0]


def test_a_run_that_takes_too_long_is_ended_and_says_so(tiny, out):
    words = ["run", "--method", "sleeps", "--protocol", tiny, "--bits", 8, "--plugin", CRASHING, "--out", out]
    code, said = command(*words, *LOCAL, "--time-limit", "1s")
    assert code == 1 and "failed: It took more than --time-limit, 1 s." in said
    assert hidden(out) == []


# Ctrl-C and kills


@pytest.fixture
def words(tiny):
    """A grid of 12 runs of about half a second each, with a checkpoint after every epoch."""
    return [
        "run", "--method", "small-net", "--protocol", tiny, "--bits", "8,16", "--seeds", "0,1,2,3,4,5", *LOCAL,
        "--plugin", SMALL_NET, "--set", "small-net.pause=0.03", "--epochs", EPOCHS, "--checkpoint-every", "0",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def undisturbed(tiny, tmp_path_factory):
    """The same grid in one process, without pauses."""
    out = tmp_path_factory.mktemp("undisturbed")
    run("small-net", tiny, BITS, seeds=SEEDS, plugins=[SMALL_NET], epochs=EPOCHS, device="cpu", out=out)
    return records(out)


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


def test_ctrl_c_once_finishes_what_runs_and_twice_stops_it(start, words, out):
    child = start(*words, "--out", out)
    child.wait_for(lambda: has_epochs(out, 1))
    assert child.signal(signal.SIGINT) == 130
    assert "finished first; press it again to stop." in child.printed
    begun = {log.parent for log in out.rglob("train.jsonl")}
    assert 1 <= len(begun) <= 4 and begun == {path.parent for path in recorded(out)}
    before = recorded(out)
    child = start(*words, "--out", out)
    child.wait_for(lambda: any(not (log.parent / "run.json").exists() for log in out.rglob("train.jsonl")))
    os.kill(child.process.pid, signal.SIGINT)
    child.wait_for(lambda: "press it again" in child.printed)
    assert child.signal(signal.SIGINT) == 130
    assert child.printed.endswith("Interrupted: finished runs are kept; the same command continues.\n")
    assert "Traceback" not in child.printed and hidden(out) == []
    assert before.items() <= recorded(out).items() and len(recorded(out)) < 12


def test_a_grid_survives_kills_of_a_run_of_the_launcher_and_of_all(start, words, out, undisturbed, vhbench):
    words = [*words, "--out", out]
    first = start(*words)
    first.wait_for(lambda: has_epochs(out, 2))
    launcher = first.process.pid
    server = descendants(launcher)[0]
    kill(descendants(server)[:1])
    first.wait_for(lambda: "its process was killed; the run is continued later" in first.printed)
    first.wait_for(lambda: len(recorded(out)) >= 3)
    others, before = descendants(launcher), recorded(out)
    assert first.signal(signal.SIGKILL) == -signal.SIGKILL
    assert_gone(others)
    second = start(*words)
    second.wait_for(lambda: len(recorded(out)) >= 6)
    before |= recorded(out)
    kill([second.process.pid, *descendants(second.process.pid)])
    second.end()
    last = start(*words)
    assert last.end() == 0, last.printed
    vhbench("status", "--tidy", "--out", out)
    assert hidden(out) == []
    assert_same_results(out, undisturbed)
    assert before.items() <= recorded(out).items(), "a finished run was done again"


@pytest.mark.slow
def test_a_grid_survives_kills_at_fifty_random_moments(start, words, tmp_path, undisturbed, vhbench):
    rng = random.Random(0)
    grids, before = 0, {}
    out = tmp_path / "0"
    for _ in range(50):
        child = start(*words, "--out", out)
        child.wait_for(lambda out=out: has_file(out, ".lock"))
        time.sleep(rng.uniform(0, 2))
        below = descendants(child.process.pid)
        target = rng.choice(["launcher", "server", "run", "all"])
        kill(
            {
                "launcher": [child.process.pid],
                "server": below[:1],
                "run": below[-1:],
                "all": [child.process.pid, *below],
            }[target]
        )
        time.sleep(rng.uniform(0, 0.5))
        before |= recorded(out)
        below += descendants(child.process.pid)
        child.signal(signal.SIGKILL)
        assert_gone(below)
        if len(recorded(out)) == 12:
            finish(out, undisturbed, before, vhbench)
            grids, before = grids + 1, {}
            out = tmp_path / str(grids)
    last = start(*words, "--out", out)
    assert last.end() == 0, last.printed
    finish(out, undisturbed, before, vhbench)


def has_file(out, name):
    return any(out.rglob(name))


def finish(out, undisturbed, before, vhbench):
    vhbench("status", "--tidy", "--out", out)
    assert hidden(out) == []
    assert_same_results(out, undisturbed)
    assert before.items() <= recorded(out).items(), "a finished run was done again"


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
