"""One run of a grid, with what the results folder says of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from vhbench.plugins.entries import MethodEntry
from vhbench.protocol import Protocol, Split
from vhbench.runs.in_domain import in_domain_spec
from vhbench.runs.made_with import NOTHING, MadeWith
from vhbench.runs.record import Record
from vhbench.runs.spec import RunSpec, resolve_params, resolve_preset
from vhbench.runs.store import Store


@dataclass(frozen=True)
class Cell:
    """One run of a grid.

    Attributes:
        spec: the run.
        entry: its method.
        protocol: its protocol.
        splits: the protocol's data, opened.
        state: "missing", "running", "done", "stale", "failed" or "skipped".
        record: what the store has, if anything.
        asked: the method and the protocol as the user named them: by these another process finds them again.
        made_with: where its data and method came from, as the user named them.
        setting: which of the grid's settings of its method this is, in words; empty where there is one.
    """

    spec: RunSpec
    entry: MethodEntry
    protocol: Protocol
    splits: Sequence[Split]
    state: str
    record: Record | None
    asked: tuple[str, str] = ("", "")
    made_with: MadeWith = NOTHING
    setting: str = ""

    @property
    def label(self) -> str:
        """The run in a few words, for people."""
        s = self.spec
        setting = f" [{self.setting}]" if self.setting else ""
        return f"{s.method}{setting} on {s.protocol}, {s.bits} bits, seed {s.seed}"

    @cached_property
    def measured_against(self) -> str | None:
        """The id of the run that a cross-data-set run is measured against, and waits for; None for any other run."""
        other = in_domain_spec(self.spec, self.splits)
        return other.id if other else None


def make_cell(
    spec: RunSpec,
    entry: MethodEntry,
    protocol: Protocol,
    splits: Sequence[Split],
    store: Store,
    asked: tuple[str, str],
    made_with: MadeWith,
    setting: str = "",
) -> Cell:
    """Return a run with its state in the store.

    Raises:
        StoreError: its record is damaged or belongs to another run.
    """
    record = store.read(spec)
    state = _state(record, entry) if record else "running" if store.is_claimed(spec) else "missing"
    return Cell(spec, entry, protocol, splits, state, record, asked, made_with, setting)


def recorded_since(cell: Cell, store: Store) -> Record | None:
    """Return the record that a run got after the grid was planned, or None where it has not got one."""
    record = store.read(cell.spec)
    return record if record and (cell.record is None or record.data != cell.record.data) else None


def _state(record: Record, entry: MethodEntry) -> str:
    if record.status != "done":
        return record.status
    return "done" if record.data.get("method", {}).get("fingerprint") == entry.fingerprint else "stale"


def changed_params(cell: Cell) -> dict[str, Any]:
    """Return the hyper-parameters of a run that differ from those published for its data set, or from the defaults."""
    usual = resolve_params(cell.entry, {}, resolve_preset(cell.entry, "auto", cell.protocol.trained_on))
    return {name: cell.spec.params[name] for name, value in usual.items() if cell.spec.params[name] != value}
