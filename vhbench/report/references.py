"""What numbers are held against as rows below them: chance, the cosine of mean frames, what is attainable."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from vhbench.report.rows import Row
from vhbench.runs.groups import Choice, Group, groups, in_database
from vhbench.runs.record import Record
from vhbench.runs.references import KeptReferences
from vhbench.scoring import Metric
from vhbench.scoring.names import REFERENCES


def with_references(rows: Sequence[Row], alike: Iterable[Group], kept: Sequence[KeptReferences]) -> list[Row]:
    """Append to each table's rows those of its references, as far as they are kept.

    Args:
        rows: as `report.rows.rows` returns them.
        alike: the runs that they came from.
        kept: of the results folder; they belong to the data of a table by their digests.
    """
    digests = {
        (group.protocol, split): parts for group in alike for split, parts in group.spec["splits"].items()
    }  # fmt: skip
    tables: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        tables.setdefault((row.protocol, row.split), []).append(row)
    found: list[Row] = []
    for key, table in tables.items():
        found += table
        own = references_of(digests.get(key, {}), kept)
        columns = {(row.metric, row.bits): row for row in table}
        for name in REFERENCES:
            found += [line for of in columns.values() if (line := _row(name, of, own)) is not None]
    return found


def references_of(digests: Mapping[str, Any], kept: Sequence[KeptReferences]) -> list[KeptReferences]:
    """Return the references of the data with these digests, role -> digest; there is one a list of K."""
    return [one for one in kept if dict(one.digests) == dict(digests)]


def chance_levels(
    records: Sequence[Record], choice: Choice, kept: Sequence[KeptReferences]
) -> dict[tuple[str, str], float]:
    """Return the precision of a random order, which is the same at every rank: protocol and split -> level.

    Args:
        records: runs of any status; only "done" ones count.
        choice: which protocols, methods and code lengths, and by which convention.
        kept: of the results folder.
    """
    levels = {}
    for group in groups(records, choice):
        for split, parts in group.spec["splits"].items():
            for one in references_of(parts, kept):
                inside = in_database(group.records[0], split)
                level = one.values["chance"].get(str(Metric.parse(f"precision@{one.ks[0]}", choice.convention, inside)))
                if level is not None:
                    levels[group.protocol, split] = level
    return levels


def _row(name: str, of: Row, kept: Sequence[KeptReferences]) -> Row | None:
    """Return a reference in the column of one of our numbers, None where there is none."""
    for one in kept:
        value = one.values[name].get(of.metric)
        if value is None:
            continue
        ci = one.intervals.get(of.metric) if name == "cosine" else None
        return Row(
            protocol=of.protocol,
            split=of.split,
            method=name,
            label=REFERENCES[name],
            bits=of.bits,
            seeds=(),
            metric=of.metric,
            value=value,
            sd=None,
            synthetic=of.synthetic,
            queries=one.queries["cosine"] if name == "cosine" else of.queries,
            ci=ci,
            reference=name,
        )
    return None
