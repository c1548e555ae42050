"""Printing rows: terminal, Markdown and LaTeX tables, CSV and JSON."""

from __future__ import annotations

import csv
import io
import itertools
import json
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import click
from tabulate import tabulate

from vhbench.report.latex import latex
from vhbench.report.layout import RowTable, TableCell, TableLine, tables
from vhbench.report.narrow import column_groups
from vhbench.report.pairs import COLUMNS as PAIR_COLUMNS
from vhbench.report.pairs import pair_list, pair_tables
from vhbench.report.rows import Row
from vhbench.report.shown import Names, renamed, short_labels
from vhbench.report.written import AS_FRACTIONS, Form
from vhbench.system.text import csv_cell, markdown, plain

FORMATS = ("table", "md", "csv", "latex", "json")
COLUMNS = (
    "protocol", "split", "method", "label", "bits", "seeds", "metric", "value", "sd", "ci_low", "ci_high",
    "better_than", "worse_than", "p", "synthetic", "queries", "asked", "stale", "problems", "differs", "source",
    "beside", "warnings", "reference", "difference", "difference_low", "difference_high", "folds", "tuned",
)  # fmt: skip
SUPERSCRIPTS = str.maketrans(
    "+-abcdefghijklmnoprstuvwxyzABDEGHI0123456789", "⁺⁻ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻᴬᴮᴰᴱᴳᴴᴵ⁰¹²³⁴⁵⁶⁷⁸⁹"
)


def render_rows(
    rows: Sequence[Row],
    form: str,
    *,
    written: Form = AS_FRACTIONS,
    pairs: bool = False,
    width: int | None = None,
) -> str:
    """Return rows as text.

    The table for a terminal has the best value of a column in bold and the second underlined by control sequences;
    `click.echo` removes them where the output is no terminal.

    Args:
        rows: sorted as `report.rows.rows` returns them; with intervals, tests and published rows if wanted.
        form: one of FORMATS.
        written: how the numbers of tables are written; CSV and JSON have all their digits.
        pairs: each method against each other one, instead of their values; the rows have tests of all pairs.
        width: of the terminal in characters, for the table alone; None: any.

    Raises:
        UsageError: tests of all pairs of more rows than can be marked.
    """
    if form in ("csv", "json"):
        lines = pair_list(rows) if pairs else [row.to_json() for row in rows]
        if form == "json":
            return json.dumps(lines, indent=1, allow_nan=False)
        return _csv(PAIR_COLUMNS, lines) if pairs else _csv(COLUMNS, [_cells(row) for row in rows])
    rows, settings = _with_marks(rows) if form == "latex" else (rows, {})
    laid_out = pair_tables(rows, written) if pairs else tables(rows, written)
    laid_out = [replace(table, notes=(*table.notes, *_meanings(table, settings))) for table in laid_out]
    writers: dict[str, Callable[[RowTable], str]] = {
        "table": partial(_terminal, width=width), "md": _markdown, "latex": latex
    }  # fmt: skip
    return "\n\n".join(map(writers[form], laid_out))


def _with_marks(rows: Sequence[Row]) -> tuple[list[Row], dict[str, str]]:
    """Put a number for settings that are too much for a paper's table, and return what each number means."""
    labels = {row.label: row.method for row in rows if row.ours}
    numbers = (str(number).translate(SUPERSCRIPTS) for number in itertools.count(1))
    short, settings = short_labels(((m, label) for label, m in labels.items()), {one: one for one in labels}, numbers)
    return renamed(rows, Names(given=short)), settings


def _meanings(table: RowTable, settings: Mapping[str, str]) -> list[str]:
    """Say what the numbers behind the names of a table mean."""
    ends = ([mark for mark in settings if line.label.endswith(mark)] for line in table.lines)
    used = {max(marks, key=len) for marks in ends if marks}  # ¹¹ ends in ¹ too
    texts = [f"{mark} {plain(text)}" for mark, text in settings.items() if mark in used]
    return ["; ".join(texts)] if texts else []


def _terminal(table: RowTable, width: int | None = None) -> str:
    def mean(cell: TableCell) -> str:
        styles = {1: click.style(cell.text, bold=True), 2: click.style(cell.text, underline=True)}
        return styles.get(cell.rank, cell.text)

    def grid(part: RowTable) -> str:
        return _grid(part, "simple", mean, str, partial(click.style, dim=True))

    def fits(part: RowTable) -> bool:
        return width is None or max(len(click.unstyle(line)) for line in grid(part).splitlines()) <= width

    parts = column_groups(table, fits)
    body = [grid(part) for part in parts] if parts else [_stacked(line, table, mean, width) for line in table.lines]
    notes = parts[-1].notes if parts else table.notes
    return "\n\n".join([table.title, *body, "\n".join(_wrapped(note, width) for note in notes)])


def _stacked(line: TableLine, table: RowTable, mean: Callable[[TableCell], str], width: int | None) -> str:
    """Return a line as a block of its own, a number below the other."""
    head = f"{line.letter} {line.label}{line.marks}".strip() + (f" ({line.seeds} seeds)" if line.seeds else "")
    cells = [f"  {name}: {_cell(cell, mean)}" for name, cell in zip(table.headings, line.cells, strict=True)]
    remark = [f"  {line.remark}"] if line.remark else []
    return "\n".join(_wrapped(text, width) for text in (head, *cells, *remark))


def _wrapped(text: str, width: int | None) -> str:
    """Break a text between its words, never inside a number."""
    if width is None or len(text) <= width:
        return text
    indent = text[: len(text) - len(text.lstrip())] + "  "
    options = {"break_long_words": False, "break_on_hyphens": False, "subsequent_indent": indent}
    return textwrap.fill(text, width, **options)  # type: ignore[arg-type]


def _markdown(table: RowTable) -> str:
    def mean(cell: TableCell) -> str:
        return {1: f"**{cell.text}**", 2: f"<ins>{cell.text}</ins>"}.get(cell.rank, cell.text)

    ranks = ["Bold: best of a column, underlined: second"] if table.emphasised else []
    notes = [markdown(note) for note in [*table.notes, *ranks]]

    def thin(text: str) -> str:
        return f"*{text}*"

    return "\n\n".join([f"**{markdown(table.title)}**", _grid(table, "pipe", mean, markdown, thin), *notes])


def _grid(
    table: RowTable,
    style: str,
    mean: Callable[[TableCell], str],
    escaped: Callable[[str], str],
    thin: Callable[[str], str],
) -> str:
    lines = []
    for line in table.lines:
        label = escaped(line.label) + line.marks
        letter = [line.letter] if table.lettered else []
        remark = [escaped(line.remark)] if table.remarked else []
        cells = [*letter, label, line.seeds, *(_cell(cell, mean) for cell in line.cells), *remark]
        lines.append([thin(cell) if cell and line.reference else cell for cell in cells])
    headers = [*(["#"] if table.lettered else []), "method", "seeds", *map(escaped, table.headings)]
    headers += ["remark"] if table.remarked else []
    left = ["left"] * (len(table.columns) + table.remarked)  # means below each other, whatever follows
    align = (*(["left"] if table.lettered else []), "left", "right", *left)
    text: str = tabulate(lines, headers, tablefmt=style, colalign=align, disable_numparse=True)
    return text


def _cell(cell: TableCell, mean: Callable[[TableCell], str]) -> str:
    marked = f"{mean(cell)}{cell.superscript.translate(SUPERSCRIPTS)}{cell.flags}"
    return " ".join(filter(None, [marked, f"± {cell.sd}" if cell.sd else "", cell.ci]))


def _csv(columns: Sequence[str], lines: Iterable[Mapping[str, Any]]) -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for line in lines:
        writer.writerow({name: csv_cell(value) for name, value in line.items()})
    return buffer.getvalue().rstrip("\n")


def _cells(row: Row) -> dict[str, Any]:
    """Return a row as the cells of a CSV line."""
    significant = [test for test in row.tests if test.significant]
    low, high = row.ci or (None, None)
    only = row.tests[0] if len(row.tests) == 1 else None
    difference_low, difference_high = (only and only.ci) or (None, None)
    return {
        **vars(row),
        "seeds": " ".join(map(str, row.seeds)),
        "ci_low": low,
        "ci_high": high,
        "better_than": "; ".join(test.against for test in significant if test.difference > 0),
        "worse_than": "; ".join(test.against for test in significant if test.difference < 0),
        "problems": "; ".join(row.problems),
        "p": only.p if only else None,
        "source": row.published.source if row.published else None,
        "warnings": "; ".join(row.warnings),
        "tuned": "; ".join(row.tuned),
        "difference": only.difference if only else None,
        "difference_low": difference_low,
        "difference_high": difference_high,
    }
