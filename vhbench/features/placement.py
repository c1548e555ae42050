"""Where the training features live: on the GPU, in host memory, or on disk."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from vhbench.system.gpus import out_of_memory
from vhbench.videos import VideoSet

GPU_SHARE = 0.7  # of its free memory; the rest is for the network
HOST_SHARE = 1 / 16  # of the available memory: files in the page cache are read nearly as fast, and runs share it
CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Placement:
    """A decision.

    Attributes:
        where: "gpu", "host" or "disk".
        text: the decision in words, for the user and the record.
    """

    where: str
    text: str


def decide(nbytes: int, gpu_free: int | None, host_free: int, sharing: int = 1) -> Placement:
    """Choose the fastest place that has room.

    Args:
        nbytes: size of the features as they are kept.
        gpu_free: free bytes of the GPU that trains; None without one, or where it had no room after all.
        host_free: available bytes of the host.
        sharing: how many runs at a time use that GPU.
    """
    size = _size(nbytes)
    if gpu_free is not None and nbytes <= GPU_SHARE * gpu_free / sharing:
        return Placement("gpu", f"on the GPU ({size})")
    if nbytes <= HOST_SHARE * host_free:
        return Placement("host", f"in host memory ({size})")
    return Placement("disk", f"on disk, read ahead ({size})")


@dataclass(frozen=True)
class _Kept:
    videos: VideoSet
    device: str
    placed: VideoSet
    placement: Placement


_kept: list[_Kept] = []  # what was placed last, for the next run on the same videos; at most one


def place(videos: VideoSet, device: str, sharing: int = 1) -> tuple[VideoSet, Placement]:
    """Bring training videos to where training reads them fastest; the videos and their order stay the same.

    What is held in memory stays there for the next call, which gets the same copy where it asks for the same videos,
    until `release`.

    Args:
        videos: training videos.
        device: where training computes, "cpu" or "cuda:N".
        sharing: how many runs at a time use that GPU.
    """
    if _kept and _kept[0].device == device and videos.same_as(_kept[0].videos):
        return _kept[0].placed, _kept[0].placement
    release()
    placed, placement = _placed(videos, device, sharing)
    if placement.where != "disk":
        _kept.append(_Kept(videos, device, placed, placement))
    return placed, placement


def _placed(videos: VideoSet, device: str, sharing: int) -> tuple[VideoSet, Placement]:
    """Bring the videos to the first place that takes them, and say so where it is not the first choice."""
    gpu_free = free_on_gpu(device) if device.startswith("cuda") else None
    first = decide(videos.nbytes, gpu_free, available_memory(), sharing)
    if first.where == "gpu":
        try:
            return videos.resident(device), first
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
        other = decide(videos.nbytes, None, available_memory())
        first = replace(other, text=f"{other.text}, for which {device} had no room after all")
    return (videos if first.where == "disk" else videos.resident()), first


def release() -> None:
    """Let go of the videos that `place` holds in memory."""
    _kept.clear()


def free_on_gpu(device: str) -> int:
    """Return how many bytes of a GPU this process may still take, those that torch keeps for reuse included."""
    import torch

    reusable = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(torch.cuda.mem_get_info(device)[0]) + reusable


def available_memory() -> int:
    """Return how many bytes this process may still take: the machine's, or its control group's where that is less."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    available = int(fields["MemAvailable"].split()[0]) * 1024
    with suppress(OSError, ValueError):
        limit, used = (int((CGROUP / name).read_text()) for name in ("memory.max", "memory.current"))
        available = min(available, max(0, limit - used))
    return available


def _size(nbytes: int) -> str:
    return f"{nbytes / 1e9:.1f} GB" if nbytes >= 1e9 else f"{nbytes / 1e6:.1f} MB"
