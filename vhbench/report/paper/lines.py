"""Our runs beside a paper's numbers and claims: what agrees, what differs, and what cannot be compared, and why."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

from vhbench.grid.cells import Cell
from vhbench.report.orderings import CheckedOrdering, Ordering, check_orderings, read_orderings
from vhbench.report.paper.reasons import CHANCE, conventions, faults_of, peculiarities
from vhbench.report.paper.recalls import AT, precisions
from vhbench.report.paper.table import PaperTable
from vhbench.report.published import PublishedRow
from vhbench.report.rows import Row, rows
from vhbench.runs.groups import Choice, in_database
from vhbench.runs.record import Record
from vhbench.runs.store import Store
from vhbench.scoring import Metric, recorded_metrics

TOLERANCE = 0.01  # of mAP; training anew with another seed easily moves it by this much
SPREADS = 2.0  # standard deviations over seeds
TOLERANCE_TEXT = (
    "reproduced: data, training and convention are known to be the same, and the difference is at most "
    f"{TOLERANCE:g} of mAP (of a gain: what so much mAP makes of it) or {SPREADS:g} standard deviations over seeds"
)
GAIN = "map-gain@"


@dataclass(frozen=True)
class Line:
    """A published number beside ours, one of ours without a published one, or a claim.

    Attributes:
        kind: "number" or "claim".
        protocol: where ours was measured.
        method: name; of a claim the one that is said to be ahead.
        over: what a gain is over, or the method that a claim says is behind; else empty.
        bits: code length, or a claim's code lengths.
        metric: `map@K`, `map-gain@K` in percent, or `precision at recall R`; a claim's metrics.
        published: the paper's number; None where it prints none.
        published_on: the protocol of the paper's number; empty where it prints none.
        ours: mean over seeds; None where nothing was measured.
        sd: standard deviation over seeds; None for fewer than two.
        seeds: the seeds measured.
        lowest: ours if all ties were ordered against us, for `map@K`; None otherwise.
        highest: ours if all ties were ordered for us.
        measured_as: full name of the metric behind ours.
        difference: ours less the published number.
        tolerance: how large a difference still counts as reproduced.
        status: "reproduced", "differs", "not comparable: ...", "not measured: ..." or "not published"; of a claim its
            verdict.
        doubt: why not to trust the published number; see `results/published/README.md`.
        source: where it is published.
    """

    kind: str
    protocol: str
    method: str
    over: str
    bits: str
    metric: str
    published: float | None = None
    published_on: str = ""
    ours: float | None = None
    sd: float | None = None
    seeds: tuple[int, ...] = ()
    lowest: float | None = None
    highest: float | None = None
    measured_as: str = ""
    difference: float | None = None
    tolerance: float | None = None
    status: str = ""
    doubt: str = ""
    source: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the line as JSON values."""
        return {**vars(self), "seeds": list(self.seeds)}


def lines_of(
    table: PaperTable, cells: Sequence[Cell], store: Store, protocol: str | None = None, folder: Path | None = None
) -> list[Line]:
    """Hold what the store has of a table's runs against what the paper printed and claimed.

    Args:
        table: the table as the paper has it, but for its code lengths.
        cells: its planned runs.
        store: where their results are.
        protocol: name of the protocol that the runs are on in place of the table's own.
        folder: of the published numbers; by default that of the source checkout.

    Returns:
        First the numbers, then the claims.
    """
    results = _Results(table, cells, store, protocol)
    published = table.published(folder)
    if protocol in table.protocols:  # a part of the table
        published = [row for row in published if row.protocol == protocol]
    numbers = [results.beside(row) for row in published]
    known = {(line.protocol, line.method, line.bits, line.metric) for line in numbers}
    ours = [line for line in results.alone() if (line.protocol, line.method, line.bits, line.metric) not in known]
    return [*numbers, *ours, *results.claims(published, folder)]


class _Results:
    """What was measured of a table."""

    def __init__(self, table: PaperTable, cells: Sequence[Cell], store: Store, protocol: str | None):
        self._table = table
        self._protocol = protocol
        self._entries = {cell.spec.method: cell.entry for cell in cells}
        self._states: dict[tuple[str, str, int], set[str]] = {}
        self._records: dict[tuple[str, str, int], list[Record]] = {}
        self._done: list[Record] = []
        self._in_domain: dict[str, str] = {}
        for cell in cells:
            spec = cell.spec
            key = (spec.protocol, spec.method, spec.bits)
            if inside := cell.splits[0].in_domain:
                self._in_domain[spec.protocol] = inside.protocol
            record = store.read(spec)
            if record and record.status == "done":
                self._records.setdefault(key, []).append(record)
                self._done.append(record)
            else:
                state = record.status if record else "running" if store.is_claimed(spec) else "no run"
                self._states.setdefault(key, set()).add(state)
        self._on = list(dict.fromkeys(cell.spec.protocol for cell in cells if self._asked(cell)))

    def _asked(self, cell: Cell) -> bool:
        """Say whether a run is the table's own, and not only what a gain is over."""
        return not self._table.in_domain or cell.splits[0].in_domain is not None

    def beside(self, row: PublishedRow) -> Line:
        """Return a published number beside ours."""
        name = self._protocol or row.protocol
        line = Line(
            "number", name, row.method, self._over(row), str(row.bits), row.metric, row.value, row.protocol,
            doubt=" ".join(row.doubt), source=row.source,
        )  # fmt: skip
        metric = row.metric.replace("-gain", "")
        own = self._get(name, row.method, row.bits)
        if not row.metric.startswith(GAIN):
            line = self._measured(line, own, metric)
            if line.ours is None:
                return self._not_measured(line, (name, row.method, row.bits))
            tolerance = max(TOLERANCE, SPREADS * (line.sd or 0.0))
            return _judged(line, tolerance, self._reasons(row, own, line.measured_as))
        other_key = (line.over, row.method, row.bits) if self._table.in_domain else (name, line.over, row.bits)
        other = self._get(*other_key)
        line, base = self._gain(line, own, other, metric)
        if line.ours is None or base is None:
            return self._not_measured(line, (name, row.method, row.bits), other_key)
        tolerance = max(100 * TOLERANCE / base, SPREADS * (line.sd or 0.0))
        return _judged(line, tolerance, self._reasons(row, [*own, *other], line.measured_as))

    def _over(self, row: PublishedRow) -> str:
        """Return what our gain is over: another method, or the in-domain run on our own protocol."""
        if row.over and self._table.in_domain and self._protocol:
            return self._in_domain.get(self._protocol, row.over)
        return row.over

    def alone(self) -> list[Line]:
        """Return every number of ours that the table asks for, published or not."""
        lines = []
        table = self._table
        for protocol, method, bits, k in product(self._on, table.methods, table.bits, table.ks):
            key, metric = (protocol, method, bits), f"map@{k}"
            if table.in_domain:
                other = (self._in_domain[protocol], method, bits)
                line = Line("number", protocol, method, other[0], str(bits), f"{GAIN}{k}", status="not published")
                line, _ = self._gain(line, self._get(*key), self._get(*other), metric)
                keys = [key, other]
            else:
                line = Line("number", protocol, method, "", str(bits), metric, status="not published")
                line, keys = self._measured(line, self._get(*key), metric), [key]
            lines.append(line if line.ours is not None else self._not_measured(line, *keys))
        return [*lines, *(_precision_line(row) for row in self._precisions)]

    def claims(self, published: Sequence[PublishedRow], folder: Path | None) -> list[Line]:
        """Return the paper's claims with their verdicts."""
        found = self._orderings(folder)
        measured = self._rows()
        checked = [
            (name, item)
            for name in self._on
            for item in check_orderings([one for one in found if self._claimed_on(one, name)], measured, name)
        ]
        lines = {}
        for name, item in checked:  # on another protocol, a claim that the paper makes on two data sets is one
            lines[name, replace(item.ordering, protocol="")] = self._without_verdict(_claim(name, item))
        gains = [row for row in published if row.over and self._table.in_domain]
        return [*lines.values(), *(self._without_verdict(_direction(self.beside(row))) for row in gains)]

    def _without_verdict(self, claim: Line) -> Line:
        """Return a claim without a verdict where a run behind it cannot bear one."""
        if claim.status == "not measured":
            return claim
        places, methods, lengths = {claim.protocol, claim.over}, {claim.method, claim.over}, claim.bits.split()
        faults: dict[str, set[str]] = {}
        for record in self._done:
            spec = record.spec
            if spec["protocol"] in places and spec["method"] in methods and str(spec["bits"]) in lengths:
                for fault in faults_of(record):
                    faults.setdefault(fault, set()).add(spec["method"])
        if not faults:
            return claim
        reasons = [f"{fault} ({', '.join(sorted(names))})" for fault, names in sorted(faults.items(), reverse=True)]
        return replace(claim, status=f"no verdict: {'; '.join(reasons)}")

    def _claimed_on(self, ordering: Ordering, protocol: str) -> bool:
        moved = self._protocol is not None and self._protocol not in self._table.protocols
        return moved or ordering.protocol == protocol

    def _orderings(self, folder: Path | None) -> list[Ordering]:
        """Return the claims of order, restricted to the code lengths asked for."""
        table = self._table
        found = []
        if table.claims:
            every = read_orderings(folder / "orderings" if folder else None)
            found = [one for one in every if one.source in table.claims]
        if table.best:
            metrics = tuple(f"{AT}{recall:g}" for recall in table.recalls)
            others = [name for name in table.methods if name != table.best]
            found += [
                Ordering(table.best, other, protocol, table.bits, metrics, ", ".join(table.claims), "")
                for protocol in table.protocols
                for other in others
            ]
        kept = [replace(one, bits=tuple(bits for bits in one.bits if bits in table.bits)) for one in found]
        return [one for one in kept if one.bits]

    def _rows(self) -> list[Row]:
        """Return all that claims may speak of: mean mAP@K of each protocol's main split, and precisions at recalls."""
        main = {record.spec["protocol"]: next(iter(record.spec["splits"])) for record in self._done}
        found: list[Row] = []
        for protocol in main:
            done = [record for record in self._done if record.spec["protocol"] == protocol]
            recorded = {metric.name for record in done for metric in recorded_metrics(record.scores)}
            names = [name for name in (f"map@{k}" for k in self._table.ks) if name in recorded]
            metrics = [self._full(name, done) for name in names]
            found += rows(done, Choice(metrics=metrics)) if metrics else []
        own = [row for row in found if row.split == main.get(row.protocol)]
        return [*own, *self._precisions, *(self._steadiness() if self._table.in_domain else ())]

    def _steadiness(self) -> list[Row]:
        """Return how little each score changes over training in-domain: less the size of the gain."""
        return [
            Row(line.protocol, line.protocol, line.method, line.method, int(line.bits), line.seeds,
                line.metric.replace("gain", "steadiness"), -abs(line.ours), None, False, None)
            for line in self.alone()
            if line.metric.startswith(GAIN) and line.ours is not None
        ]  # fmt: skip

    @cached_property
    def _precisions(self) -> list[Row]:
        return precisions(self._done, self._table.recalls)

    def _get(self, protocol: str, method: str, bits: int) -> list[Record]:
        return self._records.get((protocol, method, bits), [])

    def _measured(self, line: Line, records: Sequence[Record], metric: str) -> Line:
        """Return the line with our mean over seeds, and what the order of ties could make of it."""
        if not records:
            return line
        name = self._full(metric, records)
        values = _values(records, name)
        if not values:
            return line
        ties = [_values(records, name.replace("ties=expected", f"ties={order}")) for order in ("worst", "best")]
        lowest, highest = (statistics.fmean(found.values()) if found else None for found in ties)
        return replace(
            line,
            ours=statistics.fmean(values.values()),
            sd=_sd(values.values()),
            seeds=tuple(sorted(values)),
            lowest=lowest,
            highest=highest,
            measured_as=name,
        )

    def _gain(
        self, line: Line, own: Sequence[Record], other: Sequence[Record], metric: str
    ) -> tuple[Line, float | None]:
        """Return the line with our gain in percent, over the seeds that both have, and the mean that it is over."""
        if not own or not other:
            return line, None
        name = self._full(metric, [*own, *other])
        ours, base = _values(own, name), _values(other, name)
        seeds = sorted(ours.keys() & base.keys())
        mean = statistics.fmean(base[seed] for seed in seeds) if seeds else 0.0
        if not mean:
            return line, None
        each = [100 * (ours[seed] / base[seed] - 1) for seed in seeds if base[seed]]
        value = 100 * (statistics.fmean(ours[seed] for seed in seeds) / mean - 1)
        return replace(line, ours=value, sd=_sd(each), seeds=tuple(seeds), measured_as=name), mean

    def _full(self, metric: str, records: Sequence[Record]) -> str:
        """Return the full name of a metric as the paper has it, or the literature where a run lacks that one."""
        inside = in_database(records[0], _main(records[0]))
        own = self._table.self_match.get(records[0].spec["protocol"]) if inside else None
        name = str(Metric.parse(f"{metric}[self={own}]" if own else metric, "literature", inside))
        recorded = all(name in record.scores for record in records)
        return name if recorded else str(Metric.parse(metric, "literature", inside))

    def _not_measured(self, line: Line, *keys: tuple[str, str, int]) -> Line:
        states = sorted({state for key in keys for state in self._states.get(key, ())})
        why = ", ".join(states) or f"{line.metric.replace('-gain', '')} is not recorded"
        return replace(line, ours=None, status=f"not measured: {why}")

    def _reasons(self, row: PublishedRow, records: Sequence[Record], measured_as: str) -> list[str]:
        """Return why a number of ours cannot be held against the paper's."""
        name = self._protocol or row.protocol
        reasons = [f"on {name}"] if name != row.protocol else []
        reasons += [self._table.doubts[name]] if name == row.protocol and name in self._table.doubts else []
        for record in records:
            reasons += peculiarities(record, self._table.departures)
            reasons += [fault for fault in faults_of(record) if fault == CHANCE]  # the budget has the epochs
            if record.data["method"]["fingerprint"] != self._entries[record.spec["method"]].fingerprint:
                reasons.append("made with other source code")
        return [*dict.fromkeys(reasons), *conventions(row, measured_as, in_database(records[0], _main(records[0])))]


def _judged(line: Line, tolerance: float, reasons: Sequence[str]) -> Line:
    """Return the line with its difference and status."""
    assert line.ours is not None and line.published is not None
    difference = line.ours - line.published
    status = "reproduced" if abs(difference) <= tolerance else "differs"
    if reasons:
        status = f"not comparable: {'; '.join(reasons)}"
    return replace(line, difference=difference, tolerance=tolerance, status=status)


def _precision_line(row: Row) -> Line:
    return Line(
        "number", row.protocol, row.method, "", str(row.bits), row.metric, ours=row.value, seeds=row.seeds,
        measured_as=f"{row.metric}, by rank", status="not published",
    )  # fmt: skip


def _claim(protocol: str, checked: CheckedOrdering) -> Line:
    one = checked.ordering
    measured = sum(cell.gain is not None for cell in checked.cells)
    verdict = checked.verdict
    if 0 < measured < len(checked.cells):
        verdict += f" ({measured} of {len(checked.cells)} measured)"
    metrics = " ".join(one.metrics).replace(f" {AT}", " ")
    return Line(
        "claim", protocol, one.better, one.worse, " ".join(map(str, one.bits)), metrics,
        published_on=one.protocol, status=verdict, source=one.source,
    )  # fmt: skip


def _direction(line: Line) -> Line:
    """Return what a published gain claims by its sign, and whether ours has the same."""
    assert line.published is not None
    verdict = "not measured"
    if line.ours is not None:
        verdict = "held" if line.ours * line.published > 0 else "reversed"
    words = "above" if line.published > 0 else "below"
    return Line(
        "claim", line.protocol, line.method, line.over, line.bits, f"{line.metric.replace('-gain', '')} {words}",
        published_on=line.published_on, status=verdict, source=line.source,
    )  # fmt: skip


def _main(record: Record) -> str:
    return str(next(iter(record.spec["splits"])))


def _values(records: Iterable[Record], name: str) -> dict[int, float]:
    """Return a score by seed; seeds without one are left out."""
    found: Mapping[int, float | None] = {record.spec["seed"]: record.scores.get(name) for record in records}
    return {seed: value for seed, value in found.items() if value is not None}


def _sd(values: Iterable[float]) -> float | None:
    values = list(values)
    return statistics.stdev(values) if len(values) > 1 else None
