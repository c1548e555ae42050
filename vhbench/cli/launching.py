"""The command class of commands that do runs: they take the options of every launcher that is installed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property

import click

from vhbench.cli import options
from vhbench.plugins.launcher import LauncherEntry
from vhbench.plugins.registry import Registry
from vhbench.plugins.source import Parameter

TYPES: Mapping[str, click.ParamType] = {
    "int": click.INT,
    "float": click.FLOAT,
    "bool": click.BOOL,
    "Seconds": options.TIME,
    "Path": options.PATH,
    "Sequence[int]": options.NUMBERS,
    "Sequence[str]": options.NAMES,
}


class LaunchingCommand(click.Command):
    """Adds the keyword-only parameters of every launcher, a stranger's too, behind the command's own options."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return all parameters; `--help` stays last."""
        own = super().get_params(ctx)
        taken = {param.name for param in own}
        return [*own[:-1], *(option for option in self._launchers if option.name not in taken), own[-1]]

    @cached_property
    def _launchers(self) -> list[click.Option]:
        by_name: dict[str, list[LauncherEntry]] = {}
        for entry in Registry().launchers():
            for name in entry.options or ():
                by_name.setdefault(name, []).append(entry)
        return [_option(name, entries) for name, entries in by_name.items()]


def _option(name: str, entries: list[LauncherEntry]) -> click.Option:
    """Return an option of one launcher, or of several that share its name."""
    help_text = " ".join(
        f"{entry.name}: {entry.meanings.get(name, 'its own option.').rstrip('.')}." for entry in entries
    )
    kind = _type((entries[0].options or {})[name])
    flag = f"--{name.replace('_', '-')}"
    return click.Option([flag, name], type=kind, is_flag=kind is click.BOOL, default=None, help=help_text)


def _type(parameter: Parameter) -> click.ParamType:
    """Return how an option's text is read: by annotation, or by the default's type where there is none."""
    kinds = [re.sub(r"\b[\w.]+\.(?=\w)", "", kind.strip()) for kind in parameter.annotation.split("|")]
    kind = next((kind for kind in kinds if kind in TYPES), "")
    if not kind and not parameter.annotation:
        kind = type(parameter.default).__name__
    return TYPES.get(kind, click.STRING)
