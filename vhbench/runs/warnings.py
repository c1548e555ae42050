"""What to mistrust in a finished run: codes that collapsed, scores near chance, hardly any training, no digest.

One function decides it, from the record alone; the run says it when it ends, and every table marks it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from vhbench.codes import faulty_entries
from vhbench.runs.form import is_number
from vhbench.runs.record import Record

FEW_STEPS = 300
"""Adam moves a weight by about its learning rate a step at most (Kingma & Ba 2015, Sec. 2.1): at the field's rates of
1e-4 to 1e-3 by 0.03 to 0.3 in so many, which is the size that weights begin with."""
OF_THE_RUN = ("steps", "digest")  # kinds that say the same of every split
MOST_BITS = 2**16  # of codes; a foreign record may say anything
ENOUGH_VIDEOS = 32
"""Of fewer videos sound bits may be alike by chance: some two of 128 are with a probability of 8,128 / 2^(n - 1)."""


def warnings_of(record: Record, split: str) -> dict[str, str]:
    """Return what to mistrust in a finished run: kind -> a few words; empty where there is nothing.

    Args:
        record: of status "done"; entries that an old or damaged record lacks give no warning.
        split: whose codes and scores.
    """
    audit, chance = (_entry(record, name, split) for name in ("audit", "chance"))
    found = {**_of_codes(audit), **_of_chance(chance)}
    steps: Any = record.data.get("steps", _derived_steps(record))
    if is_number(steps) and steps < FEW_STEPS:
        found["steps"] = f"trained for {steps} step{'s' * (steps != 1)} only"
    if not record.has_digest:
        found["digest"] = "the record has no digest, and a change of it goes unseen (vhbench rescore adds one)"
    return found


def all_warnings(record: Record) -> list[str]:
    """Return the warnings of all splits of a finished run, each once; those of further splits name them."""
    found: dict[str, None] = {}
    for number, split in enumerate(record.spec["splits"]):
        for kind, text in warnings_of(record, split).items():
            found[text if number == 0 or kind in OF_THE_RUN else f"{split}: {text}"] = None
    return list(found)


def steps_of(spec: Mapping[str, Any], videos: int, epochs: int | None = None) -> int | None:
    """Return the optimiser steps of a training, None where the method has no epochs or no batches.

    Args:
        spec: the run's specification.
        videos: how many training videos there are; the budget may allow fewer.
        epochs: how many were trained, where that is known better than from the budget.
    """
    batch, limit = spec["params"].get("batch_size"), spec["budget"].get("videos")
    total: Any = epochs or spec["budget"].get("epochs")
    if not (is_number(batch) and is_number(total) and batch >= 1):
        return None
    videos = min(videos, limit) if is_number(limit) else videos
    return int(total * (videos // batch + (videos % batch > 1)))  # the loop leaves out a last batch of one video


def _entry(record: Record, name: str, split: str) -> Mapping[str, Any]:
    entry = record.data.get(name, {})
    values = entry.get(split, {}) if isinstance(entry, dict) else {}
    return values if isinstance(values, dict) else {}


def faults_of_audit(audit: Mapping[str, Any]) -> dict[str, str]:
    """Return what is wrong with the codes that a record's audit describes: its entry -> a few words.

    Args:
        audit: of one split; one that lacks an entry, or is of too few videos to tell, has nothing wrong.
    """
    names = ("n", "bits", "dead_bits", "duplicate_bits", "distinct_codes", "largest_bucket")
    if not all(is_number(audit.get(name)) for name in names):
        return {}
    if audit["n"] < ENOUGH_VIDEOS or not 1 <= audit["bits"] <= MOST_BITS:
        return {}
    return faulty_entries(dict(audit))


def _of_codes(audit: Mapping[str, Any]) -> dict[str, str]:
    return {re.sub(r"[0-9]+", "", text): text for text in faults_of_audit(audit).values()}


def _of_chance(chance: Mapping[str, Any]) -> dict[str, str]:
    if not all(is_number(chance.get(name)) for name in ("value", "chance", "gain_low")) or chance["gain_low"] > 0:
        return {}
    name = str(chance.get("metric")).partition("[")[0]
    own = " without the query itself" if "self=drop" in str(chance.get("metric")) else ""
    return {"chance": f"{name}{own} {chance['value']:.3f} is not above chance, {chance['chance']:.3f}"}


def _derived_steps(record: Record) -> int | None:
    """Return the steps of a record that does not say, where its database is what it was trained on."""
    main, parts = next(iter(record.spec["splits"].items()))
    videos: Any = _entry(record, "audit", main).get("n")
    if "train" not in parts or parts["train"] != parts.get("database") or not is_number(videos):
        return None
    return steps_of(record.spec, int(videos))
