"""Made-up videos: frame features with classes, smooth in time, sparse and not negative, like VGG-16's after a ReLU.

A frame is a point of a space of 128 dimensions: its video's class prototype, the video's own offset, a drift that
follows an AR(1) process over the frames, and noise. One sparse random layer with a ReLU, the same for all data sets of
one seed and size as one network would be, turns it into features. About 76 % of the values are 0 and a frame's squared
norm is near its number of dimensions, as 4.1e3 for 4096 in the field (`reference/methods.md` 0).

Each video has a stream of its own in a counter-based generator (Philox), so any videos can be made alone and in any
order. Only whole numbers are drawn, from the generator's raw output, which numpy keeps the same for ever; all that the
layer multiplies and adds are multiples of 1/512 small enough for float32 to hold exactly. So a video is the same to the
bit whatever the block, the number of threads, the BLAS library, the machine and the version of numpy.
"""

from __future__ import annotations

import hashlib
import io
import os
import zlib
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vhbench.system.sink import Sink

LATENT = 128
SHARED = 32  # of them, those in which classes differ
TAPS = 24  # latent dimensions that one feature depends on
CLASS, OFFSET, DRIFT, NOISE = 290, 170, 50, 75  # weights of a frame's four terms, in 128ths
UNIT = 512  # features are multiples of 1 / UNIT
THRESHOLD, SPREAD = 950, 780  # mean and standard deviation of what a feature must exceed, in UNITs
BLOCK = 64  # videos made at a time
GZIP_LEVEL = 1  # higher ones take twice as long for files that are a sixth smaller
MAT_TEXT = b"MATLAB 5.0 MAT-file, made-up labels, written by vhbench data synth".ljust(116)
SECOND = 4  # where videos may have two labels, one in so many draws a second


@dataclass(frozen=True)
class Videos:
    """Some videos of a source.

    Attributes:
        stream: which ones, e.g. "train"; different streams are independent.
        rows: their numbers in the stream (int, from 0, any order).
    """

    stream: str
    rows: np.ndarray


class VideoMaker:
    """Everything about the videos of one made-up data set.

    Args:
        name: of the data set; data sets of other names have other classes.
        seed: another seed makes all of it anew.
        classes: number of classes; each has equally many videos in any run of `classes` consecutive rows that starts at
            a multiple of `classes`.
        frames: frames a video (m).
        dim: feature dimensions a frame (l).
        several: some videos have two labels.
    """

    def __init__(self, name: str, seed: int, *, classes: int, frames: int, dim: int, several: bool = False):
        self.classes, self.frames, self.dim, self._several = classes, frames, dim, several
        self._name = f"{seed}/{name}"
        self._layer = _layer(seed, dim)
        prototypes = np.zeros((classes, LATENT), dtype=np.int32)
        prototypes[:, :SHARED] = _bytes(f"{self._name}/classes", 0, classes * SHARED).reshape(classes, SHARED)
        self._prototypes = CLASS * prototypes

    def labels(self, videos: Videos) -> np.ndarray:
        """Return the labels of videos: uint8 (videos, classes), one or two ones a row."""
        hot = np.zeros((len(videos.rows), self.classes), dtype=np.uint8)
        np.put_along_axis(hot, self._classes_of(videos), 1, axis=1)
        return hot

    def features(self, videos: Videos) -> np.ndarray:
        """Return the features of videos: float32 (videos, frames, dim), not negative."""
        m, rows = self.frames, videos.rows
        draws = np.empty((len(rows), 2 * m + 1, LATENT), dtype=np.int8)
        for draw, row in zip(draws, rows, strict=True):
            draw[:] = _bytes(f"{self._name}/{videos.stream}", int(row), draw.size).reshape(draw.shape)
        terms = draws[:, :m].astype(np.int32)
        terms[:, 0] *= 2  # the drift's first value is spread like the later ones
        for t in range(1, m):
            terms[:, t] += (7 * terms[:, t - 1]) >> 3
        terms *= DRIFT
        terms += NOISE * draws[:, m : 2 * m].astype(np.int32)
        terms += (self._centres(videos) + OFFSET * draws[:, 2 * m].astype(np.int32))[:, None]
        inputs = np.ones((len(rows), m, LATENT + 1), dtype=np.float32)  # the last one meets the thresholds
        inputs[..., :LATENT] = terms >> 7
        outputs: np.ndarray = inputs.reshape(-1, LATENT + 1) @ self._layer
        np.maximum(outputs, 0, out=outputs)
        return outputs.reshape(len(rows), m, self.dim)

    def _centres(self, videos: Videos) -> np.ndarray:
        """Return each video's prototype, int32 (videos, LATENT); of two labels the sum, as far from 0 as of one."""
        first, second = self._classes_of(videos).T
        scale = np.where(first == second, 256, 362)[:, None]  # 362 / 256 = sqrt(2)
        centres: np.ndarray = (self._prototypes[first] + self._prototypes[second]) // 2 * scale >> 8
        return centres

    def _classes_of(self, videos: Videos) -> np.ndarray:
        """Return each video's first and second class, int64 (videos, 2); equal where it has one label."""
        found = np.empty((len(videos.rows), 2), dtype=np.int64)
        rounds, places = np.divmod(videos.rows, self.classes)
        for number in np.unique(rounds):
            words = _words(f"{self._name}/{videos.stream}/labels", int(number), 2 * self.classes)
            order = np.argsort(words[: self.classes], kind="stable")
            mine = rounds == number
            found[mine, 0] = order[places[mine]]
            second = (words[self.classes :] >> np.uint64(32)).astype(np.int64)[places[mine]]
            has_second = self._several & (second % SECOND == 0)
            found[mine, 1] = np.where(has_second, second // SECOND % self.classes, found[mine, 0])
        return found


def choose(name: str, seed: int, count: int, total: int) -> np.ndarray:
    """Return `count` different whole numbers below `total` in random order, int64, that depend on nothing else.

    Args:
        name: what for; different names choose independently.
        seed: as for `VideoMaker`.
        count: how many.
        total: of how many.
    """
    return np.argsort(_words(f"{seed}/{name}/choice", 0, total), kind="stable")[:count]


def write_labels(path: Path, key: str, source: VideoMaker, videos: Videos) -> None:
    """Write a MATLAB 5 file of uint8 (videos, classes) zeros and ones: the same bytes whenever and wherever.

    Raises:
        OSError: the disk is full or the file cannot be written.
    """
    import scipy.io

    buffer = io.BytesIO()
    scipy.io.savemat(buffer, {key: source.labels(videos)}, do_compression=False)
    buffer.getbuffer()[: len(MAT_TEXT)] = MAT_TEXT  # over the time and the platform
    with path.open("wb") as file:
        file.write(buffer.getbuffer())
        file.flush()
        os.fsync(file.fileno())


def write_features(path: Path, key: str, source: VideoMaker, videos: Videos, gzip: bool) -> Generator[int, None, None]:
    """Write an HDF5 file of float32 (videos, frames, dim), a block at a time; yield the bytes of each block.

    It may be closed after any block, but no signal may break it off between two: HDF5 would crash.

    Args:
        path: the file; it is whole, and on the disk, when the last block has been taken.
        key: name of the data set.
        source: where the videos come from.
        videos: which.
        gzip: chunks of one video, compressed, instead of contiguous.

    Raises:
        OSError: the disk is full or the file cannot be written.
    """
    import h5py

    shape = (len(videos.rows), source.frames, source.dim)
    how: dict[str, Any] = {"chunks": (1, *shape[1:]), "compression": "gzip", "compression_opts": GZIP_LEVEL}
    with Sink(path, "w+b") as sink:
        with h5py.File(sink, "w") as file:
            data = file.create_dataset(key, shape, "<f4", **(how if gzip else {}))
            for start in range(0, len(videos.rows), BLOCK):
                block = source.features(Videos(videos.stream, videos.rows[start : start + BLOCK]))
                data[start : start + len(block)] = block
                sink.check()
                yield block.nbytes
        sink.check()
        os.fsync(sink.fileno())


def gzip_ratio(source: VideoMaker) -> float:
    """Return about how much of its size compression leaves of a file; rather more than less."""
    features = source.features(Videos("train", np.arange(4)))
    return 1.05 * len(zlib.compress(features.tobytes(), GZIP_LEVEL)) / features.nbytes


def _layer(seed: int, dim: int) -> np.ndarray:
    """Return the weights, float32 (LATENT + 1, dim): TAPS of -2, -1, 1 and 2 UNITs a column, thresholds last."""
    name = f"{seed}/{dim}/layer"
    order = np.argsort(_words(name, 0, dim * LATENT).reshape(dim, LATENT), axis=1, kind="stable")
    values = np.array([-2, -1, 1, 2])[_bytes(name, 1, dim * TAPS).reshape(dim, TAPS) & 3]
    weights = np.zeros((dim, LATENT + 1), dtype=np.int64)
    np.put_along_axis(weights, order[:, :TAPS], values, axis=1)
    bells = _bytes(name, 2, 4 * dim).reshape(4, dim).sum(axis=0, dtype=np.int64)  # deviation 148
    # odd: a threshold of 0 could leave -0.0, which libraries rectify differently
    weights[:, LATENT] = -(THRESHOLD + SPREAD * bells // 148) | 1
    return np.ascontiguousarray(weights.T / UNIT, dtype=np.float32)


def _bytes(name: str, number: int, count: int) -> np.ndarray:
    """Return bytes of a stream's sub-stream `number`, int8 (count,), all 256 values equally likely."""
    return _words(name, number, -(-count // 8)).astype("<u8", copy=False).view(np.int8)[:count]


def _words(name: str, number: int, count: int) -> np.ndarray:
    """Return random words of a stream's sub-stream `number`, uint64 (count,); sub-streams lie 2**66 words apart."""
    key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:16], "little")
    words: np.ndarray = np.random.Philox(key=key, counter=number << 64).random_raw(count)
    return words
