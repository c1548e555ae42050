"""BerVAE beside its parity: the phases, one Adam in place of two, resuming, even frames."""

import numpy as np
import pytest
import torch
from resuming import assert_resumes

from vhbench.errors import MethodError
from vhbench.method import Budget, FitContext
from vhbench.methods.bervae import BerVAE, u2g
from vhbench.training import Moment
from vhbench.videos import VideoSet

BITS, DIM, VIDEOS = 6, 10, 26
SMALL = {"epochs": 4, "warmup_epochs": 2, "batch_size": 8, "width": 8}


def videos(frames: int = 5) -> VideoSet:
    return VideoSet(np.random.default_rng(0).random((VIDEOS, frames, DIM), dtype=np.float32))


@pytest.mark.parametrize("killed", [1, 2, 3])
def test_a_resumed_training_is_the_undisturbed_one_bit_for_bit(tmp_path, killed):
    assert_resumes(lambda: BerVAE(BITS, **SMALL), videos(), tmp_path, killed)


def gradients(epoch, warmup):
    torch.manual_seed(0)
    method = BerVAE(BITS, warmup_epochs=warmup, width=8, dropout=0.0, kl_weight=0.0)
    module = method.build(5, DIM)
    torch.manual_seed(1)
    parts = method.gradient(module, torch.cat(list(videos().batches(99))), Moment(epoch, method.epochs))
    return parts, {name: parameter.grad for name, parameter in module.named_parameters()}


def test_the_estimate_takes_the_draws_place_in_the_encoder_alone_after_the_warm_up():
    before, drawn = gradients(4, 5)
    after, estimated = gradients(5, 5)
    assert torch.equal(before["recon"], after["recon"])
    for name, gradient in drawn.items():
        same = torch.equal(gradient, estimated[name])
        assert same == name.startswith(("course", "read_out")) or not gradient.any(), name


def test_the_estimates_mean_is_the_slope_of_the_expected_error():
    torch.manual_seed(0)
    phi = torch.randn(1, 3, dtype=torch.float64, requires_grad=True)
    table = torch.randn(8, dtype=torch.float64)  # of each code of 3 bits: no quadratic form

    def error(codes):
        return table[((codes > 0) * torch.tensor([4, 2, 1])).sum(1)]

    every = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=torch.float64)] * 3)
    chance = torch.where(every > 0, phi.sigmoid(), 1 - phi.sigmoid()).prod(1)
    (exact,) = torch.autograd.grad((chance * error(every)).sum(), phi)
    draws = 200_000
    estimates = u2g(phi.detach().expand(draws, 3), error, torch.rand(draws, 3, dtype=torch.float64))
    error_of_mean = estimates.std(0) / draws**0.5
    assert ((estimates.mean(0) - exact[0]).abs() < 4 * error_of_mean).all()


def test_one_adam_steps_as_two_would():
    torch.manual_seed(0)
    method = BerVAE(BITS, width=8)
    module = method.build(5, DIM)
    other = method.build(5, DIM)
    other.load_state_dict(module.state_dict())
    decoder = [*other.course.parameters(), *other.read_out.parameters()]
    encoder = [p for p in other.parameters() if all(p is not q for q in decoder)]
    one, two = method.optimizer(module), [torch.optim.Adam(group, lr=3e-4) for group in (encoder, decoder)]
    batch = torch.cat(list(videos().batches(99)))
    for epoch in (4, 5, 6):
        for network, optimizers in ((module, [one]), (other, two)):
            network.zero_grad()
            torch.manual_seed(epoch)
            method.gradient(network, batch, Moment(epoch, method.epochs))
            for optimizer in optimizers:
                optimizer.step()
    for value, expected in zip(module.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-7)


def test_probabilities_of_0_and_1_have_finite_gradients():
    method = BerVAE(BITS, width=8)
    module = method.build(5, DIM)
    with torch.no_grad():
        module.binary.bias.copy_(torch.tensor([200.0, -200, 30, -30, 0, 1]))
    method.gradient(module, torch.cat(list(videos().batches(99))), Moment(9, 10))
    assert all(bool(p.grad.isfinite().all()) for p in module.parameters() if p.grad is not None)


@pytest.mark.parametrize("frames", [2, 8, 30])
def test_even_and_few_frames(frames):
    method = BerVAE(BITS, **SMALL).fit(videos(frames), FitContext(budget=Budget(1)))
    assert method.encode(videos(frames)).shape == (VIDEOS, BITS)


def test_an_unknown_target_is_refused_before_training():
    with pytest.raises(MethodError, match="target='clean' is unknown"):
        BerVAE(BITS, target="clean").fit(videos(), FitContext())
