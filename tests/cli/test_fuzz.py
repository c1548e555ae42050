"""Whatever stands in a file or on the command line, the answer is a sentence: never a traceback, never a hang."""

import collections
import contextlib
import hashlib
import io
import json
import multiprocessing
import os
import runpy
import signal
from pathlib import Path

import click
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from vhbench.cli import COMMANDS, cli, main
from vhbench.runs.spec import digest_of
from vhbench.testing import make_protocol

CODES = (0, 1, 2)  # the exit codes that mean something
TOO_LONG = 120  # seconds for one command: only a hang takes that


def fuzz(examples):
    """Try so many examples, the same ones each time, so that a test fails either always or never."""
    return settings(
        max_examples=examples, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )


def answer(*words):
    """Run a command and return its exit code; fail on any exception but an exit, on a traceback, and on a hang."""

    def hang(number, frame):
        raise AssertionError(f"vhbench {' '.join(map(str, words))} hangs")

    previous = signal.signal(signal.SIGALRM, hang)
    signal.alarm(TOO_LONG)
    out, err = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as end:
            main([str(word) for word in words])
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)
    code = int(end.value.code or 0)
    assert "Traceback" not in err.getvalue()
    if code == 2:
        assert sum(line.startswith("Error: ") for line in err.getvalue().splitlines()) == 1
    return code


# values of all kinds, and text that is changed a little

WORDS = [
    "", ".", "..", "/", "/dev/null", "a/b", "none", "nan", "inf", "-1", "0", "1e999", "9" * 30, "\0", "é", "'", '"',
]  # fmt: skip
words = st.sampled_from(WORDS) | st.text(max_size=8)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | words
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=4,
)
edits = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 20), st.binary(max_size=6)), min_size=1, max_size=3)


def edited(text, changes):
    """Return a file's content with bytes replaced at relative positions."""
    content = bytearray(text.encode())
    for where, length, new in changes:
        at = int(where * len(content))
        content[at : at + length] = new
    return bytes(content)


def paths(value, path=()):
    """Yield the path of every entry of a nested value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from paths(inner, (*path, key))


def replaced(value, where, new):
    """Return a copy of a nested value with the entry at a relative place replaced; without it if `new` is REMOVED."""
    copy = json.loads(json.dumps(value))
    every = list(paths(copy))
    *parents, last = every[int(where * (len(every) - 1))]
    inner = copy
    for key in parents:
        inner = inner[key]
    if new is REMOVED:
        del inner[last]
    else:
        inner[last] = new
    return copy


REMOVED = object()
places = st.floats(0, 1)


def toml(value):
    """Return a value as TOML; what TOML lacks becomes text."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{toml(str(key))} = {toml(inner)}' for key, inner in value.items())}}}"
    return json.dumps(str(value)).replace("\x7f", "\\u007f")


def write_toml(path, value):
    lines = [f"{toml(str(name))} = {toml(inner)}" for name, inner in value.items()]
    path.write_bytes("\n".join(lines).encode("utf-8", "surrogatepass"))


# manifests


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_protocol(tmp_path_factory.mktemp("fuzz")).parent


MANIFEST = {
    "name": "tiny", "title": "t", "version": 1, "ks": [5, 20], "budget": "paper", "synthetic": False,
    "queries_in_database": False, "folder": "tiny", "frames": 8, "dim": 24, "classes": 4, "published": ["x"],
    "train": {"features": ["tiny_train_feats.h5"], "count": 40},
    "database": {"features": ["tiny_train_feats.h5"], "labels": ["tiny_train_labels.mat"], "count": 40},
    "query": {"features": ["tiny_test_feats.h5"], "labels": ["tiny_test_labels.mat"], "count": 12, "key": "feats"},
}  # fmt: skip


def plan(manifest, out):
    return answer("run", "--method", "itq", "--protocol", manifest, "--bits", "8", "--out", out, "--dry-run")


@fuzz(60)
@given(places, values | st.just(REMOVED))
@example(0.0, "a\0b")
@example(0.9, ["\0"])
def test_manifests_with_another_value(folder, tmp_path, where, new):
    write_toml(folder / "fuzz.toml", replaced(MANIFEST, where, new))
    assert plan(folder / "fuzz.toml", tmp_path / "results") in CODES


@fuzz(25)
@given(edits)
def test_manifests_with_other_bytes(folder, tmp_path, changes):
    (folder / "fuzz.toml").write_bytes(edited((folder / "tiny.toml").read_text(), changes))
    assert plan(folder / "fuzz.toml", tmp_path / "results") in CODES


# grid files

GRID = {
    "method": ["itq"], "protocol": ["demo"], "bits": [8, 16], "seeds": [0], "budget": "smoke", "precision": "float32",
    "rerun": "missing", "device": "cpu", "launcher": "inline", "set": {"itq": {"iterations": 5}},
}  # fmt: skip


@fuzz(45)
@given(places, values | st.just(REMOVED))
def test_grid_files_with_another_value(folder, tmp_path, where, new):
    grid = replaced({**GRID, "protocol": [str(folder / "tiny.toml")]}, where, new)
    write_toml(tmp_path / "grid.toml", grid)
    assert answer("run", "--config", tmp_path / "grid.toml", "--out", tmp_path / "results", "--dry-run") in CODES


@fuzz(15)
@given(edits)
def test_grid_files_with_other_bytes(folder, tmp_path, changes):
    write_toml(tmp_path / "sound.toml", {**GRID, "protocol": [str(folder / "tiny.toml")]})
    (tmp_path / "grid.toml").write_bytes(edited((tmp_path / "sound.toml").read_text(), changes))
    assert answer("run", "--config", tmp_path / "grid.toml", "--out", tmp_path / "results", "--dry-run") in CODES


# records

READERS = [
    ("compare",), ("compare", "--format", "json"), ("compare", "--convention", "strict"), ("status",), ("list", "runs"),
]  # fmt: skip


@pytest.fixture
def record(out, write_run):
    """The path and content of a record beside a sound one."""
    write_run("lsh", 16)
    path = write_run("itq", 16) / "run.json"
    return path, json.loads(path.read_text())


def with_digest(content):
    """Return a record with the digest of its present content in place of the one at its end."""
    return content[:-68] + hashlib.sha256(content[:-68]).hexdigest().encode() + content[-4:]


@fuzz(70)
@given(places, values | st.just(REMOVED), st.booleans(), st.sampled_from(READERS))
@example(0.5, float("nan"), False, ("compare",))
@example(0.5, float("inf"), True, ("compare",))
def test_records_with_another_value(record, out, where, new, with_its_id, reader):
    """Content of a wrong form and with a right digest."""
    path, content = record
    changed = replaced(content, where, new)
    if with_its_id and isinstance(changed.get("spec"), dict):
        with contextlib.suppress(ValueError):  # no JSON
            changed["id"] = digest_of(changed["spec"])
    path.write_bytes(with_digest(json.dumps(changed, indent=1).encode("utf-8", "surrogatepass") + b"\n"))
    assert answer(*reader, "--out", out) in CODES


@fuzz(25)
@given(edits, st.sampled_from(READERS), st.booleans())
def test_records_with_other_bytes(record, out, changes, reader, with_its_digest):
    path, content = record
    changed = edited(json.dumps(content, indent=1) + "\n", changes)
    path.write_bytes(with_digest(changed) if with_its_digest else changed)
    assert answer(*reader, "--out", out) in CODES


# HDF5 headers


def test_damaged_hdf5_headers(tmp_path):
    """In a process of its own: a crash of the library would be the end of all tests."""
    given = {"manifest": str(make_protocol(tmp_path)), "path": str(tmp_path / "tiny_test_feats.h5")}
    given |= {"out": str(tmp_path / "results"), "log": str(tmp_path / "log")}
    script = str(Path(__file__).with_name("fuzz_headers.py"))
    child = multiprocessing.get_context("forkserver").Process(target=runpy.run_path, args=(script, given))
    child.start()
    child.join(2 * TOO_LONG)
    hangs = child.is_alive()
    child.kill()
    assert not hangs and child.exitcode == 0
    codes = collections.Counter((tmp_path / "log").read_text().split())
    assert codes.total() >= 45 and codes["2"] > 10


# the command line

LEFT_OUT = {"help", "watch", "interval", "pr", "map"}  # goes on for ever, or draws for seconds
READING = ["compare", "status", "list", "describe", "rescore", "export", "score", "data"]
VALUES = [
    *WORDS, "itq", "demo", "8", "8,16", "map@20", "map@0", "literature", "json", "1/1", "runs", "status", "x" * 5000,
]  # fmt: skip


def command_lines():
    """Return a strategy for command lines: known commands and options, values of all kinds, in any order."""

    def of(name):
        command = cli.get_command(click.Context(cli), name)
        options = [
            option
            for parameter in command.params
            if parameter.name not in LEFT_OUT
            for option in parameter.opts
            if option.startswith("-")
        ]
        word = st.sampled_from(VALUES) | (st.sampled_from(options) if options else st.nothing()) | words
        ahead = [name, "--dry-run"] if name == "run" else [name]
        return st.lists(word, max_size=6).map(lambda rest: [*ahead, *rest])

    known = [name for name in ("run", *READING) if name in COMMANDS]
    return st.sampled_from(known).flatmap(of) | st.lists(words, min_size=1, max_size=3)


@fuzz(70)
@given(command_lines().filter(lambda line: not any("\0" in word for word in line)))
def test_command_lines(tmp_path, line):
    """What the operating system can pass: no text with a zero byte."""
    line = [word for word in line if encodes(word)] or ["list"]
    before = Path.cwd()
    os.chdir(tmp_path)
    try:
        assert answer(*line) in CODES
    finally:
        os.chdir(before)


def encodes(word):
    try:
        os.fsencode(word)
    except UnicodeEncodeError:
        return False
    return True
