"""BL3: no LSTM, the loss on the transposed convolutions' frames (Eq. 17), the linear and the literal last layer."""

import numpy as np
import pytest
import torch
from torch import nn

from vhbench.errors import MethodError
from vhbench.method import Budget, FitContext
from vhbench.methods import uvvh, variational
from vhbench.methods.bl3 import BL3
from vhbench.methods.uvvh import UVVH, geometry
from vhbench.methods.variational import Autoencoder
from vhbench.training import Moment
from vhbench.videos import VideoSet

FIRST, LAST = Moment(0, 80), Moment(79, 80)  # of the deterministic and of the probabilistic stage


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    """Few channels, so that a step takes milliseconds; nothing else changes."""
    monkeypatch.setattr(uvvh, "CHANNELS", (6, 5, 4))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def make(frames: int = 8, dim: int = 3, bits: int = 6, **params) -> tuple[BL3, Autoencoder]:
    """Return a method and its network in float64, every parameter random so that no bias is 0."""
    method = BL3(bits, **{"intermediate": 7, "dropout": 0.0, **params})
    module = method.build(frames, dim).double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn_like(parameter))
    return method, module


def videos(n: int = 4, frames: int = 8, dim: int = 3) -> torch.Tensor:
    return torch.randn(n, frames, dim, dtype=torch.float64)


# the network


@pytest.mark.parametrize("bounded", [True, False])
def test_there_is_no_recurrent_module(bounded):
    _, module = make(bounded=bounded)
    assert not [m for m in module.modules() if isinstance(m, nn.RNNBase | nn.RNNCellBase)]


@pytest.mark.parametrize("bounded", [True, False])
def test_parameters_are_uvvhs_without_the_lstm_and_its_two_maps(bounded):
    _, module = make(bounded=bounded)
    theirs = UVVH(6, intermediate=7).build(8, 3)
    beside = ("decoder.lstm.", "decoder.to_frame.", "decoder.read_out.") + (() if bounded else ("decoder.layers.7.",))
    wanted = {name: p.shape for name, p in theirs.named_parameters() if not name.startswith(beside)}
    assert {name: p.shape for name, p in module.named_parameters()} == wanted


def test_parameter_count_at_full_size():
    with torch.device("meta"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(uvvh, "CHANNELS", (512, 512, 256))
        module = BL3(64).build(25, 4096)
    conv = (7 * 4096 + 1) * 512 + (4 * 512 + 1) * 512 + (4 * 512 + 1) * 256
    deconv = 4 * 256 * 512 + 512 + 4 * 512 * 512 + 512 + 7 * 512 * 4096 + 4096
    norms, heads, project = 2 * (512 + 512 + 256) + 2 * (512 + 512), 2 * 257 * 64, 65 * 4096 + 4097 * 256
    assert sum(p.numel() for p in module.parameters()) == conv + deconv + norms + heads + project


def decoded_tap_by_tap(decoder: nn.Module, h: torch.Tensor, kernels: tuple[int, ...], padding: tuple[int, ...]):
    """Run the decoder in eval mode element by element, up to the last transposed convolution."""
    with torch.no_grad():
        x = decoder.project(h).unsqueeze(1).numpy()
    layers = list(decoder.layers)
    for layer, (kernel, pad) in enumerate(zip(kernels[::-1], padding, strict=True)):
        deconv = layers[3 * layer]
        batch, steps, channels = x.shape
        weight = deconv.weight.detach().numpy().reshape(channels, kernel, -1)
        out = np.zeros((batch, (steps - 1) * 2 + kernel + pad, weight.shape[2])) + deconv.bias.detach().numpy()
        for step in range(steps):
            for tap in range(kernel):
                out[:, 2 * step + tap] += x[:, step] @ weight[:, tap]
        x = out
        if layer < 2:
            norm = layers[3 * layer + 1]
            scale, shift, mean, var = (
                t.detach().numpy() for t in (norm.weight, norm.bias, norm.running_mean, norm.running_var)
            )
            x = np.tanh((x - mean) / np.sqrt(var + norm.eps) * scale + shift)
    return x


@pytest.mark.parametrize(("frames", "lengths"), [(8, "mirror"), (9, "mirror"), (25, "mirror"), (25, "literal")])
def test_frames_are_the_last_transposed_convolution(frames, lengths):
    _, module = make(frames, lengths=lengths)
    h = torch.randn(3, 6, dtype=torch.float64)
    module.decoder(h)  # so that the running statistics are others than 0 and 1
    module.eval()
    wanted = decoded_tap_by_tap(module.decoder, h, *geometry(frames, lengths))
    assert wanted.shape == (3, frames, 3)
    np.testing.assert_allclose(module.decoder(h).detach().numpy(), wanted, rtol=1e-9, atol=1e-12)


def test_bounded_ends_in_batch_norm_and_tanh():
    _, linear = make()
    _, bounded = make(bounded=True)
    bounded.load_state_dict(linear.state_dict(), strict=False)
    h = torch.randn(4, 6, dtype=torch.float64)
    frames = linear.decoder(h).detach()
    assert frames.abs().max() > 1
    norm = bounded.decoder.layers[7]
    flat = frames.flatten(0, 1)
    normed = (flat - flat.mean(0)) / (flat.var(0, unbiased=False) + norm.eps).sqrt()
    wanted = torch.tanh(normed * norm.weight + norm.bias).view_as(frames)
    torch.testing.assert_close(bounded.decoder(h), wanted, rtol=1e-9, atol=1e-12)


def test_every_coarse_frame_gets_a_gradient():
    method, module = make()
    seen = []

    def keep(_, args, out):
        out.retain_grad()
        seen.append(out)

    module.decoder.layers.register_forward_hook(keep)
    method.loss(module, videos(), FIRST)["recon"].backward()
    assert seen[0].grad.abs().sum((0, 2)).all()  # in UVVH the last one is not used


def test_short_videos_are_refused():
    with pytest.raises(MethodError, match="at least 8 frames"):
        BL3(4).build(7, 3)
    assert BL3.tags.min_frames == 8


# the loss (Eq. 2, 6, 17) and the two stages


def test_loss_terms_by_hand():
    method, module = make(kl_weight=0.7, recon_weight=2.0)
    module.eval()  # fixed statistics, as the loop over taps has them
    x = videos()
    torch.manual_seed(5)
    terms = {name: value.item() for name, value in method.loss(module, x, LAST).items()}
    with torch.no_grad():
        mu, log_sigma = module.encoder(x)
        torch.manual_seed(5)
        h = torch.where(mu + log_sigma.exp() * torch.randn_like(mu) >= 0, 1.0, -1.0).double()
    decoded = decoded_tap_by_tap(module.decoder, h, *geometry(8))
    m, s, v = mu.numpy(), log_sigma.numpy(), x.numpy()
    kl = recon = 0.0
    for i in range(4):
        kl -= sum(0.5 * (1 + 2 * s[i, k] - m[i, k] ** 2 - np.exp(2 * s[i, k])) for k in range(6)) / 4
        for j in range(8):
            recon += sum((v[i, j, d] - decoded[i, j, d]) ** 2 for d in range(3)) / (8 * 4)
    assert terms == pytest.approx({"recon": 2.0 * recon, "kl": 0.7 * kl}, rel=1e-9)


@pytest.mark.parametrize("bounded", [True, False])
def test_gradients_by_finite_differences(bounded):
    _, module = make(dim=2, bits=3, bounded=bounded)
    module.eval()
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

    inputs = (videos(2, 8, 2).requires_grad_(), *module.parameters())
    assert torch.autograd.gradcheck(f, inputs, fast_mode=True)


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


@pytest.mark.parametrize(
    ("params", "is_mean"), [({}, True), ({"start_at_mean": False}, False), ({"bounded": True}, False)]
)
def test_the_last_biases_start_at_the_mean_frame_where_they_can(params, is_mean):
    frames = np.random.default_rng(0).random((6, 8, 3), dtype=np.float32)
    method = BL3(4, intermediate=7, **params)
    module = method.build(8, 3)
    before = {name: p.clone() for name, p in module.state_dict().items()}
    method.prepare(module, VideoSet(frames), FitContext())
    changed = {name for name, p in module.state_dict().items() if not torch.equal(p, before[name])}
    assert changed == ({"decoder.layers.6.bias"} if is_mean else set())
    if is_mean:
        wanted = frames.reshape(-1, 3).astype(np.float64).mean(0)
        np.testing.assert_allclose(module.decoder.layers[6].bias.detach().numpy(), wanted, rtol=1e-6)


# fit and encode


def test_codes_are_the_sign_of_mu():
    method, module = make()
    x = videos(50)
    codes = method.codes(module.eval(), x)
    assert torch.equal(codes, module.encoder(x)[0] >= 0)
    assert 0 < codes.float().mean() < 1


@pytest.mark.parametrize("bounded", [True, False])
def test_training_reconstructs_activations_above_1_unless_bounded(monkeypatch, bounded):
    monkeypatch.setattr(uvvh, "CHANNELS", (16, 16, 16))
    rng = np.random.default_rng(0)
    centres = 3 * rng.standard_normal((4, 8, 6))
    features = (centres[np.arange(60) % 4] + 0.3 * rng.standard_normal((60, 8, 6))).astype(np.float32)
    within_1 = (np.maximum(np.abs(features) - 1, 0) ** 2).sum(2).mean()  # the least error of frames between -1 and 1
    told = []
    ctx = FitContext(budget=Budget(epochs=20), report=lambda epoch: told.append(epoch.parts["recon"]))
    method = BL3(8, batch_size=20, lr=1e-2, intermediate=32, warmup=1.0, bounded=bounded)
    method.fit(VideoSet(features), ctx)
    assert told[-1] < told[0]
    assert (told[-1] > within_1) == bounded
