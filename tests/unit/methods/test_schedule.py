"""Learning rates and warm-ups by hand."""

from types import SimpleNamespace

import pytest

from vhbench.methods.schedule import decayed, is_warm
from vhbench.training import Moment


def test_the_rate_falls_every_20_epochs_to_the_least_one():
    assert [decayed(3e-4, epoch) for epoch in (0, 19, 20, 40, 55)] == [1, 1, 0.9, 0.9**2, 0.9**2]
    assert 3e-4 * decayed(3e-4, 200) == pytest.approx(1.046e-4, rel=1e-3)
    assert 3e-4 * decayed(3e-4, 220) == pytest.approx(1e-4)
    assert decayed(5e-5, 500) == 1  # it is not raised to the least rate
    assert [1e-4 * decayed(1e-4, epoch, 1e-5) for epoch in (0, 20, 460)] == pytest.approx([1e-4, 9e-5, 1e-5])


@pytest.mark.parametrize(("epochs", "first"), [(200, 50), (20, 5), (2, 0), (1, 0)])
def test_a_warm_up_is_shortened_with_the_training(epochs, first):
    method = SimpleNamespace(epochs=200, warmup_epochs=50)
    warm = [is_warm(method, Moment(epoch, epochs)) for epoch in range(epochs)]
    assert warm == [False] * first + [True] * (epochs - first)
