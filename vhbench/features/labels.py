"""Label files in, in any of the formats of `label_files`: class numbers, class names or a multi-hot matrix."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vhbench.errors import DataError
from vhbench.features.headers import Header
from vhbench.features.label_arrays import form_of, read_array
from vhbench.features.label_files import read_label_file

LABEL_KEYS = ("labels", "re_label", "q_label")


def read_labels(paths: Sequence[Path], key: str | None = None, features: Sequence[Header] = ()) -> np.ndarray:
    """Read label files, concatenated in the order given.

    Args:
        paths: `.mat` (MATLAB 4 to 7.3), HDF5, `.npy`, `.npz` or text files; what their arrays mean, `read_array` says.
        key: name of the variable, struct field ("data.labels"), array or CSV column; by default the first of
            `LABEL_KEYS` that a file has.
        features: headers of the feature files whose videos these are. Where there are as many as label files, each
            pair must have equally many videos; otherwise all together must.

    Returns:
        Class numbers, int64 (videos,); class names, str (videos,); or a multi-hot matrix, bool (videos, classes).

    Raises:
        DataError: a file cannot be read, has no such variable, holds something else than labels, or disagrees with the
            feature files on the number of videos or with the first label file on the form or the number of classes.
    """
    if len(features) == len(paths):
        parts = [_read_counted([path], key, [header])[0] for path, header in zip(paths, features, strict=True)]
    else:
        parts = _read_counted(paths, key, features)
    for path, part in zip(paths, parts, strict=True):
        check_same_form(parts[0], part, str(paths[0]), str(path))
    return np.concatenate(parts)


def match_forms(
    query: np.ndarray, database: np.ndarray, query_name: str, database_name: str
) -> tuple[np.ndarray, np.ndarray]:
    """Bring the labels of queries and database, names numbered, to one form.

    Matrices in which every row on both sides has exactly one label become class numbers (column numbers from 0), which
    score faster and mean the same; otherwise they stay multi-hot.

    Args:
        query: int64 (queries,) or bool (queries, classes).
        database: int64 (items,) or bool (items, classes).
        query_name: where the query labels come from, for messages.
        database_name: where the database labels come from, for messages.

    Raises:
        DataError: one side has class numbers and the other a matrix, or the numbers of classes differ.
    """
    check_same_form(query, database, query_name, database_name)
    if query.ndim == 2 and all((labels.sum(axis=1) == 1).all() for labels in (query, database)):
        return query.argmax(axis=1), database.argmax(axis=1)
    return query, database


def drop_extra_column(
    query: np.ndarray, database: np.ndarray, rows: np.ndarray, query_name: str, database_name: str
) -> np.ndarray:
    """Return the database's labels without the one column that the queries' labels lack.

    Which column that is the queries tell, which are database videos too: without it, their labels in both files agree.

    Args:
        query: bool (queries, classes).
        database: bool (items, classes + 1).
        rows: int64 (queries,), the database row that is each query, -1 where there is none.
        query_name: where the query labels come from, for messages.
        database_name: where the database labels come from, for messages.

    Raises:
        DataError: no column is the extra one, or several may be and it matters to some query.
    """
    theirs, ours = query[rows >= 0], database[rows[rows >= 0]]
    extra = [column for column in range(database.shape[1]) if np.array_equal(np.delete(ours, column, axis=1), theirs)]
    # between two candidates all columns are alike in these rows: unless they are empty, the choice changes who matches
    if not extra or not len(theirs) or theirs[:, extra[0] : extra[-1]].any():
        raise DataError(
            f"{database_name} has one label column more than {query_name}, and the queries do not tell which: "
            "get the right version of the label files."
        )
    return np.delete(database, extra[0], axis=1)


def check_same_form(first: np.ndarray, other: np.ndarray, first_name: str, other_name: str) -> None:
    """Raise DataError unless both are class numbers, both class names, or both matrices of as many classes."""
    if form_of(first) != form_of(other):
        raise DataError(
            f"{first_name} holds {form_of(first)} and {other_name} holds {form_of(other)}: "
            "labels can be compared only in one form with one numbering of classes."
        )


def _read_counted(paths: Sequence[Path], key: str | None, features: Sequence[Header]) -> list[np.ndarray]:
    count = sum(header.shape[0] for header in features) or None
    parts = [_read(path, key, count) for path in paths]
    found = sum(len(part) for part in parts)
    if features and found != count:
        raise DataError(
            f"{' and '.join(map(str, paths))} label {found} videos, but "
            f"{' and '.join(str(header.path) for header in features)} hold {count}{_hint(parts, features, found)}: "
            "name the files that belong together, in the same order, or get the right version of them."
        )
    return parts


def _read(path: Path, key: str | None, count: int | None) -> np.ndarray:
    return read_array(read_label_file(path, [key] if key else LABEL_KEYS, count), str(path), count)


def _hint(parts: Sequence[np.ndarray], features: Sequence[Header], found: int) -> str:
    """Say which axes look swapped, where the number of videos is found on another one."""
    count = sum(header.shape[0] for header in features)
    if len(parts) == 1 and parts[0].ndim == 2 and parts[0].shape[1] == count:
        return " (transpose the matrix: videos down, classes across)"
    if len(features) == 1 and found in features[0].shape[1:]:
        return f" (their shape is {features[0].shape}, which should be videos, frames, dimensions)"
    return ""
