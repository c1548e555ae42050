"""What a command or a Python function is asked to run: the grid, its data and results, and how the runs are done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from vhbench.errors import UsageError
from vhbench.grid.cells import Cell
from vhbench.grid.files import keep_grid
from vhbench.grid.keeping import check_keepable, lacking_models
from vhbench.grid.lacking import lacking_epochs, lacking_ks
from vhbench.grid.plan import Grid, check_rerun, plan, to_do
from vhbench.grid.runner import run_cells
from vhbench.grid.settings import Observer, Settings, Sources
from vhbench.grid.sweep import spread
from vhbench.plugins.registry import Registry
from vhbench.runs.record import Record
from vhbench.runs.store import Store
from vhbench.system.environment import check_device


@dataclass(frozen=True)
class Request:
    """Make one with `request`. Its runs are planned when they are first asked for.

    Attributes:
        grid: every combination that is asked for.
        settings: how runs are done.
        out: the results folder.
        data: the folder of the feature files, if one was named.
        plugins: files with further methods.
        launcher: works the runs off.
        launcher_options: its own.
        rerun: "missing", "failed", "stale", "model" or "all", which digests the features anew, too.
        dry_run: the runs are only looked at.
    """

    grid: Grid
    settings: Settings = field(default_factory=Settings)
    out: Path = Path("results")
    data: Path | None = None
    plugins: Sequence[Path | str] = ()
    launcher: str = "inline"
    launcher_options: Mapping[str, Any] = field(default_factory=dict)
    rerun: str = "missing"
    dry_run: bool = False

    @cached_property
    def registry(self) -> Registry:
        """Finds methods, protocols and launchers."""
        return Registry(self.plugins)

    @cached_property
    def store(self) -> Store:
        """The results folder."""
        return Store(self.out)

    @cached_property
    def cells(self) -> list[Cell]:
        """The whole grid; errors as for `vhbench.grid.plan.plan` and, of models, `check_keepable`."""
        anew = self.rerun == "all" and not self.dry_run
        cells = plan(self.grid, self.registry, self.store, self.data, anew=anew)
        if self.settings.keep_model:
            check_keepable(cells)
        return cells

    @cached_property
    def to_do(self) -> list[Cell]:
        """The runs that `rerun` asks for."""
        return to_do(self.cells, self.rerun)

    def check(self) -> None:
        """Raise UsageError where the launcher, one of its options, the device or `rerun` is none."""
        launcher = self.registry.launcher(self.launcher)
        for name in sorted(OWN & (launcher.options or {}).keys()):
            raise UsageError(f"Launcher {launcher.name!r} cannot be used: its option {name!r} is one of every run.")
        launcher.check(self.launcher_options)
        check_device(self.settings.device)
        check_rerun(self.rerun)
        if self.rerun == "model" and not self.settings.keep_model:
            raise UsageError("--rerun model trains runs again to keep their models: add --keep-model.")
        if wrong := [epoch for epoch in self.settings.eval_at if epoch < 1]:
            raise UsageError(f"--eval-at takes epochs from 1 up, not {wrong[0]}.")

    def run(self, observer: Observer) -> None:
        """Keep the grid beside the results and do what is to do.

        Raises:
            VhbenchError: results cannot be written, or the launcher refuses an option.
        """
        self.store.check_writable()
        grid = replace(self.grid, params=spread(self.grid.params, self.registry))
        keep_grid(self.store, self.cells, grid, self.data, self.plugins)
        sources = Sources(self.data, self.plugins, self.grid.allow_counts)
        launch = self.registry.launcher(self.launcher).load()
        run_cells(self.to_do, self.store, self.settings, launch, observer, sources, self.launcher_options)

    def lacking(self) -> list[str]:
        """Return which scores and models the runs lack that are left as they are, and how they get them."""
        chosen = {cell.spec.id for cell in self.to_do}
        kept = [cell for cell in self.cells if cell.spec.id not in chosen]
        models = lacking_models(kept) if self.settings.keep_model else []
        return [*lacking_ks(kept, self.out, self.data), *lacking_epochs(kept, self.settings.eval_at), *models]

    def records(self) -> list[Record]:
        """Return what is recorded now, in the grid's order."""
        return [record for cell in self.cells if (record := self.store.read(cell.spec))]


OWN = {field.name for kind in (Grid, Settings, Request) for field in fields(kind)}


def request(options: Mapping[str, Any]) -> Request:
    """Make a request of options by name.

    Args:
        options: the fields of `Grid`, `Settings` and `Request`; any other that is neither None nor empty is the
            launcher's own.

    Raises:
        UsageError: as for `Request.check`.
    """

    def of(kind: type) -> dict[str, Any]:
        return {field.name: options[field.name] for field in fields(kind) if field.name in options}

    others = {name: value for name, value in options.items() if name not in OWN and value is not None and value != ()}
    parts = {"grid": Grid(**of(Grid)), "settings": Settings(**of(Settings)), "launcher_options": others}
    made = Request(**{**of(Request), **parts})
    made.check()
    return made
