"""Numbers of the page: means and maxima over runs, rounded so that the file stays small."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

DIGITS = 5


def means(values: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """Return the mean of each entry, rounded, over those that have it as a number."""
    names = dict.fromkeys(name for value in values for name in value)
    columns = {name: [value[name] for value in values if value.get(name) is not None] for name in names}
    return {name: short(statistics.fmean(column)) if column else None for name, column in columns.items()}


def largest(values: Iterable[float | None]) -> float | None:
    """Return the largest number; None where there is none."""
    return max((value for value in values if value is not None), default=None)


def short(value: float | None, digits: int = DIGITS) -> float | None:
    """Round to a number of digits behind the point, or of significant ones above 1; None for what is no number."""
    if value is None or not np.isfinite(value):
        return None
    return float(f"{value:.{digits}g}") if abs(value) >= 1 else round(float(value), digits)


def nearest(ks: Sequence[int], k: int) -> int:
    """Return the K that is nearest to the one asked for; the smaller of two."""
    return min(ks, key=lambda x: (abs(x - k), x))
