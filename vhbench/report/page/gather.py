"""What the page shows, as JSON values: tables, curves, audits, training, cost and provenance of runs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from vhbench.errors import StoreError, UsageError
from vhbench.grid.survey import RunState, survey
from vhbench.plugins.registry import Registry
from vhbench.protocol import Protocol
from vhbench.report.costs import device_of
from vhbench.report.curves import pr_curves
from vhbench.report.figures import style
from vhbench.report.folds import folds_to_average
from vhbench.report.notes import tuned_in_words
from vhbench.report.page.folds import ByConvention, with_means
from vhbench.report.page.intervals import intervals
from vhbench.report.page.numbers import largest, means, nearest, short
from vhbench.report.page.queries import Labels, query_views
from vhbench.report.references import references_of
from vhbench.report.rows import data_problems, rows
from vhbench.runs.groups import USUAL, Choice, Group, groups, in_database, protocols_of
from vhbench.runs.record import RECORD, TRAIN_LOG, Record
from vhbench.runs.references import KeptReferences, read_references
from vhbench.runs.store import Store
from vhbench.runs.train_log import read_log
from vhbench.runs.tuned import words
from vhbench.runs.warnings import faults_of_audit
from vhbench.scoring import CONVENTIONS, Metric, recorded_metrics
from vhbench.scoring.names import REFERENCES
from vhbench.version import __version__

CURVE_POINTS = 48  # of a curve by rank
EPOCHS = 60  # of a training curve
TERMS = 6  # of a loss, with the loss itself


def gather(
    store: Store,
    choice: Choice,
    registry: Registry,
    given: Mapping[str, Protocol],
    data: Path | None,
    beside: Path,
) -> dict[str, Any]:
    """Read a results folder.

    Args:
        store: the folder.
        choice: protocols, methods and code lengths to show, at most one metric (a map) and a convention.
        registry: finds protocols, and the methods whose source may have changed since.
        given: protocols that the registry does not know by name.
        data: the data folder, for labels.
        beside: the page's folder, which links to records start from.

    Returns:
        JSON values; the scripts of the page are their only reader.

    Raises:
        UsageError: an unknown name, or a metric that no run has recorded or that is no map.
    """
    k = _k(choice)
    records, _ = store.records()
    alike = groups(records, choice)
    if choice.metrics and alike and not any(f"map@{k}" in _short_names(group, "literature") for group in alike):
        rows(records, choice)  # says which are recorded
    kept, lacking = read_references(store.root)
    shown = sorted((record for record in records if _is_chosen(record, choice)), key=_order)
    states, damaged = survey(store, {entry.name: entry.fingerprint for entry in registry.methods() if not entry.broken})
    state_of = {run.folder: run.state for run in states}
    numbers = {record.folder: number for number, record in enumerate(shown)}
    labels = Labels(registry, given, data)
    environments: list[Any] = []
    folds, unlike = folds_to_average(alike, choice)
    lacking += [f"{text}." for text in unlike]
    names = dict.fromkeys(folds[group.protocol].name if group.protocol in folds else group.protocol for group in alike)
    every = [_group(group, [numbers[record.folder] for record in group.records], lacking) for group in alike]
    recorded = [_rows(group) for group in alike]
    sets = _sets(alike, recorded, k, labels, lacking, kept)
    return {
        "title": f"vhbench report: {', '.join(names) or store.root.name}",
        "version": __version__,
        "convention": choice.convention,
        "conventions": {name: vars(convention) for name, convention in CONVENTIONS.items()},
        "styles": {name: _style(name) for name in dict.fromkeys(group.spec["method"] for group in alike)},
        "groups": every,
        "sets": with_means(sets, every, alike, recorded, folds, kept, k),
        "runs": [_run(record, state_of[record.folder], environments, beside) for record in shown],
        "environments": environments,
        "unfinished": _without_record(states, choice),
        "damaged": damaged,
        "lacking": lacking,
    }


def _k(choice: Choice) -> int:
    """Return the K of the map that is asked for."""
    (text,) = choice.metrics or (USUAL,)
    metric = Metric.parse(text, choice.convention)
    if metric.kind != "map" or metric.k is None or metric != Metric.parse(metric.name, choice.convention):
        raise UsageError(
            f"--metric takes a map by its short name, as in map@{metric.k or 20}, not {text!r}: the page's AP query by "
            "query is recorded in both conventions, and all other metrics can be chosen on the page."
        )
    return metric.k


def _is_chosen(record: Record, choice: Choice) -> bool:
    wanted = ((choice.methods, "method"), (choice.bits, "bits"))
    of_protocol = not choice.protocols or not protocols_of(record).isdisjoint(choice.protocols)
    return of_protocol and all(not names or record.spec[key] in names for names, key in wanted)


def _order(record: Record) -> tuple[Any, ...]:
    return tuple(record.spec[name] for name in ("protocol", "method", "bits", "seed"))


def _sets(
    alike: Sequence[Group],
    recorded: Sequence[ByConvention],
    k: int,
    labels: Labels,
    lacking: list[str],
    kept: Sequence[KeptReferences],
) -> list[dict[str, Any]]:
    """Return what is on each protocol and split: numbers that may stand in one table."""
    found: dict[tuple[str, str], list[int]] = {}
    for number, group in enumerate(alike):
        for split in group.spec["splits"]:
            found.setdefault((group.protocol, split), []).append(number)
    sets = []
    for (protocol, split), members in found.items():
        first = alike[members[0]]
        chosen = [alike[number] for number in members]
        names: dict[str, dict[str, str]] = {convention: {} for convention in CONVENTIONS}
        series = [{"group": n, **_series(alike[n], recorded[n], split, names)} for n in members]
        main = split == next(iter(first.spec["splits"]))
        ks = sorted({shown.k for shown in map(Metric.parse, names["literature"]) if shown.kind == "map" and shown.k})
        views = query_views(chosen, split, main, nearest(ks, k), labels, lacking) if ks else {}
        for entry, own in zip(series, views.pop("series", ()), strict=False):
            entry |= own
        tested = intervals(chosen, split, ks, int(views["metric"].partition("@")[2])) if ks else {}
        for entry, ci in zip(series, tested.get("ci", ()), strict=False):
            entry["ci"] = ci
        sets.append(
            {
                "protocol": protocol,
                "split": split,
                "name": protocol if split == protocol.partition(" (data ")[0] else f"{protocol}, split {split}",
                "synthetic": any(bool(group.records[0].data["synthetic"]) for group in chosen),
                "problems": list(data_problems([record for group in chosen for record in group.records], split)),
                "in_database": in_database(first.records[0], split),
                "queries": first.records[0].data["queries"][split],
                "version": first.spec["version"],
                "digests": first.spec["splits"][split],
                "notes": first.records[0].data.get("data", {}).get(split, {}),
                "ks": ks,
                "names": names,
                "series": series,
                "p": tested.get("p", {}),
                "references": _references(references_of(first.spec["splits"][split], kept), names),
                "views": views,
            }
        )
    return sets


def _references(kept: Sequence[KeptReferences], names: Mapping[str, Mapping[str, str]]) -> list[dict[str, Any]]:
    """Return what the numbers of a set are held against: name, and scores as those of a series, without a spread."""
    found = []
    for key, name in REFERENCES.items():
        values = {full: value for one in kept for full, value in one.values[key].items()}
        scores = {
            convention: {short: values[full] for short, full in shown.items() if values.get(full) is not None}
            for convention, shown in names.items()
        }
        if any(scores.values()):
            ends = {full: list(ci) for one in kept if key == "cosine" for full, ci in one.intervals.items() if ci}
            ci = {c: {short: ends[full] for short, full in shown.items() if full in ends} for c, shown in names.items()}
            found.append({"key": key, "name": name, "scores": scores, "ci": ci})
    return found


def _short_names(group: Group, convention: str) -> list[str]:
    """Return the metrics, as `rows` takes them, that all runs have recorded in a convention."""
    first = group.records[0]
    main = next(iter(first.spec["splits"]))
    names = list(dict.fromkeys(metric.name for metric in recorded_metrics(first.scores)))
    ties = [f"{name}[ties={ties}]" for name in names if name.startswith("map@") for ties in ("worst", "best")]
    candidates = [(name, Metric.parse(name, convention, in_database(first, main))) for name in [*names, *ties]]
    return [name for name, metric in candidates if all(str(metric) in record.scores for record in group.records)]


def _rows(group: Group) -> ByConvention:
    """Return a group's rows of all its splits: convention -> short name of the metric -> a row a split."""
    found: ByConvention = {}
    inside = {in_database(group.records[0], split) for split in group.spec["splits"]}
    for convention in CONVENTIONS:
        wanted = _short_names(group, convention)
        by_name = {str(Metric.parse(name, convention, own)): name for name in wanted for own in inside}
        found[convention] = {short: [] for short in by_name.values()}
        for row in rows(group.records, Choice(metrics=wanted, convention=convention)) if wanted else ():
            found[convention][by_name[row.metric]].append(replace(row, protocol=group.protocol, label=group.label))
    return found


def _series(group: Group, recorded: ByConvention, split: str, names: dict[str, dict[str, str]]) -> dict[str, Any]:
    """Return a group's numbers on a split, and put the full names of its metrics into `names`."""
    scores: dict[str, dict[str, Any]] = {convention: {} for convention in CONVENTIONS}
    warnings: tuple[str, ...] = ()
    tuned: tuple[str, ...] = ()
    for convention, by_name in recorded.items():
        for name, row in ((name, row) for name, several in by_name.items() for row in several if row.split == split):
            warnings, tuned = row.warnings, row.tuned
            names[convention][name] = row.metric
            scores[convention][name] = [row.value, row.sd, row.queries]
    audits = [record.data["audit"][split] for record in group.records if split in record.data.get("audit", {})]
    bad: dict[str, str] = {}
    for audit in audits:
        bad = {**faults_of_audit(audit), **bad}
    return {
        "scores": scores,
        "audit": means(audits),
        "bad": bad,
        "warnings": list(warnings),
        "tuned": [tuned_in_words(text) for text in tuned],
        "ci": {},
    }


def _group(group: Group, runs: Sequence[int], lacking: list[str]) -> dict[str, Any]:
    """Return what does not depend on a split: name, training and cost; and the curves, which one file holds."""
    data = [record.data for record in group.records]
    memory = [record.get("memory") or {} for record in data]
    return {
        "protocol": group.protocol,
        "label": group.label,
        "method": group.spec["method"],
        "bits": group.spec["bits"],
        "seeds": [record.spec["seed"] for record in group.records],
        "runs": list(runs),
        "curves": _curves(group, lacking),
        "training": [_training(record, lacking) for record in group.records],
        "cost": {
            **means([record["timing"] for record in data]),
            **{name: largest(values.get(name) for values in memory) for name in ("peak_rss_mb", "peak_gpu_mb")},
            "learnt_numbers": largest(record.get("learnt_numbers") for record in data),
            "devices": sorted({device_of(record["environment"]) for record in data}),
        },
    }


def _curves(group: Group, lacking: list[str]) -> dict[str, Any]:
    """Return precision and recall: split -> "rank" or "radius" -> "keep" or "drop" -> columns; ranks are thinned."""
    found: dict[str, Any] = {}
    try:
        for convention in CONVENTIONS:
            frame = pr_curves(group.records, Choice(convention=convention))
            for (split, by, own), part in frame.groupby(["split", "by", "self"], sort=False):
                kept = part.iloc[_thinned(len(part), CURVE_POINTS)] if by == "rank" else part
                columns = {name: [short(x, 4) for x in kept[name]] for name in ("recall", "precision")}
                found.setdefault(str(split), {}).setdefault(by, {})[own] = {"at": kept["at"].tolist(), **columns}
    except StoreError as error:
        lacking.append(f"No precision-recall curves of {group.label}, {group.spec['bits']} bits: {error}")
        return {}
    return found


def _thinned(count: int, wanted: int) -> np.ndarray:
    """Return at most `wanted` places among `count`, denser at the beginning, with the first and the last."""
    if count <= wanted:
        return np.arange(count)
    places: np.ndarray = np.unique(np.rint(np.geomspace(1, count, wanted)).astype(int) - 1)
    return places


def _training(record: Record, lacking: list[str]) -> dict[str, Any]:
    """Return the loss and its terms at some epochs, the first and the last of each stage among them; {} without epochs.

    A log does not name stages; see `_begins`.
    """
    try:
        lines = read_log(record.folder, record.digests.get(TRAIN_LOG))
    except (OSError, ValueError) as error:
        lacking.append(f"No training curve of {record.folder}: {error}.")
        return {}
    if not lines:
        return {}
    begins = _begins(lines)
    thinned = {round(x) for x in np.linspace(0, len(lines) - 1, min(EPOCHS, len(lines)))}
    kept = [lines[n] for n in sorted(thinned.union(*({n - 1, n} for n in begins)))]
    terms = list(dict.fromkeys(name for line in kept for name in line if name not in ("epoch", "seconds")))[:TERMS]
    return {
        "epoch": [line["epoch"] for line in kept],
        "stages": [lines[n]["epoch"] for n in begins],
        "terms": {name: [short(line.get(name)) for line in kept] for name in terms},
    }


def _begins(lines: Sequence[Mapping[str, Any]]) -> list[int]:
    """Return where a further stage of the training begins: where the loss is made of other terms than in this stage.

    Passes may alternate between two losses, as WSCH's do: they are one stage, which the first of them begins.
    """
    begins: list[int] = []
    known = {frozenset(lines[0])}
    for n, terms in enumerate(map(frozenset, lines)):
        if terms not in known and n - 1 not in begins:
            begins.append(n)
            known = set()
        known.add(terms)
    return begins


def _run(record: Record, state: str, environments: list[Any], beside: Path) -> dict[str, Any]:
    """Return a run's provenance."""
    data, spec = record.data, record.spec
    environment = {k: v for k, v in data.get("environment", {}).items() if k not in ("finished", "features")}
    if environment not in environments:
        environments.append(environment)
    return {
        **{name: spec[name] for name in ("protocol", "method", "bits", "seed", "precision", "params")},
        "state": state,
        "reason": data["reason"],
        "id": data["id"],
        "synthetic": bool(data.get("synthetic")),
        "budget": data.get("budget"),
        "epochs": spec["budget"].get("epochs"),
        "changed": data.get("changed", {}),
        "tuned": tuned_in_words(how) if (how := words(data)) else "",
        "origin": data["method"].get("origin"),
        "fingerprint": data["method"].get("fingerprint"),
        "version": data.get("vhbench"),
        "selection": data.get("selection"),
        "features": data.get("environment", {}).get("features"),
        "finished": data.get("environment", {}).get("finished"),
        "gain": data.get("in_domain", {}).get("gain"),
        "environment": environments.index(environment),
        "link": quote(os.fsencode(Path(os.path.relpath((record.folder / RECORD).resolve(), beside)).as_posix())),
    }


def _without_record(states: Iterable[RunState], choice: Choice) -> list[dict[str, str]]:
    """Return the runs that were asked for or begun and have no record."""
    found = []
    for run in states:
        protocol, method, rest = run.folder.parts[-3:]
        bits = ([str(bits) for bits in choice.bits], rest.partition("b")[0])
        names = ((choice.protocols, protocol), (choice.methods, method), bits)
        if not (run.folder / RECORD).exists() and all(not wanted or name in wanted for wanted, name in names):
            found.append(
                {"state": run.state, "text": f"{protocol}/{method}/{rest}{f': {run.reason}' if run.reason else ''}"}
            )
    return found


def _style(method: str) -> dict[str, str]:
    found: dict[str, str] = style(method)
    return found
