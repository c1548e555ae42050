"""The marker `synthetic.toml` beside feature files that were made up: who reads them knows, and says so."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vhbench.errors import DataError
from vhbench.features.inputs import read_text
from vhbench.system.files import atomic_write

SCHEMA = "vhbench.synthetic/1"
FILE = "synthetic.toml"
ROLES = ("train", "query", "database")
LARGEST = 2**31


@dataclass(frozen=True)
class Marker:
    """What a folder of made-up files imitates.

    Attributes:
        like: name of the data set whose files these imitate.
        scale: of the real numbers of videos, what part was made.
        seed: the files' seed.
        counts: role -> videos in all its files together, for each of `ROLES`.
    """

    like: str
    scale: float
    seed: int
    counts: Mapping[str, int]


def read_marker(folder: Path) -> Marker | None:
    """Return the marker of a folder, or None where it has none.

    Raises:
        DataError: the marker is unreadable or not of this form; its folder must not pass for real data.
    """
    path = folder / FILE
    try:
        values = tomllib.loads(read_text(path))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, RecursionError, DataError) as error:
        raise DataError(f"{path} cannot be read ({error}): make the synthetic files beside it again.") from error
    if not _is_sound(values):
        raise DataError(f"{path} is not a {SCHEMA} marker: make the synthetic files beside it again.")
    return Marker(values["like"], float(values["scale"]), values["seed"], values["counts"])


def write_marker(folder: Path, marker: Marker) -> None:
    """Write the marker of a folder, atomically.

    Raises:
        StoreError: the folder cannot be written or the disk is full.
    """
    lines = [f"{name} = {json.dumps(getattr(marker, name))}" for name in ("like", "scale", "seed")]
    counts = [f"{role} = {marker.counts[role]}" for role in ROLES]
    with atomic_write(folder / FILE) as file:
        file.write("\n".join([f'schema = "{SCHEMA}"', *lines, "", "[counts]", *counts, ""]).encode())


def _is_sound(values: Mapping[str, Any]) -> bool:
    counts = values.get("counts")
    return (
        values.get("schema") == SCHEMA
        and isinstance(values.get("like"), str)
        and type(values.get("scale")) in (int, float)
        and 0 < values["scale"] < LARGEST
        and type(values.get("seed")) is int
        and abs(values["seed"]) < 2**63
        and isinstance(counts, dict)
        and counts.keys() == set(ROLES)
        and all(type(count) is int and 0 < count < LARGEST for count in counts.values())
    )
