"""Which finished runs may be averaged: those that differ in nothing but the seed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vhbench.errors import UsageError, unknown
from vhbench.runs.record import Record
from vhbench.scoring import Metric

USUAL_K = 20
USUAL = f"map@{USUAL_K}"
ROLES = ("train", "query", "database", "relevance")


@dataclass(frozen=True)
class Choice:
    """Which rows are wanted; empty means all.

    Attributes:
        protocols: names.
        methods: names.
        bits: code lengths.
        metrics: names, full or partial; the convention fills in what they leave out. Empty: USUAL, or, of a run that
            has not recorded it, the map with the nearest K that it has.
        convention: "literature" or "strict".
    """

    protocols: Sequence[str] = ()
    methods: Sequence[str] = ()
    bits: Sequence[int] = ()
    metrics: Sequence[str] = ()
    convention: str = "literature"


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


@dataclass(frozen=True)
class FoldOf:
    """Which of several splits of a protocol a run was on.

    Attributes:
        name: the protocol of all splits.
        number: the split, from 1 up.
        count: how many there are.
    """

    name: str
    number: int
    count: int


def fold_of(record: Record) -> FoldOf | None:
    """Return of which protocol of several splits a run's is one; None where it is none."""
    data = record.data.get("data")
    notes = data.get(next(iter(record.spec["splits"]), "")) if isinstance(data, dict) else None
    note = notes.get("fold") if isinstance(notes, dict) else None
    if not isinstance(note, dict):
        return None
    name, number, count = (note.get(entry) for entry in ("of", "number", "count"))
    if not (isinstance(name, str) and isinstance(number, int) and isinstance(count, int)):
        return None
    return FoldOf(name, number, count)


def protocols_of(record: Record) -> set[str]:
    """Return by which names a run's protocol can be asked for: its own, and that of all splits where it is one."""
    fold = fold_of(record)
    return {record.spec["protocol"], *([fold.name] if fold else [])}


def in_database(record: Record, split: str) -> bool:
    """Say whether the queries of a record's split sit in its database."""
    return "scored_without_self" in record.data["queries"][split]


def score_key(group: Group, split: str, metric: str) -> str:
    """Return under which name a group's records keep a metric of a split."""
    return metric if split == next(iter(group.spec["splits"])) else f"{split}/{metric}"


def data_differences(alike: Sequence[Group]) -> dict[str, str]:
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


def _labels(records: Sequence[Record]) -> list[str]:
    """Return a label for each record; records of one table that have one label have the same hyper-parameters.

    The defaults of a method may have changed between two records that both kept to them: then both labels say how.
    """
    alike: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        alike.setdefault((_table_key(record), _label(record)), []).append(record)
    labels = []
    for record in records:
        params = [other.spec["params"] for other in alike[_table_key(record), _label(record)]]
        names = dict.fromkeys(name for values in params for name in values)
        differing = [name for name in names if len({_canonical(values.get(name)) for values in params}) > 1]
        labels.append(_label(record, differing))
    return labels


def _label(record: Record, also: Sequence[str] = ()) -> str:
    """Return the method's name with everything that is not its default, and some hyper-parameters besides."""
    values = {**record.data["changed"], **{name: record.spec["params"].get(name) for name in also}}
    differences = [f"{_shown(name)}={_shown(value)}" for name, value in values.items()]
    if record.data["budget"] != "paper":
        differences.append(record.data["budget"])
    if record.spec["precision"] != "float32":
        differences.append(record.spec["precision"])
    if record.spec.get("normalize", "none") != "none":
        differences.append(f"normalize {record.spec['normalize']}")
    method = str(record.spec["method"])
    return f"{method} [{', '.join(differences)}]" if differences else method


def _shown(value: Any) -> str:
    """Return a hyper-parameter's name or value as text on one line; other values give other texts."""
    text = str(value)
    return text if text.isprintable() else json.dumps(text)


def _check_names(done: Sequence[Record], choice: Choice) -> None:
    known_protocols = {name for record in done for name in protocols_of(record)}
    known_methods = {record.spec["method"] for record in done}
    for kind, names, known in (
        ("protocol", choice.protocols, known_protocols), ("method", choice.methods, known_methods)
    ):  # fmt: skip
        for name in names:
            if name not in known:
                raise unknown(f"{kind} among the finished runs", name, known, "`vhbench list runs` shows them.")
    lengths = {record.spec["bits"] for record in done}
    for bits in choice.bits:
        if bits not in lengths:
            there_are = ", ".join(map(str, sorted(lengths))) or "none at all"
            raise UsageError(f"No finished run has codes of {bits} bits; there are {there_are}.")
    for text in choice.metrics or (USUAL,):
        Metric.parse(text, choice.convention)


def _chosen(record: Record, choice: Choice) -> bool:
    spec = record.spec
    return (
        (not choice.protocols or not protocols_of(record).isdisjoint(choice.protocols))
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


def _table_key(record: Record) -> str:
    """Return what the records of one table share: their data, or the protocol whose splits are averaged."""
    fold = fold_of(record)
    return fold.name if fold else _data_key(record)


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
