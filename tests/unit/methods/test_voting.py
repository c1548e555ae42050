"""Hash voting: clusters, their temperatures and the loss, each against loops or scikit-learn."""

import math

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans

from vhbench.methods import voting
from vhbench.methods.lloyd import Clustering
from vhbench.methods.voting import Clusters, k_means, temperatures


@pytest.fixture(autouse=True)
def _seed():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def clusters(videos: int = 40, count: int = 9, bits: int = 5) -> Clusters:
    """Return clusters of random points, in float64."""
    made = Clusters(videos, count, bits).double()
    made.learn(torch.nn.functional.normalize(torch.randn(videos, bits).double(), dim=1), np.random.default_rng(0))
    return made


def test_the_loss_by_loops(monkeypatch):
    made, rows = clusters(), torch.tensor([3, 17, 4, 21, 30, 8])
    codes = torch.nn.functional.normalize(torch.randn(6, 5).double(), dim=1)
    drawn = []
    others = made.others

    def keep(times, size):
        drawn.append(others(times, size))
        return drawn[-1]

    monkeypatch.setattr(made, "others", keep)
    found = made(codes, rows)
    negatives = [number for number, chosen in enumerate(drawn[0].tolist()) if chosen]
    labels = made.labels[rows].tolist()
    assert negatives and not set(negatives) & set(labels) and len(set(labels)) < 6  # some cluster occurs twice
    expected = 0.0
    for i in range(6):
        exps = [
            math.exp(float(codes[i] @ made.centres[number]) / float(made.temperatures[number]))
            for number in labels + negatives
        ]
        expected -= math.log(exps[i] / sum(exps)) / 6
    assert found.item() == pytest.approx(expected, rel=1e-12)


def test_its_gradient_by_finite_differences(monkeypatch):
    made, rows = clusters(), torch.arange(6)
    monkeypatch.setattr(made, "others", lambda times, size: (times == 0).long())
    codes = torch.randn(6, 5).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: made(x, rows), codes)


@pytest.mark.parametrize(("size", "expected"), [(2, 2), (4, 4), (6, 4)])
def test_as_many_other_clusters_as_videos_are_drawn_or_all(size, expected):
    made, times = Clusters(10, 7, 3), torch.tensor([1, 0, 2, 0, 0, 1, 0])
    draws = torch.stack([made.others(times, size) for _ in range(50)])
    assert (draws.sum(1) == expected).all() and not draws[:, [0, 2, 5]].any()
    assert draws.any(0)[[1, 3, 4, 6]].all()  # each of them sometimes


def test_temperatures_by_hand():
    labels = torch.tensor([0, 0, 0, 1, 2, 2, 3, 3])
    squared = torch.tensor([1.0, 4.0, 9.0, 0.0, 0.25, 0.25, 0.0, 0.0])
    wide = [2 / math.log(13), None, 0.5 / math.log(12), 0.0, None]  # cluster 1 has one video, 4 has none
    wide = [max(w for w in wide if w is not None) if w is None else w for w in wide]
    low, high = np.percentile(wide, [10, 90])
    clipped = np.clip(wide, low, high)
    expected = 0.2 * clipped / clipped.mean()
    np.testing.assert_allclose(temperatures(labels, squared, 5).numpy(), expected, rtol=1e-6)
    assert expected.min() > 0.02


def test_clusters_of_equal_codes_have_a_temperature_that_divides():
    labels = torch.arange(6).repeat(2)
    assert torch.equal(temperatures(labels, torch.zeros(12), 6), torch.full((6,), 0.2, dtype=torch.float64))
    some = temperatures(labels, torch.tensor([0.0] * 5 + [1.0]).repeat(2), 6)
    assert some.min() == 0.02


def test_k_means_finds_what_scikit_learn_finds():
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((4, 3))
    points = (centres[np.arange(80) % 4] + 0.05 * rng.standard_normal((80, 3))).astype(np.float64)
    found = k_means(torch.from_numpy(points), 4, np.random.default_rng(1))
    theirs = KMeans(4, n_init=20, random_state=0).fit(points)
    assert float(found.squared.sum()) == pytest.approx(theirs.inertia_, rel=1e-9)
    assert len({(a, b) for a, b in zip(found.labels.tolist(), theirs.labels_.tolist(), strict=True)}) == 4


def test_the_best_of_five_runs_is_kept(monkeypatch):
    sums = iter([3.0, 1.0, 2.0, 5.0, 4.0])
    runs = []

    def run(points, centres, rounds):
        runs.append(Clustering(centres, torch.zeros(8, dtype=torch.int64), torch.full((8,), next(sums))))
        return runs[-1]

    monkeypatch.setattr(voting, "lloyd", run)
    points = torch.randn(8, 3)
    assert k_means(points, 2, np.random.default_rng(0)) is runs[1]
    assert len(runs) == 5 and all(any(torch.equal(c, p) for p in points) for run in runs for c in run.centres)


def test_centres_have_length_1_and_nothing_is_saved():
    made = clusters()
    torch.testing.assert_close(made.centres.norm(dim=1), torch.ones(9).double())
    assert not made.state_dict()
