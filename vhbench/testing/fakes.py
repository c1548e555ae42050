"""Methods and data that are quick and predictable, and methods that fail in one way each, for tests.

The file is a plugin too: `vhbench run --plugin <this file> --method fake`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np

from vhbench.errors import MethodError
from vhbench.method import Epoch, FitContext, Method
from vhbench.testing.files import write_data_set
from vhbench.videos import VideoSet


class FakeMethod(Method):
    """Random projections of the centred mean frame: right in every respect, and done in a moment.

    Args:
        bits: code length.
        epochs: how many epochs it reports, each with half the loss of the one before.
        spread: standard deviation of the directions; does not change a code.
    """

    name = "fake"

    def __init__(self, bits: int, *, epochs: int = 2, spread: float = 1.0):
        self.bits = bits
        self.epochs = epochs
        self.spread = spread

    def fit(self, train: VideoSet, ctx: FitContext) -> Self:
        """Draw the directions, take the training mean and report the epochs."""
        self.mean_ = train.mean_frames().mean(axis=0, dtype=np.float64)
        self.directions_ = self.spread * ctx.rng("directions").standard_normal((train.dim, self.bits))
        epochs = ctx.budget.epochs or self.epochs
        for number in range(1, epochs + 1):
            ctx.report(Epoch(number, epochs, 0.5**number, {"fake": 0.5**number}, 0.0))
        return self

    def encode(self, videos: VideoSet) -> np.ndarray:
        """Return the signs of the projections."""
        self.check_fitted()
        signs: np.ndarray = (videos.mean_frames() - self.mean_) @ self.directions_ >= 0
        return signs


class FakeNanLoss(FakeMethod):
    """Its loss becomes NaN in the first epoch."""

    name = "fake-nan-loss"

    def fit(self, train: VideoSet, ctx: FitContext) -> Self:
        """Raise what the training loop of neural methods raises."""
        raise MethodError(f"The loss became nan in epoch 1 of {self.epochs}: training diverged.")


class FakeFitRaises(FakeMethod):
    """Its `fit` has a bug."""

    name = "fake-fit-raises"

    def fit(self, train: VideoSet, ctx: FitContext) -> Self:
        """Raise an error that is not the user's."""
        raise ZeroDivisionError("a bug in fit\nwith a message of two lines")


class FakeEncodeRaises(FakeMethod):
    """Its `encode` has a bug."""

    name = "fake-encode-raises"

    def encode(self, videos: VideoSet) -> np.ndarray:
        """Raise an error that is not the user's."""
        raise IndexError("a bug in encode")


class FakeFloatCodes(FakeMethod):
    """Its `encode` returns projections instead of bool codes."""

    name = "fake-float-codes"

    def encode(self, videos: VideoSet) -> np.ndarray:
        """Return float64 of the right shape."""
        return super().encode(videos) * 2.0 - 1.0


class FakeWrongShape(FakeMethod):
    """Its `encode` returns one bit too few."""

    name = "fake-wrong-shape"

    def encode(self, videos: VideoSet) -> np.ndarray:
        """Return codes of bits - 1 columns."""
        return super().encode(videos)[:, 1:]


def make_protocol(
    folder: Path, *, name: str = "tiny", videos: int = 40, queries: int = 12, frames: int = 8, dim: int = 24
) -> Path:
    """Write a manifest with real HDF5 and MATLAB files beside it: enough for a grid of runs in a second or two.

    Args:
        folder: where the files go; made if need be.
        name: of the protocol.
        videos: in the training set, which is also the database.
        queries: queries, apart from the database.
        frames: frames a video; 8 are enough for every built-in method.
        dim: feature dimensions a frame.

    Returns:
        The manifest, for `--protocol`.
    """
    return write_data_set(folder, name=name, videos=videos, queries=queries, frames=frames, dim=dim)
