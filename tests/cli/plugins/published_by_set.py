"""A toy method with settings by data set, for tests of `--preset`."""

from typing import Any, ClassVar

import numpy as np

from vhbench import Method


class PublishedBySet(Method):
    """Random projections of mean frames, spread as published for each data set."""

    name = "by-set"
    variants: ClassVar[dict[str, tuple[str, dict[str, Any]]]] = {"by-set-wide": ("Always wide", {"spread": 9.0})}
    presets: ClassVar[dict[str, dict[str, Any]]] = {"fcvid": {}, "demo": {"spread": 2.0, "shift": 1}}

    def __init__(self, bits: int, *, spread: float = 1.0, shift: int = 0):
        self.bits, self.spread, self.shift = bits, spread, shift

    def fit(self, train, ctx):
        self.directions_ = ctx.rng("directions").standard_normal((train.dim, self.bits)) * self.spread
        return self

    def encode(self, videos):
        self.check_fitted()
        return np.asarray(videos.mean_frames() @ self.directions_ >= self.shift)
