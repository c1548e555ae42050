"""AutoSSVH: when the voting begins and what it clusters, the sampler as an option, resuming over the voting's start."""

import numpy as np
import pytest
import torch
from resuming import assert_resumes

from vhbench.errors import MethodError
from vhbench.method import Budget, FitContext
from vhbench.methods.autossvh import AutoSSVH
from vhbench.methods.conmh import ConMH
from vhbench.methods.frame_sampler import FrameSampler
from vhbench.testing.toy import toy_videos
from vhbench.training import Moment

SMALL = {
    "epochs": 4,
    "warmup_epochs": 2,
    "batch_size": 8,
    "clusters": "3,5",
    "blocks": 1,
    "heads": 2,
    "width": 8,
    "decoder_width": 6,
    "decoder_blocks": 1,
}
VIDEOS, _ = toy_videos(24, 8, 12)


@pytest.fixture(autouse=True)
def _seed():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def prepared(**params) -> tuple[AutoSSVH, torch.nn.Module]:
    method = AutoSSVH(6, **{**SMALL, **params})
    module = method.build(8, 12)
    method.prepare(module, VIDEOS, FitContext())
    return method, module.train()


def test_defaults_are_those_released_for_fcvid_and_else_conmhs():
    own = {
        "epochs": 805,
        "warmup_epochs": 100,
        "voting_weight": 0.01,
        "clusters": "250,500,1000",
        "dropout": 0.0,
        "sampler": "released",
    }
    assert AutoSSVH(64).get_params() == ConMH(64).get_params() | own


@pytest.mark.parametrize("name", ["fcvid", "activitynet", "ucf101", "hmdb51"])
def test_a_preset_sets_hyper_parameters_that_exist(name):
    assert AutoSSVH.presets[name].keys() <= AutoSSVH(64).get_params().keys()
    assert AutoSSVH(64, **AutoSSVH.presets["fcvid"]).get_params() == AutoSSVH(64).get_params()


@pytest.mark.parametrize(("budget", "first"), [(None, 3), (4, 3), (2, 2), (1, 1)])
def test_the_voting_begins_after_its_share_of_the_epochs(budget, first):
    told = []
    AutoSSVH(6, **SMALL).fit(VIDEOS, FitContext(budget=Budget(epochs=budget), report=told.append))
    assert len(told) == (budget or 4)
    assert [("voting" in epoch.parts) for epoch in told] == [epoch.number >= first for epoch in told]


def test_what_is_clustered_are_mean_codes_of_all_frames_at_length_1():
    method, module = prepared()
    points = method.mean_codes(module, VIDEOS, Moment(2, 4))
    assert module.training
    features = torch.cat(list(VIDEOS.batches(24)))
    mean = torch.where(module.logits(module.embed(features)) > 0, 1.0, -1.0).mean(1)
    torch.testing.assert_close(points, mean / mean.norm(dim=1, keepdim=True).clamp_min(1e-12))


def test_clusters_are_made_anew_before_each_epoch_of_the_voting():
    method, module = prepared()
    method.start_epoch(module, VIDEOS, Moment(1, 4))
    assert not any(clusters.centres.any() for clusters in module.clusterings)
    method.start_epoch(module, VIDEOS, Moment(2, 4))
    first = [clusters.centres.clone() for clusters in module.clusterings]
    assert [len(centres) for centres in first] == [3, 5]
    with torch.no_grad():
        module.hash.weight.copy_(torch.randn(6, 8))
    method.start_epoch(module, VIDEOS, Moment(3, 4))
    assert not any(torch.equal(a, c.centres) for a, c in zip(first, module.clusterings, strict=True))


@pytest.mark.parametrize(("clusters", "counts"), [("250,400,600", [6, 6, 6]), ("3,5,100", [3, 5, 6]), ("1", [1])])
def test_a_small_training_set_has_a_cluster_for_every_four_videos_at_most(clusters, counts):
    _, module = prepared(clusters=clusters)
    assert [len(each.centres) for each in module.clusterings] == counts


@pytest.mark.parametrize("clusters", ["", "250,", "a,b", "0,5"])
def test_clusters_that_are_no_numbers(clusters):
    with pytest.raises(MethodError, match="is no list of positive numbers: write it as '250,500,1000'"):
        prepared(clusters=clusters)


def test_positions_in_the_decoder_are_learnt_and_start_at_0():
    _, module = prepared()
    assert isinstance(module.decoder.positions, torch.nn.Parameter) and not module.decoder.positions.any()
    fitted = AutoSSVH(6, **SMALL).fit(VIDEOS, FitContext())
    assert fitted.module_.decoder.positions.any()


def test_input_dropout_acts_in_training_alone():
    _, module = prepared(dropout=0.5)
    features = torch.ones(2, 8, 12)
    assert not torch.equal(module.embed(features), module.embed(features))
    module.eval()
    assert torch.equal(module.embed(features), module.embed(features))


# the sampler


def test_only_the_described_training_has_a_sampler_and_trains_it():
    assert not hasattr(prepared()[1], "sampler")
    method, module = prepared(sampler="described")
    terms = method.loss(module, torch.rand(3, 8, 12), Moment(0, 4, torch.arange(3)))
    sum(terms.values()).backward()
    assert all(parameter.grad.any() for parameter in module.sampler.parameters())


def test_an_unknown_sampler():
    with pytest.raises(MethodError, match="sampler='random' is unknown: choose 'released' or 'described'"):
        prepared(sampler="random")


@pytest.mark.parametrize(("frames", "ratio", "seen"), [(25, 0.5, 12), (25, 0.75, 6), (30, 0.5, 15), (2, 0.75, 1)])
def test_a_sampled_view_parts_the_frames(frames, ratio, seen):
    method = AutoSSVH(6, **SMALL, sampler="described", mask_ratio=ratio)
    module = method.build(frames, 12)
    tokens = module.embed(torch.rand(3, frames, 12))
    views, shown = method.views(module, tokens)
    for number, view in enumerate(views):
        assert view.visible.shape == (3, seen)
        assert torch.equal(torch.cat(view, 1).sort(1).values, torch.arange(frames).expand(3, -1))
        assert torch.equal(view.visible, view.visible.sort(1).values)
        torch.testing.assert_close(shown.chunk(2)[number], view.seen(tokens))


def test_the_sampler_learns_to_take_what_raises_the_loss():
    sampler, tokens = FrameSampler(4).double(), torch.randn(2, 6, 4).double()
    uniform, normal = torch.rand(2, 6).double(), torch.zeros(2, 6).double()

    def soft_loss() -> torch.Tensor:
        """The loss, were the softmax itself in the choice's place; frame 0 of each video costs most."""
        noisy = sampler.scores(tokens)[..., 0] - (-uniform.log()).log()
        weight = ((noisy - noisy.mean()) / noisy.std() / 0.5).softmax(1)
        return (weight[:, :, None] * tokens).gather(1, view.visible[:, :, None].expand(-1, -1, 4)).sum()

    view, shown = sampler.choose(tokens, 3, uniform, normal)
    shown.sum().backward()
    found = {name: parameter.grad.clone() for name, parameter in sampler.named_parameters()}
    sampler.zero_grad()
    soft_loss().backward()
    for name, parameter in sampler.named_parameters():
        torch.testing.assert_close(found[name], -parameter.grad)


# resuming


@pytest.mark.parametrize("sampler", ["released", "described"])
@pytest.mark.parametrize("killed", [1, 2, 3])
def test_a_resumed_training_is_the_undisturbed_one_bit_for_bit(tmp_path, killed, sampler):
    assert_resumes(lambda: AutoSSVH(6, **{**SMALL, "sampler": sampler}), VIDEOS, tmp_path, killed)


@pytest.mark.parametrize("sampler", ["released", "described"])
def test_it_trains_on_thirty_frames(sampler):
    videos, _ = toy_videos(24, 30, 12)
    codes = AutoSSVH(6, **{**SMALL, "sampler": sampler}).fit(videos, FitContext()).encode(videos)
    assert codes.shape == (24, 6) and 0 < codes.mean() < 1


def test_one_video_a_cluster_and_equal_codes_train():
    videos, _ = toy_videos(2, 8, 12)
    codes = AutoSSVH(6, **SMALL).fit(videos, FitContext()).encode(videos)
    assert codes.shape == (2, 6) and codes.dtype == np.bool_
