"""`vhbench data demo-videos`: the demo's videos as real files."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vhbench.cli import options
from vhbench.cli.words import duration
from vhbench.errors import DataError, UsageError
from vhbench.system.text import shell

if TYPE_CHECKING:
    from vhbench.protocols._demo_clips import Clip

COUNT = 160
RATE = 25  # frames a second
BAR = 30  # columns


@click.command("demo-videos")
@click.argument("folder", metavar="DIR", type=options.PATH)
@click.option("--count", type=int, default=COUNT, show_default=True, help="How many videos, in 2 to 20 classes.")
def command(folder: Path, count: int) -> None:
    """Write the demo's videos, handwritten digits moving over a photograph, as DIR/CLASS/v_CLASS_g01_c02.mp4.

    The clips of a group (g01) of a class show one handwritten image at one place of the photograph. All are H.264 but
    one, which is AV1. Videos that this command wrote before stay as they are; other files are never overwritten.
    """
    from vhbench.protocols._demo_clips import MOST, clips
    from vhbench.video.mp4 import write_video

    if not 1 <= count <= MOST:
        raise UsageError(f"--count is how many videos to write, from 1 to {MOST:,}, not {count}.")
    chosen = {folder / clip.folder / f"{clip.name}.mp4": clip for clip in clips(count)}
    missing = [path for path, clip in chosen.items() if not _is_there(path, _comment(clip))]
    started = time.monotonic()
    for path in _shown(missing):
        clip = chosen[path]
        codec = "av1" if clip.is_first else "h264"
        write_video(path, clip.pictures(), codec=codec, rate=RATE, comment=_comment(clip))
    if missing:
        kept = f"; {count - len(missing)} were there already" if len(missing) < count else ""
        click.echo(
            f"{len(missing)} video{'s' * (len(missing) > 1)} in {duration(time.monotonic() - started)}{kept}.", err=True
        )
    else:
        click.echo("These very videos are there already: nothing to do.", err=True)
    click.echo(folder)
    click.echo(f"Next: vhbench extract {shell(folder)} -o feats.h5", err=True)


def _comment(clip: Clip) -> str:
    """Return what a clip's file says of itself, by which it is known again."""
    from vhbench.protocols._demo_clips import VERSION

    return f"vhbench data demo-videos, version {VERSION}: {clip.name}"


def _is_there(path: Path, comment: str) -> bool:
    """Say whether a video was written before.

    Raises:
        DataError: something else has its name.
    """
    from vhbench.video.mp4 import comment_of

    if not path.is_symlink() and not path.exists():
        return False
    try:
        if comment_of(path) == comment:
            return True
    except DataError:
        pass
    raise DataError(f"{path} exists and is not the video that belongs there: remove it, or name another folder.")


def _shown(paths: list[Path]) -> Iterator[Path]:
    """Yield the paths; on a terminal, a bar shows how far the work is."""
    with click.progressbar(paths, label="writing videos", width=BAR, file=sys.stderr) as bar:
        yield from bar
