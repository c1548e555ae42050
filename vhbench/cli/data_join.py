"""`vhbench data join`: the shards of an extraction as one feature file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from vhbench.cli import options


@click.command("join")
@click.argument("shards", nargs=-1, required=True, type=options.PATH)
@click.option("-o", "--output", type=options.UserPath(dir_okay=False), required=True, help="The feature file (HDF5).")
def command(shards: Sequence[Path], output: Path) -> int:
    """Put the SHARDS of `vhbench extract --shard` together: the file that one extraction of all would have written."""
    from vhbench.video.failures import failures_path
    from vhbench.video.joining import join

    reasons = join(shards, output)
    click.echo(output)
    if reasons:
        click.echo(f"{len(reasons)} videos gave no features: {failures_path(output)} says why.", err=True)
    return int(bool(reasons))
