"""Where the demo's videos are kept once they are made: a file in the cache, known by its digest."""

from __future__ import annotations

import hashlib
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from vhbench.errors import VhbenchError
from vhbench.system.files import atomic_write, cache_folder


def load_or_make(name: str, expected: str, make: Callable[[], np.ndarray]) -> np.ndarray:
    """Return a set's stored bytes, from the cache where it holds them undamaged; else make and keep them.

    Args:
        name: of the cache file, without its ending.
        expected: the digest of the published ones; warns where these differ.
        make: returns them, uint8.
    """
    path = cache_folder() / f"{name}.npz"
    stored = _read(path)
    if stored is None:
        stored = make()
        _keep(path, stored)
    if digest(stored) != expected:
        warnings.warn(
            f"The {name} videos made on this machine differ from the published ones (another JPEG decoder or "
            "scikit-learn?): do not compare numbers on them with those of other machines.",
            stacklevel=3,
        )
    return stored


def digest(stored: np.ndarray) -> str:
    """Return the hexadecimal sha256 of stored bytes."""
    return hashlib.sha256(np.ascontiguousarray(stored).data).hexdigest()


def _read(path: Path) -> np.ndarray | None:
    """Return the features in a cache file, or None where it is missing or damaged."""
    try:
        with np.load(path, allow_pickle=False) as file:
            features: np.ndarray = file["features"]
            return features if digest(features) == str(file["sha256"]) else None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def _keep(path: Path, features: np.ndarray) -> None:
    """Write a cache file; where that is impossible the videos are made again next time."""
    try:
        with atomic_write(path) as file:
            np.savez(file, features=features, sha256=np.asarray(digest(features)))
    except VhbenchError as error:
        warnings.warn(f"The demo videos cannot be kept: {error} $VHBENCH_CACHE names the folder.", stacklevel=4)
