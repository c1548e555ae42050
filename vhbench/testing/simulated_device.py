"""A GPU that is not there: its memory, and what it is asked for; see `vhbench.testing.simulated_gpu`."""

from __future__ import annotations

import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import torch

# whose lines are nobody's fault
HIDDEN = (str(Path(torch.__file__).parent), str(Path(__file__).with_name("simulated_")))


class Traffic:
    """What a simulated GPU was asked for, each with the line of the code under test that asked: "what at file:line".

    Attributes:
        waits: where the host waits until the GPU has caught up.
        uploads: copies from the host's memory.
        float16: recurrent layers under autocast, which cuDNN computes in float16 whatever dtype was asked for.
        downloaded: bytes copied to the host's memory.
    """

    downloaded = 0

    def __init__(self) -> None:
        self.waits, self.uploads, self.float16 = Counter[str](), Counter[str](), Counter[str]()

    def wait(self, what: str) -> None:
        """Count one."""
        self.waits[f"{what} at {caller()}"] += 1

    def upload(self, what: str, *, waits: bool = True) -> None:
        """Count one; the host waits for it unless it comes from pinned memory with `non_blocking`."""
        self.uploads[f"{what} at {caller()}"] += 1
        if waits:
            self.wait(what)


def caller() -> str:
    """Return the innermost line of the running thread that belongs neither to torch nor to the simulation."""
    frame = sys._getframe(1)
    while frame.f_back and frame.f_code.co_filename.startswith(HIDDEN):
        frame = frame.f_back
    return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"


BROKEN = "CUDA error: device-side assert triggered"


class Gpu:
    """One simulated GPU and its memory: that of the tensors, without what an allocator or cuDNN takes besides.

    An index out of range leaves it broken, as an assertion in a kernel does a real one: it does nothing any more.

    Args:
        number: its number.
        memory: bytes in all.
        taken: bytes of these that other processes hold.
        traffic: counts what it is asked for.
    """

    def __init__(self, number: int, memory: int, taken: int, traffic: Traffic):
        self.device = torch.device("cuda", number)
        self.memory, self.taken, self.traffic = memory, taken, traffic
        self.live = self.peak = 0
        self.broken = False
        self._tensors: Counter[int] = Counter()  # by the address of their memory, which views share

    @property
    def free(self) -> int:
        """Bytes that are neither taken nor live."""
        return self.memory - self.taken - self.live

    def check(self) -> None:
        """Raise torch's error if it is broken."""
        if self.broken:
            raise RuntimeError(BROKEN)

    def hold(self, tensor: torch.Tensor) -> Held:
        """Account for the memory of a tensor, until the result is deleted.

        Raises:
            OutOfMemoryError: torch's, where it does not fit.
        """
        self.check()
        storage = tensor.untyped_storage()
        address, size = storage.data_ptr(), storage.nbytes()
        if address not in self._tensors:
            if size > self.free:
                raise torch.OutOfMemoryError(
                    f"CUDA out of memory. Tried to allocate {size / 2**20:.2f} MiB. GPU {self.device.index} has a "
                    f"total capacity of {self.memory / 2**20:.2f} MiB of which {self.free / 2**20:.2f} MiB is free."
                )
            self.live += size
            self.peak = max(self.peak, self.live)
        self._tensors[address] += 1
        return Held(self, address, size)

    def compute(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Compute on the CPU."""
        self.check()
        try:
            return func(*args, **kwargs)
        except (IndexError, RuntimeError) as error:
            if re.search(r"out of (range|bounds)", str(error)):
                self.broken = True
                raise RuntimeError(BROKEN) from error
            raise

    def let_go(self, address: int, size: int) -> None:
        """Free the memory of a tensor that is deleted, if no other shares it."""
        self._tensors[address] -= 1
        if not self._tensors[address]:
            del self._tensors[address]
            self.live -= size


class Held:
    """Memory of one tensor on a simulated GPU."""

    __slots__ = ("address", "gpu", "size")

    def __init__(self, gpu: Gpu, address: int, size: int):
        self.gpu, self.address, self.size = gpu, address, size

    def __del__(self) -> None:
        self.gpu.let_go(self.address, self.size)
