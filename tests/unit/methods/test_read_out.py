"""The squared error of rebuilt frames, beside frames that are rebuilt."""

import pytest
import torch

from vhbench.methods.read_out import squared_error

DIM, BITS = 7, 5


def test_squared_error_without_reconstructed_frames_and_its_gradient():
    videos, states = torch.randn(3, 6, DIM).double(), torch.randn(3, 6, BITS).double().requires_grad_()
    read_out = torch.nn.Linear(BITS, DIM).double()
    found = squared_error(videos, videos.square().sum(), videos.sum((0, 1)), states, read_out)
    wanted = (videos - read_out(states)).square().sum()
    assert found.item() == pytest.approx(wanted.item(), rel=1e-12)
    inputs = (states, *read_out.parameters())
    for ours, theirs in zip(torch.autograd.grad(found, inputs), torch.autograd.grad(wanted, inputs), strict=True):
        torch.testing.assert_close(ours, theirs)
