"""Per-query and per-class views, and what methods retrieve for a few queries, as JSON values."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vhbench.datasets.choices import kept_frames
from vhbench.errors import StoreError, VhbenchError
from vhbench.plugins.registry import Registry
from vhbench.protocol import Part, Protocol, Relevance, Split
from vhbench.runs.groups import Group, in_database
from vhbench.runs.record import PER_QUERY, Record
from vhbench.runs.stored_codes import check_counts, check_data, read_codes
from vhbench.runs.stored_scores import read_per_query
from vhbench.scoring import Metric
from vhbench.scoring.names import CONVENTIONS
from vhbench.system.text import plain

SAMPLE = 2000  # queries whose AP is on the page
STEPS = 65534  # an AP is kept as a whole number of this part of 1; one more stands for undefined
EXAMPLES = 8  # queries whose results are shown
RESULTS = 5
PICTURES = 1000  # results with pictures, at most
STRIP = 4  # frames of a picture
QUALITY = 75


@dataclass(frozen=True)
class Opened:
    """A protocol's split, opened, which is that of the runs."""

    protocol: Protocol
    split: Split

    @property
    def relevance(self) -> Relevance:
        """Its labels."""
        return self.split.relevance


class Labels:
    """Finds the labels of the data that runs were made on; each protocol is opened once.

    Args:
        registry: finds protocols by name.
        given: protocols that it does not know by name.
        data: the data folder.
    """

    def __init__(self, registry: Registry, given: Mapping[str, Protocol], data: Path | None):
        self._registry = registry
        self._given = given
        self._data = data
        self._splits: dict[str, list[Split]] = {}

    def open(self, record: Record, split: str) -> Opened:
        """Return a split of a run's protocol.

        Raises:
            UsageError: the protocol is not known.
            DataError: its data are missing or faulty, or not those that the run was made on.
        """
        name = record.spec["protocol"]
        protocol = self._given.get(name) or self._registry.protocol(name)
        if name not in self._splits:
            self._splits[name] = protocol.load(self._data, allow_counts=True)
        check_data(record, protocol, self._splits[name])
        return Opened(protocol, next(opened for opened in self._splits[name] if opened.name == split))


def query_views(
    members: Sequence[Group], split: str, main: bool, k: int, labels: Labels, lacking: list[str]
) -> dict[str, Any]:
    """Return AP by query and by class and the results of a few queries, for all groups of one protocol and split.

    Args:
        members: the groups.
        split: the split's name.
        main: it is the protocol's first split.
        k: the K of AP@K.
        labels: opens the data.
        lacking: gets a sentence for everything that cannot be shown.

    Returns:
        `metric`, `total`, `rows` (of the queries whose AP is kept, in rising order), `series` (for each group: `ap`,
        convention -> base64 of little-endian uint16 in units of 1 / STEPS; `classes`, convention -> mean AP of each
        class; `top`, the results of each example), and with labels `class_names`, `class_queries`, `classes` (of each
        kept query), `query_names` (of these; empty where not known) and `examples`.
    """
    total = members[0].records[0].data["queries"][split]["total"]
    aps = [_ap(group, split, main, k, total, lacking) for group in members]
    if total > SAMPLE:
        kept = np.sort(np.random.default_rng(0).choice(total, SAMPLE, replace=False))
    else:
        kept = np.arange(total)
    series: list[dict[str, Any]] = [{"ap": {name: _packed(values[kept]) for name, values in ap.items()}} for ap in aps]
    views: dict[str, Any] = {"metric": f"map@{k}", "total": total, "rows": kept.tolist(), "series": series}
    record = members[0].records[0]
    try:
        opened = labels.open(record, split)
        if len(opened.relevance.query_labels) != total:
            raise StoreError(f"{record.folder} says that there are {total} queries, which is not so.")
    except VhbenchError as error:
        name = record.spec["protocol"]
        reason = f"The labels of {members[0].protocol} were not found: {error}"
        views["no_labels"] = reason
        views["advice"] = f"vhbench report --data DIR, or --protocol PATH.toml where {name} is a manifest of your own"
        lacking.append(reason)
        return views
    numbers, belongs = _classes(opened.relevance.query_labels)
    scored = np.zeros(total, dtype=bool)
    for ap in aps:
        for values in ap.values():
            scored |= ~np.isnan(values)
    present = belongs[scored].sum(axis=0) > 0
    for entry, ap in zip(series, aps, strict=True):
        entry["classes"] = {name: _by_class(values, belongs[:, present]) for name, values in ap.items()}
    views["class_names"] = {int(c): _class_name(opened.relevance, int(c)) for c in numbers}
    views["class_numbers"] = numbers[present].tolist()
    views["class_queries"] = belongs[scored][:, present].sum(axis=0).tolist()
    views["classes"] = [_of(opened.relevance.query_labels, row) for row in kept]
    views["query_names"] = _names(opened.split.query, kept)
    views |= _examples(members, series, opened, np.flatnonzero(scored), lacking)
    return views


def _ap(group: Group, split: str, main: bool, k: int, total: int, lacking: list[str]) -> dict[str, np.ndarray]:
    """Return the AP of each query by convention, averaged over seeds; float (queries,), NaN where undefined."""
    found: dict[str, list[np.ndarray]] = {name: [] for name in CONVENTIONS}
    for record in group.records:
        try:
            metrics = {c: str(Metric.parse(f"map@{k}", c, in_database(record, split))) for c in CONVENTIONS}
            names = {c: metric if main else f"{split}/{metric}" for c, metric in metrics.items()}
            recorded = read_per_query(record, names.values())
            for convention, name in names.items():
                if name not in recorded or recorded[name].shape != (total,):
                    raise StoreError(f"{record.folder / PER_QUERY} lacks {name} of {total} queries.")
                found[convention].append(recorded[name])
        except StoreError as error:
            lacking.append(f"No AP query by query of {group.label}, {group.spec['bits']} bits: {error}")
            return {}
    return {name: np.mean(np.array(values, dtype=np.float64), axis=0) for name, values in found.items()}


def _packed(values: np.ndarray) -> str:
    steps = np.where(np.isnan(values), STEPS + 1, np.rint(np.nan_to_num(values) * STEPS))
    return base64.b64encode(steps.astype("<u2").tobytes()).decode()


def _classes(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the class numbers, int (classes,), and who belongs to them, bool (videos, classes)."""
    if labels.ndim == 2:
        return np.arange(labels.shape[1]), labels != 0
    numbers = np.unique(labels)
    return numbers, labels[:, None] == numbers


def _by_class(values: np.ndarray, belongs: np.ndarray) -> list[float | None]:
    """Return the mean AP of each class's queries; a query of several classes counts in each."""
    scored = ~np.isnan(values)
    counts = belongs[scored].sum(axis=0)
    sums = values[scored] @ belongs[scored]
    return [round(float(s / n), 4) if n else None for s, n in zip(sums, counts, strict=True)]


def _of(labels: np.ndarray, row: int) -> list[int]:
    """Return the classes of a video."""
    return np.flatnonzero(labels[row]).tolist() if labels.ndim == 2 else [int(labels[row])]


def _names(part: Part, rows: np.ndarray) -> list[str]:
    """Return the videos' names; empty where they are not known."""
    return [] if part.names is None else [plain(name) for name in part.names[rows].tolist()]


def _class_name(relevance: Relevance, number: int) -> str:
    names = relevance.class_names
    return names[number] if 0 <= number < len(names) else f"class {number}"


def _examples(
    members: Sequence[Group], series: Sequence[dict[str, Any]], opened: Opened, scored: np.ndarray, lacking: list[str]
) -> dict[str, Any]:
    """Put the first results of a few queries, drawn with a fixed seed, into `series`; return what they show."""
    split, relevance = opened.split.name, opened.relevance
    pictures = opened.protocol.pictures(split, "query", scored[:1]) is not None
    count = min(EXAMPLES, max(2, PICTURES // (RESULTS * len(members)))) if pictures else EXAMPLES
    queries = np.sort(np.random.default_rng(1).permutation(scored)[:count])
    shown: set[int] = set()
    for group, entry in zip(members, series, strict=True):
        try:
            codes = read_codes(group.records[0])
            check_counts(group.records[0], codes, [opened.split])
        except VhbenchError as error:
            lacking.append(f"No retrieved videos of {group.label}, {group.spec['bits']} bits: {error}")
            continue
        own = relevance.self_index
        found = [
            _first(codes[f"{split}/query"][q], codes[f"{split}/database"], -1 if own is None else int(own[q]))
            for q in queries
        ]
        entry["top"] = [
            [[int(i), int(d), int(_share(relevance, int(q), int(i)))] for i, d in zip(items, distances, strict=True)]
            for q, (items, distances) in zip(queries, found, strict=True)
        ]
        shown |= {int(i) for items, _ in found for i in items}
    items = np.array(sorted(shown), dtype=np.int64)
    return {
        "examples": queries.tolist(),
        "example_classes": [_of(relevance.query_labels, row) for row in queries],
        "item_classes": {int(row): _of(relevance.database_labels, row) for row in items},
        "example_names": _names(opened.split.query, queries),
        "item_names": dict(zip(items.tolist(), _names(opened.split.database, items), strict=False)),
        "pictures": {
            role: _pictures(opened.protocol, split, role, rows) if pictures else {}
            for role, rows in (("query", queries), ("database", items))
        },
    }


def _first(query: np.ndarray, database: np.ndarray, own: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the nearest items and their Hamming distances; ties in database order, the query's own item left out."""
    distances = (query != database).sum(axis=1)
    if own >= 0:
        distances[own] = len(query) + 1
    order = np.argsort(distances, kind="stable")[: min(RESULTS, len(database) - (own >= 0))]
    return order, distances[order]


def _share(relevance: Relevance, query: int, item: int) -> bool:
    return bool(set(_of(relevance.query_labels, query)) & set(_of(relevance.database_labels, item)))


def _pictures(protocol: Protocol, split: str, role: str, rows: np.ndarray) -> dict[int, str]:
    """Return a strip of frames, from left to right in time, for each video: row -> data URI of a JPEG."""
    from PIL import Image

    frames = protocol.pictures(split, role, rows) if len(rows) else None
    if frames is None:
        return {}
    found = {}
    for row, video in zip(rows, frames[:, kept_frames(frames.shape[1], min(STRIP, frames.shape[1]))], strict=True):
        buffer = io.BytesIO()
        Image.fromarray(np.concatenate(list(video), axis=1)).save(buffer, "JPEG", quality=QUALITY)
        found[int(row)] = f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return found
