"""BerVAE against the numbers of its authors' program (README.md), in float64."""

import pytest
import torch
from bert_state import assert_gradients, released
from reading import Numbers, assert_close

from vhbench.methods import bervae
from vhbench.methods.bervae import BerVAE, prior_divergence, signs, u2g
from vhbench.training import Moment

NUMBERS = Numbers("bervae")
NAMES = {"course.weight": "sequence_restore.weight"} | {
    f"{ours}.{leaf}": f"{theirs}.{leaf}"
    for ours, theirs in (("binary", "binary"), ("read_out", "restore"))
    for leaf in ("weight", "bias")
}
DECODER = ("course", "read_out")
ENCODER = 20  # its gradients
METHOD = BerVAE(16, width=32, target="described")  # the file has a target apart from the input
SEEN, TARGET = NUMBERS["in/mask_input"], NUMBERS["in/target"]


@pytest.fixture
def module():
    return released(METHOD.build(25, 48), NUMBERS, NAMES).eval()


@pytest.fixture
def step(module, monkeypatch):
    """Compute a step's gradient with the program's corruption and random numbers, at an epoch."""
    monkeypatch.setattr(bervae, "corrupted", lambda videos, target: (SEEN, TARGET))
    uniform = [NUMBERS[f"in/{name}"] for name in ("u_code", "u2g_u1", "u2g_u2")]
    monkeypatch.setattr(torch, "rand_like", lambda like: uniform.pop(0))

    def gradient(epoch, **params):
        method = BerVAE(16, width=32, **params)
        return method.gradient(module, TARGET, Moment(epoch, 201, torch.arange(6)))

    return gradient


def test_each_stage_of_the_network(module):
    hidden = module.encoder(SEEN)
    phi = module.logits(hidden)
    assert_close(hidden, NUMBERS["out/encoder"])
    assert_close(module.binary(hidden), NUMBERS["out/frame_logits"])
    assert_close(phi, NUMBERS["out/phi"])
    assert_close(phi.sigmoid(), NUMBERS["out/prob"])
    codes = signs(NUMBERS["in/u_code"] < phi.sigmoid(), phi)
    assert torch.equal(codes, NUMBERS["out/code_sampled"])
    courses = module.course(codes.unsqueeze(2)).transpose(1, 2)
    assert_close(courses, NUMBERS["out/sequence_code"])
    assert_close(module.read_out(courses), NUMBERS["out/reconstruction"])
    assert_close(module.error(TARGET).mean(codes), NUMBERS["out/loss_rec"])
    assert_close(prior_divergence(phi.sigmoid()), NUMBERS["out/loss_kl_unweighted"])


def test_the_error_of_any_code_is_that_of_its_rebuilt_frames(module):
    codes = torch.randn(6, 16, dtype=torch.float64)
    rebuilt = module.read_out(module.course(codes.unsqueeze(2)).transpose(1, 2))
    errors = (TARGET - rebuilt).square().sum((1, 2))
    error = module.error(TARGET)
    assert_close(error.mean(codes), errors.sum() / TARGET.numel())
    constants = (TARGET - module.read_out.bias).square().sum((1, 2))
    assert_close(error.of_codes(codes), errors - constants)


def test_codes_are_the_more_probable_bits(module):
    assert_close(module.logits(module.encoder(SEEN)).sigmoid(), NUMBERS["out/eval/prob"])
    assert torch.equal(METHOD.codes(module, SEEN), NUMBERS["out/eval/b"] > 0)


def test_the_straight_through_step(module, step):
    parts = step(4)
    assert_close(parts["recon"], NUMBERS["out/loss_rec"])
    assert_close(parts["prior"], 0.1 * NUMBERS["out/loss_kl_unweighted"])
    assert_close(sum(parts.values()), NUMBERS["out/loss_total"])
    assert assert_gradients(module, NUMBERS, "warmup_encoder", NAMES) == 3


def test_the_reconstructions_gradients(module, step):
    step(4, kl_weight=0.0)
    assert assert_gradients(module, NUMBERS, "rec_straight_through", NAMES) == 23


def test_the_divergences_gradients(module):
    (0.1 * prior_divergence(module.logits(module.encoder(SEEN)).sigmoid())).backward()
    assert assert_gradients(module, NUMBERS, "kl", NAMES) == ENCODER


def test_the_unbiased_estimate_and_the_encoders_gradients(module, step):
    phi, error = module.logits(module.encoder(SEEN)).detach(), module.error(TARGET)
    draws = [u2g(phi, error.of_codes, NUMBERS[f"in/u2g_u{draw}"]) / error.numbers for draw in (1, 2)]
    for number, draw in enumerate(draws, 1):
        assert_close(draw, NUMBERS[f"out/u2g_draw{number}"])
    assert_close(sum(draws) / 2, NUMBERS["out/u2g_mean"])
    parts = step(5)
    assert_close(parts["recon"], NUMBERS["out/loss_rec"])
    assert assert_gradients(module, NUMBERS, "u2g_plus_kl", NAMES) == ENCODER
    for name, parameter in module.named_parameters():
        if name.startswith(DECODER):
            assert_close(parameter.grad, NUMBERS[f"grad/rec_straight_through/{NAMES[name]}"], what=name)


def test_the_estimates_mean_is_the_exact_gradient(module):
    phi, error = module.logits(module.encoder(SEEN)).detach(), module.error(TARGET)
    torch.manual_seed(0)
    mean = sum(u2g(phi, error.of_codes, torch.rand_like(phi)) for _ in range(4000)) / 4000 / error.numbers
    exact = NUMBERS["out/exact_grad_phi_of_expected_rec"]
    assert (mean - exact).norm() < 0.1 * exact.norm()
