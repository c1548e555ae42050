"""Rows laid out as tables: lines, cells with their marks, and the notes that explain them; every writer starts here."""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass, replace

from vhbench.errors import UsageError
from vhbench.report.beside import differing
from vhbench.report.notes import (
    BETTER,
    DOUBTED,
    MISTRUSTED,
    OTHER_CONVENTION,
    PROBLEM,
    STALE,
    WORSE,
    baseline_of,
    notes_of,
)
from vhbench.report.rows import Row
from vhbench.report.written import AS_FRACTIONS, Form, in_words, span, unique
from vhbench.system.text import plain

LETTERS = string.ascii_lowercase.replace("q", "") + "ABDEGHI"  # q is the letter that Unicode has no superscript of


@dataclass(frozen=True)
class TableCell:
    """One number as it is printed.

    Attributes:
        text: the mean; "undefined" where no query could be scored, "not tested" where there is no difference, empty
            where nothing was run.
        rank: 1 for the best of ours in the column, 2 for the next, else 0.
        superscript: BETTER, WORSE, or the letters of the lines that this one beats.
        flags: OTHER_CONVENTION, DOUBTED, MISTRUSTED.
        sd: standard deviation over seeds; empty for one seed.
        ci: interval; empty where there is none.
    """

    text: str = ""
    rank: int = 0
    superscript: str = ""
    flags: str = ""
    sd: str = ""
    ci: str = ""


@dataclass(frozen=True)
class TableLine:
    """One line of a table.

    Attributes:
        label: the method, or the published one with its source.
        letter: which superscripts mean this line; empty without tests of all pairs.
        marks: of the label: STALE where at least one run was made with other source code, PROBLEM where the data
            contradict themselves.
        seeds: how many, as text.
        published: whether it is a published one.
        remark: of a published one, how its convention differs, and its doubts.
        cells: as many as the table has columns.
        reference: whether it is what the others are held against, and is to be thin.
    """

    label: str
    letter: str
    marks: str
    seeds: str
    published: bool
    remark: str
    cells: tuple[TableCell, ...]
    reference: bool = False


@dataclass(frozen=True)
class RowTable:
    """One table: a protocol and split.

    Attributes:
        title: the protocol and split.
        columns: metric, by its short name where that is enough, and heading: the code length.
        lines: ours first.
        notes: sentences under the table.
        emphasised: whether a best cell is marked, which the notes say only where it is seen.
        caption: what it shows, in a few words.
        remarks: whether remarks are a column; else they are among the notes.
    """

    title: str
    columns: tuple[tuple[str, str], ...]
    lines: tuple[TableLine, ...]
    notes: tuple[str, ...]
    emphasised: bool
    caption: str
    remarks: bool = True

    @property
    def lettered(self) -> bool:
        """Whether lines have letters."""
        return any(line.letter for line in self.lines)

    @property
    def remarked(self) -> bool:
        """Whether there are published lines whose remarks are a last column."""
        return self.remarks and any(line.published for line in self.lines)

    @property
    def headings(self) -> list[str]:
        """The columns in words: "16 bits", or "map@5, 16 bits" where there are several metrics."""
        several = len({metric for metric, _ in self.columns}) > 1
        return [f"{metric}, {heading}" if several else heading for metric, heading in self.columns]


def tables(rows: Sequence[Row], form: Form = AS_FRACTIONS) -> list[RowTable]:
    """Return one table a protocol and split: methods down, metrics and code lengths across.

    Args:
        rows: sorted as `report.rows.rows` returns them.
        form: how numbers are written.

    Raises:
        UsageError: tests of all pairs of more lines than there are letters.
    """
    keys = unique((row.protocol, row.split) for row in rows)
    return [_table([row for row in rows if (row.protocol, row.split) == key], form) for key in keys]


def _table(rows: Sequence[Row], form: Form) -> RowTable:
    if form.difference and not baseline_of(rows):
        form = replace(form, difference=False)  # the other line is not in this table: a warning has said so
    metrics = unique(row.column for row in rows)
    columns = sorted({(row.column, row.bits) for row in rows}, key=lambda c: (metrics.index(c[0]), c[1]))
    short = {metric: metric.partition("[")[0] for metric in metrics}
    names = short if len(set(short.values())) == len(metrics) else {metric: metric for metric in metrics}
    letters, ranks, baseline = letters_of(rows), _ranks(rows, form), baseline_of(rows)
    lines = []
    for label in unique(row.label for row in rows):
        of_label = {(row.column, row.bits): row for row in rows if row.label == label}
        found = list(of_label.values())
        counts = sorted({len(row.seeds) for row in found})
        lines.append(
            TableLine(
                label=plain(label),
                letter=letters.get(label, ""),
                marks=STALE * any(row.stale for row in found) + PROBLEM * any(row.problems for row in found),
                seeds=span(counts) if found[0].ours else "",
                published=found[0].published is not None,
                remark=_remark(found),
                cells=tuple(_cell(of_label.get(column), letters, ranks, form, baseline) for column in columns),
                reference=bool(found[0].reference),
            )
        )
    named = tuple((names[metric], f"{bits} bits") for metric, bits in columns)
    best = any(rank == 1 for rank in ranks.values())
    notes = tuple(notes_of(rows, form))
    return RowTable(title_of(rows[0]), named, tuple(lines), notes, best, _caption(rows, form))


def title_of(row: Row) -> str:
    """Return the heading of a row's table: its protocol and split, and whether features are made up."""
    main = row.split == row.protocol.partition(" (data ")[0]
    title = row.protocol if main else f"{row.protocol}, split {row.split}"
    return title + (" (synthetic features)" if row.synthetic else "")


def _caption(rows: Sequence[Row], form: Form) -> str:
    """Say in a few words what a table shows, as papers head theirs."""
    metrics = ", ".join(unique(in_words(row.column) for row in rows))
    what = f"{metrics}{' (%)' if form.percent else ''} on {title_of(rows[0])}"
    return f"Difference to {plain(baseline_of(rows))} in {what}" if form.difference else what


def letters_of(rows: Sequence[Row]) -> dict[str, str]:
    """Return a letter for each of our lines where all pairs were tested."""
    if not any(row.tests for row in rows) or baseline_of(rows):
        return {}
    labels = unique(row.label for row in rows if row.ours)
    if len(labels) > len(LETTERS):
        raise UsageError(f"--significance marks {len(LETTERS)} rows at most, not {len(labels)}: choose with --method.")
    return dict(zip(labels, LETTERS, strict=False))


def _ranks(rows: Sequence[Row], form: Form) -> dict[tuple[str, str, int], int]:
    """Return the rank of the best two of our values in each column that has two lines, as they are printed."""
    columns: dict[tuple[str, int], dict[str, str]] = {}
    for row in rows:
        if row.ours and row.value is not None:
            columns.setdefault((row.column, row.bits), {})[row.label] = form.number(row.value)
    found: dict[tuple[str, str, int], int] = {}
    for column, texts in columns.items():
        best = sorted(set(texts.values()), key=float, reverse=True)[:2] if len(texts) > 1 else []
        found |= {(label, *column): best.index(text) + 1 for label, text in texts.items() if text in best}
    return found


def _cell(
    row: Row | None,
    letters: dict[str, str],
    ranks: dict[tuple[str, str, int], int],
    form: Form,
    baseline: str | None,
) -> TableCell:
    if row is None:
        return TableCell()
    if row.value is None:
        return TableCell("undefined")
    flags = OTHER_CONVENTION if differing(row) else ""
    if row.published and row.published.doubt:
        flags += DOUBTED
    if row.warnings:
        flags += MISTRUSTED
    rank = ranks.get((row.label, row.column, row.bits), 0) if row.ours else 0
    superscript = _superscript(row, letters)
    if form.difference and not row.tests and row.label != baseline:
        return TableCell("not tested")
    if form.difference and row.tests:
        (test,) = row.tests
        return TableCell(form.number(test.difference, "+"), rank, superscript, flags, "", form.interval(test.ci, "+"))
    sd = form.number(row.sd) if row.sd is not None else ""
    return TableCell(form.number(row.value), rank, superscript, flags, sd, form.interval(row.ci))


def _superscript(row: Row, letters: dict[str, str]) -> str:
    significant = [test for test in row.tests if test.significant]
    if letters:
        return "".join(sorted((letters[t.against] for t in significant if t.difference > 0), key=LETTERS.index))
    return "".join(BETTER if test.difference > 0 else WORSE for test in significant)


def _remark(rows: Sequence[Row]) -> str:
    """Say of a published line in what its convention differs from ours, and why it is doubted."""
    doubts = unique(word for row in rows if row.published for word in row.published.doubt)
    return "; ".join(unique([*filter(None, map(differing, rows)), *doubts]))
