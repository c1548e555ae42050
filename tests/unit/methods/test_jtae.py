"""JTAE (reconstructed): its loss by hand, the two kinds of appearance decoder, the binary bottleneck."""

import math

import numpy as np
import pytest
import torch

from vhbench.errors import MethodError
from vhbench.method import Budget, FitContext
from vhbench.methods.jtae import JTAE
from vhbench.testing.toy import toy_videos
from vhbench.training import Moment
from vhbench.videos import VideoSet

VIDEOS, FRAMES, DIM, BITS = 5, 4, 6, 3
MOMENT = Moment(0, 80)
KINDS = ("per_frame", "shared")


def make(**params):
    """A method and its network in float64, with no parameter or statistic at a value that hides a mistake."""
    method = JTAE(BITS, **params)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = method.build(FRAMES, DIM).double()
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
    return method, module


def videos(n: int = VIDEOS) -> torch.Tensor:
    return torch.randn(n, FRAMES, DIM, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) + 1


def values(terms):
    return {name: value.item() for name, value in terms.items()}


# loss


@pytest.mark.parametrize("kind", KINDS)
def test_loss_by_hand(kind):
    method, module = make(appearance=kind, appearance_weight=0.7)
    x = videos()
    p = {name: value.detach().numpy() for name, value in module.appearance.named_parameters()}
    with torch.no_grad():
        code = torch.where(module.encoder(x)[0][:, -1] >= 0, 1.0, -1.0).double()
        temporal = module.temporal.read_out(module.temporal.lstm(None, (code, torch.zeros_like(code)))[0]).numpy()
    v, b = x.numpy(), code.numpy()
    sums = {"temporal": 0.0, "appearance": 0.0}
    for n in range(VIDEOS):
        for j in range(FRAMES):
            head = slice(j * DIM, (j + 1) * DIM) if kind == "per_frame" else slice(None)
            appearance = p["weight"][head] @ b[n] + p["bias"][head]
            sums["temporal"] += np.sum((v[n, j] - temporal[n, j]) ** 2)
            sums["appearance"] += 0.7 * np.sum((v[n, j] - appearance) ** 2)
    wanted = {name: value / (VIDEOS * FRAMES) for name, value in sums.items()}
    assert values(method.loss(module, x, MOMENT)) == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_learns(kind):
    method, module = make(appearance=kind)
    sum(method.loss(module, videos(50), MOMENT).values()).backward()
    still = [name for name, p in module.named_parameters() if p.grad is None or not p.grad.any()]
    assert not still


@pytest.mark.parametrize("kind", KINDS)
def test_loss_under_autocast_is_close(kind):
    torch.manual_seed(0)
    method = JTAE(BITS, appearance=kind)
    module, x = method.build(FRAMES, 200).eval(), torch.rand(VIDEOS, FRAMES, 200)
    exact = values(method.loss(module, x, MOMENT))
    with torch.autocast("cpu", torch.bfloat16):
        lowered = method.loss(module, x, MOMENT)
    assert {value.dtype for value in lowered.values()} == {torch.float32}
    assert values(lowered) == pytest.approx(exact, rel=0.02)


# network


@pytest.mark.parametrize(("kind", "heads"), [("per_frame", FRAMES), ("shared", 1)])
def test_appearance_heads_start_glorot_uniform_each(kind, heads):
    torch.manual_seed(0)
    weight = JTAE(20, appearance=kind).build(FRAMES, 300).appearance.weight
    assert weight.shape == (heads * 300, 20)
    bound = math.sqrt(6 / (300 + 20))
    assert 0.99 * bound < weight.abs().max() <= bound


def test_unknown_appearance_is_an_error():
    with pytest.raises(MethodError, match="'per_frame' or 'shared'"):
        JTAE(BITS, appearance="frame").build(FRAMES, DIM)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_real_valued_crosses_the_bottleneck(kind):
    method, module = make(appearance=kind)
    module.eval()
    x = videos()
    before, code = values(method.loss(module, x, MOMENT)), method.codes(module, x)
    hidden = module.encoder(x)[0][:, -1]
    with torch.no_grad():  # the last cell doubles, and keeps its sign
        module.encoder.gamma[-1] *= 2
        module.encoder.beta[-1] *= 2
    assert not torch.isclose(module.encoder(x)[0][:, -1], hidden).any()
    assert torch.equal(method.codes(module, x), code)
    assert values(method.loss(module, x, MOMENT)) == before
    with torch.no_grad():  # and the other sign gives other reconstructions
        module.encoder.gamma[-1] *= -1
        module.encoder.beta[-1] *= -1
    after = values(method.loss(module, x, MOMENT))
    assert all(after[name] != before[name] for name in before)


def test_codes_are_the_sign_of_a_binary_lstms_last_hidden_state():
    method, module = make()
    module.eval()
    x = videos()
    codes = method.codes(module, x)
    assert codes.dtype == torch.bool
    assert torch.equal(codes, module.encoder(x)[0][:, -1] >= 0)
    assert 0 < codes.float().mean() < 1
    module.encoder.binary = False
    assert not torch.equal(module.encoder(x)[0][:, -1] >= 0, codes)  # feedback of bits makes other codes


# training


@pytest.mark.parametrize("start_at_mean", [True, False])
def test_read_outs_start_at_the_mean_frame_or_at_zero(start_at_mean):
    frames = np.random.default_rng(0).random((9, FRAMES, DIM), dtype=np.float32)
    method = JTAE(BITS, start_at_mean=start_at_mean)
    module = method.build(FRAMES, DIM)
    method.prepare(module, VideoSet(frames), FitContext())
    wanted = frames.mean(axis=(0, 1)) if start_at_mean else np.zeros(DIM)
    np.testing.assert_allclose(module.temporal.read_out.bias.detach().numpy(), wanted, rtol=1e-6)
    np.testing.assert_allclose(module.appearance.bias.detach().numpy(), np.tile(wanted, FRAMES), rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_both_terms_fall_on_a_small_set(kind):
    train, _ = toy_videos(60, frames=6, dim=40)
    told = []
    method = JTAE(16, lr=3e-3, batch_size=20, appearance=kind)
    method.fit(train, FitContext(budget=Budget(epochs=25), report=told.append))
    first, last = told[0].parts, told[-1].parts
    assert all(last[name] < 0.75 * first[name] for name in first), (first, last)
