"""Intervals and tests of rows: what is paired with what, what is corrected for, and what is said where it cannot be."""

import numpy as np
import pytest

from vhbench.errors import UsageError
from vhbench.report.rows import rows
from vhbench.report.significance import with_statistics
from vhbench.report.wins import wins
from vhbench.runs.groups import Choice, groups
from vhbench.runs.store import Store
from vhbench.stats import bootstrap_interval, holm, sign_flip

MAP = "map@20[den=k,ties=expected,self=keep]"
N = 40


@pytest.fixture
def values():
    """AP of 40 queries by method, code length and seed; the last query has no relevant video."""

    def make(method, bits=16, seed=0):
        rng = np.random.default_rng([bits, seed, *method.encode()])
        centre = {"itq": 0.5, "pcah": 0.5, "lsh": 0.3}.get(method, 0.6)
        ap = np.append(rng.uniform(centre - 0.2, centre + 0.2, N - 1), np.nan)
        return ap.astype(np.float32)

    return make


@pytest.fixture
def write(write_run, values):
    """Write a run with its values; `stored` replaces what is written query by query."""

    def write(method, bits=16, seed=0, stored=None, **changes):
        ap = values(method, bits, seed)
        score = float(np.nanmean(ap.astype(float)))
        folder = write_run(method, bits, seed, score, **{"params": {}, **changes})
        np.savez(folder / "per_query.npz", **{MAP: ap if stored is None else stored})
        return folder

    return write


@pytest.fixture
def found(out):
    def read(*, metrics=("map@20",), **options):
        records, choice = Store(out).records()[0], Choice(metrics=metrics)
        told = with_statistics(rows(records, choice), groups(records, choice), **options)
        return {(row.label, row.bits): row for row in told}

    return read


def test_values_of_a_query_are_averaged_over_seeds_and_unscored_queries_are_left_out(write, values, found):
    for seed in (0, 1, 2):
        write("itq", seed=seed)
    write("lsh")
    told = found(ci=True, baseline="itq")
    mean = np.mean([values("itq", seed=seed).astype(float) for seed in (0, 1, 2)], axis=0)[:-1]
    assert told["itq", 16].ci == pytest.approx(bootstrap_interval(mean), rel=1e-12)
    (test,) = told["lsh", 16].tests
    differences = values("lsh").astype(float)[:-1] - mean
    assert (test.against, test.p_raw) == ("itq", sign_flip(differences))
    assert test.difference == pytest.approx(differences.mean())
    assert test.significant and told["itq", 16].tests == ()


def test_without_a_wish_nothing_is_read_or_changed(write, found):
    (write("itq") / "per_query.npz").write_text("not an archive")
    assert found()["itq", 16].ci is None


def test_corrections_are_over_the_tests_of_a_column(write, found):
    for bits in (16, 32):
        for method in ("itq", "pcah", "lsh", "uvvh"):
            write(method, bits)
    told = found(pairs=True)
    for bits in (16, 32):
        tests = {}
        for (label, length), row in told.items():
            if length == bits:
                tests |= {frozenset((label, test.against)): test for test in row.tests}
                assert {test.against for test in row.tests} == {"itq", "pcah", "lsh", "uvvh"} - {label}
        assert len(tests) == 6
        adjusted = holm([test.p_raw for test in tests.values()])
        assert [test.p for test in tests.values()] == pytest.approx(adjusted.tolist())
        assert all(test.significant == (test.p <= 0.05) for test in tests.values())
    both = [next(t for t in told[a, 16].tests if t.against == b) for a, b in (("itq", "lsh"), ("lsh", "itq"))]
    assert both[0].difference == -both[1].difference > 0 and both[0].p == both[1].p


def test_a_further_method_or_length_leaves_raw_p_and_intervals_alone(write, found):
    for method in ("itq", "lsh", "pcah"):
        write(method)
    before = found(ci=True, baseline="itq")
    write("uvvh")
    write("lsh", 32)
    write("itq", 32)
    after = found(ci=True, baseline="itq")
    for key, row in before.items():
        assert row.ci == pytest.approx(after[key].ci, rel=1e-12)
        assert [test.p_raw for test in row.tests] == [test.p_raw for test in after[key].tests]


def test_tests_stay_within_a_protocol_and_its_data(write, found, caplog):
    write("itq")
    write("lsh")
    write("lsh", 32, version=2)
    told = found(baseline="itq")
    assert [test.against for test in told["lsh", 16].tests] == ["itq"] and told["lsh", 32].tests == ()
    (message,) = caplog.messages
    assert message.startswith("not tested, as itq was not run there: toy (data ") and "version: 2, not 1" in message


def test_a_baseline_is_a_method_or_a_label(write, found):
    write("itq", params={"iterations": 3}, changed={"iterations": 3})
    write("lsh")
    assert found(baseline="itq")["lsh", 16].tests[0].against == "itq [iterations=3]"
    write("itq", params={"iterations": 4}, changed={"iterations": 4})
    with pytest.raises(UsageError, match=r"several rows: write 'itq \[iterations=3\]' or 'itq \[iterations=4\]'"):
        found(baseline="itq")
    assert found(baseline="itq [iterations=4]")["lsh", 16].tests[0].against == "itq [iterations=4]"


def test_lengths_that_the_baseline_lacks_are_named(write, found, caplog):
    write("itq")
    write("lsh")
    write("lsh", 32)
    assert found(baseline="itq")["lsh", 32].tests == ()
    assert caplog.messages == ["not tested, as itq has no such value: lsh, 32 bits, map@20 on toy"]


def test_a_metric_that_is_not_recorded_query_by_query_is_named(write, found, caplog):
    write("itq")
    assert found(ci=True, metrics=["precision@5"])["itq", 16].ci is None
    said = "without interval and test, as it is not recorded query by query"
    assert caplog.messages == [f"{said}: precision@5[ties=expected,self=keep]"]


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda path: path.unlink(), "is missing"),
        (lambda path: path.write_bytes(b""), "is damaged"),
        (lambda path: path.write_bytes(path.read_bytes()[:-30]), "is damaged"),
        (lambda path: path.write_text("not an archive"), "is damaged"),
        (lambda path: np.savez(path, **{MAP: np.full(N, 0.9, np.float32)}), "does not belong to its run.json"),
    ],
)
def test_a_damaged_file_costs_its_own_row_only_and_is_named(write, found, caplog, damage, words):
    write("lsh")
    write("pcah")
    folder = write("itq")
    damage(folder / "per_query.npz")
    told = found(ci=True, pairs=True)
    assert told["itq", 16].ci is None and told["itq", 16].tests == ()
    assert told["lsh", 16].ci and [test.against for test in told["lsh", 16].tests] == ["pcah"]
    (message,) = caplog.messages
    assert str(folder / "per_query.npz") in message and words in message
    assert message.endswith("itq, 16 bits, map@20 on toy")


def test_rows_that_scored_other_queries_are_not_paired(write, values, found, caplog):
    write("itq")
    write("lsh", stored=np.roll(values("lsh"), 1))
    assert found(baseline="itq")["lsh", 16].tests == ()
    assert "not tested against rows that scored other queries: lsh, 16 bits, map@20 on toy" in caplog.messages


def test_undefined_values_have_no_interval(write_run, write, found):
    write("itq")
    write_run("lsh", value=None, params={})
    told = found(ci=True)
    assert told["lsh", 16].ci is None and told["itq", 16].ci


def test_too_many_tests_for_any_to_be_significant_are_said(write, found, caplog, monkeypatch):
    monkeypatch.setattr("vhbench.stats.RESAMPLES", 39)
    for method in ("itq", "lsh", "pcah"):
        write(method)
    found(pairs=True)
    said = "3 tests are too many for any to be significant: choose fewer methods"
    assert caplog.messages == [f"{said}: {MAP}, 16 bits"]


def test_differences_have_paired_intervals_which_mirror_each_other(write, values, found):
    for method in ("itq", "lsh"):
        write(method)
    told = found(pairs=True, differences=True)
    (test,), (other,) = told["itq", 16].tests, told["lsh", 16].tests
    differences = (values("itq").astype(float) - values("lsh").astype(float))[:-1]
    assert test.ci == pytest.approx(bootstrap_interval(differences), abs=1e-12)
    assert other.ci == (-test.ci[1], -test.ci[0]) and test.ci[0] < test.difference < test.ci[1]
    assert found(baseline="itq")["lsh", 16].tests[0].ci is None


def test_wins_pool_the_code_lengths_of_a_query_before_they_test(write, values, out):
    for method in ("itq", "lsh", "pcah"):
        for bits in (16, 32):
            for seed in (0, 1):
                write(method, bits, seed)
    write("itq", 64)
    table = wins(Store(out).records()[0], Choice())
    pooled = {
        method: np.mean([values(method, bits, seed).astype(float)[:-1] for bits in (16, 32) for seed in (0, 1)], axis=0)
        for method in ("itq", "lsh", "pcah")
    }
    assert len(table) == 3 and set(table["bits"]) == {"16 32"} and set(table["queries"]) == {N - 1}
    p = [sign_flip(pooled[row.label] - pooled[row.against]) for row in table.itertuples()]
    assert table["p_raw"].tolist() == p and table["p"].tolist() == holm(p).tolist()
    for row in table.itertuples():
        difference = pooled[row.label] - pooled[row.against]
        assert row.difference == pytest.approx(difference.mean()) and row.difference >= 0
        assert (row.ci_low, row.ci_high) == pytest.approx(bootstrap_interval(difference), abs=1e-12)


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ({"methods": ("itq",)}, "--wins compares methods, and there is only itq on toy"),
        ({}, "--wins needs a code length that all methods have on toy"),
        ({"bits": (16,), "metrics": ("mrr",)}, "mrr.* is not recorded so: choose a map"),
    ],
)
def test_wins_that_make_no_sense_are_refused(write, out, choice, words):
    write("itq")
    write("pcah")
    write("lsh", 32)
    with pytest.raises(UsageError, match=words):
        wins(Store(out).records()[0], Choice(**choice))
