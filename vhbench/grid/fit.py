"""Training on arrays of one's own, without files: `vhbench.fit`."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from pathlib import Path
from typing import Any, SupportsIndex

import numpy as np

from vhbench.errors import MethodError, UsageError
from vhbench.features.normalize import Normalization
from vhbench.grid.plan import MAX_BITS
from vhbench.method import FitContext
from vhbench.plugins.registry import Registry
from vhbench.runs.model import Model, as_videos
from vhbench.runs.spec import resolve_params
from vhbench.system import environment, gpus
from vhbench.videos import VideoSet


def fit(
    method: str,
    videos: VideoSet | np.ndarray,
    bits: SupportsIndex,
    *,
    seed: SupportsIndex = 0,
    normalize: str = "none",
    device: str = "auto",
    plugins: Sequence[Path | str] = (),
    **params: Any,
) -> Model:
    """Train a method on videos of one's own, without files.

    Args:
        method: its name.
        videos: frame features, an array of shape (n, frames, dim) of any real dtype, or a `vhbench.VideoSet`.
        bits: code length.
        seed: of all randomness.
        normalize: feature scaling, learnt on these videos: "none", "l2", "standard", "whiten" or "whiten=0.5".
        device: "auto", "cpu" or "cuda:N".
        plugins: Python files with further methods.
        **params: hyper-parameters of the method, e.g. epochs=20.

    Returns:
        The trained method: `encode(videos)` gives bool codes (n, bits), `save(folder)` keeps it for `vhbench.load`.

    Raises:
        UsageError: an unknown name or an impossible value.
        DataError: these are no videos.
        MethodError: the method cannot be trained on them.
    """
    from vhbench.training import isolated_torch

    entry, length, number = Registry(plugins).method(method), operator.index(bits), operator.index(seed)
    if not 1 <= length <= MAX_BITS:
        raise UsageError(f"bits is a code length from 1 to {MAX_BITS}, not {length}.")
    if number < 0:
        raise UsageError(f"seed is a number from 0 up, not {number}.")
    train = videos if isinstance(videos, VideoSet) else as_videos(videos)
    values = resolve_params(entry, {name: str(value) for name, value in params.items()})
    normalization, device = Normalization.parse(normalize), environment.resolve_device(device)
    if reason := entry.load().tags.conflict(bits=length, frames=train.frames, dim=train.dim, device=device):
        raise MethodError(f"{entry.name} {reason}.")
    scaling, context = normalization.learn(train), FitContext(seed=number, device=device)
    with environment.default_settings(), isolated_torch(context), gpus.current(device):
        fitted = entry.make(length, **values).fit(scaling.of(train), context)
    return Model(
        entry.name, fitted, length, train.frames, train.dim, str(normalization), scaling, fingerprint=entry.fingerprint
    )
