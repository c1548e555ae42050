"""Nested codes: one training serves all lengths, and nothing else is ever taken for a longer run of the same."""

import numpy as np
import pytest
from single_runs import cell_of, do

from vhbench.launch.inline import launch
from vhbench.runs.record import write_record
from vhbench.runs.store import Store
from vhbench.runs.stored_codes import read_codes
from vhbench.testing import FakeMethod

trained = []


class Nested(FakeMethod):
    """Directions are drawn bit by bit, so that a shorter code's are the first ones of a longer code's."""

    name = "nested"
    nested = True

    def fit(self, train, ctx):
        trained.append(self.bits)
        super().fit(train, ctx)
        self.directions_ = self.spread * ctx.rng("directions").standard_normal((self.bits, train.dim)).T
        return self


@pytest.fixture
def store(tmp_path):
    trained.clear()
    return Store(tmp_path / "results")


def test_a_shorter_run_is_what_training_would_have_given(store, tmp_path):
    do(Nested, store, bits=32)
    cut = do(Nested, store, bits=16)
    alone = do(Nested, Store(tmp_path / "alone"), bits=16)
    assert trained == [32, 16]
    assert cut.scores == alone.scores
    assert cut.data["audit"] == alone.data["audit"]
    for name, codes in read_codes(alone).items():
        assert np.array_equal(read_codes(cut)[name], codes)


def test_the_record_names_the_longer_run_and_takes_its_cost(store):
    longer, cut = do(Nested, store, bits=32).data, do(Nested, store, bits=16).data
    assert cut["cut_from"] == {"id": longer["id"], "bits": 32}
    assert cut["timing"]["fit_s"] == longer["timing"]["fit_s"]
    assert cut["learnt_numbers"] == longer["learnt_numbers"]
    assert "cut_from" not in longer


@pytest.mark.parametrize(
    "other",
    [{"seed": 1}, {"spread": 2.0}, {"budget": {"epochs": 3, "videos": None}}, {"bits": 8}],
    ids=["seed", "hyper-parameter", "budget", "shorter"],
)
def test_another_run_is_no_longer_run_of_the_same(store, other):
    do(Nested, store, **{"bits": 32, **other})
    assert "cut_from" not in do(Nested, store, bits=16).data


def test_codes_that_are_not_nested_are_never_cut(store):
    do(FakeMethod, store, bits=32)
    assert "cut_from" not in do(FakeMethod, store, bits=16).data


def test_a_run_of_other_source_code_is_not_taken(store):
    record = do(Nested, store, bits=32)
    changed = {**record.data, "method": {**record.data["method"], "fingerprint": "0" * 64}}
    write_record(record.folder, changed)
    assert "cut_from" not in do(Nested, store, bits=16).data


@pytest.mark.parametrize("harm", ["removed", "damaged"])
def test_codes_that_cannot_be_read_cost_a_training_only(store, harm):
    codes = do(Nested, store, bits=32).folder / "codes.npz"
    codes.unlink() if harm == "removed" else codes.write_bytes(b"damaged")
    record = do(Nested, Store(store.root), bits=16)
    assert record.status == "done" and "cut_from" not in record.data
    assert trained == [32, 16]


def test_a_grid_trains_the_longest_first_and_only_that(store):
    cells = [cell_of(Nested, store, bits=bits, seed=seed) for seed in (0, 1) for bits in (8, 32, 16)]
    launch(cells, lambda cell: do(Nested, store, bits=cell.spec.bits, seed=cell.spec.seed))
    assert trained == [32, 32]
    assert len(store.records()[0]) == 6


def test_a_constructor_that_raises_is_the_runs_failure(store):
    class Raises(Nested):
        def __init__(self, bits, *, spread=1.0):
            raise ValueError("no such length")

    record = do(Raises, store, bits=16)
    assert (record.status, record.data["reason"]) == ("failed", "ValueError: no such length")
