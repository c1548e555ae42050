"""What the tests of feature files share: a cache of their own, and a few videos."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("VHBENCH_CACHE", str(folder))
    return folder


@pytest.fixture
def videos():
    """Return 7 videos of 3 frames and 4 dimensions, float32."""
    return np.random.default_rng(0).standard_normal((7, 3, 4)).astype(np.float32)
