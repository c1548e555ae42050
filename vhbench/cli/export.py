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
  database.faiss           the database as a faiss IndexBinaryIDMap, ids are rows, where faiss is installed
  *-bits.csv               with --csv: id and code as text, the first bit first
  *-labels.npy, *.csv      labels, where the run's data are found
  self-index.npy           the database row of each query, where queries sit in the database
and about.json: which run it is, and the order of bits. docs/search.md has recipes for faiss, usearch, lancedb, duckdb
and pgvector.
"""


@click.command(epilog=FILES)
@click.argument("run")
@click.option(
    "-o", "--output", type=options.UserPath(file_okay=False), required=True, metavar="DIR",
    help="Where the files go.",
)  # fmt: skip
@click.option("--protocol", help="The run's protocol, where only its manifest tells: path/to/manifest.toml.")
@click.option(
    "--bit-order",
    type=click.Choice(["little", "big"]),
    default="little",
    show_default=True,
    help="Bit j of a code is bit j % 8 of its byte (little) or bit 7 - j % 8 (big: numpy's default).",
)
@click.option("--csv", "as_csv", is_flag=True, help="Write tables of bits too, as pgvector and duckdb read them.")
@options.data
@options.out
def command(
    run: str, output: Path, protocol: str | None, bit_order: str, as_csv: bool, data: Path | None, out: Path
) -> None:
    """Write codes for other programs, and print the files' names.

    RUN is a run's folder, the start of its id, or a folder of codes that `vhbench encode` wrote; of that only the codes
    are written, with its ids.
    """
    from vhbench.runs.export import export_run, find_run
    from vhbench.search.export import export_gallery
    from vhbench.search.gallery import is_gallery, open_gallery
    from vhbench.system.files import user_path

    def say(text: str) -> None:
        click.echo(text, err=True)

    if is_gallery(user_path(run)):
        files = export_gallery(open_gallery(user_path(run)), output, order=bit_order, as_csv=as_csv, say=say)
    else:
        record = find_run(run, Store(out))
        files = export_run(
            record, output, Registry(), protocol=protocol, data=data, order=bit_order, as_csv=as_csv, say=say
        )
    for file in files:
        click.echo(file.path)
