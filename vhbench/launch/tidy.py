"""Removing what killed processes and ended jobs have left in a results folder."""

from __future__ import annotations

import contextlib
from pathlib import Path

from vhbench.errors import VhbenchError
from vhbench.grid.files import FOLDER as GRIDS
from vhbench.grid.files import kept_grids
from vhbench.launch import queue
from vhbench.runs.record import CHECKPOINT, RECORD, read_record
from vhbench.runs.store import Store, hold_run
from vhbench.system.files import DAMAGED, TEMPORARY, leads_out
from vhbench.system.locks import LOCK


def tidy(root: Path) -> list[Path]:
    """Remove what killed processes and ended SLURM jobs have left, and return the paths.

    That is temporary files, locks, logs, and checkpoints of runs that are done. Folders of runs that are at work are
    left alone, and so is everything that vhbench did not make.

    Raises:
        StoreError: something cannot be removed.
    """
    grids, _ = kept_grids(root)
    runs = Store(root).run_folders()
    removed = []
    locks = [folder for folder in root.glob("*/references-*") if folder.is_dir()]
    for folder in [*runs, *locks, root / GRIDS]:
        if leads_out(folder, root):
            continue
        left = _leftovers(folder)
        if left:
            # it removes temporary files, at its end its own lock, and the folder if that is empty
            with hold_run(folder) as held:
                if held and _is_done(folder):
                    held.remove_checkpoint()
                for path in left if held else []:
                    if path.is_dir():
                        with contextlib.suppress(OSError):
                            path.rmdir()
            removed += [path for path in left if not path.exists()]
    parents = {
        parent
        for folder in [*runs, *(root / run for grid in grids for run in grid.runs)]
        for parent in (folder.parent, folder.parent.parent)
    }
    for folder in sorted(parents, reverse=True):
        with contextlib.suppress(OSError):
            folder.rmdir()
            removed.append(folder)
    return removed + queue.tidy_notes(root)


def _leftovers(folder: Path) -> list[Path]:
    """Return what a killed process has left in a folder, the folder itself last if it holds nothing else."""
    found = sorted(folder.rglob("*"), reverse=True)
    left = [path for path in found if path == folder / LOCK or path.name.startswith(TEMPORARY)]
    if _is_done(folder):
        of_checkpoint = [path for path in found if path.parent == folder / CHECKPOINT and DAMAGED not in path.name]
        left += [path for path in of_checkpoint if path not in left]
    for path in found:
        if path.is_dir() and all(inner in left for inner in path.iterdir()):
            left.append(path)
    if folder.is_dir() and all(inner in left for inner in folder.iterdir()):
        left.append(folder)
    return left


def _is_done(folder: Path) -> bool:
    """Say whether the folder's run is recorded as done, so that nothing will go on from its checkpoint."""
    try:
        return read_record(folder / RECORD).status == "done"
    except (OSError, VhbenchError):
        return False
