"""Making a gallery whole: checked once, with ids, names and an index for faiss. What `vhbench index` does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vhbench.errors import DataError, UsageError, unknown
from vhbench.features.headers import NPY_MAGIC, is_hdf5, magic
from vhbench.features.inputs import read_text
from vhbench.plugins.registry import Registry
from vhbench.runs.foreign import faiss_index, import_faiss
from vhbench.runs.record import Record
from vhbench.runs.stored_codes import read_codes
from vhbench.search.gallery import OWN, Gallery, open_gallery, write_gallery
from vhbench.system.arrays import map_npy
from vhbench.system.files import atomic_write, write_error

FAISS = "codes.faiss"


@dataclass(frozen=True)
class Beside:
    """What is put beside the codes of a gallery.

    Attributes:
        ids: a file of whole numbers, one a code: .npy, or text with one a line.
        names: a file of names, one a code: text with one a line, or the `names` of an HDF5 file.
        faiss: whether an index for faiss is written.
    """

    ids: Path | None = None
    names: Path | None = None
    faiss: bool = False


def index_gallery(folder: Path, beside: Beside, say: Callable[[str], None] = lambda _: None) -> Gallery:
    """Read a gallery through for its digests, and add what is asked for.

    Args:
        folder: the gallery.
        beside: what is added; what is there already stays.
        say: hears what is left out.

    Raises:
        DataError: the folder is no gallery or is damaged; a file is not of that form.
        StoreError: the folder cannot be written.
    """
    gallery = open_gallery(folder)
    gallery.check(read=True)
    if beside.ids or beside.names:
        ids = _read_ids(beside.ids, len(gallery)) if beside.ids else gallery.ids
        names = _read_names(beside.names, len(gallery)) if beside.names else _names(gallery)
        said = {name: value for name, value in gallery.about.items() if name not in OWN}
        gallery = write_gallery(
            folder,
            gallery.codes,
            bits=gallery.bits,
            names=names,
            ids=None if ids is None else np.array(ids),
            about=said,
        )
        if not beside.faiss and (folder / FAISS).exists():
            _remove(folder / FAISS)
            say(f"{folder / FAISS} had the ids of before and is removed: --faiss writes it anew.")
    if beside.faiss:
        _write_faiss(gallery, say)
    return gallery


def gallery_of_run(record: Record, folder: Path, registry: Registry, split: str | None = None) -> Gallery:
    """Write the codes of a run's database as a gallery, with the model where the run has kept one.

    Args:
        record: a finished run.
        folder: where the gallery goes; files there are replaced where it is one of the same run.
        registry: finds the run's method.
        split: which of the protocol's splits; it may be left out where there is only one.

    Raises:
        UsageError: there are several splits, or none of that name; the folder holds other codes.
        StoreError: the run's codes are missing or damaged, or the folder cannot be written.
    """
    from vhbench.runs.model import has_model, load_model, write_model
    from vhbench.search.loading import FOLDER

    splits = [*record.spec["splits"]]
    if split is None and len(splits) > 1:
        raise UsageError(
            f"{record.folder} has {len(splits)} databases: choose one with --split {splits[0]} or the like."
        )
    chosen = splits[0] if split is None else split
    if chosen not in splits:
        raise unknown("split", chosen, splits)
    about: dict[str, Any] = {"method": record.spec["method"], "run": record.data["id"], "split": chosen}
    _check_folder(folder, about)
    codes = read_codes(record)[f"{chosen}/database"]
    if has_model(record):
        model = load_model(record.folder, registry.method)
        write_model(folder / FOLDER, model.files())
    packed = np.packbits(codes, axis=1, bitorder="little")
    return write_gallery(folder, packed, bits=codes.shape[1], about=about)


def _check_folder(folder: Path, about: dict[str, Any]) -> None:
    """Raise UsageError where a folder holds other codes."""
    if not (folder / "about.json").exists():
        return
    there = open_gallery(folder).about
    if {name: there.get(name) for name in about} != about:
        raise UsageError(f"{folder} holds other codes than those of this run: choose another folder.")


def _names(gallery: Gallery) -> list[str] | None:
    if gallery.names is None:
        return None
    return [name.decode(errors="replace") for name in gallery.names.tolist()]


def _read_ids(path: Path, videos: int) -> np.ndarray:
    """Return ids, int64 (videos,), each of them once."""
    if magic(path).startswith(NPY_MAGIC):
        try:
            array = map_npy(path)
        except (OSError, ValueError) as error:
            raise DataError(f"{path} is not a sound .npy file ({error}). Make it again.") from error
        if array.ndim != 1 or array.dtype.kind not in "iu" or (array.dtype == np.uint64 and array.max() >> 63):
            raise DataError(f"{path} must hold ids as int64, one a video, not {array.dtype} {array.shape}.")
        ids = np.array(array, dtype=np.int64)
    else:
        ids = _numbers(path, _lines(path))
    _check_length(path, "ids", len(ids), videos)
    values, counts = np.unique(ids, return_counts=True)
    if len(values) < len(ids):
        raise DataError(f"{path} holds the id {values[counts.argmax()]} {counts.max()} times: each must be another.")
    return ids


def _lines(path: Path) -> list[str]:
    return [line.removesuffix("\r") for line in read_text(path).removesuffix("\n").split("\n")]


def _numbers(path: Path, lines: list[str]) -> np.ndarray:
    for number, line in enumerate(lines, 1):
        try:
            fits = -(1 << 63) <= int(line) < 1 << 63
        except ValueError:
            fits = False
        if not fits:
            raise DataError(f"{path}, line {number}: {line[:40]!r} is no whole number of 64 bits, as an id is.")
    return np.array([int(line) for line in lines], dtype=np.int64)


def _read_names(path: Path, videos: int) -> list[str]:
    magic(path)
    names: list[str] | None
    if is_hdf5(path):
        from vhbench.features.stored_names import stored_names

        names = stored_names(path, videos)
    else:
        names = _lines(path)
    if names is None:
        raise DataError(f"{path} has no data set 'names': give a text with one name a line, or a file that has.")
    _check_length(path, "names", len(names), videos)
    return names


def _check_length(path: Path, what: str, there: int, videos: int) -> None:
    if there != videos:
        raise DataError(f"{path} holds {there} {what} for {videos} videos: one a video is needed.")


def _remove(path: Path) -> None:
    try:
        path.unlink()
    except OSError as error:
        raise write_error(path, error) from error


def _write_faiss(gallery: Gallery, say: Callable[[str], None]) -> None:
    faiss = import_faiss(say)
    if faiss is None:
        return
    with atomic_write(gallery.folder / FAISS) as file:
        file.write(faiss_index(faiss, gallery.codes, gallery.ids))
