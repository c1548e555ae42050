"""Tables as LaTeX: a `table` with booktabs rules, ready to be put into a paper."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from vhbench.report.layout import RowTable, TableCell, TableLine
from vhbench.report.narrow import column_groups
from vhbench.system.text import latex as escape

NARROW, WIDE = 229, 468  # points: a column and a page of `article` in two columns, the narrowest of the usual classes
HIGH = 500  # points of a page, less its caption
LINE, NOTE = 11.5, 9.5  # points: of a line, and of one of the notes
HEAD = 4  # lines: of what heads a table, and of its rules
LETTER = 4  # points: width of a character of the notes
BETWEEN = 6  # points between two columns
SIZE = 9.25  # points: \small, a little more than its fonts' 9, for bold numbers
NARROWS, WIDES = "ijlt.,:;!'()[]|I ", "mwMWQ%@+<>=±"  # characters that Computer Modern sets unlike a number


def latex(table: RowTable) -> str:
    r"""Return a table as a LaTeX `table` environment, `table*` where a column of two is too narrow; needs booktabs.

    Where there are several metrics, they head the code lengths. What is wider than a page becomes several tabulars, and
    what is higher than a page, with the notes below it, becomes several environments. Special characters are escaped;
    one that pdfLaTeX's default fonts do not have is written as [U+....].
    """
    parts = column_groups(table, lambda part: _width(part) <= WIDE)
    parts = parts or column_groups(table, lambda part: len(part.columns) == 1)
    ranks = ["Bold: best of a column, underlined: second"] if table.emphasised else []
    notes = [*parts[-1].notes, *ranks]
    environment, wide = ("table", NARROW) if max(map(_width, parts)) <= NARROW else ("table*", WIDE)
    below = NOTE * sum(len(note) + 2 for note in notes) * LETTER / wide
    floats = _floats([page for part in parts for page in _pages(part)], below)
    written = " ".join(f"{escape(note)}." for note in notes)
    texts = []
    for number, group in enumerate(floats):
        caption = f"{table.caption}{', continued' if number else ''}"
        last = rf"\par\smallskip{{\footnotesize\raggedright {written}\par}}"
        texts.append(_float(environment, caption, group, [last] if group is floats[-1] else []))
    return "\n".join([r"% needs \usepackage{booktabs}", *texts])


def _pages(part: RowTable) -> list[RowTable]:
    """Return a table in as many as its lines need pages."""
    most = int(HIGH / LINE) - HEAD
    return [replace(part, lines=part.lines[at : at + most]) for at in range(0, len(part.lines), most)]


def _floats(parts: Sequence[RowTable], below: float) -> list[list[RowTable]]:
    """Put tables together that fit a page; what stands below the last one may need a page of its own."""
    floats: list[list[RowTable]] = [[]]
    for part in parts:
        rest = below if part is parts[-1] else 0
        if floats[-1] and sum(map(_height, [*floats[-1], part])) + rest > HIGH:
            floats.append([])
        floats[-1].append(part)
    return floats if sum(map(_height, floats[-1])) + below <= HIGH else [*floats, []]


def _float(environment: str, caption: str, parts: Sequence[RowTable], notes: Sequence[str]) -> str:
    return "\n".join(
        [
            rf"\begin{{{environment}}}",
            r"\centering",
            rf"\caption{{{escape(caption)}.}}",
            r"\small",
            rf"\setlength{{\tabcolsep}}{{{BETWEEN / 2:.0f}pt}}",
            "\n\\par\\medskip\n".join(map(_tabular, parts)),
            *notes,
            rf"\end{{{environment}}}",
        ]
    )


def _height(table: RowTable) -> float:
    """Return about how high a table is set, in points."""
    return LINE * (len(table.lines) + HEAD)


def _width(table: RowTable) -> float:
    """Return about how wide a table is set, in points."""
    columns = [max(_text_width(line.label + line.marks) for line in table.lines), _text_width("seeds")]
    if table.lettered:
        columns.append(_text_width("#"))
    for number, (_, heading) in enumerate(table.columns):
        cells = [line.cells[number] for line in table.lines]
        columns.append(max(_text_width(heading), *map(_cell_width, cells)))
    if table.remarked:
        columns.append(max(_text_width(line.remark) for line in table.lines))
    return sum(columns) + BETWEEN * len(columns)


def _cell_width(cell: TableCell) -> float:
    spread = f" ± {cell.sd}" if cell.sd else ""
    interval = f" {cell.ci.replace('-', '+')}" if cell.ci else ""  # a minus is as wide as a plus
    main = cell.text.replace("-", "+")
    return _text_width(f"{main}{spread}{interval}") + 0.7 * _text_width(cell.superscript.replace("-", "+") + cell.flags)


def _text_width(text: str) -> float:
    """Return about how wide a text is set, in points."""
    ems = sum(0.3 if c in NARROWS else 0.8 if c in WIDES else 0.7 if c.isupper() else 0.5 for c in text)
    return SIZE * ems


def _tabular(table: RowTable) -> str:
    lettered = "l" if table.lettered else ""
    alignment = f"{lettered}lr{'l' * (len(table.columns) + table.remarked)}"
    ours = [_line(line, table) for line in table.lines if not (line.published or line.reference)]
    thin = [_line(line, table) for line in table.lines if line.reference]
    quoted = [_line(line, table) for line in table.lines if line.published]
    blocks = [block for block in (ours, thin, quoted) if block]
    return "\n".join(
        [
            rf"\begin{{tabular}}{{{alignment}}}",
            r"\toprule",
            *_head(table),
            *(line for block in blocks for line in (r"\midrule", *block)),
            r"\bottomrule",
            r"\end{tabular}",
        ]
    )


def _head(table: RowTable) -> list[str]:
    left = [*([r"\#"] if table.lettered else []), "method", "seeds"]
    bits = [*(heading for _, heading in table.columns), *(["remark"] if table.remarked else [])]
    if len({metric for metric, _ in table.columns}) == 1:
        return [_joined([*left, *bits])]
    spans, rules, start = [], [], len(left) + 1
    for metric in dict.fromkeys(metric for metric, _ in table.columns):
        width = sum(other == metric for other, _ in table.columns)
        spans.append(rf"\multicolumn{{{width}}}{{c}}{{{escape(metric)}}}")
        rules.append(rf"\cmidrule(lr){{{start}-{start + width - 1}}}")
        start += width
    return [_joined([*([""] * len(left)), *spans]), "".join(rules), _joined([*left, *bits])]


def _line(line: TableLine, table: RowTable) -> str:
    label = escape(line.label) + escape(line.marks)
    label = rf"\textit{{{label}}}" if line.reference else label
    left = [*([line.letter] if table.lettered else []), label, escape(line.seeds)]
    return _joined([*left, *map(_cell, line.cells), *([escape(line.remark)] if table.remarked else [])])


def _cell(cell: TableCell) -> str:
    mean = {1: rf"\textbf{{{cell.text}}}", 2: rf"\underline{{{cell.text}}}"}.get(cell.rank, cell.text)
    above = {"": "", "+": "$^{+}$", "-": "$^{-}$"}.get(cell.superscript, rf"\textsuperscript{{{cell.superscript}}}")
    flags = escape(cell.flags).replace("?", r"\textsuperscript{?}").replace("!", r"\textsuperscript{!}")
    spread = rf" $\pm$ {cell.sd}" if cell.sd else ""
    interval = f" {escape(cell.ci)}" if cell.ci else ""
    return f"{_minus(mean)}{above}{flags}{spread}{_minus(interval)}"


def _minus(text: str) -> str:
    """Return text with hyphens before numbers as minus signs."""
    return re.sub(r"-(?=\d)", "$-$", text)


def _joined(cells: list[str]) -> str:
    text = " & ".join(cells)
    guard = "{}" if text.startswith(("[", "*")) else ""  # after the \\ of the line before these would belong to it
    return rf"{guard}{text} \\"
