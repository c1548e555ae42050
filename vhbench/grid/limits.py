"""Whether a run can be done on a device, what it needs of a GPU, and what makes it need less."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vhbench.errors import VhbenchError
from vhbench.grid.cells import Cell
from vhbench.runs.spec import split_precision

if TYPE_CHECKING:
    from vhbench.grid.memory import TrainingMemory


def conflict(cell: Cell, device: str) -> str | None:
    """Say in one sentence why a run is impossible on a device, or return None.

    Args:
        cell: the run.
        device: "cpu" or "cuda:N".
    """
    view, spec = cell.splits[0].train.videos, cell.spec
    reason = cell.entry.load().tags.conflict(bits=spec.bits, frames=view.frames, dim=view.dim, device=device)
    if reason:
        return f"{spec.method} {reason}."
    if not device.startswith("cuda"):
        alone = split_precision(spec.precision)[0] == "tf32"
        return f"{spec.method} can be trained in tf32 on a GPU only; this run is on {device!r}." if alone else None
    import torch

    needs, has = needed_memory(cell), int(torch.cuda.mem_get_info(device)[1])
    if needs is None or needs.total <= has:
        return None
    return (
        f"{spec.method} needs at least {gigabytes(needs.total)} of a GPU's memory, and {device} has {gigabytes(has)}. "
        f"{less_memory(cell)}"
    )


def needed_memory(cell: Cell) -> TrainingMemory | None:
    """Return what a run's training takes of a GPU's memory, or None where that is not known.

    It is for methods that train in vhbench's loop.
    """
    if not cell.spec.budget["epochs"]:
        return None
    from vhbench.grid.memory import training_memory
    from vhbench.training import NeuralMethod

    try:
        method = cell.entry.make(cell.spec.bits, **cell.spec.params)
        if not isinstance(method, NeuralMethod):
            return None
        view = cell.splits[0].train.videos
        precision, epochs = split_precision(cell.spec.precision)[0], cell.spec.budget["epochs"]
        return training_memory(method, view.frames, view.dim, precision=precision, epochs=epochs)
    except VhbenchError:
        return None  # the run itself will say it


def less_memory(cell: Cell, sharing: int = 1) -> str:
    """Say in one sentence what makes a run need less of a GPU's memory.

    Args:
        cell: the run.
        sharing: how many runs at a time use the GPU.
    """
    spec, ways = cell.spec, []
    if (size := spec.params.get("batch_size", 0)) > 2:
        ways.append(f"a smaller batch (--set {spec.method}.batch_size={size // 2})")
    if spec.budget["epochs"] and split_precision(spec.precision)[0] != "bf16":
        ways.append("--precision bf16")
    if sharing > 1:
        ways.append("fewer runs at a time (--per-gpu, --workers)")
    return f"It needs less with {' or '.join(ways)}." if ways else "Choose a larger GPU, or --device cpu."


def gigabytes(size: int) -> str:
    """Return a size for people: 1.3 GB, 20 MB."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
