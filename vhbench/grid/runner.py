"""Working off a grid: claim a run, train, encode, score, and record it, whatever happens."""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vhbench.errors import DeviceError, StoreError, VhbenchError
from vhbench.features.placement import release
from vhbench.grid.cells import Cell, changed_params, recorded_since
from vhbench.grid.limits import conflict, less_memory
from vhbench.grid.related import against_in_domain
from vhbench.grid.result import Result
from vhbench.grid.settings import NOWHERE, Observer, Settings, Sources
from vhbench.plugins.launcher import Launcher
from vhbench.runs.record import SCHEMA, TRACEBACK, Record
from vhbench.runs.references import keep_references
from vhbench.runs.spec import budget_name
from vhbench.runs.store import RunFolder, Store
from vhbench.runs.warnings import all_warnings
from vhbench.system import environment, gpus
from vhbench.system.text import plain
from vhbench.version import __version__


@dataclass(frozen=True)
class Work:
    """What a launcher gets beside the cells. Called with a cell it does that run, here and now.

    A launcher that uses other processes hands them `vhbench.launch.jobs.job_of(cell, work)` instead.
    """

    store: Store
    settings: Settings
    observer: Observer
    sources: Sources

    def __call__(self, cell: Cell) -> Record | None:
        """Do one run, as `run_cell`."""
        return run_cell(cell, self.store, self.settings, self.observer)


def run_cells(
    cells: Sequence[Cell],
    store: Store,
    settings: Settings,
    launcher: Launcher,
    observer: Observer,
    sources: Sources = NOWHERE,
    options: Mapping[str, Any] | None = None,
) -> None:
    """Do the cells; their results are in the store afterwards.

    Args:
        cells: the runs.
        store: where their results go.
        settings: how they are done.
        launcher: works them off.
        observer: hears what happens.
        sources: where their methods and videos come from.
        options: the launcher's own.

    Raises:
        VhbenchError: the store cannot be written, the launcher refuses an option, or a GPU answers no longer.
    """
    if settings.deterministic:
        gpus.set_up_cublas()
    try:
        launcher(cells, Work(store, settings, observer, sources), **(options or {}))
    finally:
        release()


def run_cell(cell: Cell, store: Store, settings: Settings, observer: Observer) -> Record | None:
    """Do one run and record it; return None if another process does it or has just done it.

    Raises:
        UsageError: the device is not there, or cannot be used.
        DeviceError: the run is recorded as failed, and has left the GPU in a state in which this process cannot use it.
        VhbenchError: the store cannot be written.
    """
    if settings.deterministic:
        gpus.set_up_cublas()
    with store.claim(cell.spec) as folder:
        if folder is None or (current := recorded_since(cell, store)):
            observer.finished(cell, current if folder else None)
            return None
        observer.started(cell)
        device = environment.resolve_device(settings.device)
        with environment.default_settings():
            record = _attempt(cell, folder, store, settings, device, observer)
        if record.status == "done":
            for text in all_warnings(record):
                observer.said(f"mind: {text}", cell)
            _keep_references(cell, store, settings, observer)
        observer.finished(cell, record)
    if record.status == "failed" and gpus.lost(device):
        raise DeviceError(
            f"{device} answers no longer after the error of {cell.label}, so this process ends: the same command goes "
            "on with the other runs."
        )
    return record


def _keep_references(cell: Cell, store: Store, settings: Settings, observer: Observer) -> None:
    """Keep the reference scores of a run's splits; a failure is said and harms no run."""
    device = environment.resolve_device(settings.device)
    try:
        keep_references(
            store.root, cell.protocol, cell.splits, cell.protocol.ks, device, lambda text: observer.said(text, cell)
        )
    except Exception as error:
        observer.said(f"no chance, cosine and attainable scores: {_reason(error)}", cell)


def record_end(cell: Cell, store: Store, reason: str, printed: str) -> Record | None:
    """Record a run as failed whose process ended before it could do so itself; for launchers. Its checkpoint stays.

    Args:
        cell: the run, as it was planned.
        store: where it is recorded.
        reason: what ended the process, in one sentence.
        printed: the last that it printed.

    Returns:
        The new record; the one that is there where the run, or another process, has recorded it after all; None where
        another process does it.
    """
    with store.claim(cell.spec) as folder:
        if folder is None or (current := recorded_since(cell, store)):
            return current if folder else None
        base = {**_base_record(cell), "status": "failed", "reason": plain(reason)}
        return folder.publish(base, texts={TRACEBACK: printed}, keep_checkpoint=True)


def _attempt(
    cell: Cell, folder: RunFolder, store: Store, settings: Settings, device: str, observer: Observer
) -> Record:
    """Train, encode and score; a failure becomes a record with its reason."""
    base = _base_record(cell)
    if device.startswith("cuda"):
        gpus.check_answers(device)
    environment.reset_peak_memory(device)
    try:
        if reason := conflict(cell, device):
            return folder.publish({**base, "status": "skipped", "reason": reason})
        result = Result(cell, folder, store, settings, device, observer)
    except StoreError:
        raise
    except (Exception, SystemExit) as error:
        reason = _out_of_memory(error, cell, settings, device) or _reason(error)
        return folder.publish({**base, "status": "failed", "reason": reason}, texts={TRACEBACK: traceback.format_exc()})
    compared = against_in_domain(cell, result.record["scores"], store)
    done = {**base, **result.record, **compared, "status": "done", "reason": None}
    return folder.publish(done, arrays=result.arrays, texts=result.texts, octets=result.octets)


def _base_record(cell: Cell) -> dict[str, Any]:
    spec = cell.spec
    return {
        "schema": SCHEMA,
        "id": spec.id,
        "spec": spec.to_json(),
        "status": "",
        "reason": None,
        "budget": budget_name(spec.budget["epochs"], spec.budget["videos"], spec.params.get("epochs")),
        "synthetic": cell.protocol.synthetic or any(split.synthetic for split in cell.splits),
        "data": {split.name: dict(split.notes) for split in cell.splits},
        "changed": changed_params(cell),
        "method": {"origin": cell.entry.origin, "fingerprint": cell.entry.fingerprint},
        **cell.made_with.to_json(),
        "vhbench": __version__,
    }


def _out_of_memory(error: BaseException, cell: Cell, settings: Settings, device: str) -> str | None:
    """Say that a GPU had no memory left and what needs less, where that is the error."""
    if not (device.startswith("cuda") and gpus.out_of_memory(error)):
        return None
    return f"{device} has no memory left ({gpus.first_line(error)}). {less_memory(cell, settings.sharing)}"


def _reason(error: BaseException) -> str:
    """Return an error as one line that is never empty."""
    text, kind = " ".join(plain(error).split()), type(error).__name__
    if isinstance(error, MemoryError):
        return f"There was not enough memory{f': {text}' if text else '.'}"
    if not text:
        return kind
    return text if isinstance(error, VhbenchError) else f"{kind}: {text}"
