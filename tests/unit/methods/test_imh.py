"""IMH: its extension to new videos and its Laplacian eigenmaps by loops, and t-SNE by its definition."""

import numpy as np
import pytest
import scipy.linalg

from vhbench.errors import MethodError
from vhbench.method import FitContext
from vhbench.methods import imh
from vhbench.methods import t_sne as methods_t_sne
from vhbench.methods.anchors import AnchorGraph
from vhbench.methods.imh import IMH, laplacian
from vhbench.methods.t_sne import gradient, joint_probabilities, t_sne
from vhbench.videos import VideoSet


@pytest.fixture(autouse=True)
def few_updates(monkeypatch):
    monkeypatch.setattr(imh, "UPDATES", 60)


def make(videos: int = 80, frames: int = 3, dim: int = 6, seed: int = 0) -> np.ndarray:
    """Frames of videos that differ from each other more than within themselves."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((videos, 1, dim)) * np.linspace(3, 1, dim)
    return (centres + rng.standard_normal((videos, frames, dim)) + 50).astype(np.float32)


def pooled(features: np.ndarray) -> np.ndarray:
    return features.astype(np.float64).mean(axis=1)


# t-SNE


def slow_conditional(points: np.ndarray, i: int, precision: float) -> np.ndarray:
    values = [0.0 if j == i else np.exp(-precision * ((points[i] - x) ** 2).sum()) for j, x in enumerate(points)]
    return np.array(values) / sum(values)


def slow_divergence(places: np.ndarray, wanted: np.ndarray) -> float:
    """KL(P|Q) with loops."""
    n = len(places)
    kernel = [[1 / (1 + ((places[i] - places[j]) ** 2).sum()) if i != j else 0.0 for j in range(n)] for i in range(n)]
    total = sum(map(sum, kernel))
    return sum(
        wanted[i, j] * np.log(wanted[i, j] / (kernel[i][j] / total)) for i in range(n) for j in range(n) if i != j
    )


def test_probabilities_have_the_perplexity_and_the_gaussians_form():
    points = make(40).astype(np.float64)[:, 0]
    joint = joint_probabilities(points, 7.0)
    assert joint.sum() == pytest.approx(1) and not joint.diagonal().any()
    wanted = np.zeros((40, 40))
    for i in range(40):
        low, high = 1e-6, 1e6  # of the precision: bisection on the entropy, on a plain scale of its own
        for _ in range(200):
            middle = np.sqrt(low * high)
            p = slow_conditional(points, i, middle)
            entropy = -sum(value * np.log2(value) for value in p if value > 0)
            low, high = (middle, high) if 2**entropy > 7.0 else (low, middle)
        wanted[i] = slow_conditional(points, i, low)
    np.testing.assert_allclose(joint, (wanted + wanted.T) / 80, rtol=0, atol=1e-9)


def test_the_gradient_by_differences_of_the_divergence():
    points = make(12).astype(np.float64)[:, 0]
    wanted = joint_probabilities(points, 3.0)
    places = np.random.default_rng(0).standard_normal((12, 4))
    slope = np.zeros_like(places)
    for i in range(12):
        for d in range(4):
            step = np.zeros_like(places)
            step[i, d] = 1e-5
            slope[i, d] = (slow_divergence(places + step, wanted) - slow_divergence(places - step, wanted)) / 2e-5
    np.testing.assert_allclose(gradient(places, wanted), slope, rtol=0, atol=1e-8 * abs(slope).max())


def slow_t_sne(points, size, perplexity, updates, speed, rng):
    """The paper's Algorithm 1 with adaptive gains, weight by weight."""
    wanted = joint_probabilities(points, perplexity)
    places = 0.01 * rng.standard_normal((len(points), size))
    last, gains = np.zeros_like(places), np.ones_like(places)
    for t in range(updates):
        p = 4 * wanted if t < 50 else wanted
        slope = np.zeros_like(places)
        kernel = 1 / (1 + ((places[:, None] - places[None]) ** 2).sum(2)) * (1 - np.eye(len(points)))
        total = kernel.sum()
        for i, j in np.ndindex(len(points), len(points)):
            slope[i] += 4 * (p[i, j] - kernel[i, j] / total) * kernel[i, j] * (places[i] - places[j])
        for i, d in np.ndindex(*places.shape):
            same_way = (slope[i, d] > 0) == (last[i, d] > 0)
            gains[i, d] = max(gains[i, d] * 0.8 if same_way else gains[i, d] + 0.2, 0.01)
            last[i, d] = (0.5 if t < 250 else 0.8) * last[i, d] - speed * gains[i, d] * slope[i, d]
        places = places + last
        places = places - places.mean(axis=0)
    return places


def test_places_equal_a_slow_descent(monkeypatch):
    monkeypatch.setattr(methods_t_sne, "SPEED", 1.0)  # at 100, so few points jump about and rounding grows without end
    points = make(14).astype(np.float64)[:, 0]
    found = t_sne(points, 3, 4.0, 260, np.random.default_rng(5))
    wanted = slow_t_sne(points, 3, 4.0, 260, 1.0, np.random.default_rng(5))
    assert abs(wanted).max() > 1
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6 * abs(wanted).max())


def test_clusters_stay_together_in_many_dimensions():
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(4), 15)
    points = 20 * rng.standard_normal((4, 30))[group] + rng.standard_normal((60, 30))
    places = t_sne(points, 16, 10.0, 400, np.random.default_rng(0))
    apart = np.linalg.norm(places[:, None] - places[None], axis=2) + 1e9 * np.eye(60)
    assert (group[apart.argmin(axis=1)] == group).all()
    assert abs(places.mean(axis=0)).max() < 1e-9


def test_very_few_or_equal_points_have_places():
    rng = np.random.default_rng(0)
    for points in (np.zeros((1, 3)), np.array([[0.0, 1], [2, 3]]), np.ones((6, 3)), np.eye(3) * 1e6):
        assert np.isfinite(t_sne(points, 4, 30.0, 60, rng)).all()


# Laplacian eigenmaps


def slow_laplacian(anchors: np.ndarray, neighbours: int, bandwidth: float, bits: int) -> np.ndarray:
    """L y = v D y as a generalised eigenproblem, ties made by loops."""
    count = len(anchors)
    ties = np.zeros((count, count))
    for i in range(count):
        squared = ((anchors - anchors[i]) ** 2).sum(axis=1)
        for j in [j for j in np.argsort(squared) if j != i][:neighbours]:
            ties[i, j] = ties[j, i] = np.exp(-squared[j] / bandwidth**2)
    mass = np.diag(ties.sum(axis=1))
    values, vectors = scipy.linalg.eigh(mass - ties, mass)
    assert values[0] == pytest.approx(0, abs=1e-10) and values[1] > 1e-4
    return vectors[:, 1 : bits + 1]


def test_places_are_the_smoothest_functions_of_the_bases_graph():
    graph = AnchorGraph.learn(pooled(make()) - 50, 30, 5, np.random.default_rng(0))
    wanted = slow_laplacian(graph.anchors, 5, graph.bandwidth, 8)
    found = laplacian(graph, 8)
    signs = np.sign((found * wanted).sum(axis=0))
    np.testing.assert_allclose(found * signs, wanted, rtol=0, atol=1e-8 * abs(wanted).max())


def test_parts_of_the_graph_are_told_apart():
    points = np.concatenate([pooled(make(20)) - 50, pooled(make(20, seed=1)) + 5000])
    graph = AnchorGraph.learn(points - points.mean(axis=0), 40, 3, np.random.default_rng(0))
    found = laplacian(graph, 1)[:, 0]
    far = graph.anchors[:, 0] > 0
    assert np.ptp(found[far]) < 1e-8 and np.ptp(found[~far]) < 1e-8 and (found[far][0] > 0) != (found[~far][0] > 0)


def test_too_many_bits_are_refused_with_both_numbers():
    train = VideoSet(make(30))
    assert IMH(29, embedding="laplacian").fit(train, FitContext()).encode(train).shape == (30, 29)
    with pytest.raises(MethodError, match="at most 29 bits from 30 bases here; 30 were asked for"):
        IMH(30, embedding="laplacian").fit(train, FitContext())


# the method


@pytest.mark.parametrize("embedding", ["t-sne", "laplacian"])
def test_codes_of_new_videos_by_hand(embedding):
    train, test = make(), make(seed=1)
    method = IMH(7, embedding=embedding, bases=20, neighbours=4).fit(VideoSet(train), FitContext())
    assert method.bases_.shape == (20, 6) and method.places_.shape == (20, 7)
    assert abs(method.places_.mean(axis=0)).max() < 1e-9
    wanted = []
    for x in pooled(test) - method.mean_:
        squared = ((method.bases_ - x) ** 2).sum(axis=1)
        nearest = np.argsort(squared)[:4]
        kernel = np.exp(-squared[nearest] / method.bandwidth_**2)
        wanted.append(sum(w * method.places_[j] for w, j in zip(kernel, nearest, strict=True)) / kernel.sum() >= 0)
    assert np.array_equal(method.encode(VideoSet(test)), wanted)


def test_k_means_sees_a_sample_and_few_videos_are_all_bases(monkeypatch):
    monkeypatch.setattr(imh, "SAMPLE", 15)
    method = IMH(4).fit(VideoSet(make()), FitContext())
    assert len(method.bases_) == 15
    centred = pooled(make()) - method.mean_
    assert all((abs(centred - base).max(axis=1) < 1e-5).any() for base in method.bases_)


@pytest.mark.parametrize("embedding", ["t-sne", "laplacian"])
def test_seed_save_nested_and_batches(tmp_path, embedding):
    train, test = VideoSet(make()), VideoSet(make(seed=1))
    method = IMH(8, embedding=embedding, bases=20).fit(train, FitContext(seed=1))
    codes = method.encode(test)
    assert (codes.shape, codes.dtype) == ((80, 8), bool)
    again = IMH(8, embedding=embedding, bases=20)
    assert np.array_equal(again.fit(train, FitContext(seed=1)).encode(test), codes)
    assert not np.array_equal(again.fit(train, FitContext(seed=2)).encode(test), codes)
    assert all(np.array_equal(method.encode(test.subset(np.array([i]))), codes[i : i + 1]) for i in range(20))
    assert method.encode(test.subset(np.array([], dtype=int))).shape == (0, 8)
    method.save(tmp_path / "model.npz")
    assert np.array_equal(IMH.load(tmp_path / "model.npz").encode(test), codes)
    shorter = IMH(3, embedding=embedding, bases=20).fit(train, FitContext(seed=1)).encode(test)
    assert method.nested == (embedding == "laplacian")
    assert not method.nested or np.array_equal(shorter, codes[:, :3])


def test_constant_videos_give_constant_codes():
    train = VideoSet(np.ones((9, 2, 8), dtype=np.float32))
    codes = IMH(4).fit(train, FitContext()).encode(train)
    assert (codes == codes[0]).all()


def test_wrong_sizes_and_values_are_explained():
    train = make()
    with pytest.raises(MethodError, match="not been fitted"):
        IMH(4).encode(VideoSet(train))
    with pytest.raises(MethodError, match="6 dimensions; these have 5"):
        IMH(4).fit(VideoSet(train), FitContext()).encode(VideoSet(train[:, :, :5]))
    with pytest.raises(MethodError, match="embeds by t-sne or laplacian, not 'pca'"):
        IMH(4, embedding="pca").fit(VideoSet(train), FitContext())
    with pytest.raises(MethodError, match="no training videos"):
        IMH(4).fit(VideoSet(train[:0]), FitContext())
    train[3, 1, 2] = np.nan
    with pytest.raises(MethodError, match="NaN or infinite"):
        IMH(4).fit(VideoSet(train), FitContext())
