"""How rows are shown: under which names and in which order; the numbers stay what they are."""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.resources import files

from vhbench.errors import UsageError, unknown
from vhbench.report.rows import Row

LONGEST = 16  # characters of settings behind a name that only one method has
BETWEEN = re.compile(r",(?![^\[]*\])")  # a comma that is not inside brackets
PAIR = re.compile(r"\s*([^=\[]+?(?:\s*\[.*?\])?)\s*=\s*(.*?)\s*")  # a label's own = are inside its brackets


@dataclass(frozen=True)
class Names:
    """What methods are called.

    Attributes:
        given: a method's registered name, or a row's whole label -> the name to show.
        usual: method -> the name that papers write, where none is given.
    """

    given: Mapping[str, str] = field(default_factory=dict)
    usual: Mapping[str, str] = field(default_factory=dict)

    def label(self, label: str, method: str) -> str:
        """Return a row's label with the method's name replaced; what differs from the defaults stays behind it."""
        if label in self.given:
            return self.given[label]
        name = self.given.get(method) or self.usual.get(method)
        return name + label.removeprefix(method) if name and label.startswith(method) else label

    def check(self, rows: Sequence[Row]) -> None:
        """Raise UsageError where a name is given to what no row is, or one name to several rows of ours."""
        known = {text for row in rows if row.ours for text in (row.method, row.label)}
        for key in self.given:
            if key not in known:
                raise unknown("method or row", key, known, "--names takes what the table calls them.")
        shown: dict[str, str] = {}
        for row in rows:
            name = self.label(row.label, row.method)
            if row.ours and shown.setdefault(name, row.label) != row.label:
                raise UsageError(f"--names would call both {shown[name]!r} and {row.label!r} {name!r}.")


@functools.cache
def usual_names() -> Mapping[str, str]:
    """Return method -> the name that papers write."""
    return tomllib.loads((files("vhbench.report") / "names.toml").read_text(encoding="utf-8"))


def read_names(texts: Sequence[str]) -> dict[str, str]:
    """Read `method=name` and `label=name` texts, several of them separated by commas.

    Raises:
        UsageError: a text is not of that form.
    """
    found = {}
    for text in texts:
        for part in BETWEEN.split(text):
            pair = PAIR.fullmatch(part)
            if not pair or not pair[2]:
                raise UsageError(f"--names takes method=name,... as in uvvh=UVVH,itq=ITQ; not {part!r}.")
            found[pair[1]] = pair[2]
    return found


def renamed(rows: Sequence[Row], names: Names) -> list[Row]:
    """Return rows with the labels that are to be shown, in their tests too."""
    methods = {row.label: row.method for row in rows if row.ours}
    return [
        replace(
            row,
            label=names.label(row.label, row.method) if row.ours else row.label,
            tests=tuple(
                replace(test, against=names.label(test.against, methods.get(test.against, ""))) for test in row.tests
            ),
        )
        for row in rows
    ]


def short_labels(
    rows: Iterable[tuple[str, str]], shown: Mapping[str, str], marks: Iterable[str]
) -> tuple[dict[str, str], dict[str, str]]:
    """Put a mark for settings behind names that several methods share, or that are long.

    Args:
        rows: method and label of each.
        shown: label -> what it is to be called.
        marks: of the first settings, the second and so on, without an end.

    Returns:
        Label -> short name; and mark -> settings, for a note.
    """
    pairs = list(rows)
    having: dict[str, set[str]] = {}
    for method, label in pairs:
        having.setdefault(_settings(shown[label]), set()).add(method)
    free = iter(marks)
    given: dict[str, str] = {}
    names = {}
    for _, label in pairs:
        settings = _settings(shown[label])
        if settings and (len(having[settings]) > 1 or len(settings) > LONGEST):
            if settings not in given:
                given[settings] = next(free)
            names[label] = shown[label].removesuffix(f" {settings}") + given[settings]
        else:
            names[label] = shown[label]
    return names, {mark: settings[1:-1] for settings, mark in given.items()}


def _settings(label: str) -> str:
    """Return what stands in brackets behind a label's name."""
    _, between, rest = label.partition(" [")
    return f"[{rest}" if between and rest.endswith("]") else ""


def in_order(rows: Sequence[Row], sort: str | None) -> list[Row]:
    """Return rows in another order of the methods within each table.

    Args:
        rows: sorted as `report.rows.rows` returns them; those of others and references stay below ours.
        sort: "name", "value" (the first metric at the longest code, best first), the same at a code length, as in "64",
            or None: as they are.

    Raises:
        UsageError: neither, or a code length that no row has.
    """
    if sort is None or not rows:
        return list(rows)
    lengths = {row.bits for row in rows}
    if sort not in ("name", "value") and not (sort.isascii() and sort.isdecimal() and int(sort) in lengths):
        there_are = ", ".join(map(str, sorted(lengths)))
        raise UsageError(f"--sort takes name, value or the code length of a column ({there_are}), not {sort!r}.")
    tables: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        tables.setdefault((row.protocol, row.split), []).append(row)
    return [row for table in tables.values() for row in _sorted(table, sort)]


def _sorted(table: Sequence[Row], sort: str) -> list[Row]:
    metrics = list(dict.fromkeys(row.column for row in table))
    bits = int(sort) if sort.isdecimal() else max(row.bits for row in table)
    values = {
        row.label: row.value for row in table if (row.column, row.bits) == (metrics[0], bits) and row.value is not None
    }

    def key(row: Row) -> tuple[int, int, float | str]:
        if not row.ours:
            return (1, 0, 0.0)
        if sort == "name":
            return (0, metrics.index(row.column), row.label.casefold())
        return (0, metrics.index(row.column), -values.get(row.label, -1.0))

    return sorted(table, key=key)  # stable: what is equal, and what is not ours, stays in order
