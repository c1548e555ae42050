"""The gain over in-domain training: against the run that differs in its training data alone, or not at all."""

import pytest

from vhbench.datasets.manifest_protocol import load_manifest
from vhbench.grid.plan import Grid, plan
from vhbench.grid.related import against_in_domain
from vhbench.grid.runner import run_cell
from vhbench.grid.settings import Observer, Settings
from vhbench.plugins.registry import Registry
from vhbench.protocols.cross_dataset import CrossDataset
from vhbench.runs.store import Store
from vhbench.testing.fakes import make_protocol

MAP = "map@5[den=k,ties=expected,self=keep]"


class Both(Registry):
    """The built-in registry with two data sets `a` and `b` on disk and `a-to-b`."""

    def __init__(self, folder):
        super().__init__()
        self.sets = {n: load_manifest(make_protocol(folder / n, name=n, videos=v)) for n, v in (("a", 24), ("b", 32))}

    def protocol(self, name):
        return self.sets[name] if name in self.sets else CrossDataset(self.sets["a"], self.sets["b"])


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "results")


@pytest.fixture
def registry(tmp_path):
    return Both(tmp_path)


def cells(registry, store, *protocols, **options):
    return plan(Grid(["itq"], protocols, [4], **options), registry, store, None)


def do(cell, store):
    return run_cell(cell, store, Settings("cpu"), Observer())


def test_the_gain_is_the_relative_change_of_each_map(registry, store):
    first, second = cells(registry, store, "a-to-b", "b")
    assert (first.spec.protocol, second.spec.protocol) == ("b", "a-to-b"), "what is compared with comes first"
    inside, across = do(first, store), do(second, store)
    found = across.data["in_domain"]
    assert (found["protocol"], found["id"]) == ("b", inside.data["id"])
    assert found["gain"][MAP] == pytest.approx(across.scores[MAP] / inside.scores[MAP] - 1, abs=1e-12)
    assert set(found["gain"]) == {name for name in inside.scores if name.startswith("map@")}
    assert "in_domain" not in inside.data


def test_without_the_in_domain_run_its_id_is_all_there_is(registry, store):
    (across,) = cells(registry, store, "a-to-b")
    (inside,) = cells(registry, store, "b")
    assert do(across, store).data["in_domain"] == {"protocol": "b", "id": inside.spec.id, "gain": None}


@pytest.mark.parametrize("other", [{"seeds": [1]}, {"params": {"itq": {"iterations": "3"}}}])
def test_another_seed_or_hyper_parameter_is_no_comparison(registry, store, other):
    do(cells(registry, store, "b", **other)[0], store)
    assert do(cells(registry, store, "a-to-b")[0], store).data["in_domain"]["gain"] is None


def test_a_run_of_other_source_code_is_no_comparison(registry, store, monkeypatch):
    inside, across = cells(registry, store, "b", "a-to-b")
    scores = do(inside, store).scores
    assert against_in_domain(across, scores, store)["in_domain"]["gain"][MAP] == 0
    monkeypatch.setitem(vars(across.entry), "fingerprint", "of other code")
    assert against_in_domain(across, scores, store)["in_domain"]["gain"] is None


def test_undefined_scores_have_no_gain(registry, store):
    inside, across = cells(registry, store, "b", "a-to-b")
    scores = do(inside, store).scores
    assert against_in_domain(across, {**scores, MAP: None}, store)["in_domain"]["gain"][MAP] is None


def test_a_damaged_in_domain_record_costs_the_comparison_and_not_the_run(registry, store):
    inside, across = cells(registry, store, "b", "a-to-b")
    (do(inside, store).folder / "run.json").write_text("{")
    record = do(across, store)
    assert record.status == "done" and record.data["in_domain"]["gain"] is None
