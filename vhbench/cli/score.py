"""`vhbench score`: a database in shards, each counted by a process of its own."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vhbench.cli import options
from vhbench.errors import UsageError

if TYPE_CHECKING:
    from vhbench.scoring.shards import Shard

SHARD = re.compile(r"([0-9]+)/([0-9]+)")
KS = (5, 20, 40, 60, 80, 100)
EXAMPLE = """\b
Files in FOLDER (vhbench export writes the first four into a folder a split):
  query.npy, database.npy                packed codes, uint8 (videos, bytes)
  query-labels.npy, database-labels.npy  class numbers (videos,) or zeros and ones (videos, classes)
  self-index.npy                         where queries sit in the database: the row of each, -1 for none
\b
As an array job of SLURM, and then once:
  sbatch --array=1-16 --wrap 'vhbench score FOLDER --shard $SLURM_ARRAY_TASK_ID/16 -o COUNTS'
  vhbench score --merge COUNTS
"""


@click.command(epilog=EXAMPLE)
@click.argument("folder", type=options.PATH, required=False)
@click.option("--shard", metavar="I/N", default="1/1", show_default=True, help="Count the I-th of N shards.")
@click.option("--bits", type=click.IntRange(1), help="Code length; by default that of the export, or all bits there.")
@click.option("-o", "--output", type=options.UserPath(file_okay=False), help="Where the counts go.")
@click.option("--merge", type=options.PATH, metavar="DIR", help="Add up all counts in DIR and score.")
@click.option("--ks", type=options.NUMBERS, default=KS, help="With --merge: the K of map@K and its like.")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
def command(
    folder: Path | None,
    shard: str,
    bits: int | None,
    output: Path | None,
    merge: Path | None,
    ks: Sequence[int],
    form: str,
) -> None:
    """Score codes against a database that one machine's memory does not hold.

    Each shard of the database is counted by a process of its own, on any machine, in blocks of rows. --merge adds the
    counts up and prints every metric: the same numbers, to the last bit, as of a single pass.
    """
    if (folder is None) == (merge is None):
        raise UsageError("Give either a FOLDER of codes to count or --merge DIR, not both and not neither.")
    if merge is not None:
        _merge(merge, ks, form)
    elif folder is not None:
        _count(folder, shard, bits, output)


def _count(folder: Path, text: str, bits: int | None, output: Path | None) -> None:
    match = SHARD.fullmatch(text)
    if not match:
        raise UsageError(f"--shard takes I/N, as in 3/16, not {text!r}.")
    if output is None:
        raise UsageError("Where shall the counts go? Add -o DIR; all shards share it.")
    from vhbench.scoring.shards import CodeFiles, save_shard

    shard, counts = CodeFiles(folder, bits).count(int(match[1]), int(match[2]))
    path = save_shard(output, shard, counts)
    items = f"{shard.stop - shard.start} of {shard.rows} items"
    click.echo(f"counted {len(counts.items)} queries against {items}, {shard.bits} bits", err=True)
    click.echo(path)


def _merge(folder: Path, ks: Sequence[int], form: str) -> None:
    for k in ks:
        if k < 1:
            raise UsageError(f"--ks takes ranks from 1 up, not {k}.")
    from vhbench.scoring import Scores
    from vhbench.scoring.shards import merge_shards

    shards, counts = merge_shards(folder)
    scores = Scores(counts, ks=ks)
    values = {name: None if value != value else value for name, value in scores.record().items()}
    queries = {"total": scores.n_queries, "scored": scores.n_scored()}
    if scores.in_database:
        queries["scored_without_self"] = scores.n_scored("drop")
    if form == "json":
        about = {"bits": shards[0].bits, "items": shards[0].rows, "shards": len(shards), "queries": queries}
        click.echo(json.dumps({**about, "scores": values}, indent=1, allow_nan=False))
        return
    _print_table(values, shards, queries)


def _print_table(values: dict[str, float | None], shards: Sequence[Shard], queries: dict[str, int]) -> None:
    from tabulate import tabulate

    counted = ", ".join(f"{number} {name.replace('_', ' ')}" for name, number in queries.items())
    click.echo(f"queries: {counted}; database: {shards[0].rows} items in {len(shards)} shards", err=True)
    click.echo(tabulate(values.items(), ["metric", "value"], floatfmt=".4f", missingval="-"))
