"""Grids as files: what `vhbench run` can be told in TOML, and what is kept of each grid beside its results."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from vhbench.errors import StoreError, UsageError, unknown
from vhbench.grid.cells import Cell
from vhbench.grid.plan import Grid
from vhbench.grid.sweep import Texts
from vhbench.plugins.entries import NAME
from vhbench.runs.form import MOST, FormError
from vhbench.runs.made_with import NOTHING, MadeWith
from vhbench.runs.record import RECORD, DamagedError, read_record
from vhbench.runs.record import SCHEMA as RUN_SCHEMA
from vhbench.runs.spec import SMOKE_VIDEOS
from vhbench.runs.store import RUN_FOLDER, Store, check_inside
from vhbench.runs.tuned import ENTRY, Tuned
from vhbench.system.files import leads_out, read_json, read_toml, user_path, write_json
from vhbench.system.locks import hold
from vhbench.system.text import plain, shell
from vhbench.version import __version__

SCHEMA = "vhbench.grid/1"
FOLDER = "grids"
CHOSEN = "chosen.toml"  # of a study's folder
PATIENCE = 10.0  # seconds for another process to write its grid


def _option(name: str) -> str:
    """Return the long option, without dashes, of a field of `Grid`."""
    return {"methods": "method", "protocols": "protocol", "params": "set"}.get(name, name.replace("_", "-"))


OPTIONS = {*(_option(field.name) for field in fields(Grid)), "data", "plugin"}  # of a kept grid


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

    @property
    def plugins(self) -> list[str]:
        """Paths of plugin files that it was asked for with."""
        return [str(plugin) for plugin in self.options.get("plugin", ())]

    @property
    def words(self) -> list[str]:
        """The words behind `vhbench run` that start it; the paths in it stand there for the user to see."""
        words = ["--config", str(self.path), "--out", str(self.path.parent.parent)]
        protocols = self.options.get("protocol", ())
        if any(map(is_path, protocols)):
            words += ["--protocol", ",".join(protocols)]
        if data := self.options.get("data"):
            words += ["--data", data]
        return words + [word for plugin in self.plugins for word in ("--plugin", plugin)]


def is_path(protocol: str) -> bool:
    """Say whether a protocol's name opens a manifest: it is a path, or made of one."""
    return ".toml" in protocol


def keep_grid(
    store: Store, cells: Sequence[Cell], grid: Grid, data: Path | None, plugins: Sequence[Path | str]
) -> Path:
    """Write which runs were asked for, unless that is written already, and return the file.

    Args:
        store: where the results go.
        cells: the whole grid, finished runs too.
        grid: what was asked for, its hyper-parameters `vhbench.grid.sweep.spread`.
        data: the folder of the feature files, if one was named.
        plugins: files with further methods.

    Raises:
        StoreError: it cannot be written.
    """
    runs = {cell.spec.folder: cell.spec.budget["epochs"] for cell in cells}
    name = hashlib.sha256("\n".join(sorted(runs)).encode()).hexdigest()[:8]
    path = store.root / FOLDER / f"{name}.json"
    check_inside(path.parent, store.root)
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
    given = {_option(field.name): getattr(grid, field.name) for field in fields(grid)}
    given["set"] = {
        method: {name: _shortest(texts) for name, texts in values.items()} for method, values in grid.params.items()
    }
    given["protocol"] = [_absolute(name) if is_path(name) and Path(name).exists() else name for name in grid.protocols]
    given |= {"data": _absolute(data) if data else None, "plugin": [_absolute(plugin) for plugin in plugins]}
    given[ENTRY] = [tuned.entry for tuned in grid.tuned]
    lists = {name: list(value) if isinstance(value, tuple | list) else value for name, value in given.items()}
    usual = {"normalize": "none", "preset": "auto"}
    return {name: value for name, value in lists.items() if value not in (None, [], {}, False, usual.get(name))}


def _shortest(values: Texts) -> str | list[str]:
    """Return the values of a hyper-parameter as a grid file has them: a text is one value."""
    return values if isinstance(values, str) else values[0] if len(values) == 1 else list(values)


def _absolute(path: Path | str) -> str:
    """Return a path by which it is found from any working folder."""
    return str(Path(path).absolute())


def kept_grids(root: Path) -> tuple[list[KeptGrid], list[str]]:
    """Return the grids kept in a results folder, and a sentence for each file that is none."""
    found, problems = [], []
    if leads_out(root / FOLDER, root):
        return [], [plain(f"{root / FOLDER} leads out of {root} by a symbolic link: remove it.")]
    for path in sorted((root / FOLDER).glob("*.json")):
        try:
            found.append(_kept_grid(path, read_json(path)))
        except FileNotFoundError:  # it has just been removed
            continue
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            problems.append(plain(f"{path} is not a grid of this version of vhbench: remove it."))
    return found, problems


def _kept_grid(path: Path, value: Any) -> KeptGrid:
    """Return a kept grid; raise ValueError, TypeError, KeyError or AttributeError where this is none.

    What it names is only said; no more than names and values of options is taken from it.
    """
    options, runs = value["options"], value["runs"]
    lists = [options.get(name, []) for name in ("protocol", "plugin")]
    texts = [options.get("data", ""), *(text for texts in lists for text in texts)]
    if value["schema"] != SCHEMA or not options.keys() <= OPTIONS or not all(isinstance(x, str) for x in texts):
        raise ValueError
    return KeptGrid(path, options, read_runs(runs))


def read_runs(value: Any) -> dict[str, int | None]:
    """Return runs that a kept file names: folder below the results folder -> number of epochs, None where it has none.

    Raises:
        ValueError, AttributeError: these are none.
    """
    for folder, epochs in value.items():
        *names, run = folder.split("/")
        if len(names) != 2 or not all(map(NAME.fullmatch, names)) or not RUN_FOLDER.fullmatch(run):
            raise ValueError
        if not (epochs is None or (type(epochs) is int and 0 <= epochs <= MOST)):
            raise ValueError
    return {folder: epochs or None for folder, epochs in value.items()}


def find_grid(name: str, root: Path) -> KeptGrid:
    """Return a kept grid.

    Args:
        name: its id, which `vhbench status` prints and its file is named by, or the file's path.
        root: the results folder, where a name is given.

    Raises:
        UsageError: there is none, or the file is no kept grid.
    """
    path = user_path(name) if name.endswith(".json") else root / FOLDER / f"{name}.json"
    path = path if path.parent.name == FOLDER else path.absolute()
    if path.parent.name != FOLDER:
        raise UsageError(f"{path} is not in a folder {FOLDER} of results: nothing there is a kept grid.")
    root = path.parent.parent
    grids, problems = kept_grids(root)
    for grid in grids:
        if grid.path.name == path.name:
            return grid
    for problem in problems:
        if problem.startswith(f"{path} "):
            raise UsageError(problem)
    names = [grid.path.stem for grid in grids]
    raise unknown("grid", name, names, f"`vhbench status --out {shell(root)}` shows those with waiting runs.")


@dataclass(frozen=True)
class GridFile:
    """What a grid file says.

    Attributes:
        path: the file.
        values: long option without its dashes -> a text, a list of texts, or a truth value.
        sets: method -> hyper-parameter -> its value, or the list of its values.
        tuned: settings that studies have chosen, as the file or a folder that it names has them.
        run: id of the run, where the file is the record of one; else empty.
        made_with: where that run's data and method came from.
        kept: it lies among results, which others may have written: the paths in it are hints for the user, not orders.
    """

    path: Path
    values: Mapping[str, str | list[str] | bool]
    sets: Mapping[str, Mapping[str, str | list[str]]]
    tuned: Sequence[Tuned] = ()
    run: str = ""
    made_with: MadeWith = NOTHING
    kept: bool = False

    @property
    def hints(self) -> list[str]:
        """Options whose values the user has to give, since they name what would be opened or executed."""
        protocols = self.values.get("protocol", ())
        paths = any(map(is_path, [protocols] if isinstance(protocols, str) else protocols or ()))  # type: ignore[arg-type]
        found = [*(["protocol"] if paths else []), *(name for name in ("data", "plugin") if name in self.values)]
        return found if self.kept else []


def read_grid_file(path: Path, keys: Collection[str]) -> GridFile:
    """Read a grid file: TOML, a run's `run.json`, or a grid that `vhbench run` has kept in `grids/`.

    Args:
        path: the file; one that ends in .json is a record or a kept grid. A run's folder stands for its record.
        keys: the long options it may set, without dashes; `_` in the file stands for `-`.

    Raises:
        UsageError: it cannot be read, an option is unknown, or a value has no form that an option can have.
    """
    path = path / RECORD if path.is_dir() else path
    kept = path.suffix == ".json"
    try:
        content, record = _from_json(path) if kept else (_from_toml(path), {})
    except OSError as error:
        raise UsageError(f"Cannot read the grid file {path}: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"The grid file {path} is not text in UTF-8.") from error
    values: dict[str, str | list[str] | bool] = {}
    sets: dict[str, dict[str, str | list[str]]] = {}
    tuned: list[Tuned] = []
    for name, value in content.items():
        key = name.replace("_", "-")
        if key == "set":
            sets = _sets(path, value)
        elif key == ENTRY:
            tuned = _tuned(path, value, kept)
        elif key not in keys:
            raise unknown("option", name, [*keys, "set"], f"It stands in the grid file {path}.")
        elif isinstance(value, list):
            values[key] = [_text(path, name, item) for item in value]
        else:
            values[key] = value if isinstance(value, bool) else _text(path, name, value)
    return GridFile(path, values, sets, tuned, str(record.get("id", "")), MadeWith.read(record), kept)


def _from_toml(path: Path) -> Mapping[str, Any]:
    try:
        return read_toml(path)
    except UnicodeDecodeError:
        raise
    except ValueError as error:
        raise UsageError(f"The grid file {path} is not TOML: {error}.") from error


def _from_json(path: Path) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Return the options in a kept grid, or those of a record and the record."""
    neither = f"{path} is neither the record of a run nor a kept grid; grid files are TOML."
    try:
        data = read_json(path, links=True)
        schema = data["schema"]
        if schema == SCHEMA:
            return _kept_grid(path, data).options, {}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UsageError(neither) from error
    if not str(schema).startswith(f"{RUN_SCHEMA.partition('/')[0]}/"):
        raise UsageError(f"{path} has schema {schema!r}, which this vhbench does not read: grid files are TOML.")
    try:
        record = read_record(path)
    except StoreError as error:
        raise UsageError(f"{neither} ({error.what})" if isinstance(error, DamagedError) else str(error)) from error
    tuned = {ENTRY: record.data[ENTRY]} if ENTRY in record.data else {}
    return {**_options_of_run(record.spec, record.data.get("data", {})), **tuned}, record.data


def _options_of_run(spec: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's specification as options; lists among its hyper-parameters can only be defaults."""
    params = {name: value for name, value in spec["params"].items() if not isinstance(value, list | dict)}
    budget = spec["budget"]
    same = {_option(field.name): spec[field.name] for field in fields(Grid) if field.name in spec}
    options = same | {
        "method": spec["method"],
        "protocol": spec["protocol"],
        "seeds": spec["seed"],
        "set": {spec["method"]: params} if params else {},
        "preset": "none",  # the record holds what it gave
        "budget": "smoke" if budget["videos"] == SMOKE_VIDEOS else "paper",
        "epochs": budget["epochs"],
        "allow-counts": any("allowed_counts" in notes for notes in data.values()),
    }
    return {name: value for name, value in options.items() if value is not None}


def _tuned(path: Path, value: Any, kept: bool) -> list[Tuned]:
    """Read what was tuned: entries of records, or in the user's own files also the folders of studies."""
    try:
        parts = value if isinstance(value, list) else [value]
        return [tuned_in(user_path(x)) if isinstance(x, str) and not kept else Tuned(x) for x in parts]
    except FormError as error:
        raise UsageError(f"{path}: `tuned` is neither the folder of a study nor what one wrote ({error}).") from error


def tuned_in(folder: Path) -> Tuned:
    """Return the setting that a study of `vhbench tune` has chosen.

    Args:
        folder: the study's.

    Raises:
        UsageError: there is none.
    """
    path = folder / CHOSEN
    try:
        return Tuned(_from_toml(path)[ENTRY])
    except (KeyError, FormError) as error:
        raise UsageError(f"{path} is not what `vhbench tune` writes ({error}).") from error
    except OSError as error:
        raise UsageError(
            f"{folder} is not the folder of a finished study: {CHOSEN} in it cannot be read ({error.strerror})."
        ) from error


def _sets(path: Path, value: Any) -> dict[str, dict[str, str | list[str]]]:
    """Read the tables `[set.method]`, whose lists are several values."""
    if not isinstance(value, dict) or not all(isinstance(values, dict) for values in value.values()):
        raise UsageError(f"{path}: `set` takes a table a method, as in [set.uvvh] and below it lr = 1e-4.")
    return {
        method: {name: _one_or_more(path, f"set.{method}.{name}", item) for name, item in values.items()}
        for method, values in value.items()
    }


def _one_or_more(path: Path, name: str, value: Any) -> str | list[str]:
    return [_text(path, name, item) for item in value] if isinstance(value, list) else _text(path, name, value)


def _text(path: Path, name: str, value: Any) -> str:
    """Return a value as it would stand on the command line."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float | str):
        try:
            text = str(value)
        except ValueError:  # a whole number of thousands of digits
            text = ""
        if text and "\0" not in text:
            return text
    raise UsageError(f"{path}: {name} takes a text, a number or true or false, or a list.")
