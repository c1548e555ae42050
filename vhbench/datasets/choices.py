"""Which rows and frames of the files a manifest uses, and the digest of such a choice."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from vhbench.errors import DataError
from vhbench.features.label_files import read_label_file

RANGE = re.compile(r"\s*([0-9]{0,15})\s*:\s*([0-9]{0,15})\s*(?::\s*([0-9]{1,15})\s*)?")
ROW_KEYS = ("rows", "row", "index")

Chosen = str | tuple[int, ...]  # a range "0:1000:2", the name of a file, or numbers


def chosen_rows(chosen: Chosen | None, count: int, find: Callable[[str], Path], where: str) -> np.ndarray | None:
    """Return which of `count` videos a manifest's `rows` chooses, in its order, int64; None: all as they stand.

    Args:
        chosen: a range "first:end" or "first:end:step" as in Python, counted from 0, without `end`; numbers; or a file
            of numbers (`.npy`, `.npz`, HDF5, MATLAB or text, a number a line), or with true or false for every video.
        count: how many there are.
        find: returns where a file lies.
        where: the place in the manifest, for messages.

    Raises:
        DataError: a row does not exist or is named twice, or the file cannot be used.
    """
    if chosen is None:
        return None
    rows = _read(chosen, count, find, where)
    _check(rows, count, "rows", "videos", where)
    return None if np.array_equal(rows, np.arange(count)) else rows


def chosen_frames(chosen: int | Chosen | None, present: int) -> np.ndarray | None:
    """Return which of `present` frames a manifest's `keep_frames` chooses, int64; None: all.

    Args:
        chosen: how many (see `kept_frames`), a range or numbers; see `chosen_rows`.
        present: frames a video.

    Raises:
        DataError: a frame does not exist or is named twice.
    """
    if chosen is None:
        return None
    if isinstance(chosen, int):
        return kept_frames(present, chosen)
    if isinstance(chosen, str) and not RANGE.fullmatch(chosen):
        raise DataError(f'keep_frames is {chosen!r}: say how many frames, a range as in "0:25:2", or list them.')
    frames = _range(chosen, present) if isinstance(chosen, str) else np.array(chosen, dtype=np.int64)
    _check(frames, present, "frames", "frames", "of keep_frames")
    return frames


def kept_frames(present: int, kept: int) -> np.ndarray:
    """Return the frames in the middles of `kept` equal stretches: floor((j + 0.5) * present / kept) for each j, int64.

    Raises:
        DataError: there are not so many.
    """
    if kept > present:
        raise DataError(f"keep_frames is {kept}, but the videos have {present} frames.")
    frames: np.ndarray = (2 * np.arange(kept) + 1) * present // (2 * kept)
    return frames


def digest_of_choice(digest: str, frames: np.ndarray | None, rows: np.ndarray | None = None) -> str:
    """Return the digest of some frames of some videos of features with this digest; None stands for all."""
    for what, chosen in (("frames", frames), ("rows", rows)):
        if chosen is not None:
            digest = hashlib.sha256(f"{digest} {what} ".encode() + chosen.astype("<i8").tobytes()).hexdigest()
    return digest


def is_choice(value: object) -> bool:
    """Say whether a manifest's value has the form of a `Chosen`: a text, or a list of numbers from 0 up."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return bool(value) and all(type(number) is int and 0 <= number < 2**31 for number in value)
    return isinstance(value, str) and bool(value)


def _read(chosen: Chosen, count: int, find: Callable[[str], Path], where: str) -> np.ndarray:
    if not isinstance(chosen, str):
        return np.array(chosen, dtype=np.int64)
    if RANGE.fullmatch(chosen):
        return _range(chosen, count)
    path = find(chosen)
    array = np.squeeze(read_label_file(path, ROW_KEYS, None))
    array = array[None] if array.ndim == 0 else array
    if array.dtype == np.bool_ and array.shape == (count,):
        return np.flatnonzero(array)
    if array.ndim != 1 or array.dtype.kind not in "iuf" or not np.array_equal(array, np.floor(array)):
        raise DataError(
            f"{path}, the `rows` {where}, holds {array.dtype} of shape {array.shape}: give the numbers of rows, "
            f"counted from 0, or true or false for each of the {count} videos."
        )
    if array.dtype.kind != "i" and len(array) and not (-(2**53) < array.min() <= array.max() < 2**53):
        raise DataError(f"{path}, the `rows` {where}, holds numbers that are no rows: there are {count} videos.")
    return array.astype(np.int64)


def _range(text: str, count: int) -> np.ndarray:
    """Return the numbers of a range; where it goes beyond `count`, its last one does too."""
    found = RANGE.fullmatch(text)
    assert found
    first, end, step = (int(number) if number else None for number in found.groups())
    stop = count if end is None else end
    numbers = np.arange(first or 0, min(stop, count), step or 1, dtype=np.int64)
    return np.append(numbers, stop - 1) if stop > count else numbers


def _check(numbers: np.ndarray, count: int, what: str, things: str, where: str) -> None:
    """Raise DataError unless these are different numbers from 0 up to `count`, exclusive, and at least one."""
    if not len(numbers):
        raise DataError(f"The {what} {where} are none of the {count} {things}: choose at least one.")
    if outside := numbers[(numbers < 0) | (numbers >= count)].tolist():
        raise DataError(f"The {what} {where} name {outside[0]}, but there are {count} {things}, 0 to {count - 1}.")
    distinct, counts = np.unique(numbers, return_counts=True)
    if len(distinct) < len(numbers):
        raise DataError(f"The {what} {where} name {distinct[counts > 1][0]} more than once: name each once.")
