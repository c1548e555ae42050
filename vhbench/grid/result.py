"""What one run comes to: train, encode, score."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from vhbench.checkpoint import Checkpoint
from vhbench.codes import pack
from vhbench.errors import MethodError
from vhbench.features.normalize import Normalization, Scaling
from vhbench.features.placement import place
from vhbench.grid.at_epochs import AtEpochs
from vhbench.grid.cells import Cell
from vhbench.grid.keeping import cut_files, model_files
from vhbench.grid.related import codes_from_longer, nested
from vhbench.grid.settings import Observer, Settings
from vhbench.method import Budget, Epoch, FitContext, Method
from vhbench.runs.record import CODES, CURVES, PER_QUERY
from vhbench.runs.spec import split_precision
from vhbench.runs.store import RunFolder, Store
from vhbench.runs.warnings import steps_of
from vhbench.system import environment, gpus
from vhbench.system.text import plain
from vhbench.videos import VideoSet


class Result:
    """What one run produced: the record's entries and the files beside it."""

    def __init__(
        self, cell: Cell, folder: RunFolder, store: Store, settings: Settings, device: str, observer: Observer
    ):
        self.arrays: dict[str, dict[str, np.ndarray]] = {}
        self._cell = cell
        self._features: str | None = None
        self._scaling = Scaling()
        self._epochs: int | None = None
        self.octets: dict[str, bytes] = {}
        longer = codes_from_longer(cell, store) if nested(cell) else None
        if longer and settings.keep_model:
            self.octets = cut_files(cell, longer[0]) or {}
            longer = longer if self.octets else None  # it trains, to have a model
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

        on_the_way = self._at_epochs(folder, settings)
        context = replace(self._context(folder, settings, device, observer), show=on_the_way)
        with isolated_torch(context), gpus.current(device):
            started = time.perf_counter()
            method = self._fit(context, settings, observer)
            fitted = time.perf_counter()
            codes = self._encode(method)
            encode_s = time.perf_counter() - fitted
        if settings.keep_model:
            self._keep_model(method, codes, device, observer)
        videos = sum(len(array) for array in codes.values())
        if self._epochs and (lacking := on_the_way.lacking()):
            observer.said(f"no scores at epoch {', '.join(map(str, lacking))}: it was not trained now", self._cell)
        fit_s = fitted - started - on_the_way.seconds
        timing = {"fit_s": fit_s, "encode_s": encode_s, "videos_per_s": videos / encode_s}
        steps = steps_of(self._cell.spec.to_json(), len(self._cell.splits[0].train.videos), self._epochs)
        work = {"timing": timing, "steps": steps, "learnt_numbers": _learnt_numbers(method)}
        return codes, {**work, **on_the_way.to_record()}

    def _keep_model(self, method: Method, codes: dict[str, np.ndarray], device: str, observer: Observer) -> None:
        """Keep what encoding needs; a failure is said and harms no run."""
        try:
            self.octets = model_files(self._cell, method, self._scaling, codes, device)
        except Exception as error:
            observer.said(f"no model is kept: {' '.join(plain(error).split())}", self._cell)

    def _at_epochs(self, folder: RunFolder, settings: Settings) -> AtEpochs:
        from vhbench.scoring.splits import score_splits

        cell = self._cell

        def score(method: Method) -> Mapping[str, float | None]:
            return score_splits(cell.splits, self._encode(method), cell.protocol.ks).scores

        return AtEpochs(settings.eval_at, folder.checkpoint, _made_by(cell), score)

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
            checkpoint=Checkpoint(folder.checkpoint, _made_by(cell), settings.checkpoint_every),
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


def _made_by(cell: Cell) -> str:
    """Return what a checkpoint is of: the run, and the code of its method."""
    return f"{cell.spec.id} {cell.entry.fingerprint}"


def _learnt_numbers(method: Method) -> int | None:
    """Return how many numbers a fitted method holds; None where it keeps other things than arrays and networks."""
    from vhbench.cost import learnt

    try:
        return learnt(method)[0]
    except MethodError:
        return None


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
