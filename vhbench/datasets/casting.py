"""Who plays which role: the rows, names and groups of the videos in a manifest's files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from vhbench.datasets.choices import chosen_rows
from vhbench.datasets.manifest import Manifest
from vhbench.datasets.splitting import groups_of, query_rows, unmatched
from vhbench.errors import DataError
from vhbench.features import Header
from vhbench.features.names import GROUP_KEYS, NAME_KEYS, read_names


class Casting:
    """The rows that each role has of its files, with the videos' names and groups; each file is read once.

    Args:
        protocol: the manifest.
        find: returns where a file lies.
        headers: returns the headers of the files with a role's `features`.
        labels: returns the labels of all videos in a role's files, as they are written there.
    """

    def __init__(
        self,
        protocol: Manifest,
        find: Callable[[str], Path],
        headers: Callable[[str], Sequence[Header]],
        labels: Callable[[str], np.ndarray],
    ):
        self._protocol = protocol
        self._find = find
        self._headers = headers
        self._labels = labels
        self._rows: dict[str, np.ndarray | None] = {}
        self._texts: dict[tuple[Path, ...], np.ndarray] = {}

    def rows(self, role: str) -> np.ndarray | None:
        """Return which of the videos in a role's files play this role, int64; None: all as they stand.

        Raises:
            DataError: the manifest chooses rows that are not there, or its split is not possible.
        """
        if role not in self._rows:
            if self._protocol.split:
                query, others = self._sides
                self._rows[role] = query if role == "query" else others
            else:
                self._rows[role] = self._chosen(role)
        return self._rows[role]

    def names(self, role: str) -> np.ndarray | None:
        """Return the names of all videos in a role's files, str (videos,); None where the manifest names no such file.

        Raises:
            DataError: a file cannot be used, or names another number of videos.
        """
        return self._read(role, self._protocol.tables[role].names, NAME_KEYS)

    def groups(self, role: str) -> np.ndarray | None:
        """Return the group of each video in a role's files, str (videos,): clips of one scene should share one.

        From the files or the pattern of `[split]`, else from names of UCF101's kind; None where neither tells.

        Raises:
            DataError: as for `names`.
        """
        split, names = self._protocol.split, self.names(role)
        if split and split.groups:
            return self._read(role, split.groups, GROUP_KEYS)
        return groups_of(names, split.pattern) if split else groups_of(names)

    @cached_property
    def _sides(self) -> tuple[np.ndarray, np.ndarray]:
        """The rows that a split makes queries, and the others."""
        split = self._protocol.split
        assert split
        chosen = self._chosen("query")
        rows = np.arange(self._count("query")) if chosen is None else chosen
        names, groups = self.names("query"), self.groups("query")
        if split.by == "group" and groups is None:
            raise self._no_groups(names)
        known = rows.astype(np.str_) if names is None else names[rows]
        query = rows[query_rows(split, self._labels("query")[rows], known, of(groups, rows))]
        return query, rows[~np.isin(rows, query)]

    def _chosen(self, role: str) -> np.ndarray | None:
        table = self._protocol.tables[role]
        where = f"in table [{table.title}] of {self._protocol.path}"
        return chosen_rows(table.rows, self._count(role), self._find, where)

    def _count(self, role: str) -> int:
        return sum(header.shape[0] for header in self._headers(role))

    def _read(self, role: str, files: Sequence[str], keys: Sequence[str]) -> np.ndarray | None:
        """Return the texts of files, one a video; None where there are no files."""
        if not files:
            return None
        places = tuple(self._find(file) for file in files)
        key = (Path(keys[0]), *places)
        if key not in self._texts:
            self._texts[key] = read_names(places, self._count(role), keys)
        return self._texts[key]

    def _no_groups(self, names: np.ndarray | None) -> DataError:
        """Build the error for a split by group where no group is known."""
        split = self._protocol.split
        assert split
        where = f'{self._protocol.path} splits by = "group"'
        if names is None:
            return DataError(f"{where}, but has neither `names` nor `groups`: files of one of these tell the groups.")
        others = unmatched(names, split.pattern)
        return DataError(
            f"{where}, but {len(others)} of {len(names)} names tell no group, the first is {others[0][:100]!r}: "
            "give names such as v_Archery_g01_c02, a `pattern` (a regular expression with the group in brackets), "
            "or `groups` files."
        )


def taken(array: np.ndarray, rows: np.ndarray | None) -> np.ndarray:
    """Return some rows of an array; None stands for all."""
    return array if rows is None else array[rows]


def of(array: np.ndarray | None, rows: np.ndarray | None) -> np.ndarray | None:
    """Return some rows of an array that may not be known; None stands for all rows."""
    return None if array is None else taken(array, rows)
