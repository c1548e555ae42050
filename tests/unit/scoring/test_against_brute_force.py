"""Every number of vhbench.scoring against a slow, independent computation from its definition."""

import numpy as np
import pytest
from brute import Brute, n_orders, sampled
from sklearn.metrics import ndcg_score

from vhbench.scoring import Metric, count_distances, evaluate
from vhbench.scoring.kernel import histogram, lane_dtype

DENOMINATORS = ("k", "min", "r")
TIES = ("expected", "best", "worst", "index")


def random_case(seed):
    """Few short codes, so that ties abound; single or multi-hot labels, some items with none; some queries inside."""
    rng = np.random.default_rng(seed)
    bits, n, queries = (int(rng.integers(1, high)) for high in (7, 10, 6))
    codes = [rng.random((size, bits)) < rng.uniform(0.2, 0.8) for size in (queries, n)]
    classes = int(rng.integers(1, 5))
    if seed % 2:
        labels = [rng.integers(0, classes, size) for size in (queries, n)]
    else:
        labels = [rng.random((size, classes)) < 0.4 for size in (queries, n)]
    self_index = rng.integers(-1, n, queries)
    for q, row in enumerate(self_index):
        if row >= 0:
            codes[0][q] = codes[1][row]
            if rng.random() < 0.8:  # else the same video is labelled otherwise as a query
                labels[0][q] = labels[1][row]
    return *codes, *labels, self_index


@pytest.mark.parametrize("seed", range(60))
def test_every_convention_of_every_metric(seed):
    *inputs, self_index = random_case(seed)
    scores, brute = evaluate(*inputs, self_index=self_index), Brute(*inputs, self_index)
    for self_match in ("keep", "drop"):
        for k in (1, 2, 3, 5, 20):
            for ties in TIES:
                for den in DENOMINATORS + (("hits",) if ties == "index" else ()):
                    expected = brute.per_query("map", k, den, ties, self_match)
                    found = scores.ap(k, den, ties, self_match)
                    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)
                    assert found.dtype == np.float64
                    mean = np.mean(expected[~np.isnan(expected)]) if (~np.isnan(expected)).any() else np.nan
                    assert scores.map(k, den, ties, self_match) == pytest.approx(mean, abs=1e-9, nan_ok=True)
                for kind in ("precision", "recall", "ndcg"):
                    expected = brute.per_query(kind, k, None, ties, self_match)
                    found = scores.per_query(f"{kind}@{k}[ties={ties},self={self_match}]")
                    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)
        for ties in TIES:
            expected = brute.per_query("mrr", ties=ties, self_match=self_match)
            found = scores.per_query(f"mrr[ties={ties},self={self_match}]")
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
        for radius in range(8):
            found = scores.per_query(f"precision@r{radius}[self={self_match}]")
            np.testing.assert_allclose(found, brute.within(radius, self_match), rtol=0, atol=1e-12)
        assert scores.n_scored(self_match) == sum(r.any() for _, r in brute.lists(self_match))


@pytest.mark.parametrize("seed", range(20))
def test_curves(seed):
    *inputs, self_index = random_case(seed)
    scores, brute = evaluate(*inputs, self_index=self_index), Brute(*inputs, self_index)
    for self_match in ("keep", "drop"):
        if not scores.n_scored(self_match):
            continue
        by_rank = scores.precision_recall("rank", self_match)
        assert by_rank["rank"].tolist() == list(range(1, min(len(d) for d, _ in brute.lists(self_match)) + 1))
        for rank, recall, precision in by_rank[["rank", "recall", "precision"]].itertuples(index=False):
            assert recall == pytest.approx(np.nanmean(brute.per_query("recall", rank, self_match=self_match)), abs=1e-9)
            expected = np.nanmean(brute.per_query("precision", rank, self_match=self_match))
            assert precision == pytest.approx(expected, abs=1e-9)
        by_radius = scores.precision_recall("radius", self_match)
        bits = inputs[0].shape[1]
        np.testing.assert_allclose(
            by_radius[["radius", "recall", "precision", "n_empty"]].to_numpy(float),
            np.array(list(brute.by_radius(bits, self_match))),
            rtol=0, atol=1e-9,
        )  # fmt: skip
        pairs = scores.distances(self_match)
        lists = [(d, r) for d, r in brute.lists(self_match) if r.any()]
        for distance, found, others in pairs.itertuples(index=False):
            assert found == sum(int((r & (d == distance)).sum()) for d, r in lists)
            assert others == sum(int((~r & (d == distance)).sum()) for d, r in lists)


@pytest.mark.parametrize("seed", range(4))
def test_expected_is_the_mean_over_sampled_orders_where_they_are_too_many_to_enumerate(seed):
    rng = np.random.default_rng(seed)
    inputs = (rng.random((3, 6)) < 0.5, rng.random((200, 6)) < 0.5, rng.integers(0, 4, 3), rng.integers(0, 4, 200))
    scores, brute = evaluate(*inputs), Brute(*inputs)
    for q, (distance, relevant) in enumerate(brute.lists()):
        assert n_orders(distance, relevant) > 10**20
        for name in (
            "map@10[den=k]",
            "map@50[den=min]",
            "map@500[den=r]",
            "precision@20",
            "ndcg@20",
            "ndcg@500",
            "mrr",
        ):
            asked = Metric.parse(name)
            mean, error = sampled(asked.kind, distance, relevant, asked.k, asked.den, 700, rng)
            assert scores.per_query(name)[q] == pytest.approx(mean, abs=5 * error + 1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_ndcg_is_that_of_scikit_learn_which_averages_over_ties(seed):
    rng = np.random.default_rng(seed)
    inputs = (rng.random((20, 10)) < 0.5, rng.random((400, 10)) < 0.5, rng.integers(0, 7, 20), rng.integers(0, 7, 400))
    scores, brute = evaluate(*inputs), Brute(*inputs)
    for k in (1, 20, 100, 400):
        expected = [ndcg_score(brute.relevant[q : q + 1], -brute.distance[q : q + 1], k=k) for q in range(20)]
        np.testing.assert_allclose(scores.per_query(f"ndcg@{k}"), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("bits", [1, 2, 16, 31, 32, 33, 63, 64, 65, 127, 128, 129, 511, 512])
@pytest.mark.parametrize("multi_hot", [False, True])
def test_counts_at_every_code_length(bits, multi_hot):
    rng = np.random.default_rng(bits)
    codes = [rng.random((size, bits)) < rng.uniform(0.05, 0.95, bits) for size in (17, 1500)]
    codes[1][0], codes[1][1] = ~codes[0][0], codes[0][0]  # distances `bits` and 0
    labels = [rng.random((size, 90)) < 0.03 if multi_hot else rng.integers(0, 3, size) for size in (17, 1500)]
    counts = count_distances(*codes, *labels)
    distance = (codes[0][:, None] != codes[1]).sum(-1)
    relevant = (labels[0].astype(int) @ labels[1].T.astype(int) > 0) if multi_hot else labels[0][:, None] == labels[1]
    for q in range(17):
        assert counts.items[q].tolist() == np.bincount(distance[q], minlength=bits + 1).tolist()
        assert counts.relevant[q].tolist() == np.bincount(distance[q][relevant[q]], minlength=bits + 1).tolist()


@pytest.mark.parametrize("bits", [16, 32, 64, 70])
@pytest.mark.parametrize("n", [1, 511, 512, 1024, 1025, 32_768, 32_769, 65_537])
def test_counts_at_the_edges_of_blocks_and_tiles(bits, n):
    """Codes all equal put every item into one counter, the fullest it can get."""
    rng = np.random.default_rng(n)
    lane = lane_dtype(bits)
    words = -(-bits // (8 * lane.itemsize))
    database = np.full((words, n), rng.integers(0, 2**bits if bits < 64 else 2**63), lane)
    if words == 2:
        database[1] = rng.integers(0, 2 ** (bits - 64))
    if n % 2:
        database[0, :: max(1, n // 7)] ^= lane.type(1)
    queries = np.stack([database[:, 0], database[:, -1]])
    out = np.zeros((2, bits + 1), np.int64)
    histogram(queries, database, bits, out)
    for q in range(2):
        differing = (queries[q][:, None] ^ database).T.copy().view(np.uint8)
        distance = np.unpackbits(differing, axis=1).sum(axis=1, dtype=np.int64)
        assert out[q].tolist() == np.bincount(distance, minlength=bits + 1).tolist()


def test_counts_of_more_queries_than_a_tile():
    rng = np.random.default_rng(0)
    codes, labels = rng.random((1300, 24)) < 0.5, rng.integers(0, 2, 1300)
    counts = count_distances(codes, codes, labels, labels)
    distance = (codes[:, None] != codes).sum(-1)
    same = labels[:, None] == labels
    for t in range(25):
        assert np.array_equal(counts.items[:, t], (distance == t).sum(1))
        assert np.array_equal(counts.relevant[:, t], ((distance == t) & same).sum(1))
