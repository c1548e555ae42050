"""SSVH's neighbourhood matrix against its definition written with loops and sets."""

import numpy as np
import pytest
import scipy.sparse

from vhbench.errors import MethodError
from vhbench.methods import neighbourhood as module
from vhbench.methods.neighbourhood import nearest, neighbourhood


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    if np.array_equal(a, b):
        return 1.0
    a, b = a.astype(np.float64), b.astype(np.float64)
    lengths = np.sqrt((a * a).sum()) * np.sqrt((b * b).sum())
    return float((a * b).sum() / lengths) if lengths else 0.0


def slow_lists(means: np.ndarray, count: int) -> list[set[int]]:
    lists = []
    for a in means:
        similar = [cosine(a, b) for b in means]
        lists.append(set(sorted(range(len(means)), key=lambda j: (-similar[j], j))[:count]))
    return lists


def slow_neighbourhood(means: np.ndarray, k1: int, k2: int) -> np.ndarray:
    lists = slow_lists(means, k1 + 1)
    dense = np.zeros((len(means), len(means)), dtype=bool)
    for i, mine in enumerate(lists):
        shared = [len(mine & theirs) for theirs in lists]
        sharing = [j for j in range(len(means)) if shared[j] > 0]
        for voter in sorted(sharing, key=lambda j: (-shared[j], j))[:k2]:
            for j in lists[voter]:
                dense[i, j] = dense[j, i] = True
    return dense


def make(videos: int, dim: int = 6, seed: int = 0) -> np.ndarray:
    return np.maximum(np.random.default_rng(seed).standard_normal((videos, dim)), 0).astype(np.float32) + 0.1


def repeated(videos: int, distinct: int, seed: int = 0) -> np.ndarray:
    """Means of which most occur several times, in random order."""
    return make(distinct, seed=seed)[np.random.default_rng(seed).integers(distinct, size=videos)]


@pytest.fixture(params=[2**25, 200], ids=["one block", "many blocks"])
def blocks(request, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", request.param)
    monkeypatch.setattr(module, "COLUMNS", 7 if request.param == 200 else 4096)


@pytest.mark.parametrize(("k1", "k2"), [(10, 5), (3, 2), (1, 1), (2, 30)])
@pytest.mark.parametrize("seed", range(3))
def test_equals_the_definition_on_random_videos(blocks, k1, k2, seed):
    means = make(60, seed=seed)
    assert np.array_equal(neighbourhood(means, k1, k2).toarray(), slow_neighbourhood(means, k1, k2))


@pytest.mark.parametrize("distinct", [1, 2, 5, 30, 55])
def test_equals_the_definition_on_videos_that_occur_several_times(blocks, distinct):
    means = repeated(60, distinct)
    assert np.array_equal(neighbourhood(means, 4, 3).toarray(), slow_neighbourhood(means, 4, 3))
    for mine, theirs in zip(nearest(means, 5), slow_lists(means, 5), strict=True):
        assert mine.tolist() == sorted(theirs)


def test_ties_between_different_videos_go_to_the_lower_index(blocks):
    # right angles and unit lengths: every cosine is exactly 0 or 1
    means = np.eye(20, dtype=np.float32)[np.random.default_rng(0).permutation(np.arange(40) % 20)]
    lists = nearest(means, 6)
    for i, mine in enumerate(lists):
        like = [j for j in range(40) if means[j] @ means[i] == 1]
        unlike = [j for j in range(40) if means[j] @ means[i] == 0]
        assert mine.tolist() == sorted([*like, *unlike[:4]])
    assert np.array_equal(neighbourhood(means, 5, 4).toarray(), slow_neighbourhood(means, 5, 4))


@pytest.mark.parametrize("videos", [2, 3, 10, 11, 12])
def test_few_videos(videos):
    means = make(videos)
    dense = neighbourhood(means, 10, 5).toarray()
    assert np.array_equal(dense, slow_neighbourhood(means, 10, 5))
    assert dense.all() or videos == 12  # up to 11 videos every list holds all of them


def test_matrix_is_sparse_boolean_sorted_and_symmetric():
    similar = neighbourhood(make(300, dim=20))
    assert isinstance(similar, scipy.sparse.csr_array)
    assert similar.dtype == bool
    assert similar.data.all()
    assert similar.has_canonical_format
    assert (similar != similar.T).nnz == 0
    assert similar.diagonal().all()
    assert similar.nnz <= 300 * 2 * 55


def test_close_cosines_are_told_apart():
    """The angles to the first video differ by less than float32 can tell."""
    angles = np.array([0.0, 3e-4, 2e-4, 1e-4, 1.0])
    means = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    cosines = (means @ means[0]).astype(np.float32)
    assert len(set(cosines[1:4])) < 3
    assert nearest(means, 2)[0].tolist() == [0, 3]
    assert nearest(means, 3)[0].tolist() == [0, 2, 3]


def test_a_video_of_zeros_is_its_own_neighbour():
    means = make(12)
    means[7] = 0
    assert nearest(means, 3)[7].tolist() == [0, 1, 7]
    assert np.array_equal(neighbourhood(means, 2, 2).toarray(), slow_neighbourhood(means, 2, 2))


def test_no_block_is_as_large_as_the_matrix(monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 600)
    seen = []
    largest = module._largest
    monkeypatch.setattr(module, "_largest", lambda values, count: seen.append(values.shape) or largest(values, count))
    neighbourhood(make(100))
    assert len(seen) == 17
    assert max(rows * columns for rows, columns in seen) == 600


def test_errors():
    means = make(8)
    with pytest.raises(MethodError, match="at least 1; they are 0 and 5"):
        neighbourhood(means, k1=0)
    with pytest.raises(MethodError, match="at least 1; they are 10 and 0"):
        neighbourhood(means, k2=0)
    means[2, 3] = np.nan
    with pytest.raises(MethodError, match="NaN or infinite"):
        neighbourhood(means)
