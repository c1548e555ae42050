"""The Transformer of BTH and its kin against loops and torch's own layers, in float64."""

import math

import pytest
import torch
from torch import nn

from vhbench.errors import MethodError
from vhbench.methods.bert import Block, Encoder, LayerNorm, mean_squared_error


def test_the_layer_norm_divides_by_the_unbiased_deviation():
    norm = LayerNorm(5).double()
    nn.init.normal_(norm.scale)
    nn.init.normal_(norm.shift)
    x = torch.randn(7, 5, dtype=torch.float64)
    for row, out in zip(x, norm(x), strict=True):
        mean = sum(row) / 5
        deviation = math.sqrt(sum((value - mean) ** 2 for value in row) / 4)
        for i in range(5):
            expected = norm.scale[i] * (row[i] - mean) / (deviation + 1e-6) + norm.shift[i]
            assert out[i].item() == pytest.approx(expected.item(), rel=1e-12)


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_the_attention_is_torchs(heads):
    torch.manual_seed(0)
    block = Block(8, heads, 0.0).double()
    reference = nn.MultiheadAttention(8, heads, batch_first=True).double()
    reference.in_proj_weight = block.qkv.weight
    reference.in_proj_bias = block.qkv.bias
    reference.out_proj = block.attended
    x = torch.randn(3, 6, 8, dtype=torch.float64)
    normed = block.norm_attention(x)
    torch.testing.assert_close(block.attend(x), x + reference(normed, normed, normed)[0])


@pytest.mark.parametrize(("width", "heads"), [(7, 1), (8, 3)])
def test_a_width_that_does_not_fit_is_refused(width, heads):
    with pytest.raises(MethodError, match=f"multiple of the {heads} heads; it is {width}"):
        Encoder(4, 5, width, 1, heads, 0.1)


def test_parameters_of_the_released_size():
    count = sum(p.numel() for p in Encoder(25, 4096, 256, 1, 1, 0.1).parameters())
    attention, feed_forward, norms = 4 * (256 * 256 + 256), 2 * 256 * 1024 + 1024 + 256, 4 * 256
    assert count == 4096 * 256 + 256 + attention + feed_forward + norms


def test_the_squared_error_and_its_gradients_are_those_of_rebuilt_frames():
    torch.manual_seed(0)
    read_out = nn.Linear(4, 9).double()
    target, states = torch.randn(5, 3, 9).double(), torch.randn(5, 3, 4).double().requires_grad_()
    inputs = [states, *read_out.parameters()]
    error, plain = mean_squared_error(target, states, read_out), nn.functional.mse_loss(read_out(states), target)
    torch.testing.assert_close(error, plain)
    torch.testing.assert_close(torch.autograd.grad(error, inputs), torch.autograd.grad(plain, inputs))
