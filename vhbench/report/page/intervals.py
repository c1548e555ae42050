"""Intervals and tests of the maps on the page: those of `vhbench compare --ci --significance`, as JSON values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vhbench.report.rows import Row, rows
from vhbench.report.significance import with_statistics
from vhbench.runs.groups import Choice, Group, in_database
from vhbench.scoring import CONVENTIONS, Metric

MOST_VALUES = 5_000_000  # values of queries that are resampled for all maps; of larger sets, for the page's map alone
SHORTEST = 6  # significant digits of a p


def intervals(members: Sequence[Group], split: str, ks: Sequence[int], k: int) -> dict[str, Any]:
    """Return 95 % intervals over queries and the tests of all pairs of methods, for each code length by itself.

    Args:
        members: the groups of one protocol and split.
        split: the split's name.
        ks: cut-off ranks of the maps.
        k: the cut-off rank that the page has AP query by query of.

    Returns:
        `ci` (for each group: convention -> metric -> lower and upper end) and `p` (convention -> metric -> for each
        code length: `members`, places of groups, and `p`, one list a member with its p against each earlier one, None
        where there is none; adjusted by Holm's procedure for all pairs of the code length).
    """
    queries = members[0].records[0].data["queries"][split]["total"]
    wanted = ks if queries * len(members) * len(ks) * len(CONVENTIONS) <= MOST_VALUES else [k]
    places = {(group.label, group.spec["bits"]): place for place, group in enumerate(members)}
    inside = in_database(members[0].records[0], split)
    names = {(c, f"map@{n}"): str(Metric.parse(f"map@{n}", c, inside)) for c in CONVENTIONS for n in wanted}
    records = [record for group in members for record in group.records]
    plain = rows(records, Choice(metrics=list(dict.fromkeys(names.values()))))
    own = [row for row in plain if row.split == split]
    tested = with_statistics(own, members, ci=True, pairs=True)
    found: dict[str, Any] = {
        "ci": [{convention: {} for convention in CONVENTIONS} for _ in members],
        "p": {convention: {} for convention in CONVENTIONS},
    }
    for (convention, short), full in names.items():
        of_metric = [row for row in tested if row.metric == full]
        for row in of_metric:
            if row.ci:
                found["ci"][places[row.label, row.bits]][convention][short] = list(row.ci)
        columns: dict[int, list[Row]] = {}
        for row in of_metric:
            columns.setdefault(row.bits, []).append(row)
        found["p"][convention][short] = [
            {"members": [places[row.label, row.bits] for row in column], "p": _p(column)} for column in columns.values()
        ]
    return found


def _p(column: Sequence[Row]) -> list[list[float | None]]:
    """Return the p of each row against each row before it."""
    of = [{test.against: float(f"{test.p:.{SHORTEST}g}") for test in row.tests} for row in column]
    return [[found.get(other.label) for other in column[:place]] for place, found in enumerate(of)]
