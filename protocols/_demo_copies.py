"""Copies of the demo's videos as they turn up elsewhere: cropped, encoded again, at another speed, with a logo.

Whole numbers and a hash, as for the videos themselves; JPEG is written and read by Pillow, grey and at a low quality.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np

from vhbench.protocols._demo_video import COUNTS, FRAMES, SIDE, draw, frames

SET = "demo"  # whose database videos are copied
COUNT = 300
CROP = (28, 30)  # least and greatest side of the part of a picture that a crop enlarges
QUALITY = (5, 20)  # of JPEG, which goes up to 100
SPEEDS = ((5, 4), (4, 5))  # faster: it ends early and its last picture stays; slower: its end is cut off
LOGO = (6, 9)  # least and greatest side of a logo, in pixels
CELLS = 4  # black or white cells of a logo, a side
KINDS = ("crop", "re-encoding", "speed change", "logo")


def sources() -> np.ndarray:
    """Return which database video each query is a copy of, int64 (COUNT,); no two are of one."""
    return np.argsort(draw("demo-copies/source", COUNTS["database"], 2**31), kind="stable")[:COUNT]


def kinds() -> np.ndarray:
    """Return what was done to each query's video, int64 (COUNT,), as KINDS numbers it."""
    return np.arange(COUNT) % len(KINDS)


def copies(rows: np.ndarray) -> np.ndarray:
    """Draw queries: brightness, uint8 (len(rows), 16, 32, 32).

    Args:
        rows: which, int.
    """
    videos = frames(SET, "database", sources()[rows])
    pairs = zip(rows, videos, strict=True)
    return np.stack([CHANGES[KINDS[kinds()[row]]](f"demo-copies/{row}", video) for row, video in pairs])


def _crop(stream: str, video: np.ndarray) -> np.ndarray:
    """Enlarge a part of the pictures, the nearest pixel each."""
    side = CROP[0] + _number(f"{stream}/side", CROP[1] - CROP[0] + 1)
    top, left = (_number(f"{stream}/{axis}", SIDE - side + 1) for axis in ("top", "left"))
    pixels = np.arange(SIDE) * side // SIDE
    return video[:, (top + pixels)[:, None], left + pixels]


def _encode(stream: str, video: np.ndarray) -> np.ndarray:
    """Write the pictures as JPEG and read them again."""
    from PIL import Image

    quality = QUALITY[0] + _number(f"{stream}/quality", QUALITY[1] - QUALITY[0] + 1)
    pictures = []
    for picture in video:
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "JPEG", quality=quality)
        with Image.open(file) as image:
            pictures.append(np.asarray(image))
    return np.stack(pictures)


def _change_speed(stream: str, video: np.ndarray) -> np.ndarray:
    times, over = SPEEDS[_number(f"{stream}/speed", len(SPEEDS))]
    return video[np.minimum(np.arange(FRAMES) * times // over, FRAMES - 1)]


def _lay_logo(stream: str, video: np.ndarray) -> np.ndarray:
    """Cover a corner with a pattern of black and white cells."""
    side = LOGO[0] + _number(f"{stream}/side", LOGO[1] - LOGO[0] + 1)
    corner = _number(f"{stream}/corner", 4)
    top, left = ((SIDE - side) * (corner >> shift & 1) for shift in (0, 1))
    cells = np.arange(side) * CELLS // side
    pattern = draw(f"{stream}/cells", CELLS**2, 2).reshape(CELLS, CELLS) * 255
    marked = video.copy()
    marked[:, top : top + side, left : left + side] = pattern[cells[:, None], cells]
    return marked


def _number(stream: str, span: int) -> int:
    """Return a whole number from 0 to span - 1."""
    return int(draw(stream, 1, span)[0])


CHANGES: dict[str, Callable[[str, np.ndarray], np.ndarray]] = dict(
    zip(KINDS, (_crop, _encode, _change_speed, _lay_logo), strict=True)
)
