"""One run as plain data, for a launcher that uses other processes or machines. The store is the only way back."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from vhbench.errors import DataError, UsageError
from vhbench.grid.order import Estimates
from vhbench.grid.plan import Cell, make_cell
from vhbench.grid.runner import Observer, Settings, Work, record_end, run_cell
from vhbench.plugins.registry import Registry
from vhbench.runs.record import Record
from vhbench.runs.spec import RunSpec
from vhbench.runs.store import Store


@dataclass(frozen=True)
class Job:
    """All that another process needs to do one run: JSON values only.

    Attributes:
        id: the run's.
        run: its folder below the results folder.
        method: as the user named it.
        protocol: as the user named it.
        bits: code length.
        seed: the run's seed.
        params: every hyper-parameter with its value.
        budget: "epochs" and "videos", as in a specification.
        precision: "float32" or "bf16".
        allow_counts: let pass files of another size than the protocol expects.
        recorded: digest of the record that is to be replaced, if there was one when the grid was planned.
        folder: the working folder, to which all paths are relative.
        out: the results folder.
        data: the folder of the feature files, if one was named.
        plugins: files with further methods.
        device: "auto", "cpu" or "cuda:N".
        deterministic: use deterministic GPU kernels.
        checkpoint_every: seconds between checkpoints.
    """

    id: str
    run: str
    method: str
    protocol: str
    bits: int
    seed: int
    params: Mapping[str, Any]
    budget: Mapping[str, int | None]
    precision: str
    allow_counts: bool
    recorded: str | None
    folder: str
    out: str
    data: str | None
    plugins: list[str]
    device: str
    deterministic: bool
    checkpoint_every: float

    def to_json(self) -> dict[str, Any]:
        """Return the job as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any) -> Job:
        """Read what `to_json` gave.

        Raises:
            UsageError: it is not a job of this version.
        """
        names = {field.name for field in fields(cls)}
        if not isinstance(value, dict) or value.keys() != names:
            raise UsageError("This is not a job of this version of vhbench: launch the grid again.")
        return cls(**value)


def job_of(cell: Cell, work: Work) -> Job:
    """Return a run as data for another process."""
    spec, settings, sources = cell.spec, work.settings, work.sources
    method, protocol = cell.asked
    return Job(
        id=spec.id,
        run=spec.folder,
        method=method,
        protocol=protocol,
        bits=spec.bits,
        seed=spec.seed,
        params=dict(spec.params),
        budget=dict(spec.budget),
        precision=spec.precision,
        allow_counts=sources.allow_counts,
        recorded=_digest(cell.record),
        folder=str(Path.cwd()),
        out=str(work.store.root),
        data=str(sources.data) if sources.data else None,
        plugins=[str(plugin) for plugin in sources.plugins],
        device=settings.device,
        deterministic=settings.deterministic,
        checkpoint_every=settings.checkpoint_every,
    )


def longest_first(cells: Sequence[Cell], store: Store) -> list[Cell]:
    """Return the runs in the order in which a launcher that does several at a time is soonest done."""
    estimates = Estimates(store.records()[0])
    return sorted(cells, key=lambda cell: estimates.rank(cell.spec), reverse=True)


def measured_against(cell: Cell) -> str | None:
    """Return the id of the run that a cross-data-set run is compared with."""
    other = cell.splits[0].in_domain
    if other is None:
        return None
    return replace(cell.spec, protocol=other.protocol, version=other.version, splits=other.splits).id


def recorded_since(cell: Cell, store: Store) -> Record | None:
    """Return the record that a run got after the grid was planned, or None where it has not got one."""
    record = store.read(cell.spec)
    return record if record and (cell.record is None or record.data != cell.record.data) else None


def do(job: Job, observer: Observer) -> Record | None:
    """Do a run in this process, from its data alone, as `run_cell` does it.

    Returns:
        Its record; None where another process does it or has done it since the grid was planned.

    Raises:
        UsageError: the method, the protocol or the device is not there.
        DataError: the protocol's data are not there, or not those that the grid was planned with.
        StoreError: the store cannot be written.
    """
    os.chdir(job.folder)
    store = Store(job.out)
    cell = _cell(job, store)
    if _digest(cell.record) != job.recorded:
        observer.finished(cell, cell.record)
        return None
    return run_cell(cell, store, Settings(job.device, job.deterministic, job.checkpoint_every), observer)


def record_job_end(job: Job, reason: str, printed: str) -> None:
    """Record a run as failed whose process ended before it could do so itself, unless it is recorded after all.

    Args:
        job: the run.
        reason: what ended the process, in one sentence.
        printed: the last that it printed.

    Raises:
        VhbenchError: as for `do`.
    """
    os.chdir(job.folder)
    store = Store(job.out)
    cell = _cell(job, store)
    if _digest(cell.record) == job.recorded:
        record_end(cell, store, reason, printed)


def _cell(job: Job, store: Store) -> Cell:
    """Open the run's data and find its method."""
    registry = Registry(job.plugins)
    entry, protocol = registry.method(job.method), registry.protocol(job.protocol)
    splits = protocol.load(Path(job.data) if job.data else None, allow_counts=job.allow_counts)
    spec = RunSpec(
        method=entry.name,
        params=job.params,
        bits=job.bits,
        seed=job.seed,
        budget=job.budget,
        precision=job.precision,
        protocol=protocol.name,
        version=protocol.version,
        splits={split.name: split.digests() for split in splits},
    )
    if spec.id != job.id:
        raise DataError(
            f"The data of {job.protocol}, or vhbench itself, are not what they were when the grid was planned: run the "
            "same command again."
        )
    return make_cell(spec, entry, protocol, splits, store, (job.method, job.protocol))


def _digest(record: Record | None) -> str | None:
    if record is None:
        return None
    return hashlib.sha256(json.dumps(record.data, sort_keys=True).encode()).hexdigest()
