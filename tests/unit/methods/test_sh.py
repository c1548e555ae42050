"""SH against its formula with loops, scikit-learn's components, and known boxes."""

import math

import numpy as np
import pytest
from sklearn.decomposition import PCA

from vhbench.errors import MethodError
from vhbench.method import FitContext
from vhbench.methods.sh import SH, smoothest_modes
from vhbench.videos import VideoSet


def make(videos: int = 60, frames: int = 3, dim: int = 12, seed: int = 0) -> np.ndarray:
    """Frames with a mean far from 0 and variances that differ by dimension."""
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((videos, frames, dim)) * np.linspace(1, 5, dim) + 50).astype(np.float32)


def pooled(features: np.ndarray) -> np.ndarray:
    return features.astype(np.float64).mean(axis=1)


def slow_sh(train: np.ndarray, test: np.ndarray, bits: int) -> np.ndarray:
    """Spectral hashing value by value; components signed by their largest coefficient."""
    pca = PCA(min(bits, train.shape[1], len(train) - 1), svd_solver="full").fit(train)
    axes = [axis * (1 if axis[abs(axis).argmax()] > 0 else -1) for axis in pca.components_]
    modes = []
    for axis in axes:
        values = [float(axis @ (x - pca.mean_)) for x in train]
        a, b = min(values), max(values)
        modes += [((mode * math.pi / (b - a)) ** 2, mode, axis, a, b) for mode in range(1, 200)]
    modes.sort(key=lambda m: m[0])
    codes = np.zeros((len(test), bits), dtype=bool)
    for i, x in enumerate(test):
        for j, (_, mode, axis, a, b) in enumerate(modes[:bits]):
            value = float(axis @ (x - pca.mean_))
            codes[i, j] = math.sin(math.pi / 2 + mode * math.pi / (b - a) * (value - a)) >= 0
    return codes


@pytest.mark.parametrize(("videos", "bits"), [(60, 1), (60, 8), (60, 12), (60, 40), (9, 20)])
def test_codes_equal_the_formula(videos, bits):
    train, test = make(videos), make(seed=1) * 1.1  # values outside the box too
    codes = SH(bits).fit(VideoSet(train), FitContext()).encode(VideoSet(test))
    assert np.array_equal(codes, slow_sh(pooled(train), pooled(test), bits))


def test_modes_of_a_known_box():
    sides, modes = smoothest_modes(np.array([10.0, 4.0, 1.0]), 6)
    # mode / width: .1 .2 (.25 of the second side) .3 .4 (.5 and .5: the earlier side first)
    assert sides.tolist() == [0, 0, 1, 0, 0, 0]
    assert modes.tolist() == [1, 2, 1, 3, 4, 5]


def test_sides_without_width_come_last():
    sides, _ = smoothest_modes(np.array([0.0, 3.0]), 4)
    assert sides.tolist() == [1, 1, 1, 1]


def test_the_longest_side_alone_can_fill_the_code():
    sides, modes = smoothest_modes(np.array([1000.0, 1.0]), 5)
    assert sides.tolist() == [0] * 5
    assert modes.tolist() == [1, 2, 3, 4, 5]


def test_first_bit_splits_the_first_component_in_the_middle_of_its_range():
    values = np.array([-3.0, -1, 0, 0.4, 0.6, 1, 4])  # mean 2/7, range -3..4, middle 0.5
    train = VideoSet(np.stack([values, np.zeros(7)], axis=1)[:, None].astype(np.float32))
    assert SH(1).fit(train, FitContext()).encode(train)[:, 0].tolist() == [True] * 4 + [False] * 3


def test_constant_videos_give_constant_codes():
    train = VideoSet(np.ones((9, 2, 8), dtype=np.float32))
    assert SH(12).fit(train, FitContext()).encode(train).all()


def test_no_seed_changes_codes_and_batches_do_not_either(tmp_path):
    train, test = VideoSet(make()), VideoSet(make(seed=1))
    method = SH(30).fit(train, FitContext(seed=1))
    codes = method.encode(test)
    assert codes.shape == (60, 30)
    assert np.array_equal(SH(30).fit(train, FitContext(seed=2)).encode(test), codes)
    assert all(np.array_equal(method.encode(test.subset(np.array([i]))), codes[i : i + 1]) for i in range(20))
    assert method.encode(test.subset(np.array([], dtype=int))).shape == (0, 30)
    method.save(tmp_path / "model.npz")
    assert np.array_equal(SH.load(tmp_path / "model.npz").encode(test), codes)


def test_wrong_sizes_and_values_are_explained():
    train = make()
    with pytest.raises(MethodError, match="not been fitted"):
        SH(4).encode(VideoSet(train))
    with pytest.raises(MethodError, match="12 dimensions; these have 5"):
        SH(4).fit(VideoSet(train), FitContext()).encode(VideoSet(train[:, :, :5]))
    with pytest.raises(MethodError, match="no training videos"):
        SH(4).fit(VideoSet(train[:0]), FitContext())
    train[3, 1, 2] = np.nan
    with pytest.raises(MethodError, match="NaN or infinite"):
        SH(4).fit(VideoSet(train), FitContext())
