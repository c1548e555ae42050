"""AGH against the dense graph's eigenvectors, a dense threshold search, and its out-of-sample rule by hand."""

import numpy as np
import pytest
import scipy.sparse

from vhbench.errors import MethodError
from vhbench.method import FitContext
from vhbench.methods import agh
from vhbench.methods.agh import AGH, eigenfunctions, second_layer, thresholds
from vhbench.methods.anchors import AnchorGraph
from vhbench.videos import VideoSet


def make(videos: int = 80, frames: int = 3, dim: int = 6, seed: int = 0) -> np.ndarray:
    """Frames of videos that differ from each other more than within themselves."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((videos, 1, dim)) * np.linspace(3, 1, dim)
    return (centres + rng.standard_normal((videos, frames, dim)) + 50).astype(np.float32)


def pooled(features: np.ndarray) -> np.ndarray:
    return features.astype(np.float64).mean(axis=1)


def graph_weights(videos: int = 80, anchors: int = 12, neighbours: int = 3) -> scipy.sparse.csr_array:
    points = pooled(make(videos)) - 50
    return AnchorGraph.learn(points, anchors, neighbours, np.random.default_rng(0)).weights(points)


def dense_adjacency(z: np.ndarray) -> np.ndarray:
    """A = Z Lambda^-1 Z' by loops over videos and anchors."""
    mass = [sum(z[i, j] for i in range(len(z))) for j in range(z.shape[1])]
    a = np.zeros((len(z), len(z)))
    for i in range(len(z)):
        for k in range(len(z)):
            a[i, k] = sum(z[i, j] * z[k, j] / mass[j] for j in range(z.shape[1]))
    return a


def two_parts() -> scipy.sparse.csr_array:
    """Z of two groups of videos that share no anchor."""
    block = np.random.default_rng(0).dirichlet(np.ones(4), 15)
    return scipy.sparse.csr_array(np.kron(np.eye(2), block))


# the first layer


def test_eigenfunctions_give_the_dense_graphs_eigenvectors():
    weights = graph_weights()
    adjacency = dense_adjacency(weights.toarray())
    values, vectors = np.linalg.eigh(adjacency)
    assert values[-2] < 0.999 < values[-1]
    assert np.ptp(vectors[:, -1]) < 1e-10  # the constant vector, to be left out
    wanted = vectors[:, -2:-13:-1] * np.sqrt(len(adjacency))
    found = weights @ eigenfunctions(weights)
    assert found.shape == (80, 11)
    np.testing.assert_allclose(found * np.sign((found * wanted).sum(axis=0)), wanted, atol=1e-6)


def test_eigenfunctions_have_mean_zero_unit_variance_and_no_correlation():
    for weights in (graph_weights(), two_parts()):
        found = weights @ eigenfunctions(weights)
        np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-10)
        np.testing.assert_allclose(found.T @ found / len(found), np.eye(found.shape[1]), atol=1e-8)


def test_each_part_of_a_graph_has_eigenvectors_of_its_own():
    weights = two_parts()
    found = weights @ eigenfunctions(weights)
    adjacency = dense_adjacency(weights.toarray())
    values = np.linalg.eigvalsh(adjacency)[::-1]
    assert values[:2] == pytest.approx(1)
    assert found.shape == (30, 6)  # of 8 anchors, but for one constant vector a part
    np.testing.assert_allclose(adjacency @ found, found * values[2:8], atol=1e-10)
    assert all((column[:15] == 0).all() ^ (column[15:] == 0).all() for column in found.T)


def test_an_eigenvector_that_is_not_there_is_a_constant_bit():
    weights = scipy.sparse.csr_array(np.full((10, 4), 0.25))  # the adjacency has rank 1, the constant vector
    assert eigenfunctions(weights).shape == (4, 3)
    assert not eigenfunctions(weights).any()


# the second layer


def slow_thresholds(laplacian: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Minimise f' L f subject to 1' f = 0 by the normal equations in (b+, b-) with a Lagrange multiplier."""
    above = (y >= 0).astype(float)
    folded, slopes = np.abs(y), np.stack([-above, 1 - above], axis=1)
    ones = slopes.sum(axis=0)
    system = np.zeros((3, 3))
    system[:2, :2] = 2 * slopes.T @ laplacian @ slopes
    system[:2, 2] = system[2, :2] = ones
    right = np.append(-2 * slopes.T @ laplacian @ folded, -folded.sum())
    return tuple(np.linalg.solve(system, right)[:2])


def test_thresholds_minimise_the_dense_objective():
    weights = graph_weights()
    laplacian = np.eye(80) - dense_adjacency(weights.toarray())
    y = weights @ eigenfunctions(weights)[:, :6]
    found = thresholds(weights, y)
    for k in range(6):
        np.testing.assert_allclose(found[:, k], slow_thresholds(laplacian, y[:, k]), atol=1e-8)
    np.testing.assert_allclose(second_layer(y, found).mean(axis=0), 0, atol=1e-10)


def test_thresholds_are_a_minimum():
    weights = graph_weights()
    laplacian = np.eye(80) - dense_adjacency(weights.toarray())
    y = weights @ eigenfunctions(weights)[:, :1]
    many, few = (y >= 0).sum(), (y < 0).sum()

    def objective(step: float) -> float:  # moves along the constraint
        f = second_layer(y, thresholds(weights, y) + step * np.array([[few], [many]]) / 80)[:, 0]
        assert f.mean() == pytest.approx(0, abs=1e-10)
        return f @ laplacian @ f

    assert objective(0) < min(objective(0.01), objective(-0.01))


def test_a_vector_of_zeros_has_thresholds_of_zero():
    assert not thresholds(two_parts(), np.zeros((30, 1))).any()


# the method


@pytest.mark.parametrize("layers", [1, 2])
def test_codes_of_new_videos_by_hand(layers):
    train, test = make(), make(seed=1)
    method = AGH(9, anchors=12, neighbours=3, layers=layers).fit(VideoSet(train), FitContext())
    centre = pooled(train).mean(axis=0)
    projection = method.projection_
    wanted = []
    for x in pooled(test) - centre:
        squared = ((method.anchors_ - x) ** 2).sum(axis=1)
        nearest = np.argsort(squared)[:3]
        kernel = np.exp(-squared[nearest] / method.bandwidth_**2)
        y = kernel / kernel.sum() @ projection[nearest]
        first = y >= 0
        if layers == 2:
            upper, lower = method.thresholds_
            first = np.append(
                first, [v - u >= 0 if v >= 0 else w - v >= 0 for v, u, w in zip(y, upper, lower, strict=True)]
            )
        wanted.append(first[:9])
    assert projection.shape == (12, 9 if layers == 1 else 5)
    assert np.array_equal(method.encode(VideoSet(test)), wanted)


def test_bits_of_the_training_videos_are_balanced_signs_of_the_graphs_eigenvectors():
    train = VideoSet(make())
    method = AGH(5, anchors=12, neighbours=3).fit(train, FitContext())
    z = AnchorGraph(method.anchors_, 3, method.bandwidth_).weights(pooled(make()) - method.mean_).toarray()
    _, vectors = np.linalg.eigh(dense_adjacency(z))
    codes, wanted = method.encode(train), vectors[:, -2:-7:-1] >= 0
    assert all(np.array_equal(codes[:, k], wanted[:, k] ^ (codes[0, k] != wanted[0, k])) for k in range(5))


@pytest.mark.parametrize("layers", [1, 2])
def test_seed_save_blocks_and_batches(monkeypatch, tmp_path, layers):
    train, test = VideoSet(make()), VideoSet(make(seed=1))
    method = AGH(8, anchors=20, layers=layers).fit(train, FitContext(seed=1))
    codes = method.encode(test)
    assert codes.shape == (80, 8)
    assert codes.dtype == bool
    assert not np.array_equal(AGH(8, anchors=20, layers=layers).fit(train, FitContext(seed=2)).encode(test), codes)
    assert all(np.array_equal(method.encode(test.subset(np.array([i]))), codes[i : i + 1]) for i in range(20))
    assert method.encode(test.subset(np.array([], dtype=int))).shape == (0, 8)
    method.save(tmp_path / "model.npz")
    assert np.array_equal(AGH.load(tmp_path / "model.npz").encode(test), codes)
    monkeypatch.setattr(agh, "BLOCK", 7)
    again = AGH(8, anchors=20, layers=layers).fit(train, FitContext(seed=1))
    assert np.array_equal(again.encode(test), codes)


def test_k_means_sees_a_sample(monkeypatch):
    monkeypatch.setattr(agh, "SAMPLE", 15)
    method = AGH(4).fit(VideoSet(make()), FitContext())
    assert len(method.anchors_) == 15  # 15 videos are too few for 300 anchors, so each is one
    centred = pooled(make()) - method.mean_
    assert all((abs(centred - anchor).max(axis=1) < 1e-5).any() for anchor in method.anchors_)


def test_few_videos_are_all_anchors():
    train = VideoSet(make(30))
    for bits, layers in ((29, 1), (58, 2)):
        method = AGH(bits, neighbours=6, layers=layers).fit(train, FitContext())
        assert len(method.anchors_) == 30
        assert method.encode(train).shape == (30, bits)


def test_too_many_bits_are_refused_with_both_numbers():
    train = VideoSet(make(30))
    with pytest.raises(
        MethodError, match=r"at most 29 bits from 30 anchors here; 30 were asked for.*30 training videos"
    ):
        AGH(30, neighbours=6).fit(train, FitContext())
    with pytest.raises(MethodError, match="layers=2 learns at most 18 bits from 10 anchors here; 19 were asked for"):
        AGH(19, anchors=10, layers=2).fit(train, FitContext())


def test_parts_of_the_graph_cost_bits():
    features = make(30)
    features[:10] += 1000
    with pytest.raises(MethodError, match="at most 28 bits from 30 anchors"):
        AGH(29, neighbours=6).fit(VideoSet(features), FitContext())


def test_wrong_sizes_and_values_are_explained():
    train = make()
    with pytest.raises(MethodError, match="not been fitted"):
        AGH(4).encode(VideoSet(train))
    with pytest.raises(MethodError, match="6 dimensions; these have 5"):
        AGH(4).fit(VideoSet(train), FitContext()).encode(VideoSet(train[:, :, :5]))
    with pytest.raises(MethodError, match="1 or 2 layers, not 3"):
        AGH(4, layers=3).fit(VideoSet(train), FitContext())
    with pytest.raises(MethodError, match="no training videos"):
        AGH(4).fit(VideoSet(train[:0]), FitContext())
    train[3, 1, 2] = np.nan
    with pytest.raises(MethodError, match="NaN or infinite"):
        AGH(4).fit(VideoSet(train), FitContext())
