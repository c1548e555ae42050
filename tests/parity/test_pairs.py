"""Corruption, anchors and tags of pairs against the numbers of BTH's program (README.md)."""

import numpy as np
import pytest
import torch
from reading import Numbers, assert_close

from vhbench.methods.anchors import AnchorGraph
from vhbench.methods.corruption import Corruption
from vhbench.methods.similar_pairs import DISSIMILAR, SIMILAR, SimilarityTags, nearest_anchors

NUMBERS = Numbers("bth")
LATENT, ANCHORS = (NUMBERS[f"in/tags/{name}"].numpy() for name in ("latent", "anchors"))
FLOAT32 = 1e-6  # theirs are float32


def test_frames_are_zeroed_replaced_and_kept():
    clean, expected = (torch.cat([NUMBERS[f"in/{name}{half}"] for half in (1, 2)]) for name in ("clean", "mask_input"))
    kind, source = NUMBERS["in/corruption_kind"], NUMBERS["in/corruption_source"].long()
    own = torch.arange(kind.numel()).view(kind.shape)
    other = source[:, :, 0] * kind.shape[1] + source[:, :, 1]
    corruption = Corruption(torch.where(kind == 2, other, own), (kind != 1).float())
    assert torch.equal(corruption.apply(clean), expected)


@pytest.mark.parametrize("s", [3, 4, 5])
def test_the_nearest_anchors_their_weights_and_who_shares_them(s):
    nearest = nearest_anchors(LATENT, ANCHORS)
    assert np.array_equal(nearest[:, :s], NUMBERS[f"out/tags/pos{s}"])
    away = np.sqrt(AnchorGraph(ANCHORS, s, 0.0).nearest(LATENT)[1][:, -1]).mean()
    assert_close(torch.tensor(away / 2**0.5), NUMBERS[f"out/tags/sigma{s}"], FLOAT32)
    weights = torch.from_numpy(AnchorGraph(ANCHORS, s, away).weights(LATENT).toarray())
    assert_close(weights, NUMBERS[f"out/tags/Z{s}"], FLOAT32)
    adjacent = weights / weights.sum(0) @ weights.T
    assert torch.equal(adjacent > 1e-5, NUMBERS[f"out/tags/similar{s}"] == 1)
    if s == 3:
        assert_close(adjacent, NUMBERS["out/tags/adj3"], FLOAT32)


def test_tags_of_all_pairs():
    tags, expected = SimilarityTags(nearest_anchors(LATENT, ANCHORS)), NUMBERS["out/tags/tag"].numpy()
    assert np.array_equal(expected, NUMBERS["out/tags/tag_by_set_intersection"])
    i, j = np.indices(expected.shape).reshape(2, -1)
    assert np.array_equal(tags.tags(i, j).reshape(expected.shape), expected)
    for video in range(len(expected)):
        for tag in (0, SIMILAR, DISSIMILAR):
            assert np.array_equal(tags.tagged(video, tag), np.flatnonzero(expected[video] == tag))
