"""Tables that are wider than their paper or terminal: columns in several groups, so that no number is broken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from vhbench.report.layout import RowTable


def column_groups(table: RowTable, fits: Callable[[RowTable], bool]) -> list[RowTable]:
    """Return a table's columns in as few tables as fit, each with all lines; [] where a single column does not fit.

    Remarks move under the last table where the whole does not fit, as a note each.

    Args:
        table: the whole.
        fits: says of a table whether it is narrow enough.
    """
    if fits(table):
        return [table]
    remarks = [f"{line.label}: {line.remark}" for line in table.lines if line.remark]
    bare = replace(table, notes=(), remarks=False)
    groups, start = [], 0
    while start < len(table.columns):
        ends = range(len(table.columns), start, -1)
        group = next((part for end in ends if fits(part := _part(bare, start, end))), None)
        if group is None:
            return []
        groups.append(group)
        start += len(group.columns)
    groups[-1] = replace(groups[-1], notes=(*table.notes, *remarks))
    return groups


def _part(table: RowTable, start: int, end: int) -> RowTable:
    lines = tuple(replace(line, cells=line.cells[start:end]) for line in table.lines)
    return replace(table, columns=table.columns[start:end], lines=lines)
