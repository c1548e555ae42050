"""Looking a feature file through from end to end, in bounded memory: what is broken in it, and what is odd."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from vhbench.features.cache import digests_before, entry_of, other_content, sound_copy
from vhbench.features.headers import Header, blocks
from vhbench.features.reading import digest_rows, usable

SKETCH = 8  # projections of a video's mean frame, and as many of its frames weighed by their place
ROUNDING = 2**-9  # relative difference of sketches up to which videos are equal but for rounding, to float16 at least

Told = Callable[[int], None]  # is told how many more bytes have been read


@dataclass(frozen=True)
class Findings:
    """What one feature file holds.

    Attributes:
        header: the file.
        digests: uint8 (videos, 32), the sha256 of each video's bytes (C order, little-endian).
        not_finite: int64, videos with NaN or infinity, also in float32.
        zero: int64, videos that are zero throughout.
        lowest: (dim,), the least value of each dimension over all videos and frames; NaN is passed over.
        highest: (dim,), the greatest.
        sketches: float64 (videos, 2 SKETCH), projections of each video; rounding changes them by less than ROUNDING.
        faults: sentences on the file's cached digests and copy, where they differ from the file.
    """

    header: Header
    digests: np.ndarray
    not_finite: np.ndarray
    zero: np.ndarray
    lowest: np.ndarray
    highest: np.ndarray
    sketches: np.ndarray
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
    sketches = np.zeros((header.shape[0], 2 * SKETCH))
    start = 0
    for block in blocks(header):
        rows = slice(start, start + len(block))
        not_finite[rows] = ~usable(block).all(axis=(1, 2))
        zero[rows] = ~block.any(axis=(1, 2))
        frames = block.reshape(-1, header.shape[2])
        lowest = np.fmin(lowest, np.fmin.reduce(frames))
        highest = np.fmax(highest, np.fmax.reduce(frames))
        digests[rows] = digest_rows(block)
        sketches[rows] = _sketch(block)
        start += len(block)
        told(block.nbytes)
    faults = _compare_with_cache(header, digests, told)
    bad, empty = np.flatnonzero(not_finite), np.flatnonzero(zero)
    return Findings(header, digests, bad, empty, lowest, highest, sketches, faults)


def bytes_to_read(header: Header) -> int:
    """Return how many bytes `look_through` reads."""
    return header.nbytes * (1 if sound_copy(header, entry_of(header)) is None else 2)


def repeats(digests: np.ndarray) -> int:
    """Return how many videos have the features of an earlier one; digests: uint8 (videos, 32)."""
    return len(digests) - len(_distinct(digests))


def shared(digests: np.ndarray, others: np.ndarray) -> int:
    """Return how many videos have the features of one of the others; both uint8 (videos, 32)."""
    return int(np.isin(_as_items(digests), _distinct(others)).sum())


def rounded_equals(sketches: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Say which videos equal one of the others but for rounding, bool (videos,); videos of zeros equal none.

    Args:
        sketches: as in `Findings`.
        others: of the other videos.
    """
    from scipy.spatial import cKDTree

    sizes = np.linalg.norm(sketches, axis=1)
    usable = np.isfinite(sizes) & (sizes > 0)
    tree = cKDTree(others[np.isfinite(others).all(axis=1)])
    bounds = ROUNDING * sizes[usable]
    near = np.zeros(len(sketches), dtype=bool)
    if len(bounds) and tree.n:
        distances, _ = tree.query(sketches[usable], distance_upper_bound=bounds.max() + np.finfo(float).tiny)
        near[usable] = distances <= bounds
    return near


def constant_dimensions(findings: Sequence[Findings]) -> int:
    """Return how many dimensions have one value throughout all the files."""
    lowest = np.min([found.lowest for found in findings], axis=0)
    highest = np.max([found.highest for found in findings], axis=0)
    return int((lowest == highest).sum())


def _sketch(block: np.ndarray) -> np.ndarray:
    """Return what two videos share that differ by rounding alone, float64 (videos, 2 SKETCH)."""
    frames, dim = block.shape[1:]
    weights = np.stack([np.ones(frames), np.arange(frames) - (frames - 1) / 2]) / frames
    signs = np.random.default_rng(0).choice((-1.0, 1.0), (dim, SKETCH)) / np.sqrt(dim)
    with np.errstate(all="ignore"):  # videos that are not finite are reported elsewhere
        sketch: np.ndarray = (weights @ block.astype(np.float64)) @ signs
    return sketch.reshape(len(block), -1)


def _compare_with_cache(header: Header, digests: np.ndarray, told: Told) -> tuple[str, ...]:
    entry = entry_of(header)
    faults = []
    known = digests_before(header)
    if known is not None and not np.array_equal(known, digests):
        faults.append(
            f"{other_content(header)}: one of the two readings was wrong, or it was written anew with its old date. "
            "Compare it with its source, then run `vhbench data clear-cache`"
        )
    if copy := sound_copy(header, entry):
        start = 0
        for block in blocks(copy):
            if not np.array_equal(digest_rows(block), digests[start : start + len(block)]):
                faults.append(f"the copy {copy.path} differs from {header.path}: run `vhbench data clear-cache`")
                break
            start += len(block)
            told(block.nbytes)
    return tuple(faults)


def _as_items(digests: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(digests).view("S32").ravel()


def _distinct(digests: np.ndarray) -> np.ndarray:
    return np.unique(_as_items(digests))
