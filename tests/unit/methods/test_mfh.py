"""MFH's scalable form against the dense eigenproblem over all frames, its identities, pooling and streaming."""

import numpy as np
import pytest

from vhbench.errors import MethodError
from vhbench.method import FitContext
from vhbench.methods import mfh
from vhbench.methods.anchors import AnchorGraph
from vhbench.methods.mfh import MFH, GramBlocks, eigenvectors, linear_map, sample_frames
from vhbench.videos import VideoSet

SETTINGS = [  # alpha, beta, gamma
    (1.0, 1e-2, 1e-3),  # the defaults
    (1.0, 1e-2, 1.0),
    (1e-2, 10.0, 5.0),  # the graph leads
    (3.0, 500.0, 1e-2),  # a ridge of the size of the data
]


def make(videos: int = 24, frames: int = 5, dim: int = 9, seed: int = 0) -> np.ndarray:
    """Frames with a mean far from 0, variances that differ by dimension, and videos that differ more than frames."""
    rng = np.random.default_rng(seed)
    mixed = rng.standard_normal((videos, 1, dim)) * 2 + rng.standard_normal((videos, frames, dim))
    return (mixed * np.linspace(1, 3, dim) + 50).astype(np.float32)


def flat(features: np.ndarray) -> np.ndarray:
    return features.astype(np.float64).reshape(-1, features.shape[2])


def make_graph(x: np.ndarray, anchors: int = 15) -> AnchorGraph:
    return AnchorGraph.learn(x, anchors, 3, np.random.default_rng(0))


def dense_laplacian(z: np.ndarray) -> np.ndarray:
    """I - A of the anchor graph with weights Z, the adjacency summed over anchors one by one."""
    adjacency = np.zeros((len(z), len(z)))
    for column in z.T:
        if column.any():
            adjacency += np.outer(column, column) / column.sum()
    return np.eye(len(z)) - adjacency


def dense_d(laplacian: np.ndarray, x: np.ndarray, alpha: float, beta: float, gamma: float) -> np.ndarray:
    """D as the method's definition prints it, with X (n x l) not centred."""
    n, size = x.shape
    centring = np.eye(n) - np.ones((n, n)) / n
    ridge = np.linalg.inv(x.T @ centring @ x + beta * np.eye(size))
    graph = gamma * np.eye(n) - gamma**2 * np.linalg.inv(laplacian + gamma * np.eye(n))
    return graph + alpha * (centring - centring @ x @ ridge @ x.T @ centring)


def dense_mfh(x: np.ndarray, laplacian: np.ndarray, bits: int, alpha: float, beta: float, gamma: float):
    """Return eigenvalues, Y, W and b of the dense problem."""
    values, vectors = np.linalg.eigh(dense_d(laplacian, x, alpha, beta, gamma))
    assert np.ptp(vectors[:, 0]) < 1e-6  # the constant vector comes first
    y = vectors[:, 1 : bits + 1]
    n = len(x)
    centring = np.eye(n) - np.ones((n, n)) / n
    w = np.linalg.solve(x.T @ centring @ x + beta * np.eye(x.shape[1]), x.T @ centring @ y)
    b = (np.ones(n) @ y - np.ones(n) @ x @ w) / n
    return values[1 : bits + 1], y, w, b


def scalable(features: np.ndarray, anchors: int = 15):
    """Return all that the dense problem needs, and the Gram blocks of the same frames and anchors."""
    x = flat(features)
    mean = x.mean(axis=0)
    graph = make_graph(x - mean, anchors)
    return x, graph.weights(x - mean).toarray(), GramBlocks.add_up(VideoSet(features), mean, None, graph)


def same_sign(found: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    return found * np.sign((found * wanted).sum(axis=0))


# the scalable form


def test_gram_blocks_are_the_products_of_the_dense_matrices(monkeypatch):
    monkeypatch.setattr(mfh, "BLOCK_BYTES", 4 * 5 * 9 * 7)  # 7 videos a block, the last one smaller
    x, z, blocks = scalable(make())
    used = z.sum(axis=0) > 0
    u = z[:, used] / np.sqrt(z[:, used].sum(axis=0))
    centred = x - x.mean(axis=0)
    for found, wanted in [(blocks.uu, u.T @ u), (blocks.ux, u.T @ centred), (blocks.xx, centred.T @ centred)]:
        np.testing.assert_allclose(found, wanted, atol=1e-9)
    assert blocks.frames == 120


@pytest.mark.parametrize("setting", SETTINGS)
def test_eigenvectors_equal_the_dense_ones(setting):
    x, z, blocks = scalable(make())
    values, y, _, _ = dense_mfh(x, dense_laplacian(z), 9, *setting)
    assert np.diff(values).min() > 1e-10  # else eigenvectors are arbitrary
    found_values, on_anchors, on_features = eigenvectors(blocks, 9, *setting)
    u = z / np.sqrt(z.sum(axis=0))
    found = (u - u.mean(axis=0)) @ on_anchors + (x - x.mean(axis=0)) @ on_features
    np.testing.assert_allclose(found_values, values, atol=1e-10)
    np.testing.assert_allclose(same_sign(found, y), y, atol=1e-6)
    np.testing.assert_allclose(found.T @ found, np.eye(9), atol=1e-8)
    np.testing.assert_allclose(found.sum(axis=0), 0, atol=1e-8)


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_fitted_map_equals_the_dense_one(setting):
    features = make()
    alpha, beta, gamma = setting
    method = MFH(7, alpha=alpha, beta=beta, gamma=gamma, anchors=15, neighbours=3, components=0)
    method.fit(VideoSet(features), FitContext())
    x = flat(features)
    graph = AnchorGraph.learn((x - method.mean_).astype(np.float64), 15, 3, FitContext().rng("frames"))
    _, _, w, b = dense_mfh(x, dense_laplacian(graph.weights(x - method.mean_).toarray()), 7, *setting)
    signs = np.sign((method.directions_ * w).sum(axis=0))
    scale = abs(w).max()
    np.testing.assert_allclose(method.directions_ * signs / scale, w / scale, atol=1e-6)
    np.testing.assert_allclose(-method.mean_ @ method.directions_ * signs, b, atol=1e-6 * abs(b).max())
    assert (method.directions_[abs(method.directions_).argmax(axis=0), np.arange(7)] > 0).all()


@pytest.mark.parametrize("gamma", [1e-3, 1.0, 100.0])
def test_the_graph_part_is_gamma_l_times_the_inverse(gamma):
    _, z, _ = scalable(make())
    laplacian = dense_laplacian(z)
    eye = np.eye(len(laplacian))
    inverse = np.linalg.inv(laplacian + gamma * eye)
    np.testing.assert_allclose(gamma * eye - gamma**2 * inverse, gamma * laplacian @ inverse, atol=1e-10 * gamma)


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_constant_vector_is_an_eigenvector_of_d_with_eigenvalue_zero(setting):
    x, z, _ = scalable(make())
    d = dense_d(dense_laplacian(z), x, *setting)
    np.testing.assert_allclose(d @ np.ones(len(d)), 0, atol=1e-9)


def test_anchors_without_frames_are_left_out():
    x = flat(make())
    mean = x.mean(axis=0)
    near = make_graph(x - mean)
    far = AnchorGraph(np.concatenate([near.anchors, np.full((2, 9), 1e3)]), 3, near.bandwidth)
    with_far, without = (GramBlocks.add_up(VideoSet(make()), mean, None, graph) for graph in (far, near))
    np.testing.assert_allclose(linear_map(with_far, 5, 1, 0.01, 1), linear_map(without, 5, 1, 0.01, 1), atol=1e-10)
    assert len(with_far.mass) == len(without.mass)


def test_directions_without_variance_give_constant_bits():
    rng = np.random.default_rng(0)
    features = np.full((40, 3, 8), 7, dtype=np.float32)
    features[:, :, :3] = rng.standard_normal((40, 3, 3))
    for components in (0, 8):
        method = MFH(8, alpha=1e6, anchors=2, neighbours=1, components=components)  # one bit beside the 3 of variance
        codes = method.fit(VideoSet(features), FitContext()).encode(VideoSet(features))
        assert np.isfinite(method.directions_).all()
        assert codes[:, 4:].all()
        assert all(0 < bit.mean() < 1 for bit in codes[:, :3].T)


# reading the frames


@pytest.mark.parametrize(
    ("size", "each", "videos"),
    [(10, 2, 5), (50, 2, 24), (80, 3, 24), (9, 2, 4)],  # of 24 videos with 5 frames, 2 or more of a video
)
def test_the_sample_has_different_frames_of_different_videos(monkeypatch, size, each, videos):
    monkeypatch.setattr(mfh, "SAMPLE", size)
    monkeypatch.setattr(mfh, "EACH", 2)
    monkeypatch.setattr(mfh, "BLOCK_BYTES", 4 * 5 * 9 * 7)
    sample = sample_frames(VideoSet(make()), np.random.default_rng(0))
    rows = [np.flatnonzero((flat(make()) == frame).all(axis=1)) for frame in sample]
    assert [len(row) for row in rows] == [1] * each * videos
    assert np.array_equal(rows, np.unique(rows)[:, None])  # in their order, none twice
    assert np.unique(np.concatenate(rows) // 5, return_counts=True)[1].tolist() == [each] * videos


def test_the_sample_is_of_all_videos_and_of_all_their_frames(monkeypatch):
    monkeypatch.setattr(mfh, "SAMPLE", 20)
    monkeypatch.setattr(mfh, "EACH", 2)
    features = np.arange(24 * 5, dtype=np.float32).reshape(24, 5, 1)
    drawn = np.concatenate([sample_frames(VideoSet(features), np.random.default_rng(i)) for i in range(100)])
    counts = np.bincount(drawn[:, 0].astype(int), minlength=120)
    assert counts.sum() == 2000
    assert 4 < counts.min() <= counts.max() < 34  # 17 expected of each, with a standard deviation of 4


def test_a_small_training_set_is_its_own_sample():
    sample = sample_frames(VideoSet(make()), np.random.default_rng(0))
    assert np.array_equal(sample, make().reshape(-1, 9))


def test_gram_blocks_are_about_the_mean_wherever_the_centre_is():
    x = flat(make())
    mean = x.mean(axis=0)
    graph = make_graph(x - mean)
    off = np.linspace(-3, 2, 9)
    moved = AnchorGraph(graph.anchors - off, 3, graph.bandwidth)
    found = GramBlocks.add_up(VideoSet(make()), mean + off, None, moved)
    wanted = GramBlocks.add_up(VideoSet(make()), mean, None, graph)
    for name in ("mass", "uu", "ux", "xx", "mean"):
        np.testing.assert_allclose(getattr(found, name), getattr(wanted, name), atol=1e-9)
    np.testing.assert_allclose(found.mean, mean, rtol=1e-12)


def test_a_feature_that_the_sample_missed_is_checked_too(monkeypatch):
    monkeypatch.setattr(mfh, "SAMPLE", 12)
    monkeypatch.setattr(mfh, "EACH", 2)
    for video in (0, 23):
        features = make()
        features[video, :, 3] = np.nan
        with pytest.raises(MethodError, match="NaN"):
            MFH(2, anchors=4, neighbours=2, components=3).fit(VideoSet(features), FitContext())


@pytest.mark.parametrize("sample", [60, 50_000])
def test_blocks_do_not_change_the_fit(monkeypatch, sample):
    monkeypatch.setattr(mfh, "SAMPLE", sample)
    train = VideoSet(make())
    whole = MFH(6, anchors=15, components=7, gamma=1.0).fit(train, FitContext(seed=3))
    codes = whole.encode(train)
    monkeypatch.setattr(mfh, "BLOCK_BYTES", 1)  # one video a block
    single = MFH(6, anchors=15, components=7, gamma=1.0).fit(train, FitContext(seed=3))
    np.testing.assert_allclose(single.directions_, whole.directions_, rtol=1e-6)
    assert np.array_equal(single.encode(train), codes)


def test_components_project_on_the_principal_axes_first():
    features = make()
    x = flat(features)
    centred = x - x.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    axes = axes[:4] * np.sign(axes[np.arange(4), abs(axes[:4]).argmax(axis=1)])[:, None]
    reduced = (centred @ axes.T).astype(np.float64)
    graph = AnchorGraph.learn(reduced, 15, 3, FitContext().rng("frames"))
    _, _, w, _ = dense_mfh(reduced, dense_laplacian(graph.weights(reduced).toarray()), 4, 1.0, 1e-2, 1.0)
    method = MFH(4, gamma=1.0, anchors=15, neighbours=3, components=4).fit(VideoSet(features), FitContext())
    wanted = axes.T @ w
    np.testing.assert_allclose(same_sign(method.directions_, wanted), wanted, atol=1e-6 * abs(wanted).max())


# codes


@pytest.mark.parametrize(("pool", "frames"), [("sign", 5), ("sign", 4), ("real", 5)])
def test_pooling_by_hand(pool, frames):
    train, test = make(frames=frames), make(frames=frames, seed=1)
    method = MFH(6, anchors=15, pool=pool).fit(VideoSet(train), FitContext())
    wanted = np.zeros((24, 6), dtype=bool)
    for i, video in enumerate(test.astype(np.float64)):
        for k in range(6):
            y = [float((frame - method.mean_) @ method.directions_[:, k]) for frame in video]
            signs = [1 if value >= 0 else -1 for value in y]
            wanted[i, k] = sum(signs if pool == "sign" else y) >= 0
    assert np.array_equal(method.encode(VideoSet(test)), wanted)


def test_as_many_positive_as_negative_frames_make_a_one():
    method = MFH(1)
    method.mean_, method.directions_ = np.zeros(1), np.ones((1, 1))
    frames = np.array([[1, 1, -9, -9], [1, -9, -9, -9], [1, 0, -9, -9]], dtype=np.float32)[:, :, None]
    assert method.encode(VideoSet(frames))[:, 0].tolist() == [True, False, True]


def test_a_stronger_graph_brings_neighbours_closer():
    x, z, blocks = scalable(make(40), anchors=10)
    laplacian = dense_laplacian(z)
    roughness = []
    for gamma in (1e-3, 1e-1, 10.0):
        _, on_anchors, on_features = eigenvectors(blocks, 4, 1.0, 1e-2, gamma)
        u = z / np.sqrt(z.sum(axis=0))
        y = (u - u.mean(axis=0)) @ on_anchors + (x - x.mean(axis=0)) @ on_features
        roughness.append(np.trace(y.T @ laplacian @ y))
    assert roughness[0] > roughness[1] > roughness[2]


def test_seed_save_and_batches(tmp_path):
    train, test = VideoSet(make()), VideoSet(make(seed=1))
    method = MFH(8, anchors=15).fit(train, FitContext(seed=1))
    codes = method.encode(test)
    assert codes.shape == (24, 8)
    assert codes.dtype == bool
    assert np.array_equal(MFH(8, anchors=15).fit(train, FitContext(seed=1)).encode(test), codes)
    other = MFH(8, anchors=15).fit(train, FitContext(seed=2))
    assert not np.array_equal(other.directions_, method.directions_)
    assert all(np.array_equal(method.encode(test.subset(np.array([i]))), codes[i : i + 1]) for i in range(24))
    assert method.encode(test.subset(np.array([], dtype=int))).shape == (0, 8)
    method.save(tmp_path / "model.npz")
    assert np.array_equal(MFH.load(tmp_path / "model.npz").encode(test), codes)


# errors


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"alpha": -1.0}, "alpha is -1"),
        ({"beta": 0.0}, "beta 0,"),
        ({"gamma": 0.0}, "gamma 0"),
        ({"components": -1}, "components must be 0"),
        ({"pool": "mean"}, "not 'mean'"),
        ({"components": 3}, "4 bits were asked of 3"),
        ({"neighbours": 0}, "neighbours is 0"),
    ],
)
def test_impossible_settings_are_explained(params, message):
    with pytest.raises(MethodError, match=message):
        MFH(4, **params).fit(VideoSet(make()), FitContext())


def test_wrong_sizes_and_values_are_explained():
    train = make()
    with pytest.raises(MethodError, match="not been fitted"):
        MFH(4).encode(VideoSet(train))
    with pytest.raises(MethodError, match="9 dimensions; these have 5"):
        MFH(4, anchors=15).fit(VideoSet(train), FitContext()).encode(VideoSet(train[:, :, :5]))
    with pytest.raises(MethodError, match="no training videos"):
        MFH(4).fit(VideoSet(train[:0]), FitContext())
    assert "at most one bit a feature dimension" in (MFH.tags.conflict(bits=10, frames=5, dim=9, device="cpu") or "")
    train[3, 1, 2] = np.nan
    with pytest.raises(MethodError, match="NaN or infinite"):
        MFH(4).fit(VideoSet(train), FitContext())
