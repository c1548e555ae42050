"""The time that a grid still takes: from the lengths of its runs, not from their number."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from vhbench.grid.order import Estimates
from vhbench.grid.time_left import TimeLeft
from vhbench.runs.record import Record
from vhbench.runs.spec import RunSpec

SPEC = RunSpec("itq", {}, 8, 0, {"epochs": None, "videos": None}, "float32", "toy", 1, {})


def cell(bits, method="itq", seed=0):
    return SimpleNamespace(spec=replace(SPEC, bits=bits, method=method, seed=seed))


def record(cell, seconds, status="done", **entries):
    timing = {"fit_s": seconds - 2.0, "encode_s": 1.5, "score_s": 0.5}
    return Record(None, {"spec": cell.spec.to_json(), "status": status, "timing": timing, **entries})


@pytest.fixture
def clock():
    """A clock that is set by hand: `clock.now`."""

    class Clock:
        now = 100.0

        def __call__(self):
            return self.now

    return Clock()


@pytest.fixture
def grid(clock):
    """Three runs of 10, 100 and 1000 s."""
    cells = [cell(bits) for bits in (8, 64, 512)]
    known = Estimates([record(c, seconds) for c, seconds in zip(cells, (10, 100, 1000), strict=True)])
    return cells, TimeLeft(cells, known, clock)


def test_before_a_run_is_over_it_is_what_like_runs_took(grid, clock):
    _, left = grid
    assert left.seconds() == (1110, 0)
    clock.now += 4
    assert left.seconds() == (1106, 0), "it counts down between two runs"


def test_short_runs_that_are_over_leave_the_long_one(grid, clock):
    cells, left = grid
    clock.now += 10
    left.finished(cells[0], record(cells[0], 10))
    clock.now += 100
    left.finished(cells[1], record(cells[1], 100))
    assert left.seconds() == (pytest.approx(1000), 0), "by the number of runs it would be 55"
    clock.now += 2000
    assert left.seconds() == (0, 0)


def test_it_follows_how_fast_the_runs_here_are(grid, clock):
    cells, left = grid
    clock.now += 30
    left.finished(cells[0], record(cells[0], 30))
    assert left.seconds() == (pytest.approx(3300), 0)


def test_several_at_a_time_share_the_work(clock):
    cells = [cell(8, seed=seed) for seed in range(8)]
    left = TimeLeft(cells, Estimates([record(cells[0], 10)]), clock)
    clock.now += 10
    for done in cells[:4]:
        left.finished(done, record(done, 10))
    assert left.seconds() == (pytest.approx(10), 0)


@pytest.mark.parametrize(
    "end", [None, ("failed", {}), ("skipped", {}), ("done", {"cut_from": {"id": "", "bits": 512}})]
)
def test_runs_that_cost_nothing_do_not_make_the_others_quick(grid, clock, end):
    cells, left = grid
    left.finished(cells[1], end and record(cells[1], 100, end[0], **end[1]))
    assert left.seconds() == (1010, 0)


def test_runs_of_which_nothing_is_known_are_counted_until_one_of_them_is_done(clock):
    cells = [cell(8), cell(8, "lsh", 0), cell(8, "lsh", 1)]
    left = TimeLeft(cells, Estimates([record(cells[0], 10)]), clock)
    assert left.seconds() == (10, 2)
    clock.now += 40
    left.finished(cells[1], record(cells[1], 40))
    assert left.seconds() == (pytest.approx(50), 0)
    assert TimeLeft([], Estimates([]), clock).seconds() == (0, 0)
