"""LSH, PCAH, PCA-RR and ITQ against numpy, scikit-learn, a slow ITQ, and measured yardsticks on real features."""

from pathlib import Path

import numpy as np
import pytest

from vhbench.errors import MethodError
from vhbench.method import FitContext
from vhbench.methods import projection
from vhbench.methods.components import principal_components
from vhbench.methods.itq import ITQ, learn_rotation
from vhbench.methods.lsh import LSH
from vhbench.methods.pca_rr import PCARR
from vhbench.methods.pcah import PCAH
from vhbench.methods.projection import mean_of, project
from vhbench.videos import VideoSet

UCF = Path(__file__).parents[4] / "shared" / "data" / "ucf101-14"
METHODS = [LSH, PCAH, PCARR, ITQ]


def make(videos: int = 60, frames: int = 3, dim: int = 12, seed: int = 0) -> np.ndarray:
    """Frames with a mean far from 0 and variances that differ by dimension."""
    rng = np.random.default_rng(seed)
    mixed = rng.standard_normal((videos, frames, dim)) @ (rng.standard_normal((dim, dim)) * np.arange(1, dim + 1))
    return (mixed + 50).astype(np.float32)


def pooled(features: np.ndarray) -> np.ndarray:
    return features.astype(np.float64).mean(axis=1)


# all of them


@pytest.mark.parametrize("dim", [6, 80])
def test_directions_without_variance_give_constant_bits(dim):
    rng = np.random.default_rng(0)
    features = (rng.standard_normal((50, 1, 3)) @ rng.standard_normal((3, dim))).astype(np.float32).round(2)
    features[:, :, 3:] = 7  # variance in three dimensions only
    train = VideoSet(features)
    directions = PCAH(5).fit(train, FitContext()).directions_
    assert not directions[:, 3:].any()
    assert directions[:, :3].any(axis=0).all()
    assert PCAH(5).fit(train, FitContext()).encode(train)[:, 3:].all()


def test_constant_videos_give_constant_codes():
    train = VideoSet(np.ones((9, 2, 8), dtype=np.float32))
    for cls in METHODS:
        codes = cls(4).fit(train, FitContext()).encode(train)
        assert (codes == codes[0]).all(), cls


def test_projection_in_blocks_equals_one_product(monkeypatch):
    monkeypatch.setattr(projection, "BLOCK", 7)
    means = make(30).mean(axis=1)
    mean, directions = mean_of(means), np.random.default_rng(0).standard_normal((12, 5))
    np.testing.assert_allclose(project(means, mean, directions), (means - mean) @ directions)


# the methods


def test_pcah_by_singular_vectors():
    train, test = make(), make(seed=1)
    centre = pooled(train).mean(axis=0)
    _, _, rows = np.linalg.svd(pooled(train) - centre)
    rows = rows[:6] * np.sign(rows[np.arange(6), np.abs(rows[:6]).argmax(axis=1)])[:, None]
    wanted = (pooled(test) - centre) @ rows.T >= 0
    assert np.array_equal(PCAH(6).fit(VideoSet(train), FitContext()).encode(VideoSet(test)), wanted)


def test_lsh_by_hand():
    train, test, ctx = make(), make(seed=1), FitContext(seed=2)
    directions = ctx.rng("directions").standard_normal((12, 30))  # more bits than dimensions
    wanted = (pooled(test) - pooled(train).mean(axis=0)) @ directions >= 0
    assert np.array_equal(LSH(30).fit(VideoSet(train), ctx).encode(VideoSet(test)), wanted)


def test_lsh_differs_in_a_bit_with_probability_angle_over_pi():
    a, b = np.array([1.0, 0.0]), np.array([np.cos(1.0), np.sin(1.0)])
    features = np.array([a, b, -a, -b], dtype=np.float32)[:, None]  # mean 0
    codes = LSH(20_000).fit(VideoSet(features), FitContext()).encode(VideoSet(features))
    assert (codes[0] != codes[1]).mean() == pytest.approx(1 / np.pi, abs=0.015)  # 4.5 standard deviations


def test_pca_rr_by_singular_vectors():
    train, test, ctx = make(), make(seed=1), FitContext(seed=3)
    centre = pooled(train).mean(axis=0)
    _, _, rows = np.linalg.svd(pooled(train) - centre)
    rows = rows[:6] * np.sign(rows[np.arange(6), np.abs(rows[:6]).argmax(axis=1)])[:, None]
    gaussian = ctx.rng("rotation").standard_normal((6, 6))
    _, vectors = np.linalg.eigh(gaussian @ gaussian.T)  # the left singular vectors, up to order and sign
    method = PCARR(6).fit(VideoSet(train), ctx)
    rotation = rows @ method.directions_
    np.testing.assert_allclose(rotation.T @ rotation, np.eye(6), atol=1e-10)
    np.testing.assert_allclose(np.abs(vectors.T[::-1] @ rotation), np.eye(6), atol=1e-7)
    wanted = (pooled(test) - centre) @ rows.T @ rotation >= 0
    assert np.array_equal(method.encode(VideoSet(test)), wanted)


def test_pca_rr_is_where_itq_starts():
    train, ctx = VideoSet(make()), FitContext(seed=3)
    itq = ITQ(6, iterations=0).fit(train, ctx)
    np.testing.assert_array_equal(PCARR(6).fit(train, ctx).directions_, itq.directions_)


def test_pca_rr_spreads_the_variance_evenly():
    train = VideoSet(make(videos=400, dim=64))
    plain, rotated = (
        np.array([
            project(train.mean_frames(), m.mean_, m.directions_).var(axis=0)
            for m in (cls(32).fit(train, FitContext(seed=seed)) for seed in range(20))
        ]).mean(axis=0)
        for cls in (PCAH, PCARR)
    )  # fmt: skip
    assert rotated.sum() == pytest.approx(plain.sum())
    assert rotated.std() / rotated.mean() < 0.25 * plain.std() / plain.mean()


def slow_itq(projected: np.ndarray, rotation: np.ndarray, iterations: int) -> tuple[np.ndarray, list[float]]:
    """ITQ element by element, the rotation from the polar factor of V'B; also the objective after each half step."""
    objective = []
    for _ in range(iterations):
        rotated = projected @ rotation
        codes = np.array([[1.0 if value >= 0 else -1.0 for value in row] for row in rotated])
        objective.append(np.linalg.norm(codes - projected @ rotation))
        cross = projected.T @ codes
        values, vectors = np.linalg.eigh(cross.T @ cross)
        rotation = cross @ vectors @ np.diag(values**-0.5) @ vectors.T
        objective.append(np.linalg.norm(codes - projected @ rotation))
    return rotation, objective


def test_itq_equals_a_slow_version_whose_objective_never_rises():
    train, ctx = make(), FitContext(seed=4)
    centred = pooled(train) - pooled(train).mean(axis=0)
    means = VideoSet(train).mean_frames()
    components = principal_components(means, mean_of(means), 6)
    start, _, _ = np.linalg.svd(ctx.rng("rotation").standard_normal((6, 6)))
    rotation, objective = slow_itq(centred @ components, start, 50)
    assert (np.diff(objective) <= 1e-9).all()
    np.testing.assert_allclose(rotation.T @ rotation, np.eye(6), atol=1e-10)

    method = ITQ(6).fit(VideoSet(train), ctx)
    np.testing.assert_allclose(method.directions_, components @ rotation, atol=1e-5)
    test = make(seed=1)
    wanted = (pooled(test) - pooled(train).mean(axis=0)) @ components @ rotation >= 0
    assert np.array_equal(method.encode(VideoSet(test)), wanted)


def test_itq_rotations_are_orthogonal_and_fit_better_with_more_iterations():
    projected = np.random.default_rng(0).standard_normal((80, 7)) * np.arange(1, 8)
    losses = []
    for iterations in range(12):
        rotation = learn_rotation(projected, iterations, np.random.default_rng(1))
        np.testing.assert_allclose(rotation.T @ rotation, np.eye(7), atol=1e-12)
        rotated = projected @ rotation
        losses.append(np.linalg.norm(np.where(rotated >= 0, 1, -1) - rotated))
    assert (np.diff(losses) <= 1e-9).all()
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("cls", METHODS)
def test_seed_save_and_batches(cls, tmp_path):
    train, test = VideoSet(make()), VideoSet(make(seed=1))
    method = cls(8).fit(train, FitContext(seed=1))
    codes = method.encode(test)
    assert codes.shape == (60, 8)
    assert codes.dtype == bool
    assert np.array_equal(cls(8).fit(train, FitContext(seed=1)).encode(test), codes)
    assert np.array_equal(cls(8).fit(train, FitContext(seed=2)).encode(test), codes) == (cls is PCAH)
    assert all(np.array_equal(method.encode(test.subset(np.array([i]))), codes[i : i + 1]) for i in range(5))
    assert method.encode(test.subset(np.array([], dtype=int))).shape == (0, 8)

    method.save(tmp_path / "model.npz")
    assert np.array_equal(cls.load(tmp_path / "model.npz").encode(test), codes)


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.uint8])
@pytest.mark.parametrize("cls", METHODS)
def test_any_feature_type(cls, dtype):
    features = np.random.default_rng(0).integers(0, 200, (60, 3, 12))
    codes = [cls(8).fit(v, FitContext()).encode(v) for v in map(VideoSet, (features.astype(dtype), features * 1.0))]
    assert np.array_equal(*codes)


# errors


@pytest.mark.parametrize("cls", METHODS)
def test_wrong_sizes_and_values_are_explained(cls):
    train = make()
    with pytest.raises(MethodError, match="not been fitted"):
        cls(4).encode(VideoSet(train))
    with pytest.raises(MethodError, match="12 dimensions; these have 5"):
        cls(4).fit(VideoSet(train), FitContext()).encode(VideoSet(train[:, :, :5]))
    with pytest.raises(MethodError, match="no training videos"):
        cls(4).fit(VideoSet(train[:0]), FitContext())
    train[3, 1, 2] = np.nan
    with pytest.raises(MethodError, match="NaN or infinite"):
        cls(4).fit(VideoSet(train), FitContext())


@pytest.mark.parametrize("cls", [PCAH, PCARR, ITQ])
def test_too_few_videos_or_dimensions(cls):
    assert cls(8).fit(VideoSet(make(9)), FitContext()).directions_.any(axis=0).all()
    with pytest.raises(MethodError, match="at least 9 training videos; there are 8"):
        cls(8).fit(VideoSet(make(8)), FitContext())
    with pytest.raises(MethodError, match="at least 13 feature dimensions; there are 12"):
        cls(13).fit(VideoSet(make()), FitContext())
    assert "at most one bit a feature dimension" in (cls.tags.conflict(bits=13, frames=3, dim=12, device="cpu") or "")


# yardsticks

YARDSTICKS = {  # map@20 in the literature's convention, mean of five seeds, measured with other code
    LSH: ({16: 0.261, 32: 0.394, 64: 0.522, 128: 0.631}, 0.03),
    PCAH: ({16: 0.538, 32: 0.520, 64: 0.480, 128: 0.439}, 0.005),
    ITQ: ({16: 0.708, 32: 0.752, 64: 0.764, 128: 0.778}, 0.03),
}


@pytest.mark.slow
@pytest.mark.skipif(not UCF.is_dir(), reason=f"the real features are not at {UCF}")
@pytest.mark.parametrize("cls", YARDSTICKS)
def test_yardsticks_on_real_features(cls):
    import h5py
    from scipy.io import loadmat

    from vhbench.scoring import evaluate

    sets, labels = [], []
    for part in ("train", "test"):
        with h5py.File(UCF / f"ucf_{part}_feats.h5") as file:
            means = VideoSet(file["feats"][:]).mean_frames()
        sets.append(VideoSet(means[:, None]))  # videos of one frame, so that not every fit pools again
        labels.append(loadmat(UCF / f"ucf_{part}_labels.mat")["labels"])
    database, queries = sets
    wanted, tolerance = YARDSTICKS[cls]
    for bits, value in wanted.items():
        scores = []
        for seed in range(1 if cls is PCAH else 5):
            method = cls(bits).fit(database, FitContext(seed=seed))
            codes = [method.encode(videos) for videos in (queries, database)]
            scores.append(evaluate(*codes, *labels[::-1], ks=(20,)).map(20))
        print(f"{cls.name} {bits:3} bits: map@20 {np.mean(scores):.3f}, yardstick {value}")
        assert np.mean(scores) == pytest.approx(value, abs=tolerance)
