"""Every method against every other one over all code lengths at once: differences, intervals and tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from vhbench import stats
from vhbench.errors import UsageError
from vhbench.report.rows import Row, rows
from vhbench.report.significance import values_of
from vhbench.runs.groups import USUAL, Choice, Group, groups
from vhbench.runs.record import Record

if TYPE_CHECKING:
    import pandas as pd


def wins(records: Sequence[Record], choice: Choice) -> pd.DataFrame:
    """Compare all pairs of methods by values of each query that are averaged over seeds and code lengths first.

    Code lengths are no independent samples: the queries and the database are the same, so that counting wins over them
    (or ranks, as critical-difference diagrams do over many data sets; Demsar 2006) would count one finding several
    times. Averaged over them, a query is one observation again, and the paired sign-flip test over queries holds.
    Protocols have queries of their own, and a comparison each.

    Args:
        records: runs of any status; only "done" ones count.
        choice: which protocols, methods and code lengths; only its first metric is taken.

    Returns:
        A row a pair, the better method first: protocol, split, metric, bits (those that all methods have, as text),
        queries, method, label, value, method_against, against, value_against, difference, ci_low, ci_high (95 %
        bootstrap, paired), p_raw, p (Holm over all pairs of the protocol), synthetic.

    Raises:
        UsageError: as `report.rows.rows`; fewer than two methods, no code length that all have, or a metric that is not
            recorded query by query.
        StoreError: values of the queries are missing or damaged.
    """
    import pandas as pd

    found = rows(records, replace(choice, metrics=list(choice.metrics)[:1] or [USUAL]))
    by_name = {(group.protocol, group.label, group.spec["bits"]): group for group in groups(records, choice)}
    tables: dict[tuple[str, str], list[Row]] = {}
    for row in found:
        tables.setdefault((row.protocol, row.split), []).append(row)
    parts = [_pairs(table, by_name) for table in tables.values()]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def _pairs(table: Sequence[Row], groups: dict[tuple[str, str, int], Group]) -> pd.DataFrame:
    import pandas as pd

    cells = {(row.label, row.bits): row for row in table}
    labels = list(dict.fromkeys(row.label for row in table))
    lengths = [bits for bits in sorted({row.bits for row in table}) if all((label, bits) in cells for label in labels)]
    where = f"on {table[0].protocol}"
    if len(labels) < 2:
        raise UsageError(f"--wins compares methods, and there is only {labels[0]} {where}.")
    if not lengths:
        raise UsageError(f"--wins needs a code length that all methods have {where}: choose with --method or --bits.")
    columns = []
    for label in labels:
        values = [_values(cells[label, bits], groups) for bits in lengths]
        columns.append(np.mean(values, axis=0))
    values = np.column_stack(columns)
    values = values[~np.isnan(values).any(axis=1)]
    means = values.mean(axis=0)
    order = np.argsort(-means, kind="stable").tolist()
    pairs = [(a, b) for place, a in enumerate(order) for b in order[place + 1 :]]
    p_raw = stats.sign_flip_pairs(values, pairs)
    low, high = stats.bootstrap_differences(values, pairs)
    first, second = (np.array(side) for side in zip(*pairs, strict=True))
    methods = [cells[label, lengths[0]].method for label in labels]
    return pd.DataFrame({
        "protocol": table[0].protocol, "split": table[0].split, "metric": table[0].metric,
        "bits": " ".join(map(str, lengths)), "queries": len(values),
        "method": [methods[a] for a in first], "label": [labels[a] for a in first], "value": means[first],
        "method_against": [methods[b] for b in second], "against": [labels[b] for b in second],
        "value_against": means[second], "difference": means[first] - means[second], "ci_low": low, "ci_high": high,
        "p_raw": p_raw, "p": stats.holm(p_raw), "synthetic": table[0].synthetic,
    })  # fmt: skip


def _values(row: Row, groups: dict[tuple[str, str, int], Group]) -> np.ndarray:
    values = values_of(groups[row.protocol, row.label, row.bits], row)
    if values is None:
        raise UsageError(
            f"--wins tests query by query, and {row.metric} of {row.label} is not recorded so: take a map."
        )
    return values
