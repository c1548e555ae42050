"""Running what a paper's table needs and comparing it: what `vhbench reproduce` and `vhbench.reproduce` share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vhbench.grid.plan import Cell, Grid, plan
from vhbench.plugins.registry import Registry
from vhbench.report.paper.lines import Line, grid_of, lines_of
from vhbench.report.paper.table import PaperTable, find_table
from vhbench.runs.store import Store

if TYPE_CHECKING:
    from vhbench.grid.runner import Observer, Settings
    from vhbench.plugins.launcher import Launcher


@dataclass(frozen=True)
class Reproduction:
    """A table of a paper, its runs and what they come to.

    Attributes:
        name: of the table.
        registry: finds methods and protocols.
        store: the results folder.
        protocol: another protocol, or the path of its manifest; None: the table's own.
        bits: code lengths; empty: the table's own.
        options: seeds, budget, epochs, precision and allow_counts, as `vhbench.grid.plan.Grid` takes them.
        data: the data folder.
        plugins: files with further methods, as the registry has them.
        published: folder of the published numbers; None: that of the source checkout.
    """

    name: str
    registry: Registry
    store: Store
    protocol: str | None
    bits: Sequence[int]
    options: dict[str, Any]
    data: Path | None = None
    plugins: Sequence[Path | str] = ()
    published: Path | None = None

    @cached_property
    def table(self) -> PaperTable:
        """The table on the paper's own protocols.

        Raises:
            UsageError: there is no such table.
            DataError: the published numbers are not there or not of their form.
        """
        found = find_table(self.name, self.published / "tables" if self.published else None)
        return replace(found, bits=tuple(dict.fromkeys(self.bits)) or found.bits)

    @cached_property
    def grid(self) -> Grid:
        """The runs that it needs.

        Raises:
            UsageError: the protocol does not fit the table.
        """
        table = replace(self.table, **self.table.on(self.protocol)) if self.protocol else self.table
        return grid_of(table, **self.options)

    @cached_property
    def cells(self) -> list[Cell]:
        """The runs, each with its state; errors as for `vhbench.grid.plan.plan`."""
        return plan(self.grid, self.registry, self.store, self.data)

    def run(
        self,
        wanted: Sequence[Cell],
        launcher: Launcher,
        launcher_options: dict[str, Any],
        settings: Settings,
        observer: Observer,
    ) -> None:
        """Do some of the runs.

        Raises:
            VhbenchError: results cannot be written, or the launcher refuses an option.
        """
        from vhbench.grid.kept import keep_grid
        from vhbench.grid.runner import Sources, run_cells

        self.store.check_writable()
        keep_grid(self.store, self.cells, self.grid, self.data, self.plugins)
        sources = Sources(self.data, self.plugins, self.grid.allow_counts)
        run_cells(wanted, self.store, settings, launcher, observer, sources, launcher_options)

    def lines(self) -> list[Line]:
        """Return the paper's numbers and claims beside what is recorded now."""
        name = self.registry.protocol(self.protocol).name if self.protocol else None
        return lines_of(self.table, self.cells, self.store, name, self.published)
