"""The first reading of a feature file: every video checked and digested, a compressed file copied out of its chunks.

What is read grows in two files, the copy and the digests so far. A reading that was killed, or stopped by a full disk,
goes on behind the last video that is in both; the copy's videos are digested anew first, so that none that a crash tore
is ever used.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import os
import shutil
import time
from pathlib import Path
from typing import BinaryIO

import numpy as np

from vhbench.errors import DataError, StoreError
from vhbench.features.headers import Header, blocks
from vhbench.features.state import Meter
from vhbench.system.files import write_error

DIGEST_BYTES = 32
QUIET = 10.0  # seconds between lines on a long reading

log = logging.getLogger(__name__)


class Damaged(DataError):
    """The features themselves are at fault: there is nothing to go on with."""


def digest_videos(header: Header, digests_so_far: Path, copy_so_far: Path) -> np.ndarray:
    """Read a feature file from end to end.

    Args:
        header: the file.
        digests_so_far: grows by 32 bytes a video.
        copy_so_far: becomes a `.npy` file with the features; not touched where they can be read in place.

    Returns:
        uint8 (videos, 32): the sha256 of each video's bytes (C order, little-endian).

    Raises:
        DataError: the features cannot be read; Damaged where they hold NaN or infinity.
        StoreError: the cache folder cannot be written or has not enough room.
    """
    try:  # around the files' closing too, which writes what is left
        with contextlib.ExitStack() as stack:
            so_far = stack.enter_context(_open(digests_so_far))
            copy = stack.enter_context(_open(copy_so_far)) if header.offset is None else None
            _read_on(header, so_far, copy)
            if copy:
                os.fsync(copy.fileno())
            return _read_digests(so_far, header.shape[0])
    except OSError as error:
        raise write_error(digests_so_far.parent, error) from error


def _read_on(header: Header, so_far: BinaryIO, copy: BinaryIO | None) -> None:
    """Read what is not in the files yet, and append it."""
    video_bytes = header.nbytes // header.shape[0]
    start = _resume(header, so_far, copy, video_bytes)
    if copy:
        _check_room(Path(copy.name).parent, (header.shape[0] - start) * video_bytes)
    _say_start(header, start)
    meter, said = Meter(header.nbytes, start * video_bytes), time.monotonic()
    for block in blocks(header, start):
        _check_finite(block, start, header.path)
        if copy:
            copy.write(block.data)
            copy.flush()
        so_far.write(digest_rows(block).tobytes())
        so_far.flush()
        start += len(block)
        meter.add(block.nbytes)
        if time.monotonic() - said > QUIET:
            said = time.monotonic()
            log.info("    %s: %s", header.path.name, meter)


def _open(path: Path) -> BinaryIO:
    """Open a file to read and go on writing; made if need be."""
    path.touch()
    return path.open("r+b")


def _resume(header: Header, so_far: BinaryIO, copy: BinaryIO | None, video_bytes: int) -> int:
    """Return how many videos an interrupted reading left sound, and set both files to go on behind them."""
    digests = _read_digests(so_far, so_far.seek(0, io.SEEK_END) // DIGEST_BYTES)
    torn = ~digests.any(axis=1)  # zeros that a crash left behind: no digest is that
    sound = int(torn.argmax()) if torn.any() else len(digests)
    sound = min(sound, header.shape[0])
    if copy:
        layout = _npy_header(header)
        copy.seek(0)
        if copy.read(len(layout)) != layout:
            sound = 0
            copy.seek(0)
            copy.write(layout)
        sound = _sound_videos(copy, digests[:sound], video_bytes)
        copy.seek(len(layout) + sound * video_bytes)
        copy.truncate()
    so_far.seek(sound * DIGEST_BYTES)
    so_far.truncate()
    return sound


def _sound_videos(copy: BinaryIO, digests: np.ndarray, video_bytes: int) -> int:
    """Return how many videos from here on have the digests they should."""
    for row, digest in enumerate(digests):
        if hashlib.sha256(copy.read(video_bytes)).digest() != digest.tobytes():
            return row
    return len(digests)


def _read_digests(so_far: BinaryIO, count: int) -> np.ndarray:
    so_far.seek(0)
    content = so_far.read(count * DIGEST_BYTES)
    return np.frombuffer(content, dtype=np.uint8).reshape(count, DIGEST_BYTES)


def _npy_header(header: Header) -> bytes:
    buffer = io.BytesIO()
    layout = {"descr": header.dtype.newbyteorder("<").str, "fortran_order": False, "shape": header.shape}
    np.lib.format.write_array_header_1_0(buffer, layout)
    return buffer.getvalue()


def _check_room(folder: Path, needed: int) -> None:
    """Say before hours of copying that the disk will not do."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise StoreError(
            f"The disk is too full: an uncompressed copy takes {needed / 1e9:.3g} GB more in {folder}, which has "
            f"{free / 1e9:.3g} GB free. `vhbench data clear-cache` removes earlier copies."
        )


def _say_start(header: Header, start: int) -> None:
    what = "to check and uncompress it" if header.offset is None else "to check it"
    on = f", on from video {start}" if start else ""
    log.info("reading %s once (%.1f GB) %s%s", header.path, header.nbytes / 1e9, what, on)


def _check_finite(block: np.ndarray, start: int, path: Path) -> None:
    finite = usable(block)
    if finite.all():
        return
    row, frame, column = (int(i) for i in np.argwhere(~finite)[0])
    value = block[row, frame, column]
    what = f"{value:g}, which is beyond float32," if np.isfinite(value) else "NaN" if np.isnan(value) else "infinity"
    raise Damaged(
        f"{path} holds {what} in video {start + row}, frame {frame} (both counted from 0). "
        "Extract that video's features again or leave the video out."
    )


def digest_rows(array: np.ndarray) -> np.ndarray:
    """Return the sha256 of each row's bytes, uint8 (rows, 32); `array` is C-ordered and little-endian."""
    content = b"".join(hashlib.sha256(row).digest() for row in array)
    return np.frombuffer(content, dtype=np.uint8).reshape(len(array), DIGEST_BYTES)


def usable(features: np.ndarray) -> np.ndarray:
    """Say which features are finite, also in float32, in which methods compute; bool, of the same shape."""
    if features.dtype.itemsize > np.dtype(np.float32).itemsize:
        with np.errstate(over="ignore"):
            features = features.astype(np.float32)
    finite: np.ndarray = np.isfinite(features)
    return finite
