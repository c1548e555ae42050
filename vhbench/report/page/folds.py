"""The mean over the splits of a protocol, with the rows of `vhbench compare`, as JSON values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vhbench.report.folds import averaged
from vhbench.report.notes import tuned_in_words
from vhbench.report.page.numbers import largest, means, nearest
from vhbench.report.references import with_references
from vhbench.report.rows import Row
from vhbench.runs.groups import Choice, FoldOf, Group
from vhbench.runs.references import KeptReferences
from vhbench.scoring import CONVENTIONS, Metric
from vhbench.scoring.names import REFERENCES

ByConvention = dict[str, dict[str, list[Row]]]  # convention -> short name of a metric -> rows
LARGEST = ("peak_rss_mb", "peak_gpu_mb", "learnt_numbers")  # costs that are no means


def with_means(
    sets: Sequence[dict[str, Any]],
    groups: Sequence[Mapping[str, Any]],
    alike: Sequence[Group],
    recorded: Sequence[ByConvention],
    folds: Mapping[str, FoldOf],
    kept: Sequence[KeptReferences],
    k: int,
) -> list[dict[str, Any]]:
    """Put the mean over the splits of each protocol that has several before the sets of its splits.

    Args:
        sets: what is on each protocol and split.
        groups: what the page says of each group of runs.
        alike: these groups.
        recorded: the rows of each group.
        folds: protocol -> split of, of those that are averaged.
        kept: references of the results folder.
        k: the cut-off rank that the page opens with.
    """
    found: list[dict[str, Any]] = []
    done = set()
    for one in sets:
        fold = folds.get(one["protocol"])
        if fold and fold.name not in done:
            done.add(fold.name)
            names = {protocol for protocol, other in folds.items() if other.name == fold.name}
            members = [number for number, group in enumerate(alike) if group.protocol in names]
            rows = _means_over([alike[n] for n in members], [recorded[n] for n in members], kept)
            own = [other for other in sets if other["protocol"] in names]
            found.append(_mean_set(fold, own, members, groups, rows, k))
        found.append(one)
    return found


def _means_over(
    alike: Sequence[Group], recorded: Sequence[ByConvention], kept: Sequence[KeptReferences]
) -> ByConvention:
    """Return the means of runs on all splits of one protocol, and of the references."""
    found: ByConvention = {}
    for convention in CONVENTIONS:
        names = dict.fromkeys(name for rows in recorded for name in rows[convention])
        found[convention] = {
            name: averaged(
                with_references([row for rows in recorded for row in rows[convention].get(name, ())], alike, kept),
                alike,
                Choice(),
            )
            for name in names
        }
    return found


def _mean_set(
    fold: FoldOf,
    own: Sequence[Mapping[str, Any]],
    members: Sequence[int],
    groups: Sequence[Mapping[str, Any]],
    rows: ByConvention,
    k: int,
) -> dict[str, Any]:
    """Return the set of a mean; `own` are the sets of the splits, `members` the numbers of the groups on them."""
    names = {
        convention: {name: several[0].metric for name, several in by_name.items() if several}
        for convention, by_name in rows.items()
    }
    counts = [one["queries"] for one in own]
    ks = sorted({shown.k for shown in map(Metric.parse, names["literature"]) if shown.kind == "map" and shown.k})
    series: dict[tuple[str, int], list[tuple[int, Mapping[str, Any]]]] = {}
    for one in own:
        for entry in one["series"]:
            group = groups[entry["group"]]
            series.setdefault((group["label"], group["bits"]), []).append((entry["group"], entry))
    order = list(dict.fromkeys((groups[n]["label"], groups[n]["bits"]) for n in members))
    return {
        "protocol": fold.name,
        "split": fold.name,
        "name": fold.name,
        "folds": [one["name"] for one in own],
        "folds_of": fold.count,
        "synthetic": any(one["synthetic"] for one in own),
        "problems": list(dict.fromkeys(text for one in own for text in one["problems"])),
        "in_database": own[0]["in_database"],
        "queries": {name: sum(count[name] for count in counts) for name in counts[0] if all(name in x for x in counts)},
        "version": own[0]["version"],
        "digests": {},
        "notes": {},
        "ks": ks,
        "names": names,
        "series": [_series(key, series[key], groups, rows) for key in order],
        "p": {},
        "references": _references(rows),
        "views": {"metric": f"map@{nearest(ks, k)}"} if ks else {},
    }


def _series(
    key: tuple[str, int],
    parts: Sequence[tuple[int, Mapping[str, Any]]],
    groups: Sequence[Mapping[str, Any]],
    rows: ByConvention,
) -> dict[str, Any]:
    """Return the mean of a method at a code length; a score has a fourth entry here, over how many splits it is."""
    own, entries = [groups[number] for number, _ in parts], [entry for _, entry in parts]
    found = {
        convention: {name: row for name, several in by_name.items() for row in several if _is_of(row, key)}
        for convention, by_name in rows.items()
    }
    every = [row for by_name in found.values() for row in by_name.values()]
    costs = [group["cost"] for group in own]
    return {
        "groups": [number for number, _ in parts],
        "label": key[0],
        "method": own[0]["method"],
        "bits": key[1],
        "seeds": sorted({seed for group in own for seed in group["seeds"]}),
        "runs": [run for group in own for run in group["runs"]],
        "curves": {},
        "cost": {
            **means([{name: cost[name] for name in cost if name not in (*LARGEST, "devices")} for cost in costs]),
            **{name: largest(cost[name] for cost in costs) for name in LARGEST},
            "devices": sorted({device for cost in costs for device in cost["devices"]}),
        },
        "scores": {
            convention: {name: [row.value, row.sd, row.queries, row.folds] for name, row in by_name.items()}
            for convention, by_name in found.items()
        },
        "audit": means([entry["audit"] for entry in entries]),
        "bad": {name: text for entry in reversed(entries) for name, text in entry["bad"].items()},
        "warnings": list(dict.fromkeys(text for row in every for text in row.warnings)),
        "tuned": [tuned_in_words(text) for text in dict.fromkeys(text for row in every for text in row.tuned)],
        "ci": {},
    }


def _is_of(row: Row, key: tuple[str, int]) -> bool:
    return row.ours and (row.label, row.bits) == key


def _references(rows: ByConvention) -> list[dict[str, Any]]:
    """Return the means of what the numbers are held against."""
    found = []
    for key, name in REFERENCES.items():
        scores = {
            convention: {
                short: row.value for short, several in by_name.items() for row in several if row.reference == key
            }
            for convention, by_name in rows.items()
        }
        if any(scores.values()):
            found.append({"key": key, "name": name, "scores": scores, "ci": {convention: {} for convention in scores}})
    return found
