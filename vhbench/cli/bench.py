"""`vhbench bench`: speed and memory side by side with what is used otherwise, each part in a process of its own."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import click

from vhbench.cli import options
from vhbench.errors import UsageError, unknown
from vhbench.system.files import atomic_write

PACKAGE = "vhbench.benchmarks"


def parts() -> dict[str, str]:
    """Return name -> first line of the docstring of each part: of each module of the package that has a `main`."""
    spec = find_spec(PACKAGE)
    assert spec is not None and spec.submodule_search_locations is not None
    found = {}
    for path in sorted(Path(spec.submodule_search_locations[0]).glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in tree.body):
            found[path.stem] = (ast.get_docstring(tree) or "").partition("\n")[0].rstrip(".")
    return found


def _epilog() -> str:
    listed = parts()
    width = max(map(len, listed))
    lines = [f"  {name:{width}}  {summary}" for name, summary in listed.items()]
    return "\n".join(["\b", "Parts:", *lines, "\b", f"A part's own options: python -m {PACKAGE}.PART --help"])


@click.command(epilog=_epilog(), context_settings={"ignore_unknown_options": True}, options_metavar="[OPTIONS]")
@click.argument("words", nargs=-1, metavar="[PART]...", type=click.UNPROCESSED)
@click.option("--threads", type=click.IntRange(1), help="Threads of ours and of theirs; all CPUs by default.")
@click.option("--quick", is_flag=True, help="Small sizes, seconds instead of minutes: a first look.")
@click.option("-o", "--output", type=options.UserPath(dir_okay=False), help="Keep what is printed here too.")
def command(words: Sequence[str], threads: int | None, quick: bool, output: Path | None) -> int:
    """Measure speed and memory: ours, the alternative, their ratio, and the bound that the hardware sets.

    All PARTs by default, one after the other, each in a process of its own. Keep the machine idle meanwhile.
    """
    own = next((i for i, word in enumerate(words) if word.startswith("-")), len(words))
    chosen, options = words[:own], [*words[own:]]
    known = parts()
    for name in chosen:
        if name not in known:
            raise unknown("part", name, known, "`vhbench bench --help` says what they measure.")
    if options and len(chosen) != 1:
        raise UsageError(
            f"bench itself has no option {options[0]}; options of a part come after its name, one part only."
        )
    if threads is not None:
        options += ["--threads", str(threads)]
    if quick:
        options.append("--quick")
    printed: list[str] = []
    codes = [_run(name, f"== {name}: {known[name]}", options, printed) for name in chosen or known]
    if output is not None:
        with atomic_write(output) as file:
            file.write("".join(printed).encode())
    return max(codes)


def _run(name: str, heading: str, options: Sequence[str], printed: list[str]) -> int:
    """Run a part, print its lines as they come and append them to `printed`; return its exit code."""

    def show(line: str) -> None:
        click.echo(line, nl=False)
        printed.append(line)

    show(f"{heading}\n")
    words = [sys.executable, "-m", f"{PACKAGE}.{name}", *options]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment) as process:
        for line in process.stdout or ():
            show(line)
    show("\n")
    if process.returncode:
        click.echo(f"The part {name} failed; what it said stands above.", err=True)
    return 2 if process.returncode == 2 else int(process.returncode != 0)
