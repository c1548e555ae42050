"""Searching a gallery: what `vhbench search` does."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from vhbench.errors import UsageError
from vhbench.search.gallery import Gallery
from vhbench.search.neighbours import nearest
from vhbench.search.queries import Queries
from vhbench.search.rows import id_of, name_of
from vhbench.system.text import csv_cell, plain


@dataclass(frozen=True)
class Neighbour:
    """A code near a query.

    Attributes:
        query: name of the query.
        rank: from 1, the nearest first; of codes at one distance, those of the first rows.
        row: in the gallery, from 0.
        id: the gallery's id of the row, or its number.
        name: the gallery's name of it, or None.
        distance: bits in which the two codes differ.
    """

    query: str
    rank: int
    row: int
    id: int
    name: str | None
    distance: int

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return asdict(self)


COLUMNS = [field.name for field in fields(Neighbour)]
TEXT = ("query", "name")


def find(gallery: Gallery, queries: Queries, k: int) -> list[list[Neighbour]]:
    """Return the k nearest of each query, a row that is the query itself left out.

    Raises:
        UsageError: k is below 1 or more than there are.
    """
    own = queries.row is not None
    most = len(gallery) - own
    if k < 1:
        raise UsageError(f"-k takes a number of neighbours from 1 up, not {k}.")
    if k > most:
        beside = " beside the query" if own else ""
        raise UsageError(f"-k {k}: {gallery.folder} has {most} codes{beside}; ask for so many at most.")
    rows, distances = nearest(gallery.codes, queries.codes, k + own)
    answers = []
    for name, near, far in zip(queries.names, rows.tolist(), distances.tolist(), strict=True):
        pairs = [(row, distance) for row, distance in zip(near, far, strict=True) if row != queries.row][:k]
        answers.append(
            [
                Neighbour(name, rank, row, id_of(gallery, row), name_of(gallery, row), distance)
                for rank, (row, distance) in enumerate(pairs, 1)
            ]
        )
    return answers


def render(answers: Sequence[Sequence[Neighbour]], form: str) -> str:
    """Return neighbours as a table; the column `query` stands where there are several.

    Args:
        answers: what `find` returns.
        form: "table", "csv" or "json".
    """
    flat = [neighbour for answer in answers for neighbour in answer]
    if form == "json":
        return json.dumps([neighbour.to_json() for neighbour in flat], indent=1, ensure_ascii=False)
    if form == "csv":
        return _csv([COLUMNS, *([csv_cell(value) for value in asdict(neighbour).values()] for neighbour in flat)])
    from tabulate import tabulate

    kept = [name for name in COLUMNS if name != "row" and (name != "query" or len(answers) > 1)]
    cells = [[_shown(getattr(neighbour, name)) for name in kept] for neighbour in flat]
    headers = [name if name != "distance" else "distance (bits)" for name in kept]
    sides = ["left" if name in TEXT else "right" for name in kept]
    return str(tabulate(cells, headers, disable_numparse=True, colalign=sides))


def _shown(value: object) -> str:
    return "-" if value is None else plain(value)


def _csv(rows: Iterable[Iterable[object]]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return buffer.getvalue().rstrip("\n")
