"""GPUs: which one to take, whether it answers, and settings of CUDA's libraries."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from typing import Any

from vhbench.errors import UsageError

SECONDS = 20.0  # that nvidia-smi has to answer


@functools.cache  # a grid stays on the GPU that it has begun on, where its features are
def freest(count: int) -> int:
    """Return the number of the GPU with the most free memory among those that this process sees; 0 where it is unknown.

    nvidia-smi is asked, because torch's own question takes some hundred MB of every GPU for this process.

    Args:
        count: how many there are.
    """
    import torch

    if count == 1:
        return 0
    free = _free_by_uuid()
    uuids = [str(getattr(torch.cuda.get_device_properties(number), "uuid", "")) for number in range(count)]
    return max(range(count), key=lambda number: free.get(uuids[number].removeprefix("GPU-"), 0))


def _free_by_uuid() -> dict[str, int]:
    """Return the free memory of the machine's GPUs in MiB; nothing where nvidia-smi does not say it."""
    command = ["nvidia-smi", "--query-gpu=uuid,memory.free", "--format=csv,noheader,nounits"]
    free = {}
    with contextlib.suppress(OSError, subprocess.SubprocessError, ValueError):
        printed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=SECONDS).stdout
        for line in printed.splitlines():
            uuid, _, size = line.partition(",")
            free[uuid.strip().removeprefix("GPU-")] = int(size)
    return free


def has_gpu() -> bool:
    """Say whether this machine has a GPU, without importing torch where it plainly has none."""
    if shutil.which("nvidia-smi") is None:
        return False
    import torch

    return torch.cuda.is_available()


def check_answers(device: str) -> None:
    """Raise UsageError where a GPU cannot be used, as one that another process has for itself.

    Args:
        device: "cuda:N".
    """
    import torch

    try:
        torch.zeros(1, device=device)
    except RuntimeError as error:
        raise UsageError(
            f"{device} cannot be used ({first_line(error)}): nvidia-smi shows which processes have it; wait for them, "
            "or choose another with --device cuda:N."
        ) from error


def lost(device: str) -> bool:
    """Say whether an error has left a GPU's driver in a state in which this process can use it no more.

    Args:
        device: "cuda:N", or anything else, which is never lost.
    """
    if not device.startswith("cuda"):
        return False
    import torch

    try:
        torch.cuda.synchronize(device)
        torch.zeros(1, device=device)
    except torch.OutOfMemoryError:
        return False
    except RuntimeError:
        return True
    return False


def out_of_memory(error: BaseException) -> bool:
    """Say whether an error is that a GPU had no memory left."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(error, torch.OutOfMemoryError)


def first_line(error: BaseException) -> str:
    """Return the first line of an error, without a full stop; CUDA's errors go on with advice to developers."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def set_up_cublas() -> None:
    """Let cuBLAS compute deterministically, unless the user has set it up; it reads this when it starts."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


@contextlib.contextmanager
def current(device: str) -> Iterator[None]:
    """Let "cuda" without a number, in a method's code, stand for the run's own GPU.

    Args:
        device: "cuda:N", or anything else, for which nothing happens.
    """
    if not device.startswith("cuda"):
        yield
        return
    import torch

    with torch.cuda.device(device):
        yield


@contextlib.contextmanager
def float32_products(*, tf32: bool) -> Iterator[None]:
    """Have a GPU's float32 matrix products, convolutions and recurrent layers computed as such, or in TF32.

    torch leaves cuDNN's in TF32, which has 11 of float32's 24 bits, unless told otherwise.

    Args:
        tf32: in TF32.
    """
    import torch

    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    # torch 2.9 has a setting for each kind, and refuses to say the old ones where they differ: so both are kept alike
    every: list[Any] = [matmul, getattr(cudnn, "conv", None), getattr(cudnn, "rnn", None)]
    kinds = [kind for kind in every if hasattr(kind, "fp32_precision")]
    before = [kind.fp32_precision for kind in kinds]
    old: tuple[bool, bool] | None = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the old settings are old
        with contextlib.suppress(RuntimeError):
            old = matmul.allow_tf32, cudnn.allow_tf32
        matmul.allow_tf32 = cudnn.allow_tf32 = tf32
        for kind in kinds:
            kind.fp32_precision = "tf32" if tf32 else "ieee"
    try:
        yield
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if old is not None:
                matmul.allow_tf32, cudnn.allow_tf32 = old
            for kind, value in zip(kinds, before, strict=True):
                kind.fp32_precision = value
