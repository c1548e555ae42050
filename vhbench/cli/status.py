"""`vhbench status`: what the results folder says of every run."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
from tabulate import tabulate

from vhbench.cli import options
from vhbench.cli.words import describe_epoch
from vhbench.grid.survey import OPEN_STATES, STATES, RunState, survey
from vhbench.launch.tidy import tidy
from vhbench.plugins.registry import Registry
from vhbench.runs.store import Store
from vhbench.study.kept import read_tried
from vhbench.system.environment import user_name
from vhbench.system.text import plain, shell

PAUSE = 2.0  # seconds between looks, at least; looking takes at most a fifth of the time
REST = 4


@click.command()
@options.out
@options.plugins
@click.option("--watch", is_flag=True, help="Look again and again until every run is over; Ctrl-C ends it sooner.")
@click.option("--tidy", "tidy_up", is_flag=True, help="Remove what killed processes have left, and say what.")
def command(out: Path, plugins: Sequence[Path], watch: bool, tidy_up: bool) -> None:
    """Count the runs in --out by state, and say why some failed.

    done: recorded. stale: recorded, but the method's source has changed since. running: a process works on it.
    interrupted: begun, and continued by the next `vhbench run`. waiting: asked for by a `vhbench run` or `tune`,
    and not begun. failed, skipped: recorded with a reason. All of this is read from the folder, on any machine that
    sees it.
    """
    if tidy_up:
        _tidy(out)
        return
    fingerprints = {entry.name: entry.fingerprint for entry in Registry(plugins).methods() if not entry.broken}
    if watch:
        _watch(Store(out), fingerprints)
        return
    states, problems = survey(Store(out), fingerprints, read_tried(out))
    if text := _text(states, problems):
        click.echo(text)
    if not states and not problems:
        click.echo(f"There are no runs in {out}.", err=True)


def _tidy(out: Path) -> None:
    removed = tidy(out)
    for path in removed:
        click.echo(f"removed: {plain(path)}")
    if not removed:
        click.echo(f"There is nothing to tidy up in {out}.", err=True)


def _watch(store: Store, fingerprints: dict[str, str]) -> None:
    """Show the states until every run is over: the whole on a terminal, a line whenever the counts change elsewhere."""
    try:
        if sys.stdout.isatty():
            from rich.live import Live
            from rich.text import Text

            with Live(auto_refresh=False) as live:
                for states, problems in _looks(store, fingerprints):
                    live.update(
                        Text(_text(states, problems) or f"There are no runs in {store.root} yet."), refresh=True
                    )
            return
        said = ""
        for states, _ in _looks(store, fingerprints):
            if (line := _summary(states)) != said:
                click.echo(f"{time.strftime('%H:%M:%S')} {line}")
                said = line
    except KeyboardInterrupt:
        return


def _looks(store: Store, fingerprints: dict[str, str]) -> Iterator[tuple[list[RunState], list[str]]]:
    while True:
        began = time.monotonic()
        states, problems = survey(store, fingerprints, read_tried(store.root))
        yield states, problems
        if states and not any(run.state in OPEN_STATES for run in states):
            return
        time.sleep(max(PAUSE, REST * (time.monotonic() - began)))


def _summary(states: Sequence[RunState]) -> str:
    counts = Counter(run.state for run in states)
    return ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state]) or "no runs yet"


def _text(states: Sequence[RunState], problems: Sequence[str]) -> str:
    """Return the table of counts, and a line for each run that is neither done nor waiting."""
    counts = Counter((run.folder.parts[-3], run.folder.parts[-2], run.state) for run in states)
    keys = sorted({key[:2] for key in counts})
    shown = [state for state in STATES if any(key[2] == state for key in counts)]
    lines = [[*map(plain, key), *(counts[(*key, state)] or "" for state in shown)] for key in keys]
    found = [tabulate(lines, ["protocol", "method", *shown], tablefmt="plain")] if lines else []
    for kind in (("failed", "skipped"), ("running", "interrupted")):
        found += [plain(f"{run.state}: {run.folder}{note_of(run)}") for run in states if run.state in kind]
    grids = {run.grid.path: run.grid for run in states if run.grid}
    for path, count in Counter(run.grid.path for run in states if run.grid).items():
        words = " ".join(shell(word) for word in grids[path].words)
        out = f"--out {shell(path.parent.parent)}"
        found.append(
            f"waiting: {count} of grid {plain(path.stem)}; vhbench run {words} starts them, "
            f"vhbench forget {shell(path.stem)} {out} gives them up"
        )
        found += [f"    that runs the code in {whose(plugin)}: read it first" for plugin in grids[path].plugins]
    if count := sum(run.state == "waiting" and run.grid is None for run in states):
        found.append(f"waiting: {count} of this study; the same vhbench tune goes on with them")
    return "\n".join([*found, *problems])


def whose(path: str) -> str:
    """Name a file, whose it is and when it was changed last."""
    try:
        found = Path(path).stat()
    except (OSError, ValueError):
        return f"{plain(path)}, which is not there"
    owner = "you" if found.st_uid == os.getuid() else user_name(found.st_uid)
    changed = time.strftime("%Y-%m-%d %H:%M", time.localtime(found.st_mtime))
    return f"{plain(path)}, which belongs to {owner} and was changed last on {changed}"


def note_of(run: RunState) -> str:
    """Return what stands behind a run's state: its reason or its epoch, after a colon."""
    if run.reason:
        return f": {run.reason}"
    return f": epoch {describe_epoch(run.epoch)}" if run.epoch else ""
