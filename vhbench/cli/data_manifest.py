"""`vhbench data manifest`: a manifest for feature files of one's own."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

import click

from vhbench.cli import options
from vhbench.cli.data_split import preview
from vhbench.datasets.new_manifest import Wish, write_new_manifest
from vhbench.datasets.opening import Opening
from vhbench.datasets.splitting import BY
from vhbench.errors import UsageError, VhbenchError


@click.command()
@click.argument("features", metavar="FEATURES...", nargs=-1, required=True, type=options.PATH)
@click.option("-o", "--output", type=options.PATH, required=True, help="The manifest to write: NAME.toml.")
@click.option("--split", "share", type=float, required=True, help="Share of the videos for training and database: 0.8.")
@click.option(
    "--by", default="random", show_default=True, help="; ".join(f"{name}: {text}" for name, text in BY.items())
)
@click.option("--seed", type=int, default=0, show_default=True, help="Another seed makes another split.")
@click.option("--labels", type=options.PATH, multiple=True, help="Label files, where FEATURES have no `labels`.")
@click.option("--names", type=options.PATH, multiple=True, help="Files of the videos' names, where FEATURES have none.")
@click.option("--groups", type=options.PATH, multiple=True, help="Files of the videos' groups, for --by group.")
@click.option("--pattern", default="", help="Or a regular expression for names, with the group in brackets.")
@click.option("--name", help="The protocol's name; the output's unless given.")
@click.option("--key", default="feats", show_default=True, help="Data set of the features in HDF5 files.")
def command(
    features: Sequence[Path],
    output: Path,
    share: float,
    by: str,
    seed: int,
    labels: Sequence[Path],
    names: Sequence[Path],
    groups: Sequence[Path],
    pattern: str,
    name: str | None,
    key: str,
) -> None:
    """Write a manifest that splits the videos of FEATURES into database and queries, and say what is on each side.

    Classes and names are those in the feature files, as `vhbench extract` writes them; where they have no classes,
    names such as v_Archery_g01_c02 or Archery/clip.avi tell them.
    """
    if not 0 < share < 1:
        raise UsageError(
            f"--split is the share of the videos for training and database, above 0 and below 1, not {share:g}."
        )
    if output.suffix != ".toml":
        raise UsageError(f"-o names the manifest, which ends in .toml: {output}.toml?")
    wish = Wish(features, name or output.stem, round(1 - share, 12), by, seed, labels, names, groups, pattern, key)
    protocol, written = write_new_manifest(wish, output)
    try:
        text = preview(protocol, Opening(protocol, None))
    except VhbenchError:
        for path in written:
            path.unlink()
        raise
    click.echo(text)
    for path in dict.fromkeys([*written, output]):
        click.echo(path)
    click.echo(f"Next: vhbench run --method itq --protocol {shlex.quote(str(output))} --bits 32", err=True)
