"""Options and value types that several commands share."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from vhbench.errors import UsageError
from vhbench.launch.resources import SECONDS
from vhbench.system.files import user_path

F = TypeVar("F", bound=Callable[..., Any])


class Names(click.ParamType):
    """Comma-separated names."""

    name = "name,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """Split the text."""
        if isinstance(value, tuple):
            return value
        names = tuple(part.strip() for part in str(value).split(","))
        if not all(names):
            raise UsageError(f"{_label(param)} takes names separated by commas, not {value!r}.")
        return tuple(_with_commas(names))


class UserPath(click.Path):
    """A path; `~` is the home folder where the shell has not read it as such, as in --out=~/results."""

    def __init__(self, **options: bool):
        super().__init__(path_type=Path, **options)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Make it a path."""
        return super().convert(user_path(value), param, ctx)


class Numbers(click.ParamType):
    """Comma-separated whole numbers."""

    name = "number,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Split the text and read the numbers."""
        if isinstance(value, tuple):
            return value
        try:
            return tuple(int(part) for part in str(value).split(","))
        except ValueError:
            raise UsageError(f"{_label(param)} takes whole numbers separated by commas, not {value!r}.") from None


class Time(click.ParamType):
    """A number of seconds, or of minutes or hours with the letter behind it; becomes seconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read the text."""
        if isinstance(value, float):
            return value
        found = re.fullmatch(r"(\d{1,9}(?:\.\d+)?)([smhd]?)", str(value).strip())
        if not found or not float(found[1]):
            raise UsageError(f"{_label(param)} takes a time such as 90 (seconds), 30m or 2h, not {value!r}.")
        return float(found[1]) * SECONDS[found[2]]


NAMES, NUMBERS, TIME, PATH = Names(), Numbers(), Time(), UserPath()

out = click.option("--out", type=PATH, default=Path("results"), show_default=True, help="The results folder.")
plugins = click.option("--plugin", "plugins", multiple=True, type=PATH, help="A Python file with further methods.")


def data(function: F) -> F:
    """Add `--data`, which defaults to `$VHBENCH_DATA`."""
    return click.option(
        "--data",
        type=PATH,
        default=lambda: os.environ.get("VHBENCH_DATA"),
        help="The folder of the feature files; $VHBENCH_DATA by default.",
    )(function)


def parse_sets(texts: Sequence[str]) -> dict[str, dict[str, str]]:
    """Turn `method.name=value` texts into method -> hyper-parameter -> value.

    Raises:
        UsageError: a text is not of that form.
    """
    parsed: dict[str, dict[str, str]] = {}
    for text in texts:
        target, equals, value = text.partition("=")
        method, dot, name = target.rpartition(".")
        if not (equals and dot and method and name and value):
            raise UsageError(f"--set takes method.name=value, as in uvvh.lr=1e-4; not {text!r}.")
        parsed.setdefault(method.strip(), {})[name.strip()] = value.strip()
    return parsed


def _with_commas(names: Sequence[str]) -> Iterator[str]:
    """Yield the names; parts of the path of a manifest that is there, with commas in it, are one."""
    start = 0
    while start < len(names):
        ends = range(len(names), start + 1, -1)
        joined = {end: ",".join(names[start:end]) for end in ends if names[end - 1].endswith(".toml")}
        end = next((end for end, name in joined.items() if os.path.isfile(user_path(name))), start + 1)  # noqa: PTH113
        yield joined.get(end, names[start])
        start = end


def _label(param: click.Parameter | None) -> str:
    return param.opts[-1] if param is not None else "The option"
