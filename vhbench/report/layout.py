"""Rows laid out as tables: lines, cells with their marks, and the notes that explain them; every writer starts here."""

from __future__ import annotations

import string
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from vhbench.errors import UsageError
from vhbench.report.beside import differing
from vhbench.report.folds import spread_note
from vhbench.report.rows import Row
from vhbench.report.significance import ALPHA
from vhbench.system.text import plain

T = TypeVar("T")

BETTER, WORSE = "+", "-"
STALE, OTHER_CONVENTION, DOUBTED, MISTRUSTED, PROBLEM = "†", "‡", "?", "!", "§"
NAMED = 6  # lines that a note on a warning names
LETTERS = string.ascii_lowercase.replace("q", "") + "ABDEGHI"  # q is the letter that Unicode has no superscript of


@dataclass(frozen=True)
class TableCell:
    """One number as it is printed.

    Attributes:
        text: the mean; "undefined" where no query could be scored, empty where nothing was run.
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
        columns: metric, by its short name where that is enough, and code length.
        lines: ours first.
        notes: sentences under the table.
        emphasised: whether a best cell is marked, which the notes say only where it is seen.
    """

    title: str
    columns: tuple[tuple[str, int], ...]
    lines: tuple[TableLine, ...]
    notes: tuple[str, ...]
    emphasised: bool

    @property
    def lettered(self) -> bool:
        """Whether lines have letters."""
        return any(line.letter for line in self.lines)

    @property
    def remarked(self) -> bool:
        """Whether there are published lines, whose remarks are a last column."""
        return any(line.published for line in self.lines)

    @property
    def headings(self) -> list[str]:
        """The columns in words: "16 bits", or "map@5, 16 bits" where there are several metrics."""
        several = len({metric for metric, _ in self.columns}) > 1
        return [f"{metric}, {bits} bits" if several else f"{bits} bits" for metric, bits in self.columns]


def tables(rows: Sequence[Row]) -> list[RowTable]:
    """Return one table a protocol and split: methods down, metrics and code lengths across.

    Args:
        rows: sorted as `report.rows.rows` returns them.

    Raises:
        UsageError: tests of all pairs of more lines than there are letters.
    """
    keys = unique((row.protocol, row.split) for row in rows)
    return [_table([row for row in rows if (row.protocol, row.split) == key]) for key in keys]


def unique(values: Iterable[T]) -> list[T]:
    """Return each value once, in order."""
    return list(dict.fromkeys(values))


def _table(rows: Sequence[Row]) -> RowTable:
    metrics = unique(row.column for row in rows)
    columns = sorted({(row.column, row.bits) for row in rows}, key=lambda c: (metrics.index(c[0]), c[1]))
    short = {metric: metric.partition("[")[0] for metric in metrics}
    names = short if len(set(short.values())) == len(metrics) else {metric: metric for metric in metrics}
    letters, ranks = _letters(rows), _ranks(rows)
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
                seeds=_span(counts) if found[0].ours else "",
                published=found[0].published is not None,
                remark=_remark(found),
                cells=tuple(_cell(of_label.get(column), letters, ranks) for column in columns),
                reference=bool(found[0].reference),
            )
        )
    named = tuple((names[metric], bits) for metric, bits in columns)
    return RowTable(
        _title(rows[0]), named, tuple(lines), tuple(_notes(rows)), any(rank == 1 for rank in ranks.values())
    )


def _span(numbers: Sequence[int]) -> str:
    return "-".join(map(str, unique([numbers[0], numbers[-1]])))


def _title(row: Row) -> str:
    main = row.split == row.protocol.partition(" (data ")[0]
    title = row.protocol if main else f"{row.protocol}, split {row.split}"
    return title + (" (synthetic features)" if row.synthetic else "")


def _letters(rows: Sequence[Row]) -> dict[str, str]:
    """Return a letter for each of our lines where all pairs were tested."""
    if not any(row.tests for row in rows) or _baseline(rows):
        return {}
    labels = unique(row.label for row in rows if row.ours)
    if len(labels) > len(LETTERS):
        raise UsageError(f"--significance marks {len(LETTERS)} rows at most, not {len(labels)}: choose with --method.")
    return dict(zip(labels, LETTERS, strict=False))


def _baseline(rows: Sequence[Row]) -> str | None:
    """Return the label that all tests are against; None where all pairs were tested, or none."""
    against = {test.against for row in rows for test in row.tests}
    return against.pop() if len(against) == 1 else None


def _ranks(rows: Sequence[Row]) -> dict[tuple[str, str, int], int]:
    """Return the rank of the best two of our values in each column that has two lines, as they are printed."""
    columns: dict[tuple[str, int], dict[str, str]] = {}
    for row in rows:
        if row.ours and row.value is not None:
            columns.setdefault((row.column, row.bits), {})[row.label] = f"{row.value:.3f}"
    found: dict[tuple[str, str, int], int] = {}
    for column, texts in columns.items():
        best = sorted(set(texts.values()), reverse=True)[:2] if len(texts) > 1 else []
        found |= {(label, *column): best.index(text) + 1 for label, text in texts.items() if text in best}
    return found


def _cell(row: Row | None, letters: dict[str, str], ranks: dict[tuple[str, str, int], int]) -> TableCell:
    if row is None:
        return TableCell()
    if row.value is None:
        return TableCell("undefined")
    flags = OTHER_CONVENTION if differing(row) else ""
    if row.published and row.published.doubt:
        flags += DOUBTED
    if row.warnings:
        flags += MISTRUSTED
    return TableCell(
        f"{row.value:.3f}",
        ranks.get((row.label, row.column, row.bits), 0) if row.ours else 0,
        _superscript(row, letters),
        flags,
        f"{row.sd:.3f}" if row.sd is not None else "",
        f"[{row.ci[0]:.3f}, {row.ci[1]:.3f}]" if row.ci else "",
    )


def _superscript(row: Row, letters: dict[str, str]) -> str:
    significant = [test for test in row.tests if test.significant]
    if letters:
        return "".join(sorted((letters[t.against] for t in significant if t.difference > 0), key=LETTERS.index))
    return "".join(BETTER if test.difference > 0 else WORSE for test in significant)


def _notes(rows: Sequence[Row]) -> list[str]:
    """Say what the numbers are and what the marks mean."""
    ours = [row for row in rows if row.ours]
    metrics = ", ".join(unique(row.metric for row in ours))
    spread = "; mean ± standard deviation over seeds" if any(row.sd is not None for row in ours) else ""
    spread = spread_note(ours) or spread
    interval = "; in brackets the 95 % bootstrap interval over queries" if any(row.ci for row in ours) else ""
    notes = [f"{metrics}; {_queries(ours)}{spread}{interval}", *_test_notes(ours)]
    if any(row.stale for row in ours):
        notes.append(f"{STALE} at least one run was made with other source code than today's (vhbench status)")
    notes += [f"{PROBLEM} {plain(text)}" for text in unique(text for row in ours for text in row.problems)]
    if ours[0].differs:
        notes.append(f"These data are not those of other tables of the same name: {ours[0].differs}")
    notes += [*_mistrust_notes(ours), *_reference_notes(rows)]
    return [*notes, *_published_notes([row for row in rows if row.published], ours[0].synthetic)]


def _mistrust_notes(rows: Sequence[Row]) -> list[str]:
    """Return a note for each warning, with the lines that it is of."""
    lengths: dict[str, dict[str, list[int]]] = {}
    for row in rows:
        for text in row.warnings:
            lengths.setdefault(text, {}).setdefault(plain(row.label), []).append(row.bits)
    notes = []
    for text, of_label in lengths.items():
        every = {row.bits for row in rows}
        names = [
            label if set(bits) == every else f"{label} at {', '.join(map(str, unique(bits)))} bits"
            for label, bits in of_label.items()
        ]
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        notes.append(f"{MISTRUSTED} {plain(text)}: {', '.join(names[:NAMED])}{more}")
    return notes


def _reference_notes(rows: Sequence[Row]) -> list[str]:
    """Say what the thin lines are."""
    sampled = [row.queries for row in rows if row.reference == "cosine" and row.ci]
    meanings = {
        "chance": "chance is a random order",
        "cosine": "cosine that of centred mean frames, without codes"
        + (f" (of a sample of {sampled[0]} queries)" if sampled else ""),
        "attainable": "attainable has all relevant items first",
    }
    texts = [meanings[name] for name in unique(row.reference for row in rows if row.reference)]
    return [f"Thin lines, neither ranked nor tested: {', '.join(texts)}"] if texts else []


def _queries(rows: Sequence[Row]) -> str:
    """Say how many queries were scored and, where that is not all of them, why."""
    scored = sorted({row.queries for row in rows if row.queries is not None})
    asked = sorted({row.asked for row in rows if row.asked is not None})
    if not scored or scored == asked or not asked:
        return f"{_span(scored)} queries" if scored else "no queries"
    alone = " but itself" if any(row.metric.endswith("self=drop]") for row in rows) else ""
    return f"{_span(scored)} of {_span(asked)} queries scored, the others have no relevant database video{alone}"


def _test_notes(rows: Sequence[Row]) -> list[str]:
    tested = [row for row in rows if row.tests]
    if not tested:
        return []
    test = f"paired sign-flip test over queries, p ≤ {ALPHA} after Holm's correction over the tests of a column"
    baseline = _baseline(rows)
    if baseline:
        notes = [f"Superscript {BETTER} or {WORSE}: significantly better or worse than {plain(baseline)} ({test})"]
    else:
        notes = [f"Superscript letters: significantly better than the lines of these letters ({test})"]
    if any(len(row.seeds) == 1 and (row.tests or row.label == baseline) for row in rows):
        notes.append("Where there is one seed, a mark speaks of that run, not of the method")
    return notes


def _published_notes(rows: Sequence[Row], synthetic: bool) -> list[str]:
    if not rows:
        return []
    notes = [
        f"Lines with a source are quoted, not measured, and neither ranked nor tested; {OTHER_CONVENTION} by another "
        f"convention than ours, {DOUBTED} doubted (results/published/README.md): remarks say how"
    ]
    if synthetic:
        notes.append("Quoted numbers are of real features, ours of synthetic ones: they cannot be compared")
    return notes


def _remark(rows: Sequence[Row]) -> str:
    """Say of a published line in what its convention differs from ours, and why it is doubted."""
    doubts = unique(word for row in rows if row.published for word in row.published.doubt)
    return "; ".join(unique([*filter(None, map(differing, rows)), *doubts]))
