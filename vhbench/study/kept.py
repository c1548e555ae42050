"""What is kept of a study: its settings and trials, `trials.json`, and what it chose, `chosen.toml`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vhbench.errors import StoreError, UsageError
from vhbench.grid.files import read_runs
from vhbench.plugins.entries import MethodEntry
from vhbench.runs.spec import resolve_params, text_of
from vhbench.study.space import Space
from vhbench.system.files import atomic_write, read_error, read_json, write_json
from vhbench.system.text import plain, shell
from vhbench.version import __version__

SCHEMA = "vhbench.tune/1"
STUDY = "study"  # the folder of trials.json, which is locked while a process works on the study
TRIALS = "trials.json"
CHANGED = {
    "fingerprint": "the source of its method has changed",
    "data": "its training videos are not what they were",
}


def read_trials(
    path: Path, settings: Mapping[str, Any], space: Space, entry: MethodEntry
) -> list[dict[str, Any]] | None:
    """Return the settings tried so far, None where the study has not begun.

    Args:
        path: `trials.json`.
        settings: what the study is asked with now.
        space: what it searches.
        entry: its method.

    Raises:
        UsageError: it was begun with other settings.
        StoreError: the file is none of this version.
    """
    try:
        value = read_json(path)
        sound = value["schema"] == SCHEMA and isinstance(value["settings"], dict)
        before, trials = value["settings"], [dict(trial) for trial in value["trials"]]
    except FileNotFoundError:
        return None
    except OSError as error:
        raise read_error(path, error) from error
    except (ValueError, TypeError, KeyError):
        sound = False
    if not sound:
        raise StoreError(f"{path} is not a study of this version of vhbench: move its folder away.")
    _check_settings(path, before, settings)
    try:
        for trial in trials:
            resolve_params(entry, {name: text_of(trial[name]) for name in space})
    except (KeyError, UsageError) as error:
        raise StoreError(f"{path} is damaged ({error}): move its folder away.") from error
    return [{name: trial[name] for name in space} for trial in trials]


def _check_settings(path: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    folder = path.parent.parent
    for name, value in now.items():
        if before.get(name) != value:
            was, given = (
                plain(text_of(x) if not isinstance(x, dict) else json.dumps(x)) for x in (before.get(name), value)
            )
            why = CHANGED.get(name, f"it was begun with --{name} {was}, and is asked for with {given}")
            raise UsageError(
                f"The study {folder} cannot go on: {why}. Give another --name, or begin it anew by removing "
                f"{shell(folder)}."
            )


def read_tried(root: Path) -> dict[str, int | None]:
    """Return the runs of a study's trials: folder below the study's -> number of epochs, None where it has none.

    None of them where the folder is no study's, or its file is damaged, which the study says when it goes on.
    """
    try:
        return read_runs(read_json(root / STUDY / TRIALS)["runs"])
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def write_trials(
    path: Path, settings: Mapping[str, Any], trials: Sequence[Mapping[str, Any]], runs: Mapping[str, int | None]
) -> None:
    """Write a study's settings and trials.

    Args:
        path: `trials.json`.
        settings: what the study is asked with.
        trials: hyper-parameter -> value, each.
        runs: folder of each trial's run below the study's -> its number of epochs, None where it has none.

    Raises:
        StoreError: they cannot be written.
    """
    content = {"settings": dict(settings), "trials": [dict(trial) for trial in trials], "runs": dict(runs)}
    write_json(path, {"schema": SCHEMA, **content, "vhbench": __version__})


def write_toml(path: Path, comments: Sequence[str], content: Mapping[str, Any]) -> None:
    """Write a TOML file of texts, numbers, truth values, lists of them, and tables; None becomes "none".

    Raises:
        StoreError: it cannot be written.
    """
    lines = [f"# {plain(comment)}" for comment in comments] + _lines((), content)
    with atomic_write(path) as file:
        file.write("\n".join(lines).encode(errors="backslashreplace") + b"\n")


def _lines(table: tuple[str, ...], content: Mapping[str, Any]) -> list[str]:
    """Return a table's own lines, then its tables."""
    plain_ones = {key: value for key, value in content.items() if not isinstance(value, Mapping)}
    head = ["", f"[{'.'.join(map(_key, table))}]"] if table and plain_ones else []
    lines = head + [f"{_key(key)} = {json.dumps(_toml(value))}" for key, value in plain_ones.items()]
    for key, value in content.items():
        if isinstance(value, Mapping):
            lines += _lines((*table, key), value)
    return lines


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name)


def _toml(value: Any) -> Any:
    return [_toml(item) for item in value] if isinstance(value, list | tuple) else "none" if value is None else value
