"""The options by which runs are done, for the commands that do runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from vhbench.cli import options
from vhbench.grid.plan import RERUN
from vhbench.runs.spec import BUDGETS, HALF_HELP, PRECISIONS

F = TypeVar("F", bound=Callable[..., Any])

BUDGET_HELP = "; ".join(f"{name}: {text}" for name, text in BUDGETS.items())
LAUNCHER_HELP = (
    "inline: one run after the other; local: several at a time on this machine, each in its own process; slurm: jobs "
    "of a cluster; or one of a package. Each has options of its own, below."
)
NORMALIZE_HELP = (
    "Feature scaling, learnt on the training videos and recorded: none (as in the papers), l2 (frames of unit length), "
    "standard (each dimension), whiten, or whiten=0.5 for half of it."
)
PRESET_HELP = (
    "Published settings to start from: auto (those for the protocol's data set where the method has some, else its "
    "defaults), none (its defaults), or those for a data set by its name; `describe METHOD` shows them."
)
PRECISION_HELP = "; ".join(f"{name}: {text}" for name, text in PRECISIONS.items())
RERUN_HELP = "; ".join(f"{name}: {text}" for name, text in RERUN.items())

OPTIONS = (
    click.option("--seeds", type=options.NUMBERS, default=(0,), help="Seeds; 0 by default."),
    click.option("--budget", metavar="NAME", help=f"{BUDGET_HELP}. By default the protocol's own."),
    click.option("--preset", metavar="NAME", default="auto", show_default=True, help=PRESET_HELP),
    click.option("--epochs", type=int, help="Train this many epochs instead of the budget's."),
    click.option(
        "--eval-at",
        type=options.NUMBERS,
        default=(),
        help="Record the scores at these epochs too, e.g. 5,10,20; none is chosen by them.",
    ),
    click.option("--keep-model", is_flag=True, help="Keep each trained model beside its record, for `vhbench encode`."),
    click.option(
        "--precision", default="float32", show_default=True, help=f"Of training. {PRECISION_HELP}; {HALF_HELP}."
    ),
    click.option(
        "--normalize",
        metavar="NAME",
        default="none",
        show_default=True,
        help=NORMALIZE_HELP,
    ),
    options.data,
    click.option(
        "--allow-counts", is_flag=True, help="Accept files of another size than a protocol expects; recorded."
    ),
    options.out,
    click.option(
        "--device", default="auto", show_default=True, help="auto (the freest GPU, else the CPU), cpu or cuda:N."
    ),
    click.option("--deterministic", is_flag=True, help="Use deterministic GPU kernels (slower)."),
    click.option("--launcher", default="inline", show_default=True, help=LAUNCHER_HELP),
    click.option("--rerun", metavar="WHICH", default="missing", show_default=True, help=f"What to do: {RERUN_HELP}."),
    options.plugins,
)


def grid_options(function: F) -> F:
    """Add them in this order; `LaunchingCommand` adds those of the launchers."""
    for option in reversed(OPTIONS):
        function = option(function)
    return function
