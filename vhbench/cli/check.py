"""`vhbench check`: a method against the contract."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from tabulate import tabulate

from vhbench.cli import options
from vhbench.plugins.entries import MethodEntry
from vhbench.plugins.registry import Registry

if TYPE_CHECKING:
    from vhbench.testing import CheckResult

COLOURS = {"passed": "green", "failed": "red", "expected failure": "yellow"}


@click.command()
@click.argument("target", metavar="NAME|FILE")
@click.option("--simulate-gpu", is_flag=True, help="Check also what holds on a GPU, on one that is simulated.")
@options.plugins
def command(target: str, simulate_gpu: bool, plugins: Sequence[Path]) -> int:
    """Check the method NAME, or every method in the Python FILE, against the contract that all methods keep.

    Exit code 0: every rule is kept; 1: some are broken, and the table says what to do.
    """
    from vhbench.testing import check_method

    failed = 0
    where = " and on a simulated GPU" if simulate_gpu else ""
    for entry in _entries(target, plugins):
        click.echo(f"Checking {entry.name} ({entry.origin}) on toy videos{where} ...", err=True)
        results = check_method(entry.make, simulate_gpu=simulate_gpu)
        broken = sum(result.status == "failed" for result in results)
        click.echo(f"{entry.name}: {_verdict(broken, len(results))}\n\n{_table(results)}\n")
        failed += broken
    return 1 if failed else 0


def _entries(target: str, plugins: Sequence[Path]) -> list[MethodEntry]:
    """Return the methods meant.

    Raises:
        UsageError: there is no such method or file, or it cannot be used.
    """
    if not (target.endswith(".py") or os.sep in target):
        return [Registry(plugins).method(target)]
    path = Path(target)
    entries = [entry for entry in Registry([path]).methods() if entry.origin == str(path)]
    for entry in entries:
        entry.load()
    return entries


def _verdict(broken: int, rules: int) -> str:
    return f"{broken} of {rules} rules are broken" if broken else f"all {rules} rules are kept"


def _table(results: Sequence[CheckResult]) -> str:
    rows = [(r.name, click.style(r.status, fg=COLOURS[r.status]), r.message) for r in results]
    width = None
    if sys.stdout.isatty():  # in a pipe or a file each rule stays on one line
        taken = max(len(r.name) for r in results) + max(len(r.status) for r in results) + 4
        width = max(20, shutil.get_terminal_size().columns - taken)
    table: str = tabulate(rows, ["rule", "result", "message"], disable_numparse=True, maxcolwidths=[None, None, width])
    return table
