"""What training takes of a GPU's memory: by hand, against what a simulated GPU holds, and runs that cannot fit."""

import numpy as np
import pytest
import torch
from torch import nn

from vhbench import run
from vhbench.features.placement import release
from vhbench.grid.memory import training_memory
from vhbench.method import Budget, FitContext
from vhbench.plugins.entries import BUILT_IN
from vhbench.plugins.registry import Registry
from vhbench.testing.simulated_gpu import simulated_gpus, unavailable
from vhbench.training import NeuralMethod
from vhbench.videos import VideoSet

if reason := unavailable():
    pytest.skip(reason, allow_module_level=True)

FRAMES, DIM, BATCH = 8, 64, 16
ENTRIES = [entry for entry in Registry().methods() if entry.origin == BUILT_IN]
NEURAL = [pytest.param(entry, id=entry.name) for entry in ENTRIES if issubclass(entry.load(), NeuralMethod)]


class Squares(NeuralMethod):
    """A linear map of the mean frame, squared."""

    name = "squares"
    needs_preparation = False

    def __init__(self, bits, *, epochs=4, batch_size=16, lr=0.1, weight_decay=0.0):
        self.bits, self.epochs, self.batch_size, self.lr, self.weight_decay = bits, epochs, batch_size, lr, weight_decay

    def build(self, frames, dim):
        return nn.Linear(dim, self.bits, bias=False)

    def prepare(self, module, train, ctx):
        module.register_buffer("scale", torch.ones(len(train), 1), persistent=False)

    def loss(self, module, videos, moment):
        scale = module.scale[moment.rows] if self.needs_preparation else 1.0
        return {"squares": (scale * module(videos.mean(1))).square().sum()}

    def codes(self, module, videos):
        return module(videos.mean(1)) >= 0


class PreparedSquares(Squares):
    """Its loss needs what is made of the training set."""

    needs_preparation = True


def test_memory_by_hand():
    """Kept are the mean frames, for the weights' gradient, and the outputs, for the square's."""
    found = training_memory(Squares(4), FRAMES, DIM)
    weights = 4 * 4 * DIM
    assert (found.weights, found.gradients, found.batch) == (weights, weights, 4 * BATCH * FRAMES * DIM)
    assert found.state == 2 * weights + 4, "Adam's two moments, and its count of steps"
    assert found.kept == 4 * (BATCH * DIM + BATCH * 4)
    assert found.total == weights + found.state + found.batch + found.kept
    few = training_memory(Squares(4, batch_size=2), 1, DIM)
    assert few.total == few.weights + few.state + max(few.gradients, few.batch + few.kept)


def test_a_loss_that_needs_the_training_set_is_prepared_on_a_batch():
    """Beside the above it keeps the batch's scale, for the outputs' gradient."""
    found = training_memory(PreparedSquares(4), FRAMES, DIM)
    assert found.kept == 4 * (BATCH * DIM + BATCH * 4 + BATCH)


@pytest.mark.parametrize("entry", NEURAL)
def test_it_is_less_than_a_simulated_gpu_holds_but_not_much(entry):
    method = entry.make(8)
    method.batch_size = BATCH
    state = torch.get_rng_state()
    found = training_memory(method, FRAMES, DIM, epochs=2)
    assert torch.equal(torch.get_rng_state(), state)
    videos = VideoSet(np.random.default_rng(0).random((2 * BATCH, FRAMES, DIM), dtype=np.float32))
    with simulated_gpus():
        method.fit(videos, FitContext(device="cuda:0", budget=Budget(2)))
        peak = torch.cuda.max_memory_allocated(0)
    assert 0.4 * peak < found.total < peak


@pytest.fixture
def needed():
    """What UVVH needs for the tiny protocol, in words."""
    found = training_memory(Registry().method("uvvh").make(8), 8, 24)
    assert 50e6 < found.total < 1e8
    return f"{found.total / 1e6:.0f} MB"


def test_a_run_that_cannot_fit_is_skipped_with_the_reason(tiny, out, needed):
    with simulated_gpus(2, memory=[50_000_000, 10**9]):
        small = run("uvvh", tiny, bits=8, epochs=1, device="cuda:0", out=out)
        large = run("uvvh", tiny, bits=8, epochs=1, device="cuda:1", out=out, rerun="failed")
    release()
    assert small[["status", "reason"]].values.tolist() == [
        [
            "skipped",
            f"uvvh needs at least {needed} of a GPU's memory, and cuda:0 has 50 MB. It needs less with a smaller batch "
            "(--set uvvh.batch_size=128) or --precision bf16.",
        ]
    ]
    assert large["status"].tolist() == ["done"]


def test_it_is_printed_before_a_run_on_a_gpu_starts(vhbench, tiny, out, needed):
    words = ["run", "--method", "uvvh,itq", "--protocol", tiny, "--bits", "8", "--dry-run", "--out", out]
    with simulated_gpus():
        on_gpu = vhbench(*words, "--device", "cuda:0")
    assert on_gpu.code == 0
    uvvh, itq = on_gpu.out.splitlines()[2:4]
    assert f"{needed} or more" in uvvh and "more" not in itq
    assert "GPU memory" not in vhbench(*words, "--device", "cpu").out


def test_describe_prints_it(vhbench):
    said = vhbench("describe", "bl1", "--bits", 8, "--dim", 32, "--frames", 4)
    (line,) = [line for line in said.out.splitlines() if line.startswith("a GPU's memory")]
    assert "MB at least, at a batch of 256" in line
