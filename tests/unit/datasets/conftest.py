"""What the tests of manifests share: a cache of their own, and a small data set."""

from __future__ import annotations

import numpy as np
import pytest
from manifest_files import write_videos


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VHBENCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def videos():
    """Return 6 videos of 3 frames and 4 dimensions, float32."""
    return np.random.default_rng(0).standard_normal((6, 3, 4)).astype(np.float32)


@pytest.fixture
def folder(tmp_path, videos):
    """Files of a data set of 6 database and 2 query videos."""
    return write_videos(tmp_path, videos)
