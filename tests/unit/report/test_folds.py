"""Which rows of several splits are averaged, and what is said of the mean."""

import statistics

import pytest

from vhbench.report.comparison import comparison
from vhbench.report.costs import costs
from vhbench.report.curves import map_curves
from vhbench.report.figures.grid import fewer_splits
from vhbench.report.figures.look import Look, series_of
from vhbench.report.tables import render_rows
from vhbench.runs.groups import Choice
from vhbench.runs.store import Store


@pytest.fixture
def write_split(write_run):
    """Write the record of a run on a split of `own`."""

    def write(number, method="itq", bits=16, *, count=3, **changes):
        name = f"own-fold{number}"
        data = {name: {"fold": {"of": "own", "number": number, "count": count}}}
        return write_run(method, bits, protocol=name, data=data, **changes)

    return write


@pytest.fixture
def records(out):
    return lambda: Store(out).records()[0]


def test_runs_of_different_defaults_are_not_averaged(write_split, records):
    """The defaults of the method changed after the first split was run."""
    write_split(1, value=0.1, params={"iterations": 20})
    for number, value in ((2, 0.5), (3, 0.7)):
        write_split(number, value=value, params={"iterations": 50})
    found = {row.label: (row.value, row.folds) for row in comparison(records(), Choice())}
    assert found == {"itq [iterations=20]": (0.1, 1), "itq [iterations=50]": (pytest.approx(0.6), 2)}


def test_splits_of_two_divisions_are_not_averaged(write_split, records, caplog):
    """The manifest had 3 splits when the first were run, and has 5 now."""
    for number, count in ((1, 3), (4, 5), (5, 5)):
        write_split(number, count=count)
    rows = comparison(records(), Choice())
    assert [(row.protocol, row.folds) for row in rows] == [("own-fold1", 0), ("own-fold4", 0), ("own-fold5", 0)]
    assert "own is not averaged over its splits: some are of 3, some of 5" in caplog.text


def test_a_split_without_a_scored_query_does_not_count(write_split, records):
    for number, value in ((1, 0.2), (2, None), (3, 0.5)):
        write_split(number, value=value)
    (row,) = comparison(records(), Choice())
    assert (row.value, row.folds, row.folds_of) == (pytest.approx(0.35), 2, 3)
    assert row.sd == pytest.approx(statistics.stdev([0.2, 0.5]))


def test_lines_over_fewer_splits_are_named_as_they_are_shown_with_their_lengths(write_split, records):
    slow = {"params": {"iterations": 5000}, "changed": {"iterations": 5000}}
    for number in (1, 2, 3):
        write_split(number)
        if number < 3:
            write_split(number, bits=32)
            write_split(number, "lsh", **slow)
    text = render_rows(comparison(records(), Choice()), "table")
    assert "over 3 splits (yet itq at 32 bits over 2, lsh [iterations=5000] over 2)\n" in text
    for frame in (costs(records(), Choice()), map_curves(records(), Choice())):
        series, _ = series_of(zip(frame["method"], frame["label"], strict=True), Look())
        assert fewer_splits(frame, series) == "ITQ at 32 bits over 2 splits only; LSH* over 2 splits only"


def test_costs_weigh_splits_alike_whatever_their_seeds(write_split, records):
    for number, seed, seconds, videos in ((1, 0, 1.0, 100.0), (1, 1, 3.0, 300.0), (2, 0, 6.0, 600.0)):
        write_split(number, seed=seed, timing={"fit_s": seconds, "videos_per_s": videos})
    (row,) = costs(records(), Choice()).to_dict("records")
    assert (row["fit_s"], row["encode_ms"]) == (4.0, 2.5)
