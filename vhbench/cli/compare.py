"""`vhbench compare`: the table of recorded results."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import click

from vhbench.cli import options
from vhbench.plugins.registry import Registry
from vhbench.report.comparison import comparison, draw
from vhbench.report.figures import check_path
from vhbench.report.tables import FORMATS, render_rows
from vhbench.runs.groups import Choice
from vhbench.runs.references import read_references
from vhbench.runs.store import Store

FIGURE = options.UserPath(dir_okay=False)
BETWEEN_METRICS = re.compile(r",(?![^\[]*\])")  # a comma that is not inside brackets


@click.command()
@click.option("--protocol", "protocols", type=options.NAMES, default=(), help="Only these: names or manifests' paths.")
@click.option("--method", "methods", type=options.NAMES, default=(), help="Only these methods, in this order.")
@click.option("--bits", type=options.NUMBERS, default=(), help="Only these code lengths.")
@click.option(
    "--metric", "metrics", multiple=True,
    help="map@K, precision@K, recall@K, ndcg@K, mrr or precision@r2 (within Hamming radius 2), with options if you "
    "like: map@20[den=min,ties=best],mrr. By default map@20, or the nearest K that a run has recorded.",
)  # fmt: skip
@click.option(
    "--convention", default="literature", show_default=True, help="literature or strict: options a metric leaves out."
)
@click.option("--ci", is_flag=True, help="Add the 95 % bootstrap interval over queries.")
@click.option(
    "--baseline", metavar="METHOD", help="Test every method against this one and mark what is better or worse."
)
@click.option("--significance", is_flag=True, help="Test all pairs of methods and mark which ones each is better than.")
@click.option("--published", is_flag=True, help="Show other people's numbers for the same protocol beside ours.")
@click.option(
    "--references/--no-references", default=None,
    help="Show chance, the cosine of mean frames and what is attainable; by default in tables and figures, but not in "
    "csv and json.",
)  # fmt: skip
@click.option("--format", "form", type=click.Choice(FORMATS), default="table", show_default=True)
@click.option(
    "--pr", type=FIGURE, metavar="FILE", help="Draw precision-recall curves, by rank and by radius; .pdf, .svg, .png."
)
@click.option(
    "--map", "map_file", type=FIGURE, metavar="FILE", help="Draw mAP@K against K, and against the code length."
)
@options.out
@options.plugins
def command(
    protocols: Sequence[str],
    methods: Sequence[str],
    bits: Sequence[int],
    metrics: Sequence[str],
    convention: str,
    ci: bool,
    baseline: str | None,
    significance: bool,
    published: bool,
    references: bool | None,
    form: str,
    pr: Path | None,
    map_file: Path | None,
    out: Path,
    plugins: Sequence[Path],
) -> None:
    """Print finished runs as a table: methods down, code lengths across, mean over seeds with standard deviation.

    Tests are paired sign-flip tests over queries of AP averaged over seeds, at a level of 0.05 after Holm's correction
    over all tests of a column. A dagger marks methods whose source has changed since a run was made, an exclamation
    mark numbers to mistrust: the notes say why.
    """
    for path in filter(None, (pr, map_file)):
        check_path(path)
    records, problems = Store(out).records()
    for problem in problems:
        click.echo(f"left out: {problem}", err=True)
    kept, problems = read_references(out) if references is not False else ([], [])
    for problem in problems:
        click.echo(f"left out: {problem}", err=True)
    names = [name.strip() for text in metrics for name in BETWEEN_METRICS.split(text)]
    choice = Choice(Registry(plugins).protocol_names(protocols), methods, bits, names, convention)
    shown = kept if references or form not in ("csv", "json") else []
    table = comparison(
        records, choice, ci=ci, baseline=baseline, significance=significance, published=published, plugins=plugins,
        references=shown,
    )  # fmt: skip
    if table or form in ("csv", "json"):
        click.echo(render_rows(table, form))
    elif any(record.status == "done" for record in records):
        click.echo("No finished run is of this protocol, method and code length at once.", err=True)
    for file in draw(records, choice, pr, map_file, kept) if table else ():
        click.echo(f"wrote {file}", err=True)
    unfinished = [record for record in records if record.status != "done"]
    if unfinished:
        click.echo(f"not in the table: {len(unfinished)} failed or skipped runs (vhbench status)", err=True)
    if not records:
        click.echo(f"There are no recorded runs in {out}: `vhbench run` makes some.", err=True)
