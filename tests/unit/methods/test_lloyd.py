"""Lloyd's algorithm: rounds by hand, and the nearest centres by all distances."""

import torch

from vhbench.methods import lloyd as module
from vhbench.methods.lloyd import lloyd, nearest


def test_each_iteration_moves_centres_to_their_means_and_keeps_those_without_points():
    points = torch.tensor([[0.0], [1.0], [10.0], [11.0]])
    found = lloyd(points, torch.tensor([[1.0], [9.0], [100.0]]), 20)
    assert found.centres.flatten().tolist() == [0.5, 10.5, 100.0]
    assert found.labels.tolist() == [0, 0, 1, 1] and found.squared.tolist() == [0.25] * 4


def test_the_nearest_centre_over_several_blocks(monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 7)
    points, centres = torch.randn(23, 4).double(), torch.randn(5, 4).double()
    labels, squared = nearest(points, centres)
    dense = (points[:, None] - centres).square().sum(2)
    assert torch.equal(labels, dense.argmin(1))
    torch.testing.assert_close(squared, dense.min(1).values)


def test_centres_that_lose_all_points_are_dropped_where_that_is_asked():
    points = torch.tensor([[0.0], [1.0], [10.0], [11.0]])
    found = lloyd(points, torch.tensor([[1.0], [1.0], [9.0], [100.0]]), 20, keep_empty=False)
    assert found.centres.flatten().tolist() == [0.5, 10.5] and found.labels.tolist() == [0, 0, 1, 1]


def test_it_stops_after_the_rounds_asked_for():
    points = torch.arange(8.0)[:, None]
    found = lloyd(points, torch.tensor([[0.0], [1.0]]), 1)
    assert found.centres.flatten().tolist() == [0.0, 4.0]  # of 0, and of 1 to 7
