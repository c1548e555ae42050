"""`vhbench data clear-cache`: remove what can be made again of feature files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from vhbench.cli import options
from vhbench.cli.data_status import chosen, size
from vhbench.datasets.manifest_protocol import ManifestProtocol
from vhbench.errors import DataError
from vhbench.features import read_header
from vhbench.features.cache import clear, entry_of, features_folder


@click.command()
@click.argument("protocols", metavar="[PROTOCOL]...", nargs=-1)
@options.data
def command(protocols: Sequence[str], data: Path | None) -> None:
    """Remove the uncompressed copies and digests of feature files: those of each PROTOCOL, or all.

    The feature files themselves stay; the next run reads them once more. A copy that is being made is left alone.
    """
    if protocols:
        folders = [folder for protocol in chosen(protocols) for folder in _folders(protocol, data)]
    else:
        folders = sorted(features_folder().iterdir()) if features_folder().is_dir() else []
    freed = {folder: clear(folder) for folder in dict.fromkeys(folders) if folder.is_dir()}
    for folder, count in freed.items():
        if count is None:
            click.echo(f"left alone: a process is filling {folder}", err=True)
    done = [count for count in freed.values() if count is not None]
    click.echo(f"Freed {size(sum(done))} of {len(done)} feature files in {features_folder()}.")


def _folders(protocol: ManifestProtocol, data: Path | None) -> list[Path]:
    """Return the cache folders of the files of a data set that are there."""
    folders = []
    for table in protocol.tables.values():
        for place in (place for file in table.feature_files for place in protocol.places(file, data) if place.exists()):
            try:
                folders.append(entry_of(read_header(place, table.key)).folder)
            except DataError:
                continue  # a file that cannot be opened has nothing in the cache
    return folders
