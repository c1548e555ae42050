"""The inline launcher: one run after the other in this process."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vhbench.grid.cells import Cell
from vhbench.grid.order import one_by_one


def launch(cells: Sequence[Cell], work: Callable[[Cell], object]) -> None:
    """Do the cells in the order of `vhbench.grid.order.one_by_one`."""
    for cell in one_by_one(cells):
        work(cell)
