"""Where the training features live: on the GPU, in host memory, or on disk."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from vhbench.videos import VideoSet

GPU_SHARE = 0.7  # of its free memory; the rest is for the network
HOST_SHARE = 1 / 16  # of the available memory: files in the page cache are read nearly as fast, and runs share it
CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Placement:
    """A decision.

    Attributes:
        where: "gpu", "host" or "disk".
        half: kept as float16, because nothing wider fits on the GPU.
        text: the decision in words, for the user and the record.
    """

    where: str
    half: bool
    text: str


def decide(nbytes: int, itemsize: int, gpu_free: int | None, host_free: int) -> Placement:
    """Choose the fastest place that has room.

    Args:
        nbytes: size of the features in their own dtype.
        itemsize: bytes of one feature.
        gpu_free: free bytes of the GPU that trains; None without one.
        host_free: available bytes of the host.
    """
    size = _size(nbytes)
    if gpu_free is not None:
        room = GPU_SHARE * gpu_free
        if nbytes <= room:
            return Placement("gpu", False, f"on the GPU ({size})")
        halved = nbytes * 2 // itemsize
        if itemsize > 2 and halved <= room:
            return Placement("gpu", True, f"on the GPU, rounded to float16 ({_size(halved)}; {size} do not fit)")
    if nbytes <= HOST_SHARE * host_free:
        return Placement("host", False, f"in host memory ({size})")
    return Placement("disk", False, f"on disk, read ahead ({size})")


@dataclass(frozen=True)
class _Kept:
    videos: VideoSet
    device: str
    placed: VideoSet
    placement: Placement


_kept: list[_Kept] = []  # what was placed last, for the next run on the same videos; at most one


def place(videos: VideoSet, device: str) -> tuple[VideoSet, Placement]:
    """Bring training videos to where training reads them fastest; the videos and their order stay the same.

    What is held in memory stays there for the next call, which gets the same copy where it asks for the same videos,
    until `release`.

    Args:
        videos: training videos.
        device: where training computes, "cpu" or "cuda:N".
    """
    if _kept and _kept[0].device == device and videos.same_as(_kept[0].videos):
        return _kept[0].placed, _kept[0].placement
    release()
    gpu_free = free_on_gpu(device) if device.startswith("cuda") else None
    placement = decide(videos.nbytes, videos.itemsize, gpu_free, available_memory())
    if placement.where == "disk":
        return videos, placement
    placed = videos.resident(device if placement.where == "gpu" else "cpu", half=placement.half)
    _kept.append(_Kept(videos, device, placed, placement))
    return placed, placement


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
