"""Principal components against scikit-learn and numpy, read as a stream or held, by LAPACK or by Lanczos' iteration."""

import numpy as np
import pytest
import scipy.sparse.linalg
from sklearn.decomposition import PCA

from vhbench.errors import MethodError
from vhbench.methods import components
from vhbench.methods.components import mean_frames_and_components, principal_components
from vhbench.methods.projection import mean_of
from vhbench.videos import VideoSet

SIZE = 512  # of the matrices whose eigenvectors Lanczos' iteration finds
INVERSES = 1 / np.arange(1, SIZE + 1)


def make(points: int, dim: int) -> np.ndarray:
    """Points with a mean far from 0 and variances that differ by direction."""
    rng = np.random.default_rng(0)
    mixed = rng.standard_normal((points, dim)) @ (rng.standard_normal((dim, dim)) * np.arange(1, dim + 1))
    return (mixed + 50).astype(np.float32)


def with_eigenvalues(values: np.ndarray) -> np.ndarray:
    turn, _ = np.linalg.qr(np.random.default_rng(1).standard_normal((SIZE, SIZE)))
    matrix = (turn * values) @ turn.T
    return np.asfortranarray((matrix + matrix.T) / 2)


@pytest.mark.parametrize(("points", "dim"), [(200, 12), (12, 40), (40, 40)])  # eigenvectors of X'X and of XX'
def test_components_equal_scikit_learn(monkeypatch, points, dim):
    monkeypatch.setattr(components, "BLOCK", 17)
    monkeypatch.setattr(components, "PANEL", 5)
    means = make(points, dim)
    ours = principal_components(means, mean_of(means), 8)
    theirs = PCA(8, svd_solver="full").fit(means.astype(np.float64)).components_.T
    np.testing.assert_allclose(ours * np.sign((ours * theirs).sum(axis=0)), theirs, atol=1e-8)
    np.testing.assert_allclose(ours.T @ ours, np.eye(8), atol=1e-10)
    assert (ours[np.abs(ours).argmax(axis=0), np.arange(8)] > 0).all()


def test_fewer_components_are_the_first_of_more():
    means = make(60, 12)
    many, few = (principal_components(means, mean_of(means), bits) for bits in (12, 5))
    np.testing.assert_allclose(many[:, :5], few, atol=1e-10)


@pytest.mark.parametrize(("videos", "dim"), [(90, 12), (13, 12), (12, 12), (11, 12)])
def test_components_of_a_stream_are_those_of_its_mean_frames(monkeypatch, videos, dim):
    monkeypatch.setattr(components, "BLOCK", 7)
    features = make(videos, 3 * dim).reshape(videos, 3, dim)
    features = features[features.mean(axis=(1, 2)).argsort()]  # the first block's mean is far from that of all
    means, mean, found = mean_frames_and_components(VideoSet(features), 6)
    np.testing.assert_array_equal(means, VideoSet(features).mean_frames())
    np.testing.assert_array_equal(mean, mean_of(means))
    away = means - means.mean(axis=0, dtype=np.float64)
    _, _, rows = np.linalg.svd(away)
    np.testing.assert_allclose(found * np.sign((found * rows[:6].T).sum(axis=0)), rows[:6].T, atol=1e-10)


@pytest.mark.parametrize(("videos", "message"), [(0, "no training videos"), (30, "NaN or infinite")])
def test_a_stream_without_components_is_refused(videos, message):
    features = np.ones((videos, 2, 6), dtype=np.float32)
    features[videos // 2 :] = np.inf
    with pytest.raises(MethodError, match=message):
        mean_frames_and_components(VideoSet(features), 3)


def test_an_error_while_videos_are_read_reaches_the_caller():
    class Broken(np.ndarray):
        def __getitem__(self, rows):
            raise OSError("the disk is gone")

    features = make(30, 12).reshape(30, 2, 6).view(Broken)
    with pytest.raises(OSError, match="the disk is gone"):
        mean_frames_and_components(VideoSet(features), 3)


@pytest.mark.parametrize(
    "values",
    [
        INVERSES,
        np.linspace(2, 1, SIZE),
        1 / (1 + np.arange(SIZE) // 4),  # each four times
        1 / (1 + np.arange(SIZE) // 40),  # more often than there are eigenvectors to find
        np.append([5, 5, 4, 4, 3, 3, 2, 2], INVERSES[8:]),
        np.ones(SIZE),
        np.append([3, 2, 1], np.zeros(SIZE - 3)),
        np.zeros(SIZE),
    ],
    ids=["inverses", "even", "fours", "forties", "pairs", "equal", "rank 3", "zero"],
)
def test_largest_eigenvalues_are_found_as_often_as_they_occur(values):
    matrix, count = with_eigenvalues(values), SIZE // components.LANCZOS
    found, vectors = components._top(matrix.copy(order="F"), count)
    np.testing.assert_allclose(found, np.sort(values)[::-1][:count], atol=1e-12)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(count), atol=1e-10)
    np.testing.assert_allclose(matrix @ vectors, vectors * found, atol=1e-12)


def test_lanczos_finds_what_lapack_finds():
    matrix = with_eigenvalues(INVERSES)
    values, vectors = np.linalg.eigh(matrix)
    found, columns = components._lanczos(matrix, 10)
    np.testing.assert_allclose(found, values[:-11:-1], rtol=1e-12)
    np.testing.assert_allclose(np.abs((columns * vectors[:, :-11:-1]).sum(axis=0)), 1, rtol=1e-12)


def test_lanczos_notices_a_vector_that_it_has_passed_over(monkeypatch):
    def passes_over(operator, count, **options):
        values, vectors = scipy.sparse.linalg.eigsh(operator, count + 1, **options)
        return values[:count], vectors[:, :count]  # without the largest

    real = scipy.sparse.linalg.eigsh
    monkeypatch.setattr(
        components, "eigsh", lambda op, k, **options: (passes_over if k > 1 else real)(op, k, **options)
    )
    matrix = with_eigenvalues(INVERSES)
    assert components._lanczos(matrix, 10) is None
    found, _ = components._top(matrix, 10)
    np.testing.assert_allclose(found, INVERSES[:10], rtol=1e-10)
