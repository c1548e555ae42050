"""Names of videos or classes out of files: text as it stands, or the texts of any format that holds labels."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vhbench.errors import DataError
from vhbench.features.headers import MissingKey
from vhbench.features.inputs import read_text
from vhbench.features.label_files import DELIMITERS, TEXT, read_label_file

NAME_KEYS = ("names", "name", "videos", "video")
GROUP_KEYS = ("groups", "group")
CLASS_KEYS = ("classes", "class", "names", "name")
LONGEST = 4096  # characters of a name, which may be a path
NUMBERED = re.compile(r"([0-9]{1,6})\s+(\S.*)")


def read_names(paths: Sequence[Path], count: int, keys: Sequence[str] = NAME_KEYS) -> np.ndarray:
    """Read the names of videos, concatenated in the order given; numbers become texts.

    Args:
        paths: text (a name a line), CSV with a heading, HDF5, `.npy`, `.npz` or MATLAB files.
        count: videos that they must name together.
        keys: names of the array or column to try, in this order.

    Returns:
        str (videos,).

    Raises:
        DataError: a file cannot be read or has no such array, a name is blank, or their number differs.
    """
    names = [name for path in paths for name in _read(path, keys)]
    if len(names) != count:
        raise DataError(
            f"{' and '.join(map(str, paths))} hold {len(names)} {keys[0]}, but there are {count} videos: "
            "give one a video."
        )
    return np.array(names)


def read_class_names(path: Path) -> tuple[str, ...]:
    """Read the names of classes by number, as in `read_names`; lines "1 Archery", "2 ..." are numbered, as UCF101's.

    Raises:
        DataError: the file cannot be read, or two classes have one name.
    """
    names = _read(path, CLASS_KEYS)
    found = [NUMBERED.fullmatch(name) for name in names]
    numbers = [int(match[1]) for match in found if match]
    if len(numbers) == len(names) and numbers == [*range(numbers[0], numbers[0] + len(names))] and numbers[0] < 2:
        names = [match[2] for match in found if match]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError(f"{path} names two classes {twice[0]!r}: give each class a name of its own.")
    return tuple(names)


def _read(path: Path, keys: Sequence[str]) -> list[str]:
    if path.suffix.lower() in TEXT:
        names = _read_lines(path, keys)
    else:
        try:
            array = read_label_file(path, keys, None)
        except MissingKey as error:
            raise DataError(error.without_setting) from error
        names = _texts(array, path, keys[0])
    names = [name.strip("\0 \t\r\n") for name in names]
    if "" in names or not names:
        where = f" in line or row {names.index('')} (counted from 0)" if names else ""
        raise DataError(f"{path} has a blank among its {keys[0]}{where}: give each a name.")
    if (longest := max(map(len, names))) > LONGEST:
        raise DataError(f"{path} has a text of {longest} characters among its {keys[0]}: no name is as long.")
    return names


def _read_lines(path: Path, keys: Sequence[str]) -> list[str]:
    """Return the lines of a text, or a column of a table; a first line that is one of `keys` is its heading."""
    try:
        text = read_text(path)
    except FileNotFoundError as error:
        raise DataError(f"There is no file {path}.") from error
    except OSError as error:
        raise DataError(f"Cannot read {path}: {error.strerror or error}.") from error
    lines = text.rstrip().splitlines()
    delimiter = DELIMITERS.get(path.suffix.lower())
    if delimiter is None or not lines:
        return lines
    try:
        rows = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=delimiter, strict=True)]
    except csv.Error as error:
        raise DataError(f"{path} is not sound CSV ({error}).") from error
    key = next((key for key in keys if key in rows[0]), None)
    if key is None:
        if max(map(len, rows)) > 1:
            raise DataError(f"{path} has no column {' or '.join(map(repr, keys))} in its first line: name it so.")
        return [row[0] if row else "" for row in rows]
    column = rows[0].index(key)
    return [row[column] if column < len(row) else "" for row in rows[1:]]


def _texts(array: np.ndarray, path: Path, what: str) -> list[str]:
    """Return an array of texts or whole numbers as texts."""
    array = np.atleast_1d(np.squeeze(array))
    if array.dtype.kind == "S":
        try:
            array = np.char.decode(array, "utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"{path} holds {what} that are not UTF-8 ({error}): save them as UTF-8.") from error
    if array.dtype.kind not in "Uiu" or array.ndim != 1:
        raise DataError(f"{path} holds {array.dtype} of shape {array.shape}: {what} are texts, one each.")
    return [str(item) for item in array.tolist()]
