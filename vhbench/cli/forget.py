"""`vhbench forget`: remove a grid that nobody will finish."""

from __future__ import annotations

from pathlib import Path

import click

from vhbench.cli import options
from vhbench.errors import StoreError
from vhbench.grid.files import find_grid
from vhbench.grid.survey import waiting_in
from vhbench.runs.store import Store
from vhbench.system.files import write_error
from vhbench.system.locks import is_held


@click.command()
@click.argument("grid")
@options.out
def command(grid: str, out: Path) -> None:
    """Forget GRID, so that `vhbench status` does not wait for its runs: the id that it prints, or grids/<id>.json.

    Removes that file and nothing else: runs that are recorded or begun stay. Refuses while one of its runs is at work.
    Prints the runs that were waiting.
    """
    kept = find_grid(grid, out)
    root = kept.path.parent.parent
    for name in kept.runs:
        if is_held(root / name):
            raise StoreError(f"{kept.path} stays: a process works on its run {root / name}. Forget it later.")
    waiting, elsewhere = waiting_in(kept, Store(root))
    try:
        kept.path.unlink(missing_ok=True)
    except OSError as error:
        raise write_error(kept.path, error) from error
    for folder in waiting:
        click.echo(f"was waiting: {folder}")
    click.echo(f"removed: {kept.path}; {len(waiting)} of its {len(kept.runs)} runs were waiting", err=True)
    for other, count in elsewhere.items():
        click.echo(f"still waiting: {count} of them, for which {other} asks too", err=True)
