"""A manifest's file of the classes' names, beside labels that have numbers or names of their own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from vhbench.errors import DataError


def named_by_number(names: Sequence[str], labels: Iterable[np.ndarray]) -> tuple[str, ...]:
    """Return the names by class number; where classes count from 1, the first one is empty.

    Args:
        names: in the order of the classes.
        labels: of all roles that are known, int64 (videos,) or bool (videos, classes).
    """
    return ("", *names) if _highest(labels) == len(names) else tuple(names)


def check_class_list(
    names: Sequence[str], file: str, labels: Sequence[np.ndarray], by_name: Sequence[str], places: str
) -> None:
    """Raise DataError unless a list of classes has a name for every label.

    Args:
        names: in the order of the classes.
        file: where they stand, for messages.
        labels: of all roles that are known, the last one those to check; int64 (videos,) or bool (videos, classes).
        by_name: the names that the labels have themselves; empty where they are numbers or a matrix.
        places: where the labels stand, for messages.
    """
    count = len(names)
    if by_name:
        if lacking := sorted(set(by_name) - set(names)):
            raise DataError(f"{file} does not name the class {lacking[0]!r}, which {places} have: add it.")
        return
    if labels[-1].ndim == 2:
        if labels[-1].shape[1] != count:
            raise DataError(f"{file} names {count} classes, but {places} have {labels[-1].shape[1]}: name each column.")
        return
    highest, lowest = _highest(labels), min(int(array.min()) for array in labels if array.ndim == 1)
    if highest >= count + (lowest > 0):
        raise DataError(
            f"{file} names {count} classes, but {places} number them up to {highest}"
            f"{' and from 0' if not lowest else ''}: name them all, in the order of their numbers."
        )


def _highest(labels: Iterable[np.ndarray]) -> int:
    """Return the highest class number; -1 where there are only matrices."""
    return max((int(array.max()) for array in labels if array.ndim == 1), default=-1)
