"""What recorded runs lack of what is asked for today: the K that their protocol has got since, epochs on the way."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from vhbench.grid.cells import Cell
from vhbench.runs.record import Record
from vhbench.runs.tuned import ENTRY as TUNED
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


def lacking_epochs(cells: Sequence[Cell], epochs: Sequence[int]) -> list[str]:
    """Say how many recorded runs lack scores at epochs on the way that they could have; empty where none does.

    Args:
        cells: runs, of which those that are not finished or have no epochs play no part.
        epochs: which are asked for, counted from 1.
    """
    done = [c for c in cells if c.record and c.record.status == "done" and c.spec.budget["epochs"]]
    short = [c for c in done if c.record and not {*map(str, epochs)} <= {*c.record.data.get("at_epochs", {})}]
    if not short:
        return []
    where = f"epoch {', '.join(map(str, sorted(epochs)))}"
    return [f"{len(short)} of {len(done)} recorded runs have no scores at {where}: --rerun all trains them again."]


def lacking_tuned(cells: Sequence[Cell]) -> list[str]:
    """Say how many recorded runs have a tuned setting and do not say so; empty where none does."""
    done = [cell for cell in cells if cell.tuned and cell.record and cell.record.status == "done"]
    short = [cell for cell in done if cell.record and TUNED not in cell.record.data]
    if not short:
        return []
    return [
        f"{len(short)} of {len(done)} recorded runs with a tuned setting do not say so, since it was only "
        "set: --rerun all does them anew."
    ]


def _listed(ks: set[int]) -> str:
    return ", ".join(map(str, sorted(ks)))
