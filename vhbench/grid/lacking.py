"""What recorded runs lack of what their protocol reports today: the K that it has got since."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from vhbench.grid.cells import Cell
from vhbench.runs.record import Record
from vhbench.scoring import recorded_metrics


def recorded_ks(record: Record) -> list[int]:
    """Return the K at which a run has recorded its map, in rising order."""
    return sorted({metric.k for metric in recorded_metrics(record.scores) if metric.kind == "map" and metric.k})


def lacking_ks(cells: Sequence[Cell], out: Path, data: Path | None) -> list[str]:
    """Say which K recorded runs lack, and how they get them: one line a protocol, empty where none lacks any.

    Args:
        cells: runs, of which those that are not finished play no part.
        out: the results folder.
        data: the data folder, if one was named.
    """
    lines = []
    for asked in dict.fromkeys(cell.asked[1] for cell in cells):
        done = [(c, c.record) for c in cells if c.asked[1] == asked and c.record and c.record.status == "done"]
        having = [(set(cell.protocol.ks), set(recorded_ks(record))) for cell, record in done]
        short = [(wanted - there, there - wanted) for wanted, there in having if wanted - there]
        if short:
            words = ["--protocol", asked, *(["--data", str(data)] if data else []), "--out", str(out)]
            lacking, others = (_listed(set().union(*sets)) for sets in zip(*short, strict=True))
            lines.append(
                f"{len(short)} of {len(done)} recorded runs on {done[0][0].protocol.name} lack K = {lacking}: "
                f"`vhbench rescore {shlex.join(words)}` adds "
                f"{'it' if lacking.isdecimal() else 'them'} from the stored codes"
                f"{f' in place of K = {others}' if others else ''}."
            )
    return lines


def _listed(ks: set[int]) -> str:
    return ", ".join(map(str, sorted(ks)))
