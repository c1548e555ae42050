"""Labels of either form, single or multi-hot, as lists of classes per item."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vhbench.features.label_arrays import form_of, read_array


@dataclass(frozen=True)
class ClassLists:
    """The classes of each item: those of item i are classes[start[i] : start[i + 1]], ascending; int64 arrays."""

    start: np.ndarray
    classes: np.ndarray

    def __len__(self) -> int:
        return len(self.start) - 1

    def items_by_class(self, n_classes: int) -> tuple[np.ndarray, np.ndarray]:
        """Invert: the items of class c are items[start[c] : start[c + 1]], ascending; returns (start, items)."""
        items = np.repeat(np.arange(len(self)), np.diff(self.start))
        return _starts(self.classes, n_classes), items[np.argsort(self.classes, kind="stable")]

    def distinct(self) -> tuple[ClassLists, np.ndarray]:
        """Return the distinct label sets, and for each item which of them is its own."""
        sizes = np.diff(self.start)
        table = np.full((len(self), max(1, sizes.max())), -1, np.int32)
        item = np.repeat(np.arange(len(self)), sizes)
        table[item, np.arange(len(item)) - self.start[item]] = self.classes
        whole_rows = table.view(f"V{table.itemsize * table.shape[1]}").ravel()  # far faster than unique(axis=0)
        _, first, own = np.unique(whole_rows, return_index=True, return_inverse=True)
        return self.take(first), own

    def part(self, first: int, end: int) -> ClassLists:
        """Return the lists of the items first..end-1, without a copy of their classes."""
        start = self.start[first : end + 1]
        return ClassLists(start - start[0], self.classes[start[0] : start[-1]])

    def take(self, rows: np.ndarray) -> ClassLists:
        """Return the lists of the given items."""
        sizes = np.diff(self.start)[rows]
        start = np.concatenate([[0], np.cumsum(sizes)])
        offset = np.repeat(self.start[rows] - start[:-1], sizes)
        return ClassLists(start, self.classes[offset + np.arange(start[-1])])


def read_labels(
    query_labels: object, database_labels: object, n_queries: int, n_database: int
) -> tuple[ClassLists, ClassLists, int]:
    """Check both label arrays and return their class lists and the number of classes.

    What an array means, `vhbench.features.read_array` says, as for label files.

    Args:
        query_labels: (n_queries,) class numbers or names, or (n_queries, classes) zeros and ones.
        database_labels: the same form for the database.
        n_queries: number of query codes.
        n_database: number of database codes.

    Raises:
        ValueError: the labels have no clear meaning, are of two forms, or not one per code.
    """
    queries = _check(query_labels, n_queries, "query_labels")
    database = _check(database_labels, n_database, "database_labels")
    if queries.ndim == database.ndim == 2 and queries.shape[1] != database.shape[1]:
        raise ValueError(f"query_labels have {queries.shape[1]} classes and database_labels {database.shape[1]}.")
    if form_of(queries) != form_of(database):
        raise ValueError(
            f"query_labels are {form_of(queries)} and database_labels are {form_of(database)}: "
            "give both as class numbers (n,), both as class names (n,) or both as multi-hot (n, classes)."
        )
    if queries.ndim == 1:
        numbers, classes = np.unique(np.concatenate([queries, database]), return_inverse=True)
        return _single(classes[:n_queries]), _single(classes[n_queries:]), len(numbers)
    return _multi(queries), _multi(database), queries.shape[1]


def _check(labels: object, n: int, name: str) -> np.ndarray:
    array = read_array(labels, name, n)
    if len(array) != n:
        raise ValueError(f"{name} are {len(array)} for {n} codes.")
    return array


def _single(classes: np.ndarray) -> ClassLists:
    return ClassLists(np.arange(len(classes) + 1), classes.astype(np.int64, copy=False))


def _multi(labels: np.ndarray) -> ClassLists:
    rows, classes = np.nonzero(labels)
    return ClassLists(_starts(rows, len(labels)), classes)


def _starts(values: np.ndarray, size: int) -> np.ndarray:
    """Return where each of the values 0..size-1 starts once they are sorted, and the end."""
    return np.concatenate([[0], np.cumsum(np.bincount(values, minlength=size))])
