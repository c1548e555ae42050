"""What scores cost: time, memory and bits beside them, from the records."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from vhbench.report.folds import averaged
from vhbench.report.references import with_references
from vhbench.report.rows import rows
from vhbench.runs.groups import USUAL, Choice, Group, fold_of, groups
from vhbench.runs.record import Record
from vhbench.runs.references import KeptReferences

if TYPE_CHECKING:
    import pandas as pd


def costs(records: Sequence[Record], choice: Choice, references: Sequence[KeptReferences] = ()) -> pd.DataFrame:
    """Return the first metric of each method and code length, and what it took: means over seeds, then over splits.

    Args:
        records: runs of any status; only "done" ones count.
        choice: which; only its first metric is taken.
        references: what the runs are held against, added as further methods without costs.

    Returns:
        A row a method and code length: protocol, split, method, label, bits, seeds (how many), synthetic, folds (over
        how many splits it is the mean; 0 where the protocol has one), metric, value, sd, fit_s, encode_ms (a video),
        memory_mb (largest of the runs: of the GPU where all ran on one, else of the process), memory ("GPU" or
        "process"), learnt_numbers, device. None where not recorded.

    Raises:
        UsageError: as `report.rows.rows`.
    """
    import pandas as pd

    alike = groups(records, choice)
    found = rows(records, replace(choice, metrics=list(choice.metrics)[:1] or [USUAL]))
    found = averaged(with_references(found, alike, references), alike, choice)
    of_rows: dict[tuple[str, str, int, bool], list[Group]] = {}
    for group in alike:
        fold = fold_of(group.records[0])
        for protocol, is_mean in [(group.protocol, False), *([(fold.name, True)] if fold else [])]:
            of_rows.setdefault((protocol, group.label, group.spec["bits"], is_mean), []).append(group)
    on_gpus = all(group_memory(group, "peak_gpu_mb") is not None for group in alike)
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
            "value": row.value,
            "sd": row.sd,
            **_cost(of_rows.get((row.protocol, row.label, row.bits, row.folds > 0), []), on_gpus),
        }
        for row in found
    )


def group_memory(group: Group, name: str) -> float | None:
    """Return the most memory that any run of a group took, in MiB; None where one has not recorded it."""
    values = [(record.data.get("memory") or {}).get(name) for record in group.records]
    return None if any(value is None for value in values) else max(value for value in values if value is not None)


def device_of(environment: Mapping[str, Any]) -> str:
    """Return what a run ran on: the GPU, or the CPU with the number of threads."""
    if environment.get("gpu"):
        return str(environment["gpu"])
    threads = environment.get("threads")
    words = f", {threads} thread{'s' if threads > 1 else ''}" if threads else ""
    return f"{environment.get('cpu', 'unknown')}{words}"


def _cost(of_row: Sequence[Group], on_gpus: bool) -> dict[str, Any]:
    if not of_row:
        return {}
    runs = [[record.data for record in group.records] for group in of_row]
    peaks = [group_memory(group, "peak_gpu_mb" if on_gpus else "peak_rss_mb") for group in of_row]
    speed = _mean(_mean(entry["timing"].get("videos_per_s") for entry in data) for data in runs)
    return {
        "fit_s": _mean(_mean(entry["timing"].get("fit_s") for entry in data) for data in runs),
        "encode_ms": 1000 / speed if speed else None,
        "memory_mb": None if None in peaks else max(peak for peak in peaks if peak is not None),
        "memory": "GPU" if on_gpus else "process",
        "learnt_numbers": _mean(_mean(entry.get("learnt_numbers") for entry in data) for data in runs),
        "device": "; ".join(sorted({device_of(entry["environment"]) for data in runs for entry in data})),
    }


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None
