"""A database counted in blocks of rows gives what one pass gives."""

import numpy as np
import pytest

from vhbench.scoring import counts


@pytest.mark.parametrize("labels", ["single", "multi"])
def test_blocks_of_the_database_add_up_to_one_pass(monkeypatch, labels):
    rng = np.random.default_rng(0)
    codes = rng.random((500, 40)) < 0.5
    given = rng.integers(0, 7, 500) if labels == "single" else rng.random((500, 7)) < 0.3
    index = rng.integers(-1, 500, 60)
    whole = counts.count_distances(codes[:60], codes, given[:60], given, self_index=index)
    monkeypatch.setattr(counts, "DATABASE_BLOCK", 128)  # the last block is shorter
    blocks = counts.count_distances(codes[:60], codes, given[:60], given, self_index=index)
    for name in ("items", "relevant", "self_distance", "self_relevant"):
        np.testing.assert_array_equal(getattr(blocks, name), getattr(whole, name))
