"""ConMH: its start, its schedule, the error of hidden frames against reconstructed ones, other numbers of frames."""

import pytest
import torch
from resuming import assert_resumes

from vhbench.errors import MethodError
from vhbench.method import Budget, FitContext
from vhbench.methods import conmh
from vhbench.methods.conmh import ConMH, Decoder, cut_normal, hidden_error, stacked
from vhbench.methods.transformer import sine_positions
from vhbench.methods.two_views import View, two_views, views_of
from vhbench.testing.toy import toy_videos
from vhbench.training import Moment

SMALL = {"epochs": 2, "batch_size": 8, "blocks": 1, "heads": 2, "width": 8, "decoder_width": 6, "decoder_blocks": 1}


@pytest.fixture(autouse=True)
def _seed():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def test_defaults_are_those_released_for_fcvid():
    assert ConMH(64).get_params() == {
        "epochs": 800,
        "batch_size": 512,
        "lr": 1e-4,
        "min_lr": 1e-5,
        "weight_decay": 0.0,
        "mask_ratio": 0.75,
        "temperature": 0.5,
        "tau": 0.1,
        "contrastive_weight": 1.0,
        "blocks": 12,
        "heads": 6,
        "width": 256,
        "decoder_blocks": 2,
        "decoder_heads": 3,
        "decoder_width": 192,
    }


def test_the_network_has_the_released_sizes():
    module = ConMH(64).build(25, 4096)
    assert module.encoder.layers[0].attention.out.in_features == 252  # 6 heads of 42
    assert module.decoder.layers[0].attention.out.in_features == 192
    mini = ConMH(64, blocks=1, heads=1).build(25, 4096)
    assert len(mini.encoder.layers) == 1 and mini.encoder.layers[0].attention.out.in_features == 256
    assert len(mini.decoder.layers) == 2 and mini.decoder.layers[0].attention.heads == 3
    block = 12 * 256**2 + (256 + 1024 + 2 * 256 + 256) + 4 * 256  # projections and MLP, biases but the keys', norms
    small = 12 * 192**2 + (192 + 768 + 2 * 192 + 192) + 4 * 192
    rest = 4096 * 256 + 256 + 512 + 256**2 + 256 + 64 * 256 + 64 + 128 + 64 * 192 + 192 + 384 + 192 * 4096 + 4096
    assert sum(parameter.numel() for parameter in mini.parameters()) == block + 2 * small + rest


def test_weights_start_as_released():
    module = ConMH(64, blocks=2).build(25, 512)
    for part in (module.encoder, module.decoder):
        for layer in part.modules():
            if isinstance(layer, torch.nn.Linear):
                bound = (6 / sum(layer.weight.shape)) ** 0.5
                assert 0.95 * bound < layer.weight.abs().max() <= bound
                assert layer.bias is None or not layer.bias.any()
    for layer in (module.hash, module.enlarge):  # torch's own start
        bound = layer.in_features**-0.5
        assert 0.95 * bound < layer.weight.abs().max() <= bound
    assert module.hash.bias.any() and module.norm.eps == 1e-5
    token = module.decoder.mask_token.detach()
    assert 0.015 < token.abs().max() <= 0.02 and 0.005 < token.std() < 0.015
    assert torch.equal(module.decoder.positions, sine_positions(25, 192))


def test_a_mask_token_is_normal_within_one_deviation():
    drawn = (cut_normal(200_000) / 0.02).sort().values
    assert drawn.abs().max() <= 1 + 1e-6
    quantiles = torch.distributions.Normal(0.0, 1.0).icdf(torch.tensor([0.3, 0.5, 0.8]) * 0.682689 + 0.158655)
    torch.testing.assert_close(drawn[[60_000, 100_000, 160_000]], quantiles, atol=0.01, rtol=0)


@pytest.mark.parametrize(
    ("epoch", "factor"),
    [(0, 1), (19, 1), (20, 0.9), (59, 0.81), (420, 0.9**21), (439, 0.9**21), (440, 0.1), (799, 0.1)],
)
def test_the_learning_rate_falls_by_a_tenth_every_20_epochs_to_its_floor(epoch, factor):
    assert ConMH(64).lr_factor(Moment(epoch, 800)) == pytest.approx(factor)


def test_a_learning_rate_below_the_floor_is_kept():
    assert ConMH(64, lr=1e-6).lr_factor(Moment(700, 800)) == 1


@pytest.mark.parametrize("ratio", [0.75, 0.5, 0.3])
def test_the_error_of_hidden_frames_is_that_of_reconstructed_ones_and_so_is_its_gradient(ratio):
    videos, read_out = torch.randn(4, 6, 9).double(), torch.nn.Linear(5, 9).double()
    views = two_views(4, 6, ratio)
    both = stacked(views)
    states = torch.randn(*both.hidden.shape, 5).double().requires_grad_()
    found = hidden_error(videos, videos, views, states, read_out)
    expected = (both.missed(videos.repeat(2, 1, 1)) - read_out(states)).square().sum()
    assert found.item() == pytest.approx(expected.item(), rel=1e-12)
    inputs = (states, *read_out.parameters())
    for ours, theirs in zip(torch.autograd.grad(found, inputs), torch.autograd.grad(expected, inputs), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_a_decoder_puts_each_token_at_its_frames_position():
    decoder = Decoder(7, 4, 6, [torch.nn.Identity()])
    decoder.norm = torch.nn.Identity()
    decoder.layers = torch.nn.Sequential(Watch := Recorder())
    tokens, view = torch.randn(1, 2, 6), View(torch.tensor([[1, 3]]), torch.tensor([[0, 2]]))
    states = decoder(tokens, view)
    positions = sine_positions(4, 6)
    assert torch.equal(Watch.seen[0, :2], tokens[0] + positions[[1, 3]])
    assert torch.equal(Watch.seen[0, 2:], decoder.mask_token[0] + positions[[0, 2]])
    assert torch.equal(states, Watch.seen[:, 2:])


class Recorder(torch.nn.Module):
    """Passes tokens on, and keeps them."""

    def forward(self, tokens):
        self.seen = tokens
        return tokens


def test_the_loss_by_hand(monkeypatch):
    method = ConMH(4, **SMALL, mask_ratio=0.5, contrastive_weight=0.3)
    module, videos = method.build(6, 9).double(), torch.randn(3, 6, 9).double()
    views = views_of(torch.rand(3, 6).argsort(1), 0.5)
    monkeypatch.setattr(conmh, "two_views", lambda *_: views)
    terms = method.loss(module, videos, Moment(0, 1))
    recon, means = 0.0, []
    for view in views:
        codes = torch.where(module.logits(view.seen(module.embed(videos))) > 0, 1.0, -1.0).double()
        frames = module.decoder.read_out(module.decode(codes, view))
        for video in range(3):
            for place, frame in enumerate(view.hidden[video]):
                recon += ((frames[video, place] - videos[video, frame]) ** 2).sum().item() / (3 * 3 * 9)
        means.append(codes.mean(1))
    assert terms["recon"].item() == pytest.approx(recon)
    agreement = conmh.debiased_contrastive(*means, 0.5, 0.1)
    assert terms["contrastive"].item() == pytest.approx(0.3 * agreement.item())


@pytest.mark.parametrize("frames", [2, 8, 25, 30])
def test_it_trains_on_any_number_of_frames(frames):
    videos, _ = toy_videos(24, frames, 12)
    codes = ConMH(6, **SMALL, mask_ratio=0.5).fit(videos, FitContext()).encode(videos)
    assert codes.shape == (24, 6) and codes.dtype == bool and 0 < codes.mean() < 1


@pytest.mark.parametrize(("ratio", "frames", "hidden"), [(0.01, 25, 0), (0.0, 8, 0), (1.0, 8, 8), (1.5, 8, 12)])
def test_a_view_must_see_a_frame_and_miss_one(ratio, frames, hidden):
    with pytest.raises(MethodError, match=rf"mask_ratio={ratio:g} hides {hidden} of {frames} frames; .* at least"):
        ConMH(6, mask_ratio=ratio).build(frames, 12)


def test_a_tied_vote_is_plus_one(monkeypatch):
    method = ConMH(2, **SMALL)
    module = method.build(4, 9)
    monkeypatch.setattr(module, "logits", lambda _: torch.tensor([[[1.0, -1], [-1, -1], [1, -1], [-1, 1]]]))
    assert method.codes(module, torch.zeros(1, 4, 9)).tolist() == [[True, False]]


def test_a_budget_shortens_the_training():
    told = []
    videos, _ = toy_videos(24, 8, 12)
    ConMH(6, **SMALL).fit(videos, FitContext(budget=Budget(epochs=1), report=told.append))
    assert [set(epoch.parts) for epoch in told] == [{"recon", "contrastive"}]


@pytest.mark.parametrize("name", ["fcvid", "activitynet", "yfcc", "ucf101"])
def test_a_preset_sets_hyper_parameters_that_exist(name):
    assert ConMH.presets[name].keys() <= ConMH(64).get_params().keys()
    assert ConMH(64, **ConMH.presets["fcvid"]).get_params() == ConMH(64).get_params()


def test_a_resumed_training_is_the_undisturbed_one_bit_for_bit(tmp_path):
    videos, _ = toy_videos(20, 5, 12)
    assert_resumes(lambda: ConMH(6, **SMALL), videos, tmp_path, 1)
