"""From records to rows: which runs are averaged, how they are labelled, and in which order they stand."""

import statistics

import pytest

from vhbench.errors import UsageError
from vhbench.report.rows import rows
from vhbench.runs.groups import Choice
from vhbench.runs.store import Store

DIGESTS = dict.fromkeys(("train", "query", "database", "relevance"), "0" * 64)


@pytest.fixture
def found(out):
    def read(**choice):
        return rows(Store(out).records()[0], Choice(**choice))

    return read


def test_a_row_is_one_number_with_all_that_names_it(write_run, found):
    for seed, value in ((2, 0.2), (10, 0.4), (1, 0.6)):
        write_run(seed=seed, value=value)
    (row,) = found()
    assert (row.protocol, row.split, row.method, row.label, row.bits) == ("toy", "toy", "itq", "itq", 16)
    assert row.seeds == (1, 2, 10) and row.metric == "map@20[den=k,ties=expected,self=keep]"
    assert row.value == pytest.approx(0.4) and row.sd == pytest.approx(statistics.stdev([0.2, 0.4, 0.6]))
    assert (row.synthetic, row.queries) == (False, 11)
    assert row.to_json()["ci"] is None and row.to_json()["seeds"] == [1, 2, 10]


def test_only_finished_runs_count(write_run, found):
    write_run(seed=0, value=0.5)
    write_run(seed=1, value=0.9, status="failed", reason="it broke")
    (row,) = found()
    assert (row.value, row.seeds) == (0.5, (0,))


@pytest.mark.parametrize(
    ("changes", "label"),
    [
        ({}, "uvvh"),
        ({"params": {"epochs": 80, "lr": 1e-4}, "changed": {"lr": 1e-4}}, "uvvh [lr=0.0001]"),
        ({"budget": {"epochs": 20, "videos": None}}, "uvvh [quick]"),
        ({"budget": {"epochs": 12, "videos": None}}, "uvvh [12 epochs]"),
        ({"precision": "bf16"}, "uvvh [bf16]"),
        (
            {"changed": {"lr": 1e-3, "epochs": 80}, "budget": {"epochs": 1, "videos": 256}, "precision": "bf16"},
            "uvvh [lr=0.001, epochs=80, smoke, bf16]",
        ),
    ],
)
def test_a_label_says_everything_that_is_not_the_default(write_run, found, changes, label):
    write_run("uvvh", **{"params": {"epochs": 80, "lr": 1e-3}, "budget": {"epochs": 80, "videos": None}, **changes})
    (row,) = found()
    assert (row.method, row.label) == ("uvvh", label)


def test_labels_that_would_be_alike_say_in_what_the_runs_differ(write_run, found):
    """Defaults change with the years, and so do the hyper-parameters that there are."""
    for bits in (16, 32):
        write_run("uvvh", bits, params={"lr": 0.1, "depth": 2}, value=0.1)
    write_run("uvvh", 16, params={"lr": 0.2, "depth": 2}, value=0.2)
    write_run("uvvh", 16, params={"lr": 0.2, "depth": 2, "width": 8}, value=0.3)
    labels = {(row.label, row.bits): row.value for row in found()}
    assert labels == {
        ("uvvh [lr=0.1, width=None]", 16): 0.1,
        ("uvvh [lr=0.1, width=None]", 32): 0.1,
        ("uvvh [lr=0.2, width=None]", 16): 0.2,
        ("uvvh [lr=0.2, width=8]", 16): 0.3,
    }


def test_no_two_rows_have_the_same_name(write_run, found):
    for protocol in ("a", "b"):
        for params in ({"lr": 1}, {"lr": 2}):
            for precision in ("float32", "bf16"):
                for videos in (None, 256):
                    budget = {"epochs": None, "videos": videos}
                    write_run("m", params=params, precision=precision, budget=budget, protocol=protocol)
    names = [(row.protocol, row.split, row.label, row.bits, row.metric) for row in found()]
    assert len(names) == len(set(names)) == 16


def test_rows_stand_by_protocol_main_split_first_then_method_and_length(write_run, found):
    for method in ("lsh", "itq"):
        for bits in (128, 16):
            write_run(method, bits, params={}, splits={"toy": DIGESTS, "a-shift": DIGESTS})
    write_run("itq", protocol="another", params={})
    keys = [(row.protocol, row.split, row.method, row.bits) for row in found()]
    order = [("itq", 16), ("itq", 128), ("lsh", 16), ("lsh", 128)]
    assert keys == [("another", "another", "itq", 16)] + [("toy", s, *key) for s in ("toy", "a-shift") for key in order]
    asked = [row.method for row in found(methods=("lsh", "itq"), protocols=("toy",))]
    assert asked == ["lsh", "lsh", "itq", "itq"] * 2


def test_dropped_self_matches_have_their_own_number_of_queries(write_run, found, out):
    queries = {"toy": {"total": 12, "scored": 11, "scored_without_self": 9, "not_in_database": 0}}
    scores = {"map@20[den=k,ties=expected,self=keep]": 0.5, "map@20[den=min,ties=expected,self=drop]": 0.4}
    write_run(queries=queries, scores=scores)
    (kept,), (dropped,) = found(), found(convention="strict")
    assert (kept.queries, kept.value) == (11, 0.5)
    assert (dropped.queries, dropped.value) == (9, 0.4)


def test_names_that_no_run_has_are_refused(write_run, found):
    write_run()
    for choice, message in (
        ({"protocols": ("tyo",)}, "did you mean 'toy'"),
        ({"methods": ("itg",)}, "did you mean 'itq'"),
        ({"bits": (8,)}, "codes of 8 bits; there are 16"),
        ({"metrics": ("map@7",)}, "map@7 is not recorded for toy; recorded are map@5, map@20, precision@5"),
        ({"metrics": ("mab@5",)}, "metric 'mab'"),
        ({"convention": "loose"}, "convention 'loose'"),
    ):
        with pytest.raises(UsageError, match=message):
            found(**choice)


def test_a_metric_is_averaged_over_the_runs_that_have_recorded_it(write_run, found, caplog):
    """Runs of an older vhbench lack what this one records."""
    mrr = "mrr[ties=expected,self=keep]"
    for seed, scores in ((0, {}), (1, {mrr: 0.25}), (2, {mrr: 0.75})):
        write_run(seed=seed, scores={"map@20[den=k,ties=expected,self=keep]": 0.5, **scores})
    write_run("lsh", params={}, scores={"map@20[den=k,ties=expected,self=keep]": 0.5})
    (row,) = found(metrics=("mrr",))
    assert (row.method, row.seeds, row.value, row.metric) == ("itq", (1, 2), 0.5, mrr)
    assert caplog.messages == ["left out: mrr is not recorded for 2 of 4 runs on toy"]
    assert [row.seeds for row in found()] == [(0, 1, 2), (0,)]


@pytest.mark.parametrize(
    ("metric", "advice"),
    [
        ("mrr", "mrr is not recorded for toy; recorded are map@5, map@20. `vhbench rescore` adds it"),
        ("ndcg@20[ties=expected]", "`vhbench rescore` adds it"),
        ("ndcg@7", "`vhbench rescore --ks 5,7,20` adds it"),
        ("mrr[self=drop]", "recorded are map@5, map@20."),  # queries are not in the database
        ("map@20[ties=index]", "recorded are map@5, map@20."),
    ],
)
def test_what_is_not_recorded_comes_with_what_adds_it(write_run, found, metric, advice):
    write_run(scores=dict.fromkeys((f"map@{k}[den=k,ties=expected,self=keep]" for k in (20, 5)), 0.5))
    with pytest.raises(UsageError) as error:
        found(metrics=(metric,))
    assert advice in str(error.value)
    assert ("rescore" in str(error.value)) == ("rescore" in advice)


def test_no_records_give_no_rows_but_wrong_words_are_still_refused(found):
    assert found() == []
    with pytest.raises(UsageError, match="convention"):
        found(convention="loose")


def test_a_row_is_stale_if_any_of_its_runs_is_and_only_where_the_source_is_known(write_run, out):
    write_run(seed=0, fingerprint="today's")
    write_run(seed=1, fingerprint="older")
    write_run(bits=32, fingerprint="today's")
    write_run("theirs", fingerprint="older")
    found = rows(Store(out).records()[0], Choice(), {"itq": "today's"})
    assert [(row.method, row.bits, row.stale) for row in found] == [
        ("itq", 16, True), ("itq", 32, False), ("theirs", 16, False),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"version": 2}, {"version: 2, not 1", "version: 1, not 2"}),
        ({"splits": {"toy": DIGESTS, "odd": DIGESTS}}, {"splits: toy, odd, not toy", "splits: toy, not toy, odd"}),
        *(
            (
                {"splits": {"toy": {**DIGESTS, role: "1" * 64}}},
                {f"{role} of split toy: {a * 8}, not {b * 8}" for a, b in ("01", "10")},
            )
            for role in DIGESTS
        ),
    ],
)
def test_data_of_one_name_say_in_what_they_differ_first(write_run, found, changes, said):
    write_run()
    write_run("lsh", **changes)
    assert {row.differs.partition(" as in toy (data ")[0] for row in found()} == said
    assert all(not row.differs for row in found(methods=("itq",)))
