"""Places for runs: how many there are at a time, on which GPU each, with how many threads."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from vhbench.errors import UsageError
from vhbench.system.processes import cores

CORES_A_RUN = 4


@dataclass(frozen=True)
class Slot:
    """A place for one run at a time.

    Attributes:
        environment: variables that its processes get.
        device: what they compute on; None: as the user said.
        sharing: how many places are on that device.
    """

    environment: dict[str, str] = field(default_factory=dict)
    device: str | None = None
    sharing: int = 1


def make_slots(device: str, workers: int | None, gpus: Sequence[int], per_gpu: int) -> list[Slot]:
    """Return the places for runs.

    Args:
        device: "auto", "cpu" or "cuda:N", as the user said.
        workers: how many places, spread over all GPUs; None: one a GPU, and without GPUs one for every 4 cores.
        gpus: numbers of GPUs among those that this process sees; empty: all.
        per_gpu: places on each.

    Raises:
        UsageError: these contradict each other, or there is no such GPU.
    """
    if gpus and workers is not None:
        raise UsageError("--gpus and --workers exclude each other: --per-gpu N is N runs at a time on each GPU.")
    if gpus and device != "auto":
        raise UsageError(f"--gpus chooses the devices: leave out --device {device}.")
    visible = visible_gpus() if device == "auto" else []
    for number in gpus:
        if not 0 <= number < len(visible):
            raise UsageError(f"--gpus {number}: this machine has {len(visible)} CUDA devices, numbered from 0.")
    if per_gpu != 1 and (workers is not None or not visible):
        raise UsageError("--per-gpu belongs to --gpus, and this grid uses none: --workers N is N runs at a time.")
    if visible:
        chosen = [visible[number] for number in dict.fromkeys(gpus)] or visible
        names = [name for _ in range(per_gpu) for name in chosen] if workers is None else _dealt(chosen, workers)
        return [Slot({"CUDA_VISIBLE_DEVICES": name}, "cuda:0", names.count(name)) for name in names]
    if workers is None:
        workers = 1 if device.startswith("cuda") else max(1, cores() // CORES_A_RUN)
    return [Slot(sharing=workers) for _ in range(workers)]


def _dealt(names: Sequence[str], count: int) -> list[str]:
    """Return so many names, in turn."""
    return list(itertools.islice(itertools.cycle(names), count))


def share_of_threads(slots: int) -> int:
    """Return how many threads each of so many runs gets: its share of the cores, at most $OMP_NUM_THREADS."""
    share = max(1, cores() // slots)
    own = os.environ.get("OMP_NUM_THREADS", "")
    return min(share, int(own)) if own.isdecimal() and int(own) else share


def visible_gpus() -> list[str]:
    """Return the names, for $CUDA_VISIBLE_DEVICES, of the GPUs that this process sees."""
    import torch

    count = torch.cuda.device_count()
    named = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return named[:count] if named else [str(number) for number in range(count)]
