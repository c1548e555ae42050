"""`vhbench data`: the feature files; one module a subcommand, imported when it is used."""

from __future__ import annotations

import importlib

import click

from vhbench.errors import unknown

COMMANDS = {
    "status": "Say which files of which protocol are there, and where the others are published.",
    "verify": "Read a protocol's files from end to end and report what is broken or odd.",
    "manifest": "Write a manifest that splits feature files of your own.",
    "split": "Say which videos, classes and groups each side of a protocol has.",
    "clear-cache": "Remove the uncompressed copies of feature files, or those of some protocols.",
    "join": "Put the shards of an extraction together.",
    "synth": "Write a synthetic data set in the files of a real one.",
    "demo-videos": "Write the demo's videos as real files, to extract features from.",
}


class _Commands(click.Group):
    """Knows its commands by name and loads one only when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*COMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            raise unknown("data command", cmd_name, COMMANDS, "`vhbench data --help` says what they do.")
        module = importlib.import_module(f"vhbench.cli.data_{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([*COMMANDS.items()])


@click.group(cls=_Commands)
def command() -> None:
    """Look after the feature files: what is there, is it sound, what does the cache take; or make synthetic ones."""
