"""Label files in: MATLAB 5, MATLAB 7.3 (HDF5) and `.npy`, as class numbers or as a multi-hot matrix."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vhbench.errors import DataError
from vhbench.features.headers import (
    NPY_MAGIC,
    Header,
    find_data_set,
    hdf5_reading,
    is_hdf5,
    magic,
    missing_key,
    open_hdf5,
)

LABEL_KEYS = ("labels", "re_label", "q_label")
SETTING = 'label_key = "..."'


def read_labels(paths: Sequence[Path], key: str | None = None, features: Sequence[Header] = ()) -> np.ndarray:
    """Read label files, concatenated in the order given.

    Args:
        paths: `.mat` (MATLAB 4 to 7.3) or `.npy` files; told apart by content, not by name. Each holds (n,), (n, 1) or
            (1, n) class numbers, or (n, classes) zeros and non-zeros.
        key: variable name in `.mat` files; by default the first of `LABEL_KEYS` that a file has.
        features: headers of the feature files whose videos these are. Where there are as many as label files, each
            pair must have equally many videos; otherwise all together must.

    Returns:
        Class numbers, int64 (videos,), or a multi-hot matrix, bool (videos, classes).

    Raises:
        DataError: a file cannot be read, has no such variable, holds something else than labels, or disagrees with the
            feature files on the number of videos or with the first label file on the form or the number of classes.
    """
    if len(features) == len(paths):
        parts = [_read_counted([path], key, [header])[0] for path, header in zip(paths, features, strict=True)]
    else:
        parts = _read_counted(paths, key, features)
    for path, part in zip(paths, parts, strict=True):
        _check_same_form(parts[0], part, str(paths[0]), str(path))
    return np.concatenate(parts)


def match_forms(
    query: np.ndarray, database: np.ndarray, query_name: str, database_name: str
) -> tuple[np.ndarray, np.ndarray]:
    """Bring the labels of queries and database, as `read_labels` returns them, to one form.

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
    _check_same_form(query, database, query_name, database_name)
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


def _read_counted(paths: Sequence[Path], key: str | None, features: Sequence[Header]) -> list[np.ndarray]:
    count = sum(header.shape[0] for header in features)
    parts = [_read(path, key, count) for path in paths]
    found = sum(len(part) for part in parts)
    if features and found != count:
        raise DataError(
            f"{' and '.join(map(str, paths))} label {found} videos, but "
            f"{' and '.join(str(header.path) for header in features)} hold {count}: "
            "name the files that belong together, in the same order, or get the right version of them."
        )
    return parts


def _check_same_form(first: np.ndarray, other: np.ndarray, first_name: str, other_name: str) -> None:
    if first.shape[1:] != other.shape[1:]:
        raise DataError(
            f"{first_name} holds {_form(first)} and {other_name} holds {_form(other)}: "
            "labels can be compared only in one form with one numbering of classes."
        )


def _form(labels: np.ndarray) -> str:
    return "class numbers" if labels.ndim == 1 else f"a matrix of {labels.shape[1]} classes"


def _read(path: Path, key: str | None, count: int) -> np.ndarray:
    keys = [key] if key else list(LABEL_KEYS)
    start = magic(path)
    if start.startswith(NPY_MAGIC):
        try:
            array = np.load(path, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise DataError(f"{path} is not a sound .npy file ({error}). Copy or download it again.") from error
    elif is_hdf5(path):
        with open_hdf5(path) as file, hdf5_reading(path):
            array = np.asarray(find_data_set(file, path, keys, SETTING)[()])
        # MATLAB's column order shows up transposed; a file that h5py wrote need not be
        if not (array.ndim == 2 and array.shape[0] == count != array.shape[1]):
            array = array.T
    else:
        array = _read_matlab(path, keys)
    return _check_labels(array, path, count)


def _read_matlab(path: Path, keys: list[str]) -> np.ndarray:
    import scipy.io
    import scipy.sparse

    try:
        names = [name for name, _, _ in scipy.io.whosmat(path)]
        key = next((key for key in keys if key in names), None)
        array = scipy.io.loadmat(path, variable_names=[key])[key] if key else None
    except Exception as error:  # scipy lets whatever its parser trips over escape, from TypeError to zlib.error
        raise DataError(
            f"{path} is neither a sound MATLAB file nor .npy ({error}): labels must be in one of these formats. "
            "Copy or download it again."
        ) from error
    if array is None:
        raise missing_key(path, keys, names, SETTING)
    return array.toarray() if scipy.sparse.issparse(array) else np.asarray(array)


def _check_labels(array: np.ndarray, path: Path, count: int) -> np.ndarray:
    one_video = count == 1 and array.ndim == 2 and array.shape[1] > 1
    if array.ndim == 2 and 1 in array.shape and not one_video:
        array = array.ravel()
    if array.dtype == np.bool_:
        array = array.astype(np.uint8)
    if array.dtype.kind not in "biuf" or array.ndim not in (1, 2):
        raise DataError(
            f"{path} holds an array of {array.dtype} of shape {array.shape}: labels must be numbers, (videos,) class "
            "numbers or (videos, classes) zeros and ones."
        )
    if not array.size:
        raise DataError(f"{path} holds no labels: its shape is {array.shape}.")
    wrong = (array < 0) | (array != np.floor(array)) | ~np.isfinite(array)
    if wrong.any():
        row = tuple(np.argwhere(wrong)[0])
        raise DataError(
            f"{path} holds {array[row]} for video {row[0]} (counted from 0): labels must be whole and not negative."
        )
    return array.astype(np.int64 if array.ndim == 1 else np.bool_)
