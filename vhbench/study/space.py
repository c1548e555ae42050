"""What a study searches: a range or a list of values for some hyper-parameters of a method."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vhbench.errors import UsageError, unknown
from vhbench.plugins.entries import MethodEntry
from vhbench.runs.spec import digest_of, kinds_of, resolve_params, text_of
from vhbench.system.files import read_toml

DIGITS = 3  # significant ones of a number drawn from a range
KEYS = ("low", "high", "log", "values")
FORM = "{ low = 1e-5, high = 1e-2, log = true } or { values = [32, 64] }"


@dataclass(frozen=True)
class Range:
    """Numbers from one to another.

    Attributes:
        low: the least.
        high: the largest.
        log: drawn evenly on a logarithmic scale.
        whole: whole numbers only.
    """

    low: float
    high: float
    log: bool = False
    whole: bool = False

    @property
    def ends(self) -> tuple[float, ...]:
        """Values that lie far apart."""
        return self.low, self.high

    def rounded(self, value: float) -> float:
        """Return a drawn number with 3 significant digits, within the range; a whole one as it is."""
        return value if self.whole else min(max(float(f"{value:.{DIGITS}g}"), self.low), self.high)

    def to_json(self) -> dict[str, Any]:
        """Return the range as a space file has it."""
        return {"low": self.low, "high": self.high, "log": self.log}


@dataclass(frozen=True)
class Values:
    """Some values.

    Attributes:
        values: what a hyper-parameter may be, JSON values.
    """

    values: tuple[Any, ...]

    @property
    def ends(self) -> tuple[Any, ...]:
        """All of them."""
        return self.values

    def rounded(self, value: Any) -> Any:
        """Return a drawn value as it is."""
        return value

    def to_json(self) -> dict[str, Any]:
        """Return the values as a space file has them."""
        return {"values": list(self.values)}


Space = Mapping[str, Range | Values]


def to_json(space: Space) -> dict[str, Any]:
    """Return a space as JSON values."""
    return {name: choice.to_json() for name, choice in space.items()}


def digest(space: Space) -> str:
    """Return the sha256 of a space."""
    return digest_of(to_json(space))


def read_space(source: Path | Mapping[str, Any], entry: MethodEntry) -> Space:
    """Return what is searched.

    Args:
        source: a TOML file, or its content: hyper-parameter -> {low, high, log}, {values = [...]}, or a list of values.
        entry: the method.

    Raises:
        UsageError: it cannot be read, a name or an entry is unknown, or the method does not take a value.
    """
    content, where = (source, "the space") if isinstance(source, Mapping) else (_read(source), str(source))
    if not content:
        raise UsageError(f"{where} names no hyper-parameter: a line each, as in lr = {FORM}.")
    return {name: _choice(name, value, entry, where) for name, value in content.items()}


def _read(path: Path) -> Mapping[str, Any]:
    try:
        return read_toml(path)
    except OSError as error:
        raise UsageError(f"Cannot read the space {path}: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"The space {path} is not text in UTF-8.") from error
    except ValueError as error:
        raise UsageError(f"The space {path} is not TOML: {error}.") from error


def _choice(name: str, value: Any, entry: MethodEntry, where: str) -> Range | Values:
    label = f"{where}: {entry.name}.{name}"
    if name not in entry.params:
        hint = f"It stands in {where}; `vhbench describe {entry.name}` lists them."
        raise unknown(f"hyper-parameter of {entry.name}", name, entry.params, hint)
    value = {"values": value} if isinstance(value, list | tuple) else value
    if not isinstance(value, Mapping):
        raise UsageError(f"{label} takes {FORM}.")
    for key in value:
        if key not in KEYS:
            raise unknown(f"entry of {entry.name}.{name}", key, KEYS, f"It stands in {where}.")
    if "values" in value:
        return _values(name, value, entry, label)
    return _range(name, value, entry, label)


def _values(name: str, value: Mapping[str, Any], entry: MethodEntry, label: str) -> Values:
    values = value["values"]
    if len(value) > 1 or not isinstance(values, list | tuple) or not values:
        raise UsageError(f"{label} takes a list of values, and nothing beside it.")
    return Values(tuple(dict.fromkeys(_taken(name, item, entry, label) for item in values)))


def _range(name: str, value: Mapping[str, Any], entry: MethodEntry, label: str) -> Range:
    kinds = kinds_of(entry.params[name])
    log, whole = value.get("log", False), "int" in kinds and "float" not in kinds
    ends = [value.get(key) for key in ("low", "high")]
    if not {"int", "float"} & {*kinds}:
        raise UsageError(f"{label} takes no numbers: list what it may be, as in {{ values = [...] }}.")
    if not all(_is_number(end) for end in ends) or not isinstance(log, bool):
        raise UsageError(f"{label} takes low and high, which are numbers, and perhaps log = true.")
    low, high = (_taken(name, end, entry, label) for end in ends)
    if not low < high or (log and low <= 0):
        raise UsageError(f"{label} goes from {low:g} to {high:g}: low is below high{', and above 0 with log' * log}.")
    return Range(low, high, log, whole)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _taken(name: str, value: Any, entry: MethodEntry, label: str) -> Any:
    """Return a value as the method takes it."""
    if not isinstance(value, str | int | float | bool | None):
        raise UsageError(f"{label} takes texts, numbers, true and false.")
    return resolve_params(entry, {name: text_of(value)})[name]
