"""The demo's pictures: a handwritten digit moves over a crop of a photograph.

All arithmetic is on whole numbers and all randomness comes from a hash, so that every machine draws the same pictures.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from functools import cache
from importlib import resources

import numpy as np

from vhbench.errors import UsageError, unknown

FRAMES = 16
SIDE = 32  # pixels of a frame's side
DIGITS = (0, 1, 4, 7)
MOTIONS = ("moving left", "moving right", "moving down", "circling", "growing")
CLASSES = len(DIGITS) * len(MOTIONS)
COUNTS = {"database": 62 * CLASSES, "query": 15 * CLASSES}  # videos of each role; the same number of each class
PEN = 16  # a digit's darkest value as scikit-learn ships it
BLOCK = 8  # pixels of the photograph averaged into one, a side
DRIFT = 1  # a path may lie this many pixels off its usual place, each way
# round(256 * cos(2 pi t / 16)), written out because libraries may round a cosine differently
COSINE = np.array([256, 237, 181, 98, 0, -98, -181, -237, -256, -237, -181, -98, 0, 98, 181, 237])


@dataclass(frozen=True)
class Look:
    """What the videos of one demo set look like.

    Attributes:
        photo: photograph whose crops are the backgrounds, "china" or "flower".
        dark: brightness of a background's blackest pixel.
        size: side of the digit in pixels.
        ink: least and greatest brightness of the digit.
    """

    photo: str
    dark: int
    size: int
    ink: tuple[int, int]


@dataclass(frozen=True)
class Scenes:
    """What some videos show.

    Attributes:
        classes: int (videos,).
        images: which of scikit-learn's handwritten images, int (videos,).
        corners: top and left of the background in the photograph, int (videos, 2).
        ink: brightness of the digit, int (videos,).
        drift: pixels that it goes below and right of its usual path, int (videos, 2).
    """

    classes: np.ndarray
    images: np.ndarray
    corners: np.ndarray
    ink: np.ndarray
    drift: np.ndarray

    def subset(self, rows: np.ndarray) -> Scenes:
        """Return those of some videos."""
        return Scenes(*(getattr(self, field.name)[rows] for field in fields(self)))


LOOKS = {
    "demo": Look(photo="china", dark=30, size=20, ink=(220, 255)),
    "demo-shift": Look(photo="flower", dark=50, size=24, ink=(170, 220)),
}


def labels(role: str) -> np.ndarray:
    """Return the class of each video of a role, int64 (videos,): 5 * index of the digit + index of the motion."""
    return np.arange(COUNTS[role]) % CLASSES


def class_names() -> tuple[str, ...]:
    """Return the names by class number, e.g. "4 moving left"."""
    return tuple(f"{digit} {motion}" for digit in DIGITS for motion in MOTIONS)


def frames(name: str, role: str, rows: np.ndarray) -> np.ndarray:
    """Draw the pictures of some videos.

    Args:
        name: "demo" or "demo-shift".
        role: "database" (which is also the training set) or "query".
        rows: which videos of that role (int).

    Returns:
        uint8 (len(rows), 16, 32, 32), brightness.

    Raises:
        UsageError: no such set, role or video.
    """
    if name not in LOOKS:
        raise unknown("demo set", name, LOOKS)
    if role not in COUNTS:
        raise unknown("role", role, COUNTS)
    rows = np.asarray(rows, dtype=np.int64)
    if len(rows) and not 0 <= rows.min() <= rows.max() < COUNTS[role]:
        raise UsageError(f"{name} has the {role} videos 0 to {COUNTS[role] - 1}, not {rows.min()} to {rows.max()}.")
    look, stream, count = LOOKS[name], f"{name}/{role}", COUNTS[role]
    images, corners = digit_images(name, role), crops(look, stream, count)
    scenes = Scenes(labels(role), images, corners, *ink_and_drift(look, stream, count))
    return film(look, scenes.subset(rows))


def film(look: Look, scenes: Scenes) -> np.ndarray:
    """Draw what videos of one look show: brightness, uint8 (videos, 16, 32, 32)."""
    path = _paths(look.size)[scenes.classes % len(MOTIONS)]
    y = _digit_pixel(path[..., 0] + scenes.drift[:, :1], path[..., 2])
    x = _digit_pixel(path[..., 1] + scenes.drift[:, 1:], path[..., 2])
    shapes = _bordered_digits()[scenes.images]
    pen = shapes[np.arange(len(shapes))[:, None, None, None], y[..., :, None], x[..., None, :]]
    under = _backgrounds(look, scenes.corners)[:, None]
    ink = scenes.ink.astype(np.int16)[:, None, None, None]
    pictures: np.ndarray = under + ((ink - under) * pen) // PEN
    return pictures.astype(np.uint8)


def crops(look: Look, stream: str, count: int) -> np.ndarray:
    """Draw where in the photograph backgrounds lie: top and left, int64 (count, 2)."""
    spans = [length - SIDE + 1 for length in _photo(look.photo).shape]
    return np.stack([draw(f"{stream}/crop {axis}", count, span) for axis, span in enumerate(spans)], axis=1)


def ink_and_drift(look: Look, stream: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw the digits' brightness, int64 (count,), and how far below and right of their paths they go, (count, 2)."""
    ink = look.ink[0] + draw(f"{stream}/ink", count, look.ink[1] - look.ink[0] + 1)
    drift = [draw(f"{stream}/drift {axis}", count, 2 * DRIFT + 1) - DRIFT for axis in "yx"]
    return ink, np.stack(drift, axis=1)


def digit_images(name: str, role: str) -> np.ndarray:
    """Return which of scikit-learn's handwritten images each video of a role shows, int64 (videos,).

    The first three quarters of each digit's images serve the database, the others the queries, in every demo set.
    """
    chosen = draw(f"{name}/{role}/image", COUNTS[role], 2**31)
    images = np.empty(COUNTS[role], dtype=np.int64)
    for index, digit in enumerate(DIGITS):
        of_digit = digit_images_of(digit)
        cut = len(of_digit) * 3 // 4
        pool = of_digit[:cut] if role == "database" else of_digit[cut:]
        mine = labels(role) // len(MOTIONS) == index
        images[mine] = pool[chosen[mine] % len(pool)]
    return images


def digit_images_of(digit: int) -> np.ndarray:
    """Return which of scikit-learn's handwritten images show a digit, int64 (images,): 178 or more."""
    return np.flatnonzero(_digits()[1] == digit)


def draw(stream: str, count: int, span: int) -> np.ndarray:
    """Return `count` whole numbers from 0 to span - 1 (int64) that depend on the stream's name alone.

    They are cut from a hash, not from numpy's generators, whose methods may change between versions.
    """
    words = np.frombuffer(hashlib.shake_128(stream.encode()).digest(4 * count), dtype="<u4")
    return (words.astype(np.int64) * span) >> 32


def _paths(size: int) -> np.ndarray:
    """Return top, left and size of the digit by motion and frame, int64 (motions, frames, 3)."""
    span = SIDE - size
    time = np.arange(FRAMES)
    middle = np.full(FRAMES, span // 2)
    along = (2 * time * span + FRAMES - 1) // (2 * (FRAMES - 1))  # 0 to span, rounded
    round_y = (span * (256 - COSINE) + 256) // 512
    round_x = (span * (256 + np.roll(COSINE, FRAMES // 4)) + 256) // 512
    grown = size // 2 + size * time // (FRAMES - 1)
    same = np.full(FRAMES, size)
    paths = {
        "moving left": (middle, span - along, same),
        "moving right": (middle, along, same),
        "moving down": (along, middle, same),
        "circling": (round_y, round_x, same),
        "growing": ((SIDE - grown) // 2, (SIDE - grown) // 2, grown),
    }
    return np.stack([np.stack(paths[motion], axis=1) for motion in MOTIONS])


def _digit_pixel(start: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Return which row or column of the bordered digit (0 and 9: the border) lies at each pixel; (..., SIDE)."""
    pixel: np.ndarray = np.clip((np.arange(SIDE) - start[..., None]) * 8 // size[..., None], -1, 8) + 1
    return pixel


def _backgrounds(look: Look, corners: np.ndarray) -> np.ndarray:
    """Return each video's crop of the photograph with its contrast cut to an eighth, int16 (videos, SIDE, SIDE)."""
    photo = (look.dark + _photo(look.photo) // 8).astype(np.int16)
    chosen: np.ndarray = np.lib.stride_tricks.sliding_window_view(photo, (SIDE, SIDE))[corners[:, 0], corners[:, 1]]
    return chosen


def _bordered_digits() -> np.ndarray:
    """Return the handwritten images with a border of one empty pixel, int16 (images, 10, 10), values 0 to 16."""
    return np.pad(_digits()[0], ((0, 0), (1, 1), (1, 1)))


@cache
def _digits() -> tuple[np.ndarray, np.ndarray]:
    """Return scikit-learn's handwritten images, int16 (1797, 8, 8) of 0 to 16, and what digit they show."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    return digits.images.astype(np.int16), digits.target


@cache
def _photo(name: str) -> np.ndarray:
    """Return a photograph of scikit-learn's: brightness averaged over blocks of 8 x 8 pixels, int64 (53, 80).

    Only the JPEG's brightness channel is decoded: decoders agree on it to the bit, but not on interpolated colours.
    """
    from PIL import Image

    with (resources.files("sklearn.datasets.images") / f"{name}.jpg").open("rb") as file, Image.open(file) as image:
        image.draft("L", image.size)
        pixels = np.asarray(image, dtype=np.int64)
    height, width = (length // BLOCK for length in pixels.shape)
    blocks = pixels[: height * BLOCK, : width * BLOCK].reshape(height, BLOCK, width, BLOCK)
    means: np.ndarray = blocks.sum(axis=(1, 3)) // BLOCK**2
    return means
