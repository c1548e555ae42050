"""Tables as LaTeX: a `table` with booktabs rules, ready to be put into a paper."""

from __future__ import annotations

import re

from vhbench.report.layout import RowTable, TableCell, TableLine
from vhbench.report.narrow import column_groups
from vhbench.system.text import latex as escape

NARROW, WIDE = 240, 490  # points: a column and a page of two-column classes
CHARACTER, BETWEEN = 4.3, 6  # points, in \small: of a character of a number, and between two columns


def latex(table: RowTable) -> str:
    r"""Return a table as a LaTeX `table` environment, `table*` where a column of two is too narrow; needs booktabs.

    Where there are several metrics, they head the code lengths. What is wider than a page becomes several tabulars in
    one environment. Special characters are escaped; one that pdfLaTeX's default fonts do not have is written as
    [U+....].
    """
    parts = column_groups(table, lambda part: _width(part) <= WIDE)
    parts = parts or column_groups(table, lambda part: len(part.columns) == 1)
    ranks = ["Bold: best of a column, underlined: second"] if table.emphasised else []
    environment = "table" if max(map(_width, parts)) <= NARROW else "table*"
    return "\n".join(
        [
            r"% needs \usepackage{booktabs}",
            rf"\begin{{{environment}}}",
            r"\centering",
            rf"\caption{{{escape(table.caption)}.}}",
            r"\small",
            rf"\setlength{{\tabcolsep}}{{{BETWEEN / 2:.0f}pt}}",
            "\n\\par\\medskip\n".join(map(_tabular, parts)),
            *(rf"\par\smallskip{{\footnotesize {escape(note)}.\par}}" for note in (*parts[-1].notes, *ranks)),
            rf"\end{{{environment}}}",
        ]
    )


def _width(table: RowTable) -> float:
    """Return about how wide a table is set, in points."""
    labels = [f"{line.letter} {line.label}" for line in table.lines]
    columns = [max(map(len, labels)), len("seeds")]
    for number, (_, heading) in enumerate(table.columns):
        cells = [line.cells[number] for line in table.lines]
        columns.append(max(len(heading), *(len(f"{c.text}{c.superscript}  {c.sd} {c.ci}") for c in cells)))
    if table.remarked:
        columns.append(max(len(line.remark) for line in table.lines))
    return CHARACTER * sum(columns) + BETWEEN * (len(columns) + 1)


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
