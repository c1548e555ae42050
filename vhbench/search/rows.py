"""The rows of a gallery: their names and ids, and which row a text stands for."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator

import numpy as np

from vhbench.errors import LONGEST, UsageError
from vhbench.search.gallery import Gallery

NUMBER = re.compile(r"[+-]?\d{1,18}")
COMPARED = 20_000  # names that the nearest are sought among
BLOCK = 1 << 20
SHOWN = 5


def name_of(gallery: Gallery, row: int) -> str | None:
    """Return the name of a row, or None where there are no names."""
    return None if gallery.names is None else bytes(gallery.names[row]).decode(errors="replace")


def id_of(gallery: Gallery, row: int) -> int:
    """Return the id of a row: its number where the gallery has no ids."""
    return row if gallery.ids is None else int(gallery.ids[row])


def find_row(gallery: Gallery, text: str) -> int:
    """Return the row that is meant: a whole number is its number, from 0, anything else its name.

    Raises:
        UsageError: there is no such row, or several have that name.
    """
    if NUMBER.fullmatch(text):
        if not 0 <= int(text) < len(gallery):
            raise UsageError(f"There is no row {int(text)}: the rows of {gallery.folder} are 0 to {len(gallery) - 1}.")
        return int(text)
    if gallery.names is None:
        raise UsageError(
            f"There is no file {text}, and the videos of {gallery.folder} have no names: give a file or a row, "
            f"0 to {len(gallery) - 1}; `vhbench index` adds names."
        )
    rows = [*_rows_called(gallery.names, text.encode(errors="backslashreplace"))]
    if not rows:
        raise _unknown(gallery, text)
    if len(rows) > 1:
        some = ", ".join(map(str, rows[:SHOWN])) + (", …" if len(rows) > SHOWN else "")
        raise UsageError(f"{len(rows)} videos of {gallery.folder} are called {text!r}: give the row, {some}.")
    return rows[0]


def _unknown(gallery: Gallery, text: str) -> UsageError:
    assert gallery.names is not None
    names = [bytes(name).decode(errors="replace") for name in gallery.names[:COMPARED]]
    near = difflib.get_close_matches(text[:LONGEST], names, n=3)
    advice = f"did you mean {' or '.join(map(repr, near))}?" if near else f"names there are like {names[0]!r}."
    return UsageError(f"{text[:LONGEST]!r} is neither a file nor the name of a video in {gallery.folder}: {advice}")


def _rows_called(names: np.ndarray, name: bytes) -> Iterator[int]:
    for start in range(0, len(names), BLOCK):
        yield from (start + np.flatnonzero(names[start : start + BLOCK] == name)).tolist()
