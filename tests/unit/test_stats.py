"""Intervals and tests keep what they promise, by simulation; Holm's correction against its definition."""

import itertools

import numpy as np
import pytest
from scipy.stats import binom, permutation_test

from vhbench.stats import (
    bootstrap_differences,
    bootstrap_interval,
    bootstrap_intervals,
    holm,
    sign_flip,
    sign_flip_pairs,
)

ROUNDS, QUERIES = 30, 100  # a round: data sets that share their random draws, as the columns of a table do
DATA_SETS = 100


def expected(rate):
    """Return the bounds of a count of ROUNDS * DATA_SETS trials that chance keeps to in all but one of 1,000 cases."""
    low, high = binom.interval(0.999, ROUNDS * DATA_SETS, rate)
    return range(int(low), int(high) + 1)


def ap_like(rng):
    """Draw average precisions: much at 0, some at 1, the rest in between."""
    return np.clip(rng.normal(0.4, 0.4, size=(QUERIES, DATA_SETS)), 0, 1)


def test_intervals_hold_the_true_mean_as_often_as_they_say():
    rng = np.random.default_rng(1)
    x = np.clip(rng.normal(0.4, 0.4, size=10**6), 0, 1)
    covered = 0
    for round_ in range(ROUNDS):
        low, high = bootstrap_intervals(ap_like(rng), resamples=1000, seed=round_)
        covered += int(((low <= x.mean()) & (x.mean() <= high)).sum())
    assert covered in expected(0.95)


def test_methods_that_are_alike_differ_significantly_in_a_twentieth_of_all_cases():
    rng = np.random.default_rng(2)
    rejected = 0
    for round_ in range(ROUNDS):
        differences = ap_like(rng) - ap_like(rng)
        values = np.hstack([differences, np.zeros((QUERIES, 1))])
        p = sign_flip_pairs(values, [(i, DATA_SETS) for i in range(DATA_SETS)], resamples=999, seed=round_)
        rejected += int((p <= 0.05).sum())
    assert rejected in expected(0.05)


@pytest.mark.parametrize(
    "differences",
    [
        [0.1, 0.2, 0.3, -0.05, 0.4, 0.01, 0.2, -0.3],
        [0.25, 0.25, 0.25, 0.25, -0.25, 0.25, 0.0, 0.0],  # ties: many choices of signs give the same sum
        [0.1] * 3 + [0.3, -0.2, 0.1],  # ties that are exact on paper, and 0.1 + 0.2 != 0.3 in binary
        [0.5, -0.5, 0.25, -0.25],
    ],
)
def test_p_is_near_the_one_that_all_choices_of_signs_give(differences):
    n = len(differences)
    observed = abs(sum(differences))
    signs = np.array(list(itertools.product((-1, 1), repeat=n)))
    exact = np.mean(np.abs(signs @ differences) >= observed - 1e-9)
    low, high = binom.interval(0.9999, 10_000, exact)
    assert low <= sign_flip(np.array(differences)) * 10_001 - 1 <= high


def test_p_is_near_scipys_for_unequal_methods():
    rng = np.random.default_rng(3)
    differences = rng.normal(0.1, 0.5, size=60)
    other = permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=9_999, rng=np.random.default_rng(4)
    )
    assert 0.01 < other.pvalue < 0.9
    assert sign_flip(differences) == pytest.approx(other.pvalue, abs=4 * np.sqrt(2 * 0.25 / 10_000))


def test_p_is_never_zero_and_one_where_nothing_differs():
    assert sign_flip(np.ones(200), resamples=999) == 1 / 1000
    assert sign_flip(np.zeros(200), resamples=999) == 1
    values = np.random.default_rng(5).random((50, 1)) * np.ones((1, 3))
    assert sign_flip_pairs(values, [(0, 1), (2, 0)], resamples=99).tolist() == [1, 1]


def test_the_same_seed_gives_the_same_and_another_one_another():
    values = np.random.default_rng(6).normal(0.05, 0.3, size=80)
    for function in (bootstrap_interval, sign_flip):
        found = [function(values, resamples=500, seed=seed) for seed in (0, 0, 1, 2, 3)]
        assert found[0] == found[1] and len(set(found)) > 2


def test_a_further_method_changes_no_other_interval_and_no_other_p():
    values = np.random.default_rng(8).random((90, 5))
    more = np.hstack([np.random.default_rng(9).random((90, 1)), values])
    assert (sign_flip_pairs(values, [(0, 1), (2, 4)]) == sign_flip_pairs(more, [(1, 2), (3, 5)])).all()
    assert sign_flip_pairs(values, [(2, 4)])[0] == sign_flip(values[:, 2] - values[:, 4])
    np.testing.assert_allclose(
        bootstrap_intervals(more, resamples=500)[:, 1:], bootstrap_intervals(values, resamples=500), rtol=1e-12
    )
    np.testing.assert_allclose(
        bootstrap_intervals(values, resamples=500)[:, 3], bootstrap_interval(values[:, 3], resamples=500), rtol=1e-12
    )


def test_neither_depends_on_the_order_of_a_pair():
    values = np.random.default_rng(10).random((70, 2))
    forth, back = sign_flip_pairs(values, [(0, 1), (1, 0)])
    assert forth == back


def test_intervals_are_wider_at_a_higher_level_and_lie_around_the_mean():
    values = np.random.default_rng(11).random(100)
    (a, b), (c, d) = (bootstrap_interval(values, level=level) for level in (0.99, 0.5))
    assert a < c < values.mean() < d < b
    assert b - a == pytest.approx(2 * 2.576 * values.std() / 10, rel=0.1)


def test_work_in_blocks_gives_the_same_as_at_once(monkeypatch):
    values = np.random.default_rng(12).random((33, 2))

    def both():
        return bootstrap_interval(values[:, 0], resamples=500), sign_flip(values[:, 0] - values[:, 1], resamples=500)

    at_once = both()
    monkeypatch.setattr("vhbench.stats.BLOCK", 1000)
    in_blocks = both()
    assert in_blocks == (pytest.approx(at_once[0], rel=1e-12), at_once[1])


@pytest.mark.parametrize("values", [[], [0.1, np.nan], [[0.1, 0.2]]])
def test_what_has_no_mean_is_refused(values):
    for function in (bootstrap_interval, sign_flip):
        with pytest.raises(ValueError, match="values"):
            function(np.array(values))


def test_impossible_settings_are_refused():
    with pytest.raises(ValueError, match="level"):
        bootstrap_interval(np.ones(3), level=95)
    with pytest.raises(ValueError, match="resamples"):
        sign_flip(np.ones(3), resamples=0)


def rejected_step_by_step(p, alpha):
    """Holm 1979, Sec. 3: hold the smallest p against alpha / m, the next against alpha / (m - 1), ...; stop at one."""
    left, found = set(range(len(p))), set()
    while left:
        smallest = min(left, key=lambda i: p[i])
        if p[smallest] > alpha / len(left):
            break
        left.remove(smallest)
        found.add(smallest)
    return found


def test_holm_rejects_what_the_procedure_step_by_step_rejects():
    rng = np.random.default_rng(13)
    for _ in range(300):
        p = np.round(rng.random(rng.integers(1, 12)) ** 4, 3)  # with ties and zeros among them
        adjusted = holm(p)
        for alpha in (0.01, 0.05, 0.1, 0.333):
            assert {i for i, value in enumerate(adjusted) if value <= alpha} == rejected_step_by_step(p, alpha)


def test_holm_gives_the_numbers_of_rs_p_adjust():
    """R: p.adjust(c(0.01, 0.02, 0.03, 0.04, 0.05), "holm"); p.adjust(c(0.8, 0.01, 0.03, 0.9), "holm")."""
    np.testing.assert_allclose(holm([0.01, 0.02, 0.03, 0.04, 0.05]), [0.05, 0.08, 0.09, 0.09, 0.09])
    np.testing.assert_allclose(holm([0.8, 0.01, 0.03, 0.9]), [1, 0.04, 0.09, 1])
    assert holm([]).tolist() == []


def test_intervals_of_differences_are_paired():
    rng = np.random.default_rng(5)
    values = ap_like(rng)[:, :3]
    pairs = [(0, 1), (1, 0), (2, 1)]
    found = bootstrap_differences(values, pairs)
    for (a, b), ends in zip(pairs, found.T, strict=True):
        assert tuple(ends) == pytest.approx(bootstrap_interval(values[:, a] - values[:, b]), abs=1e-12)
    close = np.column_stack([values[:, 0], values[:, 0] + 0.01])
    low, high = bootstrap_differences(close, [(1, 0)])[:, 0]
    assert low == pytest.approx(0.01) and high == pytest.approx(0.01), "what all queries share is no uncertainty"
    with pytest.raises(ValueError, match="level"):
        bootstrap_differences(values, pairs, level=1)
