"""Makers of small video files, sound ones and hard ones; all with PyAV."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
from av.video.reformatter import ColorPrimaries, Colorspace, ColorTrc

SIZE = (64, 48)  # width, height
QUICK = {
    "libx264": {"preset": "ultrafast", "bf": "2"},
    "libx265": {"preset": "ultrafast", "x265-params": "log-level=0:pools=1"},
    "libsvtav1": {"preset": "12"},
    "libvpx-vp9": {"cpu-used": "8", "deadline": "realtime"},
}
PQ = (Colorspace.BT2020, ColorTrc.SMPTE2084, ColorPrimaries.BT2020)
HLG = (Colorspace.BT2020, ColorTrc.ARIB_STD_B67, ColorPrimaries.BT2020)


def picture(number, size=SIZE):
    """Return a picture, uint8 (h, w, 3), unlike that of any other number below some hundreds."""
    width, height = size
    y, x = np.mgrid[:height, :width]
    waves = np.sin(x / (5 + number % 7) + number) + np.cos(y / (4 + number % 5) - number / 3)
    shades = 60 + 40 * (waves + 2) / 2
    made = np.stack([shades, np.roll(shades, number, 1), 255 - shades], axis=-1)
    made[:12, :12] = 20 + 7 * (number % 30)
    return made.clip(0, 255).astype(np.uint8)


def write(
    path, count=60, *, make=picture, size=SIZE, codec="libx264", pixels="yuv420p", gop=12, container=None,
    options=None, rotation=None, times=None, aspect=None, colours=None, movflags=None,
):  # fmt: skip
    """Encode pictures 0 to count - 1.

    Args:
        times: of each, in 600ths of a second; None: 25 a second.
        rotation: degrees clockwise that a player turns it.
        make: returns a picture from its number and size.
        colours: (matrix, transfer, primaries) to name.
    """
    wide, high = size
    with av.open(str(path), "w", format=container, options={"movflags": movflags} if movflags else {}) as output:
        stream = output.add_stream(codec, rate=25, options={**QUICK.get(codec, {}), "g": str(gop), **(options or {})})
        stream.width, stream.height, stream.pix_fmt = wide, high, pixels
        context = stream.codec_context
        context.thread_count = 1
        if times is not None:
            context.time_base = Fraction(1, 600)
        if aspect:
            context.sample_aspect_ratio = aspect
        if colours:
            context.colorspace, context.color_trc, context.color_primaries = colours
        if rotation:
            stream.set_display_rotation(-rotation)
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(make(number, size), "rgb24").reformat(format=pixels)
            if times is not None:
                frame.pts, frame.time_base = times[number], Fraction(1, 600)
            if colours:
                frame.colorspace, frame.color_trc, frame.color_primaries = colours
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def cut(path, shown=75, **how):
    """Copy a stream's packets from a whole picture on, as a cut at an exact time does: an edit list hides the first."""
    whole = write(path.with_name(f"whole-{path.name}"), 120, gop=60, **how)
    with av.open(str(whole)) as source, av.open(str(path), "w") as output:
        old = source.streams.video[0]
        new = output.add_stream_from_template(old)
        step = round(1 / (old.time_base * 25))
        for packet in source.demux(old):
            if packet.size:
                packet.stream = new
                packet.pts -= (120 - shown) * step
                packet.dts -= (120 - shown) * step
                output.mux(packet)
    whole.unlink()
    return path


def sound_only(path):
    """Write a second of sound, and no pictures."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), "fltp", "mono")
        frame.sample_rate = 8000
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def flipped(path, source, bits=200, seed=0, start=4096):
    """Copy a file with some bits turned round, but for its beginning."""
    content = bytearray(source.read_bytes())
    for place in np.random.default_rng(seed).integers(min(start, len(content) // 4) * 8, len(content) * 8, bits):
        content[place // 8] ^= 1 << (place % 8)
    path.write_bytes(content)
    return path


def truncated(path, source, share=0.6):
    """Copy the first part of a file."""
    content = source.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


def decoded(path):
    """Return all frames shown, decoded in order by a plain loop: arrays in their own pixels."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray() for frame in container.decode(video=0)]
