"""A study: trials are asked for in batches, done as runs on held-out training videos, and the best one is chosen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from vhbench.errors import StoreError, UsageError, unknown
from vhbench.grid.cells import Cell, make_cell
from vhbench.grid.files import CHOSEN, options_of
from vhbench.grid.plan import plan, settle
from vhbench.grid.request import Request, request
from vhbench.grid.runner import run_cells
from vhbench.grid.settings import Observer, Sources
from vhbench.grid.sweep import spread
from vhbench.plugins.entries import NAME, MethodEntry
from vhbench.protocols.held_out import JUDGES, LOSS, suffixed
from vhbench.runs.spec import text_of
from vhbench.runs.store import Store
from vhbench.runs.tuned import ENTRY, Tuned
from vhbench.scoring import Metric
from vhbench.study.kept import STUDY, TRIALS, read_trials, write_toml, write_trials
from vhbench.study.sampling import SAMPLERS, Trial, ask, check_optuna
from vhbench.study.space import Space, digest, read_space, to_json
from vhbench.system.environment import resolve_device
from vhbench.system.locks import hold

FOLDER = "tune"  # below the results folder
BATCH = 5  # trials of a sampler that learns from earlier ones
USUAL_K = 20


@dataclass(frozen=True)
class Question:
    """What a study is asked.

    Attributes:
        method: name.
        protocol: name, or path of a manifest; its training videos are divided.
        space: a TOML file of what is searched, or its content.
        bits: code length.
        trials: how many settings are tried.
        sampler: a name of `SAMPLERS`.
        seed: of the sampler, of the division of the videos, and of every training.
        judge: "loss" or "retrieval"; see `vhbench.protocols.held_out.HeldOut`.
        held_out: share of the training videos that is held out.
        batch: trials at a time; None: 5, or all where the sampler does not learn from earlier ones.
        name: of the study; empty: made of method, protocol, bits and judge.
    """

    method: str
    protocol: str
    space: Path | Mapping[str, Any]
    bits: int = 64
    trials: int = 30
    sampler: str = "tpe"
    seed: int = 0
    judge: str = LOSS
    held_out: float = 0.1
    batch: int | None = None
    name: str = ""

    def __post_init__(self) -> None:
        if self.sampler not in SAMPLERS:
            raise unknown("sampler", self.sampler, SAMPLERS)
        if self.judge not in JUDGES:
            raise unknown("judge", self.judge, JUDGES)
        for option, value in (("trials", self.trials), ("batch", self.batch)):
            if value is not None and value < 1:
                raise UsageError(f"--{option} must be at least 1, not {value}.")
        if not 1e-6 <= self.held_out <= 1 - 1e-6:  # six digits of it stand in a name
            raise UsageError(f"--held-out takes a share of the training videos between 0 and 1, not {self.held_out:g}.")
        if self.name and not NAME.fullmatch(self.name):
            raise UsageError(f"--name {self.name!r} names a folder: use only letters, digits, '.', '_' and '-'.")


@dataclass(frozen=True)
class Tried:
    """A trial and its run.

    Attributes:
        trial: its setting and what it was judged with.
        cell: its run.
    """

    trial: Trial
    cell: Cell

    @property
    def over(self) -> bool:
        """Whether it has been done, well or not."""
        return self.cell.record is not None

    @property
    def state(self) -> str:
        """One of "done", "failed", "skipped", "stale", "running" and "waiting", as `vhbench status` has them."""
        state = "waiting" if self.cell.state == "missing" else self.cell.state
        return "failed" if state == "done" and self.trial.value is None else state

    @property
    def reason(self) -> str:
        """Why it failed; else empty."""
        record = self.cell.record
        return str(record.data["reason"] or "") if record else ""


class Search:
    """A study and how its trials are run.

    Args:
        question: what it is asked.
        options: how runs are done, as `vhbench.grid.request.request` takes them; `out` is the results folder, `params`
            the hyper-parameters that are not searched.

    Raises:
        UsageError: Optuna is not there, a name is unknown or a value impossible.
        DataError: the protocol's data are missing or faulty, or too few to divide.
    """

    def __init__(self, question: Question, options: Mapping[str, Any]):
        check_optuna()
        self.question = question
        self.protocol = suffixed(question.protocol, question.judge, question.held_out, question.seed)
        asked = {"methods": (question.method,), "protocols": (self.protocol,), "bits": (question.bits,)}
        self.request: Request = request({**options, **asked, "seeds": (question.seed,)})
        self.entry: MethodEntry = self.request.registry.method(question.method)
        self.space: Space = read_space(question.space, self.entry)
        self._fixed = self._one_value_each()
        of = self.request.registry.protocol(question.protocol).name
        name = question.name or f"{self.entry.name}-{of}-{question.bits}b-{question.judge}"
        self.folder = Store(self.request.out).root / FOLDER / name
        self.store = Store(self.folder)

    def _one_value_each(self) -> dict[str, str]:
        """Return the hyper-parameters that are not searched: name -> text."""
        found = {}
        for method, values in spread(self.request.grid.params, self.request.registry).items():
            for name, texts in values.items():
                if self.request.registry.method(method) is not self.entry:
                    raise UsageError(f"--set names {method}, and the study is of {self.entry.name}.")
                if name in self.space or len(texts) > 1:
                    raise UsageError(
                        f"{method}.{name} has one place: with --set it is one value, in the space several."
                    )
                found[name] = texts[0]
        return found

    @cached_property
    def base(self) -> Cell:
        """A run on the protocol to tune on with what is not searched; opens the data."""
        return plan(self.request.grid, self.request.registry, self.store, self.request.data)[0]

    @property
    def largest(self) -> bool:
        """Whether the largest value is the best."""
        return self.question.judge != LOSS

    @property
    def metric(self) -> str:
        """What trials are judged with, as it is called."""
        return f"map@{self._k}" if self.largest else "loss"

    @property
    def _k(self) -> int:
        return min(self.base.protocol.ks, key=lambda k: abs(k - USUAL_K))

    @property
    def _settings(self) -> dict[str, Any]:
        """What must be the same each time that the study goes on, by the name of its option."""
        asked, grid = self.question, self.request.grid
        batch = {"batch": asked.batch or BATCH} if asked.sampler != "random" else {}
        given = {name: getattr(grid, name) for name in ("preset", "budget", "epochs", "precision", "normalize")}
        return {
            "method": self.entry.name, "judge": asked.judge, "held-out": asked.held_out, "seed": asked.seed,
            "protocol": self.base.protocol.name, "bits": asked.bits, "sampler": asked.sampler, **batch,
            "space": to_json(self.space), "set": self._fixed, **given, "fingerprint": self.entry.fingerprint,
            "data": {name: dict(digests) for name, digests in self.base.spec.splits.items()},
        }  # fmt: skip

    def run(self, work: Callable[[Sequence[Cell]], object]) -> list[Tried]:
        """Do the trials that are not done, and choose the best when all are.

        Args:
            work: does some runs, e.g. `do`; it may leave them to a queue.

        Returns:
            The trials so far. Where some are not over, the study goes on when it is run again.

        Raises:
            VhbenchError: the study was begun with other settings, another process works on it, or it cannot be judged.
        """
        self.store.check_writable()
        path = self.folder / STUDY / TRIALS
        with hold(path.parent) as held:
            if not held:
                raise StoreError(
                    f"Another process works on the study {self.folder}: wait for it, or give another --name."
                )
            settings = self._settings
            asked = read_trials(path, settings, self.space, self.entry)
            if asked is None:
                self._check_judge()
                asked = []
            while True:
                tried = self._do(asked, work)
                if len(asked) >= self.question.trials or not all(one.over for one in tried):
                    break
                told = [one.trial for one in tried]
                asked += ask(
                    self.space,
                    self.question.sampler,
                    self.question.seed,
                    told,
                    self._next(len(asked)),
                    largest=self.largest,
                )
                runs = {one.cell.spec.folder: one.cell.spec.budget["epochs"] for one in self._all(asked)}
                write_trials(path, settings, asked, runs)
            if all(one.over for one in tried) and (best := self.best(tried)):
                self._write_chosen(best, len(tried))
        return tried

    def _check_judge(self) -> None:
        """Raise UsageError where the judge cannot judge; before any trial is done."""
        if self.question.judge == LOSS:
            from vhbench.study.probe import check_by_loss

            check_by_loss(self.base, self.space, resolve_device(self.request.settings.device))

    def _next(self, done: int) -> int:
        """Return how many trials the next batch has."""
        total, usual = self.question.trials, self.question.trials if self.question.sampler == "random" else BATCH
        batch = self.question.batch or usual
        return min(total, (done // batch + 1) * batch) - done

    def _do(self, asked: Sequence[Mapping[str, Any]], work: Callable[[Sequence[Cell]], object]) -> list[Tried]:
        """Do the runs that are not done and return every trial as it is then."""
        tried = self._all(asked)
        undone: dict[str, Cell] = {}
        for one in tried:
            if not one.over:
                undone.setdefault(one.cell.spec.id, one.cell)  # trials of one setting are one run
        if not undone:
            return tried
        work(list(undone.values()))
        return self._all(asked)

    def _all(self, asked: Sequence[Mapping[str, Any]]) -> list[Tried]:
        return [self._tried(number, params) for number, params in enumerate(asked)]

    def do(self, cells: Sequence[Cell], observer: Observer) -> None:
        """Do runs as the user wants them done."""
        asked = self.request
        sources = Sources(asked.data, asked.plugins, asked.grid.allow_counts)
        launch = asked.registry.launcher(asked.launcher).load()
        run_cells(cells, self.store, asked.settings, launch, observer, sources, asked.launcher_options)

    def _tried(self, number: int, params: Mapping[str, Any]) -> Tried:
        """Return a trial with its run as the store has it."""
        base, texts = self.base, {name: text_of(value) for name, value in params.items()}
        values, budget = settle(self.request.grid, base.entry, base.protocol, {**self._fixed, **texts})
        spec = replace(base.spec, params=values, budget={"epochs": budget.epochs, "videos": budget.videos})
        words = f"trial {number}"
        cell = make_cell(
            spec, base.entry, base.protocol, base.splits, self.store, base.asked, base.made_with, setting=words
        )
        return Tried(Trial(number, params, self._value(cell)), cell)

    def _value(self, cell: Cell) -> float | None:
        """Return what a run was judged with."""
        if cell.record is None or cell.record.status != "done":
            return None
        if not self.largest:
            return float(cell.record.data["held_out"]["loss"])
        return cell.record.scores.get(str(Metric.parse(f"map@{self._k}", "literature", in_database=False)))

    def best(self, tried: Sequence[Tried]) -> Tried | None:
        """Return the best trial, the first of equals; None where none has a value."""
        judged = [(one.trial.value, one) for one in tried if one.trial.value is not None]
        sign = -1 if self.largest else 1
        return min(judged, key=lambda item: sign * item[0])[1] if judged else None

    def _write_chosen(self, best: Tried, trials: int) -> None:
        """Write the best setting as a grid file, with how it was chosen."""
        asked, videos = self.question, len(self.base.splits[0].query.videos)
        entry = {
            "method": self.entry.name, "study": self.folder.name, "judge": asked.judge, "trials": trials,
            "held_out": videos, "space": digest(self.space), "protocol": self.base.protocol.name, "bits": asked.bits,
            "value": best.trial.value, "params": dict(best.trial.params),
        }  # fmt: skip
        params = {self.entry.name: {name: (text,) for name, text in self._fixed.items()}} if self._fixed else {}
        grid = replace(self.request.grid, protocols=(asked.protocol,), params=params, tuned=(Tuned(entry),))
        options = options_of(grid, self.request.data, self.request.plugins)
        del options["seeds"]
        comments = [
            f"Trial {best.trial.number} of {trials}, the best of study {self.folder.name}: {self.metric} "
            f"{best.trial.value:.6g} on {videos} held-out training videos.",
            "vhbench run --config takes this file; --tuned takes its folder, in any grid of the method.",
        ]
        write_toml(self.folder / CHOSEN, comments, {**options, ENTRY: entry})
