"""What a run takes from other runs of its grid: the codes of a longer one, and the one that it is measured against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from vhbench.errors import StoreError
from vhbench.grid.cells import Cell
from vhbench.runs.in_domain import gains, in_domain_spec
from vhbench.runs.record import Record
from vhbench.runs.store import Store
from vhbench.runs.stored_codes import codes_by_part


def nested(cell: Cell) -> bool:
    """Say whether a run's method makes nested codes; imports the method."""
    try:
        return cell.entry.make(cell.spec.bits, **cell.spec.params).nested
    except Exception:  # a constructor that raises is the run's failure, and recorded as such when it is done
        return False


def codes_from_longer(cell: Cell, store: Store) -> tuple[Record, dict[str, np.ndarray]] | None:
    """Return the codes of a run of nested codes as the first bits of those of a longer one.

    Args:
        cell: the run; `nested(cell)`.
        store: where finished runs lie.

    Returns:
        The record of the shortest longer run that is all else equal, source code included, and its codes cut to the
        run's length: digest of a query or database part -> bool (videos, bits). None where the store holds no such run.
    """
    spec = cell.spec
    folders = [path.name for path in store.path(spec).parent.glob(f"*b-s{spec.seed}-*")]
    lengths = {int(text) for name in folders if (text := name.partition("b-")[0]).isdecimal()}
    for bits in sorted(length for length in lengths if length > spec.bits):
        try:
            record = store.read(replace(spec, bits=bits))
            if record is None or record.status != "done":
                continue
            if record.data["method"].get("fingerprint") == cell.entry.fingerprint:
                codes = codes_by_part(record, cell.splits)
                return record, {digest: part[:, : spec.bits] for digest, part in codes.items()}
        except StoreError:  # damage to another run must not cost this one, which can train
            continue
    return None


def against_in_domain(cell: Cell, scores: Mapping[str, float | None], store: Store) -> dict[str, Any]:
    """Return the record's entry `in_domain`; nothing for a run that searches the data set it was trained on.

    The `id` of the run compared with stands in the entry whether it has been done or not, so that two records can also
    be compared later.

    Args:
        cell: the run.
        scores: its scores.
        store: where the run compared with may lie.

    Returns:
        {} or {"in_domain": {"protocol", "id", "gain"}}; gain as `vhbench.runs.in_domain.gains` returns it.
    """
    other = in_domain_spec(cell.spec, cell.splits)
    if other is None:
        return {}
    gain = gains(scores, other, cell.entry.fingerprint, store)
    return {"in_domain": {"protocol": other.protocol, "id": other.id, "gain": gain}}
