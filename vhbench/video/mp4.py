"""Video files from pictures."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np

from vhbench.errors import DataError, UsageError
from vhbench.system.files import atomic_write
from vhbench.video.extra import import_extra

# one thread, since more of them may cut pictures into other parts
CODECS = {
    "h264": ("libx264", {"preset": "veryfast", "crf": "23", "threads": "1"}),
    "av1": ("libsvtav1", {"preset": "8", "crf": "35", "svtav1-params": "lp=1"}),
}


def write_video(path: Path, pictures: np.ndarray, *, codec: str, rate: int, comment: str) -> None:
    """Write a grey video as an MP4 file: whole or, after an error or a kill, not at all.

    The same pictures give the same bytes where the encoder's version is the same.

    Args:
        path: the file; it is replaced.
        pictures: brightness, uint8 (frames, height, width); sides are even.
        codec: a key of CODECS.
        rate: frames a second.
        comment: kept in the file; `comment_of` reads it.

    Raises:
        UsageError: the packages of the extra `video` are not installed, or were built without this encoder.
        StoreError: the folder cannot be written or the disk is full.
    """
    av = import_extra("av")
    os.environ.setdefault("SVT_LOG", "1")  # the AV1 encoder prints errors only
    encoder, options = CODECS[codec]
    if encoder not in av.codecs_available:
        raise UsageError(f"This build of PyAV cannot write {codec} ({encoder} is not in it): install its own wheel.")
    content = io.BytesIO()
    with av.open(content, "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        container.metadata["comment"] = comment
        stream = container.add_stream(encoder, rate=rate, options=options)
        stream.codec_context.flags |= av.codec.context.Flags.bitexact
        stream.height, stream.width = pictures.shape[1:]
        stream.pix_fmt = "yuv420p"
        for picture in pictures:
            container.mux(stream.encode(_frame(av, picture)))
        container.mux(stream.encode(None))
    with atomic_write(path) as file:
        file.write(content.getvalue())


def comment_of(path: Path) -> str:
    """Return the comment in a video file; "" where there is none.

    Raises:
        UsageError: the packages of the extra `video` are not installed.
        DataError: it is no video file.
    """
    av = import_extra("av")
    try:
        with path.open("rb") as file, av.open(file) as container:
            return str(container.metadata.get("comment", ""))
    except (av.FFmpegError, OSError) as error:
        raise DataError(f"{path} is no video file that can be opened ({error}).") from error


def _frame(av: Any, picture: np.ndarray) -> Any:
    """Return a picture as a frame: brightness as it is, in the range of television, without colour."""
    frame = av.VideoFrame.from_ndarray(picture, format="gray")
    return frame.reformat(format="yuv420p")
