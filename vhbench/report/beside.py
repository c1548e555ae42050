"""Published numbers as rows beside ours, and in what their conventions differ."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from vhbench.report.published import PublishedRow
from vhbench.report.rows import Row

OPTIONS = re.compile(r"(\w+)=(\w+)")


def with_published(rows: Sequence[Row], published: Iterable[PublishedRow], methods: Sequence[str] = ()) -> list[Row]:
    """Append the published numbers of each table's protocol, code lengths and metrics to its rows.

    A number stands in the column of our metric of the same name and K; where there are several, in the one whose
    convention is nearest to its own. Gains and means over several K are left out.

    Args:
        rows: as `report.rows.rows` returns them.
        published: as `report.published.read_published` returns them.
        methods: names to keep; empty keeps all.
    """
    numbers = [p for p in published if not methods or p.method in methods]
    found: list[Row] = []
    tables: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        tables.setdefault((row.protocol, row.split), []).append(row)
    for (protocol, split), table in tables.items():
        found += table
        name = protocol.partition(" (data ")[0]
        columns = {(row.metric, row.bits) for row in table}
        quoted = [_row(p, table[0], columns) for p in numbers if p.protocol == name == split]
        found += sorted((row for row in quoted if row), key=lambda row: (row.method, row.label))
    return found


def differing(row: Row) -> str:
    """Say in which options a published number's convention differs from that of our column; empty for ours."""
    if not row.published:
        return ""
    ours, theirs = (dict(OPTIONS.findall(metric)) for metric in (row.beside, row.metric))
    found = [f"{name}={value}" for name, value in theirs.items() if ours.get(name) != value]
    if row.published.selection == "best on test":
        found.append("epoch chosen on the queries")
    return ", ".join(found)


def _row(published: PublishedRow, ours: Row, columns: Iterable[tuple[str, int]]) -> Row | None:
    fitting = sorted(
        metric for metric, bits in columns if bits == published.bits and metric.startswith(f"{published.metric}[")
    )
    if not fitting:
        return None
    options = set(OPTIONS.findall(published.full_metric))
    beside = max(fitting, key=lambda metric: len(options & set(OPTIONS.findall(metric))))
    source = re.sub(r"\d+(?=bit)", "N", published.source)  # a file a code length is one line of a table
    return Row(
        protocol=ours.protocol,
        split=ours.split,
        method=published.method,
        label=f"{published.method_as_printed} ({source})",
        bits=published.bits,
        seeds=(),
        metric=published.full_metric,
        value=published.value,
        sd=None,
        synthetic=False,
        queries=None,
        published=published,
        beside=beside,
    )
