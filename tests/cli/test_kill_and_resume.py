"""A run that is killed at any moment and started again comes to the same codes, and is never half recorded."""

import json
import random
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from vhbench.system.files import sha256_of

SMALL_NET = Path(__file__).parent / "plugins" / "small_net.py"
EPOCHS = 12


@pytest.fixture
def words(tiny):
    """The command, but for --out: 12 epochs of about 60 ms, each with a checkpoint."""
    pause = ["--set", "small-net.pause=0.02", "--checkpoint-every", "0"]
    return [
        "run", "--method", "small-net", "--protocol", tiny, "--bits", "16", "--device", "cpu",
        "--plugin", SMALL_NET, *pause,
    ]  # fmt: skip


def epochs(out):
    """Return the losses in train.jsonl, checking that each epoch stands there once and in order."""
    (log,) = out.rglob("train.jsonl")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["epoch"] for line in lines] == list(range(1, len(lines) + 1))
    return [line["loss"] for line in lines]


def has_epochs(out, count):
    return any(log.read_text().count("\n") >= count for log in out.rglob("train.jsonl"))


def has_file(out, name):
    return any(out.rglob(name))


def assert_absent_or_whole(out):
    for path in out.rglob("run.json"):
        record = json.loads(path.read_text())
        assert record["status"] == "done"
        assert all(sha256_of(path.with_name(name)) == digest for name, digest in record["files"].items())


def assert_same_results(a, b):
    for name in ("codes.npz", "per_query.npz"):
        (one,), (other,) = (map(np.load, folder.rglob(name)) for folder in (a, b))
        assert set(one) == set(other)
        assert all(np.array_equal(one[key], other[key]) for key in one)
    assert epochs(a) == epochs(b)
    (one,), (other,) = ((json.loads(p.read_text())["scores"] for p in folder.rglob("run.json")) for folder in (a, b))
    assert one == other


def assert_nothing_left_over(start, out):
    """A process killed just after its record was written leaves a lock, which the next one has no cause to touch."""
    assert start("status", "--tidy", "--out", out).end() == 0
    assert not [path for path in out.rglob("*") if path.name.startswith(".") or path.name == "checkpoint"]


def kill_until_done(start, words, out, moments):
    """Start the command again and again, killing it at each of the moments; returns how often that hit it alive."""
    hits = 0
    for happened, jitter in moments:
        child = start(*words, "--out", out)
        child.wait_for(happened)
        time.sleep(jitter)
        hits += child.signal(signal.SIGKILL) == -signal.SIGKILL
        assert_absent_or_whole(out)
    last = start(*words, "--out", out)
    assert last.end() == 0, last.printed
    return hits


def test_killed_at_random_moments_and_started_again_it_gives_the_same_codes(start, words, tmp_path):
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    assert start(*words, "--out", undisturbed).end() == 0
    rng = random.Random(0)
    moments = [(lambda: has_file(killed, ".lock"), 0.0)]
    for epoch in sorted(rng.sample(range(1, EPOCHS), 4)):
        moments.append((lambda epoch=epoch: has_epochs(killed, epoch), rng.uniform(0, 0.06)))
    moments.append((lambda: has_file(killed, "codes.npz"), 0.0))
    assert kill_until_done(start, words, killed, moments) >= 5
    assert_same_results(undisturbed, killed)
    assert_nothing_left_over(start, killed)


@pytest.mark.slow
def test_killed_forty_times_at_wholly_random_moments_it_gives_the_same_codes(start, words, tmp_path):
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    began = time.monotonic()
    assert start(*words, "--out", undisturbed).end() == 0
    took = time.monotonic() - began
    rng = random.Random(1)
    moments = [(lambda: True, rng.uniform(0, took)) for _ in range(40)]
    kill_until_done(start, words, killed, moments)
    assert_same_results(undisturbed, killed)
    assert_nothing_left_over(start, killed)


def test_a_killed_run_continues_where_its_checkpoint_is(start, words, tmp_path):
    out = tmp_path / "results"
    child = start(*words, "--out", out)
    child.wait_for(lambda: has_epochs(out, 6))
    assert child.signal(signal.SIGKILL) == -signal.SIGKILL
    before = epochs(out)
    (log,) = out.rglob("train.jsonl")
    times = [json.loads(line)["seconds"] for line in log.read_text().splitlines()]
    assert start(*words, "--out", out).end() == 0
    assert epochs(out)[: len(before)] == before
    after = [json.loads(line)["seconds"] for line in log.read_text().splitlines()]
    assert after[:5] == times[:5], "epochs before the checkpoint were not trained again"


def test_the_real_uvvh_killed_once_gives_the_same_codes(start, tiny, tmp_path):
    small = {"epochs": 4, "batch_size": 16, "intermediate": 64}
    words = [
        "run",
        "--method",
        "uvvh",
        "--protocol",
        tiny,
        "--bits",
        "16",
        "--device",
        "cpu",
        "--checkpoint-every",
        "0",
    ]
    words += [word for name, value in small.items() for word in ("--set", f"uvvh.{name}={value}")]
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    assert start(*words, "--out", undisturbed).end() == 0
    assert kill_until_done(start, words, killed, [(lambda: has_epochs(killed, 2), 0.0)]) == 1
    assert_same_results(undisturbed, killed)
    assert_nothing_left_over(start, killed)
