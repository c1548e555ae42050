"""Manifests: TOML files that name the feature and label files of a protocol's parts."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vhbench.datasets.choices import Chosen, is_choice
from vhbench.datasets.splitting import SplitRule
from vhbench.errors import DataError, unknown
from vhbench.features.inputs import read_text

ROLES = ("train", "query", "database")
SPLIT = "split"  # the table that stands in place of these
SPLITS = "splits"  # or a list of manifests, each a split of its own
Kinds = type | tuple[type, ...]
TYPES: dict[str, Kinds] = {
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
    "keep_frames": (int, str, list),
    "dim": int,
    "classes": (int, str),
    "published": list,
    "variants": dict,
    SPLITS: list,
    **dict.fromkeys((*ROLES, SPLIT), dict),
}
TABLE_TYPES: dict[str, Kinds] = {
    "features": list,
    "beside": list,
    "labels": list,
    "names": list,
    "rows": (str, list),
    "count": int,
    "key": str,
    "label_key": str,
}
RULE_TYPES: dict[str, Kinds] = {
    "queries": object,
    "seed": object,
    "by": str,
    "groups": list,
    "pattern": str,
    "folds": int,
}
OF_SPLITS = ("name", "title", "dataset", "budget", SPLITS)  # what may stand beside a list of splits
FILES = ("features", "labels", "names", "groups")
WORDS = {
    str: "a text in quotes",
    int: "a positive whole number",
    bool: "true or false",
    list: "a list",
    dict: "a table",
}
NAME = re.compile(r"(?!.*\.toml)[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
CHOICE = 'choose {} by a range, as in "0:1000" or "0:25:2", or list different numbers, counted from 0'
LARGEST = 2**31  # no count or K is as large, and arithmetic in 64 bits is safe below


@dataclass(frozen=True)
class Table:
    """One table of a manifest: the files of one role, or of all roles where the table is `[split]`.

    Attributes:
        title: what messages call it.
        features: file names, in the order in which their videos follow each other.
        labels: file names in the same order; () where the manifest names none.
        count: videos that the files must have together; None where the manifest does not say.
        key: name of the HDF5 data set with the features.
        label_key: variable name in the label files; None means `labels`, `re_label` or `q_label`.
        beside: further feature files of the same videos, whose dimensions go behind those of `features`; each entry
            is a list of files whose videos follow each other.
        names: files with the videos' names, in the order of the features; () where names are not known.
        rows: which of the videos are used; None: all. See `vhbench.datasets.choices.chosen_rows`.
    """

    title: str
    features: tuple[str, ...]
    labels: tuple[str, ...] = ()
    count: int | None = None
    key: str = "feats"
    label_key: str | None = None
    beside: tuple[tuple[str, ...], ...] = ()
    names: tuple[str, ...] = ()
    rows: Chosen | None = None

    @property
    def feature_files(self) -> tuple[str, ...]:
        """All files with features."""
        return (*self.features, *(file for files in self.beside for file in files))


class Manifest:
    """What a manifest says of the files of a protocol; read one with `read_manifest`.

    Attributes:
        path: the manifest.
        tables: its tables by role: train, query, database; all three the same one where there is a split.
        split: how one set of videos is divided into the roles; None where each role has its own files.
        queries_in_database: the query videos are also database items.
        folder: the folder below the data folder that holds its files; the protocol's name unless it says otherwise.
        beside: files may also lie beside the manifest.
        frames: frames that every video must have; None where the manifest does not say.
        keep_frames: which of them are used, as `vhbench.datasets.choices.chosen_frames` takes it; None: all.
        dim: feature dimensions that every frame must have; None where the manifest does not say.
        classes: classes that the label files must have; None where the manifest does not say.
        class_file: the file with the classes' names; None where the manifest names none.
        published: where the files come from, a text each.
        variants: known versions of the files: name -> role or "classes" -> its number there.
    """

    def __init__(self, path: Path, values: Mapping[str, Any], tables: Mapping[str, Table], beside: bool = True):
        self.path = path
        self.tables = dict(tables)
        self.beside = beside
        self.name: str = values["name"]
        self.split = read_rule(values, path)
        self.queries_in_database = values.get("queries_in_database", False)
        self.folder = values.get("folder", self.name)
        self.frames: int | None = values.get("frames")
        keep = values.get("keep_frames")
        self.keep_frames: int | Chosen | None = tuple(keep) if isinstance(keep, list) else keep
        self.dim: int | None = values.get("dim")
        classes = values.get("classes")
        self.classes: int | None = classes if isinstance(classes, int) else None
        self.class_file: str | None = classes if isinstance(classes, str) else None
        self.published = tuple(values.get("published", ()))
        self.variants: dict[str, dict[str, int]] = values.get("variants", {})

    def labelled(self, role: str) -> str:
        """Return a role that has labels for the videos of this one: itself, or the database where that is the same.

        Raises:
            DataError: there is none.
        """
        table, database = self.tables[role], self.tables["database"]
        if not table.labels and (table.features, table.rows) == (database.features, database.rows):
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

    Args:
        path: the TOML file; `check_manifest` says what may stand in it.

    Raises:
        DataError: the file is missing, is no TOML, or an entry is missing or of the wrong type.
        UsageError: it has a key that does not exist; the message names the nearest valid one.
    """
    path = Path(path)
    try:
        text = read_text(path)
    except FileNotFoundError as error:
        raise DataError(f"There is no manifest {path}.") from error
    except OSError as error:
        raise DataError(f"Cannot read manifest {path}: {error.strerror or error}.") from error
    return check_manifest(text, path)


def check_manifest(text: str, path: Path) -> tuple[dict[str, Any], dict[str, Table]]:
    """Return the values and the tables, by role, of a manifest's text.

    Top level: `name` (required), `title`, `dataset`, `version`, `ks`, `budget`, `synthetic`, `queries_in_database`,
    `folder`, `frames`, `keep_frames`, `dim`, `classes`, `published`. Tables `train`, `query` and `database`: `features`
    (required), `labels` (required but in `train`), `beside`, `names`, `rows`, `count`, `key`, `label_key`. Or, in place
    of these, the table `split`: the same and `queries`, `seed`, `by`, `groups`, `pattern`, see
    `vhbench.datasets.splitting.SplitRule`. Table `variants`: a line a known version of the files, as in
    `"81 label columns" = { classes = 81 }`. Or, beside `name`, `title`, `dataset` and `budget` alone, `splits`: a list
    of manifests; then there are no tables.

    Args:
        text: of the TOML file.
        path: where it stands, for messages.

    Raises:
        DataError: it is no TOML, or an entry is missing or of the wrong type.
        UsageError: it has a key that does not exist; the message names the nearest valid one.
    """
    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, or brackets in brackets, too
        raise DataError(f"{path} is not valid TOML: {error}.") from error
    _check_types(values, TYPES, "at the top level", path)
    if SPLITS in values:
        _check_splits(values, path)
        return values, {}
    roles = [SPLIT] if SPLIT in values else [*ROLES]
    if both := [role for role in ROLES if role in values and SPLIT in values]:
        raise DataError(f"{path} has [split] and [{both[0]}]: [split] stands in place of [train], [query], [database].")
    _require(values, ["name", *roles], "at the top level", path)
    _check_top(values, path)
    tables = {role: _read_table(role, values[role], path) for role in roles}
    read_rule(values, path)
    return values, dict.fromkeys(ROLES, tables[SPLIT]) if SPLIT in values else tables


def _check_splits(values: Mapping[str, Any], path: Path) -> None:
    """Raise an error unless a manifest that lists splits says nothing that these say."""
    _require(values, ["name"], "at the top level", path)
    if odd := next((key for key in values if key not in OF_SPLITS), None):
        raise DataError(f"{path} has `splits` and `{odd}`: that stands in the manifests that `splits` lists.")
    _check_top(values, path)
    _check_files(values[SPLITS], SPLITS, "at the top level", path)


def read_rule(values: Mapping[str, Any], path: Path) -> SplitRule | None:
    """Return how a manifest with these values divides its videos; None where it has no `[split]`.

    Raises:
        DataError: an entry is missing or impossible.
        UsageError: there is no such way to split.
    """
    if SPLIT not in values:
        return None
    entries = {name: value for name, value in values[SPLIT].items() if name in RULE_TYPES}
    return SplitRule.of(entries, str(path))


def _check_top(values: Mapping[str, Any], path: Path) -> None:
    """Raise DataError where an entry at the top level is of the right type and yet impossible."""
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
    keep = values.get("keep_frames", 1)
    if not (isinstance(keep, int) or is_choice(keep)):
        raise DataError(f"`keep_frames` in {path} is {_shown(keep)}: {CHOICE.format('frames')}.")
    if values.get("classes") == "":
        raise DataError(f"`classes` in {path} is '': it must be the number of classes or a file with their names.")
    if SPLIT in values and values.get("queries_in_database"):
        raise DataError(f"{path} has [split] and queries_in_database = true: its queries are never database videos.")
    _check_variants(values.get("variants", {}), path)


def _check_variants(variants: dict[str, Any], path: Path) -> None:
    kinds: dict[str, Kinds] = dict.fromkeys((*ROLES, SPLIT, "classes"), int)
    for name, numbers in variants.items():
        where = f"in variant {name!r}"
        if not isinstance(numbers, dict):
            raise DataError(f"{name!r} in [variants] of {path} must be a table, as in {{ classes = 81 }}.")
        _check_types(numbers, kinds, where, path)


def _read_table(title: str, values: dict[str, Any], path: Path) -> Table:
    where = f"in table [{title}]"
    _check_types(values, TABLE_TYPES | (RULE_TYPES if title == SPLIT else {}), where, path)
    _require(values, ["features"] if title == "train" else ["features", "labels"], where, path)
    for key in FILES:
        _check_files(values.get(key, ["-"]), key, where, path)
    beside = [[entry] if isinstance(entry, str) else entry for entry in values.get("beside", [])]
    for files in beside:
        _check_files(files, "beside", where, path)
    if "rows" in values and not is_choice(values["rows"]):
        raise DataError(f"`rows` {where} of {path} is {_shown(values['rows'])}: {CHOICE.format('rows')}, or a file.")
    entries = {key: values[key] for key in TABLE_TYPES if key in values and key != "beside"}
    entries = {key: tuple(value) if isinstance(value, list) else value for key, value in entries.items()}
    return Table(title, **entries, beside=tuple(map(tuple, beside)))


def _check_files(files: object, key: str, where: str, path: Path) -> None:
    if not (isinstance(files, list) and files and all(isinstance(file, str) and file for file in files)):
        raise DataError(f'`{key}` {where} of {path} must list file names, as in {key} = ["a.h5", "b.h5"].')
    if len(set(files)) < len(files):
        twice = next(file for file in files if files.count(file) > 1)
        raise DataError(f"`{key}` {where} of {path} lists {twice} twice: list each file once.")


def _check_types(values: Mapping[str, Any], types: Mapping[str, Kinds], where: str, path: Path) -> None:
    for key, value in values.items():
        if key not in types:
            raise unknown("manifest key", key, types, f"It stands {where} of {path}.")
        kinds = types[key]
        kinds = kinds if isinstance(kinds, tuple) else (kinds,)
        if not any(_is_positive(value) if kind is int else isinstance(value, kind) for kind in kinds):
            words = " or ".join(WORDS[kind] for kind in kinds)
            raise DataError(f"`{key}` {where} of {path} is {_shown(value)}: it must be {words}.")


def _require(values: Mapping[str, Any], keys: list[str], where: str, path: Path) -> None:
    for key in keys:
        if key not in values:
            what = f"table [{key}]" if key in (*ROLES, SPLIT) else f"`{key}`"
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
