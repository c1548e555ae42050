"""`vhbench describe`: what a method or a protocol is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
from tabulate import tabulate

from vhbench.cli import options
from vhbench.errors import unknown
from vhbench.registry import MethodEntry, Registry


@click.command()
@click.argument("name")
@options.plugins
def command(name: str, plugins: Sequence[Path]) -> None:
    """Say what the method or protocol NAME is, where it comes from and what can be set."""
    registry = Registry(plugins)
    methods = {entry.name for entry in registry.methods()}
    protocols = {entry.name for entry in registry.protocols()}
    if name.endswith(".toml") or name in protocols:
        rows = registry.protocol(name).describe()
        click.echo(tabulate([("protocol", name), *rows], tablefmt="plain", disable_numparse=True))
    elif name in methods or ":" in name:
        click.echo(_method(registry.method(name)))
    else:
        raise unknown("method or protocol", name, methods | protocols, "`vhbench list methods` shows what there is.")


def _method(entry: MethodEntry) -> str:
    parts = [f"{entry.name}: {entry.summary}"]
    facts = [("from", entry.origin), ("reference", entry.reference), ("source", entry.source or "")]
    parts.append(tabulate([fact for fact in facts if fact[1]], tablefmt="plain"))
    if entry.params:
        lines = [(f"{entry.name}.{p.name}", p.default, p.annotation) for p in entry.params.values()]
        parts.append(tabulate(lines, ["set with --set", "default", "takes"], tablefmt="simple", disable_numparse=True))
    body = entry.doc.partition("\n")[2].strip()
    return "\n\n".join([*parts, body] if body else parts)
