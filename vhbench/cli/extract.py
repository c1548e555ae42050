"""`vhbench extract`: from video files to a feature file."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vhbench.cli import options
from vhbench.cli.words import duration
from vhbench.errors import UsageError
from vhbench.system.text import shell

if TYPE_CHECKING:
    from vhbench.video.extraction import Progress

QUIET = 10.0  # seconds between plain lines


class Shard(click.ParamType):
    """A shard's number and how many there are, as 3/16."""

    name = "i/n"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Read the text."""
        if isinstance(value, tuple):
            return value
        found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", str(value))
        if not found or not 1 <= int(found[1]) <= int(found[2]):
            raise UsageError(f"--shard takes a number and how many there are, as 3/16, not {value!r}.")
        return int(found[1]), int(found[2])


@click.command()
@click.argument("videos", nargs=-1, required=True, type=options.PATH)
@click.option("-o", "--output", type=options.UserPath(dir_okay=False), required=True, help="The feature file (HDF5).")
@click.option(
    "--network", default="efficientnet-lite0", show_default=True,
    help="efficientnet-lite0, vgg16, resnet50 or the path of an ONNX file.",
)  # fmt: skip
@click.option("--layer", help="Its output: vgg16 has fc6, fc6-relu, fc7, fc7-relu; of an ONNX file an output's name.")
@click.option("--weights", type=options.PATH, help="Weights of vgg16 or resnet50: .pth or .safetensors.")
@click.option("--frames", type=int, default=25, show_default=True, help="Frames a video.")
@click.option("--dtype", default="float16", show_default=True, help="float16 or float32.")
@click.option("--jobs", type=int, help="Processes; one a core by default, with a GPU 8.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda:N: where the network computes.")
@click.option("--shard", type=Shard(), default="1/1", help="Only this part of the videos, e.g. 3/16; see `data join`.")
def command(
    videos: Sequence[Path],
    output: Path,
    network: str,
    layer: str | None,
    weights: Path | None,
    device: str,
    **given: Any,
) -> int:
    """Compute frame features of VIDEOS, folders or files, and write them as vhbench and the field read them.

    Where every video lies in a folder of the folder given, folders are classes. Videos that give no features are listed
    with reasons beside the output. The same command continues what was broken off.
    """
    from vhbench.video.extraction import Wish, extract
    from vhbench.video.networks import Choice, check_choice

    choice = Choice(network, layer, weights)
    check_choice(choice)
    wish = Wish(videos, output, Choice(network, layer, weights, _device(device)), **given)
    try:
        with _progress() as progress:
            outcome = extract(wish, progress)
    except KeyboardInterrupt:
        click.echo("Interrupted: what was computed is kept; the same command continues.", err=True)
        sys.exit(130)
    code = _report(outcome, output)
    if wish.shard == (1, 1):
        click.echo(f"Next: vhbench data manifest {shell(output)} --split 0.8 -o own.toml", err=True)
    return code


def _device(name: str) -> str:
    from vhbench.system.environment import resolve_device
    from vhbench.system.gpus import has_gpu

    return "cpu" if name == "auto" and not has_gpu() else resolve_device(name)


def _report(outcome: Any, output: Path) -> int:
    from vhbench.video.failures import failures_path

    if outcome.left_out:
        more = f" and {len(outcome.left_out) - 1} more" if len(outcome.left_out) > 1 else ""
        click.echo(f"Left out, as their names do not end as a video's: {shell(outcome.left_out[0])}{more}.", err=True)
    videos, frames, dim = outcome.shape
    if not outcome.is_new:
        click.echo("These very features are there already: nothing to do.", err=True)
    total = videos + len(outcome.reasons)
    click.echo(f"{videos} of {total} videos, {frames} frames of {dim} features each.", err=True)
    if few := int((outcome.distinct < frames).sum()):
        click.echo(f"Videos with fewer frames than that, so that some stand several times: {few}.", err=True)
    click.echo(output)
    if outcome.reasons:
        click.echo(f"{len(outcome.reasons)} gave no features: {failures_path(output)} says why.", err=True)
    return int(bool(outcome.reasons))


@contextmanager
def _progress() -> Iterator[Progress]:
    """Yield a function that shows how far the work is, on standard error: a bar on a terminal, else a line at times."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(TextColumn("{task.description}"), *columns, console=Console(stderr=True), transient=True) as bars:
        bar = bars.add_task("extracting")
        yield lambda done, total: bars.update(bar, completed=done, total=total)


class _Lines:
    """A line now and then."""

    def __init__(self) -> None:
        self._first: int | None = None

    def __call__(self, done: int, total: int) -> None:
        """Say how far the work is, unless that was said a moment ago."""
        now = time.monotonic()
        if self._first is None:
            self._first, self._started, self._said = done, now, now
        if now - self._said < QUIET or done == self._first:
            return
        self._said = now
        left = duration((total - done) * (now - self._started) / (done - self._first))
        click.echo(f"    {done} of {total} videos, about {left} left", err=True)
