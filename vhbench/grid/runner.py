"""Working off a grid: claim a run, train, encode, score, and record it, whatever happens."""

from __future__ import annotations

import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from vhbench.checkpoint import Checkpoint
from vhbench.codes import pack
from vhbench.errors import DeviceError, MethodError, StoreError, VhbenchError
from vhbench.features.normalize import Normalization, Scaling
from vhbench.features.placement import place, release
from vhbench.grid.cells import Cell, changed_params, recorded_since
from vhbench.grid.limits import conflict, less_memory
from vhbench.grid.related import against_in_domain, codes_from_longer, nested
from vhbench.method import Budget, Epoch, FitContext, Method
from vhbench.plugins.launcher import Launcher
from vhbench.runs.record import CODES, CURVES, PER_QUERY, SCHEMA, TRACEBACK, Record
from vhbench.runs.references import keep_references
from vhbench.runs.spec import budget_name, split_precision
from vhbench.runs.store import RunFolder, Store
from vhbench.runs.warnings import all_warnings, steps_of
from vhbench.system import environment, gpus
from vhbench.system.text import plain
from vhbench.version import __version__
from vhbench.videos import VideoSet


@dataclass(frozen=True)
class Settings:
    """How runs are done: nothing here can change a result's identity.

    Attributes:
        device: "auto", "cpu" or "cuda:N".
        deterministic: use deterministic GPU kernels.
        checkpoint_every: seconds between checkpoints.
        sharing: how many runs at a time use the same GPU.
    """

    device: str = "auto"
    deterministic: bool = False
    checkpoint_every: float = 30.0
    sharing: int = 1


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
    sources: Sources = Sources(),
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
        result = _Result(cell, folder, store, settings, device, observer)
    except StoreError:
        raise
    except (Exception, SystemExit) as error:
        reason = _out_of_memory(error, cell, settings, device) or _reason(error)
        return folder.publish({**base, "status": "failed", "reason": reason}, texts={TRACEBACK: traceback.format_exc()})
    compared = against_in_domain(cell, result.record["scores"], store)
    done = {**base, **result.record, **compared, "status": "done", "reason": None}
    return folder.publish(done, arrays=result.arrays, texts=result.texts)


class _Result:
    """What one run produced: the record's entries and the files beside it."""

    def __init__(
        self, cell: Cell, folder: RunFolder, store: Store, settings: Settings, device: str, observer: Observer
    ):
        self.arrays: dict[str, dict[str, np.ndarray]] = {}
        self._cell = cell
        self._features: str | None = None
        self._scaling = Scaling()
        self._epochs: int | None = None
        longer = codes_from_longer(cell, store) if nested(cell) else None
        work: dict[str, Any]
        if longer:
            source, codes = longer
            observer.said(f"its codes are the first {cell.spec.bits} bits of those of {source.spec['bits']} bits", cell)
            work = {name: source.data.get(name) for name in ("timing", "memory", "steps", "learnt_numbers")}
            work["cut_from"] = {"id": source.data["id"], "bits": source.spec["bits"]}
        else:
            codes, work = self._work(folder, settings, device, observer)
        self.arrays[CODES] = {
            f"{split.name}/{role}": pack(codes[part.digest])
            for split in cell.splits
            for role, part in (("query", split.query), ("database", split.database))
        }
        from vhbench.scoring.splits import score_splits  # loads numba, which planning needs not

        scored = score_splits(cell.splits, codes, cell.protocol.ks)
        self.arrays[PER_QUERY] = scored.per_query
        self.texts = {CURVES: scored.curves}
        self._check_unchanged()
        self.record: dict[str, Any] = {
            "scores": scored.scores,
            "audit": scored.audit,
            "chance": scored.chance,
            "queries": scored.queries,
            "memory": environment.peak_memory(device),
            **work,
            "timing": {**work["timing"], "score_s": scored.seconds},
            "selection": "last epoch" if cell.spec.budget["epochs"] else "none",
            "environment": {
                **environment.describe(device),
                "deterministic": settings.deterministic or device == "cpu",
                "features": self._features,
                "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            },
        }

    def _work(
        self, folder: RunFolder, settings: Settings, device: str, observer: Observer
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Train and encode; return the codes and what it cost."""
        from vhbench.training import isolated_torch

        context = self._context(folder, settings, device, observer)
        with isolated_torch(context), gpus.current(device):
            started = time.perf_counter()
            method = self._fit(context, settings, observer)
            fitted = time.perf_counter()
            codes = self._encode(method)
            encode_s = time.perf_counter() - fitted
        videos = sum(len(array) for array in codes.values())
        timing = {"fit_s": fitted - started, "encode_s": encode_s, "videos_per_s": videos / encode_s}
        steps = steps_of(self._cell.spec.to_json(), len(self._cell.splits[0].train.videos), self._epochs)
        return codes, {"timing": timing, "steps": steps, "learnt_numbers": _learnt_numbers(method)}

    def _check_unchanged(self) -> None:
        for split in self._cell.splits:
            split.check_unchanged()

    def _context(self, folder: RunFolder, settings: Settings, device: str, observer: Observer) -> FitContext:
        cell, spec = self._cell, self._cell.spec

        def report(epoch: Epoch) -> None:
            self._check_unchanged()
            folder.log_epoch(epoch)
            self._epochs = epoch.total
            observer.epoch(cell, epoch)

        return FitContext(
            seed=spec.seed,
            device=device,
            budget=Budget(**spec.budget),
            precision=split_precision(spec.precision)[0],
            deterministic=settings.deterministic,
            report=report,
            checkpoint=Checkpoint(folder.checkpoint, f"{spec.id} {cell.entry.fingerprint}", settings.checkpoint_every),
        )

    def _fit(self, context: FitContext, settings: Settings, observer: Observer) -> Method:
        cell, spec = self._cell, self._cell.spec
        method = cell.entry.make(spec.bits, **spec.params)
        train = _limited(cell.splits[0].train.videos, context)
        self._scaling = Normalization.parse(spec.normalize).learn(train)
        train = self._scaling.of(train)
        if split_precision(spec.precision)[1]:
            train = train.halved()
        if spec.budget["epochs"]:  # what reads the videos once or twice reads them where they lie
            train, placement = place(train, context.device, settings.sharing)
            self._features = placement.text
            observer.placed(cell, placement.text)
        fitted = method.fit(train, context)
        if not isinstance(fitted, Method):
            raise MethodError(f"{type(method).__name__}.fit must return self, not {type(fitted).__name__}.")
        return fitted

    def _encode(self, method: Method) -> dict[str, np.ndarray]:
        """Return the codes of every query and database part, by the part's digest: equal parts are encoded once."""
        codes: dict[str, np.ndarray] = {}
        for split in self._cell.splits:
            for part in (split.query, split.database):
                if part.digest not in codes:
                    videos = self._scaling.of(part.videos)
                    codes[part.digest] = _checked_codes(method, videos, self._cell.spec.bits)
        return codes


def _learnt_numbers(method: Method) -> int | None:
    """Return how many numbers a fitted method holds; None where it keeps other things than arrays and networks."""
    from vhbench.cost import learnt

    try:
        return learnt(method)[0]
    except MethodError:
        return None


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


def _limited(train: VideoSet, context: FitContext) -> VideoSet:
    """Apply the budget's limit on training videos: a random choice, kept in order."""
    videos = context.budget.videos
    if videos is None or videos >= len(train):
        return train
    return train.subset(np.sort(context.rng("budget").choice(len(train), videos, replace=False)))


def _checked_codes(method: Method, videos: VideoSet, bits: int) -> np.ndarray:
    """Return the codes of videos as an array of their own: the method may use the one that it returns again."""
    codes = method.encode(videos)
    wanted = (len(videos), bits)
    if not isinstance(codes, np.ndarray) or codes.dtype != bool or codes.shape != wanted:
        found = f"{codes.dtype} {codes.shape}" if isinstance(codes, np.ndarray) else type(codes).__name__
        raise MethodError(
            f"{type(method).__name__}.encode must return a bool array of shape {wanted}; it returned {found}."
        )
    if np.ma.is_masked(codes):
        raise MethodError(f"{type(method).__name__}.encode returned codes some bits of which are masked.")
    own: np.ndarray = np.ascontiguousarray(codes).view(np.uint8) != 0  # a bool that a view has made may be a 2
    return own
