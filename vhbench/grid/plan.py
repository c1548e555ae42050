"""From what the user asked for to the list of runs, each with its state in the results folder."""

from __future__ import annotations

import contextlib
import itertools
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vhbench.datasets.problems import load_checked, said_of
from vhbench.errors import UsageError, unknown
from vhbench.features.cache import digesting_anew
from vhbench.features.normalize import Normalization
from vhbench.grid.cells import Cell, make_cell
from vhbench.grid.keeping import lacks_model
from vhbench.grid.order import measured_last
from vhbench.grid.sweep import Texts, combinations, spread
from vhbench.method import Budget
from vhbench.plugins.entries import MethodEntry
from vhbench.plugins.registry import Registry
from vhbench.protocol import Protocol, Split
from vhbench.runs.made_with import MadeWith
from vhbench.runs.spec import RunSpec, resolve_budget, resolve_params, resolve_preset, split_precision
from vhbench.runs.store import Store
from vhbench.runs.tuned import Tuned

MAX_BITS = 512

log = logging.getLogger(__name__)

RERUN = {
    "missing": "runs without a record",
    "failed": "missing runs, and those that failed or were skipped",
    "stale": "missing runs, and those made with other source code of the method",
    "model": "missing runs, and finished ones that have kept no model (with --keep-model)",
    "all": "every run",
}
_STATES = {
    "missing": {"missing"},
    "failed": {"missing", "failed", "skipped"},
    "stale": {"missing", "stale"},
    "model": {"missing"},
    "all": {"missing", "failed", "skipped", "stale", "done"},
}


@dataclass(frozen=True)
class Grid:
    """What was asked for: every combination of methods, their settings, protocols, code lengths and seeds.

    Attributes:
        methods: names; `all` stands for every usable one.
        protocols: names, or paths of manifests.
        bits: code lengths.
        seeds: seeds.
        params: method -> hyper-parameter -> its value, or several, of which every combination is a setting of the
            method; see `vhbench.grid.sweep.Texts`.
        tuned: settings that studies have chosen, under `params`.
        preset: which published settings to start from: "auto", "none" or a preset's name; see `resolve_preset`.
        budget: "paper", "quick" or "smoke"; None takes each protocol's own.
        epochs: overrides the budget's epochs.
        precision: as in `vhbench.runs.spec.RunSpec`.
        normalize: feature scaling: "none", "l2", "standard", "whiten" or "whiten=STRENGTH".
        allow_counts: accept files of another size than a protocol expects, and record it.
    """

    methods: Sequence[str]
    protocols: Sequence[str]
    bits: Sequence[int]
    seeds: Sequence[int] = (0,)
    params: Mapping[str, Mapping[str, Texts]] = field(default_factory=dict)
    tuned: Sequence[Tuned] = ()
    preset: str = "auto"
    budget: str | None = None
    epochs: int | None = None
    precision: str = "float32"
    normalize: str = "none"
    allow_counts: bool = False


def plan(grid: Grid, registry: Registry, store: Store, data: Path | None, *, anew: bool = False) -> list[Cell]:
    """Return the cells of a grid in the order they will be done: those that others are measured against come first.

    Args:
        grid: what was asked for.
        registry: finds methods and protocols.
        store: the results folder.
        data: the data folder or None.
        anew: read and digest every feature file again, whatever is known of it.

    Raises:
        UsageError: an unknown name or an impossible value.
        DataError: a protocol's data are missing or faulty.
    """
    _check(grid)
    normalize = str(Normalization.parse(grid.normalize))
    entries = _entries(grid, registry)
    changed = _changed(grid, registry, entries)
    cells = []
    for name, protocol, splits in _opened(grid, registry, data, anew):
        digests = {split.name: split.digests() for split in splits}
        made_with = MadeWith.given(name, protocol.name, data, registry.plugins)
        for method, entry in entries.items():
            swept = [key for key, texts in changed[entry.name].items() if len(texts) > 1]
            for setting in combinations(changed[entry.name]):
                values, budget = settle(grid, entry, protocol, setting)
                words = ", ".join(f"{key}={values[key]}" for key in swept)
                tuned = next((t.entry for t in grid.tuned if t.method == entry.name and t.is_of(values)), None)
                for bits, seed in itertools.product(dict.fromkeys(grid.bits), dict.fromkeys(grid.seeds)):
                    spec = RunSpec(
                        method=entry.name,
                        params=values,
                        bits=bits,
                        seed=seed,
                        budget={"epochs": budget.epochs, "videos": budget.videos},
                        precision=grid.precision if budget.epochs else "float32",  # nothing else runs in less
                        protocol=protocol.name,
                        version=protocol.version,
                        splits=digests,
                        normalize=normalize,
                    )
                    asked = (method, name)
                    cells.append(make_cell(spec, entry, protocol, splits, store, asked, made_with, words, tuned))
    return measured_last(list({cell.spec.id: cell for cell in cells}.values()))  # 0.001 and 1e-3 are one setting


def settle(
    grid: Grid, entry: MethodEntry, protocol: Protocol, setting: Mapping[str, str]
) -> tuple[dict[str, Any], Budget]:
    """Return all hyper-parameters of a method and what it may spend on training, as a grid has them.

    Args:
        grid: says the preset and the budget.
        entry: the method.
        protocol: what it trains on.
        setting: the hyper-parameters that are set: name -> text.

    Raises:
        UsageError: an unknown preset of the method, or an impossible value.
    """
    values = resolve_params(entry, setting, resolve_preset(entry, grid.preset, protocol.trained_on))
    return values, resolve_budget(grid.budget or protocol.budget, grid.epochs, values.get("epochs"))


def _opened(
    grid: Grid, registry: Registry, data: Path | None, anew: bool
) -> list[tuple[str, Protocol, Sequence[Split]]]:
    """Open each protocol, by the name given; say which labels were read, and what contradicts itself in the data."""
    found: list[tuple[str, Protocol, Sequence[Split]]] = []
    with digesting_anew() if anew else contextlib.nullcontext():
        for name, protocol in (each for text in dict.fromkeys(grid.protocols) for each in registry.to_run(text)):
            splits = load_checked(protocol, data, grid.allow_counts)
            found.append((name, protocol, splits))
            lines, warnings = said_of(splits, protocol.name)
            for line in [] if protocol.judged_by_loss else lines:
                log.info("%s", line)
            for line in warnings:
                log.warning("%s", line)
    return found


def check_rerun(rerun: str) -> None:
    """Raise UsageError unless this is a choice of `--rerun`."""
    if rerun not in RERUN:
        raise unknown("choice of --rerun", rerun, RERUN)


def to_do(cells: Sequence[Cell], rerun: str) -> list[Cell]:
    """Return the cells that `--rerun` asks for.

    Raises:
        UsageError: an unknown choice.
    """
    check_rerun(rerun)
    return [cell for cell in cells if cell.state in _STATES[rerun] or (rerun == "model" and lacks_model(cell))]


def _entries(grid: Grid, registry: Registry) -> dict[str, MethodEntry]:
    """Return the grid's methods, each once, by the name given; `all` stands for every usable one."""
    usable = [entry.name for entry in registry.methods() if not entry.broken]
    names = [name for method in grid.methods for name in (usable if method == "all" else [method])]
    found: dict[str, MethodEntry] = {}
    given: dict[str, MethodEntry] = {}
    for name in dict.fromkeys(names):
        entry = registry.method(name)
        if entry.name not in found:
            found[entry.name] = given[name] = entry
        elif found[entry.name] is not entry:
            origins = f"{found[entry.name].origin} and {entry.origin}"
            raise UsageError(f"--method names two methods {entry.name!r} ({origins}): run them with different --out.")
    return given


def _changed(
    grid: Grid, registry: Registry, entries: Mapping[str, MethodEntry]
) -> dict[str, dict[str, tuple[str, ...]]]:
    """Return the values of the hyper-parameters that the grid sets, by method; check that its preset is one."""
    changed: dict[str, dict[str, tuple[str, ...]]] = {entry.name: {} for entry in entries.values()}
    for tuned in grid.tuned:
        if tuned.method not in changed:
            raise UsageError(
                f"A setting of {tuned.method} was tuned, which this grid does not run: add it to --method."
            )
        changed[tuned.method] |= spread({tuned.method: tuned.texts}, registry)[tuned.method]
    for method, values in grid.params.items():
        entry = registry.method(method)
        if entry not in entries.values():
            raise UsageError(f"--set names {method}, which this grid does not run: add it to --method.")
        changed[entry.name] |= spread({method: values}, registry)[method]
    presets = {"auto", "none"}.union(*(entry.presets for entry in entries.values()))
    if grid.preset not in presets:
        raise unknown("preset", grid.preset, presets, "`vhbench describe METHOD` shows a method's.")
    return changed


def _check(grid: Grid) -> None:
    for bits in grid.bits:
        if not 1 <= bits <= MAX_BITS:
            raise UsageError(f"--bits takes code lengths from 1 to {MAX_BITS}, not {bits}.")
    for seed in grid.seeds:
        if seed < 0:
            raise UsageError(f"--seeds takes numbers from 0 up, not {seed}.")
    resolve_budget(grid.budget or "paper", grid.epochs, None)
    split_precision(grid.precision)
