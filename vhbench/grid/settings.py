"""How a grid's runs are done, who hears of it, and where its methods and videos come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vhbench.grid.cells import Cell
from vhbench.method import Epoch
from vhbench.runs.record import Record


@dataclass(frozen=True)
class Settings:
    """How runs are done: nothing here can change a result's identity.

    Attributes:
        device: "auto", "cpu" or "cuda:N".
        deterministic: use deterministic GPU kernels.
        checkpoint_every: seconds between checkpoints.
        sharing: how many runs at a time use the same GPU.
        eval_at: epochs on the way, counted from 1, whose scores are recorded too.
        keep_model: write what encoding needs of the trained method beside the record.
    """

    device: str = "auto"
    deterministic: bool = False
    checkpoint_every: float = 30.0
    sharing: int = 1
    eval_at: Sequence[int] = ()
    keep_model: bool = False


class Observer:
    """Hears what happens in a grid. The command line shows it; by default nothing does."""

    def started(self, cell: Cell) -> None:
        """A run begins."""

    def placed(self, cell: Cell, text: str) -> None:
        """A run's training features were brought to where it says."""

    def epoch(self, cell: Cell, epoch: Epoch) -> None:
        """A run finished an epoch."""

    def finished(self, cell: Cell, record: Record | None) -> None:
        """A run is recorded; None: another process works on it."""

    def said(self, text: str, cell: Cell | None = None) -> None:
        """A launcher has something to say, of a run or of the grid."""


@dataclass(frozen=True)
class Sources:
    """Where a grid's methods and videos come from: by this another process finds them again.

    Attributes:
        data: the folder of the feature files, if one was named.
        plugins: files with further methods.
        allow_counts: files of another size than a protocol expects were let pass.
    """

    data: Path | None = None
    plugins: Sequence[Path | str] = ()
    allow_counts: bool = False


NOWHERE = Sources()
