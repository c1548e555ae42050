"""What learning on another data set costs: a cross-data-set run beside the run that learnt where both search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from vhbench.errors import StoreError
from vhbench.protocol import Split
from vhbench.runs.spec import RunSpec
from vhbench.runs.store import Store


def in_domain_spec(spec: RunSpec, splits: Sequence[Split]) -> RunSpec | None:
    """Return the run that a cross-data-set run is measured against, or None for a run that needs none.

    It has the same method, hyper-parameters, code length, seed, budget and precision.

    Args:
        spec: the run.
        splits: its protocol's, opened.
    """
    other = splits[0].in_domain
    if other is None:
        return None
    return replace(spec, protocol=other.protocol, version=other.version, splits=other.splits)


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
        Each map of the main split -> its relative change (-0.1: a tenth lower than in-domain), None where the quotient
        does not exist. None where the store does not hold the finished run, made with the same source code of the
        method.
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
