"""Models that runs keep: which can, what is kept of one, and which recorded runs lack theirs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from vhbench.errors import MethodError, UsageError, VhbenchError
from vhbench.features.normalize import Scaling
from vhbench.grid.cells import Cell
from vhbench.method import Method
from vhbench.plugins.entries import BUILT_IN
from vhbench.runs.model import Model, has_model, load_model, read_model
from vhbench.runs.model_state import keeps_its_own_form
from vhbench.runs.record import Record

TRIED = 256  # videos that a model encodes before it is kept
ROUNDING = 1000  # one bit in so many may differ where the same number is rounded in another order


def check_keepable(cells: Iterable[Cell]) -> None:
    """Raise UsageError where a method keeps what it learns in a form of its own, before it is trained for nothing."""
    for entry in {cell.entry.name: cell.entry for cell in cells}.values():
        if entry.origin != BUILT_IN and not entry.broken and keeps_its_own_form(entry.load()):
            raise UsageError(
                f"--keep-model cannot keep {entry.name} ({entry.origin}): it overrides `save` or `load`, so what it "
                "learns may be more than arrays. Leave both as they are, and keep what `encode` uses in arrays whose "
                "names end in _; or leave --keep-model out."
            )


def lacking_models(cells: Sequence[Cell]) -> list[str]:
    """Say how many recorded runs have no model, and how they get one; empty where none lacks it."""
    done = [cell for cell in cells if cell.record and cell.record.status == "done"]
    short = [cell for cell in done if lacks_model(cell)]
    if not short:
        return []
    return [f"{len(short)} of {len(done)} recorded runs have kept no model: --rerun model trains them again."]


def lacks_model(cell: Cell) -> bool:
    """Say whether a run is done and its model was not kept."""
    return cell.record is not None and cell.record.status == "done" and not has_model(cell.record)


def model_files(
    cell: Cell, method: Method, scaling: Scaling, codes: Mapping[str, np.ndarray], device: str
) -> dict[str, bytes]:
    """Return the files of a run's model, once what is read from them gives the run's codes.

    Args:
        cell: the run.
        method: trained.
        scaling: of its features.
        codes: the run's, by the digest of the part that they encode.
        device: what made them.

    Raises:
        MethodError: the method has learnt more than arrays and scalars, or what its arrays give are other codes.
    """
    spec, train, part = cell.spec, cell.splits[0].train, cell.splits[0].query
    # all splits share one training part; the last one is of the data set that it belongs to
    kept = cell.splits[-1].notes.get("frames_kept", ())
    model = Model(
        spec.method, method, spec.bits, train.videos.frames, train.videos.dim, spec.normalize, scaling, tuple(kept),
        train.stamp, spec.id, cell.entry.fingerprint,
    )  # fmt: skip
    files = model.files()
    again = read_model(files, Path(), lambda name: cell.entry).on(device)
    few = part.videos.subset(np.arange(min(TRIED, len(part.videos))))
    bits = codes[part.digest][: len(few)]
    if int((again.encode(few) != bits).sum()) > bits.size // ROUNDING:
        raise MethodError(
            f"a model of {spec.method} would give other codes: `encode` uses more than the arrays whose names end in _"
        )
    return files


def cut_files(cell: Cell, longer: Record) -> dict[str, bytes] | None:
    """Return the files of the model of a run whose codes are cut from a longer one's; None where that kept none."""
    if not has_model(longer):
        return None
    try:
        return load_model(longer.folder, lambda name: cell.entry).cut(cell.spec.bits, cell.spec.id).files()
    except VhbenchError:  # damage to another run must not cost this one, which can train
        return None
