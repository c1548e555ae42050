"""`vhbench reproduce`: a paper's table run anew, beside what the paper printed and claimed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from tabulate import tabulate

from vhbench.cli import options
from vhbench.cli.grid_options import grid_options
from vhbench.cli.launching import LaunchingCommand
from vhbench.grid.cells import Cell
from vhbench.grid.request import Request
from vhbench.report.paper.run import Reproduction
from vhbench.report.paper.text import FORMATS, render_lines


@click.command(cls=LaunchingCommand)
@click.argument("table")
@click.option(
    "--protocol",
    help="A protocol or manifest in place of the table's own; nothing on another one counts as reproduced.",
)
@click.option("--bits", type=options.NUMBERS, default=(), help="Only these code lengths.")
@grid_options
@click.option(
    "--published", type=options.PATH, metavar="DIR",
    help="Published numbers, in the form of results/published, which is the default.",
)  # fmt: skip
@click.option("--format", "form", type=click.Choice(FORMATS), default="table", show_default=True)
@click.option("--dry-run", is_flag=True, help="Train nothing: list the runs, and compare what is recorded.")
def command(
    table: str,
    protocol: str | None,
    bits: Sequence[int],
    published: Path | None,
    form: str,
    dry_run: bool,
    **given: Any,
) -> int:
    """Run what TABLE of a paper needs, and print ours beside its published numbers.

    TABLE is table2 to table7, fig4 or fig5 of the UVVH paper, or NAME/table1 with what the authors of a later method
    published: bth, bervae, conmh, s5vh, autossvh, wsch, ssvh. Recorded runs are used, missing ones are done. Every
    published number gets a status, every claim of order a verdict. results/published/tables holds all tables, and what
    of each is run and compared.
    """
    asked = Reproduction(table, {**given, "dry_run": dry_run}, protocol, bits, published)
    runs = asked.request
    if dry_run:
        click.echo(_listing(runs.cells, runs.to_do) + "\n", err=form in ("csv", "json"))
    elif runs.to_do:
        from vhbench.cli.progress import progress

        with progress(runs.to_do, runs.store) as observer:
            runs.run(observer)
    if not dry_run:
        asked.rescore()
    click.echo(render_lines(asked.lines(), asked.table.title, form))
    return 0 if dry_run else _failures(runs)


def _listing(cells: Sequence[Cell], wanted: Sequence[Cell]) -> str:
    chosen = {cell.spec.id for cell in wanted}
    lines = [
        [c.spec.protocol, c.spec.method, c.spec.bits, c.spec.seed, c.state, "run" if c.spec.id in chosen else "keep"]
        for c in cells
    ]
    table = tabulate(lines, ["protocol", "method", "bits", "seed", "state", "plan"])
    return f"{table}\n\n{len(wanted)} of {len(cells)} runs to do."


def _failures(runs: Request) -> int:
    """Say which runs have no result; return the exit code."""
    records = [record for record in runs.records() if record.status != "done"]
    for record in records:
        click.echo(f"{record.status}: {record.folder}: {record.data['reason']}", err=True)
    failed = sum(record.status == "failed" for record in records)
    if failed:
        click.echo(f"failed: {failed} of {len(runs.cells)} runs; --rerun failed tries them again", err=True)
    return 1 if failed else 0
