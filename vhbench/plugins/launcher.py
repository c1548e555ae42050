"""What a launcher is: a function that works off the runs of a grid. Further ones come from entry points."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, cast

from vhbench.errors import UsageError, unknown
from vhbench.plugins.source import Parameter, annotation_of, split_args

Seconds: TypeAlias = float  # annotates an option that the command line takes as 90, 30m or 2h


class Launcher(Protocol):
    """What a launcher is: a function such as `def launch(cells, work, *, workers: int = 1)`.

    Its keyword-only parameters, which need defaults, are options: of the command line (by annotation: int, float, bool,
    str, Path, Seconds, Sequence[int] or Sequence[str], each perhaps `| None`; explained as its docstring's `Args:` do),
    of grid files and of `vhbench.run`.
    """

    def __call__(self, cells: Any, work: Any, **options: Any) -> None:
        """Do the runs and return when that is done.

        Args:
            cells: the runs to do, of `vhbench.grid.cells.Cell`.
            work: called with a cell it does that run here; also what other processes need, see
                `vhbench.grid.runner.Work`.
            **options: the launcher's own.
        """


@dataclass(frozen=True)
class LauncherEntry:
    """A launcher that can be named on the command line.

    Attributes:
        name: what `--launcher` takes.
        origin: "built-in", or a distribution and its version.
        options: its own options by name; None: it takes whatever it is given.
        meanings: what its docstring says of them.
        broken: why it cannot be used; empty if it can.
        launch: the function.
    """

    name: str
    origin: str
    options: Mapping[str, Parameter] | None = field(default_factory=dict)
    meanings: Mapping[str, str] = field(default_factory=dict)
    broken: str = ""
    launch: Launcher | None = None

    @classmethod
    def of(cls, name: str, origin: str, function: Any) -> LauncherEntry:
        """Describe a function.

        Raises:
            TypeError: it is no launcher.
        """
        if not callable(function):
            raise TypeError(f"{function!r} is not a function")
        parameters = inspect.signature(function).parameters.values()
        options = {
            p.name: Parameter(p.name, p.default, annotation_of(p)) for p in parameters if p.kind is p.KEYWORD_ONLY
        }
        for option in options.values():
            if option.default is inspect.Parameter.empty:
                raise TypeError(f"its option {option.name!r} has no default")
        anything = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
        meanings = split_args(inspect.getdoc(function) or "")[1]
        return cls(name, origin, None if anything else options, meanings, launch=cast(Launcher, function))

    def load(self) -> Launcher:
        """Return the function.

        Raises:
            UsageError: the launcher is broken.
        """
        if self.launch is None:
            raise UsageError(f"Launcher {self.name!r} cannot be used: {self.broken}.")
        return self.launch

    def check(self, options: Mapping[str, Any]) -> None:
        """Raise UsageError where the launcher does not take one of the options: name -> value."""
        if self.options is None:
            return
        for option in options:
            if option not in self.options:
                hint = f"They belong to --launcher {self.name}." if self.options else ""
                raise unknown(f"option of the launcher {self.name}", option, self.options, hint)
