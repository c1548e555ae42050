"""Corrupted frames: which, how often, and what is then the target."""

import pytest
import torch

from vhbench.errors import MethodError
from vhbench.methods.corruption import corrupted, draw_corruption


def test_of_the_frames_12_in_100_are_zeroed_and_15_in_1000_replaced():
    torch.manual_seed(0)
    corruption = draw_corruption(4000, 25)
    own = torch.arange(100_000).view(4000, 25)
    zeroed, replaced = corruption.kept == 0, corruption.source != own
    assert abs(zeroed.double().mean() - 0.12) < 0.004
    assert abs(replaced.double().mean() - 0.015) < 0.0015
    assert not (zeroed & replaced).any()
    sources = corruption.source[replaced].double() / 100_000  # of all frames, not of the video's own
    assert abs(sources.mean() - 0.5) < 0.04 and abs(sources.std() - 12**-0.5) < 0.02
    assert abs(zeroed.double().mean(0) - 0.12).max() < 0.025  # at any place in time


@pytest.mark.parametrize("target", ["released", "described"])
def test_the_target_is_the_corrupted_input_or_the_clean_frames(target):
    torch.manual_seed(1)
    videos = torch.randn(40, 8, 3)
    before = videos.clone()
    seen, wanted = corrupted(videos, target)
    assert torch.equal(videos, before) and not torch.equal(seen, videos)
    assert torch.equal(wanted, seen if target == "released" else before)
    frames = {tuple(frame) for frame in videos.flatten(0, 1).tolist()} | {(0.0, 0.0, 0.0)}
    assert {tuple(frame) for frame in seen.flatten(0, 1).tolist()} <= frames


def test_another_target_is_refused():
    with pytest.raises(MethodError, match="target='clean' is unknown: choose 'released' or 'described'"):
        corrupted(torch.randn(2, 3, 4), "clean")
