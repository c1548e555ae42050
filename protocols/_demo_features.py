"""The demo's frame descriptor: one layer of fixed random filters, rectified and pooled. Whole numbers only.

A frame of 32 x 32 pixels is filtered by 8 filters of 5 x 5 at every second pixel. A filter adds 8 pixels and takes away
8 others, so even light gives 0. What is below 0 becomes 0; sums over a grid of 4 x 4 cells give 128 numbers. A constant
is taken off and what is then below 0 becomes 0 again, so that like VGG's features after the ReLU a quarter of the
values is above 0. The divisor makes the mean square of a value about 1, near the scale of the field's features (their
squared error per dimension is 0.3 to 1.6): methods that add a squared error to other terms depend on that scale.
"""

from __future__ import annotations

import numpy as np

from vhbench.protocols._demo_video import SIDE, draw

FILTERS = 8
KERNEL = 5  # pixels of a filter's side
TAPS = 8  # pixels that a filter adds, and that it takes away
STRIDE = 2
GRID = 4  # cells a side
DIM = FILTERS * GRID**2
THRESHOLD = 700
DIVISOR = 40  # of a unit of the stored bytes
UNIT = 16  # a stored byte of 16 is the feature 1.0
BLOCK = 64  # videos described at a time


def describe(frames: np.ndarray) -> np.ndarray:
    """Describe frames.

    Args:
        frames: uint8 (videos, m, 32, 32).

    Returns:
        uint8 (videos, m, 128); `to_features` gives the values that methods see. Dimension f * 16 + c is filter f in
        cell c, row by row.
    """
    sums = _responses(frames.reshape(-1, SIDE, SIDE))
    stored: np.ndarray = np.minimum(np.maximum(sums - THRESHOLD, 0) // DIVISOR, 255).astype(np.uint8)
    return stored.reshape(*frames.shape[:2], DIM)


def to_features(stored: np.ndarray) -> np.ndarray:
    """Turn stored bytes into features: float16 of the same shape, sixteenths from 0 to 15.9, all exact."""
    return stored.astype(np.float16) / np.float16(UNIT)


def _responses(frames: np.ndarray) -> np.ndarray:
    """Return the sums of rectified filter responses, int32 (frames, filters, cells)."""
    half = KERNEL // 2
    padded = np.pad(frames, ((0, 0), (half, half), (half, half)), mode="edge").astype(np.int16)
    taps = [
        np.ascontiguousarray(padded[:, y : y + SIDE : STRIDE, x : x + SIDE : STRIDE])
        for y in range(KERNEL)
        for x in range(KERNEL)
    ]
    steps = SIDE // STRIDE
    sums = np.empty((len(frames), FILTERS, GRID**2), dtype=np.int32)
    for f in range(FILTERS):
        order = np.argsort(draw(f"filter {f}", KERNEL**2, 2**31), kind="stable")
        response = np.zeros((len(frames), steps, steps), dtype=np.int16)  # at most 8 * 255
        for tap in order[:TAPS]:
            response += taps[tap]
        for tap in order[TAPS : 2 * TAPS]:
            response -= taps[tap]
        cells = np.maximum(response, 0).reshape(-1, GRID, steps // GRID, GRID, steps // GRID)
        sums[:, f] = cells.sum(axis=(2, 4), dtype=np.int32).reshape(-1, GRID**2)
    return sums
