"""Chance, cosine and attainable scores, against rankings that are sorted one by one in float64."""

import brute
import numpy as np
import pytest

from vhbench.protocol import Part, Relevance, Split
from vhbench.scoring import Metric, evaluate, references
from vhbench.scoring.references import equal_codes, nearest_by_cosine
from vhbench.scoring.references import references as compute
from vhbench.videos import VideoSet

QUERIES, ITEMS, FRAMES, DIM = 12, 60, 3, 6


@pytest.fixture
def rng():
    return np.random.default_rng(3)


@pytest.fixture
def split(request, rng):
    multi, inside = getattr(request, "param", (False, False))
    frames = rng.normal(size=(QUERIES + ITEMS, FRAMES, DIM)) + 3
    labels = rng.integers(0, 2, (len(frames), 4)) if multi else rng.integers(0, 4, len(frames))
    labels[QUERIES - 1] = 0 if multi else 9  # this query has no relevant item
    index = None
    if inside:  # the first database items are queries, one query is no item
        frames[QUERIES:][: QUERIES - 2], labels[QUERIES:][: QUERIES - 2] = frames[: QUERIES - 2], labels[: QUERIES - 2]
        index = np.where(np.arange(QUERIES) < QUERIES - 2, np.arange(QUERIES), -1)
    query, database = VideoSet(frames[:QUERIES]), VideoSet(frames[QUERIES:])
    relevance = Relevance.from_labels(labels[:QUERIES], labels[QUERIES:], index)
    return Split("s", Part(database, "t"), Part(query, "q"), Part(database, "d"), relevance)


def lists(split):
    """For each query: its database rows by cosine, float64, and which rows are relevant."""
    means = [part.videos._features.astype(np.float64).mean(axis=1) for part in (split.query, split.database)]
    centre = means[1].mean(axis=0)
    query, database = ((m - centre) / np.linalg.norm(m - centre, axis=1)[:, None] for m in means)
    for number, one in enumerate(query):
        similar = [float((one * item).sum()) for item in database]
        order = sorted(range(len(database)), key=lambda j: (-round(similar[j], 12), j))
        own, offered = split.relevance.query_labels[number], split.relevance.database_labels
        yield np.array(order), np.array([brute.share_label(own, other) for other in offered])


def expected(split, metric, which):
    values = []
    for number, (order, relevant) in enumerate(lists(split)):
        index = split.relevance.self_index
        if metric.self_match == "drop" and index is not None:
            order = order[order != index[number]]
        hits = relevant[order]
        if which == "attainable":
            hits = np.sort(hits)[::-1]
        if hits.any():
            values.append(brute.metric_of_list(metric.kind, hits.tolist(), metric.k, metric.den))
        elif metric.empty == "zero":
            values.append(0.0)
    return np.mean(values)


KINDS = pytest.mark.parametrize("split", [(m, i) for m in (False, True) for i in (False, True)], indirect=True)


@KINDS
@pytest.mark.parametrize("which", ["cosine", "attainable"])
def test_each_recorded_metric_is_that_of_lists_sorted_one_by_one(split, which):
    found = compute(split, (3, 10)).values[which]
    names = [name for name in found if Metric.parse(name).radius is None]
    assert len(names) >= 15
    for name in names:
        assert found[name] == pytest.approx(expected(split, Metric.parse(name), which), abs=1e-12), name


@KINDS
def test_chance_is_the_mean_over_random_orders(split, rng):
    found = compute(split, (3, 10)).values["chance"]
    draws = {name: [] for name in found}
    for order, relevant in lists(split):
        if not relevant.any():
            continue
        shuffled = [relevant[rng.permutation(order)].tolist() for _ in range(1500)]
        for name in ("map@3[den=k,ties=expected,self=keep]", "ndcg@10[ties=expected,self=keep]"):
            metric = Metric.parse(name)
            draws[name].append(np.mean([brute.metric_of_list(metric.kind, h, metric.k, metric.den) for h in shuffled]))
    for name, values in draws.items():
        if values:
            assert found[name] == pytest.approx(np.mean(values), abs=0.01)
    best, mean = "map@3[den=k,ties=best,self=keep]", "map@3[den=k,ties=expected,self=keep]"
    assert found[best] == found[mean]


@KINDS
def test_codes_that_are_equal_score_chance(split, rng):
    relevance, codes = split.relevance, rng.integers(0, 2, (QUERIES + ITEMS, 8)).astype(bool)
    labels = (relevance.query_labels, relevance.database_labels)
    scores = evaluate(codes[:QUERIES], codes[QUERIES:], *labels, ks=(3,), self_index=relevance.self_index)
    from vhbench.scoring import Scores

    equal = Scores(equal_codes(scores.counts), ks=(3,))
    chance = compute(split, (3,)).values["chance"]
    for metric in equal.metrics():
        if metric.ties == "expected":
            assert equal.value(metric) == pytest.approx(chance[str(metric)], abs=1e-12)


def test_below_1_is_attainable_where_k_passes_the_relevant_items(split):
    found = compute(split, (ITEMS,)).values["attainable"]
    assert found[f"map@{ITEMS}[den=min,ties=expected,self=keep]"] == 1
    assert found[f"map@{ITEMS}[den=k,ties=expected,self=keep]"] < 0.5
    assert found["precision@r2[self=keep]"] == found["mrr[ties=expected,self=keep]"] == 1


def test_equal_similarities_are_in_database_order_whatever_the_blocks(split, monkeypatch):
    rows = np.array([5, 2, 5, 9, 2, 5])
    database = Part(split.database.videos.subset(rows), "d")
    twice = Split("s", split.train, Part(split.database.videos.subset(np.array([5])), "q"), database, split.relevance)
    for block in (1, 2, 100):
        monkeypatch.setattr(references, "BLOCK", block)
        monkeypatch.setattr(references, "READ", 4 * FRAMES * DIM * block)
        assert nearest_by_cosine(twice, np.array([0]), 3).tolist() == [[0, 2, 5]]


def test_a_large_split_is_ranked_for_a_fixed_sample_of_queries_and_says_how_sure_that_is(split, monkeypatch):
    whole = compute(split, (3,))
    assert (whole.queries, whole.total, whole.intervals) == (QUERIES, QUERIES, {})
    monkeypatch.setattr(references, "PRODUCTS", 8 * ITEMS * DIM)
    part, again = compute(split, (3,)), compute(split, (3,))
    assert part == again and part.queries == 8 and part.values["chance"] == whole.values["chance"]
    low, high = part.intervals["map@3[den=k,ties=expected,self=keep]"]
    assert low <= part.values["cosine"]["map@3[den=k,ties=expected,self=keep]"] <= high and low < high


def test_what_does_not_follow_from_the_nearest_items_is_left_out(split):
    found = compute(split, (1,)).values["cosine"]
    assert "precision@r2[self=keep]" not in found and "mrr[ties=expected,self=keep]" not in found
