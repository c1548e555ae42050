"""The nearest codes are those of sorting all distances, and ties fall to the first rows."""

import numpy as np
import pytest
from brute_search import brute

from vhbench.search import neighbours
from vhbench.search.neighbours import nearest


def codes_of(rng, n, width, distinct=None):
    """Random codes; with `distinct`, drawn from so few that most distances are tied."""
    if distinct is None:
        return rng.integers(0, 256, (n, width), dtype=np.uint8)
    return rng.integers(0, 256, (distinct, width), dtype=np.uint8)[rng.integers(0, distinct, n)]


@pytest.mark.parametrize("width", [1, 2, 3, 4, 5, 8, 12, 16, 33, 40])
@pytest.mark.parametrize("distinct", [None, 3])
def test_it_equals_brute_force_at_any_width(width, distinct):
    rng = np.random.default_rng(width)
    codes, queries = codes_of(rng, 5000, width, distinct), codes_of(rng, 70, width)
    for k in (1, 10, 700, 5000):
        for ours, theirs in zip(nearest(codes, queries, k), brute(codes, queries, k), strict=True):
            assert np.array_equal(ours, theirs)


def test_parts_of_the_database_are_put_together_in_the_order_of_rows(monkeypatch):
    rng = np.random.default_rng(0)
    codes, queries = codes_of(rng, 1000, 1), codes_of(rng, 5, 1)
    expected = brute(codes, queries, 90)
    for rows in (1, 7, 89, 500, 999):
        monkeypatch.setattr(neighbours, "PART_ROWS", rows)
        assert all(np.array_equal(a, b) for a, b in zip(nearest(codes, queries, 90), expected, strict=True))


@pytest.mark.parametrize("order", [1, -1])
def test_a_database_in_order_of_distance_fills_the_buffer_again_and_again(order):
    codes = np.sort(np.random.default_rng(0).integers(0, 2**16, 20000, dtype=np.uint16))
    far_first = codes[np.argsort(np.bitwise_count(codes), kind="stable")][::order, None].view(np.uint8)
    query = np.zeros((1, 2), np.uint8)
    for k in (1, 50, 3000):
        for ours, theirs in zip(nearest(far_first, query, k), brute(far_first, query, k), strict=True):
            assert np.array_equal(ours, theirs)


def test_a_memory_map_is_searched_as_an_array_is(tmp_path):
    rng = np.random.default_rng(0)
    codes, queries = codes_of(rng, 3000, 8), codes_of(rng, 3, 8)
    np.save(tmp_path / "codes.npy", codes)
    mapped = np.load(tmp_path / "codes.npy", mmap_mode="r")
    assert all(
        np.array_equal(a, b) for a, b in zip(nearest(mapped, queries, 9), nearest(codes, queries, 9), strict=True)
    )


@pytest.mark.parametrize(
    ("codes", "queries", "k", "words"),
    [
        (np.zeros((4, 2), bool), np.zeros((1, 2), np.uint8), 1, "codes must be packed"),
        (np.zeros((4, 2), np.uint8), np.zeros(2, np.uint8), 1, "queries must be packed"),
        (np.zeros((4, 2), np.uint8), np.zeros((1, 3), np.uint8), 1, "codes have 2 bytes and queries 3"),
        (np.zeros((4, 2), np.uint8), np.zeros((1, 2), np.uint8), 5, "k must be from 1 to 4, not 5"),
        (np.zeros((4, 2), np.uint8), np.zeros((1, 2), np.uint8), 0, "k must be from 1 to 4, not 0"),
    ],
)
def test_other_arrays_are_refused(codes, queries, k, words):
    with pytest.raises(ValueError, match=words):
        nearest(codes, queries, k)
