"""Faulty methods: a broken plugin is a row with its reason, a failing run a record; nothing stops the other runs."""

import json

import pytest

from vhbench.runs.store import Store

NET = """
import torch
from torch import nn
from vhbench import NeuralMethod

class Diverges(NeuralMethod):
    name = "diverges"

    def __init__(self, bits, *, epochs=3, batch_size=16, lr=1e20, weight_decay=0.0):
        self.bits, self.epochs, self.batch_size, self.lr, self.weight_decay = bits, epochs, batch_size, lr, weight_decay

    def build(self, frames, dim):
        return nn.Linear(dim, self.bits)

    def loss(self, module, videos, moment):
        return {"size": module(videos.mean(1)).exp().square().mean()}

    def codes(self, module, videos):
        return module(videos.mean(1)) >= 0
"""
METHOD = """
import sys
from vhbench.testing.fakes import FakeMethod

class Mine(FakeMethod):
    name = "mine"
    {body}
"""


@pytest.fixture
def plugin(tmp_path):
    def write(text, name="mine.py"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def only_record(out, method):
    found, problems = Store(out).records()
    assert problems == []
    (record,) = (r for r in found if r.spec["method"] == method)
    return record


# plugins that cannot be loaded

BROKEN = {
    "raises": ("raise RuntimeError('no such\\n  thing')", "RuntimeError: no such thing"),
    "exits": ("raise SystemExit(3)", "SystemExit: 3"),
    "import": ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
    "syntax": ("def f(:", "SyntaxError"),
    "empty": ("x = 1", "it defines no class that derives from vhbench.Method"),
    "abstract": ("from vhbench import Method\nclass Mine(Method):\n    name = 'mine'", "defines no class"),
    "default": (METHOD.format(body="def __init__(self, bits, *, width): pass"), "'width' of Mine has no default"),
    "object": (METHOD.format(body="def __init__(self, bits, *, f=print): pass"), "'f' of Mine is <built-in function"),
    "nan": (METHOD.format(body="def __init__(self, bits, *, f=float('nan')): pass"), "'f' of Mine is nan"),
    "name": (METHOD.format(body="name = 'a/b'"), "its name is 'a/b': it names a folder"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_plugin_is_a_row_with_its_reason_and_stops_nothing(vhbench, plugin, tiny, out, case):
    text, reason = BROKEN[case]
    path = plugin(text)
    (row,) = (line for line in vhbench("list", "methods", "--plugin", path).out.splitlines() if str(path) in line)
    assert "broken: " in row and reason in row
    words = ["--protocol", tiny, "--bits", "8", "--out", out, "--plugin", path]
    wanted = vhbench("run", "--method", "mine", *words)
    assert wanted.code == 2 and reason in wanted.error and str(path) in wanted.error
    assert vhbench("run", "--method", "itq", *words).code == 0


def test_a_name_that_only_a_broken_plugin_could_have_offered_points_to_it(vhbench, plugin, tiny):
    path = plugin("import no_such_module", "file.py")
    result = vhbench("run", "--method", "my-hash", "--protocol", tiny, "--bits", "8", "--plugin", path)
    assert f"{path} is broken (ModuleNotFoundError: No module named 'no_such_module')" in result.error


def test_a_plugin_that_does_not_exist(vhbench, tiny, tmp_path):
    for words in (["list", "methods"], ["run", "--method", "itq", "--protocol", tiny, "--bits", "8"]):
        result = vhbench(*words, "--plugin", tmp_path / "none.py")
        assert result.code == 2 and f"no plugin file {tmp_path / 'none.py'}" in result.error


def test_a_plugin_given_twice_counts_once(vhbench, plugin, tiny, out):
    path = plugin(METHOD.format(body="pass"))
    words = ["--method", "mine", "--protocol", tiny, "--bits", "8", "--out", out, "--plugin", path, "--plugin", path]
    assert vhbench("run", *words).code == 0


def test_a_plugin_may_lie_in_a_folder_with_blanks_and_collide_with_a_built_in(vhbench, tmp_path, tiny, out):
    path = tmp_path / "my methods" / "p.py"
    path.parent.mkdir()
    path.write_text(METHOD.format(body="pass").replace('"mine"', '"itq"'))
    words = ["--protocol", tiny, "--bits", "8", "--plugin", path]
    error = vhbench("run", "--method", "itq", *words).error
    assert f"'itq' is offered more than once: write built-in:itq or {path}:itq." in error
    assert vhbench("run", "--method", f"{path}:itq", *words, "--out", out).code == 0
    assert only_record(out, "itq").data["method"]["origin"] == str(path)
    both = vhbench("run", "--method", f"built-in:itq,{path}:itq", *words)
    assert both.code == 2 and "two methods 'itq'" in both.error


# runs that fail

FAILS = {
    "fake-fit-raises": "ZeroDivisionError: a bug in fit with a message of two lines",
    "fake-encode-raises": "IndexError: a bug in encode",
    "fake-float-codes": "FakeFloatCodes.encode must return a bool array of shape (12, 8); it returned float64 (12, 8).",
    "fake-wrong-shape": "FakeWrongShape.encode must return a bool array of shape (12, 8); it returned bool (12, 7).",
    "fake-nan-loss": "The loss became nan in epoch 1 of 2: training diverged.",
}


@pytest.mark.parametrize("method", FAILS)
def test_a_failing_run_is_recorded_and_the_grid_goes_on(run_tiny, vhbench, out, method):
    result = run_tiny(f"{method},fake")
    assert result.code == 1 and "Traceback" not in result.err
    assert f"failed: {FAILS[method]}" in result.err
    assert "fake" in result.out and method not in result.out, "the table holds what was done"
    record = only_record(out, method)
    assert (record.status, record.data["reason"]) == ("failed", FAILS[method])
    assert "Traceback (most recent call last)" in (record.folder / "traceback.txt").read_text()
    assert only_record(out, "fake").status == "done"
    assert FAILS[method] in vhbench("status", "--out", out).out
    assert FAILS[method] in vhbench("list", "runs", "--out", out).out


BODIES = {
    "returns a list": ("def encode(self, videos): return super().encode(videos).tolist()", "it returned list"),
    "returns nothing from fit": ("def fit(self, train, ctx): pass", "fit must return self, not NoneType"),
    "has other bits": ("def encode(self, videos): self.bits = 4; return super().encode(videos)[:, :4]", "(12, 4)"),
    "ends the program": ("def fit(self, train, ctx): sys.exit(5)", "SystemExit: 5"),
    "fails without a word": ("def fit(self, train, ctx): raise AssertionError", "AssertionError"),
    "asks for too much memory": ("def fit(self, train, ctx): raise MemoryError", "There was not enough memory."),
    "lacks a file": ("def fit(self, train, ctx): open('/no/such/file')", "FileNotFoundError"),
    "writes its input": ("def fit(self, train, ctx): train._features.nothing", "AttributeError"),
}  # fmt: skip


@pytest.mark.parametrize("case", BODIES)
def test_whatever_a_method_does_wrong_is_its_own_failure(vhbench, plugin, tiny, out, case):
    body, reason = BODIES[case]
    path = plugin(METHOD.format(body=body))
    result = vhbench("run", "--method", "mine,itq", "--protocol", tiny, "--bits", "8", "--out", out, "--plugin", path)
    assert result.code == 1 and "Traceback" not in result.err
    assert reason in only_record(out, "mine").data["reason"]
    assert only_record(out, "itq").status == "done"
    assert vhbench("list", "runs", "--out", out).code == 0


def test_a_loss_that_becomes_nan_is_a_failure_that_can_be_tried_again(vhbench, plugin, tiny, out):
    words = ["--method", "diverges,itq", "--protocol", tiny, "--bits", "8", "--out", out, "--plugin", plugin(NET)]
    result = vhbench("run", *words, "--device", "cpu")
    assert result.code == 1
    record = only_record(out, "diverges")
    assert record.status == "failed" and (record.folder / "traceback.txt").is_file()
    assert "training diverged" in record.data["reason"] and "lr is 1e+20" in record.data["reason"]
    assert only_record(out, "itq").status == "done"
    assert record.data["reason"] in vhbench("status", "--out", out).out
    assert vhbench("run", *words).code == 1, "it is not tried again unasked, and still counts"
    again = vhbench("run", *words, "--rerun", "failed", "--device", "cpu")
    assert again.code == 1 and "[1/1] diverges" in again.err
    mended = vhbench("run", *words, "--set", "diverges.lr=1e-3", "--device", "cpu")
    assert mended.code == 0 and "diverges [lr=0.001]" in mended.out
    assert not list(out.rglob("state.pt"))


def test_the_log_of_a_failed_run_is_kept(run_tiny, out):
    run_tiny("fake-encode-raises")
    record = only_record(out, "fake-encode-raises")
    lines = (record.folder / "train.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2]
