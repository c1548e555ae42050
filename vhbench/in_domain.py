"""What learning on another data set costs: a cross-data-set run against the run that learnt where both search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from vhbench.errors import StoreError
from vhbench.plan import Cell
from vhbench.store import Store


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
    gain = None
    try:
        record = store.read(spec)
    except StoreError:  # a damaged record of another run must not cost this one
        record = None
    if record and record.status == "done" and record.data["method"].get("fingerprint") == cell.entry.fingerprint:
        names = [name for name in scores if name.startswith("map@") and name in record.scores]
        gain = {name: _relative(scores[name], record.scores[name]) for name in names}
    return {"in_domain": {"protocol": other.protocol, "id": spec.id, "gain": gain}}


def _relative(value: float | None, base: float | None) -> float | None:
    return value / base - 1 if value is not None and base else None
