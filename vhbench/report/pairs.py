"""Every method against every other one: a table a column of the comparison, or a line a pair."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vhbench.report.layout import RowTable, TableCell, TableLine, letters_of, title_of
from vhbench.report.notes import BETTER, TEST, WORSE, line_notes, queries_in_words, seed_notes
from vhbench.report.rows import Comparison, Row
from vhbench.report.written import AS_FRACTIONS, Form, in_words, span, unique
from vhbench.system.text import plain

COLUMNS = (
    "protocol", "split", "metric", "bits", "method", "label", "against", "difference", "ci_low", "ci_high", "p_raw",
    "p", "significant",
)  # fmt: skip


def pair_tables(rows: Sequence[Row], form: Form = AS_FRACTIONS) -> list[RowTable]:
    """Return a table a protocol, split, metric and code length: differences below the diagonal, p above it.

    Args:
        rows: with tests of all pairs.
        form: how differences are written.

    Raises:
        UsageError: more lines than there are letters.
    """
    ours = [row for row in rows if row.ours]
    keys = unique((row.protocol, row.split, row.metric, row.bits) for row in ours)
    parts = ([row for row in ours if (row.protocol, row.split, row.metric, row.bits) == key] for key in keys)
    return [_table(part, form) for part in parts if any(row.tests for row in part)]


def pair_list(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return a line a pair, with the columns COLUMNS: the row less the one that it is held against."""
    found, seen = [], set()
    for row in rows:
        for test in row.tests:
            place = (row.protocol, row.split, row.metric, row.bits)
            if (*place, test.against, row.label) in seen:
                continue
            seen.add((*place, row.label, test.against))
            low, high = test.ci or (None, None)
            values = (*place, row.method, row.label, test.against, test.difference, low, high, test.p_raw, test.p)
            found.append(dict(zip(COLUMNS, (*values, test.significant), strict=True)))
    return found


def _table(rows: Sequence[Row], form: Form) -> RowTable:
    letters = letters_of(rows)
    labels = list(letters)
    lines = []
    for place, row in enumerate(rows):
        tests = {test.against: test for test in row.tests}
        cells = [_cell(tests.get(label), above=labels.index(label) > place, form=form) for label in labels]
        seeds = span([len(row.seeds)])
        lines.append(TableLine(plain(row.label), letters[row.label], "", seeds, False, "", tuple(cells)))
    first = rows[0]
    what = f"{in_words(first.metric)}{' (%)' if form.percent else ''} at {first.bits} bits"
    notes = [
        f"{first.metric}; {queries_in_words(rows)}",
        "Below the diagonal: the line's value less that of the column's line; superscript "
        f"{BETTER} or {WORSE}: significantly better or worse ({TEST})",
        "Above the diagonal: p of that test",
        *seed_notes(rows),
        *line_notes(rows),
    ]
    title = f"{title_of(first)}: pairs in {what}"
    caption = f"Pairwise differences in {what} on {title_of(first)}"
    return RowTable(title, tuple(("", letters[label]) for label in labels), tuple(lines), tuple(notes), False, caption)


def _cell(test: Comparison | None, *, above: bool, form: Form) -> TableCell:
    if test is None:
        return TableCell()
    if above:
        return TableCell(f"{test.p:.3f}")
    superscript = "" if not test.significant else BETTER if test.difference > 0 else WORSE
    return TableCell(form.number(test.difference, "+"), superscript=superscript)
