"""The neural methods on a GPU; skipped without one. What the CPU's tests say of numerics is not said again."""

import os

import numpy as np
import pytest

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read at the first CUDA product; for deterministic ones

import torch

if not torch.cuda.is_available():
    pytest.skip("no GPU here", allow_module_level=True)

from vhbench import run
from vhbench.features.placement import place, release
from vhbench.method import Budget, FitContext
from vhbench.plugins.registry import Registry
from vhbench.testing import toy_videos
from vhbench.training import NeuralMethod

DEVICE = "cuda:0"
NEURAL = [entry.name for entry in Registry().methods() if issubclass(entry.load(), NeuralMethod)]


@pytest.fixture(autouse=True)
def free_memory():
    yield
    release()


def fit(name, *, precision="float32", epochs=2):
    """Train on toy videos that lie on the GPU; returns the method and the losses."""
    losses = []
    ctx = FitContext(
        device=DEVICE,
        budget=Budget(epochs=epochs),
        precision=precision,
        deterministic=True,
        report=lambda epoch: losses.append(epoch.loss),
    )
    return Registry().method(name).make(16).fit(place(toy_videos()[0], DEVICE)[0], ctx), losses


@pytest.mark.parametrize("name", NEURAL)
def test_the_same_seed_gives_the_same_codes_and_losses_in_deterministic_mode(name):
    (first, losses), (second, again) = fit(name), fit(name)
    assert losses == again
    assert np.array_equal(first.encode(toy_videos()[0]), second.encode(toy_videos()[0]))


@pytest.mark.parametrize("name", NEURAL)
def test_a_trained_network_gives_the_same_codes_on_the_cpu(name, tmp_path):
    method, _ = fit(name)
    method.save(tmp_path / "model")
    loaded = type(method).load(tmp_path / "model")
    videos = toy_videos()[0]
    assert (method.encode(videos) != loaded.encode(videos)).mean() < 0.002  # values next to 0 are rounded differently


@pytest.mark.parametrize("name", NEURAL)
def test_bf16_learns_what_float32_learns(name):
    (_, full), (_, half) = fit(name, epochs=6), fit(name, precision="bf16", epochs=6)
    assert half[-1] == pytest.approx(full[-1], rel=0.15)


def test_a_run_holds_its_features_on_the_gpu_and_says_what_memory_it_took(tiny, out):
    table = run("ssth", tiny, bits=8, epochs=1, device=DEVICE, out=out)
    record = next(out.rglob("run.json")).read_text()
    assert table["status"].tolist() == ["done"]
    assert "on the GPU (" in record
    assert '"peak_gpu_mb": null' not in record
