"""Damaged results: found by their digests, named, set aside and done again; what reads results leaves them out."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest

from vhbench.runs.record import read_record, write_record
from vhbench.runs.store import RunFolder, Store
from vhbench.system.files import sha256_of

SMALL_NET = Path(__file__).parent / "plugins" / "small_net.py"
DAMAGE = {
    "truncated": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "zeros": lambda content: bytes(len(content)),
    "garbage of the same size": lambda content: np.random.default_rng(0).bytes(len(content)),
}
kinds = pytest.mark.parametrize("kind", DAMAGE)


@pytest.fixture(autouse=True)
def messages(caplog):
    """Return what was said so far; in a test, pytest's handler gets what the command line writes to stderr."""
    caplog.set_level(logging.INFO, logger="vhbench")
    return lambda: caplog.text


def damage(out, name, kind):
    """Damage a file of the only run; returns its path and what it holds now."""
    (path,) = out.rglob(name)
    content = DAMAGE[kind](path.read_bytes())
    path.write_bytes(content)
    return path, content


def codes(out):
    (path,) = out.rglob("codes.npz")
    with np.load(path) as file:
        return {name: file[name].tolist() for name in file}


def assert_whole(out):
    (record,), problems = Store(out).records()
    assert problems == [] and record.status == "done"
    assert all(sha256_of(record.folder / name) == digest for name, digest in record.digests.items())


# records and codes


@kinds
@pytest.mark.parametrize("name", ["run.json", "codes.npz"])
def test_a_damaged_run_is_named_set_aside_and_done_again(run_tiny, out, messages, name, kind):
    run_tiny("fake")
    before = codes(out)
    path, content = damage(out, name, kind)
    again = run_tiny("fake")
    assert again.code == 0 and "recorded already" not in again.err
    assert f"{path} is damaged" in messages()
    assert f"{path} was damaged and is now {name}.damaged-1" in messages()
    assert path.with_name(f"{name}.damaged-1").read_bytes() == content
    assert_whole(out)
    assert codes(out) == before
    assert "Nothing to do" in run_tiny("fake").err


def test_what_was_set_aside_before_stays(run_tiny, out):
    run_tiny("fake")
    for _ in range(2):
        damage(out, "codes.npz", "truncated")
        run_tiny("fake")
    assert sorted(path.name for path in out.rglob("*.damaged-*")) == ["codes.npz.damaged-1", "codes.npz.damaged-2"]


def test_a_flipped_bit_in_the_codes_is_seen(run_tiny, out, messages):
    run_tiny("fake")
    (path,) = out.rglob("codes.npz")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert run_tiny("fake").code == 0 and f"{path} is damaged (its sha256 is not the one in run.json)" in messages()


def test_a_specification_that_does_not_fit_its_id_is_damage(run_tiny, vhbench, out):
    run_tiny("fake")
    (path,) = out.rglob("run.json")
    record = read_record(path)
    write_record(path.parent, {**record.data, "spec": {**record.spec, "bits": 9}})
    result = vhbench("compare", "--out", out)
    assert f"{path} is damaged (its id is not the sha256 of its specification)" in result.err
    assert result.out == ""


def test_a_dry_run_names_the_damage_and_touches_nothing(run_tiny, out, messages):
    run_tiny("fake")
    path, content = damage(out, "codes.npz", "truncated")
    assert "missing" in run_tiny("fake", "--dry-run").out
    assert f"{path} is damaged" in messages()
    assert path.read_bytes() == content and not list(out.rglob("*.damaged-*"))


@pytest.mark.parametrize("command", [("compare",), ("status",), ("list", "runs")], ids=" ".join)
def test_reading_commands_name_damaged_codes_and_leave_the_run_out(run_tiny, vhbench, out, command):
    run_tiny("fake", "--bits", "8,16")
    path = next(out.glob("*/*/8b-*/codes.npz"))
    path.write_bytes(DAMAGE["truncated"](path.read_bytes()))
    names = sorted(out.rglob("*"))
    result = vhbench(*command, "--out", out)
    assert result.code == 0 and f"{path} is damaged" in result.out + result.err
    assert "waiting" not in result.out, "it is named, and not counted as one that was never begun"
    assert [record.spec["bits"] for record in Store(out).records()[0]] == [16]
    assert sorted(out.rglob("*")) == names, "a command that reads renames nothing"


def test_a_user_sees_it_on_stderr(vhbench_process, run_tiny, tiny, out, fake_methods):
    run_tiny("fake")
    path, _ = damage(out, "codes.npz", "truncated")
    words = ["--method", "fake", "--protocol", tiny, "--bits", "8", "--out", out, "--plugin", fake_methods]
    result = vhbench_process("run", *words)
    assert result.code == 0
    assert f"{path} is damaged (its sha256 is not the one in run.json): `vhbench run` sets it aside" in result.err
    assert f"{path} was damaged and is now codes.npz.damaged-1" in result.err


# what the codes can give again


@pytest.mark.parametrize(
    ("name", "kind"), [("per_query.npz", "truncated"), ("curves.json", "garbage of the same size")]
)
def test_what_the_codes_can_give_again_is_named_and_the_run_stands(run_tiny, vhbench, out, messages, name, kind):
    first = run_tiny("fake")
    path, _ = damage(out, name, kind)
    again = run_tiny("fake")
    assert "Nothing to do" in again.err and again.out == first.out
    assert f"{path} is damaged" in messages() and "`vhbench rescore` makes it anew from the run's codes" in messages()
    assert vhbench("compare", "--out", out).out != ""


def test_a_file_that_was_removed_is_no_damage(run_tiny, vhbench, out):
    """Who keeps or passes on the records alone can still compare them."""
    run_tiny("fake")
    for name in ("codes.npz", "per_query.npz", "curves.json"):
        next(out.rglob(name)).unlink()
    assert "Nothing to do" in run_tiny("fake").err
    result = vhbench("compare", "--out", out)
    assert "fake" in result.out and result.err == ""


def test_a_folder_whose_only_run_is_damaged_is_not_called_empty(run_tiny, vhbench, out):
    run_tiny("fake")
    next(out.rglob("codes.npz")).write_bytes(b"damaged")
    result = vhbench("status", "--out", out)
    assert "is damaged" in result.out and "no runs" not in result.err


# checkpoints and logs of interrupted runs


@pytest.fixture
def train(vhbench, tiny, out):
    """Train a small network for 5 epochs with a checkpoint after each."""
    words = ["--method", "small-net", "--protocol", tiny, "--bits", "8", "--device", "cpu", "--plugin", SMALL_NET]
    return lambda out=out: vhbench("run", *words, "--epochs", "5", "--checkpoint-every", "0", "--out", out)


@pytest.fixture
def interrupted(train, monkeypatch, out):
    """Leave a training behind that was stopped in its fourth epoch; returns its checkpoint."""
    log_epoch = RunFolder.log_epoch

    def stop(folder, epoch):
        if epoch.number == 4:
            raise KeyboardInterrupt
        log_epoch(folder, epoch)

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "log_epoch", stop)
        assert train().code == 130
    (path,) = out.rglob("state.pt")
    return path


@pytest.mark.parametrize("kind", ["truncated", "empty", "garbage of the same size"])
def test_a_damaged_checkpoint_is_named_set_aside_and_the_training_starts_over(
    train, interrupted, out, tmp_path, messages, kind
):
    path, content = damage(out, "state.pt", kind)
    assert path == interrupted
    assert train().code == 0
    assert f"{path} is damaged (its sha256 is not the one at its end)" in messages()
    assert "set aside as state.pt.damaged-1; training starts over" in messages()
    (aside,) = out.rglob("state.pt.damaged-1")
    assert aside.read_bytes() == content and not (aside.parent / "checkpoint").exists()
    assert_whole(out)
    train(tmp_path / "undisturbed")
    assert codes(out) == codes(tmp_path / "undisturbed")


def test_a_damaged_training_log_costs_its_damaged_lines_only(train, interrupted, out, messages):
    (log,) = out.rglob("train.jsonl")
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join([lines[0], b"\xff\x00garbage\n", lines[2]]))
    assert train().code == 0
    assert [json.loads(line)["epoch"] for line in log.read_text().splitlines()] == [1, 3, 4, 5]
    assert f"{log} is damaged (line 2 is none of a training log): set aside as train.jsonl.damaged-1" in messages()
    assert b"garbage" in (log.parent / "train.jsonl.damaged-1").read_bytes()
