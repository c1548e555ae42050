"""Where a run was made: devices, versions, memory."""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import platform
import re
import resource
import subprocess
import sys
import warnings
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from vhbench.errors import UsageError
from vhbench.system.gpus import freest

DEVICE = re.compile(r"auto|cpu|cuda(:[0-9]+)?")
PACKAGES = ("torch", "numpy", "scipy", "scikit-learn", "h5py", "numba")


def check_device(name: str) -> None:
    """Raise UsageError unless a device has this form of name; whether it is there is not asked."""
    if not DEVICE.fullmatch(name):
        raise UsageError(f"--device takes auto, cpu or cuda:N, not {name!r}.")


def resolve_device(name: str) -> str:
    """Turn "auto", "cpu", "cuda" or "cuda:N" into the device that a run uses; auto: the freest GPU where there is one.

    Raises:
        UsageError: the name is unknown, or there is no such GPU.
    """
    check_device(name)
    if name == "cpu":
        return name
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return f"cuda:{freest(count)}" if count else "cpu"
    number = name.partition(":")[2] or "0"
    if int(number) >= count:
        raise UsageError(f"--device {name}: this machine has {count} CUDA devices; use cpu or auto.")
    return f"cuda:{number}"


def describe(device: str) -> dict[str, Any]:
    """Return versions, processor and source revision as JSON values."""
    return {
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "git": _git_revision(),
        "cpu": _processor(),
        "threads": _threads(),
        "device": device,
        "gpu": _gpu(device),
    }


def import_without(module: str, *variables: str) -> Any:
    """Import a library unseen by environment variables: what a user set for other programs may keep it from working.

    Args:
        module: its dotted name.
        variables: names of the variables; they are there again afterwards.
    """
    before = {name: os.environ.pop(name) for name in variables if name in os.environ}
    try:
        return importlib.import_module(module)
    finally:
        os.environ.update(before)


def start_afresh() -> None:
    """Undo, where this process is vhbench's own, what a user's settings for other programs would do to libraries here.

    Warnings made errors would end a run wherever a library warns; without numba's compiler nothing is scored.
    """
    for name in ("NUMBA_DISABLE_JIT", "TORCH_LOGS"):
        os.environ.pop(name, None)
    if sys.warnoptions:  # of -W or $PYTHONWARNINGS
        warnings.resetwarnings()
        for kind in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
            warnings.simplefilter("ignore", kind)  # as Python does where nothing is said


@contextlib.contextmanager
def default_settings() -> Iterator[None]:
    """Let a run see the settings that NumPy and torch begin with, whatever a notebook has set; then put them back."""
    import numpy as np
    import torch

    dtype, device = torch.get_default_dtype(), torch.get_default_device()
    torch.set_default_dtype(torch.float32)
    if device.type != "cpu":
        torch.set_default_device(None)
    try:
        errors = np.errstate(divide="warn", over="warn", under="ignore", invalid="warn")
        with errors, torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        torch.set_default_dtype(dtype)
        if device.type != "cpu":
            torch.set_default_device(device)


def user_name(number: int) -> str:
    """Return a user's name, or "user N" where the system does not know it."""
    import pwd

    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"


def reset_peak_memory(device: str) -> None:
    """Start measuring peak memory anew: resident memory on Linux, and a GPU's where the device is one.

    What cannot be reset goes on from where it was.
    """
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    if device.startswith("cuda"):
        import torch

        with contextlib.suppress(RuntimeError):
            torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: str) -> dict[str, float | None]:
    """Return peak_rss_mb and peak_gpu_mb (None on a CPU) since `reset_peak_memory`."""
    gpu = None
    if device.startswith("cuda"):
        import torch

        gpu = torch.cuda.max_memory_allocated(device) / 2**20
    return {"peak_rss_mb": round(_peak_rss_kb() / 1024, 1), "peak_gpu_mb": gpu}


def _peak_rss_kb() -> int:
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@functools.cache
def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


@functools.cache
def _git_revision() -> str | None:
    """Return the commit of the checkout that vhbench runs from, with "+changes" where files differ from it."""
    folder = Path(__file__).resolve().parents[2]
    if not (folder / ".git").exists():
        return None
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return None
    return commit[:12] + ("+changes" if changed else "")


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True, timeout=10
    ).stdout.strip()


@functools.cache
def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _threads() -> int:
    import torch

    return int(torch.get_num_threads())


def _gpu(device: str) -> str | None:
    if not device.startswith("cuda"):
        return None
    import torch

    return f"{torch.cuda.get_device_name(device)} (CUDA {torch.version.cuda})"
