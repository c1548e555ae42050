"""Worked examples, invariants and messages of evaluate and Scores."""

import math
import subprocess
import sys
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vhbench.errors import UsageError
from vhbench.scoring import DistanceCounts, Scores, count_distances, evaluate, record_metrics
from vhbench.scoring.counts import in_threads
from vhbench.scoring.curves import rank_grid

ALL_TIES = ("expected", "best", "worst", "index")


def codes_at(*distances, bits=8):
    """Codes at these distances of the all-zero code."""
    return np.arange(bits) < np.array(distances)[:, None]


def example():
    """One query; in order of distance: relevant | relevant, other (tied) | other | relevant."""
    return codes_at(0), codes_at(1, 2, 2, 3, 4), np.array([7]), np.array([7, 3, 7, 3, 7])


def random_inputs(seed=0, n=300, queries=40, bits=12, classes=5):
    rng = np.random.default_rng(seed)
    database, labels = rng.random((n, bits)) < 0.5, rng.integers(0, classes, n)
    self_index = rng.permutation(n)[:queries]
    return database[self_index], database, labels[self_index], labels, self_index


class TestWorkedExample:
    """AP by hand: the precisions at the relevant ranks are 1, then 2/2 or 2/3, then 3/5."""

    @pytest.mark.parametrize(
        ("ties", "total"),
        [("best", 1 + 1 + 3 / 5), ("worst", 1 + 2 / 3 + 3 / 5), ("expected", 1 + 5 / 6 + 3 / 5)],
    )
    @pytest.mark.parametrize(("den", "divisor"), [("k", 5), ("min", 3), ("r", 3)])
    def test_ap_at_5(self, ties, total, den, divisor):
        assert evaluate(*example()).map(5, den, ties) == pytest.approx(total / divisor, abs=1e-12)

    def test_cut_inside_a_tie(self):
        scores = evaluate(*example())
        assert scores.map(2) == pytest.approx((1 + 0.5 * 1) / 2)
        assert scores.map(2, "r") == pytest.approx((1 + 0.5 * 1) / 3)
        assert scores.precision(2) == pytest.approx(1.5 / 2)
        assert scores.recall(2) == pytest.approx(1.5 / 3)
        assert scores.recall(2, ties="worst") == pytest.approx(1 / 3)

    def test_database_order_puts_the_other_one_first(self):
        scores = evaluate(*example())
        assert scores.map(5, "hits", "index") == pytest.approx((1 + 2 / 3 + 3 / 5) / 3)
        assert scores.map(2, "hits", "index") == pytest.approx(1)
        assert scores.precision(2, "index") == pytest.approx(1 / 2)

    def test_dropping_the_self_match(self):
        scores = evaluate(*example(), self_index=np.array([0]))
        assert scores.map(4, "min", self_match="drop") == pytest.approx((1 / 2 * (1 + 1 / 2) + 2 / 4) / 2)
        assert scores.map(4, "min", "index", "drop") == pytest.approx((1 / 2 + 2 / 4) / 2)
        assert scores.recall(1, "best", "drop") == pytest.approx(1 / 2)

    def test_reciprocal_rank(self):
        """With the query's own item dropped, the first relevant one is tied with another item."""
        scores = evaluate(*example(), self_index=np.array([0]))
        assert [scores.mrr(ties) for ties in ALL_TIES] == [1.0] * 4
        dropped = [scores.mrr(ties, "drop") for ties in ("best", "worst", "expected", "index")]
        assert dropped == pytest.approx([1, 1 / 2, 3 / 4, 1 / 2])

    @pytest.mark.parametrize(("ties", "second"), [("best", 2), ("worst", 3), ("index", 3)])
    def test_ndcg(self, ties, second):
        """Relevant ones at ranks 1, 2 or 3, and 5."""
        gain = 1 + 1 / np.log2(second + 1) + 1 / np.log2(6)
        ideal = 1 + 1 / np.log2(3) + 1 / np.log2(4)
        scores = evaluate(*example())
        assert scores.ndcg(5, ties) == scores.value(f"ndcg@5[ties={ties}]") == pytest.approx(gain / ideal)
        assert scores.ndcg(50, ties) == pytest.approx(gain / ideal), "a list shorter than K just ends"
        assert scores.ndcg(2, ties) == pytest.approx((1 + (second == 2) / np.log2(3)) / (1 + 1 / np.log2(3)))

    def test_ndcg_in_the_expected_order(self):
        orders = [evaluate(*example()).ndcg(5, ties) for ties in ("best", "worst")]
        assert evaluate(*example()).ndcg(5) == pytest.approx(np.mean(orders))

    def test_precision_within_a_radius(self):
        scores = evaluate(*example(), self_index=np.array([0]))
        assert [scores.precision_within(r) for r in range(5)] == pytest.approx([0, 1, 2 / 3, 2 / 4, 3 / 5])
        assert scores.precision_within() == scores.value("precision@r2") == scores.precision_within(2)
        assert scores.precision_within(99) == pytest.approx(3 / 5), "a radius beyond the code length takes everything"
        assert [scores.precision_within(r, "drop") for r in (1, 2)] == pytest.approx([0, 1 / 2])

    def test_counts(self):
        counts = count_distances(*example())
        assert counts.items.tolist() == [[0, 1, 2, 1, 1, 0, 0, 0, 0]]
        assert counts.relevant.tolist() == [[0, 1, 1, 0, 1, 0, 0, 0, 0]]

    def test_curves(self):
        scores = evaluate(*example())
        by_rank = scores.precision_recall("rank")
        assert by_rank.columns.tolist() == ["rank", "recall", "precision"]
        assert by_rank["precision"].tolist() == pytest.approx([1, 1.5 / 2, 2 / 3, 2 / 4, 3 / 5])
        by_radius = scores.precision_recall("radius")
        assert by_radius.columns.tolist() == ["radius", "recall", "precision", "n_empty"]
        assert by_radius["recall"].tolist() == pytest.approx([0, 1 / 3, 2 / 3, 2 / 3, 1, 1, 1, 1, 1])
        assert np.isnan(by_radius["precision"][0])
        assert by_radius["precision"].tolist()[1:] == pytest.approx([1, 2 / 3, 2 / 4] + [3 / 5] * 5)
        assert by_radius["n_empty"].tolist() == [1] + [0] * 8

    def test_distances(self):
        pairs = evaluate(*example()).distances()
        assert pairs.columns.tolist() == ["distance", "relevant", "others"]
        assert pairs["relevant"].tolist() == [0, 1, 1, 0, 1, 0, 0, 0, 0]
        assert pairs["others"].tolist() == [0, 0, 1, 1, 0, 0, 0, 0, 0]


def test_a_perfect_ranking_scores_exactly_one():
    labels = np.repeat(np.arange(4), 30)
    codes = (np.arange(64) // 16) == labels[:, None]
    scores = evaluate(codes, codes, labels, labels)
    for k in (1, 7, 30):
        assert [scores.map(k, ties=ties) for ties in ALL_TIES] == [1.0] * 4
    assert scores.map(200, "min") == scores.map(200, "r") == 1.0
    assert [scores.ndcg(k, ties) for k in (1, 7, 30, 200) for ties in ALL_TIES] == [1.0] * 16
    assert [scores.mrr(ties) for ties in ALL_TIES] == [1.0] * 4 and scores.precision_within() == 1.0


def test_the_first_relevant_item_among_many_tied_ones():
    """Against the probability of each rank, counted in whole numbers: how many ways there are to place the others."""
    n = 5000
    codes = np.zeros((n, 8), bool)
    for relevant in (1, 2, 60):
        scores = evaluate(codes[:1], codes, np.array([0]), np.array([0] * relevant + [1] * (n - relevant)))
        first = [comb(n - i, relevant - 1) / comb(n, relevant) for i in range(1, n - relevant + 2)]
        expected = math.fsum(p / i for i, p in enumerate(first, start=1))
        assert scores.mrr() == pytest.approx(expected, rel=1e-12)
        assert (scores.mrr("best"), scores.mrr("worst")) == (1.0, 1 / (n - relevant + 1))


def test_a_query_with_nothing_in_the_radius_counts_as_zero_and_one_with_nothing_relevant_not_at_all():
    query, database = np.zeros((3, 8), bool), codes_at(0, 2, 3)
    query[1] = True  # far from everything
    scores = evaluate(query, database, np.array([0, 0, 9]), np.array([0, 1, 0]))
    assert scores.per_query("precision@r2").tolist() == pytest.approx([1 / 2, 0, np.nan], nan_ok=True)
    assert scores.precision_within(2) == pytest.approx(1 / 4)
    curve = scores.precision_recall("radius")
    assert (curve["precision"][2], curve["n_empty"][2]) == (pytest.approx(1 / 2), 1), "the curve leaves it out"


def test_equal_codes_give_the_base_rate():
    labels = np.arange(100) % 4
    codes = np.ones((100, 20), bool)
    scores = evaluate(codes, codes, labels, labels)
    assert scores.precision(17) == pytest.approx(0.25)
    assert scores.recall(17) == pytest.approx(0.17)
    assert scores.map(5, ties="best") == 1.0
    assert scores.map(5, ties="worst") == 0.0
    assert scores.precision_recall("rank")["precision"].tolist() == pytest.approx([0.25] * 100)


def test_a_database_shorter_than_k_just_ends():
    scores = evaluate(*example())
    assert scores.map(50, "k") == pytest.approx(scores.map(5, "k") * 5 / 50)
    assert scores.map(50, "min") == pytest.approx(scores.map(5, "min"))
    assert scores.precision(50) == pytest.approx(3 / 50)
    assert scores.recall(50) == 1.0


def test_queries_without_a_relevant_item_are_left_out_and_counted():
    codes = codes_at(0, 1, 2)
    scores = evaluate(codes, codes, np.array([0, 9, 1]), np.array([0, 1, 0]), self_index=np.array([0, 1, 2]))
    assert scores.n_queries == 3
    assert np.isnan(scores.ap(2)).tolist() == [False, True, False]
    assert scores.map(2) == pytest.approx(np.nanmean(scores.ap(2)))
    assert scores.n_scored() == 2
    assert scores.n_relevant().tolist() == [2, 0, 1]


def test_a_query_that_only_finds_itself_is_not_scored_when_dropped():
    codes, labels = codes_at(0, 1, 2), np.array([0, 1, 1])
    scores = evaluate(codes, codes, labels, labels, self_index=np.arange(3))
    assert (scores.n_scored("keep"), scores.n_scored("drop")) == (3, 2)
    assert np.isnan(scores.ap(5, self_match="drop")).tolist() == [True, False, False]


def test_a_video_without_labels_is_not_relevant_to_itself():
    codes, labels = codes_at(0, 1, 2), np.array([[0, 0], [1, 0], [1, 1]])
    scores = evaluate(codes, codes, labels, labels, self_index=np.arange(3))
    assert scores.counts.self_relevant.tolist() == [False, True, True]
    assert scores.n_relevant("keep").tolist() == [0, 2, 2]
    assert scores.n_relevant("drop").tolist() == [0, 1, 1]


def test_nobody_scored_is_not_a_number():
    scores = evaluate(codes_at(0), codes_at(1, 2), np.array([0]), np.array([1, 1]))
    assert np.isnan(scores.map(5))
    assert scores.precision_recall("rank")["precision"].isna().all()


def test_one_hot_labels_are_the_same_as_class_numbers():
    q, d, q_labels, d_labels, self_index = random_inputs()
    numbers = evaluate(q, d, q_labels, d_labels, self_index=self_index)
    for dtype in (bool, np.uint8, np.float32):
        hot = [np.eye(5, dtype=dtype)[x] for x in (q_labels, d_labels)]
        assert evaluate(q, d, *hot, self_index=self_index).record() == numbers.record()


def test_more_classes_than_a_word_holds():
    q, d, q_labels, d_labels, _ = random_inputs(classes=300)
    hot = [np.eye(300, dtype=bool)[x] for x in (q_labels, d_labels)]
    assert np.array_equal(count_distances(q, d, *hot).relevant, count_distances(q, d, q_labels, d_labels).relevant)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_order_of_the_database_matters_to_index_ties_only(seed):
    q, d, q_labels, d_labels, self_index = random_inputs(seed % 100)
    order = np.random.default_rng(seed).permutation(len(d))
    place = np.argsort(order)
    before = evaluate(q, d, q_labels, d_labels, self_index=self_index)
    after = evaluate(q, d[order], q_labels, d_labels[order], self_index=place[self_index])
    assert before.record() == after.record()
    for by in ("rank", "radius"):
        assert before.precision_recall(by, "drop").equals(after.precision_recall(by, "drop"))
    by_index = [scores.map(20, ties="index") for scores in (before, after)]
    assert before.map(20, ties="worst") <= min(by_index) <= max(by_index) <= before.map(20, ties="best")
    assert by_index[0] != by_index[1]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 99), st.lists(st.integers(1, 299), min_size=1, max_size=4, unique=True))
def test_shards_of_the_database_add_up(seed, cuts):
    q, d, q_labels, d_labels, self_index = random_inputs(seed)
    whole = count_distances(q, d, q_labels, d_labels, self_index=self_index)
    parts = []
    for start, stop in zip([0, *sorted(cuts)], [*sorted(cuts), len(d)], strict=True):
        inside = (self_index >= start) & (self_index < stop)
        parts.append(
            count_distances(
                q, d[start:stop], q_labels, d_labels[start:stop], self_index=np.where(inside, self_index - start, -1)
            )
        )
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    for name in ("items", "relevant", "self_distance", "self_relevant"):
        assert np.array_equal(getattr(total, name), getattr(whole, name))
    assert Scores(total).record() == evaluate(q, d, q_labels, d_labels, self_index=self_index).record()


def test_counts_that_do_not_belong_together_are_refused():
    counts = count_distances(*example(), self_index=np.array([0]))
    with pytest.raises(ValueError, match=r"shape \(1, 9\) and \(2, 9\)"):
        counts + DistanceCounts(np.zeros((2, 9), np.int64), np.zeros((2, 9), np.int64))
    with pytest.raises(ValueError, match="its own match in both"):
        counts + counts
    outside = counts + count_distances(*example())
    assert outside.self_distance.tolist() == [1]
    for ask in (lambda: Scores(counts).map(5, ties="index"), lambda: Scores(counts).mrr(ties="index")):
        with pytest.raises(ValueError, match="use evaluate"):
            ask()


def test_the_record_has_every_name_and_agrees_with_the_methods():
    q, d, q_labels, d_labels, self_index = random_inputs()
    scores = evaluate(q, d, q_labels, d_labels, ks=(3, 10), self_index=self_index)
    record = scores.record()
    assert list(record) == [str(metric) for metric in record_metrics((3, 10), in_database=True)]
    assert record["map@10[den=min,ties=expected,self=drop]"] == scores.map(10, "min", self_match="drop")
    assert record["recall@3[ties=expected,self=keep]"] == scores.recall(3) == scores.value("recall@3")
    assert scores.value("map@77") == scores.map(77)


ONE_MORE = """
import importlib
import numpy as np
from vhbench.scoring import metrics

def nearest(items, relevant, cut, order, values):
    for q in range(len(items)):
        t = np.argmax(items[q] > 0)
        values[q] = relevant[q, t] / items[q, t]

metrics.METRICS = {**metrics.METRICS, "nearest": metrics.Definition(("self",), nearest)}
names = importlib.reload(importlib.import_module("vhbench.scoring.names"))  # read again, as in a new process
from vhbench.scoring.scores import evaluate
codes, labels = np.array([[0, 0], [0, 0], [1, 0]], bool), np.array([5, 6, 5])
scores = evaluate(codes[:1], codes, labels[:1], labels, ks=(5,))
assert scores.record()["nearest[self=keep]"] == scores.value("nearest") == 0.5
assert [str(metric) for metric in names.recorded_metrics(scores.record())] == list(scores.record())
"""


def test_a_further_metric_is_added_in_one_place():
    subprocess.run([sys.executable, "-c", ONE_MORE], check=True)


def test_threads_and_parts_cover_the_range_once_and_pass_errors_on():
    seen = np.zeros(1000, int)

    def work(a, b):
        seen[a:b] += 1
        if b == 1000 and seen.max() > 1:
            raise RuntimeError("twice")

    in_threads(work, 1000, 7)
    in_threads(lambda a, b: None, 3)
    assert (seen == 1).all()
    with pytest.raises(RuntimeError, match="twice"):
        in_threads(work, 1000)


def test_rank_grid_is_dense_at_the_start_and_ends_at_the_end():
    assert rank_grid(3).tolist() == [1, 2, 3]
    grid = rank_grid(45_600)
    assert grid[:100].tolist() == list(range(1, 101))
    assert grid[-1] == 45_600
    assert (np.diff(grid) > 0).all()
    assert len(grid) <= 250


def test_dropping_is_defined_only_where_queries_are_in_the_database():
    scores = evaluate(*example())
    for ask in (
        lambda: scores.map(5, self_match="drop"),
        lambda: scores.precision_recall(self_match="drop"),
        lambda: scores.n_scored("drop"),
        lambda: scores.value("map@5[self=drop]"),
        lambda: scores.mrr(self_match="drop"),
        lambda: scores.precision_within(self_match="drop"),
    ):
        with pytest.raises(UsageError, match="only where queries sit in the database"):
            ask()


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda s: s.map(5, den="kk"), "Unknown denominator 'kk'"),
        (lambda s: s.map(5, ties="bset"), "Unknown order of ties 'bset': did you mean 'best'"),
        (lambda s: s.map(5, den="hits"), "den=hits is defined for ties=index only"),
        (lambda s: s.n_scored("no"), "Unknown self match 'no'"),
        (lambda s: s.precision_recall("ranks"), "Unknown curve 'ranks': did you mean 'rank'"),
        (lambda s: s.value("mop@5"), "Unknown metric 'mop'"),
        (lambda s: s.mrr("first"), "Unknown order of ties 'first'"),
        (lambda s: s.precision_within(-1), "the Hamming radius must be at least 0"),
    ],
)
def test_a_wrong_option_is_explained(ask, message):
    with pytest.raises(UsageError) as error:
        ask(evaluate(*example()))
    assert message in str(error.value)


@pytest.mark.parametrize("k", [0, -3, 2.5, True, "5"])
def test_k_is_a_positive_integer(k):
    for ask in (evaluate(*example()).map, evaluate(*example()).ndcg):
        with pytest.raises(ValueError, match="positive integer"):
            ask(k)
    with pytest.raises(ValueError, match="positive integer"):
        evaluate(*example(), ks=(5, k))


GOOD = {
    "query_codes": np.zeros((2, 8), bool),
    "database_codes": np.zeros((3, 8), bool),
    "query_labels": np.array([0, 1]),
    "database_labels": np.array([0, 1, 2]),
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query_codes": np.zeros((2, 8))}, "query_codes must be bool of shape (n, bits), not float64 of"),
        ({"database_codes": np.zeros(8, bool)}, "database_codes must be bool of shape (n, bits)"),
        ({"database_codes": np.zeros((0, 8), bool)}, "database_codes are empty"),
        ({"database_codes": np.zeros((3, 9), bool)}, "query_codes have 8 bits and database_codes 9."),
        ({"query_labels": np.array([0])}, "query_labels are 1 for 2 codes."),
        (
            {"query_labels": np.array([0.5, 1.0])},
            "query_labels holds 0.5 for video 0 (counted from 0): labels are whole",
        ),
        ({"query_labels": np.array(["a", "b"])}, "query_labels are class names and database_labels are class numbers"),
        ({"query_labels": np.array(["a", " "])}, "query_labels has no class name for video 1"),
        ({"query_labels": np.array([b"a", b"\xff"])}, "query_labels holds class names that are not UTF-8"),
        ({"query_labels": np.array([["a", "b"], ["a", "c"]])}, "query_labels holds texts of shape (2, 2)"),
        ({"query_labels": [[0, 1], [0]]}, "query_labels cannot be an array"),
        (
            {"query_labels": np.array([{}, {}])},
            "query_labels holds object of shape (2,): labels must be numbers or texts",
        ),
        ({"query_labels": np.array([1j, 2])}, "query_labels holds complex128 of shape (2,)"),
        ({"query_labels": np.zeros((2, 2, 2), int)}, "query_labels has shape (2, 2, 2): give class numbers (videos,)"),
        (
            {"query_labels": np.array([0, 2.0**60])},
            "for video 1 (counted from 0): labels are whole, not negative, and at",
        ),
        ({"database_labels": np.array([0, -1, 2])}, "database_labels holds -1 for video 1"),
        ({"database_labels": np.array([[0, 1, np.nan]] * 3)}, "database_labels holds nan for video 0"),
        (
            {"database_labels": np.eye(3)},
            "give both as class numbers (n,), both as class names (n,) or both as multi-hot",
        ),
        ({"query_labels": np.eye(2), "database_labels": np.eye(3)}, "query_labels have 2 classes and"),
        (
            {"query_labels": np.array([[1, 0], [4, 0]])},
            "query_labels is a matrix of shape (2, 2) that holds 1 and 4 beside",
        ),
        ({"self_index": np.array([0])}, "self_index must be integers of shape (2,), one per query"),
        ({"self_index": np.array([0.0, 1.0])}, "self_index must be integers"),
        ({"self_index": np.array([0, 3])}, "self_index must lie in -1..2"),
        ({"self_index": np.array([-2, 0])}, "but spans -2..0."),
    ],
)
def test_wrong_input_is_explained_in_one_sentence(change, message):
    inputs = GOOD | change
    with pytest.raises(ValueError) as error:
        evaluate(
            inputs["query_codes"],
            inputs["database_codes"],
            inputs["query_labels"],
            inputs["database_labels"],
            self_index=inputs.get("self_index"),
        )
    assert message in str(error.value)


def test_names_load_without_numba_and_scores_without_torch():
    code = (
        "import sys, vhbench.scoring as s; s.Metric.parse('map@5'); assert 'numba' not in sys.modules; "
        "s.evaluate; assert 'numba' in sys.modules and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
