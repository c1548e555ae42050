"""BL2: the decoder against a loop that reads its frames back, what crosses the bottleneck, the loss by hand."""

import numpy as np
import pytest
import torch
from torch import nn

from vhbench.method import Budget, FitContext
from vhbench.methods import bl2, variational
from vhbench.methods.bl2 import BL2
from vhbench.methods.layers import sign
from vhbench.methods.variational import Autoencoder
from vhbench.training import Moment
from vhbench.videos import VideoSet

FIRST, LAST = Moment(0, 80), Moment(79, 80)  # of the deterministic and of the probabilistic stage


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    """Few hidden units, so that a step takes milliseconds; nothing else changes."""
    monkeypatch.setattr(bl2, "HIDDEN", 5)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def make(frames: int = 6, dim: int = 3, bits: int = 4, **params) -> tuple[BL2, Autoencoder]:
    """Return a method and its network in float64, every parameter random so that no bias is 0."""
    method = BL2(bits, **{"intermediate": 7, "dropout": 0.0, **params})
    module = method.build(frames, dim).double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(0.7 * torch.randn_like(parameter))
    return method, module


def videos(n: int = 4, frames: int = 6, dim: int = 3) -> torch.Tensor:
    return torch.randn(n, frames, dim, dtype=torch.float64)


def signs(n: int = 4, bits: int = 4) -> torch.Tensor:
    return sign(torch.randn(n, bits, dtype=torch.float64))


# the network


def read_back(decoder: nn.Module, h: torch.Tensor) -> torch.Tensor:
    """Run the decoder as it is defined: make a frame, read it, make the next."""
    lstm, made = decoder.lstm, []
    weights = lstm.weight_ih_l0, lstm.weight_hh_l0, lstm.bias_ih_l0, lstm.bias_hh_l0
    hidden = c = h.new_zeros(len(h), lstm.hidden_size)
    frame = decoder.to_frame(decoder.project(h))
    for _ in range(decoder.frames):
        hidden, c = torch.lstm_cell(frame, (hidden, c), *weights)
        frame = decoder.read_out(decoder.dropout(hidden))
        made.append(frame)
    return torch.stack(made, 1)


@pytest.mark.parametrize("frames", [2, 25])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_decoder_and_its_gradients_equal_a_loop_that_reads_its_frames_back(frames, dropout):
    _, module = make(frames, dropout=dropout)
    decoder, h = module.decoder, signs().requires_grad_()
    upstream = torch.randn(4, frames, 3, dtype=torch.float64)
    results = []
    for run in (decoder, lambda h: read_back(decoder, h)):
        torch.manual_seed(2)
        made = run(h)
        results.append([made, *torch.autograd.grad(made, [h, *decoder.parameters()], upstream)])
    for ours, wanted in zip(*results, strict=True):
        torch.testing.assert_close(ours, wanted, rtol=1e-10, atol=1e-12)


def test_a_decoder_of_one_frame_reads_the_projection_only():
    _, module = make(1)
    h = signs()
    torch.testing.assert_close(module.decoder(h), read_back(module.decoder, h), rtol=1e-10, atol=1e-12)


def test_encoder_equals_a_loop_over_elements():
    _, module = make()
    x = videos(2)
    mu, log_sigma = (t.detach().numpy() for t in module.encoder(x))
    w = {name: value.detach().numpy() for name, value in module.encoder.named_parameters()}

    def squash(v: float) -> float:
        return 1 / (1 + np.exp(-v))

    for n, frames in enumerate(x.numpy()):
        h, c = np.zeros(5), np.zeros(5)
        for frame in frames:
            gates = np.empty(20)
            for row in range(20):
                gates[row] = w["lstm.bias_ih_l0"][row] + w["lstm.bias_hh_l0"][row]
                gates[row] += sum(w["lstm.weight_ih_l0"][row, j] * frame[j] for j in range(3))
                gates[row] += sum(w["lstm.weight_hh_l0"][row, j] * h[j] for j in range(5))
            for unit in range(5):
                i, f, g, o = (gates[unit + 5 * gate] for gate in range(4))
                c[unit] = squash(f) * c[unit] + squash(i) * np.tanh(g)
                h[unit] = squash(o) * np.tanh(c[unit])
        for found, head in ((mu[n], "mu"), (log_sigma[n], "log_sigma")):
            wanted = w[f"heads.{head}.weight"] @ np.tanh(h) + w[f"heads.{head}.bias"]
            np.testing.assert_allclose(found, wanted, rtol=1e-10)


@pytest.mark.parametrize("frames", [1, 2, 7, 30])
def test_the_code_depends_on_every_frame(frames):
    _, module = make(frames)
    x = videos(1, frames).requires_grad_()
    module.encoder(x)[0].sum().backward()
    assert x.grad.abs().sum(2).all()


def test_the_decoder_knows_the_code_only():
    """Two videos with one code are decoded alike: no state and no frame passes beside the code."""
    method, module = make()
    seen = []
    module.decoder.register_forward_hook(lambda _, args, out: seen.append((args, out)))
    method.loss(module, videos(64), FIRST)
    ((h,), decoded) = seen[0]
    assert h.abs().eq(1).all()
    codes, group = torch.unique(h, dim=0, return_inverse=True)
    assert len(codes) < len(h)
    assert torch.equal(decoded, torch.stack([decoded[group == g][0] for g in group]))


def test_sizes_at_full_size():
    with torch.device("meta"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(bl2, "HIDDEN", 256)
        module = BL2(64).build(25, 4096)
    lstm = 4 * 256 * (4096 + 256 + 2)
    heads, to_frame, read_out = 2 * 257 * 64, 257 * 4096, 257 * 4096
    project = 65 * 4096 + 4097 * 256
    assert sum(p.numel() for p in module.encoder.parameters()) == lstm + heads
    assert sum(p.numel() for p in module.decoder.parameters()) == project + to_frame + lstm + read_out


def test_weights_start_xavier_uniform_gate_by_gate_and_biases_at_0():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bl2, "HIDDEN", 64)
        module = BL2(16, intermediate=128).build(3, 100)
    for name, p in module.named_parameters():
        if "bias" in name:
            assert not p.any(), name
            continue
        for part in p.chunk(4) if "lstm" in name else [p]:
            bound = (6 / sum(part.shape)) ** 0.5
            assert part.abs().max() <= bound, name
            assert part.std().item() == pytest.approx(bound / 3**0.5, rel=0.05), name


# the loss (Eq. 2, 6, 15) and the two stages


def test_loss_terms_by_hand():
    method, module = make(kl_weight=0.7, recon_weight=2.0)
    x = videos()
    torch.manual_seed(5)
    terms = {name: value.item() for name, value in method.loss(module, x, LAST).items()}
    with torch.no_grad():
        mu, log_sigma = module.encoder(x)
        torch.manual_seed(5)
        noise = torch.randn(4, 4, dtype=torch.float64)
        decoded = read_back(module.decoder, torch.where(mu + log_sigma.exp() * noise >= 0, 1.0, -1.0).double()).numpy()
    m, s, v = mu.numpy(), log_sigma.numpy(), x.numpy()
    kl = recon = 0.0
    for i in range(4):
        for k in range(4):
            kl -= 0.5 * (1 + 2 * s[i, k] - m[i, k] ** 2 - np.exp(2 * s[i, k])) / 4
        for j in range(6):
            recon += sum((v[i, j, d] - decoded[i, j, d]) ** 2 for d in range(3)) / (6 * 4)
    assert terms == pytest.approx({"recon": 2.0 * recon, "kl": 0.7 * kl}, rel=1e-9)


def test_gradients_by_finite_differences():
    _, module = make(frames=4, dim=2, bits=3)
    noise = torch.randn(2, 3, dtype=torch.float64)
    names = [name for name, _ in module.named_parameters()]

    class Loss(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = module

        def forward(self, x):
            mu, log_sigma = self.net.encoder(x)
            decoded = self.net.decoder(mu + log_sigma.exp() * noise)  # without sign, so that it is smooth
            return torch.stack([variational.reconstruction(x, decoded), variational.kl_divergence(mu, log_sigma)])

    loss = Loss()

    def f(x, *parameters):
        return torch.func.functional_call(loss, {f"net.{n}": p for n, p in zip(names, parameters, strict=True)}, x)

    inputs = (videos(2, 4, 2).requires_grad_(), *module.parameters())
    assert torch.autograd.gradcheck(f, inputs, fast_mode=True)


def test_every_parameter_learns_through_the_sign():
    method, module = make()
    sum(method.loss(module, videos(), LAST).values()).backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_only_the_second_stage_samples_and_has_kl():
    method, module = make()
    x = videos()
    for moment, keys in ((FIRST, {"recon"}), (LAST, {"recon", "kl"})):
        losses = []
        for seed in range(2):
            torch.manual_seed(seed)
            losses.append(method.loss(module, x, moment))
        assert losses[0].keys() == keys
        assert torch.equal(losses[0]["recon"], losses[1]["recon"]) == (moment is FIRST)


@pytest.mark.parametrize("start_at_mean", [True, False])
def test_the_read_out_starts_at_the_mean_frame_or_at_zero(start_at_mean):
    frames = np.random.default_rng(0).random((6, 8, 3), dtype=np.float32)
    method = BL2(4, start_at_mean=start_at_mean)
    module = method.build(8, 3)
    method.prepare(module, VideoSet(frames), FitContext())
    wanted = frames.reshape(-1, 3).astype(np.float64).mean(0) if start_at_mean else np.zeros(3)
    np.testing.assert_allclose(module.decoder.read_out.bias.detach().numpy(), wanted, rtol=1e-6)


# fit and encode


def test_codes_are_the_sign_of_mu():
    method, module = make()
    x = videos(50)
    codes = method.codes(module.eval(), x)
    assert torch.equal(codes, module.encoder(x)[0] >= 0)
    assert 0 < codes.float().mean() < 1


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_training_lowers_the_loss(monkeypatch, precision):
    monkeypatch.setattr(bl2, "HIDDEN", 16)
    rng = np.random.default_rng(0)
    centres = 3 * rng.standard_normal((4, 3, 6))
    train = VideoSet((centres[np.arange(60) % 4] + 0.3 * rng.standard_normal((60, 3, 6))).astype(np.float32))
    told = []
    ctx = FitContext(precision=precision, budget=Budget(epochs=25), report=lambda epoch: told.append(epoch.parts))
    method = BL2(8, batch_size=20, lr=1e-2, intermediate=32, warmup=1.0).fit(train, ctx)
    assert told[-1]["recon"] < 0.5 * told[0]["recon"]
    assert len(np.unique(method.encode(train), axis=0)) > 1


@pytest.mark.parametrize("intermediate", [0, 9])
def test_intermediate_is_the_size_of_t_p(intermediate):
    _, module = make(intermediate=intermediate)
    widths = [tuple(p.shape) for p in module.decoder.project.parameters() if p.dim() == 2]
    assert widths == ([(9, 4), (5, 9)] if intermediate else [(5, 4)])
