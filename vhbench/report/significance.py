"""Intervals and tests for the rows of a comparison, from the values that the runs recorded query by query."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from vhbench import stats
from vhbench.errors import StoreError, UsageError, unknown
from vhbench.report.rows import Comparison, Row
from vhbench.runs.groups import Group, score_key
from vhbench.runs.record import PER_QUERY, Record
from vhbench.runs.stored_scores import read_per_query

log = logging.getLogger(__name__)

ALPHA = 0.05
NAMED = 3  # rows that a warning names
MEAN_TOLERANCE = 1e-5  # values are recorded query by query in float32, scores in float64


def with_statistics(
    rows: Sequence[Row],
    groups: Iterable[Group],
    *,
    ci: bool = False,
    baseline: str | None = None,
    pairs: bool = False,
    differences: bool = False,
) -> list[Row]:
    """Add intervals and tests to rows; what cannot be had is left out with a warning that says why.

    Values of each query are averaged over seeds first. A test is paired over the queries of one protocol and split, at
    one code length and by one metric; Holm's correction is over all tests of such a column of the table.

    Args:
        rows: as `report.rows.rows` returns them.
        groups: the runs that they came from, as `report.rows.groups` returns them.
        ci: add the 95 % bootstrap interval of the mean over queries.
        baseline: test every row against this method's: its name, or its label where it stands in several rows.
        pairs: test every row against every other one.
        differences: give each test the 95 % bootstrap interval of its difference too.

    Returns:
        The rows in the same order.

    Raises:
        UsageError: both baseline and pairs, or a baseline that no row or more than one row of a table stands for.
    """
    if baseline is not None and pairs:
        raise UsageError("Tests are against --baseline or of all pairs (--significance, --pairwise), not both.")
    tables = _tables(rows)
    against = {key: _baseline_label([rows[i] for i in table], baseline) for key, table in tables.items()}
    if baseline is not None and rows and not any(against.values()):
        names = {name for row in rows for name in (row.label, row.method)}
        raise unknown("baseline among the rows", baseline, names, "Where --method is given, it must name the baseline.")
    if not ci and baseline is None and not pairs:
        return list(rows)
    by_name = {(group.protocol, group.label, group.spec["bits"]): group for group in groups}
    warnings = _Warnings()
    found = list(rows)
    for key, table in tables.items():
        if baseline is not None and not against[key] and not ci:
            data = f" ({rows[table[0]].differs})" if rows[table[0]].differs else ""
            warnings.add(f"not tested, as {baseline} was not run there", f"{_table_name(key)}{data}")
            continue
        for sample in _samples(found, table, by_name, warnings):
            if ci:
                _add_intervals(found, sample)
            if pairs or against[key]:
                families = _pairs(found, sample, against[key], warnings)
                _add_tests(found, sample, families, both_ways=pairs, differences=differences)
    warnings.emit()
    return found


@dataclass(frozen=True)
class _Sample:
    """Values of rows that scored the same queries.

    Attributes:
        numbers: of the rows.
        values: float64, shape (queries, rows).
    """

    numbers: list[int]
    values: np.ndarray


@dataclass
class _Warnings:
    """What could not be done: reason -> where."""

    found: dict[str, list[str]] = field(default_factory=dict)

    def add(self, reason: str, where: str) -> None:
        self.found.setdefault(reason, []).append(where)

    def emit(self) -> None:
        for reason, where in self.found.items():
            places = list(dict.fromkeys(where))
            more = f" and {len(places) - NAMED} more" if len(places) > NAMED else ""
            log.warning("%s: %s%s", reason, "; ".join(places[:NAMED]), more)


def _tables(rows: Sequence[Row]) -> dict[tuple[str, str], list[int]]:
    tables: dict[tuple[str, str], list[int]] = {}
    for number, row in enumerate(rows):
        tables.setdefault((row.protocol, row.split), []).append(number)
    return tables


def _table_name(key: tuple[str, str]) -> str:
    protocol, split = key
    return protocol if split == protocol.partition(" (data ")[0] else f"{protocol}, split {split}"


def _name(row: Row) -> str:
    return f"{row.label}, {row.bits} bits, {row.metric.partition('[')[0]} on {_table_name((row.protocol, row.split))}"


def _baseline_label(rows: Sequence[Row], baseline: str | None) -> str | None:
    """Return the label that a baseline's name stands for in a table, or None where it has no row."""
    labels = dict.fromkeys(row.label for row in rows if row.method == baseline)
    if baseline is None or baseline in {row.label for row in rows}:
        return baseline
    if len(labels) > 1:
        choices = " or ".join(repr(label) for label in labels)
        raise UsageError(f"--baseline {baseline} has several rows: write {choices}.")
    return next(iter(labels), None)


def _samples(
    rows: Sequence[Row], table: Sequence[int], groups: Mapping[tuple[str, str, int], Group], warnings: _Warnings
) -> Iterator[_Sample]:
    """Yield the rows of a table whose values can be had, together where they scored the same queries."""
    columns: dict[tuple[int, bytes], tuple[list[int], list[np.ndarray]]] = {}
    for number in table:
        row = rows[number]
        if row.value is None:
            continue
        try:
            values = values_of(groups[row.protocol, row.label, row.bits], row)
        except StoreError as error:
            warnings.add(f"without interval and test: {error}", _name(row))
            continue
        if values is None:
            warnings.add("without interval and test, as it is not recorded query by query", row.metric)
            continue
        scored = ~np.isnan(values)
        numbers, parts = columns.setdefault((len(scored), scored.tobytes()), ([], []))
        numbers.append(number)
        parts.append(values[scored])
    for n, (numbers, parts) in enumerate(columns.values()):
        metrics = {rows[number].metric for other in list(columns.values())[:n] for number in other[0]}
        for number in numbers:
            if rows[number].metric in metrics:
                warnings.add("not tested against rows that scored other queries", _name(rows[number]))
        yield _Sample(numbers, np.column_stack(parts))


def values_of(group: Group, row: Row) -> np.ndarray | None:
    """Return a row's value of each query, averaged over seeds, NaN where not scored; None where not recorded."""
    key = score_key(group, row.split, row.metric)
    total: np.ndarray | None = None
    have_value = [record for record in group.records if record.scores.get(key) is not None]
    for record in have_value:
        values = _load(record, key)
        if values is None:
            return None
        if total is not None and len(total) != len(values):
            raise StoreError(
                f"{record.folder} has values of {len(values)} queries for {key}, other seeds have {len(total)}: "
                "run it again with --rerun all."
            )
        total = values if total is None else total + values
    return None if total is None else total / len(have_value)


def _load(record: Record, key: str) -> np.ndarray | None:
    path, values = record.folder / PER_QUERY, read_per_query(record, [key]).get(key)
    if values is None:
        return None
    mean, recorded = float(np.nanmean(values)) if not np.isnan(values).all() else np.nan, record.scores[key]
    if recorded is None or not abs(mean - recorded) <= MEAN_TOLERANCE:
        raise StoreError(
            f"{path} does not belong to its run.json: {key} is {mean:.6f} there, {recorded} here: "
            "run it again with --rerun all."
        )
    return values


def _add_intervals(rows: list[Row], sample: _Sample) -> None:
    ends = stats.bootstrap_intervals(sample.values)
    for number, low, high in zip(sample.numbers, *ends.tolist(), strict=True):
        rows[number] = replace(rows[number], ci=(low, high))


def _pairs(
    rows: Sequence[Row], sample: _Sample, baseline: str | None, warnings: _Warnings
) -> dict[tuple[str, int], list[tuple[int, int]]]:
    """Return the tests of each column, as pairs of a sample's columns; all pairs where there is no baseline."""
    columns: dict[tuple[str, int], list[int]] = {}
    for at, number in enumerate(sample.numbers):
        columns.setdefault((rows[number].metric, rows[number].bits), []).append(at)
    found = {}
    for key, members in columns.items():
        if baseline is None:
            found[key] = [(a, b) for i, a in enumerate(members) for b in members[i + 1 :]]
        else:
            base = [at for at in members if rows[sample.numbers[at]].label == baseline]
            found[key] = [(a, base[0]) for a in members if base and a != base[0]]
            for at in members if not base else ():
                warnings.add(f"not tested, as {baseline} has no such value", _name(rows[sample.numbers[at]]))
        if len(found[key]) > ALPHA * (stats.RESAMPLES + 1):
            reason = f"{len(found[key])} tests are too many for any to be significant: choose fewer methods"
            warnings.add(reason, f"{key[0]}, {key[1]} bits")
    return found


def _add_tests(
    rows: list[Row],
    sample: _Sample,
    families: Mapping[tuple[str, int], list[tuple[int, int]]],
    *,
    both_ways: bool,
    differences: bool,
) -> None:
    pairs = [pair for family in families.values() for pair in family]
    if not pairs:
        return
    p_raw = stats.sign_flip_pairs(sample.values, pairs)
    means = sample.values.mean(axis=0)
    sizes = np.cumsum([len(family) for family in families.values()])[:-1]
    p = np.concatenate([stats.holm(part) for part in np.split(p_raw, sizes)])
    ends = stats.bootstrap_differences(sample.values, pairs).T.tolist() if differences else [None] * len(pairs)
    for (a, b), raw, adjusted, ci in zip(pairs, p_raw.tolist(), p.tolist(), ends, strict=True):
        for x, y in ((a, b), (b, a)) if both_ways else ((a, b),):
            here, there = sample.numbers[x], sample.numbers[y]
            difference = float(means[x] - means[y])
            interval = None if ci is None else (ci[0], ci[1]) if x == a else (-ci[1], -ci[0])
            test = Comparison(rows[there].label, difference, raw, adjusted, adjusted <= ALPHA, interval)
            rows[here] = replace(rows[here], tests=(*rows[here].tests, test))
