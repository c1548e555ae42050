"""Where a run was made: devices, versions and memory."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from vhbench.errors import UsageError
from vhbench.system import environment


@pytest.mark.parametrize("name", ["cpu", "auto", "cuda", "cuda:0", "cuda:12"])
def test_devices_of_the_right_form(name):
    environment.check_device(name)


@pytest.mark.parametrize("name", ["gpu", "CPU", "cuda:", "cuda:x", "cuda:-1", "cuda:0,1", "", "mps"])
def test_devices_of_the_wrong_form(name):
    with pytest.raises(UsageError, match="--device takes auto, cpu or cuda:N, not"):
        environment.resolve_device(name)


@pytest.mark.parametrize(("count", "found"), [(0, "cpu"), (2, "cuda:1")])
def test_auto_takes_a_gpu_where_there_is_one(monkeypatch, count, found):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(environment, "freest", lambda count: 1)
    assert environment.resolve_device("auto") == found
    assert environment.resolve_device("cpu") == "cpu"
    if count:
        assert environment.resolve_device("cuda") == "cuda:0"
        assert environment.resolve_device("cuda:1") == "cuda:1"
    with pytest.raises(UsageError, match=f"cuda:2: this machine has {count} CUDA devices; use cpu or auto"):
        environment.resolve_device("cuda:2")


def test_the_description_is_plain_json_and_names_versions():
    found = environment.describe("cpu")
    assert json.loads(json.dumps(found)) == found
    assert found["packages"]["torch"].startswith("2.")
    assert found["packages"]["numpy"] == np.__version__
    assert found["cpu"] and found["threads"] >= 1 and (found["device"], found["gpu"]) == ("cpu", None)


def test_the_revision_is_that_of_the_checkout_and_none_without_one(monkeypatch, tmp_path):
    environment._git_revision.cache_clear()
    monkeypatch.setattr(environment, "__file__", str(tmp_path / "vhbench" / "system" / "environment.py"))
    assert environment._git_revision() is None
    environment._git_revision.cache_clear()


def test_peak_memory_is_measured_from_the_reset_on(child_environment):
    """In a process of its own: threads of other tests may give memory back while this one allocates some."""
    code = """
import json, numpy as np
from vhbench.system import environment
peaks = []
for megabytes in (200, 50):
    environment.reset_peak_memory("cpu")
    block = np.ones(megabytes * 2**17)
    del block
    peaks.append(environment.peak_memory("cpu"))
print(json.dumps(peaks))
"""
    printed = subprocess.run(
        [sys.executable, "-c", code], env=child_environment, capture_output=True, check=True
    ).stdout
    large, small = json.loads(printed)
    assert large["peak_rss_mb"] - small["peak_rss_mb"] == pytest.approx(150, abs=15)
    assert large["peak_gpu_mb"] is None
