"""The selective scan and Mamba's convolution against one state at a time, finite differences and torch's own layer."""

import pytest
import torch
from torch import nn

from vhbench.benchmarks import scan
from vhbench.methods import mamba
from vhbench.methods.mamba import Mamba, causal_conv, selective_scan


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def inputs(batch: int, length: int, channels: int = 3, states: int = 2, fastest: float = 4.0) -> list[torch.Tensor]:
    """x, step, a, b and c in float64; exp(step a) reaches from nearly 1 down to exp(-2 fastest)."""
    sizes = (batch, length, channels), (batch, length, states)
    x, b, c = (torch.randn(size, dtype=torch.float64) for size in (sizes[0], sizes[1], sizes[1]))
    step = 2 * torch.rand(sizes[0], dtype=torch.float64)
    a = -fastest * torch.rand(channels, states, dtype=torch.float64)
    return [tensor.requires_grad_() for tensor in (x, step, a, b, c)]


def one_at_a_time(x, step, a, b, c):
    """The recurrence of each video, channel and state by itself."""
    y = torch.zeros_like(x)
    for video, t, channel in torch.cartesian_prod(*map(torch.arange, x.shape)):
        for state in range(a.shape[1]):
            memory = 0.0
            for s in range(t + 1):
                rate = step[video, s, channel]
                memory = (rate * a[channel, state]).exp() * memory + rate * x[video, s, channel] * b[video, s, state]
            y[video, t, channel] += memory * c[video, t, state]
    return y


@pytest.mark.parametrize(("batch", "length"), [(2, 5), (3, 1), (1, 8)])
@pytest.mark.parametrize("chunk", [1, 2**18])
def test_the_scan_is_the_recurrence(monkeypatch, batch, length, chunk):
    monkeypatch.setattr(mamba, "CHUNK", chunk)
    arguments = inputs(batch, length)
    with torch.no_grad():
        torch.testing.assert_close(selective_scan(*arguments), one_at_a_time(*arguments), rtol=1e-13, atol=1e-13)
    assert torch.autograd.gradcheck(selective_scan, arguments)


@pytest.mark.parametrize("form", [scan.plain, scan.parallel])
def test_the_forms_that_the_benchmark_compares_are_the_same_function(form):
    arguments = inputs(2, 13, fastest=16.0)
    ours, theirs = selective_scan(*arguments), form(*arguments)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    upstream = torch.randn_like(ours)
    gradients = (torch.autograd.grad(y, arguments, upstream) for y in (ours, theirs))
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("fastest", [0.001, 16.0, 1000.0])  # memories that hardly fade, and that are gone in a step
def test_float32_keeps_its_digits_over_64_steps(fastest):
    exact = inputs(2, 64, fastest=fastest)
    rounded = [tensor.detach().float().requires_grad_() for tensor in exact]
    outputs = [selective_scan(*tensors) for tensors in (exact, rounded)]
    for y in outputs:
        y.square().sum().backward()
    for theirs, ours in zip(
        [outputs[0], *(t.grad for t in exact)], [outputs[1], *(t.grad for t in rounded)], strict=True
    ):
        assert (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max()


@pytest.mark.parametrize("length", [1, 3, 9])
@pytest.mark.parametrize("bias", [True, False])
def test_the_convolution_is_torchs_padded_on_the_left(length, bias):
    conv = nn.Conv1d(6, 6, 4, padding=3, groups=6, bias=bias, dtype=torch.float64)
    x = torch.randn(2, length, 6, dtype=torch.float64)
    theirs = conv(x.transpose(1, 2))[:, :, :length].transpose(1, 2)
    torch.testing.assert_close(causal_conv(x, conv.weight, conv.bias), theirs, rtol=1e-13, atol=1e-13)


def test_a_step_sees_nothing_that_comes_after_it():
    block, x = Mamba(8), torch.randn(2, 9, 8)
    later = x.clone()
    later[:, 5:] += 1
    assert torch.equal(block(x)[:, :5], block(later)[:, :5])
    assert not torch.equal(block(x)[:, 5], block(later)[:, 5])


def test_under_autocast_only_the_products_are_rounded():
    block, x = Mamba(32), torch.randn(2, 9, 32)
    with torch.autocast("cpu", torch.bfloat16):
        scanned, y = block.scan(x), block(x)
    assert scanned.dtype == torch.float32
    torch.testing.assert_close(y.float(), block(x), rtol=0.05, atol=0.02)
    y.float().sum().backward()
    assert all(weight.grad.dtype == torch.float32 for weight in block.parameters())


def test_the_block_starts_as_published():
    block = Mamba(40)
    assert torch.equal(block.a_log.exp().round(), torch.arange(1.0, 17).expand(80, 16))
    assert torch.equal(block.d, torch.ones(80))
    assert block.dt_proj.weight.shape == (80, 3)  # the rank is a sixteenth of the width, rounded up
