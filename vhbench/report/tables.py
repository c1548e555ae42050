"""Printing rows: terminal and Markdown tables, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from tabulate import tabulate

from vhbench.report.rows import Row

T = TypeVar("T")

FORMATS = ("table", "md", "csv", "json")
COLUMNS = ("protocol", "split", "method", "label", "bits", "seeds", "metric", "value", "sd", "synthetic", "queries")


def render(rows: Sequence[Row], form: str) -> str:
    """Return rows as text.

    Args:
        rows: sorted as `report.rows.rows` returns them.
        form: one of FORMATS.
    """
    writers: dict[str, Callable[[Sequence[Row]], str]] = {
        "table": lambda rows: _tables(rows, "simple"),
        "md": lambda rows: _tables(rows, "pipe"),
        "csv": _csv,
        "json": lambda rows: json.dumps([row.to_json() for row in rows], indent=1, allow_nan=False),
    }
    return writers[form](rows)


def _tables(rows: Sequence[Row], style: str) -> str:
    """Return one table a protocol and split: methods down, metrics and code lengths across."""
    texts = []
    for protocol, split in _unique((row.protocol, row.split) for row in rows):
        part = [row for row in rows if (row.protocol, row.split) == (protocol, split)]
        main = split == protocol.partition(" (data ")[0]
        title = protocol if main else f"{protocol}, split {split}"
        if part[0].synthetic:
            title += " (synthetic features)"
        heading = f"**{title}**" if style == "pipe" else title
        texts.append("\n\n".join([heading, _table(part, style), _notes(part)]))
    return "\n\n".join(texts)


def _table(rows: Sequence[Row], style: str) -> str:
    metrics = _unique(row.metric for row in rows)
    columns = sorted({(row.metric, row.bits) for row in rows}, key=lambda c: (metrics.index(c[0]), c[1]))
    cells = {(row.label, row.metric, row.bits): row for row in rows}
    lines = []
    for label in _unique(row.label for row in rows):
        found = [cells.get((label, metric, bits)) for metric, bits in columns]
        seeds = sorted({len(row.seeds) for row in found if row})
        lines.append([label, "-".join(map(str, dict.fromkeys([seeds[0], seeds[-1]]))), *map(_cell, found)])
    short = {metric: metric.partition("[")[0] for metric in metrics}
    names = short if len(set(short.values())) == len(metrics) else {metric: metric for metric in metrics}
    headers = [f"{names[metric]}, {bits} bits" if len(metrics) > 1 else f"{bits} bits" for metric, bits in columns]
    align = ("left", "right", *["right"] * len(columns))
    text: str = tabulate(lines, ["method", "seeds", *headers], tablefmt=style, colalign=align, disable_numparse=True)
    return text


def _cell(row: Row | None) -> str:
    if row is None:
        return ""
    if row.value is None:
        return "undefined"
    return f"{row.value:.3f}" + (f" ± {row.sd:.3f}" if row.sd is not None else "")


def _notes(rows: Sequence[Row]) -> str:
    """Say what the numbers are: full metric names, queries, seeds."""
    metrics = ", ".join(_unique(row.metric for row in rows))
    queries = "-".join(map(str, dict.fromkeys([min(r.queries for r in rows), max(r.queries for r in rows)])))
    spread = "; mean ± standard deviation over seeds" if any(row.sd is not None for row in rows) else ""
    return f"{metrics}; {queries} queries{spread}"


def _csv(rows: Sequence[Row]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        values = [getattr(row, name) for name in COLUMNS]
        values[COLUMNS.index("seeds")] = " ".join(map(str, row.seeds))
        writer.writerow("" if value is None else value for value in values)
    return buffer.getvalue().rstrip("\n")


def _unique(values: Iterable[T]) -> list[T]:
    return list(dict.fromkeys(values))
