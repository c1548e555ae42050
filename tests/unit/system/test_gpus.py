"""GPUs: which one is taken, one that cannot be used, and runs on one that is simulated."""

import json
import os

import numpy as np
import pytest
import torch

from vhbench import run
from vhbench.errors import DataError, DeviceError, UsageError
from vhbench.features.placement import place, release
from vhbench.system import environment, gpus
from vhbench.testing.simulated_gpu import simulated_gpus, unavailable
from vhbench.videos import VideoSet

if reason := unavailable():
    pytest.skip(reason, allow_module_level=True)

VIDEOS = np.random.default_rng(0).random((30, 4, 100), dtype=np.float32)  # 48,000 bytes


@pytest.fixture(autouse=True)
def fresh():
    gpus.freest.cache_clear()
    yield
    gpus.freest.cache_clear()
    release()


# which one


@pytest.fixture
def nvidia_smi(monkeypatch, tmp_path):
    """Put a program of that name on the PATH that prints what it is given and notes that it was called."""

    def make(printed, code=0):
        program = tmp_path / "nvidia-smi"
        program.write_text(f"#!/bin/sh\necho called >> {tmp_path}/calls\ncat <<'END'\n{printed}\nEND\nexit {code}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
        return tmp_path / "calls"

    return make


UUID = "GPU-00000000-0000-0000-0000-00000000000"  # and the simulated GPU's number


def test_auto_takes_the_gpu_with_the_most_free_memory_and_stays_on_it(nvidia_smi):
    calls = nvidia_smi(f"{UUID}1, 70000\n{UUID}0, 3000\n{UUID}2, 69999\n{UUID}7, 80000")
    with simulated_gpus(3):
        assert [environment.resolve_device("auto") for _ in range(3)] == ["cuda:1"] * 3
        assert environment.resolve_device("cuda:2") == "cuda:2"
    assert calls.read_text() == "called\n"


@pytest.mark.parametrize(("printed", "code"), [("", 9), (f"{UUID}1, [N/A]", 0), ("No devices were found", 0)])
def test_without_an_answer_of_nvidia_smi_auto_takes_the_first(nvidia_smi, printed, code):
    nvidia_smi(printed, code)
    with simulated_gpus(2):
        assert environment.resolve_device("auto") == "cuda:0"


def test_where_slurm_or_the_user_shows_one_gpu_auto_takes_it_without_asking(nvidia_smi, monkeypatch):
    calls = nvidia_smi(f"{UUID}0, 1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    with simulated_gpus(1):
        assert environment.resolve_device("auto") == "cuda:0"
    assert not calls.exists()


# does it answer


def test_a_gpu_that_another_process_has_for_itself_is_one_sentence(monkeypatch, tiny, out):
    def busy(*arguments, device=None, **options):
        raise RuntimeError("CUDA error: CUDA-capable device(s) is/are busy or unavailable\nCUDA kernel errors might be")

    with simulated_gpus():
        environment.reset_peak_memory("cuda:0")
        monkeypatch.setattr(torch, "zeros", busy)
        with pytest.raises(
            UsageError, match=r"^cuda:0 cannot be used \(CUDA error: [^)]*\).*unavailable\): nvidia-smi shows"
        ):
            run("bl1", tiny, bits=8, device="cuda:0", out=out)
    assert not list(out.rglob("run.json"))


def test_the_peak_is_reset_on_the_runs_own_gpu_and_an_error_does_not_matter(monkeypatch):
    asked = []
    with simulated_gpus(2):
        monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", asked.append)
        environment.reset_peak_memory("cuda:1")
        environment.reset_peak_memory("cpu")

        def fails(device):
            raise RuntimeError("CUDA error: out of memory")

        monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", fails)
        environment.reset_peak_memory("cuda:1")
    assert asked == ["cuda:1"]


BREAKS = """
import torch
from vhbench.testing.fakes import FakeMethod

class Breaks(FakeMethod):
    '''An index out of range, which breaks a GPU.'''

    name = "breaks"

    def fit(self, train, ctx):
        torch.zeros(3, device=ctx.device)[torch.tensor([5], device=ctx.device)]
        return super().fit(train, ctx)

class Fails(FakeMethod):
    '''An error that leaves a GPU whole.'''

    name = "fails"

    def fit(self, train, ctx):
        torch.ones(3, device=ctx.device) @ torch.ones(2, device=ctx.device)
"""


@pytest.fixture
def breaking(tmp_path):
    path = tmp_path / "breaking.py"
    path.write_text(BREAKS)
    return path


def test_an_error_that_breaks_the_gpu_ends_the_grid_with_a_word_and_leaves_the_other_runs(tiny, out, breaking):
    with (
        simulated_gpus(),
        pytest.raises(DeviceError, match=r"^cuda:0 answers no longer after the error of breaks on tiny"),
    ):
        run("breaks", tiny, bits=[8, 16, 24], device="cuda:0", out=out, plugins=[breaking])
    (record,) = [json.loads(path.read_text()) for path in out.rglob("run.json")]
    assert (record["status"], record["reason"]) == ("failed", "RuntimeError: CUDA error: device-side assert triggered")


def test_an_error_that_leaves_the_gpu_whole_costs_one_run(tiny, out, breaking):
    with simulated_gpus():
        table = run("fails", tiny, bits=[8, 16], device="cuda:0", out=out, plugins=[breaking])
    assert table["status"].tolist() == ["failed"] * 2


# memory


def test_features_that_a_gpu_has_no_room_for_after_all_go_to_the_host(monkeypatch):
    """Another process was faster."""
    with simulated_gpus(memory=[40_000]):
        monkeypatch.setattr("vhbench.features.placement.free_on_gpu", lambda device: 10**9)
        placed, placement = place(VideoSet(VIDEOS), "cuda:0")
    assert placement.where == "host"
    assert placement.text == "in host memory (0.0 MB), for which cuda:0 had no room after all"
    assert np.array_equal(np.concatenate(list(placed.arrays(7))), VIDEOS)


@pytest.mark.parametrize(("sharing", "where"), [(1, "gpu"), (2, "host")])
def test_runs_that_share_a_gpu_share_its_memory(sharing, where):
    with simulated_gpus(memory=[120_000], taken=[20_000]):
        assert place(VideoSet(VIDEOS), "cuda:0", sharing)[1].where == where


def test_features_in_half_precision_take_half_the_room():
    with simulated_gpus(memory=[60_000]):
        assert place(VideoSet(VIDEOS), "cuda:0")[1].where == "host"
        placed, placement = place(VideoSet(VIDEOS).halved(), "cuda:0")
        assert placement.where == "gpu"
        batch = next(placed.batches(3, device="cuda:0"))
        assert batch.dtype == torch.float32
        assert np.array_equal(batch.cpu().numpy(), VIDEOS[:3].astype(np.float16).astype(np.float32))


def test_mean_frames_of_videos_on_a_gpu_are_made_there():
    with simulated_gpus() as traffic:
        placed, _ = place(VideoSet(VIDEOS), "cuda:0")
        assert traffic.downloaded == 0
        means = placed.mean_frames()
    np.testing.assert_allclose(means, VIDEOS.mean(1), rtol=1e-6)
    assert traffic.downloaded == means.nbytes


def test_videos_of_the_host_go_to_a_gpu_without_a_wait():
    with simulated_gpus(2) as traffic:
        batches = list(VideoSet(VIDEOS).batches(8, device="cuda:1"))
        assert {str(batch.device) for batch in batches} == {"cuda:1"}
        assert (traffic.uploads.total(), traffic.waits.total()) == (4, 0)
        assert np.array_equal(np.concatenate([batch.cpu().numpy() for batch in batches]), VIDEOS)


def test_a_feature_too_large_for_float16_is_named():
    with pytest.raises(DataError, match=r"too large for float16 \(65,504\)"):
        next(VideoSet(1e5 * VIDEOS).halved().arrays(8))


def test_a_training_that_runs_out_of_memory_says_what_to_change(tiny, out):
    with simulated_gpus(memory=[2**30], taken=[2**30 - 2**20]):  # it would fit, were it not for other processes
        table = run("bl1", tiny, bits=8, epochs=1, device="cuda:0", out=out)
    assert table["status"].tolist() == ["failed"]
    reason = table["reason"][0]
    assert reason.startswith("cuda:0 has no memory left (CUDA out of memory. Tried to allocate ")
    assert reason.endswith(" It needs less with a smaller batch (--set bl1.batch_size=128) or --precision bf16.")
