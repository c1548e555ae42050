"""Tables as LaTeX: a `table` with booktabs rules, ready to be put into a paper."""

from __future__ import annotations

from vhbench.report.layout import RowTable, TableCell, TableLine
from vhbench.system.text import latex as escape


def latex(table: RowTable) -> str:
    r"""Return a table as a LaTeX `table` environment; the document must load booktabs.

    Where there are several metrics, they head the code lengths. Special characters are escaped; one that pdfLaTeX's
    default fonts do not have is written as [U+....].
    """
    lettered = "l" if table.lettered else ""
    alignment = f"{lettered}lr{'l' * (len(table.columns) + table.remarked)}"
    ours = [_line(line, table) for line in table.lines if not (line.published or line.reference)]
    thin = [_line(line, table) for line in table.lines if line.reference]
    quoted = [_line(line, table) for line in table.lines if line.published]
    ranks = ["Bold: best of a column, underlined: second"] if table.emphasised else []
    first, *others = [*table.notes, *ranks]
    return "\n".join(
        [
            r"% needs \usepackage{booktabs}",
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{escape(table.title)}: {escape(first)}.}}",
            rf"\begin{{tabular}}{{{alignment}}}",
            r"\toprule",
            *_head(table),
            r"\midrule",
            *ours,
            *([r"\midrule"] if thin else []),
            *thin,
            *([r"\midrule"] if quoted else []),
            *quoted,
            r"\bottomrule",
            r"\end{tabular}",
            *(rf"\par\smallskip{{\footnotesize {escape(note)}.\par}}" for note in others),
            r"\end{table}",
        ]
    )


def _head(table: RowTable) -> list[str]:
    left = [*([r"\#"] if table.lettered else []), "method", "seeds"]
    bits = [*(f"{bits} bits" for _, bits in table.columns), *(["remark"] if table.remarked else [])]
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
    return f"{mean}{above}{flags}{spread}{' ' + escape(cell.ci) if cell.ci else ''}"


def _joined(cells: list[str]) -> str:
    text = " & ".join(cells)
    guard = "{}" if text.startswith(("[", "*")) else ""  # after the \\ of the line before these would belong to it
    return rf"{guard}{text} \\"
