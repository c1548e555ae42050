"""From run records to the rows of a comparison: one row a method, code length, split and metric, over seeds."""

from __future__ import annotations

import logging
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from vhbench.errors import UsageError
from vhbench.report.published import PublishedRow
from vhbench.runs.groups import USUAL, Choice, Group, data_differences, groups, in_database, score_key
from vhbench.runs.record import Record
from vhbench.runs.tuned import words
from vhbench.runs.warnings import warnings_of
from vhbench.scoring import Metric, record_metrics, recorded_metrics
from vhbench.scoring.names import KINDS

log = logging.getLogger(__name__)

NO_SOURCES: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Comparison:
    """A paired test of a row against another of the same protocol, split, code length and metric.

    Attributes:
        against: label of the other row.
        difference: this row's value less the other's, over the queries that both scored.
        p_raw: two-sided p-value of the sign-flip test.
        p: the same, adjusted for all tests of the table's column (Holm).
        significant: p is at most 0.05.
        ci: lower and upper end of the difference's 95 % bootstrap interval over queries, paired; None where none was
            asked for.
    """

    against: str
    difference: float
    p_raw: float
    p: float
    significant: bool
    ci: tuple[float, float] | None = None


@dataclass(frozen=True)
class Row:
    """One number of a table.

    Attributes:
        protocol: name, with a mark where records of the same name were made on different data or versions.
        split: the split's name.
        method: name.
        label: the name with what differs from its defaults: hyper-parameters, budget, precision.
        bits: code length.
        seeds: the seeds averaged over.
        metric: full name.
        value: mean over seeds; None where no query could be scored.
        sd: standard deviation over seeds (n - 1); None for one seed.
        synthetic: made-up features.
        queries: how many queries were scored; None for published numbers, which do not say.
        asked: how many queries there are; None where that is not known.
        stale: of at least one run, the method's source has changed since.
        problems: what is wrong with the data that the number was measured on, a sentence each (`Split.notes`).
        differs: where records of the protocol's name were made on several data: in what these differ first.
        ci: lower and upper end of the 95 % bootstrap interval over queries; None where none was asked for or possible.
        tests: against the baseline or all other rows; empty where none were asked for or possible.
        published: the published number that this is; None for ours.
        beside: for a published number, the full name of our metric in whose column it stands.
        warnings: what to mistrust in one run or more (`vhbench.runs.warnings`).
        reference: what this number is where it is no method's: chance, cosine or attainable; else empty.
        folds: over how many splits of its protocol it is the mean; 0 where the protocol has one.
        folds_of: how many splits the protocol has; 0 for one.
        tuned: how studies chose the hyper-parameters on held-out training videos (`vhbench.runs.tuned`).
    """

    protocol: str
    split: str
    method: str
    label: str
    bits: int
    seeds: tuple[int, ...]
    metric: str
    value: float | None
    sd: float | None
    synthetic: bool
    queries: int | None
    asked: int | None = None
    stale: bool = False
    problems: tuple[str, ...] = ()
    differs: str = ""
    ci: tuple[float, float] | None = None
    tests: tuple[Comparison, ...] = ()
    published: PublishedRow | None = None
    beside: str = ""
    warnings: tuple[str, ...] = ()
    reference: str = ""
    folds: int = 0
    folds_of: int = 0
    tuned: tuple[str, ...] = ()

    @property
    def ours(self) -> bool:
        """Whether it is a method's number that was measured here."""
        return self.published is None and not self.reference

    @property
    def column(self) -> str:
        """The metric in whose column the row stands."""
        return self.beside or self.metric

    def to_json(self) -> dict[str, Any]:
        """Return the row as JSON values; a published number gives its source, kind, selection and doubts."""
        values = {name: value for name, value in vars(self).items() if name != "published"}
        values |= {"seeds": list(self.seeds), "ci": list(self.ci) if self.ci else None, "problems": list(self.problems)}
        values["tuned"] = list(self.tuned)
        values["warnings"] = list(self.warnings)
        values["tests"] = [{**vars(test), "ci": list(test.ci) if test.ci else None} for test in self.tests]
        facts = ("source", "kind", "selection", "doubt", "note")
        published = {name: getattr(self.published, name) for name in facts} if self.published else None
        if published:
            published["doubt"] = list(published["doubt"])
        return {**values, "published": published}


def rows(records: Iterable[Record], choice: Choice, sources: Mapping[str, str] = NO_SOURCES) -> list[Row]:
    """Average finished runs over seeds.

    Args:
        records: runs of any status; only "done" ones count.
        choice: which rows.
        sources: method -> fingerprint of its source today, to tell which rows are stale; methods not in it are not.

    Raises:
        UsageError: a name or code length that no record has, or a metric that none has recorded.
    """
    alike = groups(records, choice)
    differences = data_differences(alike)
    found: list[tuple[int, Row]] = []
    for text in choice.metrics or (USUAL,):
        metric_rows: list[tuple[int, Row]] = []
        lacking: dict[str, dict[Path, str]] = {}
        for group in alike:
            for number, split in enumerate(group.spec["splits"]):
                wanted = Metric.parse(text, choice.convention, in_database(group.records[0], split))
                for metric, part in _by_metric(group, split, wanted, nearest=not choice.metrics).items():
                    key = score_key(group, split, str(metric))
                    having = tuple(record for record in part if key in record.scores)
                    if having:
                        row = _row(replace(group, records=having), split, str(metric), key, sources)
                        metric_rows.append((number, replace(row, differs=differences.get(group.protocol, ""))))
                    shown = metric.name if having and metric != wanted else ""
                    folders = [record.folder for record in part if metric != wanted or key not in record.scores]
                    lacking.setdefault(group.protocol, {}).update(dict.fromkeys(folders, shown))
        _check_recorded(text, alike, metric_rows, lacking)
        found += metric_rows
    found.sort(key=lambda item: (item[1].protocol, item[0]))  # stable: methods and code lengths are in order already
    return [row for _, row in found]


def _by_metric(group: Group, split: str, wanted: Metric, nearest: bool) -> dict[Metric, list[Record]]:
    """Return by which metric each record of a group is shown: the wanted one, or the same at the nearest recorded K."""
    found: dict[Metric, list[Record]] = {}
    for record in group.records:
        metric = wanted
        if nearest and score_key(group, split, str(wanted)) not in record.scores:
            metric = replace(wanted, k=_nearest_k(record, wanted))
        found.setdefault(metric, []).append(record)
    return found


def _nearest_k(record: Record, wanted: Metric) -> int | None:
    """Return the recorded K of a metric's kind that is nearest to its own; its own where none is recorded."""
    ks = [metric.k for metric in recorded_metrics(record.scores) if metric.kind == wanted.kind and metric.k]
    return min(ks, key=lambda k: abs(k - (wanted.k or 0)), default=wanted.k)


def _row(group: Group, split: str, metric: str, key: str, sources: Mapping[str, str]) -> Row:
    first = group.records[0]
    by_seed = {record.spec["seed"]: record.scores.get(key) for record in group.records}
    values = [value for value in by_seed.values() if value is not None]
    counts = first.data["queries"][split]
    named = Metric.parse(metric)
    scored = "total" if named.empty == "zero" else "scored_without_self" if named.self_match == "drop" else "scored"
    return Row(
        protocol=group.protocol,
        split=split,
        method=first.spec["method"],
        label=group.label,
        bits=first.spec["bits"],
        seeds=tuple(sorted(by_seed)),
        metric=metric,
        value=statistics.fmean(values) if values else None,
        sd=statistics.stdev(values) if len(values) > 1 else None,
        synthetic=bool(first.data["synthetic"]),
        queries=counts[scored],
        asked=total if isinstance(total := counts.get("total"), int) else None,
        problems=data_problems(group.records, split),
        stale=any(is_stale(record, sources) for record in group.records),
        warnings=_warnings(group.records, split),
        tuned=tuple(dict.fromkeys(filter(None, (words(record.data) for record in group.records)))),
    )


def _warnings(records: Sequence[Record], split: str) -> tuple[str, ...]:
    """Return what to mistrust in runs of several seeds: of each kind what the first seed that has it says."""
    found: dict[str, str] = {}
    for record in records:
        found = {**warnings_of(record, split), **found}
    return tuple(found.values())


def data_problems(records: Sequence[Record], split: str) -> tuple[str, ...]:
    """Return what is wrong with the data of a split, as the records say: each sentence once."""
    texts: dict[str, None] = {}
    for record in records:
        found: Any = record.data
        for name in ("data", split, "problems"):
            found = found.get(name) if isinstance(found, dict) else None
        texts |= dict.fromkeys(map(str, found.values())) if isinstance(found, dict) else {}
    return tuple(texts)


def is_stale(record: Record, sources: Mapping[str, str]) -> bool:
    """Say whether the source of a run's method has changed since; `sources` as for `rows`."""
    current = sources.get(record.spec["method"])
    return bool(current) and current != record.data["method"].get("fingerprint")


def _check_recorded(
    text: str, alike: Sequence[Group], found: Sequence[tuple[int, Row]], lacking: Mapping[str, Mapping[Path, str]]
) -> None:
    """Raise UsageError if no run has recorded a metric; say so if some have not.

    Args:
        text: the metric as it was asked for.
        alike: all runs.
        found: the rows that there are, whatever stands before them.
        lacking: protocol -> folders of the runs that have not recorded it -> what is shown instead, empty for nothing.
    """
    if alike and not found:
        recorded = {metric for group in alike for metric in recorded_metrics(group.records[0].scores)}
        in_order = sorted(recorded, key=lambda metric: (KINDS.index(metric.kind), metric.radius or 0, metric.k or 0))
        names = ", ".join(dict.fromkeys(metric.name for metric in in_order))
        advice = _rescoring(Metric.parse(text), {metric.k for metric in recorded if metric.k}, alike)
        raise UsageError(f"{text} is not recorded for {', '.join(sorted(lacking))}; recorded are {names}.{advice}")
    having = {row.protocol for _, row in found}
    for protocol, instead in sorted(lacking.items()):
        runs = sum(len(group.records) for group in alike if group.protocol == protocol)
        for shown, count in Counter(instead.values()).items():
            part = f"{count} of {runs} runs on " if protocol in having and count < runs else ""
            if shown:
                log.warning("shown instead: %s, as %s is not recorded for %s%s", shown, text, part, protocol)
            else:
                log.warning("left out: %s is not recorded for %s%s", text, part, protocol)


def _rescoring(metric: Metric, ks: set[int], alike: Sequence[Group]) -> str:
    """Say how a metric that is not recorded at these K can be had, where rescoring adds it."""
    inside = any(in_database(group.records[0], split) for group in alike for split in group.spec["splits"])
    counts = [group.records[0].data["queries"][split] for group in alike for split in group.spec["splits"]]
    empty = any(entry["scored"] < entry.get("total", 0) for entry in counts)
    if metric not in record_metrics([metric.k or 1], inside, empty):
        return ""
    given = "" if metric.k is None or metric.k in ks else f" --ks {','.join(map(str, sorted({*ks, metric.k})))}"
    return f" `vhbench rescore{given}` adds it from the stored codes."
