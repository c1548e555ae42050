"""GPUs that are not there: code for CUDA runs on the CPU, with its mistakes made visible.

    with simulated_gpus(2) as traffic:
        method.fit(videos, FitContext(device="cuda:1"))
    assert not traffic.waits

Tensors "on" a simulated GPU are computed on the CPU, so that values, gradients and loops that depend on them are real
and a run's losses can be compared with a CPU's. What a GPU refuses is refused: operands on two devices, `numpy()`, more
memory than it has. What makes the host wait, and what is copied from the host, is counted with its line.

What is not simulated: a GPU's kernels and their rounding, its random numbers (they are the CPU's), which operations
autocast casts (the CPU's list), its time, its streams (one thing is done after the other), what its allocator and
cuDNN take besides the tensors, and that an error in a kernel is told later than it comes about.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import threading
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any, Self
from unittest import mock

import torch

NEEDED = (  # of torch's internals
    "torch.Tensor._make_wrapper_subclass",
    "torch._C._disabled_torch_function_impl",
    "torch.utils._python_dispatch.return_and_correct_aliasing",
    "torch.utils.swap_tensors",
    "torch.__future__.set_swap_module_params_on_conversion",
    "torch.overrides.TorchFunctionMode",
    "torch.OutOfMemoryError",
    "torch.Tag.data_dependent_output",
    "torch.Tag.dynamic_output_shape",
    "torch.Tag.pointwise",
)
GIB = 2**30


@functools.cache
def unavailable() -> str | None:
    """Say why this torch cannot be given a simulated GPU, or return None where it can; tried once on two layers."""
    for name in NEEDED:
        try:
            parent, _, attribute = name.rpartition(".")
            there = hasattr(_resolve(parent), attribute)
        except (ImportError, AttributeError):
            there = False
        if not there:
            return f"torch {torch.__version__} has no {name}, which the simulated GPU is made of"
    try:
        with _simulated([GIB], [0]), torch.random.fork_rng(devices=[]):
            layers = torch.nn.ModuleList([torch.nn.LSTM(3, 2), torch.nn.Linear(2, 1)]).to("cuda")
            optimizer = torch.optim.Adam(layers.parameters(), fused=True)
            layers[1](layers[0](torch.ones(4, 3, device="cuda"))[0]).sum().backward()
            optimizer.step()
    except Exception as error:  # whatever a version does otherwise
        return f"torch {torch.__version__} cannot train two layers on a simulated GPU ({type(error).__name__}: {error})"
    return None


def _resolve(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        parent, _, attribute = name.rpartition(".")
        return getattr(_resolve(parent), attribute)


@contextlib.contextmanager
def simulated_gpus(count: int = 1, *, memory: Sequence[int] = (), taken: Sequence[int] = ()) -> Iterator[Any]:
    """Let torch find GPUs, in this thread and those that it starts; not to be nested.

    Args:
        count: how many.
        memory: bytes of each; 140 GiB where nothing is said.
        taken: bytes of these that other processes hold; none where nothing is said.

    Yields:
        What they are asked for, `vhbench.testing.simulated_device.Traffic`.

    Raises:
        RuntimeError: this torch lacks what the simulation is made of.
    """
    if reason := unavailable():
        raise RuntimeError(f"There is no simulated GPU: {reason}.")
    with _simulated([*memory, *[140 * GIB] * count][:count], [*taken, *[0] * count][:count]) as traffic:
        yield traffic


@contextlib.contextmanager
def _simulated(memory: Sequence[int], taken: Sequence[int]) -> Iterator[Any]:
    from vhbench.testing.simulated_device import Gpu, Traffic
    from vhbench.testing.simulated_tensor import Mode

    traffic = Traffic()
    gpus = [Gpu(number, *sizes, traffic) for number, sizes in enumerate(zip(memory, taken, strict=True))]
    cuda = _Cuda(gpus)
    run = threading.Thread.run

    def run_with_gpus(thread: threading.Thread) -> None:
        with Mode(gpus, cuda.current_device):
            run(thread)

    with contextlib.ExitStack() as stack:
        patches = {**cuda.functions(), **_autocast(), "threading.Thread.run": run_with_gpus}
        for name, value in patches.items():
            stack.enter_context(mock.patch(name, value))
        before = torch.__future__.get_swap_module_params_on_conversion()
        torch.__future__.set_swap_module_params_on_conversion(True)  # else `module.to` would only exchange CPU data
        stack.callback(torch.__future__.set_swap_module_params_on_conversion, before)
        stack.enter_context(Mode(gpus, cuda.current_device))
        yield traffic


class _Cuda:
    """What `torch.cuda` has, as far as it is used.

    Args:
        gpus: of `vhbench.testing.simulated_device.Gpu`.
    """

    def __init__(self, gpus: Sequence[Any]):
        self._gpus = gpus
        self._chosen = threading.local()  # in each thread by itself

    def functions(self) -> dict[str, Any]:
        """Return what stands in place of torch's own, by name."""
        state = torch.zeros(16, dtype=torch.uint8)
        known = {
            "is_available": lambda: bool(self._gpus),
            "is_initialized": lambda: True,
            "is_bf16_supported": lambda *arguments: True,
            "is_current_stream_capturing": lambda: False,
            "device_count": lambda: len(self._gpus),
            "current_device": self.current_device,
            "set_device": self.set_device,
            "device": self.device,
            "get_device_name": lambda device=None: "Simulated GPU",
            "get_device_properties": self.properties,
            "get_device_capability": lambda device=None: (9, 0),
            "mem_get_info": lambda device=None: (self.gpu(device).free, self.gpu(device).memory),
            "memory_allocated": lambda device=None: self.gpu(device).live,
            "memory_reserved": lambda device=None: self.gpu(device).live,
            "max_memory_allocated": lambda device=None: self.gpu(device).peak,
            "reset_peak_memory_stats": self.reset_peak,
            "empty_cache": lambda: None,
            "synchronize": self.synchronize,
            "manual_seed": lambda seed: None,
            "manual_seed_all": lambda seed: None,
            "get_rng_state": lambda device=None: state.clone(),
            "set_rng_state": lambda new_state, device=None: None,
            "Stream": _Stream,
            "Event": _Stream,
            "stream": lambda stream: contextlib.nullcontext(),
            "current_stream": lambda device=None: _Stream(),
        }
        return {f"torch.cuda.{name}": value for name, value in known.items()} | {
            "torch.Generator": _Generator,
            "torch.backends.cudnn.is_acceptable": lambda tensor: False,  # there is nothing to lay out for it
        }

    def gpu(self, device: Any = None) -> Any:
        """Return the GPU of this name or number; the current one for None."""
        number = device if isinstance(device, int) or device is None else torch.device(device).index
        return self._gpus[self.current_device() if number is None else number]

    def current_device(self) -> int:
        """Return the number of what "cuda" stands for."""
        return getattr(self._chosen, "number", 0)

    def set_device(self, device: Any) -> None:
        """Let "cuda" stand for another GPU."""
        self._chosen.number = self.gpu(device).device.index

    @contextlib.contextmanager
    def device(self, device: Any) -> Iterator[None]:
        """Let "cuda" stand for another GPU for a while."""
        before = self.current_device()
        self.set_device(device)
        try:
            yield
        finally:
            self._chosen.number = before

    def synchronize(self, device: Any = None) -> None:
        """Wait for a GPU."""
        gpu = self.gpu(device)
        gpu.check()
        gpu.traffic.wait("synchronize")

    def reset_peak(self, device: Any = None) -> None:
        """Start measuring the largest amount of memory anew."""
        gpu = self.gpu(device)
        gpu.peak = gpu.live

    def properties(self, device: Any = None) -> Any:
        """Return the little that is known."""
        gpu = self.gpu(device)
        uuid = f"00000000-0000-0000-0000-{gpu.device.index:012}"
        return SimpleNamespace(name="Simulated GPU", total_memory=gpu.memory, uuid=uuid, major=9, minor=0)


class _Stream:
    """A stream or an event: here everything is done at once, in order."""

    def __init__(self, *arguments: Any, **options: Any):
        pass

    def _done(self, *arguments: Any, **options: Any) -> Self:
        return self

    wait_event = wait_stream = record_event = record = wait = _done


class _Generator(torch.Generator):
    """A generator that says it is on the device asked for; its numbers are the CPU's."""

    _device: torch.device

    def __new__(cls, device: Any = "cpu") -> Self:
        made = super().__new__(cls, "cpu")  # type: ignore[call-arg]
        made._device = torch.device(device)
        return made

    def __init__(self, device: Any = "cpu"):
        pass

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        """Where it says it is."""
        return self._device


def _autocast() -> dict[str, Any]:
    """Return what lets autocast "on" a GPU act on the CPU's operators, by the name of what it stands in place of."""
    enter, enabled, dtype_of = torch.autocast.__init__, torch.is_autocast_enabled, torch.get_autocast_dtype

    def there(device_type: str) -> str:
        return "cpu" if device_type == "cuda" else device_type

    def autocast(self: Any, device_type: str, dtype: Any = None, *arguments: Any, **options: Any) -> None:
        if dtype is None and device_type == "cuda":
            dtype = torch.float16  # CUDA's own default
        enter(self, there(device_type), dtype, *arguments, **options)

    return {
        "torch.autocast.__init__": autocast,
        "torch.is_autocast_enabled": lambda device_type="cuda": enabled(there(device_type)),
        "torch.get_autocast_dtype": lambda device_type: dtype_of(there(device_type)),
    }
