"""Manifests: a protocol described by a TOML file that names the feature and label files of its parts."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vhbench.datasets.opening import Opening
from vhbench.datasets.problems import refuse_unsound
from vhbench.errors import DataError, unknown
from vhbench.features import drop_extra_column, match_forms
from vhbench.features.inputs import read_text
from vhbench.protocol import Protocol, Relevance, Split

ROLES = ("train", "query", "database")
TYPES: dict[str, type] = {
    "name": str,
    "title": str,
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
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
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


class ManifestProtocol(Protocol):
    """A protocol read from a TOML manifest; make one with `load_manifest`.

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
        self.name = values["name"]
        self.title = values.get("title", self.name)
        self.version = values.get("version", Protocol.version)
        self.ks = tuple(values.get("ks", Protocol.ks))
        self.budget = values.get("budget", Protocol.budget)
        self.synthetic = values.get("synthetic", False)
        self.queries_in_database = values.get("queries_in_database", False)
        self.folder = values.get("folder", self.name)
        self.frames: int | None = values.get("frames")
        self.keep_frames: int | None = values.get("keep_frames")
        self.dim: int | None = values.get("dim")
        self.classes: int | None = values.get("classes")
        self.published = tuple(values.get("published", ()))
        self.variants: dict[str, dict[str, int]] = values.get("variants", {})

    def load(self, data: Path | None, *, allow_counts: bool = False) -> list[Split]:
        """Open the files and return the one split, named like the protocol.

        Everything that headers and labels can tell is checked before any feature is read. Roles that name the same
        files share one Part. Labels of the training table are never opened here.

        Args:
            data: the data folder or None; see `find`.
            allow_counts: accept other numbers of videos, frames, dimensions and classes than the manifest's.

        Raises:
            DataError: a file is missing or cannot be used, or numbers of videos, labels, frames or dimensions disagree.
        """
        opening = Opening(self, data, allow_counts)
        for role in ROLES:
            opening.headers(role)
        labels = self.labels(opening)
        if not self._has_extra_column(opening):
            refuse_unsound(Relevance.from_labels(*labels, class_names=opening.class_names), self.name)
        train, query, database = (opening.features(role) for role in ROLES)
        parts = {features: opening.part(features) for features in (train, query, database)}
        relevance = self.relevance(opening, query.row_digests, database.row_digests)
        return [
            Split(
                self.name,
                parts[train],
                parts[query],
                parts[database],
                relevance,
                opening.synthetic,
                opening.notes(),
                tuple(parts),
            )
        ]

    def labels(self, opening: Opening) -> tuple[np.ndarray, np.ndarray]:
        """Return the labels of queries and database in one form, but for an extra column that only videos can tell.

        Raises:
            DataError: as for `load`; no feature is read.
        """
        labels = opening.labels("query"), opening.labels("database")
        if self._has_extra_column(opening):
            return labels
        return match_forms(*labels, opening.title("query"), opening.title("database"))

    def relevance(self, opening: Opening, query: np.ndarray, database: np.ndarray) -> Relevance:
        """Return which database videos answer which query.

        Args:
            opening: the files.
            query: the queries' digests, uint8 (queries, 32).
            database: the database's, uint8 (items, 32).

        Raises:
            DataError: the labels do not fit together.
        """
        labels, index = self.labels(opening), None
        if self.queries_in_database:
            same = opening.headers("query") == opening.headers("database")
            index = np.arange(len(query)) if same else _find_queries(query, database)
        if index is not None and self._has_extra_column(opening):
            titles = opening.title("query"), opening.title("database")
            labels = match_forms(labels[0], drop_extra_column(*labels, index, *titles), *titles)
        return Relevance.from_labels(*labels, index, opening.class_names)

    def _has_extra_column(self, opening: Opening) -> bool:
        return self.queries_in_database and opening.has_extra_column()

    def train_labels(self, data: Path | None) -> np.ndarray:
        """Return the training videos' labels; `load` never reads them.

        Args:
            data: the data folder or None; see `find`.

        Returns:
            int64 (videos,) or bool (videos, classes); classes with names have the numbers that `load` gives them.

        Raises:
            DataError: the manifest names no labels for the training videos, or the files cannot be used.
        """
        return Opening(self, data).labels(self.labelled("train"))

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

    def describe(self) -> list[tuple[str, str]]:
        """Return (heading, text) rows for `vhbench describe`."""
        kept = f", of which {self.keep_frames} are used" if self.keep_frames else ""
        numbers = [
            ("frames", f"{self.frames}{kept}" if self.frames else kept[11:]),
            ("dimensions", str(self.dim or "")),
            ("classes", str(self.classes or "")),
            ("known variants", "; ".join(self.variants)),
        ]
        return [
            *super().describe(),
            *((role, _summary(self.tables[role])) for role in ROLES),
            ("queries in database", "yes" if self.queries_in_database else "no"),
            *(row for row in numbers if row[1]),
            *(("published", text) for text in self.published),
            ("manifest", str(self.path)),
        ]


def data_sets(protocol: Protocol) -> list[ManifestProtocol]:
    """Return the manifests that a protocol takes its videos from, itself if it is one; each once."""
    if isinstance(protocol, ManifestProtocol):
        return [protocol]
    found = [manifest for base in protocol.made_of for manifest in data_sets(base)]
    return list({manifest.path: manifest for manifest in found}.values())


def load_manifest(path: Path, *, beside: bool = True) -> ManifestProtocol:
    """Read a manifest; opens no data.

    Top level: `name` (required), `title`, `version`, `ks`, `budget`, `synthetic`, `queries_in_database`, `folder`,
    `frames`, `keep_frames`, `dim`, `classes`, `published`. Tables `train`, `query` and `database`: `features`
    (required), `labels` (required but in `train`), `count`, `key`, `label_key`. Table `variants`: a line a known
    version of the files, as in `"81 label columns" = { classes = 81 }`.

    Args:
        path: the TOML file.
        beside: files may also lie beside it.

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
    return ManifestProtocol(path, values, {role: _read_table(role, values[role], path) for role in ROLES}, beside)


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


def _find_queries(query: np.ndarray, database: np.ndarray) -> np.ndarray:
    """Return the database row that is each query (int64, -1 where none is): the first one with the same digest."""
    first: dict[bytes, int] = {}
    for row, digest in enumerate(database):
        first.setdefault(digest.tobytes(), row)
    return np.array([first.get(digest.tobytes(), -1) for digest in query], dtype=np.int64)


def _summary(table: Table) -> str:
    files = ", ".join(table.features) + (f" with {', '.join(table.labels)}" if table.labels else "")
    return files if table.count is None else f"{table.count} videos: {files}"
