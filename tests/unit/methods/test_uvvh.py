"""UVVH against the paper: lengths, sizes, loss terms, the two stages, what the decoder reads."""

import numpy as np
import pytest
import torch

from vhbench.errors import MethodError
from vhbench.method import Budget, FitContext
from vhbench.methods import uvvh, variational
from vhbench.methods.layers import sign
from vhbench.methods.uvvh import UVVH, geometry
from vhbench.methods.variational import Autoencoder
from vhbench.training import Moment, NeuralMethod
from vhbench.videos import VideoSet

FIRST, LAST = Moment(0, 80), Moment(79, 80)  # of the deterministic and of the probabilistic stage


@pytest.fixture
def narrow(monkeypatch):
    """Few channels, so that a step takes milliseconds; nothing else changes."""
    monkeypatch.setattr(uvvh, "CHANNELS", (6, 5, 4))
    monkeypatch.setattr(uvvh, "LSTM_HIDDEN", 5)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def make(frames: int = 8, dim: int = 3, bits: int = 6, **params) -> tuple[UVVH, Autoencoder]:
    method = UVVH(bits, **{"intermediate": 7, "dropout": 0.0, **params})
    return method, method.build(frames, dim).double()


def videos(n: int = 4, frames: int = 8, dim: int = 3) -> torch.Tensor:
    return torch.randn(n, frames, dim, dtype=torch.float64)


def lengths_of(frames: int, kernels: tuple[int, ...]) -> list[int]:
    lengths = [frames]
    for kernel in kernels:
        lengths.append((lengths[-1] - kernel) // 2 + 1)
    return lengths


def decoder_input(method: UVVH, module: Autoencoder, batch: torch.Tensor, moment: Moment) -> torch.Tensor:
    seen = []
    handle = module.decoder.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    method.loss(module, batch, moment)
    handle.remove()
    return seen[0]


# lengths (Table I; methods.md 1.5)


@pytest.mark.parametrize("frames", range(8, 65))
def test_mirror_shrinks_to_one_reads_every_frame_and_grows_back(narrow, frames):
    kernels, padding = geometry(frames)
    lengths = lengths_of(frames, kernels)
    assert lengths[-1] == 1
    assert padding == (0, 0, 0)
    grown = [1]
    for kernel in reversed(kernels):
        grown.append((grown[-1] - 1) * 2 + kernel)
    assert grown == lengths[::-1]

    _, module = make(frames, dim=2)
    module.eval()
    x = videos(1, frames, 2).requires_grad_()
    mu, _ = module.encoder(x)
    mu.sum().backward()
    assert x.grad.abs().sum(2).all()
    assert module.decoder(mu).shape == (1, frames, 2)


@pytest.mark.parametrize(
    ("frames", "kernels", "lengths"),
    [
        (25, (7, 4, 4), [25, 10, 4, 1]),
        (30, (12, 4, 4), [30, 10, 4, 1]),
        (22, (4, 4, 4), [22, 10, 4, 1]),
        (14, (4, 4, 2), [14, 6, 2, 1]),
    ],
)
def test_lengths_that_the_text_lists(frames, kernels, lengths):
    assert geometry(frames)[0] == kernels
    assert lengths_of(frames, kernels) == lengths


def test_literal_lengths_of_25_frames(narrow):
    kernels, padding = geometry(25, "literal")
    assert kernels == (4, 4, 4)
    assert lengths_of(25, kernels) == [25, 11, 4, 1]
    assert padding == (0, 1, 1)
    _, module = make(25, lengths="literal")
    module.eval()
    x = videos(1, 25).requires_grad_()
    mu, _ = module.encoder(x)
    mu.sum().backward()
    read = x.grad.abs().sum(2)[0] > 0
    assert read.tolist() == [True] * 22 + [False] * 3  # the printed kernels see 22 frames
    assert module.decoder(mu).shape == (1, 25, 3)


@pytest.mark.parametrize("frames", range(22, 30))
def test_literal_kernels_fit_22_to_29_frames(narrow, frames):
    method, module = make(frames, lengths="literal")
    assert method.loss(module, videos(2, frames), LAST)["recon"].isfinite()


@pytest.mark.parametrize("frames", [8, 21, 30, 40])
def test_literal_kernels_fit_nothing_else(frames):
    with pytest.raises(MethodError, match="22 to 29 frames"):
        geometry(frames, "literal")


def test_impossible_geometries_are_explained():
    with pytest.raises(MethodError, match="at least 8 frames"):
        geometry(7)
    with pytest.raises(MethodError, match="'mirror' or 'literal'"):
        geometry(25, "printed")


@pytest.mark.parametrize(("lengths", "millions"), [("mirror", 40.4), ("literal", 27.9)])
def test_parameter_count_at_full_size(lengths, millions):
    with torch.device("meta"):
        module = UVVH(64, lengths=lengths).build(25, 4096)
    assert round(sum(p.numel() for p in module.parameters()) / 1e6, 1) == millions


# loss (Eq. 2, 6, 8, 9, 15, 18, 19)


@pytest.mark.parametrize("weight", [0.0, 0.3])
def test_loss_terms_by_hand(narrow, weight):
    method, module = make(kl_weight=0.7, recon_weight=2.0, quantization_weight=weight)
    x = videos()
    torch.manual_seed(5)
    terms = {name: value.item() for name, value in method.loss(module, x, LAST).items()}

    with torch.no_grad():
        mu, log_sigma = module.encoder(x)
        torch.manual_seed(5)
        z = mu + log_sigma.exp() * torch.randn_like(mu)
        decoded = module.decoder(z if weight else torch.where(z >= 0, 1.0, -1.0).double()).numpy()
    m, s, z, v = mu.numpy(), np.exp(log_sigma.numpy()), z.numpy(), x.numpy()
    n, frames, _ = v.shape
    kl = sum(-0.5 * sum(1 + np.log(s[i] ** 2) - m[i] ** 2 - s[i] ** 2) for i in range(n)) / n
    recon = sum(np.sum((v[i, j] - decoded[i, j]) ** 2) for i in range(n) for j in range(frames)) / (frames * n)
    wanted = {"recon": 2.0 * recon, "kl": 0.7 * kl}
    if weight:
        wanted["quantization"] = weight * sum(np.linalg.norm(np.where(z[i] >= 0, 1, -1) - z[i]) for i in range(n)) / n
    assert terms == pytest.approx(wanted, rel=1e-9)


def test_kl_is_zero_at_the_prior_and_positive_elsewhere():
    zero = torch.zeros(2, 4)
    assert variational.kl_divergence(zero, zero).item() == 0
    for mu, log_sigma in ((zero + 1, zero), (zero, zero + 1), (zero, zero - 1)):
        assert variational.kl_divergence(mu, log_sigma) > 0


def test_quantization_holds_the_code_constant():
    z = torch.tensor([[0.5, -2.0, 0.0]], dtype=torch.float64, requires_grad=True)
    loss = variational.quantization(z)
    assert loss.item() == pytest.approx(np.sqrt(0.25 + 1 + 1))
    loss.backward()
    np.testing.assert_allclose(z.grad.numpy(), np.array([[-0.5, -1.0, -1.0]]) / 1.5)
    at_code = torch.ones(1, 3, requires_grad=True)
    variational.quantization(at_code).backward()
    assert at_code.grad.isfinite().all()


def test_gradients_by_finite_differences(narrow):
    _, module = make(frames=8, dim=2, bits=3)
    module.eval()
    noise = torch.randn(2, 3, dtype=torch.float64)
    names = [name for name, _ in module.named_parameters()]

    class Loss(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = module

        def forward(self, x):
            mu, log_sigma = self.net.encoder(x)
            z = mu + log_sigma.exp() * noise
            terms = (
                variational.reconstruction(x, self.net.decoder(z)),
                variational.kl_divergence(mu, log_sigma),
                variational.quantization(z),
            )
            return torch.stack(terms)

    loss = Loss()

    def f(x, *parameters):
        return torch.func.functional_call(loss, {f"net.{n}": p for n, p in zip(names, parameters, strict=True)}, x)

    inputs = (videos(2, 8, 2).requires_grad_(), *module.parameters())
    assert torch.autograd.gradcheck(f, inputs, fast_mode=True)


# the two stages (Section IV-C) and the variants


def test_first_stage_is_deterministic_and_without_kl(narrow):
    method, module = make()
    x = videos()
    losses = []
    for seed in range(2):
        torch.manual_seed(seed)
        losses.append(method.loss(module, x, FIRST))
    assert losses[0] == losses[1]
    assert losses[0].keys() == {"recon"}
    mu, _ = module.encoder(x)
    assert torch.equal(decoder_input(method, module, x, FIRST), sign(mu))


def test_second_stage_samples_and_adds_kl(narrow):
    method, module = make()
    x = videos()
    mu, log_sigma = module.encoder(x)
    torch.manual_seed(1)
    h = decoder_input(method, module, x, LAST)
    torch.manual_seed(1)
    assert torch.equal(h, sign(mu + log_sigma.exp() * torch.randn_like(mu)))
    assert not torch.equal(h, sign(mu))
    assert method.loss(module, x, LAST).keys() == {"recon", "kl"}


# 20 epochs: 12.5 rounds to 12, as Python rounds halves to even
@pytest.mark.parametrize(("epochs", "first"), [(80, 50), (40, 25), (20, 12), (16, 10), (4, 2), (1, 1)])
def test_stage_boundary_scales_with_the_epochs(narrow, epochs, first):
    method, module = make()
    x = videos()
    sampled = ["kl" in method.loss(module, x, Moment(epoch, epochs)) for epoch in range(epochs)]
    assert sampled == [epoch >= first for epoch in range(epochs)]


def test_fit_passes_the_boundary(narrow):
    told = []
    data = VideoSet(np.random.default_rng(0).standard_normal((6, 8, 3)))
    ctx = FitContext(budget=Budget(epochs=3), report=lambda epoch: told.append(set(epoch.parts)))
    UVVH(4, batch_size=3, intermediate=7).fit(data, ctx)
    assert told == [{"recon"}, {"recon"}, {"recon", "kl"}]


@pytest.mark.parametrize(("variant", "first"), [("uvh", 80), ("uvvh-1", 0), ("uvvh-nopro", 50), ("uvvh-q", 50)])
def test_stages_of_the_variants(narrow, variant, first):
    method, module = make(**UVVH.variants[variant][1])
    x = videos()
    assert [e for e in (0, 49, 50, 79) if "kl" in method.loss(module, x, Moment(e, 80))] == [
        e for e in (0, 49, 50, 79) if e >= first
    ]


def test_quantization_variant_decodes_z_without_sign(narrow):
    method, module = make(**UVVH.variants["uvvh-q"][1])
    x = videos()
    mu, log_sigma = module.encoder(x)
    assert torch.equal(decoder_input(method, module, x, FIRST), mu)
    torch.manual_seed(1)
    z = decoder_input(method, module, x, LAST)
    torch.manual_seed(1)
    assert torch.equal(z, mu + log_sigma.exp() * torch.randn_like(mu))


def test_codes_of_every_variant_are_the_sign_of_mu(narrow):
    for _, params in UVVH.variants.values():
        method, module = make(**params)
        module.eval()
        x = videos()
        assert torch.equal(method.codes(module, x), module.encoder(x)[0] >= 0)


def test_nopro_has_no_intermediate_projection(narrow):
    shapes = []
    for params in ({"intermediate": 4096}, UVVH.variants["uvvh-nopro"][1]):
        _, module = make(**params)
        shapes.append([tuple(p.shape) for p in module.decoder.project.parameters() if p.dim() == 2])
    assert shapes == [[(4096, 6), (4, 4096)], [(4, 6)]]


# what the decoder's LSTM reads (Eq. 14)


def test_lstm_reads_the_projection_then_the_coarse_frames(narrow):
    _, module = make()
    decoder = module.decoder.eval()
    seen = {}
    decoder.to_frame.register_forward_hook(lambda _, args, out: seen.update(t_hat=args[0], first=out))
    decoder.layers.register_forward_hook(lambda _, args, out: seen.update(coarse=out))
    decoder.lstm.register_forward_pre_hook(lambda _, args: seen.update(steps=args[0]))
    h = sign(torch.randn(2, 6, dtype=torch.float64))
    decoder(h)
    assert torch.equal(seen["steps"][:, :1], seen["first"])
    assert torch.equal(seen["steps"][:, 1:], seen["coarse"][:, :-1])
    first, _, _, second, _, _ = decoder.project  # linear, tanh, dropout; twice
    t_hat = torch.tanh(second(torch.tanh(first(h))))
    torch.testing.assert_close(seen["t_hat"], t_hat.unsqueeze(1))


@pytest.mark.parametrize(("frame", "first_changed"), [(-1, 8), (-2, 7), (0, 1)])
def test_a_coarse_frame_acts_on_later_frames_only(narrow, frame, first_changed):
    _, module = make()
    decoder = module.decoder.eval()
    h = torch.randn(2, 6, dtype=torch.float64)
    before = decoder(h)

    def disturb(_, args, out):
        out = out.clone()
        out[:, frame] += 1
        return out

    decoder.layers.register_forward_hook(disturb)
    changed = (decoder(h) != before).any(2).any(0)
    assert changed.tolist() == [j >= first_changed for j in range(8)]  # the last coarse frame: nothing


# encode


def fitted(method: UVVH) -> Autoencoder:
    train = VideoSet(np.random.default_rng(0).standard_normal((12, 8, 3)).astype(np.float32))
    return method.fit(train, FitContext(budget=Budget(epochs=3))).module_


@pytest.mark.parametrize("variant", [{}, {"warmup": 0.0}])
def test_one_learning_rate_is_one_adam(narrow, variant):
    class OneGroup(UVVH):
        optimizer = NeuralMethod.optimizer

    ours, plain = (fitted(kind(6, intermediate=7, **variant)).state_dict() for kind in (UVVH, OneGroup))
    assert all(torch.equal(value, plain[name]) for name, value in ours.items())


def test_the_encoder_can_be_slower_than_the_decoder(narrow):
    """Adam's first step moves every weight by its learning rate."""
    method, module = make(lr=1e-2, encoder_lr_factor=0.1, weight_decay=0.0)
    before = {name: p.detach().clone() for name, p in module.named_parameters()}
    sum(method.loss(module, videos(), LAST).values()).backward()
    method.optimizer(module).step()
    for name, p in module.named_parameters():
        moved = (p.detach() - before[name]).abs().max().item()
        if p.grad is not None and p.grad.abs().max() > 1e-6:  # below, Adam's epsilon shortens the step
            assert moved == pytest.approx(1e-3 if name.startswith("encoder.") else 1e-2, rel=1e-2), name


def test_encode_refuses_other_shapes(narrow):
    rng = np.random.default_rng(0)
    ctx = FitContext(budget=Budget(epochs=1))
    method = UVVH(4, batch_size=3, intermediate=7).fit(VideoSet(rng.standard_normal((6, 8, 3))), ctx)
    for shape in ((2, 9, 3), (2, 8, 4)):
        with pytest.raises(MethodError, match="8 frames x 3 dimensions"):
            method.encode(VideoSet(rng.standard_normal(shape)))


def test_log_sigma_is_clamped(narrow):
    _, module = make()
    torch.nn.init.constant_(module.encoder.heads.log_sigma.bias, 100.0)
    assert module.encoder(videos())[1].max() == 4
    torch.nn.init.constant_(module.encoder.heads.log_sigma.bias, -100.0)
    assert module.encoder(videos())[1].min() == -8


@pytest.mark.parametrize("start_at_mean", [True, False])
def test_the_decoder_starts_at_the_mean_frame_or_at_zero(narrow, start_at_mean):
    frames = np.random.default_rng(0).random((6, 8, 3), dtype=np.float32)
    method, module = make(start_at_mean=start_at_mean)
    method.prepare(module, VideoSet(frames), FitContext())
    wanted = frames.reshape(-1, 3).astype(np.float64).mean(0) if start_at_mean else np.zeros(3)
    np.testing.assert_allclose(module.decoder.read_out.bias.detach().numpy(), wanted, rtol=1e-6)
