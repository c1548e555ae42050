"""Label files of every format, told apart by content: `.npy`, `.npz`, MATLAB, HDF5 and, by its name, text or CSV."""

from __future__ import annotations

import csv
import math
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np

from vhbench.errors import DataError
from vhbench.features.headers import (
    NPY_MAGIC,
    hdf5_reading,
    is_hdf5,
    magic,
    memory_error,
    missing_key,
    open_hdf5,
    read_npy_header,
)
from vhbench.features.inputs import read_text
from vhbench.features.matlab import SETTING, check_size, read_matlab, read_matlab_73

ZIP_MAGIC = b"PK"
MATLAB_MAGIC = b"MATLAB"
DELIMITERS = {".csv": ",", ".tsv": "\t"}
TEXT = (".txt", ".lst", *DELIMITERS)
WHOLE = re.compile(r"[+-]?[0-9]{1,18}(\.0*)?")
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|nan|[+-]?inf(inity)?", re.IGNORECASE)


def read_label_file(path: Path, keys: Sequence[str], count: int | None) -> np.ndarray:
    """Return the array of labels of one file, a row a video, as it stands there; texts as str.

    Args:
        path: the file.
        keys: names of the variable, array or column to try, in this order.
        count: how many videos it should label; None where that is not known.

    Raises:
        DataError: it cannot be read, or has no array of these names.
    """
    start = magic(path)
    try:
        if start.startswith(NPY_MAGIC):
            with path.open("rb") as file:
                return _read_npy(file, path, path.stat().st_size)
        if start.startswith(ZIP_MAGIC):
            return _read_npz(path, keys)
        if is_hdf5(path):
            with open_hdf5(path) as file, hdf5_reading(path):
                return read_matlab_73(file, path, keys, count)
        if path.suffix.lower() in TEXT and not start.startswith(MATLAB_MAGIC):
            return _read_text(path, keys, count)
        return read_matlab(path, keys)
    except OSError as error:
        raise DataError(
            f"Cannot read {path}: {error.strerror or error}. Check the file and its permissions."
        ) from error
    except MemoryError as error:
        raise memory_error(path) from error


def _read_npy(file: IO[bytes], path: Path, size: int) -> np.ndarray:
    """Read an array of at most two dimensions; `size`: bytes that `file` has in all."""
    start = file.tell()
    shape, _, dtype = read_npy_header(file, path)
    if dtype.hasobject:
        raise DataError(
            f"{path} holds pickled Python objects, which are never loaded: save numbers, or texts with "
            'np.save(path, np.array(names, dtype="U")).'
        )
    whole = file.tell() - start + math.prod(shape) * dtype.itemsize
    if len(shape) > 2:
        raise DataError(f"{path} has shape {shape} of {dtype}: labels have one or two dimensions.")
    check_size(whole, f"{path}, of shape {shape},")
    if size < whole:
        raise DataError(f"{path} is truncated: it has {size} bytes of {whole}. Copy or download it again.")
    file.seek(start)
    try:
        array: np.ndarray = np.lib.format.read_array(file, allow_pickle=False)
    except (ValueError, TypeError, EOFError) as error:
        raise DataError(f"{path} is not a sound .npy file ({error}). Copy or download it again.") from error
    return array


def _read_npz(path: Path, keys: Sequence[str]) -> np.ndarray:
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
            key = next((key for key in keys if key in names), None)
            if key is None:
                raise missing_key(path, list(keys), names, SETTING)
            info = archive.getinfo(f"{key}.npy")
            with archive.open(info) as file:
                return _read_npy(file, path, info.file_size)
    except (DataError, MemoryError):
        raise
    except Exception as error:  # what zipfile and the decompressors trip over has many types
        raise DataError(f"{path} is not a sound .npz file ({error}). Copy or download it again.") from error


def _read_text(path: Path, keys: Sequence[str], count: int | None) -> np.ndarray:
    """Read a label a line, or a column or the whole of a table.

    A first line is a heading where one of `keys` stands in it, or numbers stand below it and none in it.
    """
    text = read_text(path)
    if "\0" in text:
        raise DataError(f"{path} is not text: labels are .mat, HDF5, .npy, .npz or text, and told apart by content.")
    rows = _rows(text, DELIMITERS.get(path.suffix.lower()), path)
    first, width = rows[0], len(rows[0])
    for number, row in enumerate(rows, 1):
        if len(row) != width:
            raise DataError(f"{path} has {width} columns in its first line and {len(row)} in line {number}.")
    key = next((key for key in keys if key in first), None)
    if key is not None:
        return _values([[row[first.index(key)]] for row in rows[1:]], path)
    headed = len(rows) > 1 and not any(map(NUMBER.fullmatch, first)) and _numeric(rows[1:])
    cells = {cell for row in rows[headed:] for cell in row} if width > 1 else set()
    if headed and not cells <= {"0", "1"}:
        raise missing_key(path, list(keys), first, SETTING)
    if cells and not _numeric(rows[headed:]):
        raise DataError(
            f"{path} has {width} columns, the first line is {', '.join(map(repr, first[:5]))}: let it begin with a "
            f"line of headings, and name the column of the labels in the manifest, {SETTING}."
        )
    if len(rows) - 1 == count and width == 1 and not headed:
        raise DataError(
            f"{path} has {len(rows)} lines for {count} videos: if the first, {first[0]!r}, is a heading, name it in "
            f"the manifest, {SETTING}."
        )
    return _values(rows[headed:], path)


def _rows(text: str, delimiter: str | None, path: Path) -> list[list[str]]:
    """Return the cells of a table, stripped, or each line as one cell; blank lines at the end do not count."""
    lines = text.rstrip().splitlines()
    if not lines:
        raise DataError(f"{path} holds no labels: it is empty.")
    if delimiter is None:
        return [[line.strip()] for line in lines]
    if delimiter == "," and "," not in lines[0] and ";" in lines[0]:
        delimiter = ";"  # what spreadsheets write where the comma is the decimal sign
    try:
        rows = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=delimiter, strict=True)]
    except csv.Error as error:
        raise DataError(f"{path} is not sound CSV ({error}).") from error
    return [row or [""] for row in rows]


def _numeric(rows: Sequence[Sequence[str]]) -> bool:
    return all(NUMBER.fullmatch(cell) for row in rows for cell in row)


def _values(rows: Sequence[Sequence[str]], path: Path) -> np.ndarray:
    """Return cells as whole numbers or, where one is not a number, as texts."""
    if not rows:
        raise DataError(f"{path} holds no labels: nothing stands under its heading.")
    if not _numeric(rows):
        texts = [row[0] for row in rows]
        if "" in texts:
            raise DataError(f"{path} has no label for video {texts.index('')} (counted from 0): its line is blank.")
        return np.array(texts)
    if all(WHOLE.fullmatch(cell) for row in rows for cell in row):
        array = np.array([[int(cell.partition(".")[0]) for cell in row] for row in rows], dtype=np.int64)
    else:
        array = np.array([[float(cell) for cell in row] for row in rows])
    return array[:, 0] if array.shape[1] == 1 else array
