"""What a network that frames go through is, and how pictures become its input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # mean and deviation of red, green and blue in 0..1
EMBEDDED = "efficientnet-lite0"
SHARE = 0.875  # of a picture's shorter side that a network sees: 224 of 256


@dataclass(frozen=True)
class Normalisation:
    """What is taken from and what divides red, green and blue in 0..255."""

    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]
    text: str

    def __call__(self, pictures: np.ndarray) -> np.ndarray:
        """Turn pictures, uint8 (m, s, s, 3), into a network's input, float32 (m, 3, s, s)."""
        mean, deviation = (np.array(values, dtype=np.float32) for values in (self.mean, self.deviation))
        return np.ascontiguousarray(((pictures - mean) / deviation).transpose(0, 3, 1, 2))


LITE = Normalisation((127.0,) * 3, (128.0,) * 3, "(x - 127) / 128")
USUAL = Normalisation(
    tuple(255 * value for value in IMAGENET[0]), tuple(255 * value for value in IMAGENET[1]),  # type: ignore[arg-type]
    "ImageNet's mean and deviation",
)  # fmt: skip


class Network(Protocol):
    """A network that is ready to compute.

    Attributes:
        name: as in the stamp.
        layer: the output that is taken.
        weights: hexadecimal sha256 of its weights' file.
        size: pixels of a side of its pictures.
        dim: features a picture (d).
        normalisation: from pictures to its input.
        versions: library -> version.
    """

    name: str
    layer: str
    weights: str
    size: int
    dim: int
    normalisation: Normalisation
    versions: dict[str, str]

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        """Map inputs, float32 (m, 3, size, size), to features, float32 (m, dim)."""
        ...
