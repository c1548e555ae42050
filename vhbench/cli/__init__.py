"""The command line: one file a command, imported when the command is used."""

from __future__ import annotations

import contextlib
import errno
import importlib
import logging
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from vhbench.cli.streams import ready_streams
from vhbench.errors import UsageError, VhbenchError
from vhbench.system.environment import start_afresh
from vhbench.system.text import plain
from vhbench.version import __version__

COMMANDS = {
    "run": "Train methods, encode and score: every combination not done yet.",
    "compare": "Print the table of recorded results.",
    "reproduce": "Run a table of the UVVH paper anew, beside its numbers and claims.",
    "report": "Write every result on one self-contained HTML page.",
    "rescore": "Compute the metrics of finished runs anew from their codes.",
    "export": "Write a run's codes for other programs: .npy, faiss, labels.",
    "encode": "Encode other videos by a model that a run has kept.",
    "score": "Score exported codes against a database too large for one machine's memory.",
    "status": "Say what is done, running, failed or stale.",
    "forget": "Remove a grid that nobody will finish from what status waits for.",
    "extract": "Compute frame features of video files.",
    "data": "Say which feature files are there, check them, make synthetic ones.",
    "list": "List methods, protocols or recorded runs.",
    "describe": "Say what a method or a protocol is and what it takes.",
    "check": "Check a method against the contract that all methods keep.",
    "bench": "Measure speed and memory beside what is used otherwise.",
    "new": "Write the skeleton of a method of your own.",
}

EPILOG = """\b
Examples:
  vhbench run --method uvvh,itq --protocol demo --bits 16,32 --seeds 0,1,2
  vhbench compare --protocol demo --metric map@20
  vhbench describe uvvh
"""


class _Commands(click.Group):
    """Knows its commands by name and loads one only when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*COMMANDS]  # not list(): once the command `list` is loaded, that name is its module here

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"vhbench.cli.{cmd_name}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([*COMMANDS.items()])

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        from vhbench.errors import unknown

        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            raise unknown("command", args[0], COMMANDS, "`vhbench --help` says what they do.")
        return super().resolve_command(ctx, args)


@click.group(cls=_Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="vhbench")
def cli() -> None:
    """Benchmark unsupervised video hashing: train, encode, score and compare under one protocol."""


class _Plain(logging.Formatter):
    """Writes each message on one line, without what steers a terminal: names in it may be other people's."""

    def format(self, record: logging.LogRecord) -> str:
        return plain(record.getMessage())


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 all done, 1 some runs failed, 2 wrong usage."""
    start_afresh()
    ready_streams()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Plain())
    logging.basicConfig(handlers=[handler])
    logging.getLogger("vhbench").setLevel(logging.INFO)
    try:
        _check_folder()
        code = cli.main(args=arguments, prog_name="vhbench", standalone_mode=False)
        _flush()
        sys.exit(code if isinstance(code, int) else 0)
    except VhbenchError as error:
        _refuse(str(error), error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted: finished runs are kept; the same command continues.", err=True)
        sys.exit(130)
    except MemoryError as error:
        _refuse(f"There is not enough memory{f': {error}' if str(error) else ''}.", 1)
    except ModuleNotFoundError as error:
        if str(error.name).partition(".")[0] == "vhbench":
            raise
        _refuse(f"vhbench needs a Python package that is not there ({error}): `pip install vhbench` brings it.", 1)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output has gone, as in `vhbench list | head -1`
        sys.exit(1)
    except OSError as error:
        if error.filename is not None:
            _refuse(f"{os.fsdecode(error.filename)}: {error.strerror or error}.", 1)
        with contextlib.suppress(OSError, ValueError):  # else Python tries to write it again at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if error.errno == errno.ENOSPC:
            _refuse("The disk is full: the output could not be written.", 1)
        _refuse(f"The output could not be written: {error.strerror or error}.", 1)


def _check_folder() -> None:
    try:
        os.getcwd()  # noqa: PTH109 (Path.cwd is the same and imports more)
    except OSError as error:
        raise UsageError("The folder that this command was started in has been removed: go to another one.") from error


def _flush() -> None:
    """Write out what is printed while an error can still be said."""
    sys.stdout.flush()
    sys.stderr.flush()


def _refuse(sentence: str, code: int) -> NoReturn:
    click.echo(f"Error: {plain(sentence)}", err=True)
    sys.exit(code)
