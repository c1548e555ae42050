"""The options by which runs are done, for the commands that do runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from vhbench.cli import options
from vhbench.grid.plan import RERUN
from vhbench.runs.spec import BUDGETS, PRECISIONS

F = TypeVar("F", bound=Callable[..., Any])

BUDGET_HELP = "; ".join(f"{name}: {text}" for name, text in BUDGETS.items())
LAUNCHER_HELP = (
    "inline: one run after the other; local: several at a time on this machine, each in its own process; slurm: jobs "
    "of a cluster."
)
RERUN_HELP = "; ".join(f"{name}: {text}" for name, text in RERUN.items())

OPTIONS = (
    click.option("--seeds", type=options.NUMBERS, default=(0,), help="Seeds; 0 by default."),
    click.option("--budget", metavar="NAME", help=f"{BUDGET_HELP}. By default the protocol's own."),
    click.option("--epochs", type=int, help="Train this many epochs instead of the budget's."),
    click.option("--precision", default="float32", show_default=True, help=f"One of {', '.join(PRECISIONS)}."),
    options.data,
    click.option(
        "--allow-counts", is_flag=True, help="Accept files of another size than a protocol expects; recorded."
    ),
    options.out,
    click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda:N."),
    click.option("--deterministic", is_flag=True, help="Use deterministic GPU kernels (slower)."),
    click.option("--launcher", default="inline", show_default=True, help=LAUNCHER_HELP),
    click.option(
        "--workers", type=click.IntRange(1), help="local: runs at a time; without GPUs one for every 4 cores."
    ),
    click.option("--gpus", type=options.NUMBERS, help="local: the GPUs to use, e.g. 0,1; all by default."),
    click.option("--per-gpu", type=click.IntRange(1), help="local: runs at a time on each GPU; 1 by default."),
    click.option(
        "--memory-limit",
        type=click.FloatRange(0, min_open=True),
        metavar="MB",
        help="local, slurm: a run's memory.",
    ),
    click.option(
        "--time-limit",
        type=options.TIME,
        help="A run's time, e.g. 90 (seconds), 30m or 2h. local: then it is ended; slurm: then it goes back into the "
        "queue and on from its checkpoint; 4h by default.",
    ),
    click.option("--partition", metavar="NAME", help="slurm: where the runs go."),
    click.option("--account", metavar="NAME", help="slurm: who pays for them."),
    click.option("--qos", metavar="NAME", help="slurm: their quality of service."),
    click.option("--gpus-per-run", type=click.IntRange(0), help="slurm: GPUs of each run; none by default."),
    click.option("--cpus-per-run", type=click.IntRange(1), help="slurm: processor cores of each run."),
    click.option(
        "--resources",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="slurm: a TOML file with a table [default] and one a method of partition, account, qos, gpus, cpus, "
        "memory, time and extra = {any option of sbatch}; the options above go before it.",
    ),
    click.option("--array-parallelism", type=click.IntRange(1), help="slurm: runs of a job array at a time."),
    click.option("--wait", is_flag=True, default=None, help="slurm: stay until the runs are recorded."),
    click.option("--rerun", metavar="WHICH", default="missing", show_default=True, help=f"What to do: {RERUN_HELP}."),
    options.plugins,
)


def grid_options(function: F) -> F:
    """Add them in this order; a launcher's own arrive among the keywords that `launch.launcher_options` picks from."""
    for option in reversed(OPTIONS):
        function = option(function)
    return function
