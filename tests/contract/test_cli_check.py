"""`vhbench check`: table, messages, exit codes."""

from __future__ import annotations

from pathlib import Path

import pytest

from vhbench.testing import RULES, fakes, simulated_gpu
from vhbench.testing.gpu_rules import GPU_RULES

GOOD = """
import numpy as np
from vhbench import Method

class MyHash(Method):
    '''Random projections.'''

    name = "my-hash"

    def __init__(self, bits: int):
        self.bits = bits

    def fit(self, train, ctx):
        self.mean_ = train.mean_frames().mean(axis=0)
        self.directions_ = ctx.rng("directions").standard_normal((train.dim, self.bits))
        return self

    def encode(self, videos):
        self.check_fitted()
        return (videos.mean_frames() - self.mean_) @ self.directions_ >= 0
"""


@pytest.fixture
def plugin(tmp_path):
    def write(text: str):
        path = tmp_path / "plugin.py"
        path.write_text(text)
        return path

    return write


def test_built_in_method(vhbench):
    code, out, err = vhbench("check", "lsh")
    assert code == 0
    assert f"lsh: all {len(RULES)} rules are kept" in out
    assert "Checking lsh (built-in)" in err
    assert [line.split() for line in out.splitlines() if "passed" in line] == [[name, "passed"] for name in RULES]
    assert "\x1b" not in out


def test_file_with_a_correct_method(vhbench, plugin):
    code, out, _ = vhbench("check", plugin(GOOD))
    assert code == 0 and "my-hash: all" in out


def test_rules_on_a_simulated_gpu_come_after_the_others(vhbench, plugin):
    code, out, err = vhbench("check", plugin(GOOD), "--simulate-gpu")
    assert code == 0 and "on toy videos and on a simulated GPU" in err
    names = [line.split()[0] for line in out.splitlines() if "passed" in line]
    assert names == [*RULES, *GPU_RULES]


def test_a_torch_that_cannot_simulate_a_gpu_is_one_sentence(vhbench, plugin, monkeypatch):
    monkeypatch.setattr(simulated_gpu, "unavailable", lambda: "torch 9 has no such thing")
    assert vhbench("check", plugin(GOOD), "--simulate-gpu").error == (
        "Error: A GPU cannot be simulated here: torch 9 has no such thing."
    )


def test_file_with_one_broken_method_of_two(vhbench, plugin):
    broken = (
        "class Broken(MyHash):\n    name = 'broken'\n    def fit(self, train, ctx):\n        super().fit(train, ctx)\n"
    )
    code, out, _ = vhbench("check", plugin(GOOD + broken))
    assert code == 1
    assert "my-hash: all" in out and f"broken: 1 of {len(RULES)} rules are broken" in out
    (line,) = [line for line in out.splitlines() if "failed" in line]
    assert line.split()[:2] == ["fit_returns_self", "failed"] and "`return self`" in line


def test_a_method_of_a_plugin_by_name(vhbench):
    code, out, _ = vhbench("check", "fake-nan-loss", "--plugin", fakes.__file__)
    assert code == 1 and "The loss became nan" in out and "Traceback" not in out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def f(:", "SyntaxError"),
        ("raise ValueError('no weights\\nhere')", "ValueError: no weights here"),
        ("import no_such_library", "No module named 'no_such_library'"),
        ("x = 1", "no class that derives from vhbench.Method"),
    ],
)
def test_file_that_cannot_be_used(vhbench, plugin, text, message):
    path = plugin(text)
    code, out, err = vhbench("check", path)
    assert (code, out) == (2, "")
    assert message in err and str(path) in err
    assert err.startswith("Error: ") and err.count("\n") == 1


def test_unknown_name_suggests_the_nearest(vhbench):
    code, out, err = vhbench("check", "uvhv")
    assert (code, out) == (2, "") and "'uvvh'" in err and err.count("\n") == 1


@pytest.mark.parametrize("name", ["missing.py", "./missing", "no/such/folder/m.py"])
def test_file_that_does_not_exist(vhbench, name):
    code, out, err = vhbench("check", name)
    assert (code, out) == (2, "") and name.removeprefix("./") in err
    assert err.count("\n") == 1


def test_a_method_that_uses_every_hook_of_the_training_loop(vhbench):
    path = Path(__file__).parents[1] / "cli" / "plugins" / "every_hook.py"
    assert len(path.read_text().splitlines()) < 80
    code, out, _ = vhbench("check", path)
    assert code == 0 and f"every-hook: all {len(RULES)} rules are kept" in out


def test_a_block_of_another_kind_in_conmhs_place_is_one_short_file(vhbench):
    path = Path(__file__).parents[1] / "cli" / "plugins" / "mamba_in_conmh.py"
    assert len(path.read_text().splitlines()) < 60
    code, out, _ = vhbench("check", path)
    assert code == 0 and f"mamba-conmh: all {len(RULES)} rules are kept" in out
