"""Parts of an unfinished extraction: a folder beside the output, a file a part, each there as a whole or not at all."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vhbench.errors import DataError
from vhbench.system.files import atomic_write, read_json, write_error, write_json

PLAN = "plan.json"
LONGEST = 32  # videos of a part
PARTS = 64  # that there are about, where there are as many videos
READ_ERRORS = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)


@dataclass(frozen=True)
class Part:
    """What became of some consecutive videos.

    Attributes:
        features: float16 or float32 (k, m, d), of those that gave any, in order.
        distinct: int32 (k,), their different frames.
        rows: int64 (k,), their numbers among all videos of the extraction.
        reasons: number -> why it gave none.
    """

    features: np.ndarray
    distinct: np.ndarray
    rows: np.ndarray
    reasons: dict[int, str]


def part_ranges(videos: int) -> list[range]:
    """Return the videos of each part; they depend on nothing but their number, so that any jobs may finish them."""
    length = min(LONGEST, max(1, videos // PARTS))
    return [range(start, min(start + length, videos)) for start in range(0, videos, length)]


class PartsFolder:
    """The parts of one extraction.

    Args:
        path: the folder.
    """

    def __init__(self, path: Path):
        self.path = path

    def begin(self, plan: dict[str, Any]) -> None:
        """Write down what is extracted, or make sure that what is there belongs to it.

        Args:
            plan: JSON values; everything that the parts depend on.

        Raises:
            DataError: the folder holds parts of something else.
            StoreError: it cannot be written.
        """
        path = self.path / PLAN
        if not path.exists():
            write_json(path, plan, within=self.path)
            return
        try:
            there = read_json(path)
        except (OSError, ValueError):
            there = None
        there = there if isinstance(there, dict) else {}
        if there != plan:
            others = [key for key in plan if there.get(key) != plan[key]]
            raise DataError(
                f"{self.path} holds an unfinished extraction that differs in: {', '.join(others) or 'its plan'}. "
                "Finish it as it was begun, choose another --output, or remove that folder."
            )

    def write(self, number: int, part: Part) -> None:
        """Keep a part.

        Raises:
            StoreError: it cannot be written.
        """
        reasons = np.frombuffer(json.dumps(part.reasons).encode(), dtype=np.uint8)
        with atomic_write(self._part(number), within=self.path) as file:
            np.savez(file, features=part.features, distinct=part.distinct, rows=part.rows, reasons=reasons)

    def read(self, number: int, shape: tuple[int, int], dtype: str) -> Part | None:
        """Return a part; None where it is not there, or is damaged.

        Args:
            number: of the part.
            shape: of a video's features.
            dtype: of the features.
        """
        try:
            with np.load(self._part(number), allow_pickle=False) as arrays:
                features, distinct, rows = (arrays[name] for name in ("features", "distinct", "rows"))
                reasons = json.loads(arrays["reasons"].tobytes())
        except READ_ERRORS:
            return None
        if features.dtype != dtype or features.shape != (len(rows), *shape) or distinct.shape != rows.shape:
            return None
        return Part(features, distinct, rows, {int(key): str(value) for key, value in reasons.items()})

    def missing(self, ranges: Sequence[range], shape: tuple[int, int], dtype: str) -> list[int]:
        """Return the numbers of the parts that are still to be made."""
        return [
            number
            for number, videos in enumerate(ranges)
            if (part := self.read(number, shape, dtype)) is None
            or sorted([*part.rows.tolist(), *part.reasons]) != list(videos)
        ]

    def all(self, count: int, shape: tuple[int, int], dtype: str) -> Iterator[Part]:
        """Yield the parts in order.

        Raises:
            DataError: one has gone.
        """
        for number in range(count):
            part = self.read(number, shape, dtype)
            if part is None:
                raise DataError(f"{self._part(number)} has gone or is damaged: run the same command again.")
            yield part

    def remove(self) -> None:
        """Remove the folder's content."""
        try:
            for path in self.path.glob("part-*.npz"):
                path.unlink()
            (self.path / PLAN).unlink(missing_ok=True)
        except OSError as error:
            raise write_error(self.path, error) from error

    def _part(self, number: int) -> Path:
        return self.path / f"part-{number:06}.npz"


def free_bytes(folder: Path) -> int:
    """Return how much room there is in a folder, or in the nearest one above that is there."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free
