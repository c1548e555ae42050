"""`vhbench compare`: the table of recorded results."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import click

from vhbench.cli import options
from vhbench.plugins.registry import Registry
from vhbench.report.comparison import Figures, comparison, draw
from vhbench.report.figures.look import WIDTHS, Look
from vhbench.report.shown import BETWEEN, Names, in_order, read_names, renamed, usual_names
from vhbench.report.tables import FORMATS, render_rows
from vhbench.report.written import Form
from vhbench.runs.groups import Choice
from vhbench.runs.references import read_references
from vhbench.runs.store import Store

FIGURE = options.UserPath(dir_okay=False)


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
@click.option(
    "--difference", metavar="METHOD", help="Print differences to this method, each with its 95 % interval and a test."
)
@click.option("--significance", is_flag=True, help="Test all pairs of methods and mark which ones each is better than.")
@click.option("--pairwise", is_flag=True, help="Print the difference and the p of all pairs instead.")
@click.option("--published", is_flag=True, help="Show other people's numbers for the same protocol beside ours.")
@click.option(
    "--references/--no-references", default=None,
    help="Show chance, the cosine of mean frames and what is attainable; by default in tables and figures, but not in "
    "csv and json.",
)  # fmt: skip
@click.option(
    "--sort",
    metavar="name|value|BITS",
    help="Order of the methods: by name, or by value, at the longest code or this one.",
)
@click.option("--percent", is_flag=True, help="Scores in percent, in tables and figures.")
@click.option(
    "--names", multiple=True, metavar="METHOD=NAME,...",
    help="What to call methods, or rows by their whole label. LaTeX and figures call them what papers do anyway.",
)  # fmt: skip
@click.option("--format", "form", type=click.Choice(FORMATS), default="table", show_default=True)
@click.option(
    "--pr", type=FIGURE, metavar="FILE", help="Draw precision-recall curves, by rank and by radius; .pdf, .svg, .png."
)
@click.option(
    "--map", "map_file", type=FIGURE, metavar="FILE", help="Draw mAP@K against K, and against the code length."
)
@click.option(
    "--distances",
    type=FIGURE,
    metavar="FILE",
    help="Draw histograms of the Hamming distances of relevant and other pairs.",
)
@click.option("--wins", type=FIGURE, metavar="FILE", help="Draw which method is better than which, and how surely.")
@click.option(
    "--tradeoff",
    type=FIGURE,
    metavar="FILE",
    help="Draw the first metric against training and encoding time, memory, bits.",
)
@click.option(
    "--width", type=click.Choice([*WIDTHS]), default="page", show_default=True,
    help="Of figures: a column or the page of a two-column paper, 3.3 or 7 inches.",
)  # fmt: skip
@click.option("--highlight", default="", metavar="METHOD,...", help="Draw these in colour and all others in grey.")
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
    difference: str | None,
    significance: bool,
    pairwise: bool,
    published: bool,
    references: bool | None,
    sort: str | None,
    percent: bool,
    names: Sequence[str],
    form: str,
    pr: Path | None,
    map_file: Path | None,
    distances: Path | None,
    wins: Path | None,
    tradeoff: Path | None,
    width: str,
    highlight: str,
    out: Path,
    plugins: Sequence[Path],
) -> None:
    """Print finished runs as a table: methods down, code lengths across, mean over seeds with standard deviation.

    Tests are paired sign-flip tests over queries of AP averaged over seeds, at a level of 0.05 after Holm's correction
    over all tests of a column. A dagger marks methods whose source has changed since a run was made, an exclamation
    mark numbers to mistrust: the notes say why.
    """
    figures = Figures(pr, map_file, distances, wins, tradeoff)
    figures.check()
    given = read_names(names)
    records, problems = Store(out).records()
    for problem in problems:
        click.echo(f"left out: {problem}", err=True)
    kept, problems = read_references(out) if references is not False else ([], [])
    for problem in problems:
        click.echo(f"left out: {problem}", err=True)
    wanted = [name.strip() for text in metrics for name in BETWEEN.split(text)]
    choice = Choice(Registry(plugins).protocol_names(protocols), methods, bits, wanted, convention)
    shown = kept if references or form not in ("csv", "json") else []
    table = comparison(
        records, choice, ci=ci, baseline=baseline, difference=difference, significance=significance, pairwise=pairwise,
        published=published, plugins=plugins, references=shown,
    )  # fmt: skip
    in_tables = Names(given, usual_names() if form == "latex" else {})
    in_tables.check(table)
    table = in_order(renamed(table, in_tables), sort)
    if table or form in ("csv", "json"):
        written = Form(percent=percent, difference=difference is not None)
        click.echo(render_rows(table, form, written=written, pairs=pairwise, width=_columns()))
    elif any(record.status == "done" for record in records):
        click.echo("No finished run is of this protocol, method and code length at once.", err=True)
    look = Look(width, [name.strip() for name in BETWEEN.split(highlight) if name.strip()],
                Names(given, usual_names()), percent)  # fmt: skip
    for file in draw(records, choice, figures, look, kept) if table else ():
        click.echo(f"wrote {file}", err=True)
    unfinished = [record for record in records if record.status != "done"]
    if unfinished:
        click.echo(f"not in the table: {len(unfinished)} failed or skipped runs (vhbench status)", err=True)
    if not records:
        click.echo(f"There are no recorded runs in {out}: `vhbench run` makes some.", err=True)


def _columns() -> int | None:
    """Return how many characters a line of the terminal has; None where there is no terminal."""
    return shutil.get_terminal_size((0, 0)).columns or None
