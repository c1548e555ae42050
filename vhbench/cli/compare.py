"""`vhbench compare`: the table of recorded results."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import click

from vhbench.cli import options
from vhbench.report.rows import Choice, rows
from vhbench.report.tables import FORMATS, render
from vhbench.store import Store

BETWEEN_METRICS = re.compile(r",(?![^\[]*\])")  # a comma that is not inside brackets


@click.command()
@click.option("--protocol", "protocols", type=options.NAMES, default=(), help="Only these protocols.")
@click.option("--method", "methods", type=options.NAMES, default=(), help="Only these methods, in this order.")
@click.option("--bits", type=options.NUMBERS, default=(), help="Only these code lengths.")
@click.option(
    "--metric", "metrics", multiple=True, default=("map@20",), show_default=True,
    help="map@K, precision@K or recall@K, with options if you like: map@20[den=min,ties=best],map@5.",
)  # fmt: skip
@click.option(
    "--convention", default="literature", show_default=True, help="literature or strict: options a metric leaves out."
)
@click.option("--format", "form", type=click.Choice(FORMATS), default="table", show_default=True)
@options.out
def command(
    protocols: Sequence[str],
    methods: Sequence[str],
    bits: Sequence[int],
    metrics: Sequence[str],
    convention: str,
    form: str,
    out: Path,
) -> None:
    """Print finished runs as a table: methods down, code lengths across, mean over seeds with standard deviation."""
    records, problems = Store(out).records()
    for problem in problems:
        click.echo(f"left out: {problem}", err=True)
    names = [name.strip() for text in metrics for name in BETWEEN_METRICS.split(text)]
    table = rows(records, Choice(protocols, methods, bits, names, convention))
    if table or form in ("csv", "json"):
        click.echo(render(table, form))
    elif any(record.status == "done" for record in records):
        click.echo("No finished run is of this protocol, method and code length at once.", err=True)
    unfinished = [record for record in records if record.status != "done"]
    if unfinished:
        click.echo(f"not in the table: {len(unfinished)} failed or skipped runs (vhbench status)", err=True)
    if not records:
        click.echo(f"There are no recorded runs in {out}: `vhbench run` makes some.", err=True)
