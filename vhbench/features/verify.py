"""Looking a feature file through from end to end, in bounded memory: what is broken in it, and what is odd."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from vhbench.features.cache import entry_of, load_digests, sound_copy
from vhbench.features.headers import Header, blocks

Told = Callable[[int], None]  # is told how many more bytes have been read


@dataclass(frozen=True)
class Findings:
    """What one feature file holds.

    Attributes:
        header: the file.
        digests: uint8 (videos, 32), the sha256 of each video's bytes (C order, little-endian).
        not_finite: int64, videos with NaN or infinity.
        zero: int64, videos that are zero throughout.
        lowest: (dim,), the least value of each dimension over all videos and frames; NaN is passed over.
        highest: (dim,), the greatest.
        faults: sentences on the file's cached digests and copy, where they differ from the file.
    """

    header: Header
    digests: np.ndarray
    not_finite: np.ndarray
    zero: np.ndarray
    lowest: np.ndarray
    highest: np.ndarray
    faults: tuple[str, ...]


def look_through(header: Header, told: Told = lambda count: None) -> Findings:
    """Read a feature file, and its copy in the cache if there is one, and report what they hold.

    Raises:
        DataError: a part of it cannot be read.
    """
    digests = np.empty((header.shape[0], 32), dtype=np.uint8)
    not_finite, zero = (np.zeros(header.shape[0], dtype=bool) for _ in range(2))
    lowest = np.full(header.shape[2], np.inf)
    highest = np.full(header.shape[2], -np.inf)
    start = 0
    for block in blocks(header):
        rows = slice(start, start + len(block))
        not_finite[rows] = ~np.isfinite(block).all(axis=(1, 2))
        zero[rows] = ~block.any(axis=(1, 2))
        frames = block.reshape(-1, header.shape[2])
        lowest = np.fmin(lowest, np.fmin.reduce(frames))
        highest = np.fmax(highest, np.fmax.reduce(frames))
        digests[rows] = _digests(block)
        start += len(block)
        told(block.nbytes)
    faults = _compare_with_cache(header, digests, told)
    return Findings(header, digests, np.flatnonzero(not_finite), np.flatnonzero(zero), lowest, highest, faults)


def bytes_to_read(header: Header) -> int:
    """Return how many bytes `look_through` reads."""
    return header.nbytes * (1 if sound_copy(header, entry_of(header)) is None else 2)


def repeats(digests: np.ndarray) -> int:
    """Return how many videos have the features of an earlier one; digests: uint8 (videos, 32)."""
    return len(digests) - len(_distinct(digests))


def shared(digests: np.ndarray, others: np.ndarray) -> int:
    """Return how many videos have the features of one of the others; both uint8 (videos, 32)."""
    return int(np.isin(_as_items(digests), _distinct(others)).sum())


def constant_dimensions(findings: Sequence[Findings]) -> int:
    """Return how many dimensions have one value throughout all the files."""
    lowest = np.min([found.lowest for found in findings], axis=0)
    highest = np.max([found.highest for found in findings], axis=0)
    return int((lowest == highest).sum())


def _compare_with_cache(header: Header, digests: np.ndarray, told: Told) -> tuple[str, ...]:
    entry = entry_of(header)
    faults = []
    known = load_digests(header, entry)
    if known is not None and not np.array_equal(known, digests):
        faults.append(
            f"{header.path} is not what it was when it was first read, though its size and time are the same: "
            "one of the two readings was wrong. Compare it with its source, then run `vhbench data clear-cache`"
        )
    if copy := sound_copy(header, entry):
        start = 0
        for block in blocks(copy):
            if not np.array_equal(_digests(block), digests[start : start + len(block)]):
                faults.append(f"the copy {copy.path} differs from {header.path}: run `vhbench data clear-cache`")
                break
            start += len(block)
            told(block.nbytes)
    return tuple(faults)


def _digests(block: np.ndarray) -> np.ndarray:
    content = b"".join(hashlib.sha256(video).digest() for video in block)
    return np.frombuffer(content, dtype=np.uint8).reshape(len(block), 32)


def _as_items(digests: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(digests).view("S32").ravel()


def _distinct(digests: np.ndarray) -> np.ndarray:
    return np.unique(_as_items(digests))
