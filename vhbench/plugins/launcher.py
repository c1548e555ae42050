"""What a launcher is: a function that works off the runs of a grid. Further ones come from entry points."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, Protocol

from vhbench.errors import unknown


class Launcher(Protocol):
    """What a launcher is: a function such as `def launch(cells, work, *, workers=1)`.

    Its keyword-only parameters, which need defaults, are the options that a user may set.
    """

    def __call__(self, cells: Any, work: Any, **options: Any) -> None:
        """Do the runs and return when that is done.

        Args:
            cells: the runs to do, of `vhbench.grid.plan.Cell`.
            work: called with a cell it does that run here; also what other processes need, see
                `vhbench.grid.runner.Work`.
            **options: the launcher's own.
        """


def check_options(name: str, launcher: Launcher, options: Mapping[str, Any]) -> None:
    """Raise UsageError where a launcher does not take one of the options.

    Args:
        name: the launcher's.
        launcher: the function.
        options: name -> value.
    """
    parameters = inspect.signature(launcher).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return
    taken = [parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]
    for option in options:
        if option not in taken:
            hint = f"They belong to --launcher {name}."
            raise unknown(f"option of the launcher {name}", option, taken, hint if taken else "")


def launcher_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that were given: those that are neither None nor empty."""
    return {name: value for name, value in given.items() if value is not None and value != ()}
