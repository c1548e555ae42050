"""`vhbench compare`: the table of recorded results."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import click

from vhbench.cli import options
from vhbench.report.figures import check_path, draw_map, draw_pr
from vhbench.report.rows import Choice, rows
from vhbench.report.tables import FORMATS, render
from vhbench.store import Record, Store

FIGURE = click.Path(dir_okay=False, path_type=Path)
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
@click.option(
    "--pr", type=FIGURE, metavar="FILE", help="Draw precision-recall curves, by rank and by radius; .pdf, .svg, .png."
)
@click.option(
    "--map", "map_file", type=FIGURE, metavar="FILE", help="Draw mAP@K against K, and against the code length."
)
@options.out
def command(
    protocols: Sequence[str],
    methods: Sequence[str],
    bits: Sequence[int],
    metrics: Sequence[str],
    convention: str,
    form: str,
    pr: Path | None,
    map_file: Path | None,
    out: Path,
) -> None:
    """Print finished runs as a table: methods down, code lengths across, mean over seeds with standard deviation."""
    for path in filter(None, (pr, map_file)):
        check_path(path)
    records, problems = Store(out).records()
    for problem in problems:
        click.echo(f"left out: {problem}", err=True)
    names = [name.strip() for text in metrics for name in BETWEEN_METRICS.split(text)]
    choice = Choice(protocols, methods, bits, names, convention)
    table = rows(records, choice)
    if table or form in ("csv", "json"):
        click.echo(render(table, form))
    elif any(record.status == "done" for record in records):
        click.echo("No finished run is of this protocol, method and code length at once.", err=True)
    if table:
        _draw(records, choice, pr, map_file)
    unfinished = [record for record in records if record.status != "done"]
    if unfinished:
        click.echo(f"not in the table: {len(unfinished)} failed or skipped runs (vhbench status)", err=True)
    if not records:
        click.echo(f"There are no recorded runs in {out}: `vhbench run` makes some.", err=True)


def _draw(records: Sequence[Record], choice: Choice, pr: Path | None, map_file: Path | None) -> None:
    from vhbench.report.curves import map_curves, pr_curves

    files = draw_pr(pr_curves(records, choice), pr) if pr else []
    if map_file:
        k = int(choice.metrics[0].partition("@")[2].partition("[")[0])
        files += draw_map(map_curves(records, choice), map_file, k)
    for file in files:
        click.echo(f"wrote {file}", err=True)
