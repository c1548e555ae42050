"""Frames at the centres of equal parts of what a video shows.

What a header says of the number of frames is not believed. All packets are read once, which costs little, and their
times give the number of frames that should be shown; packets that an edit list hides do not count. Then either all
packets are decoded, or whole groups of pictures that hold no frame to choose are left out. The first gives the true
number, and is done again where it differs from the one assumed; the second is taken where it spares at least half of
the packets, and is dropped for the first as soon as a decoded frame is not the one that the packets announced.
A packet that cannot be decoded costs itself.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from vhbench.system.files import open_regular
from vhbench.video.extra import import_extra
from vhbench.video.failures import VideoError, reason_of
from vhbench.video.pictures import fitted, same_size, upright

T = TypeVar("T")

# demuxers that read other files or addresses, as playlists do, or that take any text for a video are not among them
FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,m4v,flv,gif,apng,asf,ogg,ivf,obu,h263,h264,hevc,vvc,"
    "evc,vc1,dirac,mxf,gxf,nut,rm,dv,amv,mjpeg,mpjpeg,yuv4mpegpipe,wtv"
)
OPTIONS = {"format_whitelist": FORMATS, "protocol_whitelist": "file"}
PIXELS = 1 << 27  # of a picture: 16384 x 8192
SPARED = 0.5  # share of the packets that must be left out for it to be worth while
MOST_ERRORS = 1000  # of reading in one file
ODD = (ValueError, MemoryError, OverflowError, NotImplementedError)  # what the library raises on odd files


class Shown(NamedTuple):
    """A decoded frame (`av.VideoFrame`) and the width of one of its pixels in units of its height."""

    frame: Any
    aspect: float


@dataclass(frozen=True)
class Sample(Generic[T]):
    """Frames chosen from a video.

    Attributes:
        values: what `prepare` made of each, in order; of a frame that is chosen twice the same value twice.
        positions: int64 (m,), their numbers among the frames shown, from 0, ascending.
        shown: how many frames the video shows.
    """

    values: list[T]
    positions: np.ndarray
    shown: int

    @property
    def distinct(self) -> int:
        """How many different frames they are."""
        return len(np.unique(self.positions))


def positions(shown: int, count: int) -> np.ndarray:
    """Return the frames at the centres of `count` equal parts of `shown` frames: int64 (count,), ascending, from 0."""
    return (2 * np.arange(count, dtype=np.int64) + 1) * shown // (2 * count)


def sample(path: Path, count: int, prepare: Callable[[Shown], T]) -> Sample[T]:
    """Decode `count` frames at the centres of equal parts of those shown.

    Memory is bounded: besides what `prepare` returns there are a few frames, and some bytes a packet.

    Args:
        path: the video.
        count: frames to choose (m).
        prepare: called once for each different frame chosen, in order; its values are kept.

    Raises:
        VideoError: no frame can be decoded, or `prepare` cannot use one.
    """
    try:
        index = read_index(path)
        chosen = _from_groups(path, index, count, prepare)
        return chosen or _from_all(path, max(index.shown, 1), count, prepare)
    except ODD as error:
        raise VideoError(f"its frames cannot be used: {reason_of(error)}") from error


def read_pictures(path: Path, count: int, longest: int | None = None) -> np.ndarray:
    """Return pictures of a video as a viewer sees them, upright and with square pixels.

    Args:
        path: the video.
        count: how many (m), at the centres of equal parts of the frames shown.
        longest: pixels of the longer side at most; None for those of the video.

    Returns:
        uint8 (m, h, w, 3), red, green and blue.

    Raises:
        VideoError: no frame can be decoded.
    """
    chosen = sample(path, count, lambda shown: fitted(*upright(*shown), longest))
    return np.stack(same_size(chosen.values))


class Index(NamedTuple):
    """The packets of a video in the order in which they lie in the file.

    Attributes:
        times: int64 (p,), when each is shown; NONE where the file does not say it.
        keys: bool (p,), whether a decoder can begin with it.
        hidden: bool (p,), whether an edit list hides it.
    """

    times: np.ndarray
    keys: np.ndarray
    hidden: np.ndarray

    @property
    def shown(self) -> int:
        """How many frames should be shown."""
        return int(np.count_nonzero(~self.hidden))


NONE = np.iinfo(np.int64).min


def read_index(path: Path) -> Index:
    """Read all packets of a video without decoding them.

    Raises:
        VideoError: the file is no video.
    """
    times, flags = array("q"), bytearray()
    with _opened(path) as (container, stream):
        for packet in _packets(container, stream):
            times.append(NONE if packet.pts is None else packet.pts)
            flags.append(packet.is_keyframe + 2 * packet.is_discard)
    bits = np.frombuffer(bytes(flags), dtype=np.uint8)
    return Index(np.array(times, dtype=np.int64), (bits & 1).astype(bool), (bits & 2).astype(bool))


def decode_all(path: Path) -> Iterator[Shown]:
    """Yield every frame shown, in order.

    Raises:
        VideoError: the file is no video.
    """
    with _opened(path) as (container, stream):
        for packet in _packets(container, stream):
            yield from _decode(stream, packet)
        yield from _decode(stream, None)


def _from_all(path: Path, expected: int, count: int, prepare: Callable[[Shown], T]) -> Sample[T]:
    for _ in range(2):
        chosen, kept, shown = positions(expected, count), {}, 0
        wanted = set(chosen.tolist())
        for shown, frame in enumerate(decode_all(path), 1):
            if shown - 1 in wanted:
                kept[shown - 1] = prepare(frame)
        if shown == expected:
            return Sample([kept[position] for position in chosen.tolist()], chosen, shown)
        if not shown:
            raise VideoError("none of its frames can be decoded")
        expected = shown
    raise VideoError("it was changed while it was read")


def _from_groups(path: Path, index: Index, count: int, prepare: Callable[[Shown], T]) -> Sample[T] | None:
    """Return the sample; None where all packets are to be decoded, or where the file is not as its packets say."""
    times = np.sort(index.times[~index.hidden])
    if not len(times) or times[0] == NONE or (np.diff(times) == 0).any() or not index.keys[0]:
        return None
    chosen = positions(len(times), count)
    spans = _spans(index, times[np.unique(chosen)])
    if spans is None or sum(stop - start for start, stop in spans) > (1 - SPARED) * len(index.times):
        return None
    values: dict[int, T] = {}
    wanted = set(times[chosen].tolist())
    with _opened(path) as (container, stream):
        packets = enumerate(_packets(container, stream))
        for start, stop in spans:
            seen = []
            for shown in _decode_span(stream, packets, start, stop):
                seen.append(shown.frame.pts)
                if shown.frame.pts in wanted:
                    values[shown.frame.pts] = prepare(shown)
            if not _as_announced(index, seen, start, stop):
                return None
    return Sample([values[time] for time in times[chosen].tolist()], chosen, len(times))


def _spans(index: Index, targets: np.ndarray) -> list[tuple[int, int]] | None:
    """Return the packets to decode, as (first, one after the last), each beginning where a decoder can.

    The first packet of each is the last one with a whole picture, in the order of the file, from which on everything
    up to the frame is shown after it: pictures shown before such a packet but sent after it refer to the group before.
    """
    keys = np.flatnonzero(index.keys)
    key_times = index.times[keys]
    if (np.diff(key_times) <= 0).any():
        return None
    places = {time: place for place, time in enumerate(index.times.tolist())}
    spans: list[tuple[int, int]] = []
    for target in targets.tolist():
        number = int(np.searchsorted(key_times, target, side="right")) - 1
        if number < 0:
            return None
        start, stop = int(keys[number]), places[target] + 1
        if spans and start < spans[-1][1]:
            spans[-1] = (spans[-1][0], max(stop, spans[-1][1]))
        else:
            spans.append((start, stop))
    return spans


def _decode_span(stream: Any, packets: Iterator[tuple[int, Any]], start: int, stop: int) -> Iterator[Shown]:
    for number, packet in packets:
        if number >= start:
            yield from _decode(stream, packet)
        if number == stop - 1:
            break
    yield from _decode(stream, None)
    stream.codec_context.flush_buffers()


def _as_announced(index: Index, seen: list[int | None], start: int, stop: int) -> bool:
    """Say whether a span gave the frames that its packets announced, but for those that its first one cannot give."""
    times, hidden = index.times[start:stop], index.hidden[start:stop]
    announced = np.sort(times[~hidden & (times >= times[0])])
    return None not in seen and [time for time in seen if time is not None and time >= times[0]] == announced.tolist()


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Any]]:
    """Open a video; yield its container and its stream of moving pictures."""
    av = import_extra("av")
    av.logging.set_level(None)
    try:
        with open_regular(path) as file:
            if not os.fstat(file.fileno()).st_size:
                raise VideoError("it is empty (0 bytes)")
            source = file if _is_odd(path) else os.path.abspath(path)  # noqa: PTH100 (no link is resolved)
            with av.open(source, options=OPTIONS, metadata_errors="replace") as container:
                stream = _moving_pictures(container)
                context = stream.codec_context
                context.thread_count = 1  # frames come out the same, and each job has one core
                context.options = {"max_pixels": str(PIXELS)}
                yield container, stream
    except av.FFmpegError as error:
        raise VideoError(f"it is no video that can be read: {reason_of(error)}") from error
    except OSError as error:
        raise VideoError(f"it cannot be read: {reason_of(error)}") from error


def _is_odd(path: Path) -> bool:
    """Say whether a name is not UTF-8, which the library cannot open by itself."""
    return any("\udc80" <= character <= "\udcff" for character in str(path.absolute()))


def _moving_pictures(container: Any) -> Any:
    """Return the first stream that is no cover of a piece of music."""
    for stream in container.streams.video:
        if "attached_pic" not in str(stream.disposition.name) and stream.codec_context is not None:
            return stream
    raise VideoError("it has no video stream")


def _packets(container: Any, stream: Any) -> Iterator[Any]:
    """Yield the packets that hold something; what cannot be read is passed over."""
    av = import_extra("av")
    for _ in range(MOST_ERRORS):
        try:
            for packet in container.demux(stream):
                if packet.size:
                    yield packet
                elif packet.dts is None:  # the library's mark of the end; what follows fails where streams were added
                    return
            return
        except av.FFmpegError:
            continue


def _decode(stream: Any, packet: Any) -> list[Shown]:
    av = import_extra("av")
    try:
        frames = stream.codec_context.decode(packet)
    except av.FFmpegError:
        return []
    ratio = stream.sample_aspect_ratio
    return [Shown(frame, float(ratio) if ratio else 1.0) for frame in frames]
