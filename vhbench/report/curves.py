"""Curves over seeds, as tables: precision and recall by rank and by radius, mAP@K against K and code length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from vhbench.errors import StoreError
from vhbench.report.folds import averaged
from vhbench.report.references import with_references
from vhbench.report.rows import rows
from vhbench.runs.groups import Choice, Group, groups, in_database
from vhbench.runs.record import CURVES, DamagedError, Record
from vhbench.runs.references import KeptReferences
from vhbench.runs.stored_scores import read_curves
from vhbench.scoring import Metric, recorded_metrics

if TYPE_CHECKING:
    import pandas as pd

SELF = {"literature": "keep", "strict": "drop"}


def pr_curves(records: Sequence[Record], choice: Choice) -> pd.DataFrame:
    """Return precision-recall curves, averaged over seeds at each rank and at each Hamming radius.

    Args:
        records: runs of any status; only "done" ones count.
        choice: which protocols, methods and code lengths; its convention says whether queries find themselves.

    Returns:
        A row a point: protocol, split, method, label, bits, seeds (how many), synthetic, self ("keep" or "drop"), by
        ("rank" or "radius"), at (the rank, from 1, or the radius, from 0), recall, precision. NaN where undefined.

    Raises:
        UsageError: a name or code length that no finished run has.
        StoreError: a run's curves are missing or damaged.
    """
    import pandas as pd

    parts = [part for group in groups(records, choice) for part in _group_curves(group, choice)]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def map_curves(records: Sequence[Record], choice: Choice, references: Sequence[KeptReferences] = ()) -> pd.DataFrame:
    """Return mAP@K for every K that the runs have recorded, averaged over seeds and over the splits of a protocol.

    Args:
        records: runs of any status; only "done" ones count.
        choice: which protocols, methods and code lengths, and by which convention; its metrics play no part.
        references: what the runs are held against, added as further methods.

    Returns:
        A row a point: protocol, split, method, label, bits, seeds (how many), synthetic, folds (over how many splits
        it is the mean; 0 where the protocol has one), metric, k, value, sd.

    Raises:
        UsageError: a name or code length that no finished run has.
    """
    import pandas as pd

    alike = groups(records, choice)
    recorded = [metric for group in alike for metric in recorded_metrics(group.records[0].scores)]
    metrics = [f"map@{k}" for k in sorted({metric.k for metric in recorded if metric.kind == "map" and metric.k})]
    found = rows(records, replace(choice, metrics=metrics)) if metrics else []
    found = averaged(with_references(found, alike, references), alike, choice)
    return pd.DataFrame(
        {
            "protocol": row.protocol,
            "split": row.split,
            "method": row.method,
            "label": row.label,
            "bits": row.bits,
            "seeds": len(row.seeds),
            "synthetic": row.synthetic,
            "folds": row.folds,
            "metric": row.metric,
            "k": Metric.parse(row.metric).k,
            "value": np.nan if row.value is None else row.value,
            "sd": np.nan if row.sd is None else row.sd,
        }
        for row in found
    )


def distance_counts(records: Sequence[Record], choice: Choice) -> pd.DataFrame:
    """Return how many pairs of a scored query and a database video lie at each Hamming distance, added up over seeds.

    Args:
        records: runs of any status; only "done" ones count.
        choice: which protocols, methods and code lengths; its convention says whether queries find themselves.

    Returns:
        A row a distance: protocol, split, method, label, bits, seeds (how many), synthetic, self ("keep" or "drop"),
        distance, relevant, others.

    Raises:
        UsageError: a name or code length that no finished run has.
        StoreError: a run's curves are missing or damaged, or it has not recorded distances.
    """
    import pandas as pd

    parts = []
    for group in groups(records, choice):
        loaded = [read_curves(record) for record in group.records]
        for split in group.spec["splits"]:
            own = SELF[choice.convention] if in_database(group.records[0], split) else "keep"
            columns = [curve[split]["radius"][own] for curve in loaded]
            for record, column in zip(group.records, columns, strict=True):
                if "relevant" not in column or "others" not in column:
                    raise StoreError(
                        f"{record.folder / CURVES} has no distances: `vhbench rescore` adds them from the stored codes."
                    )
            counts = {
                name: np.array([column[name] for column in columns], dtype=np.int64).sum(axis=0)
                for name in ("relevant", "others")
            }
            distance = np.asarray(columns[0]["radius"], dtype=int)
            parts.append(pd.DataFrame({**_facts(group, split, own), "distance": distance, **counts}))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def _facts(group: Group, split: str, own: str) -> dict[str, Any]:
    return {
        "protocol": group.protocol,
        "split": split,
        "method": group.spec["method"],
        "label": group.label,
        "bits": group.spec["bits"],
        "seeds": len(group.records),
        "synthetic": bool(group.records[0].data["synthetic"]),
        "self": own,
    }


def _group_curves(group: Group, choice: Choice) -> list[pd.DataFrame]:
    import pandas as pd

    loaded = [read_curves(record) for record in group.records]
    parts = []
    for split in group.spec["splits"]:
        self_match = SELF[choice.convention] if in_database(group.records[0], split) else "keep"
        for by in ("rank", "radius"):
            curves = [curve[split][by][self_match] for curve in loaded]
            for record, curve in zip(group.records, curves, strict=True):
                if curve[by] != curves[0][by]:
                    raise DamagedError(record.folder / CURVES, f"its curve by {by} has other points than other seeds'")
            means = {name: _mean([curve[name] for curve in curves]) for name in ("recall", "precision")}
            facts = {**_facts(group, split, self_match), "by": by, "at": np.asarray(curves[0][by], dtype=int)}
            parts.append(pd.DataFrame({**facts, **means}))
    return parts


def _mean(columns: Sequence[Sequence[float | None]]) -> np.ndarray:
    """Return the mean over seeds at each point, over the seeds where it is defined; NaN where it is for none."""
    values = np.array(columns, dtype=float)
    counts = (~np.isnan(values)).sum(axis=0)
    means: np.ndarray = np.nansum(values, axis=0) / np.where(counts, counts, np.nan)
    return means
