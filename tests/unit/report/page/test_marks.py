"""What the report page marks: intervals, tests of pairs, what an audit finds wrong, stages of a training."""

import itertools
import json

import numpy as np
import pytest
from made_runs import Made, make_run

from vhbench import stats
from vhbench.plugins.registry import Registry
from vhbench.report.page import gather as gathering
from vhbench.report.page import intervals
from vhbench.report.page.gather import gather
from vhbench.runs.groups import Choice
from vhbench.runs.record import read_record, write_record
from vhbench.runs.store import Store
from vhbench.system.files import sha256_of


@pytest.fixture
def page(out):
    """The content of the page of the results folder."""
    return lambda protocol: gather(Store(out), Choice(), Registry(), {"made": protocol}, None, out.parent)


def series_of(content):
    """Series by method and code length."""
    (one,) = content["sets"]
    groups = [content["groups"][series["group"]] for series in one["series"]]
    return {(g["method"], g["bits"]): series for g, series in zip(groups, one["series"], strict=True)}


@pytest.mark.parametrize(("convention", "den"), [("literature", "k"), ("strict", "min")])
def test_intervals_and_tests_are_of_the_scored_queries(out, page, convention, den):
    """Tests of all pairs of a code length, with Holm's correction for that code length alone."""
    made, folders = Made(lonely=2), {}
    runs = ("itq", 16, 0, 0.3), ("itq", 16, 1, 0.35), ("lsh", 16, 0, 0.4), ("sh", 16, 0, 0.36), ("lsh", 32, 0, 0.4)
    for method, bits, seed, noise in runs:
        folders.setdefault((method, bits), []).append(make_run(out, made, method, bits, seed, noise=noise))
    content = page(made)
    for short in ("map@5", "map@20"):
        name = f"{short}[den={den},ties=expected,self=keep]"
        recorded = {place: [np.load(f / "per_query.npz")[name] for f in of] for place, of in folders.items()}
        aps = {place: np.mean(values, axis=0, dtype=np.float64)[2:] for place, values in recorded.items()}
        for place, ap in aps.items():
            expected = stats.bootstrap_interval(ap)
            assert series_of(content)[place]["ci"][convention][short] == pytest.approx(expected, rel=1e-12)
        first, second = content["sets"][0]["p"][convention][short]
        assert second == {"members": [2], "p": [[]]}
        keys = list(series_of(content))
        pairs = list(itertools.combinations([keys[place] for place in first["members"]], 2))
        p = dict(zip(pairs, stats.holm([stats.sign_flip(aps[a] - aps[b]) for a, b in pairs]), strict=True))
        for (a, x), (b, y) in itertools.combinations(enumerate(first["members"]), 2):
            assert first["p"][b][a] == pytest.approx(p[keys[x], keys[y]], rel=1e-5)


def test_of_large_query_sets_only_the_pages_own_map_is_resampled(out, page, monkeypatch):
    monkeypatch.setattr(intervals, "MOST_VALUES", 100)
    make_run(out, Made())
    assert list(series_of(page(Made()))["itq", 16]["ci"]["literature"]) == ["map@20"]


def test_what_is_wrong_with_codes_is_named_by_its_entry_of_the_audit(out, page):
    audit = read_record(make_run(out, Made(), bits=32) / "run.json").data["audit"]["made"]
    assert series_of(page(Made()))["itq", 32]["bad"] == {}
    make_run(out, Made(), bits=32, seed=1, audit={"made": {**audit, "dead_bits": 2}})
    assert series_of(page(Made()))["itq", 32]["bad"] == {"dead_bits": "2 of 32 bits are constant"}


def test_a_stage_begins_where_the_loss_is_made_of_other_terms(out, page, monkeypatch):
    monkeypatch.setattr(gathering, "EPOCHS", 3)
    terms = [{"recon": 3.0}] * 10 + [{"recon": 2.0, "kl": 1.0}] * 10 + [{"kl": 1.0}] * 10
    log = [{"epoch": n, "loss": 5.0, **parts, "seconds": 1.0} for n, parts in enumerate(terms, 1)]
    folder = make_run(out, Made(), epochs=[1.0])
    (folder / "train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in log))
    record = {name: entry for name, entry in read_record(folder / "run.json").data.items() if name != "sizes"}
    files = {**record["files"], "train.jsonl": sha256_of(folder / "train.jsonl")}
    write_record(folder, {**record, "files": files})
    (run,) = page(Made())["groups"][0]["training"]
    assert run["stages"] == [11, 21] and run["epoch"] == [1, 10, 11, 15, 20, 21, 30]
    assert run["terms"]["kl"] == [None, None, 1, 1, 1, 1, 1]
