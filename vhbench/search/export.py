"""A gallery as files that other programs read: what `vhbench export` does with a folder of codes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np

from vhbench.errors import UsageError, unknown
from vhbench.runs.export import ABOUT, Exported
from vhbench.runs.foreign import BIT_ORDERS, faiss_index, import_faiss, in_order, write_bits
from vhbench.search.gallery import OWN, Gallery
from vhbench.system.files import atomic_write, write_json
from vhbench.version import __version__


def export_gallery(
    gallery: Gallery,
    folder: Path,
    *,
    order: str = "little",
    as_csv: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> list[Exported]:
    """Write a gallery's codes as `database.npy`, `database.faiss` and `database-bits.csv`, and what they are.

    The index and the table have the gallery's ids; without any, rows are ids.

    Args:
        gallery: the gallery.
        folder: where the files go; an empty one, or one that is made.
        order: the order of bits in a byte of the first two, a key of BIT_ORDERS.
        as_csv: write `database-bits.csv` too.
        say: hears what is left out, and why.

    Raises:
        UsageError: the folder holds something; there is no such order of bits.
        StoreError: the files cannot be written.
    """
    if order not in BIT_ORDERS:
        raise unknown("order of bits", order, BIT_ORDERS)
    if folder.is_dir() and any(folder.iterdir()):
        raise UsageError(f"{folder} holds other files: choose an empty folder for the export of a gallery.")
    codes, written = in_order(gallery.codes, order), []

    @contextmanager
    def opened(name: str, content: str) -> Iterator[IO[bytes]]:
        with atomic_write(folder / name) as file:
            yield file
        written.append(Exported(folder / name, "", "database", content, len(gallery)))

    with opened("database.npy", "codes") as file:
        np.save(file, codes, allow_pickle=False)
    if faiss := import_faiss(say):
        with opened("database.faiss", "index") as file:
            file.write(faiss_index(faiss, codes, gallery.ids))
    if as_csv:
        with opened("database-bits.csv", "bits") as file:
            write_bits(file, gallery.codes, gallery.bits, gallery.ids)
    said = {name: value for name, value in gallery.about.items() if name not in OWN}
    about = {"bits": gallery.bits, "order": order, "bit_order": BIT_ORDERS[order], **said, "vhbench": __version__}
    write_json(folder / ABOUT, about)
    return [*written, Exported(folder / ABOUT, "", "", "about", None)]
