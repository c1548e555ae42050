"""Grid files: what `vhbench run` can be told on its command line, in a TOML file; or a record, to do that run again."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vhbench.errors import UsageError, unknown
from vhbench.grid.kept import SCHEMA as GRID_SCHEMA
from vhbench.runs.record import SCHEMA as RUN_SCHEMA
from vhbench.runs.spec import SMOKE_VIDEOS


@dataclass(frozen=True)
class GridFile:
    """What a grid file says.

    Attributes:
        path: the file.
        values: long option without its dashes -> a text, a list of texts, or a truth value.
        sets: method -> hyper-parameter -> text.
        run: id of the run, where the file is the record of one; else empty.
    """

    path: Path
    values: Mapping[str, str | list[str] | bool]
    sets: Mapping[str, Mapping[str, str]]
    run: str = ""


def read_grid_file(path: Path, keys: Collection[str]) -> GridFile:
    """Read a grid file: TOML, a run's `run.json`, or a grid that `vhbench run` has kept in `grids/`.

    Args:
        path: the file; one that ends in .json is a record or a kept grid.
        keys: the long options it may set, without dashes; `_` in the file stands for `-`.

    Raises:
        UsageError: it cannot be read, an option is unknown, or a value has no form that an option can have.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"Cannot read the grid file {path}: {error.strerror or error}.") from error
    except ValueError as error:
        raise UsageError(f"The grid file {path} is not text in UTF-8.") from error
    content, run = (_from_json if path.suffix == ".json" else _from_toml)(path, text)
    values: dict[str, str | list[str] | bool] = {}
    sets: dict[str, dict[str, str]] = {}
    for name, value in content.items():
        key = name.replace("_", "-")
        if key == "set":
            sets = _sets(path, value)
        elif key not in keys:
            raise unknown("option", name, [*keys, "set"], f"It stands in the grid file {path}.")
        elif isinstance(value, list):
            values[key] = [_text(path, name, item) for item in value]
        else:
            values[key] = value if isinstance(value, bool) else _text(path, name, value)
    return GridFile(path, values, sets, run)


def _from_toml(path: Path, text: str) -> tuple[Mapping[str, Any], str]:
    try:
        return tomllib.loads(text), ""
    except (ValueError, RecursionError) as error:
        raise UsageError(f"The grid file {path} is not TOML: {error}.") from error


def _from_json(path: Path, text: str) -> tuple[Mapping[str, Any], str]:
    try:
        data = json.loads(text)
        schema = data["schema"]
        if schema == GRID_SCHEMA:
            return dict(data["options"]), ""
        if schema == RUN_SCHEMA:
            return _options_of_run(data["spec"], data.get("data", {})), str(data["id"])
    except (ValueError, RecursionError, TypeError, KeyError, AttributeError) as error:
        raise UsageError(f"{path} is neither the record of a run nor a kept grid; grid files are TOML.") from error
    raise UsageError(f"{path} has schema {schema!r}, which this vhbench does not read: grid files are TOML.")


def _options_of_run(spec: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's specification as options; lists among its hyper-parameters can only be defaults."""
    params = {name: value for name, value in spec["params"].items() if not isinstance(value, list | dict)}
    budget = spec["budget"]
    options = {
        "method": spec["method"],
        "protocol": spec["protocol"],
        "bits": spec["bits"],
        "seeds": spec["seed"],
        "set": {spec["method"]: params} if params else {},
        "budget": "smoke" if budget["videos"] == SMOKE_VIDEOS else "paper",
        "epochs": budget["epochs"],
        "precision": spec["precision"],
        "allow-counts": any("allowed_counts" in notes for notes in data.values()),
    }
    return {name: value for name, value in options.items() if value is not None}


def _sets(path: Path, value: Any) -> dict[str, dict[str, str]]:
    """Read the tables `[set.method]`."""
    if not isinstance(value, dict) or not all(isinstance(values, dict) for values in value.values()):
        raise UsageError(f"{path}: `set` takes a table a method, as in [set.uvvh] and below it lr = 1e-4.")
    return {
        method: {name: _text(path, f"set.{method}.{name}", item) for name, item in values.items()}
        for method, values in value.items()
    }


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
    raise UsageError(f"{path}: {name} takes a text, a number or true or false{', or a list' * ('.' not in name)}.")
