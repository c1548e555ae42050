"""The inline launcher: one run after the other in this process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vhbench.grid.plan import Cell


def launch(cells: Sequence[Cell], work: Callable[[Cell], object]) -> None:
    """Do the cells in order, but nested codes first and the longest first: the shorter ones are cut from them."""
    from vhbench.grid.related import nested

    # runs that are measured against others stay behind them
    for cell in sorted(cells, key=lambda cell: (_crosses(cell), -cell.spec.bits if nested(cell) else 0)):
        work(cell)


def _crosses(cell: Cell) -> bool:
    return cell.splits[0].in_domain is not None
