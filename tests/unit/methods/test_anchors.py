"""The anchor graph against loops in float64."""

import math

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from vhbench.errors import MethodError
from vhbench.methods.anchors import AnchorGraph, k_means


def make(points: int = 60, dim: int = 5, seed: int = 0, scale: float = 1.0) -> np.ndarray:
    return scale * np.random.default_rng(seed).standard_normal((points, dim))


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def slow_weights(points: np.ndarray, anchors: np.ndarray, neighbours: int, bandwidth: float) -> np.ndarray:
    """Z by definition: a kernel on the nearest anchors, divided by its sum over them."""
    z = np.zeros((len(points), len(anchors)))
    for i, point in enumerate(points):
        squared = [sum((a - b) ** 2 for a, b in zip(point, anchor, strict=True)) for anchor in anchors]
        nearest = sorted(range(len(anchors)), key=squared.__getitem__)[:neighbours]
        kernel = {j: math.exp(-squared[j] / bandwidth**2) for j in nearest}
        for j in nearest:
            z[i, j] = kernel[j] / sum(kernel.values())
    return z


@pytest.mark.parametrize("neighbours", [1, 3, 9])
def test_weights_equal_the_definition(neighbours):
    graph = AnchorGraph(make(9, seed=1), neighbours, 1.7)
    wanted = slow_weights(make(), graph.anchors, neighbours, 1.7)
    np.testing.assert_allclose(graph.weights(make()).toarray(), wanted, atol=1e-12)


def test_bandwidth_is_the_mean_distance_to_the_last_neighbour():
    points = make()
    graph = AnchorGraph.learn(points, 12, 4, rng())
    distances = np.sort([[math.dist(point, anchor) for anchor in graph.anchors] for point in points], axis=1)
    assert graph.bandwidth == pytest.approx(distances[:, 3].mean(), rel=1e-12)


def test_weights_do_not_change_with_the_scale_of_the_features():
    graphs = [AnchorGraph.learn(make(scale=scale), 12, 3, rng()) for scale in (1, 1024)]
    small, large = (g.weights(make(seed=2, scale=s)).toarray() for g, s in zip(graphs, (1, 1024), strict=True))
    np.testing.assert_allclose(small, large, atol=1e-5)  # k-means computes in float32


def test_no_row_underflows_far_from_all_anchors():
    graph = AnchorGraph(make(9), 3, 1.0)
    points = make(4, seed=1) * 1e5
    weights = graph.weights(points).toarray()
    nearest = ((points[:, None] - graph.anchors) ** 2).sum(axis=2).argmin(axis=1)
    assert np.exp(-((points[0] - graph.anchors[nearest[0]]) ** 2).sum()) == 0
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    assert np.array_equal(weights.argmax(axis=1), nearest)


def test_a_point_on_its_only_anchor_has_all_weight_there():
    points = make(6)
    graph = AnchorGraph.learn(points, 6, 1, rng())
    assert graph.bandwidth == pytest.approx(0, abs=1e-6)
    weights = graph.weights(points).toarray()
    assert np.array_equal(graph.anchors[weights.argmax(axis=1)], points)
    assert np.array_equal(weights.sum(axis=1), np.ones(6))


def test_the_adjacency_is_symmetric_with_rows_that_sum_to_one():
    points = make()
    weights = AnchorGraph.learn(points, 12, 3, rng()).weights(points).toarray()
    used = weights.sum(axis=0) > 0
    adjacency = weights[:, used] / weights[:, used].sum(axis=0) @ weights[:, used].T
    np.testing.assert_allclose(adjacency, adjacency.T, atol=1e-15)
    np.testing.assert_allclose(adjacency.sum(axis=1), 1)


def test_fewer_points_than_anchors_are_all_anchors():
    points = make(7).repeat(2, axis=0)
    graph = AnchorGraph.learn(points, 20, 3, rng())
    assert np.array_equal(graph.anchors, np.unique(points, axis=0))
    assert graph.weights(points).shape == (14, 7)


def test_fewer_anchors_than_neighbours_are_all_used():
    graph = AnchorGraph.learn(np.repeat([[0.0, 1.0], [2.0, 0.0]], 5, axis=0), 8, 4, rng())
    weights = graph.weights(np.array([[1.0, 0.5], [0.0, 1.0]])).toarray()
    assert weights.shape == (2, 2)
    np.testing.assert_allclose(weights[0], 0.5)
    assert weights[1, 0] > weights[1, 1] > 0


def test_equal_points_are_one_anchor():
    assert np.array_equal(AnchorGraph.learn(np.ones((30, 4)), 5, 2, rng()).anchors, np.ones((1, 4)))


def test_k_means_finds_clusters():
    centres = np.array([[-50.0, 0.0], [0.0, 50.0], [50.0, 0.0]])
    points = centres.repeat(40, axis=0) + make(120, 2)
    wanted = points.reshape(3, 40, 2).mean(axis=1)
    np.testing.assert_allclose(k_means(points, 3, rng()), wanted, atol=1e-4)


def test_k_means_depends_on_the_seed_and_not_on_threads():
    points = make(3000, 8)
    with threadpool_limits(1):
        one = k_means(points, 40, rng(1))
    with threadpool_limits(4, user_api="openmp"):
        assert np.array_equal(k_means(points, 40, rng(1)), one)
    assert not np.array_equal(k_means(points, 40, rng(2)), one)


def test_k_means_leaves_the_global_generator_alone():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    k_means(make(), 5, rng())
    assert np.array_equal(np.random.get_state()[1], before)  # noqa: NPY002


@pytest.mark.parametrize("neighbours", [0, 9])
def test_impossible_neighbours_are_refused(neighbours):
    with pytest.raises(MethodError, match=f"between 1 and all 8 anchors.*neighbours is {neighbours}"):
        AnchorGraph.learn(make(), 8, neighbours, rng())
