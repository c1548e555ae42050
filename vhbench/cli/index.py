"""`vhbench index`: a folder of codes checked, and completed with ids, names and an index for faiss."""

from __future__ import annotations

from pathlib import Path

import click

from vhbench.cli import options
from vhbench.errors import UsageError
from vhbench.plugins.registry import Registry
from vhbench.runs.store import Store

EXAMPLE = """\b
Examples:
  vhbench encode RUN feats.h5 -o codes && vhbench index codes --ids ids.txt --faiss
  vhbench index RUN -o codes --names names.txt
"""


@click.command(epilog=EXAMPLE)
@click.argument("codes", metavar="DIR|RUN")
@click.option(
    "-o",
    "--output",
    type=options.UserPath(file_okay=False),
    metavar="DIR",
    help="Of a run: where the codes of its database go.",
)
@click.option("--split", help="Of a run with several databases: which.")
@click.option(
    "--ids",
    type=options.PATH,
    metavar="FILE",
    help="Whole numbers, one a video: .npy or text. Without any, rows are ids.",
)
@click.option(
    "--names",
    type=options.PATH,
    metavar="FILE",
    help="Names, one a video: text, or `names` of an HDF5 file.",
)
@click.option("--faiss", is_flag=True, help="Write codes.faiss too: an IndexBinaryIDMap with these ids.")
@options.out
@options.plugins
def command(
    codes: str,
    output: Path | None,
    split: str | None,
    ids: Path | None,
    names: Path | None,
    faiss: bool,
    out: Path,
    plugins: tuple[Path, ...],
) -> None:
    """Read codes through once, compare their digests, and put ids and names beside them.

    DIR is a folder that `vhbench encode` wrote. RUN is a run's folder or the start of its id: with -o the codes of its
    database, and the model that it has kept, become such a folder. `vhbench search` itself reads no digest, and needs
    none of this.
    """
    from vhbench.runs.export import find_run
    from vhbench.search.gallery import is_gallery
    from vhbench.search.index import Beside, gallery_of_run, index_gallery
    from vhbench.system.files import user_path

    def say(text: str) -> None:
        click.echo(text, err=True)

    folder = user_path(codes)
    if is_gallery(folder):
        if output is not None or split is not None:
            raise UsageError(
                f"{folder} holds codes already, so -o and --split, which are for runs, say nothing: leave them out."
            )
    else:
        record = find_run(codes, Store(out))
        if output is None:
            raise UsageError(f"Where shall the codes of {record.folder} go? Add -o DIR.")
        folder = gallery_of_run(record, output, Registry(plugins), split).folder
    gallery = index_gallery(folder, Beside(ids, names, faiss), say)
    click.echo(
        f"{len(gallery):,} codes of {gallery.bits} bits, as they were written; "
        f"{'names' if gallery.names is not None else 'no names'}; ids: {'own' if gallery.ids is not None else 'rows'}"
    )
