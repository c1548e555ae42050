"""One run as plain data, for a launcher that uses other processes or machines. The store is the only way back."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields, replace
from pathlib import Path
from types import UnionType
from typing import Any, get_origin, get_type_hints

from vhbench.datasets.problems import load_checked
from vhbench.errors import DataError, StoreError, UsageError
from vhbench.grid.cells import Cell, make_cell
from vhbench.grid.runner import Work, record_end, run_cell
from vhbench.grid.settings import Observer, Settings
from vhbench.plugins.registry import Registry
from vhbench.runs.made_with import MadeWith
from vhbench.runs.record import Record
from vhbench.runs.spec import RunSpec
from vhbench.runs.store import Store


@dataclass(frozen=True)
class Job:
    """All that another process needs to do one run: JSON values only.

    Attributes:
        run: its folder below the results folder.
        spec: the run's specification.
        method: as the user named it.
        protocol: as the user named it.
        recorded: digest of the record that is to be replaced, if there was one when the grid was planned.
        folder: the working folder, to which all paths are relative.
        out: the results folder.
        data: the folder of the feature files, if one was named.
        plugins: files with further methods.
        allow_counts: let pass files of another size than the protocol expects.
        tuned: the record's entry `tuned`; empty where no study chose the hyper-parameters.
        settings: how it is done, see `vhbench.grid.settings.Settings`.
    """

    run: str
    spec: Mapping[str, Any]
    method: str
    protocol: str
    recorded: str | None
    folder: str
    out: str
    data: str | None
    plugins: list[str]
    allow_counts: bool
    tuned: Mapping[str, Any]
    settings: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return the job as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any) -> Job:
        """Read what `to_json` gave.

        Raises:
            UsageError: it is not a job of this version.
        """
        if not isinstance(value, dict) or not _is_sound(value):
            raise UsageError("This is not a job of this version of vhbench: launch the grid again.")
        return cls(**value)


HINTS = get_type_hints(Job)


def _is_sound(value: Mapping[str, Any]) -> bool:
    """Say whether a job has the entries that it must have, of their types."""
    # what stands in brackets, as in list[str], is looked at below
    kinds = {name: hint if isinstance(hint, UnionType) else get_origin(hint) or hint for name, hint in HINTS.items()}
    return (
        value.keys() == kinds.keys()
        and all(isinstance(value[name], kind) for name, kind in kinds.items())
        and all(isinstance(plugin, str) for plugin in value["plugins"])
        and not any("\0" in value[name] for name in ("folder", "out", "protocol"))
        and value["settings"].keys() <= {field.name for field in fields(Settings)}
        and value["spec"].keys() <= {field.name for field in fields(RunSpec)}
        and {field.name for field in fields(RunSpec) if field.default is MISSING} <= value["spec"].keys()
    )


def _enter(folder: str) -> None:
    """Make a job's folder the working folder."""
    try:
        os.chdir(folder)
    except OSError as error:
        raise StoreError(f"Cannot work in {folder}: {error.strerror or error}. Launch the grid again.") from error


def job_of(cell: Cell, work: Work, device: str | None = None, sharing: int = 1) -> Job:
    """Return a run as data for another process.

    Args:
        cell: the run.
        work: how it is done.
        device: what it computes on; None: what the user said.
        sharing: how many runs at a time compute there.
    """
    sources = work.sources
    method, protocol = cell.asked
    return Job(
        run=cell.spec.folder,
        spec=cell.spec.to_json(),
        method=method,
        protocol=protocol,
        recorded=_digest(cell.record),
        folder=str(Path.cwd()),
        out=str(work.store.root),
        data=str(sources.data) if sources.data else None,
        plugins=[str(plugin) for plugin in sources.plugins],
        allow_counts=sources.allow_counts,
        tuned=dict(cell.tuned),
        settings=asdict(replace(work.settings, device=device or work.settings.device, sharing=sharing)),
    )


def do(job: Job, observer: Observer) -> Record | None:
    """Do a run in this process, from its data alone, as `run_cell` does it.

    Returns:
        Its record; None where another process does it or has done it since the grid was planned.

    Raises:
        UsageError: the method, the protocol or the device is not there.
        DataError: the protocol's data are not there, or not those that the grid was planned with.
        StoreError: the store cannot be written.
    """
    _enter(job.folder)
    store = Store(job.out)
    cell = _cell(job, store)
    if _digest(cell.record) != job.recorded:
        observer.finished(cell, cell.record)
        return None
    return run_cell(cell, store, Settings(**job.settings), observer)


def record_job_end(job: Job, reason: str, printed: str) -> None:
    """Record a run as failed whose process ended before it could do so itself, unless it is recorded after all.

    Args:
        job: the run.
        reason: what ended the process, in one sentence.
        printed: the last that it printed.

    Raises:
        VhbenchError: as for `do`.
    """
    _enter(job.folder)
    store = Store(job.out)
    cell = _cell(job, store)
    if _digest(cell.record) == job.recorded:
        record_end(cell, store, reason, printed)


def _cell(job: Job, store: Store) -> Cell:
    """Open the run's data and find its method."""
    registry = Registry(job.plugins)
    entry, protocol = registry.method(job.method), registry.protocol(job.protocol)
    data = Path(job.data) if job.data else None
    splits = load_checked(protocol, data, job.allow_counts)
    planned = RunSpec(**job.spec)
    digests = {split.name: split.digests() for split in splits}
    spec = replace(planned, method=entry.name, protocol=protocol.name, version=protocol.version, splits=digests)
    if spec.id != planned.id:
        raise DataError(
            f"The data of {job.protocol}, or vhbench itself, are not what they were when the grid was planned: run the "
            "same command again."
        )
    made_with = MadeWith.given(job.protocol, protocol.name, data, registry.plugins)
    asked = (job.method, job.protocol)
    return make_cell(spec, entry, protocol, splits, store, asked, made_with, tuned=job.tuned)


def _digest(record: Record | None) -> str | None:
    if record is None:
        return None
    return hashlib.sha256(json.dumps(record.data, sort_keys=True).encode()).hexdigest()
