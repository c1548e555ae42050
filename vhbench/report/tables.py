"""Printing rows: terminal, Markdown and LaTeX tables, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence

import click
from tabulate import tabulate

from vhbench.report.latex import latex
from vhbench.report.layout import RowTable, TableCell, tables
from vhbench.report.rows import Row
from vhbench.system.text import csv_cell, markdown

FORMATS = ("table", "md", "csv", "latex", "json")
COLUMNS = (
    "protocol", "split", "method", "label", "bits", "seeds", "metric", "value", "sd", "ci_low", "ci_high",
    "better_than", "worse_than", "p", "synthetic", "queries", "asked", "stale", "problems", "differs", "source",
    "beside", "warnings", "reference", "folds",
)  # fmt: skip
SUPERSCRIPTS = str.maketrans("+-abcdefghijklmnoprstuvwxyzABDEGHI", "⁺⁻ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻᴬᴮᴰᴱᴳᴴᴵ")


def render_rows(rows: Sequence[Row], form: str) -> str:
    """Return rows as text.

    The table for a terminal has the best value of a column in bold and the second underlined by control sequences;
    `click.echo` removes them where the output is no terminal.

    Args:
        rows: sorted as `report.rows.rows` returns them; with intervals, tests and published rows if wanted.
        form: one of FORMATS.

    Raises:
        UsageError: tests of all pairs of more rows than can be marked.
    """
    writers: dict[str, Callable[[Sequence[Row]], str]] = {
        "table": lambda rows: "\n\n".join(map(_terminal, tables(rows))),
        "md": lambda rows: "\n\n".join(map(_markdown, tables(rows))),
        "latex": lambda rows: "\n\n".join(map(latex, tables(rows))),
        "csv": _csv,
        "json": lambda rows: json.dumps([row.to_json() for row in rows], indent=1, allow_nan=False),
    }
    return writers[form](rows)


def _terminal(table: RowTable) -> str:
    def mean(cell: TableCell) -> str:
        styles = {1: click.style(cell.text, bold=True), 2: click.style(cell.text, underline=True)}
        return styles.get(cell.rank, cell.text)

    def thin(text: str) -> str:
        return click.style(text, dim=True)

    return "\n\n".join([table.title, _grid(table, "simple", mean, str, thin), "\n".join(table.notes)])


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


def _csv(rows: Sequence[Row]) -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        significant = [test for test in row.tests if test.significant]
        low, high = row.ci or (None, None)
        derived = {
            "seeds": " ".join(map(str, row.seeds)),
            "ci_low": low,
            "ci_high": high,
            "better_than": "; ".join(test.against for test in significant if test.difference > 0),
            "worse_than": "; ".join(test.against for test in significant if test.difference < 0),
            "problems": "; ".join(row.problems),
            "p": row.tests[0].p if len(row.tests) == 1 else None,
            "source": row.published.source if row.published else None,
            "warnings": "; ".join(row.warnings),
        }
        writer.writerow({name: csv_cell(value) for name, value in {**vars(row), **derived}.items()})
    return buffer.getvalue().rstrip("\n")
