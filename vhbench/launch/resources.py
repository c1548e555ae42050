"""What a run asks a cluster for: of all runs alike, or of each method's by a TOML file."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from vhbench.errors import UsageError, unknown
from vhbench.system.files import read_toml

DEFAULT = "default"  # the table for every method that has none of its own
TIME = 4 * 3600.0  # seconds, where nothing is said: a run that needs more goes on in another turn
SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
MEGABYTES = {"": 1, "M": 1, "G": 1000}
PARAMETER = re.compile(r"[a-z][a-z-]*")
OWN = {"array", "output", "error", "signal", "open-mode", "dependency", "requeue", "job-name", "wrap", "parsable"}


@dataclass(frozen=True)
class Resources:
    """What one run gets; None: what the cluster gives unasked.

    Attributes:
        partition: where it runs.
        account: who pays for it.
        qos: its quality of service.
        gpus: how many GPUs.
        cpus: how many processor cores.
        memory: MB (10^6 bytes) of host memory.
        time: seconds of a turn, at the end of which an unfinished run is put back into the queue.
        extra: further parameters of `sbatch` by their long names.
    """

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    gpus: int | None = None
    cpus: int | None = None
    memory: float | None = None
    time: float = TIME
    extra: tuple[tuple[str, str | int | bool], ...] = ()

    @property
    def minutes(self) -> int:
        """The time in whole minutes, SLURM's unit."""
        return math.ceil(self.time / 60)

    def __str__(self) -> str:
        """Say it in a line."""
        parts = [] if self.gpus is None else [f"{self.gpus} GPU{'s' * (self.gpus != 1)}"]
        parts += [] if self.cpus is None else [f"{self.cpus} CPU{'s' * (self.cpus != 1)}"]
        parts += [] if self.memory is None else [f"{self.memory:g} MB"]
        parts += [f"{self.minutes} min"]
        named = [(name, getattr(self, name)) for name in ("partition", "account", "qos")]
        parts += [f"{name} {value}" for name, value in (*named, *self.extra) if value is not None]
        return ", ".join(parts)


KEYS = tuple(field.name for field in fields(Resources))


def read_resources(path: Path | str, methods: Collection[str]) -> dict[str, dict[str, Any]]:
    """Read a file of resources: a table [default], and one a method.

    Args:
        path: the TOML file.
        methods: every name that a table may have.

    Returns:
        Table -> attribute of `Resources` -> value, only what the file says.

    Raises:
        UsageError: it cannot be read, or a name or a value in it is none.
    """
    try:
        tables = read_toml(Path(path))
    except OSError as error:
        raise UsageError(f"Cannot read the resources file {path}: {error.strerror or error}.") from error
    except ValueError as error:
        raise UsageError(f"The resources file {path} is not TOML: {error}.") from error
    found = {}
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise UsageError(f"{path}: {name} stands in no table: write it below [{DEFAULT}] or below a method's name.")
        if name != DEFAULT and name not in methods:
            raise unknown("method", name, [*methods, DEFAULT], f"It stands in the resources file {path}.")
        for key in table:
            if key not in KEYS:
                raise unknown("resource", key, KEYS, f"It stands in [{name}] of the resources file {path}.")
        found[name] = {key: checked(key, value, f"{path}: {key} in [{name}]") for key, value in table.items()}
    return found


def resources_of(method: str, tables: Mapping[str, Mapping[str, Any]], given: Mapping[str, Any]) -> Resources:
    """Return what a method's runs get: options go before its own table, and that before the default.

    Args:
        method: its name.
        tables: what `read_resources` returned.
        given: options, by attribute.
    """
    found = Resources()
    for values in (tables.get(DEFAULT, {}), tables.get(method, {}), given):
        extra = tuple({**dict(found.extra), **dict(values.get("extra", ()))}.items())
        found = replace(found, **{**values, "extra": extra})
    return found


def checked(key: str, value: Any, where: str) -> Any:
    """Return a value as `Resources` has it.

    Args:
        key: the attribute.
        value: as the user gave it.
        where: names it in messages.

    Raises:
        UsageError: it is not possible.
    """
    wanted, read = _READERS[key]
    try:
        return read(value)
    except (ValueError, TypeError, AttributeError):
        raise UsageError(f"{where} takes {wanted}, not {value!r}.") from None


def _text(value: Any) -> str:
    if not (isinstance(value, str) and value and value.isprintable() and " " not in value):
        raise ValueError
    return value


def _count(least: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ValueError
        return value

    return read


def _measure(units: Mapping[str, int]) -> Callable[[Any], float]:
    def read(value: Any) -> float:
        found = re.fullmatch(r"(\d{1,9}(?:\.\d+)?)([A-Za-z]?)", value.strip() if isinstance(value, str) else f"{value}")
        if not found or isinstance(value, bool) or found[2] not in units or not float(found[1]):
            raise ValueError
        return float(found[1]) * units[found[2]]

    return read


def _extra(value: Any) -> tuple[tuple[str, str | int | bool], ...]:
    for name, item in value.items():
        own = not PARAMETER.fullmatch(name) or name in OWN or item is False
        if own or not isinstance(item, str | int) or not str(item).isprintable():
            raise ValueError
    return tuple(value.items())


_READERS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    **dict.fromkeys(("partition", "account", "qos"), ("a name", _text)),
    "gpus": ("a whole number from 0 up", _count(0)),
    "cpus": ("a whole number from 1 up", _count(1)),
    "memory": ('a number of MB above 0, or a text such as "16G"', _measure(MEGABYTES)),
    "time": ('a number of seconds above 0, or a text such as "30m" or "2h"', _measure(SECONDS)),
    "extra": (
        'a table of long options of sbatch without dashes, as in {constraint = "a100", exclusive = true}, and none '
        f"that vhbench sets itself ({', '.join(sorted(OWN))})",
        _extra,
    ),
}  # fmt: skip
