"""Showing a grid at work: plain lines in a file or pipe, bars on a terminal, always on standard error."""

import pytest

from vhbench.cli.progress import duration
from vhbench.grid.plan import Grid, plan
from vhbench.plugins.registry import Registry
from vhbench.runs.store import Store


def test_plain_lines_name_each_run_its_last_epoch_and_its_outcome(run_tiny):
    result = run_tiny("fake,itq,fake-nan-loss", "--bits", "8,32")
    lines = result.err.splitlines()
    cells = [(method, bits) for method in ("fake", "itq", "fake-nan-loss") for bits in (8, 32)]
    assert [line for line in lines if line.startswith("[")] == [
        f"[{number}/6] {method} on tiny, {bits} bits, seed 0" for number, (method, bits) in enumerate(cells, 1)
    ]
    assert lines[1].strip().startswith("training features in host memory (")
    assert lines[2].strip().startswith("epoch 2/2, loss 0.25, about ")
    own = lines[3 : lines.index("[2/6] fake on tiny, 32 bits, seed 0")]
    assert all(line.strip().startswith("mind: ") for line in own[:-1])
    assert own[-1].strip().startswith("map@20 0.") and "(fit 0." in own[-1]
    assert sum("training features" in line for line in lines) == 1, "said again only where it changes"
    assert any(line.strip().startswith("skipped: itq makes at most one bit") for line in lines)
    assert any(line.strip().startswith("failed: The loss became nan") for line in lines)


def test_bars_on_a_terminal_leave_a_line_a_run(run_tiny, monkeypatch):
    import sys

    monkeypatch.setattr("vhbench.cli.progress.sys.stderr", sys.stderr)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    result = run_tiny("fake,fake-nan-loss", "--bits", "8,16")
    assert result.code == 1
    for bits in (8, 16):
        assert f"fake on tiny, {bits} bits, seed 0: map@20 0." in result.err
        assert f"fake-nan-loss on tiny, {bits} bits, seed 0: failed: The loss became nan" in result.err
    assert "fake" in result.out and "\x1b" not in result.out, "no control characters in the table"


def test_a_run_that_another_process_has_is_named(run_tiny, tiny, out, monkeypatch):
    cells = plan(Grid(["itq"], [str(tiny)], [8]), Registry(), Store(out), None)
    monkeypatch.setattr(Store, "is_claimed", lambda *_: False)  # it is claimed after the grid was planned
    with Store(out).claim(cells[0].spec):
        lines = run_tiny("itq").err.splitlines()
    assert lines[:2] == ["[1/1] itq on tiny, 8 bits, seed 0", "    another process is doing this run"]
    assert "being done by other processes: 1 of 1 runs" in lines


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (3.21, "3.2 s"),
        (59.94, "59.9 s"),
        (250, "4 min 10 s"),
        (7500, "2 h 5 min"),
        (100_000, "27 h 46 min"),
    ],
)
def test_durations_are_for_people(seconds, text):
    assert duration(seconds) == text
