"""How the runs of a grid are worked off. A launcher is a function; further ones come from entry points."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vhbench.plan import Cell

# called with the cells to do and the function that does one; returns when all are done
Launcher = Callable[[Sequence["Cell"], Callable[["Cell"], object]], None]
