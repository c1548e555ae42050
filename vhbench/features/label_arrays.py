"""What an array of labels means: class numbers, class names or a matrix of zeros and ones.

Label files, `vhbench.evaluate` and a protocol's own arrays all come through `read_array`.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import numpy as np

from vhbench.errors import DataError

LARGEST_NUMBER = 2**53  # whole numbers up to here are exact in float64, as MATLAB keeps them
ADVICE = (
    "give class numbers (videos,), class names (videos,), or a matrix (videos, classes) of zeros and ones "
    "in which each column is a class"
)


class LabelsError(DataError, ValueError):
    """Labels that have no clear meaning; both a faulty file and a wrong argument."""


def read_array(labels: object, name: str, count: int | None = None) -> np.ndarray:
    """Return labels in one of three forms, or refuse what could mean several things.

    A vector, also as one row or one column of numbers, holds a class number or a class name a video. A matrix holds a
    column a class and is zero but for one positive value, which is 1 as a rule; any other matrix of numbers (lists of
    classes, columns "class, id", counts, probabilities) does not say what it means and is refused. Booleans in two
    dimensions are always such a matrix.

    Args:
        labels: array-like of numbers, booleans or texts, of one or two dimensions.
        name: where they come from, which begins every message.
        count: how many videos they label, where that is known; with one video, a row is a matrix.

    Returns:
        Class numbers, int64 (videos,); class names, str (videos,); or a matrix, bool (videos, classes).

    Raises:
        LabelsError: they are of none of these forms.
    """
    array = _as_array(labels, name)
    if array.ndim not in (1, 2):
        raise LabelsError(f"{name} has shape {_short(array.shape)}: {ADVICE}.")
    if not array.size:
        raise LabelsError(f"{name} holds no labels: its shape is {_short(array.shape)}.")
    if array.dtype == np.bool_:
        return array if array.ndim == 2 else array.astype(np.int64)
    if array.ndim == 2 and 1 in array.shape and not (count == 1 and array.shape[1] > 1):
        array = array.ravel()
    if array.dtype.kind == "U":
        return _read_names(array, name)
    _check_numbers(array, name)
    return array.astype(np.int64) if array.ndim == 1 else _read_matrix(array, name)


def number_names(*groups: np.ndarray) -> tuple[tuple[str, ...], list[np.ndarray]]:
    """Give every class name a number, the same in all groups: its place in the alphabet.

    Args:
        groups: str (videos,) each, as `read_array` returns them.

    Returns:
        The names by number, and the groups as class numbers, int64 (videos,).
    """
    names, numbers = np.unique(np.concatenate(groups), return_inverse=True)
    ends = np.cumsum([len(group) for group in groups])[:-1]
    return tuple(names.tolist()), np.split(numbers.astype(np.int64), ends)


def form_of(labels: np.ndarray) -> str:
    """Return the form of what `read_array` returned, in words."""
    if labels.ndim == 2:
        return f"a matrix of {labels.shape[1]} classes"
    return "class names" if labels.dtype.kind == "U" else "class numbers"


def shifted(labels: np.ndarray, others: np.ndarray) -> bool:
    """Say whether one of two arrays seems to count its classes from 0 and the other from 1.

    So it is taken to be where one has classes that the other lacks, but would have none if its numbers were one higher
    or lower.

    Args:
        labels: class numbers, int64 (videos,).
        others: class numbers, int64 (others,).
    """
    pair = np.unique(labels), np.unique(others)
    if {int(pair[0][0]), int(pair[1][0])} != {0, 1}:
        return False
    return any(
        not np.isin(ours, theirs).all() and np.isin(ours + theirs[0] - ours[0], theirs).all()
        for ours, theirs in (pair, pair[::-1])
    )


def summary(query: np.ndarray, database: np.ndarray, names: Sequence[str] = ()) -> str:
    """Say in a few words what labels two sets of videos have: "3 classes, one a video".

    Args:
        query: int64 (queries,) or bool (queries, classes).
        database: int64 (items,) or bool (items, classes).
        names: names by class number, where classes have names.
    """
    if query.ndim == 1:
        used = columns = len(np.union1d(query, database))
        each, average = "one", ""
    else:
        used, columns = int((query.any(axis=0) | database.any(axis=0)).sum()), query.shape[1]
        counts = np.concatenate([query.sum(axis=1), database.sum(axis=1)])
        varies = counts.min() < counts.max()
        each = f"{counts.min()} to {counts.max()}" if varies else str(counts.max())
        average = f", {counts.mean():.2g} on average" if varies else ""
    of = "" if used == columns else f" of {columns}"
    return f"{used}{of} class{'' if columns == 1 else 'es'}{' by name' if names else ''}, {each} a video{average}"


def _as_array(labels: object, name: str) -> np.ndarray:
    """Return an array of numbers, booleans or texts."""
    try:
        array = np.asarray(labels)
    except ValueError as error:  # rows of different lengths
        raise LabelsError(f"{name} cannot be an array ({error}): {ADVICE}.") from error
    if array.dtype.kind == "T" or (array.dtype == object and all(isinstance(item, str) for item in array.flat)):
        array = array.astype(np.str_)
    if array.dtype.kind == "S":
        try:
            array = np.char.decode(array, "utf-8")
        except UnicodeDecodeError as error:
            raise LabelsError(f"{name} holds class names that are not UTF-8 ({error}): save them as UTF-8.") from error
    if array.dtype.kind not in "buifU":
        raise LabelsError(
            f"{name} holds {array.dtype} of shape {_short(array.shape)}: labels must be numbers or texts; {ADVICE}."
        )
    return array


def _read_names(array: np.ndarray, name: str) -> np.ndarray:
    if array.ndim == 2:
        raise LabelsError(f"{name} holds texts of shape {array.shape}: give one class name a video.")
    cleaned = [unicodedata.normalize("NFC", text.strip("\0 \t\r\n")) for text in array.tolist()]
    if "" in cleaned:
        raise LabelsError(
            f"{name} has no class name for video {cleaned.index('')} (counted from 0): name its class or leave the "
            "video out."
        )
    return np.array(cleaned)


def _check_numbers(array: np.ndarray, name: str) -> None:
    """Raise LabelsError unless all are whole and not negative."""
    with np.errstate(invalid="ignore", over="ignore"):
        wrong = ~((array >= 0) & (array == np.floor(array)) & (array <= LARGEST_NUMBER))
    if not wrong.any():
        return
    row = tuple(np.argwhere(wrong)[0])
    advice = ""
    if array.ndim == 2:
        advice = f"; {ADVICE}"
    elif (array < 0).any():
        advice = "; a video without a class needs a matrix of zeros and ones, in which its row is zero"
    raise LabelsError(
        f"{name} holds {array[row]} for video {row[0]} (counted from 0): labels are whole, not negative, and at most "
        f"2**53{advice}."
    )


def _read_matrix(array: np.ndarray, name: str) -> np.ndarray:
    """Return a matrix of zeros and one positive value as bool."""
    has: np.ndarray = array != 0
    if (array[has] == array.max()).all():
        return has
    first, other = np.unique(array[has])[:2].tolist()
    raise LabelsError(
        f"{name} is a matrix of shape {array.shape} that holds {first:g} and {other:g} beside or instead of zeros, so "
        f"its columns are not classes, or its values mean more than yes and no: {ADVICE}. If one column holds the "
        "class numbers, save that column alone."
    )


def _short(shape: Sequence[int]) -> str:
    """Return a shape as text, also one of absurdly large numbers."""
    text = str(tuple(shape))
    return text if len(text) <= 80 else f"{text[:80]}…"
