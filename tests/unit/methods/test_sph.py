"""SpH against a slow version that moves the pivots one by one, counts with sets and sorts distances."""

import numpy as np
import pytest

from vhbench.errors import MethodError
from vhbench.method import FitContext
from vhbench.methods import sph
from vhbench.methods.sph import SpH, halving, move_pivots, squared_distances
from vhbench.videos import VideoSet

TOLERANCES = (0.1, 0.15)


def make(videos: int = 80, frames: int = 3, dim: int = 9, seed: int = 0) -> np.ndarray:
    """Frames of videos that differ from each other more than within themselves."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((videos, 1, dim)) * np.linspace(3, 1, dim)
    return (centres + rng.standard_normal((videos, frames, dim)) + 50).astype(np.float32)


def pooled(features: np.ndarray) -> np.ndarray:
    return features.astype(np.float64).mean(axis=1)


def slow_radius(points: np.ndarray, pivot: np.ndarray) -> float:
    """Midway between the squared distances of ranks n/2 and n/2 + 1."""
    ranked = sorted(sum((a - b) ** 2 for a, b in zip(point, pivot, strict=True)) for point in points)
    half = len(points) // 2
    return (ranked[half - 1] + ranked[half]) / 2


def slow_inside(points: np.ndarray, pivots: np.ndarray) -> list[set[int]]:
    """Which points each sphere holds."""
    return [
        {i for i, x in enumerate(points) if ((x - pivot) ** 2).sum() <= radius}
        for pivot, radius in ((pivot, slow_radius(points, pivot)) for pivot in pivots)
    ]


def slow_overlaps(points: np.ndarray, pivots: np.ndarray) -> np.ndarray:
    inside = slow_inside(points, pivots)
    return np.array([len(inside[i] & inside[j]) for i in range(len(pivots)) for j in range(i)])


def slow_pivots(points: np.ndarray, starts: np.ndarray, tolerances: tuple[float, float], iterations: int):
    """Move the pivots themselves by the sum of the paper's forces; return them and how many updates there were."""
    pivots, quarter = starts.copy(), len(points) / 4
    for done in range(iterations):
        overlaps = slow_overlaps(points, pivots)
        if np.mean(abs(overlaps - quarter)) <= tolerances[0] * quarter and np.std(overlaps) <= tolerances[1] * quarter:
            return pivots, done
        inside = slow_inside(points, pivots)
        forces = np.zeros_like(pivots)
        for i in range(len(pivots)):
            for j in range(len(pivots)):
                if i != j:
                    strength = 0.5 * (len(inside[i] & inside[j]) - quarter) / quarter
                    forces[i] += strength * (pivots[i] - pivots[j]) / len(pivots)
        pivots = pivots + forces
    return pivots, iterations


@pytest.mark.parametrize("iterations", [0, 1, 3, 100])
def test_pivots_equal_those_that_are_moved_one_by_one(iterations):
    points = pooled(make()) - 50
    starts = points[:6] / 2
    wanted, done = slow_pivots(points, starts, TOLERANCES, iterations)
    assert done == iterations or 3 < done < 100, "else this tests nothing"
    np.testing.assert_allclose(move_pivots(points, starts, TOLERANCES, iterations), wanted, rtol=0, atol=1e-9)


def test_spheres_hold_half_of_the_videos_and_in_pairs_a_quarter():
    train = VideoSet(make(200))
    method = SpH(10).fit(train, FitContext())
    codes = method.encode(train)
    assert (codes.sum(axis=0) == 100).all()
    shared = (codes.T.astype(int) @ codes)[np.triu_indices(10, 1)]
    assert abs(shared - 50).mean() <= 0.1 * 50 and shared.std() <= 0.15 * 50


def test_overlaps_are_worse_without_updates():
    points = pooled(make(200)) - 50
    start = slow_overlaps(points, points[:10] / 2)
    moved = slow_overlaps(points, move_pivots(points, points[:10] / 2, TOLERANCES, 100))
    assert abs(moved - 50).mean() < 0.5 * abs(start - 50).mean()


@pytest.mark.parametrize("videos", [2, 7, 8])
def test_radii_by_sorting(videos):
    points = np.random.default_rng(0).standard_normal((videos, 5))
    pivots = np.random.default_rng(1).standard_normal((3, 5))
    wanted = [slow_radius(points, pivot) for pivot in pivots]
    np.testing.assert_allclose(halving(squared_distances(points, pivots)), wanted, atol=1e-12)


def test_codes_of_new_videos_by_hand():
    train, test = make(), make(seed=1)
    method = SpH(6).fit(VideoSet(train), FitContext())
    points = pooled(train) - method.mean_
    radii = [slow_radius(points, pivot) for pivot in method.pivots_]
    wanted = [
        [((x - pivot) ** 2).sum() <= radius for pivot, radius in zip(method.pivots_, radii, strict=True)]
        for x in pooled(test) - method.mean_
    ]
    assert np.array_equal(method.encode(VideoSet(test)), wanted)


def test_pivots_start_at_means_of_a_few_videos():
    train = make()
    one = SpH(6, start_videos=1, iterations=0).fit(VideoSet(train), FitContext())
    points = pooled(train) - one.mean_
    assert all((abs(points - pivot).max(axis=1) < 1e-5).any() for pivot in one.pivots_)
    many = SpH(6, start_videos=20, iterations=0).fit(VideoSet(train), FitContext())
    assert np.linalg.norm(many.pivots_, axis=1).max() < np.linalg.norm(one.pivots_, axis=1).min()


def test_the_spheres_see_a_sample(monkeypatch):
    monkeypatch.setattr(sph, "SAMPLE", 20)
    train = VideoSet(make())
    method = SpH(4).fit(train, FitContext())
    rows = np.sort(FitContext().rng("pivots").permutation(80)[:20])
    assert (method.encode(train.subset(rows)).sum(axis=0) == 10).all()


def test_seed_save_and_batches(tmp_path):
    train, test = VideoSet(make()), VideoSet(make(seed=1))
    method = SpH(8).fit(train, FitContext(seed=1))
    codes = method.encode(test)
    assert (codes.shape, codes.dtype) == ((80, 8), bool)
    assert np.array_equal(SpH(8).fit(train, FitContext(seed=1)).encode(test), codes)
    assert not np.array_equal(SpH(8).fit(train, FitContext(seed=2)).encode(test), codes)
    assert all(np.array_equal(method.encode(test.subset(np.array([i]))), codes[i : i + 1]) for i in range(20))
    assert method.encode(test.subset(np.array([], dtype=int))).shape == (0, 8)
    method.save(tmp_path / "model.npz")
    assert np.array_equal(SpH.load(tmp_path / "model.npz").encode(test), codes)


def test_constant_videos_give_constant_codes():
    train = VideoSet(np.ones((9, 2, 8), dtype=np.float32))
    codes = SpH(4).fit(train, FitContext()).encode(train)
    assert (codes == codes[0]).all()


def test_wrong_sizes_and_values_are_explained():
    train = make()
    with pytest.raises(MethodError, match="not been fitted"):
        SpH(4).encode(VideoSet(train))
    with pytest.raises(MethodError, match="9 dimensions; these have 5"):
        SpH(4).fit(VideoSet(train), FitContext()).encode(VideoSet(train[:, :, :5]))
    with pytest.raises(MethodError, match="as many training videos as bits: 81 were asked for, and there are 80"):
        SpH(81).fit(VideoSet(train), FitContext())
    with pytest.raises(MethodError, match="start_videos is 0"):
        SpH(4, start_videos=0).fit(VideoSet(train), FitContext())
    with pytest.raises(MethodError, match="no training videos"):
        SpH(4).fit(VideoSet(train[:0]), FitContext())
    train[3, 1, 2] = np.nan
    with pytest.raises(MethodError, match="NaN or infinite"):
        SpH(4).fit(VideoSet(train), FitContext())
