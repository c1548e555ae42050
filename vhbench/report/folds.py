"""Rows of several splits of one protocol averaged: the mean over the splits, each the mean over its seeds."""

from __future__ import annotations

import logging
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import replace

from vhbench.report.rows import Row
from vhbench.runs.groups import Choice, FoldOf, Group, fold_of

log = logging.getLogger(__name__)


def averaged(rows: Sequence[Row], alike: Iterable[Group], choice: Choice) -> list[Row]:
    """Put the mean over the splits of a protocol in the place of their rows, unless a split was asked for by name.

    The mean weighs every split alike; its sd is that over the splits (n - 1). Intervals and tests are those of a split
    and have no mean. Splits that were run on several data are left as they are, and a warning says so.

    Args:
        rows: sorted as `report.rows.rows` returns them, references among them.
        alike: the runs that they came from.
        choice: what was asked for.
    """
    folds = {group.protocol: fold for group in alike if (fold := fold_of(group.records[0]))}
    mixed = {fold.name for protocol, fold in folds.items() if protocol.endswith(")")}
    for name in sorted(mixed):
        log.warning("%s is not averaged over its splits: some were run on several data", name)
    shown = {p: f for p, f in folds.items() if f.name not in mixed and p not in choice.protocols}
    if untold := sorted(
        {shown[row.protocol].name for row in rows if row.protocol in shown and (row.ours and (row.tests or row.ci))}
    ):
        log.warning("intervals and tests are of one split each, as --protocol %s-fold1 shows them", untold[0])
    parts: dict[tuple[str, str, int, str], list[Row]] = {}
    for row in rows:
        if row.protocol in shown:
            parts.setdefault((shown[row.protocol].name, row.label, row.bits, row.metric), []).append(row)
    found: list[Row] = []
    done = set()
    for row in rows:
        fold = shown.get(row.protocol)
        if fold is None:
            found.append(row)
        elif fold.name not in done:
            done.add(fold.name)
            found += [_mean(part, fold) for (name, *_), part in parts.items() if name == fold.name]
    return found


def spread_note(rows: Sequence[Row]) -> str:
    """Say over how many splits the rows of a table are averaged; "" where they are not.

    Where that is not the same for all lines, those with fewer are named.
    """
    ours = [row for row in rows if row.ours and row.folds]
    if not ours:
        return ""
    count = ours[0].folds_of
    fewer = dict.fromkeys(f"{row.label} over {row.folds}" for row in ours if row.folds < count)
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
        folds=len(part),
        folds_of=fold.count,
    )
