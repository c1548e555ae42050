"""Write small real feature, label and manifest files, as the field's are, for tests of what reads them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

MATLAB_CLASSES = {"f8": "double", "f4": "single", "u1": "uint8", "i8": "int64", "b1": "logical"}


def write_hdf5(
    path: Path, features: np.ndarray, key: str = "feats", compression: str | None = None, chunks: Any = None
) -> Path:
    """Write an HDF5 file with one data set: contiguous unless `compression` ("gzip") or `chunks` is given."""
    import h5py

    with h5py.File(path, "w") as file:
        file.create_dataset(key, data=features, compression=compression, chunks=chunks)
    return path


def write_npy(path: Path, array: np.ndarray) -> Path:
    """Write a `.npy` file of features or labels."""
    np.save(path, array, allow_pickle=False)
    return path


def write_mat(path: Path, labels: np.ndarray, key: str = "labels") -> Path:
    """Write a compressed MATLAB 5 file with one variable."""
    import scipy.io

    scipy.io.savemat(path, {key: labels}, do_compression=True)
    return path


def write_mat73(path: Path, labels: np.ndarray, key: str = "labels") -> Path:
    """Write a MATLAB 7.3 file with one variable: HDF5 behind a 512-byte header, matrices transposed."""
    import h5py

    matrix = labels.reshape(len(labels), -1)
    with h5py.File(path, "w", userblock_size=512) as file:
        data = file.create_dataset(key, data=matrix.T)
        data.attrs["MATLAB_class"] = np.bytes_(MATLAB_CLASSES[labels.dtype.str[1:]])
    header = b"MATLAB 7.3 MAT-file, Platform: GLNXA64, HDF5 schema 1.00 .".ljust(124) + b"\x00\x02IM"
    with path.open("r+b") as raw:
        raw.write(header)
    return path


def write_manifest(path: Path, **entries: Any) -> Path:
    """Write a TOML manifest; an entry whose value is a mapping becomes a table.

    Args:
        path: the file.
        **entries: texts, numbers, booleans, lists of these, or mappings of names to these.
    """
    tables = {name: value for name, value in entries.items() if isinstance(value, Mapping)}
    lines = [f"{name} = {json.dumps(value)}" for name, value in entries.items() if name not in tables]
    for table, values in tables.items():
        lines += ["", f"[{table}]", *(f"{name} = {json.dumps(value)}" for name, value in values.items())]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def write_data_set(
    folder: Path,
    *,
    name: str = "tiny",
    videos: int = 40,
    queries: int = 12,
    frames: int = 5,
    dim: int = 8,
    classes: int = 4,
) -> Path:
    """Write a whole small data set and return its manifest: one-hot labels; the training set is also the database.

    Videos of one class lie around a common centre, so that a method that works finds them. The same arguments always
    give the same files.

    Args:
        folder: where the files go; it is made if need be.
        name: of the protocol.
        videos: in the training set and database.
        queries: queries.
        frames: frames a video.
        dim: feature dimensions a frame (float32).
        classes: each has `videos / classes` videos, as nearly as can be.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    centres = 3 * rng.standard_normal((classes, 1, dim))
    for part, count in (("train", videos), ("test", queries)):
        classes_of = np.arange(count) % classes
        features = centres[classes_of] + rng.standard_normal((count, frames, dim))
        write_hdf5(folder / f"{name}_{part}_feats.h5", features.astype(np.float32))
        write_mat(folder / f"{name}_{part}_labels.mat", np.eye(classes, dtype=np.uint8)[classes_of])
    train: dict[str, Any] = {"features": [f"{name}_train_feats.h5"], "count": videos}
    test: dict[str, Any] = {"features": [f"{name}_test_feats.h5"], "count": queries}
    return write_manifest(
        folder / f"{name}.toml",
        name=name,
        train=train,
        database={**train, "labels": [f"{name}_train_labels.mat"]},
        query={**test, "labels": [f"{name}_test_labels.mat"]},
    )
