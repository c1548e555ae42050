"""The transformer block against torch's own attention and against loops, and the sine positions by hand."""

import math

import pytest
import torch
from torch import nn

from vhbench.errors import MethodError
from vhbench.methods.transformer import Attention, TransformerBlock, sine_positions


@pytest.fixture(autouse=True)
def _seed():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def random_(module: nn.Module) -> nn.Module:
    for parameter in module.double().parameters():
        nn.init.normal_(parameter)
    return module


def test_heads_that_fill_the_width_are_torchs_attention_without_a_bias_of_keys():
    ours, theirs = random_(Attention(6, 3)), nn.MultiheadAttention(6, 3, batch_first=True).double()
    with torch.no_grad():
        theirs.in_proj_weight.copy_(ours.query_key_value.weight)
        theirs.in_proj_bias.copy_(torch.cat([ours.query_bias, torch.zeros(6), ours.value_bias]))
        theirs.out_proj.load_state_dict(ours.out.state_dict())
    x = torch.randn(4, 5, 6, dtype=torch.float64)
    torch.testing.assert_close(ours(x), theirs(x, x, x)[0])


def test_heads_that_do_not_fill_the_width_by_loops():
    attention, x = random_(Attention(5, 2)), torch.randn(2, 3, 5, dtype=torch.float64)
    assert attention.out.in_features == 4  # two heads of 5 // 2
    bias = attention.query_bias.detach()
    q, k, v = (weight.detach() for weight in attention.query_key_value.weight.chunk(3))
    expected = torch.zeros(2, 3, 4, dtype=torch.float64)
    for video in range(2):
        for head in (slice(0, 2), slice(2, 4)):
            for token in range(3):
                query = q[head] @ x[video, token] + bias[head]
                scores = [math.exp(query @ (k[head] @ x[video, other]) / math.sqrt(2)) for other in range(3)]
                for other in range(3):
                    value = v[head] @ x[video, other] + attention.value_bias[head]
                    expected[video, token, head] += scores[other] / sum(scores) * value
    torch.testing.assert_close(attention(x), attention.out(expected))


def test_a_block_normalises_before_each_of_its_two_residuals():
    block, x = random_(TransformerBlock(4, 2)), torch.randn(2, 3, 4, dtype=torch.float64)
    middle = x + block.attention(nn.functional.layer_norm(x, (4,), block.norm1.weight, block.norm1.bias, 1e-6))
    normal = nn.functional.layer_norm(middle, (4,), block.norm2.weight, block.norm2.bias, 1e-6)
    hidden = block.mlp[0](normal)
    active = hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2)))
    assert hidden.shape[2] == 16
    torch.testing.assert_close(block(x), middle + block.mlp[2](active))


@pytest.mark.parametrize("width", [6, 5])
def test_sine_positions_value_by_value(width):
    table = sine_positions(30, width)
    assert table.dtype == torch.float32 and table.shape == (30, width)
    for t in range(30):
        for j in range(width):
            angle = t / 10000 ** ((j - j % 2) / width)
            assert table[t, j].item() == pytest.approx(math.cos(angle) if j % 2 else math.sin(angle), abs=1e-7)


@pytest.mark.parametrize("heads", [0, 9])
def test_a_head_needs_a_unit(heads):
    with pytest.raises(MethodError, match=f"heads must be between 1 and the width of a token, 8; it is {heads}"):
        TransformerBlock(8, heads)
