"""Running what a paper's table needs and comparing it: what `vhbench reproduce` and `vhbench.reproduce` share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from vhbench.grid.request import Request, request
from vhbench.report.paper.lines import Line, lines_of
from vhbench.report.paper.table import PaperTable, find_table
from vhbench.runs.groups import Choice
from vhbench.runs.record import Record
from vhbench.scoring import recorded_metrics


@dataclass(frozen=True)
class Reproduction:
    """A table of a paper, its runs and what they come to.

    Attributes:
        name: of the table.
        options: how it is run, as `vhbench.grid.request.request` takes them.
        protocol: another protocol, or the path of its manifest; None: the table's own.
        bits: code lengths; empty: the table's own.
        published: folder of the published numbers; None: that of the source checkout.
    """

    name: str
    options: Mapping[str, Any]
    protocol: str | None = None
    bits: Sequence[int] = ()
    published: Path | None = None

    @cached_property
    def table(self) -> PaperTable:
        """The table on the paper's own protocols.

        Raises:
            UsageError: there is no such table.
            DataError: the published numbers are not there or not of their form.
        """
        found = find_table(self.name, self.published / "tables" if self.published else None)
        return replace(found, bits=tuple(dict.fromkeys(self.bits)) or found.bits)

    @cached_property
    def request(self) -> Request:
        """The runs that it needs.

        Raises:
            UsageError: an option is none, or the protocol does not fit the table.
        """
        table = replace(self.table, **self.table.on(self.protocol)) if self.protocol else self.table
        return request({
            **self.options, "methods": table.methods, "protocols": table.grid_protocols, "bits": table.bits
        })  # fmt: skip

    def rescore(self) -> None:
        """Compute the K that the table asks for and finished runs lack, from their codes: that takes no training.

        Raises:
            VhbenchError: the data are not those that the runs were scored on, or results cannot be written.
        """
        from vhbench.runs.rescore import rescore_runs  # loads numba

        runs = self.request
        for name in runs.grid.protocols:
            protocol = runs.registry.protocol(name)
            done = [record for record in runs.records() if record.status == "done"]
            done = [record for record in done if record.spec["protocol"] == protocol.name]
            recorded = {metric.k for record in done for metric in recorded_metrics(record.scores) if metric.k}
            if any(_lacks(record, self.table.ks) for record in done):
                ks = sorted({*recorded, *protocol.ks, *self.table.ks})
                choice = Choice(methods=self.table.methods, bits=self.table.bits)
                rescore_runs(runs.registry, runs.store, choice, protocols=[name], ks=ks, data=runs.data)

    def lines(self) -> list[Line]:
        """Return the paper's numbers and claims beside what is recorded now."""
        runs = self.request
        name = runs.registry.protocol(self.protocol).name if self.protocol else None
        return lines_of(self.table, runs.cells, runs.store, name, self.published)


def _lacks(record: Record, ks: Sequence[int]) -> bool:
    """Say whether a finished run has not recorded mAP at one of the K."""
    return not set(ks) <= {metric.k for metric in recorded_metrics(record.scores) if metric.kind == "map"}
