"""From run records to the rows of a comparison: one row a method, code length, split and metric, over seeds."""

from __future__ import annotations

import json
import logging
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from vhbench.errors import UsageError, unknown
from vhbench.report.published import PublishedRow
from vhbench.runs.record import Record
from vhbench.scoring import Metric

log = logging.getLogger(__name__)

NO_SOURCES: Mapping[str, str] = MappingProxyType({})
ROLES = ("train", "query", "database", "relevance")


@dataclass(frozen=True)
class Choice:
    """Which rows are wanted; empty means all.

    Attributes:
        protocols: names.
        methods: names.
        bits: code lengths.
        metrics: names, full or partial; the convention fills in what they leave out.
        convention: "literature" or "strict".
    """

    protocols: Sequence[str] = ()
    methods: Sequence[str] = ()
    bits: Sequence[int] = ()
    metrics: Sequence[str] = ("map@20",)
    convention: str = "literature"


@dataclass(frozen=True)
class Comparison:
    """A paired test of a row against another of the same protocol, split, code length and metric.

    Attributes:
        against: label of the other row.
        difference: this row's value less the other's, over the queries that both scored.
        p_raw: two-sided p-value of the sign-flip test.
        p: the same, adjusted for all tests of the table's column (Holm).
        significant: p is at most 0.05.
    """

    against: str
    difference: float
    p_raw: float
    p: float
    significant: bool


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
        stale: of at least one run, the method's source has changed since.
        differs: where records of the protocol's name were made on several data: in what these differ first.
        ci: lower and upper end of the 95 % bootstrap interval over queries; None where none was asked for or possible.
        tests: against the baseline or all other rows; empty where none were asked for or possible.
        published: the published number that this is; None for ours.
        beside: for a published number, the full name of our metric in whose column it stands.
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
    stale: bool = False
    differs: str = ""
    ci: tuple[float, float] | None = None
    tests: tuple[Comparison, ...] = ()
    published: PublishedRow | None = None
    beside: str = ""

    @property
    def column(self) -> str:
        """The metric in whose column the row stands."""
        return self.beside or self.metric

    def to_json(self) -> dict[str, Any]:
        """Return the row as JSON values; a published number gives its source, kind, selection and doubts."""
        values = {name: value for name, value in vars(self).items() if name != "published"}
        values |= {"seeds": list(self.seeds), "ci": list(self.ci) if self.ci else None}
        values["tests"] = [dict(vars(test)) for test in self.tests]
        facts = ("source", "kind", "selection", "doubt", "note")
        published = {name: getattr(self.published, name) for name in facts} if self.published else None
        if published:
            published["doubt"] = list(published["doubt"])
        return {**values, "published": published}


@dataclass(frozen=True)
class Group:
    """Finished runs that differ in nothing but the seed.

    Attributes:
        protocol: name, with a mark where records of the same name were made on different data or versions.
        label: the method's name with what differs from its defaults.
        records: the runs.
    """

    protocol: str
    label: str
    records: tuple[Record, ...]

    @property
    def spec(self) -> Mapping[str, Any]:
        """The specification that the runs share, but for the seed."""
        return self.records[0].spec


def groups(records: Iterable[Record], choice: Choice) -> list[Group]:
    """Put finished runs together that may be averaged: everything but the seed is the same.

    Args:
        records: runs of any status; only "done" ones count.
        choice: which protocols, methods and code lengths.

    Returns:
        Sorted by protocol, method (in the order asked for), label and code length.

    Raises:
        UsageError: a name or code length that no record has, or a metric that does not exist.
    """
    done = [record for record in records if record.status == "done"]
    _check_names(done, choice)
    done = [record for record in done if _chosen(record, choice)]
    names = _protocol_names(done)
    by_settings: dict[str, list[Record]] = {}
    for record in done:
        by_settings.setdefault(_canonical({**record.spec, "seed": None}), []).append(record)
    labels = _labels([group[0] for group in by_settings.values()])
    found = [
        Group(names[_data_key(group[0])], label, tuple(group))
        for group, label in zip(by_settings.values(), labels, strict=True)
    ]
    order = {name: i for i, name in enumerate(choice.methods)}
    return sorted(found, key=lambda g: (g.protocol, order.get(g.spec["method"], 0), g.label, g.spec["bits"]))


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
    differences = _data_differences(alike)
    found: list[tuple[int, Row]] = []
    for text in choice.metrics:
        metric_rows: list[tuple[int, Row]] = []
        lacking: set[str] = set()
        for group in alike:
            first = group.records[0]
            for number, split in enumerate(first.spec["splits"]):
                metric = str(Metric.parse(text, choice.convention, in_database(first, split)))
                key = score_key(group, split, metric)
                if key in first.scores:
                    row = _row(group, split, metric, key, sources)
                    metric_rows.append((number, replace(row, differs=differences.get(group.protocol, ""))))
                else:
                    lacking.add(group.protocol)
        _check_recorded(text, alike, metric_rows, lacking)
        found += metric_rows
    found.sort(key=lambda item: (item[1].protocol, item[0]))  # stable: methods and code lengths are in order already
    return [row for _, row in found]


def in_database(record: Record, split: str) -> bool:
    """Say whether the queries of a record's split sit in its database."""
    return "scored_without_self" in record.data["queries"][split]


def score_key(group: Group, split: str, metric: str) -> str:
    """Return under which name a group's records keep a metric of a split."""
    return metric if split == next(iter(group.spec["splits"])) else f"{split}/{metric}"


def _row(group: Group, split: str, metric: str, key: str, sources: Mapping[str, str]) -> Row:
    first = group.records[0]
    by_seed = {record.spec["seed"]: record.scores.get(key) for record in group.records}
    values = [value for value in by_seed.values() if value is not None]
    counts = first.data["queries"][split]
    dropped = metric.endswith("self=drop]")
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
        queries=counts["scored_without_self"] if dropped else counts["scored"],
        stale=any(is_stale(record, sources) for record in group.records),
    )


def is_stale(record: Record, sources: Mapping[str, str]) -> bool:
    """Say whether the source of a run's method has changed since; `sources` as for `rows`."""
    current = sources.get(record.spec["method"])
    return bool(current) and current != record.data["method"].get("fingerprint")


def _labels(records: Sequence[Record]) -> list[str]:
    """Return a label for each record; records of one label have the same hyper-parameters.

    The defaults of a method may have changed between two records that both kept to them: then both labels say how.
    """
    alike: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        alike.setdefault((_data_key(record), _label(record)), []).append(record)
    labels = []
    for record in records:
        params = [other.spec["params"] for other in alike[_data_key(record), _label(record)]]
        names = dict.fromkeys(name for values in params for name in values)
        differing = [name for name in names if len({_canonical(values.get(name)) for values in params}) > 1]
        labels.append(_label(record, differing))
    return labels


def _label(record: Record, also: Sequence[str] = ()) -> str:
    """Return the method's name with everything that is not its default, and some hyper-parameters besides."""
    values = {**record.data["changed"], **{name: record.spec["params"].get(name) for name in also}}
    differences = [f"{name}={value}" for name, value in values.items()]
    if record.data["budget"] != "paper":
        differences.append(record.data["budget"])
    if record.spec["precision"] != "float32":
        differences.append(record.spec["precision"])
    method = str(record.spec["method"])
    return f"{method} [{', '.join(differences)}]" if differences else method


def _check_names(done: Sequence[Record], choice: Choice) -> None:
    for kind, names in (("protocol", choice.protocols), ("method", choice.methods)):
        known = {record.spec[kind] for record in done}
        for name in names:
            if name not in known:
                raise unknown(f"{kind} among the finished runs", name, known, "`vhbench list runs` shows them.")
    lengths = {record.spec["bits"] for record in done}
    for bits in choice.bits:
        if bits not in lengths:
            there_are = ", ".join(map(str, sorted(lengths))) or "none at all"
            raise UsageError(f"No finished run has codes of {bits} bits; there are {there_are}.")
    for text in choice.metrics:
        Metric.parse(text, choice.convention)


def _check_recorded(text: str, alike: Sequence[Group], found: Sequence[Any], lacking: set[str]) -> None:
    """Raise UsageError if no run has recorded a metric; say so if some have not."""
    if alike and not found:
        recorded = {name.partition("[")[0] for group in alike for name in group.records[0].scores if "/" not in name}
        names = ", ".join(sorted(recorded, key=lambda name: (name.partition("@")[0], int(name.partition("@")[2]))))
        raise UsageError(f"{text} is not recorded for {', '.join(sorted(lacking))}; recorded are {names}.")
    for protocol in sorted(lacking):
        log.warning("left out: %s is not recorded for %s", text, protocol)


def _chosen(record: Record, choice: Choice) -> bool:
    spec = record.spec
    return (
        (not choice.protocols or spec["protocol"] in choice.protocols)
        and (not choice.methods or spec["method"] in choice.methods)
        and (not choice.bits or spec["bits"] in choice.bits)
    )


def _protocol_names(records: Iterable[Record]) -> dict[str, str]:
    """Return a name for each set of data: the protocol's, numbered where one name stands for several."""
    by_name: dict[str, list[str]] = {}
    for record in records:
        keys = by_name.setdefault(record.spec["protocol"], [])
        if _data_key(record) not in keys:
            keys.append(_data_key(record))
    return {
        key: name if len(keys) == 1 else f"{name} (data {number} of {len(keys)})"
        for name, keys in by_name.items()
        for number, key in enumerate(keys, 1)
    }


def _data_differences(alike: Sequence[Group]) -> dict[str, str]:
    """Return in what each set of data differs first from another one of the same protocol's name."""
    specs: dict[str, dict[str, Mapping[str, Any]]] = {}
    for group in alike:
        specs.setdefault(group.spec["protocol"], {}).setdefault(group.protocol, group.spec)
    found = {}
    for several in specs.values():
        names = sorted(several) if len(several) > 1 else []
        for name, other in zip(names, [*names[1:2], *names], strict=False):
            found[name] = f"{_first_difference(several[name], several[other])} as in {other}"
    return found


def _first_difference(spec: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """Say in what the data of a run differ first from another's: version, splits, or a part of a split."""
    if spec["version"] != other["version"]:
        return f"version: {spec['version']}, not {other['version']}"
    if spec["splits"].keys() != other["splits"].keys():
        return f"splits: {', '.join(spec['splits'])}, not {', '.join(other['splits'])}"
    here, there = (
        {(split, role): s["splits"][split].get(role, "none") for split in spec["splits"] for role in ROLES}
        for s in (spec, other)
    )
    split, role = next(key for key in here if here[key] != there[key])
    return f"{role} of split {split}: {here[split, role][:8]}, not {there[split, role][:8]}"


def _data_key(record: Record) -> str:
    return _canonical([record.spec["protocol"], record.spec["version"], record.spec["splits"]])


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
