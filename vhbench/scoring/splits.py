"""What a record says of codes: scores, audit, curves and per-query AP, for a run and for codes kept from one."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vhbench.codes import audit
from vhbench.protocol import Split
from vhbench.scoring import Metric, Scores, evaluate
from vhbench.scoring.references import equal_codes
from vhbench.stats import bootstrap_interval

USUAL_K = 20  # at which codes are held against chance, or at the nearest K

RESAMPLES = 2000  # of queries, for the ends of an interval that only have to be on the right side of 0


@dataclass(frozen=True)
class Scored:
    """The entries of a record and the files beside it that come of codes and labels.

    Attributes:
        scores: full metric name -> number, None for a mean over no query; `split/` stands before those of all splits
            but the first.
        queries: split -> how many queries there are and how many are scored.
        audit: split -> `vhbench.codes.audit` of the database's codes.
        per_query: content of `per_query.npz`: metric -> AP of each query, float32 (queries,).
        chance: split -> how far above chance the codes are (`against_chance`).
        curves: content of `curves.json`.
        seconds: what scoring took, without the audit.
    """

    scores: dict[str, float | None]
    queries: dict[str, dict[str, int]]
    audit: dict[str, dict[str, float]]
    per_query: dict[str, np.ndarray]
    chance: dict[str, dict[str, Any]]
    curves: str
    seconds: float


def score_splits(splits: Sequence[Split], codes: Mapping[str, np.ndarray], ks: Sequence[int]) -> Scored:
    """Score the codes of every split.

    Args:
        splits: the protocol's, the main one first.
        codes: digest of a query or database part -> bool (videos, bits).
        ks: the K of map@K and its like (`Scores.metrics`).
    """
    started = time.perf_counter()
    values: dict[str, float | None] = {}
    per_query: dict[str, np.ndarray] = {}
    curves: dict[str, Any] = {}
    queries: dict[str, dict[str, int]] = {}
    chance: dict[str, dict[str, Any]] = {}
    for number, split in enumerate(splits):
        prefix = "" if number == 0 else f"{split.name}/"
        relevance = split.relevance
        scores = evaluate(
            codes[split.query.digest],
            codes[split.database.digest],
            relevance.query_labels,
            relevance.database_labels,
            ks=ks,
            self_index=relevance.self_index,
        )
        in_database = relevance.self_index is not None
        for metric in scores.metrics():
            values[f"{prefix}{metric}"] = _number(scores.value(metric))
            if metric.kind == "map" and metric.ties == "expected":
                per_query[f"{prefix}{metric}"] = scores.per_query(metric).astype(np.float32)
        curves[split.name] = {by: _columns(scores, by, in_database) for by in ("rank", "radius")}
        queries[split.name] = _query_counts(scores, split)
        chance[split.name] = against_chance(scores)
    text = json.dumps(curves, allow_nan=False)
    seconds = time.perf_counter() - started
    audits = {split.name: audit(codes[split.database.digest]) for split in splits}
    return Scored(values, queries, audits, per_query, chance, text, seconds)


def against_chance(scores: Scores) -> dict[str, Any]:
    """Hold the AP of each query against its expectation in a random order, which equal codes have.

    At the K nearest to USUAL_K, with den=k, and without the query itself where it sits in the database: it comes first
    whatever the codes are.

    Returns:
        `metric`, its full name; `value`; `chance`; `gain_low` and `gain_high`, the 95 % bootstrap interval over queries
        of the difference. {} where no query has a relevant item.
    """
    k = min(scores.ks, key=lambda k: (abs(k - USUAL_K), k))
    metric = Metric("map", k, "k", self_match="drop" if scores.in_database else "keep")
    own, level = scores.per_query(metric), Scores(equal_codes(scores.counts)).per_query(metric)
    scored = ~np.isnan(own)
    if not scored.any():
        return {}
    low, high = bootstrap_interval(own[scored] - level[scored], resamples=RESAMPLES)
    means = {"value": float(own[scored].mean()), "chance": float(level[scored].mean())}
    return {"metric": str(metric), **means, "gain_low": low, "gain_high": high}


def _query_counts(scores: Scores, split: Split) -> dict[str, int]:
    index = split.relevance.self_index
    counts = {"total": scores.n_queries, "scored": scores.n_scored("keep")}
    if index is not None:
        counts |= {"scored_without_self": scores.n_scored("drop"), "not_in_database": int((index < 0).sum())}
    return counts


def _columns(scores: Scores, by: str, in_database: bool) -> dict[str, dict[str, list[float | None]]]:
    """Return a curve's columns for each handling of self-matches; by radius also how many pairs are that far apart."""
    found = {}
    for self_match in ("keep", "drop") if in_database else ("keep",):
        curve = scores.precision_recall(by=by, self_match=self_match)
        columns: dict[str, list[float | None]] = {str(name): [*map(_number, column)] for name, column in curve.items()}
        if by == "radius":
            pairs = scores.distances(self_match)
            columns |= {name: pairs[name].tolist() for name in ("relevant", "others")}
        found[self_match] = columns
    return found


def _number(value: float) -> float | None:
    """Return a JSON number: None for NaN, which is an undefined precision or a mean over no query."""
    return None if np.isnan(value) else float(value)
