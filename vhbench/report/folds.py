"""Rows of several splits of one protocol averaged: the mean over the splits, each the mean over its seeds."""

from __future__ import annotations

import logging
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import replace

from vhbench.report.rows import Row
from vhbench.report.written import at_lengths
from vhbench.runs.groups import Choice, FoldOf, Group, fold_of
from vhbench.system.text import plain

log = logging.getLogger(__name__)


def folds_to_average(alike: Iterable[Group], choice: Choice) -> tuple[dict[str, FoldOf], list[str]]:
    """Return which protocols are splits whose mean is shown, and which means cannot be had.

    A split that was asked for by name counts in a mean only where the protocol of all splits was asked for too.

    Args:
        alike: runs.
        choice: what was asked for.

    Returns:
        Protocol -> split of; and a sentence for each protocol whose splits were run on several data or are not of one
        division, or whose name has runs of its own too.
    """
    alike = list(alike)
    folds = {group.protocol: fold for group in alike if (fold := fold_of(group.records[0]))}
    folds = {p: fold for p, fold in folds.items() if not choice.protocols or fold.name in choice.protocols}
    names = {fold.name for fold in folds.values()}
    mixed = {fold.name for protocol, fold in folds.items() if protocol.endswith(")")}
    both = {name for group in alike if (name := group.spec["protocol"]) in names}
    counts = {name: sorted({fold.count for fold in folds.values() if fold.name == name}) for name in names}
    reasons = {
        **{name: f"some are of {several[0]}, some of {several[-1]}" for name, several in counts.items() if several[1:]},
        **dict.fromkeys(both, "its name has runs of one split too"),
        **dict.fromkeys(mixed, "some were run on several data"),
    }
    lacking = [f"{name} is not averaged over its splits: {reasons[name]}" for name in sorted(reasons)]
    return {protocol: fold for protocol, fold in folds.items() if fold.name not in reasons}, lacking


def averaged(rows: Sequence[Row], alike: Iterable[Group], choice: Choice) -> list[Row]:
    """Put the mean over the splits of a protocol in the place of their rows, before those that were asked for by name.

    The mean weighs every split alike; its sd is that over the splits (n - 1). A split where no query could be scored
    does not count. Intervals and tests are those of a split and have no mean. Splits that cannot be averaged are left
    as they are, and a warning says so.

    Args:
        rows: sorted as `report.rows.rows` returns them, references among them.
        alike: the runs that they came from.
        choice: what was asked for.
    """
    folds, lacking = folds_to_average(alike, choice)
    for text in lacking:
        log.warning("%s", text)
    if untold := sorted(
        {folds[row.protocol].name for row in rows if row.protocol in folds and (row.ours and (row.tests or row.ci))}
    ):
        log.warning("intervals and tests are of one split each, as --protocol %s-fold1 shows them", untold[0])
    parts: dict[tuple[str, str, int, str], list[Row]] = {}
    for row in rows:
        if row.protocol in folds:
            parts.setdefault((folds[row.protocol].name, row.label, row.bits, row.metric), []).append(row)
    found: list[Row] = []
    done = set()
    for row in rows:
        fold = folds.get(row.protocol)
        if fold and fold.name not in done:
            done.add(fold.name)
            found += [_mean(part, fold) for (name, *_), part in parts.items() if name == fold.name]
        if not fold or row.protocol in choice.protocols:
            found.append(row)
    return found


def spread_note(rows: Sequence[Row]) -> str:
    """Say over how many splits the rows of a table are averaged; "" where they are not.

    Where that is not the same for all, those with fewer are named.
    """
    ours = [row for row in rows if row.ours and row.folds]
    if not ours:
        return ""
    count = ours[0].folds_of
    fewer = [
        f"{plain(label)}{at} over {folds}"
        for folds in sorted({row.folds for row in ours} - {count}, reverse=True)
        for label, at in at_lengths([row for row in ours if row.folds == folds], ours).items()
    ]
    lacking = f" (yet {', '.join(fewer)})" if fewer else ""
    spread = "mean ± standard deviation" if any(row.sd is not None for row in ours) else "mean"
    seeds = ", each the mean over its seeds" if any(len(row.seeds) > 1 for row in ours) else ""
    return f"; {spread} over {count} splits{lacking}{seeds}"


def _mean(part: Sequence[Row], fold: FoldOf) -> Row:
    values = [row.value for row in part if row.value is not None]
    counts = [row.queries for row in part if row.queries is not None]
    asked = [row.asked for row in part if row.asked is not None]
    return replace(
        part[0],
        protocol=fold.name,
        split=fold.name,
        seeds=tuple(sorted({seed for row in part for seed in row.seeds})),
        value=statistics.fmean(values) if values else None,
        sd=statistics.stdev(values) if len(values) > 1 and part[0].ours else None,
        queries=sum(counts) if counts else None,
        asked=sum(asked) if len(asked) == len(part) else None,
        stale=any(row.stale for row in part),
        problems=tuple(dict.fromkeys(text for row in part for text in row.problems)),
        warnings=tuple(dict.fromkeys(text for row in part for text in row.warnings)),
        differs="",
        ci=None,
        tests=(),
        tuned=tuple(dict.fromkeys(text for row in part for text in row.tuned)),
        folds=len(values) or len(part),
        folds_of=fold.count,
    )
