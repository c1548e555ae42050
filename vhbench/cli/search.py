"""`vhbench search`: the nearest videos of a gallery of codes."""

from __future__ import annotations

from pathlib import Path

import click

from vhbench.cli import options
from vhbench.errors import UsageError

QUERIES = """\b
QUERY is
  a whole number     a row of the gallery, counted from 0
  a file             features (HDF5 or .npy, each video a query) or a video
  any other text     the name of a row
A row is left out of its own neighbours. Features and videos are encoded by the model in DIR/model.
\b
Examples:
  vhbench search codes --query 17 -k 5
  vhbench search codes --query new.mp4 --html page.html --videos videos
"""


@click.command(epilog=QUERIES)
@click.argument("folder", metavar="DIR", type=options.PATH)
@click.option("--query", required=True, help="What is searched for; see below.")
@click.option("-k", default=10, show_default=True, help="How many neighbours.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "csv", "json"]),
    default="table",
    show_default=True,
)
@click.option("--html", type=options.UserPath(dir_okay=False), metavar="FILE", help="Write a page with pictures too.")
@click.option(
    "--videos",
    type=options.UserPath(file_okay=False),
    metavar="DIR",
    help="For --html: where the videos lie under their names.",
)
@click.option("--key", default="feats", show_default=True, help="Name of the features' data set in HDF5 files.")
@click.option("--weights", type=options.PATH, help="For a video: the weights of the network its features come from.")
@click.option("--network", type=options.PATH, metavar="ONNX", help="For a video: that network, where it is a file.")
@click.option("--device", default="auto", show_default=True, help="auto (the freest GPU, else the CPU), cpu or cuda:N.")
@options.plugins
def command(
    folder: Path,
    query: str,
    k: int,
    form: str,
    html: Path | None,
    videos: Path | None,
    key: str,
    weights: Path | None,
    network: Path | None,
    device: str,
    plugins: tuple[Path, ...],
) -> None:
    """Print the videos of DIR whose codes differ from the query's in the fewest bits.

    DIR is a folder that `vhbench encode` or `vhbench index` wrote. The search is exact; of codes at one distance, those
    of the first rows come first.
    """
    from vhbench.search.answers import find, render
    from vhbench.search.gallery import open_gallery
    from vhbench.search.page import write_page
    from vhbench.search.queries import Encoding, read_queries
    from vhbench.search.thumbnails import Thumbnails
    from vhbench.system.environment import check_device

    def say(text: str) -> None:
        click.echo(f"mind: {text}", err=True)

    check_device(device)
    if videos is not None and html is None:
        raise UsageError("--videos says where the pictures of --html come from: add --html FILE.")
    if videos is not None and not videos.is_dir():
        raise UsageError(f"There is no folder {videos}: --videos takes the one that the videos lie in.")
    gallery = open_gallery(folder)
    queries = read_queries(gallery, query, Encoding(key, device, plugins, weights, network, say))
    answers = find(gallery, queries, k)
    if html is not None:
        thumbnails = Thumbnails(videos)
        write_page(html, gallery, queries, answers, thumbnails)
        if words := thumbnails.words():
            say(words)
    if queries.row is not None:
        named = f" ({queries.names[0]})" if gallery.names is not None else ""
        click.echo(f"query: row {queries.row}{named}, which is left out of its neighbours", err=True)
    if answers:
        click.echo(render(answers, form))
    if html is not None:
        click.echo(f"wrote {html}", err=True)
