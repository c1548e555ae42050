"""What the report page shows of a protocol of several splits: first the mean as `vhbench compare` shows it."""

import math
import re

import pandas as pd
import pytest
from made_runs import Made, made_split, made_study, make_run

import vhbench
from vhbench.plugins.registry import Registry
from vhbench.report.comparison import comparison
from vhbench.report.page.gather import gather
from vhbench.runs.groups import Choice
from vhbench.runs.store import Store

METRICS = ["map@5", "map@20", "recall@5", "ndcg@20", "mrr", "precision@r2"]


def fold_run(out, number, method="itq", bits=16, seed=0, **changes):
    made, data = made_split(number)
    return make_run(out, made, method, bits, seed, noise=0.2 + number / 20, data=data, **changes)


def tuned(name):
    return f"tuned on held-out training videos: by their loss, without labels, best of 9 trials of study {name}"


def page_of(out, *protocols):
    return gather(Store(out), Choice(protocols), Registry(), {}, None, out.parent)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Runs of two seeds on three splits, of another method on two of them, and of a protocol of one split."""
    out = tmp_path_factory.mktemp("folds") / "results"
    for number in (1, 2, 3):
        for seed in (0, 1):
            fold_run(out, number, seed=seed, tuned=made_study("itq", f"s{number}"))
        if number != 2:
            fold_run(out, number, "lsh", 32)
    make_run(out, Made(), bits=8)
    return out


@pytest.fixture(scope="module")
def content(runs):
    """The content of the page of these runs."""
    return page_of(runs)


@pytest.mark.parametrize("convention", ["literature", "strict"])
def test_means_are_those_of_compare(runs, content, convention):
    sets = {one["name"]: one for one in content["sets"]}
    assert list(sets) == ["made", "own", "own-fold1", "own-fold2", "own-fold3"]
    assert content["title"] == "vhbench report: made, own"
    own = sets["own"]
    assert (own["folds"], own["folds_of"], own["queries"]["total"]) == (["own-fold1", "own-fold2", "own-fold3"], 3, 96)
    series = {(one["label"], one["bits"]): one for one in own["series"]}
    table = vhbench.compare("own", metric=METRICS, convention=convention, out=runs)
    assert len(table) == len(series) * len(METRICS) == 12
    for row in table.itertuples():
        one, short = series[row.label, row.bits], row.metric.partition("[")[0]
        value, sd, queries, folds = one["scores"][convention][short]
        assert (value, sd, queries, folds) == (row.value, row.sd, row.queries, row.folds)
        assert (one["seeds"], own["names"][convention][short]) == (row.seeds, row.metric)
        assert math.isfinite(sd) and (folds, queries) == ((3, 96) if row.method == "itq" else (2, 64))
    assert [content["runs"][n]["protocol"] for n in series["lsh", 32]["runs"]] == ["own-fold1", "own-fold3"]
    assert [content["groups"][n]["protocol"] for n in series["lsh", 32]["groups"]] == ["own-fold1", "own-fold3"]


def test_costs_and_audits_weigh_splits_alike(content):
    _, own, *splits = content["sets"]
    itq = own["series"][0]
    assert itq["cost"]["fit_s"] == 1.5 and itq["cost"]["peak_rss_mb"] == 101
    for name in ("balance_mean", "collisions"):
        values = [one["series"][0]["audit"][name] for one in splits]
        assert itq["audit"][name] == pytest.approx(sum(values) / 3, rel=1e-4)


def test_counts_of_queries_that_one_split_has_alone_are_left_out(out):
    fold_run(out, 1, queries={"own-fold1": {"total": 31, "scored": 31, "not_in_database": 2}})
    fold_run(out, 2)
    assert page_of(out)["sets"][0]["queries"] == {"total": 63, "scored": 63}


def test_how_settings_were_chosen_is_said_of_each_split_and_of_the_mean(runs, content):
    _, own, *splits = content["sets"]
    found = [{one["tuned"][0] for one in part["series"] if one["tuned"]} for part in splits]
    assert found == [{tuned("s1")}, {tuned("s2")}, {tuned("s3")}]
    assert [one["tuned"] for one in own["series"]] == [[tuned("s1"), tuned("s2"), tuned("s3")], []]
    assert {run["tuned"] for run in content["runs"] if run["tuned"]} == {tuned(f"s{n}") for n in "123"}
    records, _ = Store(runs).records()
    (row,) = (row for row in comparison(records, Choice(["own"])) if row.method == "itq")
    assert [f"tuned on held-out training videos: {text}" for text in row.tuned] == own["series"][0]["tuned"]


def test_a_split_asked_for_stands_by_itself_and_the_mean_is_over_all(runs):
    assert [one["name"] for one in page_of(runs, "own-fold2")["sets"]] == ["own-fold2"]
    records, _ = Store(runs).records()
    shown = comparison(records, Choice(["own-fold2", "own"], ["itq"]))
    assert [(row.protocol, row.folds) for row in shown] == [("own", 3), ("own-fold2", 0)]
    assert shown[0].value == comparison(records, Choice(["own"], ["itq"]))[0].value


def test_a_name_that_has_runs_of_one_split_too_is_not_averaged(out, caplog):
    """The manifest had one split when it was first run."""
    fold_run(out, 1)
    fold_run(out, 2)
    make_run(out, Made(name="own"))
    records, _ = Store(out).records()
    reason = "own is not averaged over its splits: its name has runs of one split too"
    assert [row.protocol for row in comparison(records, Choice())] == ["own", "own-fold1", "own-fold2"]
    assert reason in caplog.text
    content = page_of(out)
    assert [one["name"] for one in content["sets"]] == ["own", "own-fold1", "own-fold2"]
    assert f"{reason}." in content["lacking"]


def test_figures_of_scores_show_the_means_of_compare(runs, tmp_path):
    files = {name: tmp_path / f"{name}.svg" for name in ("map_file", "tradeoff")}
    rows = vhbench.compare("own", metric="map@20", out=runs, **files).set_index(["label", "bits"])
    for path in files.values():
        data = pd.read_csv(path.with_suffix(".csv"))
        data = data[(data["metric"] == rows["metric"].iloc[0]) & data["method"].isin(["itq", "lsh"])]
        assert set(data["protocol"]) == {"own"}
        shown = data.set_index(["label", "bits"]).sort_index()
        for name in ("value", "sd", "folds"):
            assert shown[name].to_dict() == pytest.approx(rows[name].to_dict(), rel=1e-12)
        words = " ".join(re.findall(">([^<>]+)</text>", path.read_text())).lower()  # a line each
        assert "own, mean over 3 splits" in words and "lsh over 2 splits only" in words


def test_the_cost_of_a_mean_is_that_of_its_splits(runs, tmp_path):
    vhbench.compare(out=runs, tradeoff=tmp_path / "costs.svg")
    shown = pd.read_csv(tmp_path / "costs.csv").set_index(["protocol", "label"])
    for label, folds in (("itq", {1, 2, 3}), ("lsh", {1, 3})):
        records = [r for r in Store(runs).records()[0] if r.spec["method"] == label and r.spec["protocol"] != "made"]
        assert {r.spec["protocol"] for r in records} == {f"own-fold{number}" for number in folds}
        fit = sum(r.data["timing"]["fit_s"] for r in records) / len(records)
        assert shown.loc[("own", label), "fit_s"] == pytest.approx(fit)
        assert shown.loc[("own", label), "memory_mb"] == max(r.data["memory"]["peak_rss_mb"] for r in records)
