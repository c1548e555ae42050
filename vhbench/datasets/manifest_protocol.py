"""The protocol that a manifest describes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vhbench.datasets.manifest import ROLES, Manifest, Table, read_manifest
from vhbench.datasets.opening import Opening
from vhbench.datasets.problems import refuse_unsound
from vhbench.errors import DataError
from vhbench.features import drop_extra_column, match_forms
from vhbench.protocol import Protocol, Relevance, Split

SHOWN = 30  # numbers of a list


class ManifestProtocol(Manifest, Protocol):
    """A protocol read from a TOML manifest; make one with `load_manifest`. `Manifest` says what its files are."""

    def __init__(self, path: Path, values: Mapping[str, Any], tables: Mapping[str, Table], beside: bool = True):
        super().__init__(path, values, tables, beside)
        self.title = values.get("title", self.name)
        self.dataset = values.get("dataset", Protocol.dataset)
        self.version = values.get("version", Protocol.version)
        self.ks = tuple(values.get("ks", Protocol.ks))
        self.budget = values.get("budget", Protocol.budget)
        self.synthetic = values.get("synthetic", False)

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
            opening.sets(role)
            opening.rows(role)
            opening.groups(role)
        labels = self.labels(opening)
        if not self._has_extra_column(opening):
            refuse_unsound(Relevance.from_labels(*labels, class_names=opening.class_names), self.name)
        train, query, database = (opening.videos(role) for role in ROLES)
        parts = {videos: opening.part(videos) for videos in (train, query, database)}
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
                tuple(dict.fromkeys(videos.features for videos in parts)),
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
            same = opening.same_videos("query", "database")
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

    def describe(self) -> list[tuple[str, str]]:
        """Return (heading, text) rows for `vhbench describe`."""
        kept = f", of which {_chosen(self.keep_frames)} are used" if self.keep_frames else ""
        numbers = [
            ("frames", f"{self.frames}{kept}" if self.frames else kept[11:]),
            ("dimensions", str(self.dim or "")),
            ("classes", str(self.classes or self.class_file or "")),
            ("known variants", "; ".join(self.variants)),
        ]
        return [
            *super().describe(),
            *self._describe_roles(),
            ("queries in database", "yes" if self.queries_in_database else "no"),
            *(row for row in numbers if row[1]),
            *(("published", text) for text in self.published),
            ("manifest", str(self.path)),
        ]

    def _describe_roles(self) -> list[tuple[str, str]]:
        if self.split:
            videos = ("videos", _summary(self.tables["train"]))
            return [videos, ("split", f"{self.split.text}; the others are database and training videos")]
        return [(role, _summary(self.tables[role])) for role in ROLES]


def data_sets(protocol: Protocol) -> list[ManifestProtocol]:
    """Return the manifests that a protocol takes its videos from, itself if it is one; each once."""
    if isinstance(protocol, ManifestProtocol):
        return [protocol]
    found = [manifest for base in protocol.made_of for manifest in data_sets(base)]
    return list({(manifest.path, manifest.name): manifest for manifest in found}.values())


def load_manifest(path: Path, *, beside: bool = True) -> ManifestProtocol:
    """Read a manifest as `vhbench.datasets.manifest.read_manifest` describes it; opens no data.

    Args:
        path: the TOML file.
        beside: files may also lie beside it.

    Raises:
        DataError: the file is missing, is no TOML, or an entry is missing or of the wrong type.
        UsageError: it has a key that does not exist; the message names the nearest valid one.
    """
    values, tables = read_manifest(path)
    protocol = ManifestProtocol(Path(path), values, tables, beside) if tables else None
    if protocol is None or (protocol.split and protocol.split.folds):
        raise DataError(f"{path} is of several splits, where one is needed.")
    return protocol


def _find_queries(query: np.ndarray, database: np.ndarray) -> np.ndarray:
    """Return the database row that is each query (int64, -1 where none is): the first one with the same digest."""
    first: dict[bytes, int] = {}
    for row, digest in enumerate(database):
        first.setdefault(digest.tobytes(), row)
    return np.array([first.get(digest.tobytes(), -1) for digest in query], dtype=np.int64)


def _summary(table: Table) -> str:
    beside = "".join(f" beside {', '.join(files)}" for files in table.beside)
    files = ", ".join(table.features) + beside + (f" with {', '.join(table.labels)}" if table.labels else "")
    rows = "" if table.rows is None else f", rows {_chosen(table.rows)}"
    return (files if table.count is None else f"{table.count} videos: {files}") + rows


def _chosen(chosen: int | str | tuple[int, ...]) -> str:
    """Return a choice of rows or frames as text, a long list shortened."""
    if not isinstance(chosen, tuple):
        return str(chosen)
    return ", ".join(map(str, chosen[:SHOWN])) + (f", … ({len(chosen)})" if len(chosen) > SHOWN else "")
