"""`vhbench encode`: codes of feature files by a kept model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from vhbench.cli import options
from vhbench.plugins.registry import Registry
from vhbench.runs.store import Store

FILES = """\b
Files:
  codes.npy   packed codes, uint8 (videos, bytes): bit j is bit j % 8 of byte j // 8
  names.npy   names of the videos in UTF-8, where the feature files have a data set `names`
  about.json  what they are: bits, method, run, how the features were computed, digests
  model/      the model that made them
"""


@click.command(epilog=FILES)
@click.argument("run")
@click.argument("features", nargs=-1, required=True, type=options.PATH)
@click.option(
    "-o", "--output", type=options.UserPath(file_okay=False), required=True, metavar="DIR",
    help="Where the codes go.",
)  # fmt: skip
@click.option("--key", default="feats", show_default=True, help="Name of the features' data set in HDF5 files.")
@click.option("--device", default="auto", show_default=True, help="auto (the freest GPU, else the CPU), cpu or cuda:N.")
@click.option("--batch", type=int, help="Videos encoded at a time; fewer take less memory. 65,536 by default.")
@options.out
@options.plugins
def command(
    run: str,
    features: Sequence[Path],
    output: Path,
    key: str,
    device: str,
    batch: int | None,
    out: Path,
    plugins: Sequence[Path],
) -> None:
    """Encode feature files by the model that RUN has kept (`vhbench run --keep-model`).

    RUN is a run's folder or the start of its id, or a folder with a model in it. FEATURES are read as one, in order.
    """
    from vhbench.runs.model import load_model
    from vhbench.search.encode import encode_files
    from vhbench.search.loading import find_model
    from vhbench.system.environment import check_device, resolve_device

    def say(text: str) -> None:
        click.echo(f"mind: {text}", err=True)

    check_device(device)
    model = load_model(find_model(run, Store(out)), Registry(plugins).method)
    if model.stale:
        say(f"the model was trained with other source code of {model.method} than today's")
    gallery = encode_files(model.on(resolve_device(device)), features, output, key=key, batch=batch, say=say)
    click.echo(f"{len(gallery):,} videos, {gallery.bits} bits each, by {model.method}: {gallery.folder}")
