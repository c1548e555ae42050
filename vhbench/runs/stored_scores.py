"""What lies beside a record that its codes can give again: values of each query, and curves; held to their form."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from vhbench.runs.form import MOST
from vhbench.runs.record import CURVES, PER_QUERY, DamagedError, Record
from vhbench.system.files import parse_json

Columns = dict[str, list[float | None]]


def read_per_query(record: Record, names: Collection[str]) -> dict[str, np.ndarray]:
    """Return recorded values query by query.

    Args:
        record: a finished run.
        names: of metrics, as in `scores`.

    Returns:
        Those that are recorded: name -> float64 (queries,), from 0 to 1, NaN for a query that was not scored.

    Raises:
        StoreError: they are missing or damaged.
    """
    found = {}
    for name, values in record.arrays(PER_QUERY, names).items():
        sound = values.ndim == 1 and values.dtype.kind == "f"
        found[name] = values.astype(np.float64) if sound else values
        if not sound or ((found[name] < 0) | (found[name] > 1 + 1e-6)).any():
            raise DamagedError(record.folder / PER_QUERY, f"{name} is {values.dtype} {values.shape}, or beyond 0 to 1")
    return found


def read_curves(record: Record) -> dict[str, dict[str, dict[str, Columns]]]:
    """Return recorded curves: split -> "rank" or "radius" -> "keep" or "drop" -> columns of equal lengths.

    Columns are as in `results/README.md`: the rank or radius, whole numbers; recall and precision, from 0 to 1, None
    where undefined.

    Raises:
        StoreError: they are missing or damaged.
    """
    content = record.read_file(CURVES)
    try:
        curves = parse_json(content)
        for split in record.spec["splits"]:
            for by in ("rank", "radius"):
                for own in ("keep", "drop") if "scored_without_self" in record.data["queries"][split] else ("keep",):
                    _check(curves[split][by][own], by)
    except (ValueError, KeyError, TypeError) as error:
        what = str(error) if isinstance(error, ValueError) else "no curves of this run"
        raise DamagedError(record.folder / CURVES, what) from error
    return curves  # type: ignore[no-any-return]


def _check(columns: Any, by: str) -> None:
    """Raise ValueError, KeyError or TypeError unless these are the columns of a curve."""
    at, recall, precision = columns[by], columns["recall"], columns["precision"]
    if not len(at) == len(recall) == len(precision) > 0:
        raise ValueError("columns of several lengths")
    if not all(isinstance(x, int | float) and 0 <= x <= MOST and x == int(x) for x in at):
        raise ValueError(f"a {by} that is none")
    for name in ("relevant", "others"):  # not in older records
        counts = columns.get(name, [0] * len(at))
        if not len(counts) == len(at) or not all(isinstance(x, int) and 0 <= x <= MOST for x in counts):
            raise ValueError(f"{name} that are no counts")
    if not all(x is None or (isinstance(x, int | float) and 0 <= x <= 1 + 1e-6) for x in [*recall, *precision]):
        raise ValueError("recall or precision beyond 0 to 1")
