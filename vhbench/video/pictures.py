"""From a decoded frame to pictures: colours, the way up, the shape, the size.

Colours are turned into red, green and blue of eight bits with the matrix and range that the video names; where it names
none, BT.709 from 720 lines on and BT.601 below. Fields of interlaced video stay woven.

HDR (PQ and HLG, ITU-R BT.2100) is brought to eight bits by this rule. The picture, made not larger than 540 pixels on
its shorter side, becomes light in cd/m2 (HLG: for a display of 1000 cd/m2, system gamma 1.2) and is divided by 203, the
reference white of ITU-R BT.2408. The primaries of BT.2020 become those of BT.709. With x the largest of a pixel's three
values, all three are multiplied by y / x: y = x up to 0.8, above y = 0.8 + 0.2 (1 - exp(-(x - 0.8) / 0.2)). Then
BT.1886's curve, the power 1 / 2.4. Ten bits without HDR are only rounded.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

HDR_RULE = "HDR to 203 cd/m2 white, knee 0.8"
HDR_SIDE = 540
WHITE, KNEE = 203.0, 0.8
PQ, HLG = 16, 18  # transfer characteristics, ITU-T H.273
BT2020_TO_709 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], dtype=np.float32
)  # ITU-R BT.2087
# ITU-T H.273's matrices -> names of swscale's; 0 is RGB itself
MATRICES = {1: "ITU709", 4: "FCC", 5: "ITU601", 6: "ITU601", 7: "SMPTE240M", 9: "BT2020", 10: "BT2020"}
FULL_RANGE = 2
HD_LINES = 720


def upright(frame: Any, aspect: float) -> tuple[np.ndarray, float]:
    """Return a frame's picture the way up that its metadata says, and the width of a pixel in units of its height.

    Args:
        frame: `av.VideoFrame`.
        aspect: width of one of its pixels in units of its height.

    Returns:
        uint8 (h, w, 3), and the aspect.
    """
    is_hdr = frame.color_trc in (PQ, HLG)
    picture = _from_hdr(frame) if is_hdr else _convert(frame, "rgb24")
    turn = _display_matrix(frame)
    if turn is not None:
        (a, b), (c, d) = turn
        if abs(b) + abs(c) > abs(a) + abs(d):  # x becomes y
            picture, aspect = picture.transpose(1, 0, 2), 1 / aspect
            a, d = c, b
        picture = picture[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
    return np.ascontiguousarray(picture), aspect


def centre(picture: np.ndarray, aspect: float, size: int, share: float) -> np.ndarray:
    """Return the middle of a picture, scaled by Pillow's bicubic filter (which averages where it makes smaller).

    Args:
        picture: uint8 (h, w, 3).
        aspect: width of a pixel in units of its height.
        size: pixels of a side of the result.
        share: of the picture's shorter side, as it is shown.

    Returns:
        uint8 (size, size, 3).
    """
    from PIL import Image

    height, width = picture.shape[:2]
    side = share * min(height, width * aspect)
    across, down = side / aspect / 2, side / 2
    box = (width / 2 - across, height / 2 - down, width / 2 + across, height / 2 + down)
    return np.asarray(Image.fromarray(picture).resize((size, size), Image.Resampling.BICUBIC, box=box))


def fitted(picture: np.ndarray, aspect: float, longest: int | None = None) -> np.ndarray:
    """Return a picture with square pixels, its longer side not above `longest`: uint8 (h, w, 3)."""
    height, width = picture.shape[:2]
    wide, high = (width * aspect, float(height)) if aspect > 1 else (float(width), height / aspect)
    scale = min(1.0, longest / max(wide, high)) if longest else 1.0
    return _resized(picture, (max(1, round(wide * scale)), max(1, round(high * scale))))


def same_size(pictures: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return pictures in the size of the first: a video may change its own."""
    height, width = pictures[0].shape[:2]
    return [_resized(picture, (width, height)) for picture in pictures]


def _resized(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    from PIL import Image

    if (picture.shape[1], picture.shape[0]) == size:
        return picture
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC))


def _convert(frame: Any, form: str, **size: int) -> np.ndarray:
    """Return a frame as (h, w, 3) in one of the library's RGB forms."""
    from av.video.reformatter import ColorRange, Colorspace, Interpolation

    name = MATRICES.get(int(frame.colorspace), "ITU709" if frame.height >= HD_LINES else "ITU601")
    full = int(frame.color_range) == FULL_RANGE or frame.format.name.startswith("yuvj")
    converted = frame.reformat(
        format=form, src_colorspace=Colorspace[name], dst_colorspace=Colorspace[name],
        src_color_range=ColorRange.JPEG if full else ColorRange.MPEG, dst_color_range=ColorRange.JPEG,
        interpolation=Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.BITEXACT
        | Interpolation.FULL_CHR_H_INT, threads=1, **size,
    )  # fmt: skip
    array: np.ndarray = converted.to_ndarray()
    return array


def _display_matrix(frame: Any) -> np.ndarray | None:
    """Return the four numbers that turn a picture's x and y, int64 (2, 2) [[a, b], [c, d]]; None where it has none.

    A point (x, y) is shown at (a x + c y, b x + d y), y growing downwards (ISO/IEC 14496-12, 8.2.2).
    """
    for data in frame.side_data:
        if data.type.name == "DISPLAYMATRIX":
            numbers = np.frombuffer(bytes(data), dtype=np.int32).reshape(3, 3)[:2, :2].astype(np.int64)
            return numbers if numbers.any() else None
    return None


def _from_hdr(frame: Any) -> np.ndarray:
    scale = min(1.0, HDR_SIDE / min(frame.width, frame.height))
    size = {"width": max(1, round(frame.width * scale)), "height": max(1, round(frame.height * scale))}
    light = _light(int(frame.color_trc))[_convert(frame, "rgb48le", **size)]
    if frame.color_trc == HLG:
        luminance = light @ np.array([0.2627, 0.6780, 0.0593], dtype=np.float32)
        light *= np.power(luminance, 0.2, dtype=np.float32)[..., None] * np.float32(1000 / WHITE)
    light = np.maximum(light @ BT2020_TO_709.T, 0)
    largest = light.max(axis=-1, keepdims=True)
    bent = KNEE + (1 - KNEE) * (1 - np.exp(-(np.maximum(largest, KNEE) - KNEE) / (1 - KNEE)))
    light *= np.where(largest > KNEE, bent / np.maximum(largest, KNEE), 1)
    values: np.ndarray = np.rint(255 * np.power(light, 1 / 2.4)).clip(0, 255).astype(np.uint8)
    return values


@functools.cache
def _light(transfer: int) -> np.ndarray:
    """Return the light of each of 65536 levels, float32: PQ's in units of WHITE, HLG's of the scene's brightest."""
    level = np.arange(65536) / 65535
    if transfer == PQ:  # SMPTE ST 2084
        power = level ** (1 / (2523 / 32))
        top = np.maximum(power - 3424 / 4096, 0)
        light = 10000 / WHITE * (top / (2413 / 128 - 2392 / 128 * power)) ** (1 / (2610 / 16384))
    else:  # ITU-R BT.2100, the inverse of HLG's OETF
        a = 0.17883277
        b = 1 - 4 * a
        c = 0.5 - a * np.log(4 * a)
        light = np.where(level <= 0.5, level**2 / 3, (np.exp((level - c) / a) + b) / 12)
    return light.astype(np.float32)
