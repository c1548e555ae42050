"""Whether a study's judge can judge: tried before any trial, on a short training."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import Any

import numpy as np

from vhbench.errors import MethodError, UsageError
from vhbench.features.normalize import Normalization
from vhbench.grid.cells import Cell
from vhbench.method import Budget, FitContext
from vhbench.runs.spec import SMOKE_VIDEOS
from vhbench.study.space import Space
from vhbench.videos import VideoSet

ALIKE = 1e-5  # relative difference of the same loss computed twice


def check_by_loss(cell: Cell, space: Space, device: str) -> None:
    """Raise UsageError where the loss on held-out videos cannot choose among the settings of a space.

    A method may give no such loss. And a hyper-parameter may be a part of it, such as the weight of a term: the loss of
    one and the same network changes with it, so that the least loss means the least weight. The method is trained for
    an epoch on at most 256 videos, and its loss computed with each hyper-parameter of the space at its ends.

    Args:
        cell: a run on the protocol to tune on, with the hyper-parameters that are not searched.
        space: what is searched.
        device: what it computes on.
    """
    from vhbench.grid.held_out import INSTEAD, held_out_loss
    from vhbench.training import isolated_torch

    spec, split = cell.spec, cell.splits[0]
    train, held = (_first(part.videos) for part in (split.train, split.query))
    scaling = Normalization.parse(spec.normalize).learn(train)
    train, held = scaling.of(train), scaling.of(held)
    last = FitContext(spec.seed, device, Budget(spec.budget["epochs"]))
    try:
        with isolated_torch(last):
            method = cell.entry.make(spec.bits, **spec.params).fit(train, replace(last, budget=Budget(1)))
        usual = _loss(held_out_loss(method, held, last))
    except MethodError as error:
        raise UsageError(f"{spec.method} cannot be tuned by its loss. {error}") from error
    for name, choice in space.items():
        for value in choice.ends:
            other: Any = copy.copy(method)
            setattr(other, name, value)
            try:
                loss = _loss(held_out_loss(other, held, last))
            except Exception:  # a network of another shape says nothing of the loss
                continue
            if not math.isclose(loss, usual, rel_tol=ALIKE):
                raise UsageError(
                    f"{spec.method}.{name} is a part of the loss, which for one and the same network is {usual:.4g}, "
                    f"and {loss:.4g} with {value}: the least loss cannot choose it. Leave it out of the space, or "
                    f"{INSTEAD}."
                )


def _first(videos: VideoSet) -> VideoSet:
    return videos.subset(np.arange(min(len(videos), SMOKE_VIDEOS)))


def _loss(parts: dict[str, float]) -> float:
    return sum(parts.values())
