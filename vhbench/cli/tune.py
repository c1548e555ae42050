"""`vhbench tune`: choose hyper-parameters on held-out training videos."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vhbench.cli import options
from vhbench.cli.grid_options import trial_options
from vhbench.cli.launching import LaunchingCommand
from vhbench.grid.cells import Cell
from vhbench.grid.files import CHOSEN
from vhbench.runs.spec import text_of
from vhbench.system.text import plain, shell

if TYPE_CHECKING:
    from vhbench.study.search import Search, Tried

JUDGE_HELP = (
    "loss: of the trained method on the held-out videos, without labels; retrieval: of the held-out videos among the "
    "other training videos, with their labels."
)
SPACE_HELP = (
    "A TOML file of what is searched, a line a hyper-parameter: lr = { low = 1e-5, high = 1e-2, log = true }, or "
    "batch_size = { values = [32, 64] }."
)
SAMPLER_HELP = "tpe: where earlier trials were good, after 10 at random; random: anywhere."


@click.command(cls=LaunchingCommand)
@click.option("--method", required=True, help="The method.")
@click.option("--protocol", required=True, help="The protocol, or the path of a manifest.")
@click.option("--space", type=options.PATH, required=True, help=SPACE_HELP)
@click.option("--bits", type=int, default=64, show_default=True, help="The code length.")
@click.option("--trials", type=int, default=30, show_default=True, help="How many settings are tried.")
@click.option("--sampler", metavar="NAME", default="tpe", show_default=True, help=SAMPLER_HELP)
@click.option("--judge", metavar="NAME", default="loss", show_default=True, help=JUDGE_HELP)
@click.option(
    "--held-out", type=float, default=0.1, show_default=True, help="Share of the training videos to judge on."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of sampler, held-out videos and trainings.")
@click.option("--batch", type=int, help="Trials at a time; 5 by default, or all with --sampler random.")
@click.option("--name", default="", help="Of the study; by default made of method, protocol, bits and judge.")
@click.option("--set", "sets", multiple=True, help="A hyper-parameter that is not searched, e.g. uvvh.epochs=40.")
@trial_options
@click.option("--checkpoint-every", type=float, default=30.0, show_default=True, help="Seconds between checkpoints.")
def command(method: str, protocol: str, space: Path, sets: Sequence[str], **given: Any) -> int:
    """Choose hyper-parameters of a method: train on a part of the training videos, judge on the others.

    The protocol's queries take no part. The study is kept in --out, below tune/: the same command goes on with it after
    an interruption, and with more --trials. What it has chosen, `vhbench run --tuned FOLDER` uses; the records then say
    how, and tables mark it.
    """
    from vhbench.cli.progress import progress
    from vhbench.study.search import Question, Search

    asked = {
        name: given.pop(name) for name in ("bits", "trials", "sampler", "seed", "judge", "held_out", "batch", "name")
    }
    question = Question(method, protocol, space, **asked)
    search = Search(question, {**given, "params": options.parse_sets(sets)})

    def work(cells: Sequence[Cell]) -> None:
        with progress(cells, search.store) as observer:
            search.do(cells, observer)

    return _report(search, search.run(work))


def _report(search: Search, tried: Sequence[Tried]) -> int:
    """Print the trials, the best one and how it is used; return the exit code."""
    best = search.best(tried)
    click.echo(_table(search, tried, best))
    for one in tried:
        if one.reason:
            click.echo(f"trial {one.trial.number} {one.state}: {plain(one.reason)}", err=True)
    waiting = sum(not one.over for one in tried)
    if waiting:
        click.echo(
            f"\n{waiting} of the {len(tried)} trials so far are not recorded yet (the study has "
            f"{search.question.trials}): give the same command again when they are.",
            err=True,
        )
        return 0
    if best is None:
        click.echo(f"\nNone of {len(tried)} trials can be chosen.", err=True)
        return 1
    method, folder = search.entry.name, search.folder
    words = [f"--set {shell(f'{method}.{name}={text_of(value)}')}" for name, value in best.trial.params.items()]
    videos = len(search.base.splits[0].query.videos)
    out = f" --out {shell(search.request.out)}" if str(search.request.out) != "results" else ""
    value = f"{search.metric} {best.trial.value:.6g}"
    click.echo(
        f"\nbest: trial {best.trial.number}, {value} on {videos} held-out training videos"
        f"\nsetting: {' '.join(words)}"
        f"\nrun it: vhbench run --config {shell(folder / CHOSEN)}{out}"
    )
    values = {one.trial.value for one in tried}
    if len(values) == 1 and len({one.cell.spec.id for one in tried}) > 1:
        click.echo(
            f"\nEvery setting has the same {search.metric}: what was searched makes no difference to it.", err=True
        )
    click.echo(
        f"\nAny grid of {method} takes it with --tuned {shell(folder)}; records then say how it was chosen.", err=True
    )
    return 0


def _table(search: Search, tried: Sequence[Tried], best: Tried | None) -> str:
    from tabulate import tabulate

    lines = []
    first: dict[str, int] = {}  # the trial that tried a setting first
    for one in tried:
        same = first.setdefault(one.cell.spec.id, one.trial.number)
        note = "best" if one is best else f"as trial {same}" if same != one.trial.number else ""
        value = "-" if one.trial.value is None else f"{one.trial.value:.6g}"
        params = [plain(text_of(one.trial.params[name])) for name in search.space]
        lines.append([one.trial.number, *params, value, one.state, note])
    headings = ["trial", *search.space, search.metric, "state", ""]
    table: str = tabulate(lines, headings, disable_numparse=True)
    return table
