"""Manifests: TOML files that name the feature and label files of a protocol's parts."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vhbench.errors import DataError, unknown
from vhbench.features.inputs import read_text

ROLES = ("train", "query", "database")
TYPES: dict[str, type] = {
    "name": str,
    "title": str,
    "dataset": str,
    "version": int,
    "ks": list,
    "budget": str,
    "synthetic": bool,
    "queries_in_database": bool,
    "folder": str,
    "frames": int,
    "keep_frames": int,
    "dim": int,
    "classes": int,
    "published": list,
    "variants": dict,
    **dict.fromkeys(ROLES, dict),
}
TABLE_TYPES: dict[str, type] = {"features": list, "labels": list, "count": int, "key": str, "label_key": str}
WORDS = {
    str: "a text in quotes",
    int: "a positive whole number",
    bool: "true or false",
    list: "a list",
    dict: "a table",
}
NAME = re.compile(r"(?!.*\.toml)[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
LARGEST = 2**31  # no count or K is as large, and arithmetic in 64 bits is safe below


@dataclass(frozen=True)
class Table:
    """One table of a manifest: the files of one role.

    Attributes:
        features: file names, in the order in which their videos follow each other.
        labels: file names in the same order; () where the manifest names none.
        count: videos that the files must have together; None where the manifest does not say.
        key: name of the HDF5 data set with the features.
        label_key: variable name in the label files; None means `labels`, `re_label` or `q_label`.
    """

    features: tuple[str, ...]
    labels: tuple[str, ...] = ()
    count: int | None = None
    key: str = "feats"
    label_key: str | None = None


class Manifest:
    """What a manifest says of the files of a protocol; read one with `read_manifest`.

    Attributes:
        path: the manifest.
        tables: its tables by role: train, query, database.
        queries_in_database: the query videos are also database items.
        folder: the folder below the data folder that holds its files; the protocol's name unless it says otherwise.
        beside: files may also lie beside the manifest.
        frames: frames that every video must have; None where the manifest does not say.
        keep_frames: how many of them are used; None: all.
        dim: feature dimensions that every frame must have; None where the manifest does not say.
        classes: classes that the label files must have; None where the manifest does not say.
        published: where the files come from, a text each.
        variants: known versions of the files: name -> role or "classes" -> its number there.
    """

    def __init__(self, path: Path, values: Mapping[str, Any], tables: Mapping[str, Table], beside: bool = True):
        self.path = path
        self.tables = dict(tables)
        self.beside = beside
        self.name: str = values["name"]
        self.queries_in_database = values.get("queries_in_database", False)
        self.folder = values.get("folder", self.name)
        self.frames: int | None = values.get("frames")
        self.keep_frames: int | None = values.get("keep_frames")
        self.dim: int | None = values.get("dim")
        self.classes: int | None = values.get("classes")
        self.published = tuple(values.get("published", ()))
        self.variants: dict[str, dict[str, int]] = values.get("variants", {})

    def labelled(self, role: str) -> str:
        """Return a role that has labels for the videos of this one: itself, or the database where that is the same.

        Raises:
            DataError: there is none.
        """
        table, database = self.tables[role], self.tables["database"]
        if not table.labels and table.features == database.features:
            return "database"
        if not table.labels:
            raise DataError(f"{self.name} has no labels for its training videos: [train] in {self.path} names none.")
        return role

    def find(self, file: str, data: Path | None) -> Path:
        """Return where a file that the manifest names lies: the first of `places`.

        Raises:
            DataError: it is in none of them.
        """
        places = self.places(file, data)
        for place in places:
            if _exists(place):
                return place
        looked = ", ".join(str(place.parent) for place in places)
        raise DataError(
            f"{file} of protocol {self.name} is missing{f': looked in {looked}' if looked else ''}. "
            "Name the folder that holds it with --data DIR or $VHBENCH_DATA"
            f"{f'; `vhbench data status {self.name}` says where it is published' if self.published else ''}."
        )

    def places(self, file: str, data: Path | None) -> list[Path]:
        """Return where a file may lie: DATA/<folder>, DATA, then the manifest's own folder."""
        folders = [data / self.folder, data] if data else []
        return list(dict.fromkeys(folder / file for folder in [*folders, *([self.path.parent] if self.beside else [])]))


def read_manifest(path: Path) -> tuple[dict[str, Any], dict[str, Table]]:
    """Read a manifest; opens no data.

    Top level: `name` (required), `title`, `dataset`, `version`, `ks`, `budget`, `synthetic`, `queries_in_database`,
    `folder`, `frames`, `keep_frames`, `dim`, `classes`, `published`. Tables `train`, `query` and `database`: `features`
    (required), `labels` (required but in `train`), `count`, `key`, `label_key`. Table `variants`: a line a known
    version of the files, as in `"81 label columns" = { classes = 81 }`.

    Args:
        path: the TOML file.

    Raises:
        DataError: the file is missing, is no TOML, or an entry is missing or of the wrong type.
        UsageError: it has a key that does not exist; the message names the nearest valid one.
    """
    path = Path(path)
    try:
        values = tomllib.loads(read_text(path))
    except FileNotFoundError as error:
        raise DataError(f"There is no manifest {path}.") from error
    except OSError as error:
        raise DataError(f"Cannot read manifest {path}: {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, or brackets in brackets, too
        raise DataError(f"{path} is not valid TOML: {error}.") from error
    _check_types(values, TYPES, "at the top level", path)
    _require(values, ["name", *ROLES], "at the top level", path)
    if not NAME.fullmatch(values["name"]):
        raise DataError(
            f"`name` in {path} is {_shown(values['name'])}: it names a folder, so use only letters, digits, '.', '_' "
            "and '-', at most 100 of them."
        )
    if "ks" in values and not (values["ks"] and all(_is_positive(k) for k in values["ks"])):
        raise DataError(
            f"`ks` in {path} is {_shown(values['ks'])}: it must list positive whole numbers, as in [5, 20, 100]."
        )
    if "folder" in values and not NAME.fullmatch(values["folder"]):
        raise DataError(f"`folder` in {path} is {_shown(values['folder'])}: it must be the name of one folder.")
    if not all(isinstance(text, str) for text in values.get("published", [])):
        raise DataError(f"`published` in {path} must list texts.")
    _check_variants(values.get("variants", {}), path)
    return values, {role: _read_table(role, values[role], path) for role in ROLES}


def _check_variants(variants: dict[str, Any], path: Path) -> None:
    kinds: dict[str, type] = dict.fromkeys((*ROLES, "classes"), int)
    for name, numbers in variants.items():
        where = f"in variant {name!r}"
        if not isinstance(numbers, dict):
            raise DataError(f"{name!r} in [variants] of {path} must be a table, as in {{ classes = 81 }}.")
        _check_types(numbers, kinds, where, path)


def _read_table(role: str, values: dict[str, Any], path: Path) -> Table:
    where = f"in table [{role}]"
    _check_types(values, TABLE_TYPES, where, path)
    _require(values, ["features"] if role == "train" else ["features", "labels"], where, path)
    for key in ("features", "labels"):
        files = values.get(key, ["-"])
        if not files or not all(isinstance(file, str) and file for file in files):
            raise DataError(f'`{key}` {where} of {path} must list file names, as in {key} = ["a.h5", "b.h5"].')
    entries: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    return Table(**entries)


def _check_types(values: dict[str, Any], types: dict[str, type], where: str, path: Path) -> None:
    for key, value in values.items():
        if key not in types:
            raise unknown("manifest key", key, types, f"It stands {where} of {path}.")
        kind = types[key]
        if not (_is_positive(value) if kind is int else isinstance(value, kind)):
            raise DataError(f"`{key}` {where} of {path} is {_shown(value)}: it must be {WORDS[kind]}.")


def _require(values: dict[str, Any], keys: list[str], where: str, path: Path) -> None:
    for key in keys:
        if key not in values:
            what = f"table [{key}]" if key in ROLES else f"`{key}`"
            raise DataError(f"{path} lacks {what} {where}: a manifest needs it.")


def _is_positive(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < LARGEST


def _shown(value: object) -> str:
    """Return a value as it stands in a message, shortened; Python refuses to write numbers of thousands of digits."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):
        return "too large a value"
    return text if len(text) <= 100 else f"{text[:100]}…"


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return True  # reading it will say why it cannot be read
