"""What the Python functions take, read as the command line's texts are."""

from __future__ import annotations

import operator
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, SupportsIndex

from vhbench.errors import UsageError
from vhbench.system.files import user_path

OneOrMoreNames = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]
OneOrMoreNumbers = SupportsIndex | Iterable[SupportsIndex]


def data_folder(data: Path | str | None) -> Path | None:
    """Return the data folder: the one given, else $VHBENCH_DATA, else None."""
    data = data or os.environ.get("VHBENCH_DATA")
    return user_path(data) if data else None


def values_of(value: Any) -> list[str]:
    """Return a hyper-parameter's value or values as texts, each of which is one value."""
    return [str(item) for item in ([value] if isinstance(value, str) or not isinstance(value, Iterable) else value)]


def texts(value: OneOrMoreNames) -> tuple[str, ...]:
    """Return one name or path, or several, as texts."""
    values = (value,) if isinstance(value, str | os.PathLike) else value
    return tuple(os.fspath(value) for value in values)


def whole_numbers(value: OneOrMoreNumbers) -> tuple[int, ...]:
    """Return one number or several as integers.

    Raises:
        UsageError: one is no whole number.
    """
    values = value if isinstance(value, Iterable) else (value,)
    try:
        return tuple(operator.index(value) for value in values)  # NumPy's integers too
    except TypeError:
        raise UsageError(f"Code lengths and seeds are whole numbers, not {value!r}.") from None
