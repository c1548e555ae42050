"""The feature file: written beside its final name, which it takes when it is whole.

The features lie contiguous and uncompressed, so that vhbench reads them in place. HDF5 writes all but them: they follow
as plain bytes at the place that it reserves, since it cannot be stopped, or told of a full disk, in between.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vhbench.errors import DataError, StoreError
from vhbench.features.headers import hdf5_reading, is_hdf5, open_hdf5
from vhbench.features.stamp import ATTRIBUTE, Stamp, read_stamp
from vhbench.system.files import atomic_write
from vhbench.system.sink import Sink

FEATURES, DIGEST, VIDEOS, SHARD = "feats", "digest", "videos", "shard"
ROOM = 1 << 20  # bytes beside the features that must be free


@dataclass(frozen=True)
class Content:
    """What a feature file holds.

    Attributes:
        shape: of the features, (n, m, d).
        dtype: "float16" or "float32".
        names: n names, in order.
        distinct: int32 (n,).
        classes: their names; none where videos have no class.
        stamp: how the features were computed.
        videos: digest of the list of videos that was extracted from, those that gave nothing too.
        shard: "3/16"; empty where it is the whole.
        blocks: gives the features in order, (k, m, d) each; called twice.
    """

    shape: tuple[int, int, int]
    dtype: str
    names: list[str]
    distinct: np.ndarray
    classes: list[str]
    stamp: Stamp
    videos: str
    shard: str
    blocks: Callable[[], Iterable[np.ndarray]]

    @property
    def labels(self) -> np.ndarray:
        """Class numbers, int64 (n,): the place of the first folder of each name among the classes."""
        numbers = {name: number for number, name in enumerate(self.classes)}
        return np.array([numbers[name.partition("/")[0]] for name in self.names], dtype=np.int64)

    def digest(self) -> str:
        """Return the hexadecimal sha256 of the features' bytes and of all else but library versions."""
        found = hashlib.sha256()
        for block in self.blocks():
            found.update(_bytes(block))
        stamp = {name: value for name, value in self.stamp.to_json().items() if name != "versions"}
        rest = [list(self.shape), self.dtype, self.names, self.distinct.tolist(), self.classes, stamp]
        found.update(json.dumps([*rest, self.videos, self.shard], sort_keys=True).encode())
        return found.hexdigest()


def write_features(path: Path, content: Content) -> None:
    """Write a feature file.

    Raises:
        StoreError: the folder cannot be written, or there is no room.
    """
    with atomic_write(path) as file:
        _check_room(path, content)
        file.seek(_write_frame(file.fileno(), content))
        for block in content.blocks():
            file.write(_bytes(block))


def read_content(path: Path) -> Content:
    """Read what a feature file of an extraction holds; its features are read when they are asked for.

    Raises:
        DataError: it is none, or is damaged.
    """
    stamp = read_stamp(path) if is_hdf5(path) else None
    if stamp is None:
        raise DataError(f"{path} was not written by vhbench extract.")
    with open_hdf5(path) as file, hdf5_reading(path):
        attributes = file.attrs
        if FEATURES not in file or "names" not in file or "distinct" not in file or VIDEOS not in attributes:
            raise DataError(f"{path} is not whole: extract its features again.")
        data = file[FEATURES]
        return Content(
            shape=tuple(data.shape), dtype=data.dtype.name, names=[bytes(name).decode() for name in file["names"][()]],
            distinct=file["distinct"][()], stamp=stamp, videos=str(attributes[VIDEOS]),
            classes=[bytes(name).decode() for name in file["classes"][()]] if "classes" in file else [],
            shard=str(attributes.get(SHARD, "")), blocks=lambda: _blocks(path),
        )  # fmt: skip


def _blocks(path: Path) -> Iterator[np.ndarray]:
    with open_hdf5(path) as file, hdf5_reading(path):
        data = file[FEATURES]
        for start in range(0, len(data), 64):
            yield data[start : start + 64]


def _write_frame(descriptor: int, content: Content) -> int:
    """Write all but the features; return the byte at which they belong."""
    import h5py

    with Sink(descriptor, "r+b", closefd=False) as sink:
        with h5py.File(sink, "w") as file:
            layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            layout.set_layout(h5py.h5d.CONTIGUOUS)
            layout.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
            layout.set_obj_track_times(False)
            layout.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
            space = h5py.h5s.create_simple(content.shape)
            kind = h5py.h5t.py_create(np.dtype(content.dtype).newbyteorder("<"))
            data = h5py.h5d.create(file.id, FEATURES.encode(), kind, space, layout)
            texts = h5py.string_dtype("utf-8")
            file.create_dataset("names", data=np.array(content.names, dtype=object), dtype=texts)
            file["distinct"] = content.distinct.astype("<i4")
            if content.classes:
                file["labels"] = content.labels.astype("<i8")
                file.create_dataset("classes", data=np.array(content.classes, dtype=object), dtype=texts)
            file.attrs[ATTRIBUTE] = json.dumps(content.stamp.to_json())
            file.attrs[DIGEST] = content.digest()
            file.attrs[VIDEOS] = content.videos
            if content.shard:
                file.attrs[SHARD] = content.shard
            offset = data.get_offset() if content.shape[0] else 0
        sink.check()
    return int(offset or 0)


def _check_room(path: Path, content: Content) -> None:
    size = int(np.prod(content.shape, dtype=np.int64)) * np.dtype(content.dtype).itemsize + ROOM
    free = shutil.disk_usage(path.parent).free
    if size > free:
        raise StoreError(
            f"{path} needs {size / 1e9:.2f} GB and there is room for {free / 1e9:.2f} GB: free space and run the same "
            "command again."
        )


def _bytes(block: np.ndarray) -> Any:
    return np.ascontiguousarray(block, dtype=block.dtype.newbyteorder("<")).data.cast("B") if block.size else b""
