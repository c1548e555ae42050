"""Printing what `vhbench reproduce` found: terminal and Markdown tables, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import fields

from tabulate import tabulate

from vhbench.report.paper.lines import GAIN, TOLERANCE_TEXT, Line
from vhbench.system.text import csv_cell, markdown, plain

FORMATS = ("table", "md", "csv", "json")
COLUMNS = tuple(field.name for field in fields(Line))
STATUSES = {  # -> its word for several
    "reproduced": "reproduced",
    "differs": "differ",
    "not comparable": "not comparable",
    "not measured": "not measured",
}


def render_lines(lines: Sequence[Line], title: str, form: str) -> str:
    """Return numbers and claims as text.

    Args:
        lines: as `vhbench.report.paper.lines.lines_of` returns them.
        title: of the paper's table.
        form: one of FORMATS.
    """
    if form == "json":
        return json.dumps([line.to_json() for line in lines], indent=1, allow_nan=False)
    if form == "csv":
        return _csv(lines)
    style = "pipe" if form == "md" else "simple"
    numbers = [line for line in lines if line.kind == "number"]
    claims = [line for line in lines if line.kind == "claim"]
    parts = [f"**{markdown(title)}**" if form == "md" else plain(title)]
    if numbers:
        parts += [_numbers(numbers, style), _notes(numbers)]
    if claims:
        parts += [_claims(claims, style)]
    return "\n\n".join(part for part in [*parts, summary(lines)] if part)


def summary(lines: Sequence[Line]) -> str:
    """Return in a sentence how many published numbers were reproduced and how many claims held."""
    statuses = [line.status.partition(":")[0] for line in lines if line.published is not None and line.kind == "number"]
    counts, verdicts = Counter(statuses), Counter(_in_short(line.status) for line in lines if line.kind == "claim")
    numbers = ", ".join(f"{counts[status]} {word}" for status, word in STATUSES.items())
    claims = ", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items()))
    texts = [f"{_count(len(statuses), 'published number')}: {numbers}" if statuses else "no published numbers"]
    return "; ".join([*texts, *([f"{_count(verdicts.total(), 'claim')}: {claims}"] if claims else [])]) + "."


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' if number != 1 else ''}"


def _in_short(verdict: str) -> str:
    words = verdict.partition(" (")[0]
    return "held in part" if words.startswith("held in") else words


def _numbers(lines: Sequence[Line], style: str) -> str:
    over = any(line.over for line in lines)
    headers = ["method", "bits", "metric", "published", "ours", "difference", "status"]
    table = []
    for line in lines:
        metric = line.metric.replace(GAIN, "gain of map@") + (f" over {line.over}" if over and line.over else "")
        cells = [line.method, line.bits, metric, _value(line, line.published) + ("?" if line.doubt else "")]
        spread = f" ± {_value(line, line.sd)}" if line.sd is not None else ""
        cells += [_value(line, line.ours) + spread, _signed(line, line.difference), line.status]
        moved = line.published_on and line.published_on != line.protocol
        table.append([f"{line.protocol} for {line.published_on}" if moved else line.protocol, *cells])
    return _table(table, ["data set", *headers], style)


def _claims(lines: Sequence[Line], style: str) -> str:
    table = []
    for line in lines:
        cells = [f"{line.method} > {line.over}", line.bits, line.metric, line.status, line.source]
        if line.metric.endswith(("above", "below")):
            metric, _, sign = line.metric.rpartition(" ")
            cells[:3] = [f"{line.method}: {line.published_on} {sign} in-domain", line.bits, metric]
        table.append([line.protocol, *cells])
    headers = ["published order", "bits", "by", "ours", "source"]
    return _table(table, ["data set", *headers], style)


def _table(lines: Sequence[Sequence[str]], headers: Sequence[str], style: str) -> str:
    harmless = markdown if style == "pipe" else plain
    cells = [[harmless(str(cell)) for cell in line] for line in lines]
    text: str = tabulate(cells, headers, tablefmt=style, disable_numparse=True)
    return text


def _notes(lines: Sequence[Line]) -> str:
    """Say how ours was measured, what counts as reproduced, and what the marks mean."""
    found = dict.fromkeys(line.measured_as for line in lines if line.measured_as.startswith("map@"))
    options = list(dict.fromkeys(name.partition("[")[2].rstrip("]") for name in found))
    notes = [f"ours: map@K[{text}], mean over seeds" for text in options]
    if any(line.published is not None for line in lines):
        notes.append(TOLERANCE_TEXT)
    if any(line.doubt for line in lines):
        notes.append(
            "? the paper contradicts this number itself, it cannot be, or its setting is inferred or not the released "
            "one: results/published/README.md"
        )
    return "\n".join(notes)


def _csv(lines: Sequence[Line]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    for line in lines:
        values = {**vars(line), "seeds": " ".join(map(str, line.seeds))}
        writer.writerow("" if value is None else csv_cell(value) for value in values.values())
    return buffer.getvalue().rstrip("\n")


def _value(line: Line, value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.1f} %" if line.metric.startswith(GAIN) else f"{value:.3f}"


def _signed(line: Line, value: float | None) -> str:
    text = _value(line, value).replace("%", "points")
    return f"+{text}" if value is not None and value >= 0 else text
