"""What learning on another data set costs: a cross-data-set run against the run that learnt where both search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from vhbench.errors import StoreError
from vhbench.grid.plan import Cell
from vhbench.runs.spec import RunSpec
from vhbench.runs.store import Store


def against_in_domain(cell: Cell, scores: Mapping[str, float | None], store: Store) -> dict[str, Any]:
    """Return the record's entry `in_domain`; nothing for a run that searches the data set it was trained on.

    The run compared with has the same method, hyper-parameters, code length, seed, budget and precision. Its `id`
    stands in the entry whether it has been done or not, so that two records can also be compared later.

    Args:
        cell: the run.
        scores: its scores.
        store: where the run compared with may lie.

    Returns:
        {} or {"in_domain": {"protocol", "id", "gain"}}; gain: each map of the main split -> its relative change
        (-0.1: a tenth lower than in-domain), None where the quotient does not exist. gain itself is None where the
        store does not hold the finished run, made with the same source code of the method.
    """
    other = cell.splits[0].in_domain
    if other is None:
        return {}
    spec = replace(cell.spec, protocol=other.protocol, version=other.version, splits=other.splits)
    gain = gains(scores, spec, cell.entry.fingerprint, store)
    return {"in_domain": {"protocol": other.protocol, "id": spec.id, "gain": gain}}


def gains(
    scores: Mapping[str, float | None], in_domain: RunSpec, fingerprint: str, store: Store
) -> dict[str, float | None] | None:
    """Return the relative change of each map of the main split over another run.

    Args:
        scores: of the run.
        in_domain: the other run.
        fingerprint: of the source code of the run's method.
        store: where the other run may lie.

    Returns:
        As `gain` of `against_in_domain`.
    """
    try:
        record = store.read(in_domain)
    except StoreError:  # a damaged record of another run must not cost this one
        return None
    if record is None or record.status != "done" or record.data["method"].get("fingerprint") != fingerprint:
        return None
    names = [name for name in scores if name.startswith("map@") and name in record.scores]
    return {name: _relative(scores[name], record.scores[name]) for name in names}


def _relative(value: float | None, base: float | None) -> float | None:
    return value / base - 1 if value is not None and base else None
