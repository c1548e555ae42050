"""Scores of a Hamming ranking: distance counts -> average precision and other metrics, and curves, with conventions.

One pass of XOR and popcount counts, per query and distance, the database items and the relevant ones; every metric is a
closed form of that table. Names load without numba; the rest loads it on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vhbench.scoring.names import CONVENTIONS, Convention, Metric, find_convention, record_metrics, recorded_metrics

if TYPE_CHECKING:
    from vhbench.scoring.counts import DistanceCounts, count_distances
    from vhbench.scoring.scores import Scores, evaluate

__all__ = [
    "CONVENTIONS",
    "Convention",
    "DistanceCounts",
    "Metric",
    "Scores",
    "count_distances",
    "evaluate",
    "find_convention",
    "record_metrics",
    "recorded_metrics",
]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    home = {"DistanceCounts": "counts", "count_distances": "counts", "Scores": "scores", "evaluate": "scores"}
    if name not in home:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{home[name]}"), name)
