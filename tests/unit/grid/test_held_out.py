"""The loss of a trained method on videos that it has not seen."""

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

from vhbench.errors import MethodError
from vhbench.grid.held_out import held_out_loss
from vhbench.method import FitContext
from vhbench.testing.fakes import FakeMethod
from vhbench.videos import VideoSet

METHODS = runpy.run_path(str(Path(__file__).parents[2] / "cli" / "plugins" / "judged.py"))
CONTEXT = FitContext(seed=3)


@pytest.fixture(scope="module")
def videos():
    return VideoSet(np.random.default_rng(0).standard_normal((300, 4, 6)).astype(np.float32))


def fitted(name, videos, **params):
    return METHODS[name](5, **params).fit(videos.subset(np.arange(40)), CONTEXT)


def test_it_is_the_mean_over_videos_one_by_one_in_float64_without_dropout(videos):
    method = fitted("Judged", videos, weight=2.0)
    encoder, _, decoder = method.module_
    weights = [layer.detach().numpy().astype(np.float64) for m in (encoder, decoder) for layer in (m.weight, m.bias)]
    means = np.stack([video.astype(np.float64).mean(0) for batch in videos.arrays(7) for video in batch])
    losses = [np.mean((weights[2] @ np.tanh(weights[0] @ x + weights[1]) + weights[3] - x) ** 2) for x in means]
    assert held_out_loss(method, videos, CONTEXT) == pytest.approx({"recon": 2 * np.mean(losses)}, rel=1e-5)


def test_nothing_of_the_method_or_of_torch_changes(videos):
    method, state = fitted("Judged", videos), torch.get_rng_state()
    before = [weight.clone() for weight in method.module_.parameters()]
    held_out_loss(method, videos, CONTEXT)
    assert torch.equal(torch.get_rng_state(), state) and not method.module_.training
    assert all(map(torch.equal, before, method.module_.parameters()))
    assert all(weight.grad is None or not weight.grad.requires_grad for weight in method.module_.parameters())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("WithRows", "WithRows gives no loss on held-out videos, because it keeps a state of each training video"),
        ("WithInputs", "because it learns from what it makes of its training videos: let retrieval"),
        ("WithGradient", "because it has a gradient that is not its loss's"),
        ("Diverged", "The loss on held-out videos is no number .*: training diverged"),
    ],
)
def test_a_method_without_such_a_loss_says_why(videos, name, message):
    with pytest.raises(MethodError, match=message):
        held_out_loss(fitted(name, videos), videos, CONTEXT)


def test_a_method_that_trains_elsewhere_has_none(videos):
    with pytest.raises(MethodError, match=r"FakeMethod gives no loss .* it does not train in vhbench's loop"):
        held_out_loss(FakeMethod(5).fit(videos, CONTEXT), videos, CONTEXT)
