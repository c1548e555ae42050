"""The inline launcher: one run after the other in this process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vhbench.plan import Cell


def launch(cells: Sequence[Cell], work: Callable[[Cell], object]) -> None:
    """Do the cells in order."""
    for cell in cells:
        work(cell)
