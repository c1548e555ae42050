"""S5VH: what the numbers of the released program (tests/parity) do not hold."""

import math

import numpy as np
import pytest
import torch
from resuming import assert_resumes
from torch import nn

from vhbench.errors import MethodError
from vhbench.method import FitContext
from vhbench.methods import s5vh
from vhbench.methods.s5vh import S5VH, BidirectionalMamba, clusters_of
from vhbench.training import Moment
from vhbench.videos import VideoSet

BITS, FRAMES, DIM = 8, 6, 12


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def small(**params) -> S5VH:
    sizes = {"blocks": 2, "width": 16, "decoder_width": 16, "clusters": 4, "components": 5, "batch_size": 8}
    return S5VH(BITS, **{**sizes, "mask_ratio": 0.5, "epochs": 4, "warmup_epochs": 1, "cluster_weight": 1.0, **params})


def videos(count: int = 24, frames: int = FRAMES) -> VideoSet:
    """Four groups of videos far apart."""
    rng = np.random.default_rng(0)
    middles = 5 * rng.standard_normal((4, 1, DIM))
    return VideoSet((middles[np.arange(count) % 4] + rng.standard_normal((count, frames, DIM))).astype(np.float32))


def test_the_network_starts_as_released():
    module = S5VH(BITS, blocks=3, width=64, decoder_width=32, clusters=4).build(FRAMES, DIM)
    for block in [*module.encoder.layers, *module.decoder.layers]:
        assert not block.mamba.dt_proj.bias.any()  # Mamba's own start would be about -4.6
        bound = math.sqrt(6 / sum(block.mamba.in_proj.weight.shape))
        assert 0.95 * bound < block.mamba.in_proj.weight.abs().max() <= bound
    assert [block.rate for block in module.encoder.layers] == [0.0, 0.25, 0.5]
    assert [block.rate for block in module.decoder.layers] == [0.0]
    assert module.hash.bias.any()


def test_the_rate_follows_half_a_cosine():
    method = S5VH(BITS, lr=4e-4, min_lr=1e-4)
    factors = [method.lr_factor(Moment(epoch, 4)) for epoch in range(4)]
    assert factors == pytest.approx([1.0, 0.25 + 0.75 * (2 + math.sqrt(2)) / 4, 0.625, 0.25 + 0.75 * (2 - 2**0.5) / 4])
    assert S5VH(BITS, lr=1e-6).lr_factor(Moment(3, 4)) == 1.0


@pytest.mark.parametrize("shared", [True, False])
def test_a_block_is_both_directions_added(shared):
    block, x = BidirectionalMamba(16, shared=shared), torch.randn(3, 5, 16)
    other = block.mamba if shared else block.backwards
    wanted = x + block.mamba(block.norm1(x)) + other(block.norm2(x.flip(1))).flip(1)
    torch.testing.assert_close(block(x), wanted)


def test_described_directions_have_weights_of_their_own():
    released, described = (small(directions=form).build(FRAMES, DIM) for form in ("released", "described"))
    more = sum(w.numel() for w in described.parameters()) - sum(w.numel() for w in released.parameters())
    assert more == sum(w.numel() for part in (released.encoder, released.decoder) for b in part.layers
                       for w in b.mamba.parameters())  # fmt: skip


def test_whole_videos_leave_a_block_out_in_training_only():
    block, x = BidirectionalMamba(16, 0.25), torch.randn(400, 2, 16)
    share = block.eval()(x) - x
    trained = block.train()(x) - x
    left_out = (trained == 0).all(2).all(1)
    assert 0.15 < left_out.float().mean() < 0.35
    torch.testing.assert_close(trained[~left_out], share[~left_out] / 0.75)


def test_clusters_are_those_of_the_videos():
    labels, centres = clusters_of(videos(), 4, 5, Moment(0, 1))
    assert len({*zip(labels.tolist(), (np.arange(24) % 4).tolist(), strict=True)}) == 4
    assert centres.shape == (4, 5)
    assert np.linalg.norm(centres, axis=1) == pytest.approx(1)


def test_labels_move_only_after_the_warm_up_and_only_those_of_the_batch():
    method, train = small(warmup_epochs=2, smoothing=0.25), videos()
    module = method.build(FRAMES, DIM)
    method.start_stage(module, train, Moment(0, 4))
    first = module.labels.clone()
    assert torch.equal(first.sum(1), torch.ones(24))
    rows, batch = torch.tensor([3, 1]), next(train.subset(np.array([3, 1])).batches(2))
    method.loss(module, batch, Moment(1, 4, rows))
    assert torch.equal(module.labels, first)
    method.loss(module, batch, Moment(2, 4, rows))
    changed = (module.labels != first).any(1)
    assert changed.nonzero().flatten().tolist() == [1, 3]
    torch.testing.assert_close(module.labels.sum(1), torch.ones(24))
    assert (module.labels[rows].max(1).values >= 0.75).all()


def test_described_centres_start_the_classifier_in_the_order_of_the_labels(monkeypatch):
    def by_sign(semantic, bits, rng):
        return np.sign(semantic.sum(1, keepdims=True) * np.ones(bits))

    monkeypatch.setattr(s5vh, "hash_centres", by_sign)
    method, moment = small(centres="described", clusters=6), Moment(0, 4)
    module = method.build(FRAMES, DIM)
    start = module.classifier.weight.detach().clone()
    train = videos(3)  # fewer than the clusters
    method.start_stage(module, train, moment)
    labels, semantic = clusters_of(train, 6, 5, moment)
    assert len(semantic) == 3
    assert torch.equal(module.labels.argmax(1), torch.from_numpy(labels))
    assert torch.equal(module.classifier.weight[:3], torch.from_numpy(by_sign(semantic, BITS, None)).float())
    assert torch.equal(module.classifier.weight[3:], start[3:])


@pytest.mark.parametrize(
    ("frames", "form"), [(5, "released"), (8, "released"), (30, "released"), (5, "described"), (30, "described")]
)
def test_it_trains_on_odd_and_even_frame_counts(monkeypatch, frames, form):
    monkeypatch.setattr("vhbench.methods.hash_centres.SWEEPS", 1)
    method = small(directions=form, centres=form, epochs=2).fit(videos(frames=frames), FitContext(seed=1))
    assert method.encode(videos(frames=frames)).shape == (24, BITS)


@pytest.mark.parametrize("killed", [1, 2])
def test_resuming_keeps_every_bit_of_weights_and_labels(tmp_path, killed):
    assert "labels" in assert_resumes(small, videos(), tmp_path, killed)


def test_codes_come_back_from_a_file(tmp_path):
    method = small(epochs=1).fit(videos(), FitContext())
    method.save(tmp_path / "saved.pt")
    again = S5VH.load(tmp_path / "saved.pt")
    assert np.array_equal(again.encode(videos()), method.encode(videos()))
    assert isinstance(again.module_.classifier, nn.Linear)


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        ({"directions": "both"}, "directions='both' is unknown"),
        ({"centres": "fixed"}, "centres='fixed' is unknown"),
        ({"stochastic_depth": 1.0}, "stochastic_depth must be"),
        ({"clusters": 1}, "clusters must be at least 2"),
    ],
)
def test_a_setting_that_cannot_be_is_named(params, sentence):
    with pytest.raises(MethodError, match=sentence):
        small(**params).build(FRAMES, DIM)
