"""The shared network pieces against torch's own layers, finite differences and hand computation."""

import itertools
import math

import pytest
import torch
from torch import nn

from vhbench.methods.layers import (
    LSTM,
    FrameBatchNorm,
    TemporalConv,
    TemporalDeconv,
    overlap_add,
    sign,
    sign_ste,
    windows,
    xavier_init,
)

GEOMETRIES = [(7, 2), (4, 2), (2, 2), (3, 1), (1, 1), (4, 3), (2, 4)]  # kernel, stride; the last leaves frames unread


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def normal(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def assert_same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-12, atol=1e-12, msg=name)


@pytest.mark.parametrize(("kernel", "stride"), GEOMETRIES)
@pytest.mark.parametrize("length", [7, 12, 13])
def test_convolution_equals_torch(kernel, stride, length):
    ours = TemporalConv(5, 6, kernel, stride).double()
    nn.init.normal_(ours.bias)
    x = normal(3, length, 5).requires_grad_()
    y = ours(x)
    upstream = torch.randn_like(y)
    y.backward(upstream)

    weight = ours.weight.detach().reshape(kernel, 5, 6).permute(2, 1, 0).clone().requires_grad_()
    bias, x2 = (t.detach().clone().requires_grad_() for t in (ours.bias, x))
    z = nn.functional.conv1d(x2.transpose(1, 2), weight, bias, stride).transpose(1, 2)
    z.backward(upstream)
    assert_same(
        {"out": y, "x": x.grad, "weight": ours.weight.grad.reshape(kernel, 5, 6), "bias": ours.bias.grad},
        {"out": z, "x": x2.grad, "weight": weight.grad.permute(2, 1, 0), "bias": bias.grad},
    )


@pytest.mark.parametrize(("kernel", "stride"), GEOMETRIES)
@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize("pad", [False, True])
def test_transposed_convolution_equals_torch(kernel, stride, steps, pad):
    padding = stride - 1 if pad else 0  # torch takes no longer one
    ours = TemporalDeconv(5, 6, kernel, stride, padding).double()
    nn.init.normal_(ours.bias)
    x = normal(3, steps, 5).requires_grad_()
    y = ours(x)
    upstream = torch.randn_like(y)
    y.backward(upstream)

    weight = ours.weight.detach().reshape(5, kernel, 6).transpose(1, 2).clone().requires_grad_()
    bias, x2 = (t.detach().clone().requires_grad_() for t in (ours.bias, x))
    z = nn.functional.conv_transpose1d(x2.transpose(1, 2), weight, bias, stride, output_padding=padding).transpose(1, 2)
    z.backward(upstream)
    assert_same(
        {"out": y, "x": x.grad, "weight": ours.weight.grad.reshape(5, kernel, 6), "bias": ours.bias.grad},
        {"out": z, "x": x2.grad, "weight": weight.grad.transpose(1, 2), "bias": bias.grad},
    )


@pytest.mark.parametrize(("kernel", "stride"), GEOMETRIES)
def test_gradients_by_finite_differences(kernel, stride):
    conv = TemporalConv(2, 3, kernel, stride).double()
    deconv = TemporalDeconv(2, 3, kernel, stride, padding=1).double()
    for layer, length in ((conv, 9), (deconv, 3)):
        x = normal(2, length, 2).requires_grad_()

        def f(x, weight, bias, layer=layer):
            return torch.func.functional_call(layer, {"weight": weight, "bias": bias}, x)

        assert torch.autograd.gradcheck(f, (x, layer.weight, layer.bias))


def test_overlap_add_is_the_adjoint_of_windows():
    for kernel, stride in GEOMETRIES:
        x = normal(2, 11, 3)
        cut = windows(x, kernel, stride)
        y = torch.randn_like(cut)
        torch.testing.assert_close((cut * y).sum(), (x * overlap_add(y, kernel, stride, 11)).sum())


def test_sign_of_zero_is_plus_one():
    x = torch.tensor([-2.0, -1e-30, -0.0, 0.0, 1e-30, 3.0])
    assert sign(x).tolist() == [-1, -1, 1, 1, 1, 1]
    assert sign_ste(x).tolist() == sign(x).tolist()
    assert sign_ste(x.bfloat16()).dtype == torch.bfloat16


def test_sign_passes_gradient_up_to_and_including_one():
    above = math.nextafter(1.0, 2.0)
    x = torch.tensor([-above, -1.0, -0.3, 0.0, 0.3, 1.0, above], dtype=torch.float64, requires_grad=True)
    sign_ste(x).backward(torch.arange(1.0, 8.0, dtype=torch.float64))
    assert x.grad.tolist() == [0, 2, 3, 4, 5, 6, 0]


def test_batch_norm_by_hand():
    norm = FrameBatchNorm(3).double()
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    x = normal(4, 5, 3)
    mean, variance = x.mean((0, 1)), x.var((0, 1), correction=0)
    wanted = (x - mean) / (variance + 1e-5).sqrt() * norm.weight + norm.bias
    torch.testing.assert_close(norm(x), wanted)

    # the running statistics hold 9 parts of the start (0 and 1) and one of the batch, with the unbiased variance
    norm.eval()
    running_mean, running_variance = 0.1 * mean, 0.9 + 0.1 * variance * 20 / 19
    wanted = (x - running_mean) / (running_variance + 1e-5).sqrt() * norm.weight + norm.bias
    torch.testing.assert_close(norm(x), wanted)


def test_lstm_equals_torch():
    ours = LSTM(4, 3).double()
    theirs = nn.LSTM(4, 3, batch_first=True).double()
    theirs.load_state_dict(ours.state_dict())
    x = normal(2, 6, 4).requires_grad_()
    x2 = x.detach().clone().requires_grad_()
    y, z = ours(x), theirs(x2)[0]
    upstream = torch.randn_like(y)
    y.backward(upstream)
    z.backward(upstream)
    grads = {name: p.grad for name, p in ours.named_parameters()}
    assert_same(
        {"out": y, "x": x.grad, **grads},
        {"out": z, "x": x2.grad, **{name: p.grad for name, p in theirs.named_parameters()}},
    )


def assert_uniform(weight: torch.Tensor, bound: float) -> None:
    assert weight.abs().max() <= bound
    assert weight.abs().max() > 0.98 * bound  # with over 1,000 draws, all but certain
    assert abs(weight.std().item() / (bound / math.sqrt(3)) - 1) < 0.05


def test_xavier_bounds_of_linear_and_lstm():
    module = nn.Sequential(nn.Linear(70, 40), LSTM(50, 30)).apply(xavier_init)
    assert_uniform(module[0].weight, math.sqrt(6 / 110))
    for gate_in, gate_hidden in zip(module[1].weight_ih_l0.chunk(4), module[1].weight_hh_l0.chunk(4), strict=True):
        assert_uniform(gate_in, math.sqrt(6 / 80))
        assert_uniform(gate_hidden, math.sqrt(6 / 60))
    for bias in (module[0].bias, module[1].bias_ih_l0, module[1].bias_hh_l0):
        assert not bias.any()


@pytest.mark.parametrize(("kind", "like"), [(TemporalConv, nn.Conv1d), (TemporalDeconv, nn.ConvTranspose1d)])
def test_xavier_bounds_of_convolutions_are_those_of_torch(kind, like):
    theirs = like(20, 30, 4, 2)
    nn.init.xavier_uniform_(theirs.weight)
    ours = kind(20, 30, 4, 2)
    assert_uniform(ours.weight, math.sqrt(6 / (4 * (20 + 30))))
    assert_uniform(theirs.weight, math.sqrt(6 / (4 * (20 + 30))))
    assert ours.weight.numel() == theirs.weight.numel()
    assert not ours.bias.any()


def test_bfloat16_is_close_to_float32():
    conv, deconv = TemporalConv(64, 32, 4, 2), TemporalDeconv(32, 64, 4, 2)
    x = torch.randn(8, 10, 64)
    exact = deconv(conv(x))
    with torch.autocast("cpu", torch.bfloat16):
        rounded = deconv(conv(x))
    assert (rounded - exact).norm() < 0.02 * exact.norm()


def test_lengths_of_all_kernels_and_strides():
    for kernel, stride, length in itertools.product((1, 2, 4, 7), (1, 2, 3), (7, 8, 9)):
        steps = TemporalConv(2, 2, kernel, stride)(torch.zeros(1, length, 2)).shape[1]
        assert steps == (length - kernel) // stride + 1
        assert TemporalDeconv(2, 2, kernel, stride)(torch.zeros(1, steps, 2)).shape[1] == (steps - 1) * stride + kernel
