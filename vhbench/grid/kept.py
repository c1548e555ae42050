"""Which runs were asked for: each grid is kept beside its results, so that any machine knows what is still to come."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vhbench.errors import StoreError
from vhbench.grid.plan import Cell, Grid
from vhbench.runs.store import Store
from vhbench.system.files import write_json
from vhbench.system.locks import hold
from vhbench.version import __version__

SCHEMA = "vhbench.grid/1"
FOLDER = "grids"
PATIENCE = 10.0  # seconds for another process to write its grid


@dataclass(frozen=True)
class KeptGrid:
    """One `grids/<id8>.json`.

    Attributes:
        path: the file.
        options: what was asked for, by the names of a grid file.
        runs: folder of each run below the results folder -> its number of epochs, None where it has none.
    """

    path: Path
    options: Mapping[str, Any]
    runs: Mapping[str, int | None]


def keep_grid(
    store: Store, cells: Sequence[Cell], grid: Grid, data: Path | None, plugins: Sequence[Path | str]
) -> Path:
    """Write which runs were asked for, unless that is written already, and return the file.

    Args:
        store: where the results go.
        cells: the whole grid, finished runs too.
        grid: what was asked for.
        data: the folder of the feature files, if one was named.
        plugins: files with further methods.

    Raises:
        StoreError: it cannot be written.
    """
    runs = {cell.spec.folder: cell.spec.budget["epochs"] for cell in cells}
    name = hashlib.sha256("\n".join(sorted(runs)).encode()).hexdigest()[:8]
    path = store.root / FOLDER / f"{name}.json"
    end = time.monotonic() + PATIENCE
    while not path.exists():
        with hold(path.parent) as held:
            if held:
                content = {"options": options_of(grid, data, plugins), "runs": runs, "vhbench": __version__}
                write_json(path, {"schema": SCHEMA, **content})
        if time.monotonic() > end:
            raise StoreError(f"Cannot write {path}: another process has held {path.parent} for {PATIENCE:g} s.")
    return path


def options_of(grid: Grid, data: Path | None, plugins: Sequence[Path | str]) -> dict[str, Any]:
    """Return a grid as a grid file has it: only what says which runs there are and where their data are."""
    given: dict[str, Any] = {
        "method": list(grid.methods),
        "protocol": list(grid.protocols),
        "bits": list(grid.bits),
        "seeds": list(grid.seeds),
        "set": {method: dict(values) for method, values in grid.params.items()},
        "budget": grid.budget,
        "epochs": grid.epochs,
        "precision": grid.precision,
        "allow-counts": grid.allow_counts,
        "data": str(data) if data else None,
        "plugin": [str(plugin) for plugin in plugins],
    }
    return {name: value for name, value in given.items() if value not in (None, [], {}, False)}


def kept_grids(root: Path) -> tuple[list[KeptGrid], list[str]]:
    """Return the grids kept in a results folder, and a sentence for each file that is none."""
    found, problems = [], []
    for path in sorted((root / FOLDER).glob("*.json")):
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
            runs = {str(folder): int(epochs) if epochs else None for folder, epochs in value["runs"].items()}
            if value["schema"] != SCHEMA or not all(len(Path(folder).parts) == 3 for folder in runs):
                raise ValueError
            found.append(KeptGrid(path, dict(value["options"]), runs))
        except FileNotFoundError:  # it has just been removed
            continue
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            problems.append(f"{path} is not a grid of this version of vhbench: remove it.")
    return found, problems
