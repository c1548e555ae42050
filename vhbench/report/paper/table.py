"""A paper's tables and figures: which runs each needs, which published numbers and claims belong to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from vhbench.errors import DataError, UsageError, unknown
from vhbench.report.published import PublishedRow, default_folder, read_published
from vhbench.system.files import read_toml

COMMON = {"doubts": "protocols", "departures": "departures", "self_match": "self_match"}  # field -> table of the file
BETWEEN = "-to-"  # in the name of a cross-data-set protocol


@dataclass(frozen=True)
class PaperTable:
    """A table or figure of a paper, or its repository's numbers. `results/published/tables/uvvh_paper.toml` says more.

    Attributes:
        name: what `vhbench reproduce` takes: `table3` of the UVVH paper, `s5vh/table1` of another.
        title: what it shows.
        cells: sources of its published numbers.
        claims: sources of its claims of order.
        methods: names.
        protocols: names, or paths of manifests.
        in_domain: protocols that gains of a cross-data-set table are over.
        bits: code lengths.
        ks: the K of mAP@K.
        recalls: of a figure of precision against recall, where methods are compared.
        best: of such a figure, the method claimed to be ahead of all others.
        doubts: protocol -> why a number on it can never be called reproduced.
        departures: hyper-parameter -> the value that is not the paper's.
        self_match: protocol -> what becomes of the query's own database item, where it is not the literature's choice.
    """

    name: str
    title: str
    cells: tuple[str, ...]
    claims: tuple[str, ...]
    methods: tuple[str, ...]
    protocols: tuple[str, ...]
    bits: tuple[int, ...]
    ks: tuple[int, ...]
    doubts: Mapping[str, str]
    departures: Mapping[str, Any]
    self_match: Mapping[str, str]
    in_domain: tuple[str, ...] = ()
    recalls: tuple[float, ...] = ()
    best: str = ""

    @property
    def grid_protocols(self) -> tuple[str, ...]:
        """All protocols to run."""
        return tuple(dict.fromkeys((*self.protocols, *self.in_domain)))

    def on(self, protocol: str) -> dict[str, Any]:
        """Return the changes that put the table on another protocol.

        Raises:
            UsageError: a cross-data-set table is put on a protocol of another kind.
        """
        if not self.in_domain:
            return {"protocols": (protocol,)}
        trained, between, searched = protocol.partition(BETWEEN)
        if not (trained and between and searched):
            raise UsageError(
                f"{self.name} compares training on another data set with training on the one searched: "
                f"--protocol takes A-to-B, as in demo-to-demo-shift, not {protocol!r}."
            )
        return {"protocols": (protocol,), "in_domain": (searched,)}

    def published(self, folder: Path | None = None) -> list[PublishedRow]:
        """Return its published numbers, in the order of the files; numbers derived from others are not among them.

        Args:
            folder: as for `read_published`.
        """
        metrics = {f"{kind}@{k}" for kind in ("map", "map-gain") for k in self.ks}
        relative = {"", *self.methods, *self.in_domain}
        return [
            row
            for row in read_published(folder)
            if row.source in self.cells
            and (row.method in self.methods and row.protocol in self.protocols)
            and (row.bits in self.bits and row.metric in metrics and row.over in relative)
        ]


def read_tables(folder: Path | str | None = None) -> dict[str, PaperTable]:
    """Read the descriptions of tables and figures.

    Args:
        folder: by default `results/published/tables` of the source checkout that vhbench runs from.

    Returns:
        Name -> table, in order of the files.

    Raises:
        DataError: there is no such folder, or a file is not of the form.
    """
    folder = default_folder() / "tables" if folder is None else Path(folder)
    paths = sorted(folder.glob("*.toml"))
    if not paths:
        raise DataError(f"{folder} holds no TOML files that describe tables.")
    return {table.name: table for path in paths for table in _read_file(path)}


def find_table(name: str, folder: Path | str | None = None) -> PaperTable:
    """Return a table by name.

    Raises:
        UsageError: there is none of this name.
        DataError: as `read_tables`.
    """
    tables = read_tables(folder)
    if name not in tables:
        raise unknown("table", name, tables)
    return tables[name]


def _read_file(path: Path) -> list[PaperTable]:
    try:
        values = read_toml(path)
    except (OSError, ValueError) as error:
        raise DataError(f"Cannot read {path}: {error}.") from error
    known = {field.name for field in fields(PaperTable)} - {"name", *COMMON}
    tables = []
    for name, entries in values.get("tables", {}).items():
        try:
            if wrong := [key for key in entries if key not in known]:
                raise unknown("entry", wrong[0], known)
            typed: dict[str, Any] = {
                key: tuple(value) if isinstance(value, list) else value for key, value in entries.items()
            }
            common = {name: values.get(key, {}) for name, key in COMMON.items()}
            tables.append(PaperTable(name=name, **common, **typed))
        except (TypeError, UsageError) as error:
            raise DataError(f"{path}, table {name}: {error}") from error
    return tables
