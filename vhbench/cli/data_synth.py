"""`vhbench data synth`: made-up data sets in the field's own files."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from vhbench.cli import options
from vhbench.cli.words import duration
from vhbench.datasets.made_up import LIKE, ByteProgress, make_data_set, plan_data_set
from vhbench.errors import UsageError

QUIET = 10.0  # seconds between plain lines


@click.command("synth")
@click.option("--like", metavar="NAME", required=True, help=f"The data set to imitate: {', '.join(LIKE)}.")
@options.data
@click.option("--scale", type=float, default=1.0, show_default=True, help="Part of the real number of videos to make.")
@click.option("--contiguous/--gzip", default=True, show_default=True, help="How the features are stored.")
@click.option("--seed", type=int, default=0, show_default=True, help="Another seed makes other videos.")
def command(like: str, data: Path | None, scale: float, contiguous: bool, seed: int) -> None:
    """Make up a data set: features with classes, and labels, in exactly the files of NAME under DATA/NAME.

    Runs on them work as on the real files, and every record and table says synthetic. Nothing is ever overwritten.
    """
    if data is None:
        raise UsageError("Where to? Name the folder with --data DIR or $VHBENCH_DATA.")
    data = Path(data)
    made_up = plan_data_set(like, scale=scale, seed=seed, gzip=not contiguous)
    count, size = len(made_up.features) + len(made_up.labels), made_up.nbytes / 1e9
    started = time.monotonic()
    try:
        with _progress(like) as progress:
            is_new = make_data_set(made_up, data, progress)
    except KeyboardInterrupt:
        click.echo(f"Interrupted: what was written of {like} is removed again.", err=True)
        sys.exit(130)
    seconds = time.monotonic() - started
    if is_new:
        rate = made_up.nbytes / 1e6 / seconds
        click.echo(f"{count} files, {size:.3g} GB of features, in {duration(seconds)} ({rate:.0f} MB/s).", err=True)
    else:
        click.echo("These very files are there already: nothing to do.", err=True)
    click.echo(data / like)
    click.echo(f"Next: vhbench run --method itq --protocol {like} --bits 32 --data {shlex.quote(str(data))}", err=True)


@contextmanager
def _progress(like: str) -> Iterator[ByteProgress]:
    """Yield a function that shows how far the work is, on standard error: a bar on a terminal, else a line at times."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(TextColumn("{task.description}"), *columns, console=Console(stderr=True), transient=True) as bars:
        bar = bars.add_task(f"making {like}")
        yield lambda done, total: bars.update(bar, completed=done, total=total)


class _Lines:
    """A line now and then."""

    def __init__(self) -> None:
        self._started = self._said = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        """Say how far the work is, unless that was said a moment ago."""
        now = time.monotonic()
        if now - self._said < QUIET:
            return
        self._said = now
        rate = done / (now - self._started)
        left = duration((total - done) / rate)
        click.echo(f"    {done / 1e9:.1f} of {total / 1e9:.1f} GB, {rate / 1e6:.0f} MB/s, {left} left", err=True)
