"""`vhbench new`: the skeleton of a method of one's own."""

from __future__ import annotations

from pathlib import Path

import click

from vhbench.cli import options
from vhbench.plugins.registry import Registry
from vhbench.scaffold import write_method_package


@click.group()
def command() -> None:
    """Write the skeleton of a method of your own."""


@command.command("method")
@click.argument("name")
@click.option("--into", type=options.PATH, default=Path(), show_default=True, help="Where to make the folder NAME.")
def new_method(name: str, into: Path) -> None:
    """Write a small package for the method NAME that installs, passes `vhbench check` and is to be edited."""
    folder = write_method_package(name, into, {entry.name for entry in Registry().methods()})
    click.echo(folder)
    click.echo(f"Next: pip install -e {folder}, then vhbench check {name}; {folder}/README.md says more.", err=True)
