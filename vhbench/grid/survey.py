"""What a results folder says of every run: recorded, at work, left unfinished, or still to come."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from vhbench.grid.files import KeptGrid, kept_grids
from vhbench.method import Epoch
from vhbench.runs.record import RECORD, Record
from vhbench.runs.store import Store
from vhbench.runs.train_log import last_epoch
from vhbench.system.locks import is_held

STATES = ("done", "stale", "running", "interrupted", "waiting", "failed", "skipped")
OPEN_STATES = {"running", "interrupted", "waiting"}
NO_RUNS: Mapping[str, int | None] = MappingProxyType({})


@dataclass(frozen=True)
class RunState:
    """One run as the store has it.

    Attributes:
        folder: the run's; not there yet where it waits.
        state: one of STATES.
        reason: why it failed or was skipped, or what is wrong with its log; else empty.
        epoch: the last one that it trained, where it is running or interrupted.
        grid: the kept grid it was asked for in, where it waits; None where a study asks for it.
    """

    folder: Path
    state: str
    reason: str = ""
    epoch: Epoch | None = None
    grid: KeptGrid | None = None


def survey(
    store: Store, fingerprints: Mapping[str, str], tried: Mapping[str, int | None] = NO_RUNS
) -> tuple[list[RunState], list[str]]:
    """Return the state of every run, in order of folders, and a sentence for each file that cannot be read.

    Args:
        store: the results folder.
        fingerprints: method -> fingerprint of its present source; by these a record is stale.
        tried: runs that a study asks for, where the folder is a study's: folder -> number of epochs.
    """
    records, problems = store.records()
    grids, faults = kept_grids(store.root)
    asked = [*((grid, grid.runs) for grid in grids), (None, tried)]
    epochs = {store.root / folder: total for _, runs in asked for folder, total in runs.items()}
    states = {record.folder: _recorded(record, fingerprints, epochs.get(record.folder)) for record in records}
    for folder in store.run_folders():
        if folder not in states and not os.path.lexists(folder / RECORD):
            states[folder] = unfinished(folder, epochs.get(folder))
    for grid, runs in asked:
        for name in runs:
            folder = store.root / name
            if not any(f"{folder}/" in text for text in problems):  # named already: its record or codes are damaged
                states.setdefault(folder, RunState(folder, "waiting", grid=grid))
    return [states[folder] for folder in sorted(states)], problems + faults


def waiting_in(grid: KeptGrid, store: Store) -> tuple[list[Path], dict[Path, int]]:
    """Return the folders of a grid's runs that have not begun, and how many of them each other kept grid asks for too.

    Args:
        grid: the grid.
        store: the results folder that keeps it.
    """
    waiting = [name for name in grid.runs if not (store.root / name).is_dir()]
    others = [other for other in kept_grids(store.root)[0] if other.path.name != grid.path.name]
    counts = {other.path: sum(name in other.runs for name in waiting) for other in others}
    return [store.root / name for name in waiting], {path: count for path, count in counts.items() if count}


def _recorded(record: Record, fingerprints: Mapping[str, str], epochs: int | None) -> RunState:
    if is_held(record.folder):  # it is being done again
        return unfinished(record.folder, epochs)
    if record.status != "done":
        return RunState(record.folder, record.status, str(record.data["reason"]))
    current = fingerprints.get(record.spec["method"])
    stale = current and current != record.data["method"].get("fingerprint")
    return RunState(record.folder, "stale" if stale else "done")


def unfinished(folder: Path, epochs: int | None) -> RunState:
    """Return the state of a run that has a folder and no record, or is being done again: running or interrupted.

    Args:
        folder: the run's.
        epochs: how many it trains, if that is known.
    """
    state = "running" if is_held(folder) else "interrupted"
    try:
        return RunState(folder, state, epoch=last_epoch(folder, epochs))
    except ValueError as error:
        return RunState(folder, state, str(error))
