"""Where a run was made: devices, versions and memory."""

import json

import numpy as np
import pytest
import torch

from vhbench import environment
from vhbench.errors import UsageError


@pytest.mark.parametrize("name", ["cpu", "auto", "cuda", "cuda:0", "cuda:12"])
def test_devices_of_the_right_form(name):
    environment.check_device(name)


@pytest.mark.parametrize("name", ["gpu", "CPU", "cuda:", "cuda:x", "cuda:-1", "cuda:0,1", "", "mps"])
def test_devices_of_the_wrong_form(name):
    with pytest.raises(UsageError, match="--device takes auto, cpu or cuda:N, not"):
        environment.resolve_device(name)


@pytest.mark.parametrize(("count", "found"), [(0, "cpu"), (2, "cuda:0")])
def test_auto_takes_a_gpu_where_there_is_one(monkeypatch, count, found):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
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
    monkeypatch.setattr(environment, "__file__", str(tmp_path / "vhbench" / "environment.py"))
    assert environment._git_revision() is None
    environment._git_revision.cache_clear()


def test_peak_memory_is_measured_from_the_reset_on():
    environment.reset_peak_memory()
    before = environment.peak_memory("cpu")["peak_rss_mb"]
    block = np.ones(40 * 2**17)  # 40 MB
    after = environment.peak_memory("cpu")["peak_rss_mb"]
    assert after >= before + 30 and environment.peak_memory("cpu")["peak_gpu_mb"] is None
    del block
