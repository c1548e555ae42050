"""The sentences under a table: what its numbers are, and what its marks mean."""

from __future__ import annotations

from collections.abc import Sequence

from vhbench.report.folds import spread_note
from vhbench.report.rows import Row
from vhbench.report.significance import ALPHA
from vhbench.report.written import Form, at_lengths, span, unique
from vhbench.system.text import plain

BETTER, WORSE = "+", "-"
STALE, OTHER_CONVENTION, DOUBTED, MISTRUSTED, PROBLEM, TUNED = "†", "‡", "?", "!", "§", "¶"
NAMED = 6  # lines that a note on a warning names
TEST = f"paired sign-flip test over queries, p ≤ {ALPHA} after Holm's correction over the tests of a column"


def baseline_of(rows: Sequence[Row]) -> str | None:
    """Return the label that all tests are against; None where all pairs were tested, or none."""
    against = {test.against for row in rows for test in row.tests}
    return against.pop() if len(against) == 1 else None


def notes_of(rows: Sequence[Row], form: Form) -> list[str]:
    """Say what the numbers of a table are and what the marks mean."""
    ours = [row for row in rows if row.ours]
    return [_numbers(ours, form), *_difference_notes(ours, form), *_test_notes(ours), *line_notes(rows)]


def _numbers(rows: Sequence[Row], form: Form) -> str:
    metrics = ", ".join(unique(row.metric for row in rows))
    unit = ", in percent" if form.percent else ""
    spread = "; mean ± standard deviation over seeds" if any(row.sd is not None for row in rows) else ""
    spread = spread_note(rows) or spread
    interval = "; in brackets the 95 % bootstrap interval over queries" if any(row.ci for row in rows) else ""
    return f"{metrics}{unit}; {queries_in_words(rows)}{spread}{interval}"


def _difference_notes(rows: Sequence[Row], form: Form) -> list[str]:
    if not form.difference:
        return []
    baseline = plain(baseline_of(rows))
    return [f"With a sign: differences to {baseline}, with their paired 95 % bootstrap interval over queries"]


def line_notes(rows: Sequence[Row]) -> list[str]:
    """Say what is to be known of the lines: of ours, of references, of published ones."""
    ours = [row for row in rows if row.ours]
    notes = []
    if any(row.stale for row in ours):
        notes.append(f"{STALE} at least one run was made with other source code than today's (vhbench status)")
    notes += [f"{PROBLEM} {plain(text)}" for text in unique(text for row in ours for text in row.problems)]
    notes += _tuned_notes(ours)
    if ours[0].differs:
        notes.append(f"These data are not those of other tables of the same name: {ours[0].differs}")
    notes += [*_mistrust_notes(ours), *_reference_notes(rows)]
    return [*notes, *_published_notes([row for row in rows if row.published], ours[0].synthetic)]


def tuned_in_words(how: str) -> str:
    """Say that a setting was tuned; `how` as in `Row.tuned`."""
    return f"tuned on held-out training videos: {plain(how)}"


def _tuned_notes(rows: Sequence[Row]) -> list[str]:
    """Return a note for each study, with the lines of which it has tuned some lengths only: their mark is on all."""
    notes = []
    for text in unique(text for row in rows for text in row.tuned):
        lengths = at_lengths([row for row in rows if text in row.tuned], rows)
        partly = ", ".join(f"{plain(label)}{at} only" for label, at in lengths.items() if at)
        notes.append(f"{TUNED} {tuned_in_words(text)}{f' ({partly})' if partly else ''}")
    return notes


def _mistrust_notes(rows: Sequence[Row]) -> list[str]:
    """Return a note for each warning, with the lines that it is of."""
    notes = []
    for text in unique(text for row in rows for text in row.warnings):
        lengths = at_lengths([row for row in rows if text in row.warnings], rows)
        names = [f"{plain(label)}{at}" for label, at in lengths.items()]
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


def queries_in_words(rows: Sequence[Row]) -> str:
    """Say how many queries were scored and, where that is not all of them, why."""
    scored = sorted({row.queries for row in rows if row.queries is not None})
    asked = sorted({row.asked for row in rows if row.asked is not None})
    if not scored or scored == asked or not asked:
        return f"{span(scored)} queries" if scored else "no queries"
    alone = " but itself" if any(row.metric.endswith("self=drop]") for row in rows) else ""
    return f"{span(scored)} of {span(asked)} queries scored, the others have no relevant database video{alone}"


def _test_notes(rows: Sequence[Row]) -> list[str]:
    tested = [row for row in rows if row.tests]
    if not tested:
        return []
    baseline = baseline_of(rows)
    if baseline:
        notes = [f"Superscript {BETTER} or {WORSE}: significantly better or worse than {plain(baseline)} ({TEST})"]
    else:
        notes = [f"Superscript letters: significantly better than the lines of these letters ({TEST})"]
    return [*notes, *seed_notes([row for row in rows if row.tests or row.label == baseline])]


def seed_notes(tested: Sequence[Row]) -> list[str]:
    """Say that a test of one run speaks of that run, where there is such a test."""
    alone = any(len(row.seeds) == 1 for row in tested)
    return ["Where there is one seed, a mark speaks of that run, not of the method"] if alone else []


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
