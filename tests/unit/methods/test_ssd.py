"""The state-space block against its recurrence and torch's convolution, in float64."""

import math

import pytest
import torch
from torch.nn import functional

from vhbench.methods.ssd import StateSpace, causal_convolution, state_space


@pytest.fixture(autouse=True)
def _seed():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def recurrence(x, steps, a, b, c):
    """h_t = exp(A step_t) h_{t-1} + step_t x_t B_t; y_t = h_t C_t, one number at a time."""
    batch, frames, heads, channels = x.shape
    y = torch.zeros_like(x)
    for n in range(batch):
        for head in range(heads):
            for channel in range(channels):
                state = torch.zeros(b.shape[2], dtype=x.dtype)
                for t in range(frames):
                    step = steps[n, t, head]
                    state = torch.exp(a[head] * step) * state + step * x[n, t, head, channel] * b[n, t]
                    y[n, t, head, channel] = state @ c[n, t]
    return y


@pytest.mark.parametrize("frames", [1, 2, 8, 25])
def test_all_steps_at_once_are_the_recurrence_and_its_gradient(frames):
    x = torch.randn(2, frames, 3, 2).double().requires_grad_()
    steps = torch.rand(2, frames, 3).double().mul(2).requires_grad_()
    a = torch.tensor([-0.1, -1, -16]).double().requires_grad_()
    b, c = (torch.randn(2, frames, 4).double().requires_grad_() for _ in range(2))
    ours, theirs = state_space(x, steps, a, b, c), recurrence(x, steps, a, b, c)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    upstream = torch.randn_like(ours)
    inputs = (x, steps, a, b, c)
    for one, other in zip(
        *(torch.autograd.grad(y, inputs, upstream, allow_unused=True) for y in (ours, theirs)), strict=True
    ):
        torch.testing.assert_close(one, torch.zeros_like(one) if other is None else other, rtol=1e-11, atol=1e-11)


def test_fast_decay_leaves_no_nan():
    x, b = torch.randn(1, 64, 1, 2), torch.randn(1, 64, 3)
    steps = torch.full((1, 64, 1), 50.0).requires_grad_()
    y = state_space(x, steps, torch.tensor([-16.0]), b, b)
    y.sum().backward()
    assert y.isfinite().all()
    assert steps.grad.isfinite().all()
    torch.testing.assert_close(y[0, :, 0], 50 * b[0].square().sum(1, keepdim=True) * x[0, :, 0])


@pytest.mark.parametrize("frames", [1, 3, 4, 10])
def test_the_convolution_is_torchs_and_its_gradient(frames):
    x = torch.randn(3, frames, 6).double().requires_grad_()
    taps = torch.randn(6, 2, 4).double().requires_grad_()
    ours = causal_convolution(x, taps)
    theirs = functional.conv1d(functional.pad(x.transpose(1, 2), (3, 0)), taps, groups=3).transpose(1, 2)
    torch.testing.assert_close(ours, theirs)
    upstream = torch.randn_like(ours)
    for one, other in zip(*(torch.autograd.grad(y, (x, taps), upstream) for y in (ours, theirs)), strict=True):
        torch.testing.assert_close(one, other)


def test_first_weights():
    block = StateSpace(256, 128, 64)
    assert block.log_decay.shape == block.step_bias.shape == block.skip.shape == (4,)
    assert (block.log_decay >= 0).all()
    assert (block.log_decay <= math.log(16)).all()
    assert (block.step_bias == 0).all()
    assert (block.skip == 1).all()
    assert block.expand.bias is None
    assert block.select.bias is None
    assert block.taps.shape == (512, 2, 4)


def test_under_autocast_the_model_itself_is_computed_in_float32():
    block, t = StateSpace(16, 8, 4), torch.randn(2, 5, 16)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = block(t)
        assert block.scan(t.repeat(1, 1, 2), torch.randn(2, 5, 12)).dtype == torch.float32
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded, block(t), rtol=0.1, atol=0.05)
