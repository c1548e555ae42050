"""The simulated GPU: what it refuses, what it counts, what it holds, and that nothing of it stays behind."""

from __future__ import annotations

import copy
import threading

import numpy as np
import pytest
import torch
from torch import nn

from vhbench.testing import simulated_gpu
from vhbench.testing.simulated_gpu import simulated_gpus, unavailable
from vhbench.testing.simulated_tensor import OnGpu

if reason := unavailable():
    pytest.skip(reason, allow_module_level=True)

CUDA = "cuda:0"


@pytest.fixture
def traffic():
    with simulated_gpus(2) as traffic:
        yield traffic


def total(traffic):
    return traffic.waits.total(), traffic.uploads.total()


# refused


@pytest.mark.parametrize(
    "wrong",
    [
        lambda there, here: there + here,
        lambda there, here: here.add_(there),
        lambda there, here: torch.cat([there, here]),
        lambda there, here: torch.stack([there.sum(), here.sum()]),
        lambda there, here: there @ here,
        lambda there, here: nn.functional.linear(there, here[None], here[:1]),
        lambda there, here: torch.where(here > 0, there, there),
        lambda there, here: here[torch.zeros(1, dtype=torch.int64, device=CUDA)],
        lambda there, here: there.index_select(0, torch.zeros(1, dtype=torch.int64)),
        lambda there, here: there.numpy(),
        lambda there, here: np.asarray(there),
        lambda there, here: there + torch.ones(3, device="cuda:1"),
        lambda there, here: torch.rand(3, generator=torch.Generator(), device=CUDA),
        lambda there, here: torch.ones(3, device="cuda:2"),
        lambda there, here: nn.Linear(3, 3).to(CUDA)(here),
    ],
)
def test_what_a_gpu_refuses_is_refused(traffic, wrong):
    with pytest.raises((RuntimeError, TypeError)):
        wrong(torch.ones(3, device=CUDA), torch.ones(3))


def test_an_index_out_of_range_breaks_it_and_no_other(traffic):
    there = torch.ones(3, device=CUDA)
    for broken in (
        lambda: there[torch.tensor([7], device=CUDA)],
        lambda: there + 1,
        lambda: torch.ones(1, device=CUDA),
    ):
        with pytest.raises(RuntimeError, match="CUDA error: device-side assert"):
            broken()
    assert (torch.ones(1, device="cuda:1") + 1).item() == 2


# counted

NOTHING = (0, 0)


@pytest.mark.parametrize(
    ("work", "expected"),
    [
        (lambda x: (x * 2.0).mean(), NOTHING),
        (lambda x: x * torch.tensor(2.0), NOTHING),  # a number
        (lambda x: torch.zeros(4, device=CUDA).normal_(), NOTHING),
        (lambda x: x[torch.arange(2, device=CUDA)], NOTHING),
        (lambda x: x.masked_fill(x > 0, 0.0), NOTHING),
        (lambda x: x.clone().__setitem__(x > 0, 0.0), NOTHING),
        (lambda x: torch.arange(3, device=CUDA).repeat_interleave(torch.ones(3, dtype=int, device=CUDA), output_size=3),
         NOTHING),
        (lambda x: x.clone().__setitem__(torch.arange(2, device=CUDA), 0.0), (1, 1)),
        (lambda x: x[torch.tensor([0, 1])], (1, 1)),
        (lambda x: torch.tensor([1.0], device=CUDA), (1, 1)),
        (lambda x: torch.ones(2).to(CUDA), (1, 1)),
        (lambda x: torch.ones(2).to(CUDA, non_blocking=True), (1, 1)),  # not pinned
        (lambda x: torch.ones(2).pin_memory().to(CUDA), (1, 1)),  # not told to
        (lambda x: torch.ones(2).pin_memory().to(CUDA, non_blocking=True), (0, 1)),
        (lambda x: torch.ones(4).pin_memory()[:2].to(CUDA, non_blocking=True), (0, 1)),
        (lambda x: x.clone().copy_(torch.ones(3)), (1, 1)),
        (lambda x: torch.ones(3).type_as(x), (1, 1)),
        (lambda x: x.new_tensor([1.0, 2.0]), (1, 1)),
        (lambda x: x[x > 0], (1, 0)),
        (lambda x: x.nonzero(), (1, 0)),
        (lambda x: x.unique(), (1, 0)),
        (lambda x: float(x.sum()), (1, 0)),
        (lambda x: bool((x > 0).all()), (1, 0)),
        (lambda x: x.tolist(), (1, 0)),
        (lambda x: x.cpu(), (1, 0)),
        (lambda x: torch.ones(3).copy_(x), (1, 0)),
        (lambda x: torch.equal(x, x), (1, 0)),
        (lambda x: torch.cuda.synchronize(), (1, 0)),
        (lambda x: x.to("cuda:1"), (0, 0)),
    ],
)  # fmt: skip
def test_waits_and_uploads_are_counted(traffic, work, expected):
    x = torch.ones(3, device=CUDA)
    work(x)
    assert total(traffic) == expected
    assert all(" at test_simulated_gpu.py:" in at for at in (*traffic.waits, *traffic.uploads))


def test_a_thread_that_is_started_finds_the_gpu_too(traffic):
    found = []
    thread = threading.Thread(target=lambda: found.append(torch.ones(2).to(CUDA).sum().item()))
    thread.start()
    thread.join()
    assert found == [2] and total(traffic) == (2, 1)


@pytest.mark.parametrize("layer", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_layers_under_autocast_are_counted(traffic, layer):
    module, x = layer(3, 2).to(CUDA), torch.ones(4, 3, device=CUDA)
    module(x)
    with torch.autocast("cuda", torch.bfloat16):
        with torch.autocast(x.device.type, enabled=False):
            module(x)
        assert not traffic.float16
        assert (x[None] @ x.T).dtype == torch.bfloat16
        module(x)
    assert traffic.float16.total() == 1


# as on a GPU


def test_a_module_keeps_its_parameters_when_it_moves(traffic):
    """As `.data =` does it on a real GPU: an optimiser made before still trains them, and tied weights stay tied."""
    module = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    module[1].weight = module[0].weight
    weight, optimizer = module[0].weight, torch.optim.SGD(module.parameters(), lr=0.1)
    module.to(CUDA)
    assert module[0].weight is weight is module[1].weight and isinstance(weight, nn.Parameter) and weight.is_cuda
    before = weight.tolist()
    module(torch.ones(1, 2, device=CUDA)).sum().backward()
    optimizer.step()
    assert weight.grad.device == torch.device(CUDA) and weight.tolist() != before
    module.load_state_dict({name: torch.zeros_like(value.cpu()) for name, value in module.state_dict().items()})
    assert weight.tolist() == [[0, 0], [0, 0]] and weight.is_cuda


def test_gradients_cross_devices(traffic):
    x = torch.ones(2, requires_grad=True)
    (x.to(CUDA) * 3).cpu().mul(2).to("cuda:1").sum().backward()
    assert x.grad.tolist() == [6, 6] and x.grad.device.type == "cpu"


def test_copies_views_and_data_are_there_too(traffic):
    x = torch.arange(6.0, device="cuda:1").view(2, 3)
    assert copy.deepcopy(x).device == x[0].device == x.data.device == torch.device("cuda:1")
    x[0].mul_(10)
    x.data = x.data + 1
    assert x.tolist() == [[1, 11, 21], [4, 5, 6]]
    with torch.inference_mode():
        assert (x.t() @ x).sum().item() == float((x.cpu().T @ x.cpu()).sum())
    with torch.device("cuda:1"):
        assert torch.zeros(2).device == torch.device("cuda:1")
    with torch.cuda.device(1):
        assert torch.zeros(2, device="cuda").device == torch.device("cuda:1")
    assert str(torch.ones(1, device=CUDA)) == "OnGpu(tensor([1.]), device='cuda:0')"


def test_a_checkpoint_of_a_gpu_is_read_on_the_cpu(traffic, tmp_path):
    torch.save({"x": torch.ones(2, device=CUDA)}, tmp_path / "state.pt")
    read = torch.load(tmp_path / "state.pt", map_location="cpu", weights_only=True)["x"]
    assert type(read) is torch.Tensor and read.tolist() == [1, 1]


def test_memory_is_held_once_by_views_and_given_back():
    with simulated_gpus(2, memory=[4000, 10**6], taken=[1000]):
        x = torch.ones(500, device=CUDA)
        views = [x[:100], x.view(20, 25)]
        assert torch.cuda.mem_get_info(0) == (1000, 4000) and torch.cuda.mem_get_info(1) == (10**6, 10**6)
        with pytest.raises(torch.OutOfMemoryError, match="GPU 0 has a total capacity"):
            torch.ones(300, device=CUDA)
        del x
        assert torch.cuda.memory_allocated(0) == 2000
        del views
        assert torch.cuda.memory_allocated(0) == 0
        assert torch.cuda.max_memory_allocated(0) == 2000
        torch.cuda.reset_peak_memory_stats(0)
        assert torch.cuda.max_memory_allocated(0) == 0


# around it


def test_nothing_stays_behind():
    named = [torch.cuda.is_available, torch.Generator, torch.autocast.__init__, threading.Thread.run]
    with simulated_gpus():
        assert torch.cuda.is_available()
        assert isinstance(torch.ones(1, device="cuda"), OnGpu)
    assert named == [torch.cuda.is_available, torch.Generator, torch.autocast.__init__, threading.Thread.run]
    assert not torch.__future__.get_swap_module_params_on_conversion()
    assert type(torch.ones(1).to("cpu")) is torch.Tensor


def test_the_versions_that_are_tested_can_be_given_one():
    if torch.__version__.startswith(("2.6.", "2.13.")):
        assert unavailable() is None


def test_a_version_without_what_it_needs_is_named(monkeypatch):
    unavailable.cache_clear()
    monkeypatch.setattr(simulated_gpu, "NEEDED", ("torch.Tensor.no_such_thing",))
    try:
        assert (
            unavailable()
            == f"torch {torch.__version__} has no torch.Tensor.no_such_thing, which the simulated GPU is made of"
        )
        with pytest.raises(RuntimeError, match="There is no simulated GPU: torch"), simulated_gpus():
            pass
    finally:
        unavailable.cache_clear()
