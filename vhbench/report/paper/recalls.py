"""Precision at given recalls, as numbers that can be compared: what a precision-recall figure claims."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vhbench.report.curves import pr_curves
from vhbench.report.rows import Row
from vhbench.runs.groups import Choice
from vhbench.runs.record import Record

AT = "precision at recall "


def precisions(records: Sequence[Record], recalls: Sequence[float]) -> list[Row]:
    """Return the precision at each recall on the main split, averaged over seeds.

    Taken from the recorded curves by rank, in the literature's convention, linearly between their points; None where
    the curve does not reach the recall.

    Args:
        records: runs of any status, each method run in one way; only "done" ones count.
        recalls: from 0 to 1.

    Returns:
        A row a run but for its seed, and recall; its metric is `precision at recall R`.
    """
    by_cell: dict[tuple[str, str, int], list[Record]] = {}
    for record in records:
        if record.status == "done":
            key = (record.spec["protocol"], record.spec["method"], record.spec["bits"])
            by_cell.setdefault(key, []).append(record)
    if not recalls or not by_cell:
        return []
    curves = pr_curves(records, Choice())
    curves = curves[curves["by"] == "rank"]
    found = []
    for (protocol, method, bits), runs in by_cell.items():
        split = next(iter(runs[0].spec["splits"]))
        own = curves[(curves["protocol"] == protocol) & (curves["method"] == method) & (curves["bits"] == bits)]
        own = own[own["split"] == split]
        reached, precision = own["recall"].to_numpy(), own["precision"].to_numpy()
        for recall in recalls:
            inside = reached[0] <= recall <= reached[-1]
            row = Row(
                protocol, split, method, own["label"].iloc[0], bits, tuple(sorted(run.spec["seed"] for run in runs)),
                f"{AT}{recall:g}", float(np.interp(recall, reached, precision)) if inside else None, None,
                bool(runs[0].data["synthetic"]), runs[0].data["queries"][split]["scored"],
            )  # fmt: skip
            found.append(row)
    return found
