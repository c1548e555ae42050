"""Hash centres: what their parts must hold whatever the released program does."""

import itertools

import numpy as np
import pytest

from vhbench.methods import hash_centres as module
from vhbench.methods.hash_centres import distance, first_codes, hash_centres, moved, score, spread


@pytest.fixture(autouse=True)
def two_sweeps(monkeypatch):
    monkeypatch.setattr(module, "SWEEPS", 2)


def clusters(count: int, width: int = 6) -> np.ndarray:
    centres = np.random.default_rng(0).standard_normal((count, width))
    return centres / np.linalg.norm(centres, axis=1, keepdims=True)


@pytest.mark.parametrize(("count", "bits"), [(3, 8), (16, 8), (17, 8), (5, 12)])
def test_the_start_has_different_balanced_codes(count, bits):
    codes = first_codes(count, bits, np.random.default_rng(0))
    assert codes.shape == (count, bits)
    assert set(np.unique(codes)) == {-1.0, 1.0}
    balanced = codes.sum(1) == 0
    assert balanced.all() or (np.abs(codes.sum(1)[~balanced]) == bits).all()  # a Hadamard matrix has a constant row
    if count <= 2 * bits and bits == 8:
        assert len(np.unique(codes, axis=0)) == count


@pytest.mark.parametrize(("count", "bits"), [(2, 4), (3, 6), (30, 7), (2**5, 5)])
def test_the_distance_is_the_first_whose_balls_hold_more_than_all_words(count, bits):
    words = [
        sum(sum(word) < d for word in itertools.product((0, 1), repeat=bits)) * count > 2**bits
        for d in range(1, bits + 1)
    ]
    assert distance(count, bits) == 1 + words.index(True)


def test_a_code_moves_only_where_its_spread_grows():
    rng, semantic = np.random.default_rng(0), clusters(5)
    codes = np.sign(rng.standard_normal((5, 8)))
    for i in range(5):
        others = np.delete(codes, i, 0)
        code = moved(codes[i], others, np.delete(semantic @ semantic[i], i), distance(5, 8), rng)
        assert set(np.unique(code)) <= {-1.0, 1.0}
        assert np.array_equal(code, codes[i]) or spread(code, others) > spread(codes[i], others)


def test_centres_score_higher_than_their_start():
    semantic = clusters(4)
    cosines = semantic @ semantic.T
    centres = hash_centres(semantic, 8, np.random.default_rng(0))
    assert np.array_equal(np.abs(centres), np.ones((4, 8)))
    assert score(centres, cosines) > score(first_codes(4, 8, np.random.default_rng(0)), cosines)


@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_clusters_have_centres_too(count):
    centres = hash_centres(clusters(count), 8, np.random.default_rng(0))
    assert np.array_equal(np.abs(centres), np.ones((count, 8)))
