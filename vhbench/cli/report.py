"""`vhbench report`: every result on one HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from vhbench.cli import options
from vhbench.runs.groups import Choice
from vhbench.runs.store import Store


@click.command()
@click.option(
    "-o", "--output", type=options.UserPath(dir_okay=False), default=Path("report.html"), show_default=True,
    help="The page; an existing file is replaced.",
)  # fmt: skip
@click.option(
    "--protocol", "protocols", type=options.NAMES, default=(),
    help="Only these protocols. A manifest's path instead of its name says where its labels are.",
)  # fmt: skip
@click.option("--method", "methods", type=options.NAMES, default=(), help="Only these methods.")
@click.option("--bits", type=options.NUMBERS, default=(), help="Only these code lengths.")
@click.option(
    "--metric",
    help="map@K: shown first, and AP@K query by query; map@20 by default. Of a run that has not recorded it, the "
    "nearest K is taken.",
)  # fmt: skip
@click.option("--convention", default="literature", show_default=True, help="literature or strict: shown first.")
@options.data
@options.plugins
@options.out
def command(
    output: Path,
    protocols: Sequence[str],
    methods: Sequence[str],
    bits: Sequence[int],
    metric: str | None,
    convention: str,
    data: Path | None,
    plugins: Sequence[Path],
    out: Path,
) -> None:
    """Write one self-contained HTML page: tables, curves, queries, classes, codes, training, cost and provenance.

    The page needs no network. Classes and retrieved videos need the protocol's labels: name the data with --data.
    """
    from vhbench.plugins.registry import Registry
    from vhbench.report.page import write_page

    choice = Choice(methods=methods, bits=bits, metrics=(metric,) if metric else (), convention=convention)
    registry = Registry(plugins)
    for sentence in write_page(output, Store(out), choice, protocols=protocols, data=data, registry=registry):
        click.echo(f"not on the page: {sentence}", err=True)
    click.echo(f"wrote {output} ({output.stat().st_size / 1e6:.1f} MB)", err=True)
