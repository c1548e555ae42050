"""The loss of a trained method on videos that it has not seen: by it hyper-parameters are judged without labels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from vhbench.errors import MethodError
from vhbench.method import FitContext, Method
from vhbench.training import ENCODE_BATCH, Moment, NeuralMethod, isolated_torch
from vhbench.videos import VideoSet

REASONS = {
    "inputs": "learns from what it makes of its training videos",
    "gradient": "has a gradient that is not its loss's",
}
INSTEAD = "let retrieval among training videos be the judge (--judge retrieval)"


def held_out_loss(method: Method, videos: VideoSet, ctx: FitContext) -> dict[str, float]:
    """Return the mean of each named term of a trained method's loss on videos that it was not trained on.

    The network is in eval mode; there is no gradient, and products are float32's. The moment is the last of the
    training. Batches are of at most 256 videos and of about equal size, and random numbers start from the run's seed,
    so that two settings of a method are compared on the same terms, whatever their batch sizes are.

    Args:
        method: fitted.
        videos: as the method takes them, at least 1.
        ctx: the run's side of the training.

    Raises:
        MethodError: the method has no such loss, because it does not train in vhbench's loop, or learns from batches or
            gradients that only training videos have; or the loss is no number.
    """
    import torch

    if not isinstance(method, NeuralMethod):
        raise _none(method, "does not train in vhbench's loop")
    for hook, why in REASONS.items():
        if getattr(type(method), hook) is not getattr(NeuralMethod, hook):
            raise _none(method, why)
    method.check_fitted()
    device = str(next(method.module_.parameters()).device)
    groups = np.array_split(np.arange(len(videos)), math.ceil(len(videos) / ENCODE_BATCH))
    sums: dict[str, float] = {}
    with isolated_torch(ctx), torch.no_grad():
        torch.manual_seed(ctx.torch_seed("held-out loss"))
        method.module_.eval()
        for rows in groups:
            (batch,) = videos.subset(rows).batches(len(rows), device=device)
            for name, value in method.loss(method.module_, batch, _last_moment(method, ctx)).items():
                sums[name] = sums.get(name, 0.0) + float(value) * len(rows)
    terms = {name: value / len(videos) for name, value in sums.items()}
    if not terms or not all(map(math.isfinite, terms.values())):
        raise MethodError(f"The loss on held-out videos is no number ({terms}): training diverged.")
    return terms


def _last_moment(method: NeuralMethod, ctx: FitContext) -> _Moment:
    """Return the last moment of a training."""
    epochs = method.epochs if ctx.budget.epochs is None else ctx.budget.epochs
    stages = [(stage, count) for stage, count in enumerate(method.stages(epochs)) if count]
    stage, count = stages[-1] if stages else (0, 1)
    return _Moment(count - 1, count, stage=stage, step=count - 1, steps=count, ctx=ctx, of=type(method).__name__)


@dataclass(frozen=True)
class _Moment(Moment):
    """One at which the videos are none of the training set.

    Attributes:
        of: what the method is called.
    """

    of: str = ""

    def __getattribute__(self, name: str) -> Any:
        if name == "rows":
            raise _none(super().__getattribute__("of"), "keeps a state of each training video that its loss reads")
        return super().__getattribute__(name)


def _none(method: Method | str, why: str) -> MethodError:
    name = method if isinstance(method, str) else type(method).__name__
    return MethodError(f"{name} gives no loss on held-out videos, because it {why}: {INSTEAD}.")
