"""A run's codes as files that other programs read: what `vhbench export` does."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vhbench.errors import UsageError, VhbenchError, unknown
from vhbench.plugins.registry import Registry
from vhbench.protocol import Split
from vhbench.runs.foreign import BIT_ORDERS, faiss_index, import_faiss, in_order, write_bits
from vhbench.runs.made_with import MadeWith
from vhbench.runs.record import RECORD, Record, read_record
from vhbench.runs.store import Store
from vhbench.runs.stored_codes import check_counts, check_data, read_codes
from vhbench.system.files import atomic_write, read_json, user_path, write_json
from vhbench.system.text import csv_cell
from vhbench.version import __version__

ABOUT = "about.json"
PREFIX = re.compile(r"[0-9a-f]{4,64}")
SHOWN = 5  # runs named where a prefix fits several


@dataclass(frozen=True)
class Exported:
    """A file that was written.

    Attributes:
        path: the file.
        split: the split's name; empty for `about.json`.
        role: "query" or "database"; empty for `about.json`.
        content: "codes", "index", "bits", "labels", "names", "rows" or "about".
        videos: how many it has; None for `about.json`.
    """

    path: Path
    split: str
    role: str
    content: str
    videos: int | None


def find_run(run: str, store: Store) -> Record:
    """Return the record of a run.

    Args:
        run: its folder, as it is or below the results folder; or the start of its id, at least four digits.
        store: the results folder.

    Raises:
        UsageError: there is no such run, or several.
        StoreError: its record is damaged.
    """
    for folder in (user_path(run), store.root / run):
        if (folder / RECORD).is_file():
            return read_record(folder / RECORD)
    hint = f"`vhbench list runs --out {store.root}` shows them."
    if not PREFIX.fullmatch(run):
        raise UsageError(f"{run!r} is neither a run's folder nor the start of an id (4 or more of 0-9, a-f): {hint}")
    found = [record for record in store.records()[0] if record.data["id"].startswith(run)]
    if not found:
        raise UsageError(f"No run in {store.root} has an id that starts with {run!r}: {hint}")
    if len(found) > 1:
        names = ", ".join(str(record.folder) for record in found[:SHOWN])
        raise UsageError(f"{len(found)} ids start with {run!r}: give more digits or the folder, e.g. {names}.")
    return found[0]


def export_run(
    record: Record,
    folder: Path,
    registry: Registry,
    *,
    protocol: str | None = None,
    data: Path | None = None,
    order: str = "little",
    as_csv: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> list[Exported]:
    """Write a run's codes, and their labels where the data are found.

    `<split>/query.npy` and `<split>/database.npy`: uint8 (videos, ceil(bits / 8)). `<split>/database.faiss`: the
    database's codes as an `IndexBinaryIDMap` of faiss; ids are rows. `<split>/<role>-bits.csv`: id and code of each
    video, the code's bits in order as 0 and 1. `<split>/<role>-labels.npy` and `<split>/<role>.csv`: labels, the latter
    with the names of classes and videos where they are known. `<split>/self-index.npy`, where queries sit in the
    database: int64 (queries,), the database row that is the query, -1 for none. `about.json`: which run it was, and the
    order of bits.

    Args:
        record: a finished run.
        folder: where the files go; made if need be, files of the same names are replaced.
        registry: finds the protocol.
        protocol: its name, or the path of its manifest; by default the record's name.
        data: the data folder.
        order: the order of bits in a byte of `.npy` files and of the index, a key of BIT_ORDERS.
        as_csv: write `<role>-bits.csv` too.
        say: hears what is left out, and why.

    Raises:
        UsageError: the folder holds the export of another run, or one with another order of bits; there is no such
            order.
        StoreError: the codes are missing or damaged, or the files cannot be written.
    """
    if order not in BIT_ORDERS:
        raise unknown("order of bits", order, BIT_ORDERS)
    _check_folder(folder, record, order)
    codes = {name: np.packbits(array, axis=1, bitorder="little") for name, array in read_codes(record).items()}
    splits = _splits(record, registry, protocol, data, say)
    check_counts(record, codes, [*splits.values()])
    faiss = import_faiss(say)
    written = []
    for name, array in codes.items():
        split, _, role = name.rpartition("/")
        ordered = in_order(array, order)
        contents = {f"{role}.npy": ("codes", _npy(ordered))}
        if role == "database" and faiss:
            contents["database.faiss"] = ("index", faiss_index(faiss, ordered))
        if as_csv:
            buffer = io.BytesIO()
            write_bits(buffer, array, record.spec["bits"])
            contents[f"{role}-bits.csv"] = ("bits", buffer.getvalue())
        if split in splits:
            contents |= _labels(splits[split], role)
        for file, (content, octets) in contents.items():
            path = folder / _folder_name(split) / file
            with atomic_write(path) as opened:
                opened.write(octets)
            written.append(Exported(path, split, role, content, len(array)))
    write_json(folder / ABOUT, _about(record, order))
    return [*written, Exported(folder / ABOUT, "", "", "about", None)]


def _check_folder(folder: Path, record: Record, order: str) -> None:
    """Raise UsageError where another run was exported, or otherwise: some of its files could stay beside these."""
    try:
        about = read_json(folder / ABOUT)
    except FileNotFoundError:
        return
    except (OSError, ValueError):
        about = None
    if not isinstance(about, dict) or about.get("run") != record.data["id"]:
        raise UsageError(f"{folder} holds the export of another run ({folder / ABOUT}): choose another folder.")
    there = about.get("order", "little")
    if there != order:
        raise UsageError(f"{folder} holds this run's export with --bit-order {there}: choose another folder.")


def _splits(
    record: Record, registry: Registry, protocol: str | None, data: Path | None, say: Callable[[str], None]
) -> dict[str, Split]:
    """Return the run's splits by name, for their labels; {}, and a word on why, where its data are not found."""
    try:
        found = registry.protocol(protocol or record.spec["protocol"])
        splits = found.load(data, allow_counts=True)
        check_data(record, found, splits)
    except VhbenchError as error:
        words = MadeWith.read(record.data).words(protocol=not protocol, data=not data, plugins=False)
        advice = "" if protocol else f" If {record.spec['protocol']} has a manifest of its own: --protocol PATH.toml."
        advice += f" The run says that it was made with {words}." if words else ""
        say(f"labels are left out: {error}{advice}")
        return {}
    return {split.name: split for split in splits}


def _labels(split: Split, role: str) -> dict[str, tuple[str, bytes]]:
    """Return the files of a role's labels: name -> what it is, content."""
    relevance, part = split.relevance, split.query if role == "query" else split.database
    labels = relevance.query_labels if role == "query" else relevance.database_labels
    rows = [np.flatnonzero(row) if labels.ndim == 2 else [row] for row in labels]
    named = relevance.class_names
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["row", "labels", *(["classes"] if named else []), *([] if part.names is None else ["name"])])
    for number, classes in enumerate(rows):
        names = [csv_cell("; ".join(named[c] for c in classes))] if named else []
        names += [] if part.names is None else [csv_cell(part.names[number])]
        writer.writerow([number, " ".join(map(str, classes)), *names])
    files = {
        f"{role}-labels.npy": ("labels", _npy(labels)),
        f"{role}.csv": ("names", buffer.getvalue().encode()),
    }
    if role == "query" and relevance.self_index is not None:
        files["self-index.npy"] = ("rows", _npy(relevance.self_index))
    return files


def _about(record: Record, order: str) -> dict[str, Any]:
    bits = record.spec["bits"]
    return {
        "run": record.data["id"],
        **{name: record.spec[name] for name in ("protocol", "method", "params", "bits", "seed")},
        "bytes": -(-bits // 8),
        "order": order,
        "bit_order": BIT_ORDERS[order],
        "row": "row i of every file of a role is the same video, counted from 0; so is id i of the faiss index",
        "synthetic": record.data["synthetic"],
        "vhbench": __version__,
    }


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _folder_name(split: str) -> str:
    """Return a split's name as one folder below the output folder, whatever a record calls it."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", split).lstrip(".") or "split"
