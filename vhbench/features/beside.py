"""Feature files side by side: of the same videos and frames, the dimensions of one behind those of the other."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import reduce

import numpy as np

from vhbench.errors import DataError
from vhbench.features.frames import Features, content_digest
from vhbench.features.headers import Header


class SideBySide:
    """Several features of the same videos as one, e.g. sound beside pictures; satisfies `vhbench.videos.Frames`.

    Args:
        parts: the features, equal in videos and frames; see `check_beside`.

    Attributes:
        shape: (videos, frames, sum of the dimensions).
        dtype: the smallest one that holds the numbers of all parts.
        row_digests: uint8 (videos, 32), see `digests_beside`.
        digest: hexadecimal sha256 of dtype, shape and `row_digests`.
        zero_rows: int64, the videos that are zero throughout in all parts.
    """

    def __init__(self, parts: Sequence[Features]):
        self._parts = tuple(parts)
        first = parts[0]
        self.shape = (first.shape[0], first.shape[1], sum(part.shape[2] for part in parts))
        self.dtype = np.result_type(*(part.dtype for part in parts))
        self.row_digests = digests_beside([part.row_digests for part in parts])
        self.digest = content_digest(self.dtype, self.shape, self.row_digests)
        self.zero_rows = reduce(np.intersect1d, (part.zero_rows for part in parts))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """Return the rows' features as a new array (len(rows), frames, dim); otherwise as `Features.read`."""
        out = np.empty((len(rows), *self.shape[1:]), dtype=self.dtype)
        start = 0
        for part in self._parts:
            out[:, :, start : start + part.shape[2]] = part[rows]
            start += part.shape[2]
        return out

    def check_unchanged(self) -> None:
        """Raise DataError where a file is not what it was when it was opened."""
        for part in self._parts:
            part.check_unchanged()


def digests_beside(digests: Sequence[np.ndarray]) -> np.ndarray:
    """Return a digest of each video of features side by side: the sha256 of its digests in the parts, in their order.

    Args:
        digests: uint8 (videos, 32) of each part.

    Returns:
        uint8 (videos, 32).
    """
    joined = np.concatenate(digests, axis=1)
    found = [np.frombuffer(hashlib.sha256(row.tobytes()).digest(), np.uint8) for row in joined]
    return np.stack(found)


def check_beside(features: Sequence[Header], beside: Sequence[Header]) -> None:
    """Raise DataError, naming the files, unless `beside` has as many videos and frames as `features`."""
    counts = [sum(header.shape[0] for header in headers) for headers in (features, beside)]
    frames = [headers[0].shape[1] for headers in (features, beside)]
    names = [" and ".join(str(header.path) for header in headers) for headers in (features, beside)]
    for what, (ours, theirs) in (("videos", counts), ("frames", frames)):
        if ours != theirs:
            raise DataError(
                f"{names[1]} cannot lie beside {names[0]}: {theirs} {what} and {ours}; the same videos in the same "
                "order, with as many frames, are needed."
            )
