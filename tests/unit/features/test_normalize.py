"""Feature scaling against plain float64 formulas on all frames at once, and what every scaling keeps to."""

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from vhbench.errors import DataError, UsageError
from vhbench.features import normalize
from vhbench.features.normalize import Normalization, ScaledFrames, Scaling, moments
from vhbench.videos import VideoSet

VIDEOS, FRAMES, DIM = 40, 3, 6


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(normalize, "BLOCK", 7)
    monkeypatch.setattr(normalize, "BLOCK_BYTES", 4 * FRAMES * DIM * 5)


def make(videos: int = VIDEOS, seed: int = 0) -> np.ndarray:
    """Frames far from 0 whose directions differ in variance, sorted so that the first block is not like the rest."""
    rng = np.random.default_rng(seed)
    mixed = rng.standard_normal((videos, FRAMES, DIM)) @ (rng.standard_normal((DIM, DIM)) * 3.0 ** np.arange(DIM))
    mixed = mixed[np.argsort(mixed.mean(axis=(1, 2)))]
    return (mixed + 1000).astype(np.float32)


def rows_of(features: np.ndarray) -> np.ndarray:
    return features.astype(np.float64).reshape(-1, features.shape[-1])


def scaled(kind: str, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Return the test videos as a method would see them."""
    scaling = Normalization.parse(kind).learn(VideoSet(train))
    (whole,) = VideoSet(ScaledFrames(test, scaling)).arrays(len(test))
    return whole


def close(ours: np.ndarray, wanted: np.ndarray) -> None:
    np.testing.assert_allclose(ours.reshape(wanted.shape), wanted, rtol=1e-6, atol=1e-6 * np.abs(wanted).max())


# against plain formulas


def test_none_changes_nothing():
    assert np.array_equal(scaled("none", make(), make(seed=1)), make(seed=1))


def test_l2_gives_every_frame_unit_length_and_leaves_zeros():
    test = make(seed=1)
    test[3, 1] = 0
    wanted = rows_of(test)
    wanted /= [[max(float(row @ row) ** 0.5, 1e-300)] for row in wanted]
    close(scaled("l2", make(), test), wanted)


def test_standard_equals_scikit_learn():
    train, test = make(), make(seed=1)
    close(scaled("standard", train, test), StandardScaler().fit(rows_of(train)).transform(rows_of(test)))


@pytest.mark.parametrize("strength", [1.0, 0.5, 0.25])
def test_whitening_equals_the_power_of_the_covariance(strength):
    train, test = make(), make(seed=1)
    rows = rows_of(train)
    _, singular, directions = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)
    deviations = singular / len(rows) ** 0.5
    wanted = (rows_of(test) - rows.mean(axis=0)) @ directions.T * deviations**-strength @ directions
    close(scaled(f"whiten={strength}", train, test), wanted)


def test_whitened_training_frames_have_the_covariance_that_the_strength_says():
    train = make()
    before = np.cov(rows_of(train).T, bias=True)
    assert np.cov(rows_of(scaled("whiten", train, train)).T, bias=True) == pytest.approx(np.eye(DIM), abs=1e-5)
    half = np.cov(rows_of(scaled("whiten=0.5", train, train)).T, bias=True)
    np.testing.assert_allclose(half @ half, before, rtol=1e-4, atol=1e-4 * before.max())


@pytest.mark.parametrize("covariance", [True, False])
def test_moments_equal_numpys(covariance):
    rows = rows_of(make())
    mean, second = moments(VideoSet(make()), covariance=covariance)
    wanted = np.cov(rows.T, bias=True)
    np.testing.assert_allclose(mean, rows.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(second, wanted if covariance else np.diag(wanted), rtol=1e-10)


# what does not vary, or is not a number


@pytest.mark.parametrize("kind", ["standard", "whiten", "whiten=0.5"])
def test_what_does_not_vary_in_training_becomes_zero(kind):
    train, test = make(), make(seed=1)
    train[..., 2] = 0.1  # float32 cannot hold it exactly
    out = scaled(kind, train, test)
    assert np.isfinite(out).all()
    np.testing.assert_allclose(out[..., 2], 0, atol=1e-6 * np.abs(out).max())


def test_a_direction_without_variance_becomes_zero_in_whitening():
    """The last two dimensions vary only together: their difference says nothing."""
    train, test = make(), make(seed=1)
    train[..., 5] = train[..., 4]
    out = scaled("whiten", train, test).astype(np.float64)
    np.testing.assert_allclose(out[..., 5] - out[..., 4], 0, atol=1e-5 * np.abs(out).max())
    covariance = np.cov(rows_of(scaled("whiten", train, train)).T, bias=True)
    assert np.linalg.eigvalsh(covariance) == pytest.approx([0, 1, 1, 1, 1, 1], abs=1e-5)


def test_constant_videos_become_zero():
    train = np.full((9, FRAMES, DIM), 0.1, dtype=np.float32)
    for kind in ("standard", "whiten"):
        assert not scaled(kind, train, train).any()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("kind", ["standard", "whiten"])
def test_training_features_must_be_finite(kind, bad):
    train = make()
    train[20, 1, 2] = bad
    with pytest.raises(DataError, match="NaN or infinite"):
        Normalization(kind).learn(VideoSet(train))


def test_there_must_be_training_videos_of_the_same_size():
    with pytest.raises(DataError, match="no training videos"):
        Normalization("whiten").learn(VideoSet(make()[:0]))
    scaling = Normalization("standard").learn(VideoSet(make()))
    with pytest.raises(DataError, match="6 dimensions; these features have 5"):
        scaling.apply(make()[..., :5])


# as a view of videos


@pytest.mark.parametrize("kind", ["l2", "standard", "whiten"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.uint8])
def test_a_video_is_scaled_alike_in_any_block_and_the_source_is_not_written(kind, dtype):
    test = np.abs(make(seed=1) - 1000).clip(0, 255).astype(dtype)
    before = test.copy()
    videos = VideoSet(ScaledFrames(test, Normalization(kind).learn(VideoSet(make()))))
    (whole,) = videos.arrays(len(videos))
    assert whole.dtype == np.float32
    for size in (1, 3, 40):
        assert np.array_equal(np.concatenate(list(videos.arrays(size))), whole)
    rows = np.array([7, 0, 7])
    (some,) = videos.subset(rows).arrays(3)
    assert np.array_equal(some, whole[rows])
    assert np.array_equal(test, before)
    np.testing.assert_allclose(videos.mean_frames(), whole.mean(axis=1), rtol=1e-5, atol=1e-6)
    assert (videos.frames, videos.dim, videos.itemsize) == (FRAMES, DIM, 4)


def test_the_order_of_training_videos_hardly_matters():
    train = make()
    order = np.random.default_rng(0).permutation(len(train))
    a, b = (Normalization("whiten").learn(VideoSet(train, rows)) for rows in (None, order))
    np.testing.assert_allclose(a.factor, b.factor, rtol=1e-7, atol=1e-9 * np.abs(a.factor).max())


# names


@pytest.mark.parametrize("text", ["none", "l2", "standard", "whiten", "whiten=0.5"])
def test_names_are_read_as_they_are_written(text):
    assert str(Normalization.parse(text)) == text


def test_whitening_at_full_strength_has_one_name():
    assert Normalization.parse("whiten=1") == Normalization("whiten")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("withen", "did you mean 'whiten'"),
        ("l2=0.5", "'l2' has no strength"),
        ("whiten=", "not a number"),
        ("whiten=half", "not a number"),
        ("whiten=0", "above 0 and at most 1"),
        ("whiten=1.5", "above 0 and at most 1"),
        ("whiten=nan", "above 0 and at most 1"),
    ],
)
def test_wrong_names_are_explained(text, match):
    with pytest.raises(UsageError, match=match):
        Normalization.parse(text)


def test_an_empty_scaling_is_no_scaling():
    assert np.array_equal(Scaling().apply(make()), make())
