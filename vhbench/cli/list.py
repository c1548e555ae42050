"""`vhbench list`: methods, protocols, recorded runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
from tabulate import tabulate

from vhbench.cli import options
from vhbench.plugins.registry import Registry
from vhbench.runs.record import Record
from vhbench.runs.store import Store


@click.command()
@click.argument("what", type=click.Choice(["methods", "protocols", "runs"]))
@options.plugins
@options.out
def command(what: str, plugins: Sequence[Path], out: Path) -> None:
    """List what there is: methods, protocols, or the runs recorded in --out.

    One that cannot be loaded is listed with the reason.
    """
    if what == "runs":
        _runs(Store(out))
        return
    registry = Registry(plugins)
    if what == "methods":
        lines = [[e.name, e.origin, f"broken: {e.broken}" if e.broken else e.summary] for e in registry.methods()]
    else:
        lines = [[e.name, e.origin, f"broken: {e.broken}" if e.broken else e.title] for e in registry.protocols()]
    click.echo(tabulate(lines, [what[:-1], "from", "what"], tablefmt="plain"))


def _runs(store: Store) -> None:
    records, problems = store.records()
    lines = []
    for record in sorted(records, key=_order):
        spec = record.spec
        note = record.data["reason"] or record.data["environment"]["finished"]
        lines.append([spec["protocol"], spec["method"], spec["bits"], spec["seed"], record.status, record.folder, note])
    columns = ["protocol", "method", "bits", "seed", "status", "folder", "note"]
    click.echo(tabulate(lines, columns, tablefmt="plain", disable_numparse=True))
    if not records:
        click.echo(f"There are no recorded runs in {store.root}.", err=True)
    for problem in problems:
        click.echo(problem, err=True)


def _order(record: Record) -> tuple[str, str, int, int]:
    spec = record.spec
    return (spec["protocol"], spec["method"], spec["bits"], spec["seed"])
