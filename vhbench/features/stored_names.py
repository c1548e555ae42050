"""The names of videos that stand in their feature file, as `vhbench extract` writes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vhbench.errors import DataError
from vhbench.features.headers import hdf5_reading, is_hdf5, open_hdf5

KEY = "names"


def stored_names(path: Path, videos: int) -> list[str] | None:
    """Return the names in the data set `names` of a feature file; None where it has none.

    Args:
        path: the file.
        videos: how many it holds.

    Raises:
        DataError: it cannot be opened, or `names` are no texts, not UTF-8 or not one a video.
    """
    if not is_hdf5(path):
        return None
    with open_hdf5(path) as file, hdf5_reading(path):
        stored = file.get(KEY)
        if stored is None:
            return None
        if getattr(stored, "shape", None) != (videos,):
            raise DataError(f"{path} holds {KEY!r} that are not one for each of its {videos} videos.")
        values = np.asarray(stored[()]).tolist()
    try:
        names = [value.decode() if isinstance(value, bytes) else value for value in values]
    except UnicodeDecodeError as error:
        raise DataError(f"{path} holds {KEY!r} that are not UTF-8: save them as UTF-8.") from error
    if not all(isinstance(name, str) for name in names):
        raise DataError(f"{path} holds {KEY!r} that are no texts.")
    return names
