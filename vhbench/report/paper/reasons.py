"""Why a number of ours cannot be held against a published one: what differs, or is not known to be the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vhbench.report.published import BEST, INFERRED, OTHER_SETTINGS, UNKNOWN, PublishedRow
from vhbench.runs.record import Record
from vhbench.runs.warnings import warnings_of
from vhbench.scoring import Metric

ONE_EPOCH, CHANCE = "one epoch of training", "near chance"


def peculiarities(record: Record, departures: Mapping[str, Any]) -> list[str]:
    """Return in what a run is not what the paper did, in a few words each.

    Args:
        record: a finished run.
        departures: hyper-parameter -> the value that is not the paper's.
    """
    data = record.data
    reasons = ["synthetic features"] if data["synthetic"] else []
    reasons += [f"budget {data['budget']}"] if data["budget"] != "paper" else []
    reasons += [f"precision {record.spec['precision']}"] if record.spec["precision"] != "float32" else []
    reasons += [f"normalize {record.spec['normalize']}"] if "normalize" in record.spec else []
    reasons += [f"{name}={value}" for name, value in data["changed"].items()]
    params = record.spec["params"]
    reasons += [
        f"{name}={value} is not the paper's"
        for name, value in departures.items()
        if params.get(name) == value and name not in data["changed"]
    ]
    for notes in data.get("data", {}).values():
        reasons += [f"data variant {name!r}" for name in notes.get("variants", ())]
        reasons += [f"other number of {what}" for what in notes.get("allowed_counts", ())]
    return reasons


def faults_of(record: Record) -> list[str]:
    """Return why nothing can be concluded from a run."""
    main = next(iter(record.spec["splits"]))
    untrained, by_chance = record.spec["budget"]["epochs"] == 1, "chance" in warnings_of(record, main)
    return [*([ONE_EPOCH] if untrained else []), *([CHANCE] if by_chance else [])]


def conventions(row: PublishedRow, measured_as: str, queries_in_database: bool) -> list[str]:
    """Return in what a published number's convention, or choice of the epoch, differs from ours or is unknown.

    Args:
        row: the published number.
        measured_as: full name of the metric behind ours.
        queries_in_database: whether a query can find itself.
    """
    ours = Metric.parse(measured_as)
    choices = [("divisor", row.den, ours.den), ("order of ties", row.ties, ours.ties)]
    if queries_in_database:  # else there is nothing to drop
        choices.append(("self match", row.self_match, ours.self_match))
    reasons = [f"{what} {theirs}, ours {value}" for what, theirs, value in choices if theirs not in (value, UNKNOWN)]
    unknown = [what for what, theirs, _ in choices if theirs == UNKNOWN]
    if row.selection == BEST:
        reasons.append("the best on the test set, ours is chosen by nothing")
    if INFERRED in row.doubt:
        reasons.append("its bits or protocol are not stated")
    if OTHER_SETTINGS in row.doubt:
        reasons.append("made with other settings than the released ones")
    return [*reasons, *([f"{' and '.join(unknown)} unknown"] if unknown else [])]
