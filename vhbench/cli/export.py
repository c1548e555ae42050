"""`vhbench export`: a run's codes as files that other programs read."""

from __future__ import annotations

from pathlib import Path

import click

from vhbench.cli import options
from vhbench.plugins.registry import Registry
from vhbench.runs.store import Store

FILES = """\b
Files, in a folder a split:
  query.npy, database.npy  packed codes, uint8 (videos, bytes): bit j is bit j % 8 of byte j // 8
  database.faiss           the database as a faiss IndexBinaryFlat, where faiss is installed
  *-labels.npy, *.csv      labels, where the run's data are found
  self-index.npy           the database row of each query, where queries sit in the database
and about.json: which run it is, and the order of bits.
"""


@click.command(epilog=FILES)
@click.argument("run")
@click.option(
    "-o", "--output", type=options.UserPath(file_okay=False), required=True, metavar="DIR",
    help="Where the files go.",
)  # fmt: skip
@click.option("--protocol", help="The run's protocol, where only its manifest tells: path/to/manifest.toml.")
@options.data
@options.out
def command(run: str, output: Path, protocol: str | None, data: Path | None, out: Path) -> None:
    """Write the codes of RUN (its folder, or the start of its id) for other programs, and print the files' names."""
    from vhbench.runs.export import export_run, find_run

    record = find_run(run, Store(out))

    def say(text: str) -> None:
        click.echo(text, err=True)

    for file in export_run(record, output, Registry(), protocol=protocol, data=data, say=say):
        click.echo(file.path)
