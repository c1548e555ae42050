"""Anchors, and partners drawn by their tags, against definitions with sets and loops."""

import numpy as np
import pytest

from vhbench.methods.similar_pairs import DISSIMILAR, SIMILAR, SimilarityTags, find_anchors, nearest_anchors


def by_sets(near, i, j):
    one, other = ([set(near[k][:s]) for s in (3, 4, 5)] for k in (i, j))
    meet = [bool(a & b) for a, b in zip(one, other, strict=True)]
    return 2 * (meet[2] - meet[1]) + meet[0]


@pytest.fixture
def near():
    rng = np.random.default_rng(0)
    return np.stack([rng.permutation(16)[:5] for _ in range(60)])


@pytest.mark.parametrize("tag", [0, SIMILAR, DISSIMILAR])
def test_partners_are_drawn_uniformly_from_the_videos_of_a_tag(near, tag):
    tags, draws = SimilarityTags(near), 20_000
    for video in (0, 7):
        expected = [j for j in range(60) if by_sets(near, video, j) == tag]
        assert tags.tagged(video, tag).tolist() == expected and len(expected) > 3
        drawn = tags.draw(np.full(draws, video), tag, np.random.default_rng(1))
        counts = np.bincount(drawn, minlength=60)
        assert counts.sum() == counts[expected].sum()
        share = 1 / len(expected)
        assert np.abs(counts[expected] / draws - share).max() < 5 * np.sqrt(share / draws)


def test_pairs_are_similar_half_the_time_and_keep_their_tags(near):
    tags = SimilarityTags(near)
    similar = []
    for seed in range(50):
        partners, s = tags.pairs(np.random.default_rng(seed))
        for i, (j, sign) in enumerate(zip(partners, s, strict=True)):
            has_hard = any(by_sets(near, i, k) == DISSIMILAR for k in range(60))
            assert by_sets(near, i, j) == (SIMILAR if sign > 0 else DISSIMILAR if has_hard else 0)
        similar.append((s > 0).mean())
    assert abs(np.mean(similar) - 0.5) < 0.04


def test_a_partner_is_of_tag_0_without_tag_2_and_similar_where_all_are():
    far = np.arange(20).reshape(4, 5)  # no anchors in common: all pairs are of tag 0
    partners, s = SimilarityTags(far).pairs(np.random.default_rng(0))
    assert ((partners == np.arange(4)) == (s > 0)).all() and (s < 0).any()
    same = np.tile(np.arange(3), (6, 1))  # three anchors in all
    partners, s = SimilarityTags(same).pairs(np.random.default_rng(0))
    assert (s == 1).all() and ((partners >= 0) & (partners < 6)).all()
    assert SimilarityTags(same).dissimilar(np.arange(6), np.random.default_rng(0)).tolist() == [-1] * 6


def test_the_nearest_anchors_by_distances():
    rng = np.random.default_rng(0)
    points, anchors = (rng.standard_normal((n, 7)).astype(np.float32) for n in (50, 9))
    distance = np.square(points[:, None].astype(float) - anchors[None]).sum(2)
    assert np.array_equal(nearest_anchors(points, anchors), distance.argsort(1)[:, :5])
    assert nearest_anchors(points, anchors[:4]).shape == (50, 4)


def lloyd(points, centres, rounds=16):
    """K-means with loops; clusters without points are dropped."""
    for _ in range(rounds):
        cluster = [min(range(len(centres)), key=lambda c, p=p: np.square(p - centres[c]).sum()) for p in points]
        centres = [points[np.array(cluster) == c].mean(0) for c in sorted(set(cluster))]
    return np.array(centres)


def test_anchors_are_those_of_plain_k_means():
    rng = np.random.default_rng(2)
    points = np.concatenate([rng.normal(m, 1, (130, 3)) for m in (-3, 0, 4, 9)]).astype(np.float32)
    start = np.random.default_rng(9).integers(520, size=23)  # 520 // 22
    assert len(set(start)) < 23  # one point is drawn twice: its second cluster is empty
    expected = lloyd(points.astype(float), points[start].astype(float))
    assert len(expected) < 23
    np.testing.assert_allclose(find_anchors(points, 2000, np.random.default_rng(9)), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("points", "asked", "most"), [(1341, 60, 60), (1341, 2000, 60), (24, 2000, 10), (6, 2000, 6)])
def test_how_many_anchors_there_are(points, asked, most):
    made = np.random.default_rng(0).standard_normal((points, 64)).astype(np.float32)
    assert 0.7 * most <= len(find_anchors(made, asked, np.random.default_rng(1))) <= most
