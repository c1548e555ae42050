"""From what was asked for to the list of runs: order, states and what `--rerun` picks."""

import pytest

from vhbench.errors import UsageError
from vhbench.grid.plan import RERUN, Grid, plan, to_do
from vhbench.grid.runner import run_cells
from vhbench.grid.settings import Observer, Settings
from vhbench.plugins.registry import Registry
from vhbench.runs.record import read_record, write_record
from vhbench.runs.store import Store


@pytest.fixture
def planned(tiny, out, fake_methods):
    """Plan a grid on the tiny protocol; `methods` and `bits` may be given, and anything else that a Grid takes."""

    def make(methods=("fake",), bits=(8,), **options):
        return plan(Grid(methods, [str(tiny)], bits, **options), Registry([fake_methods]), Store(out), None)

    return make


def run(cells, out):
    run_cells(cells, Store(out), Settings("cpu"), Registry().launcher("inline").load(), Observer())


def test_cells_come_by_protocol_method_length_and_seed(planned):
    cells = planned(["itq", "fake", "itq"], [16, 8], seeds=[1, 0])
    assert [(c.spec.method, c.spec.bits, c.spec.seed) for c in cells] == [
        (method, bits, seed) for method in ("itq", "fake") for bits in (16, 8) for seed in (1, 0)
    ]
    assert cells[0].label == "itq on tiny, 16 bits, seed 1"


def test_a_cell_keeps_the_names_that_the_user_gave(planned, tiny, fake_methods):
    cells = planned([f"{fake_methods}:fake", "itq", "fake"])
    assert [cell.asked for cell in cells] == [(f"{fake_methods}:fake", str(tiny)), ("itq", str(tiny))]


def test_planning_writes_nothing(planned, out):
    planned()
    assert not out.exists()


def test_the_protocol_opens_its_data_once_for_all_cells(planned):
    cells = planned(["fake", "itq"], [8, 16])
    assert len({id(cell.splits[0].train.videos) for cell in cells}) == 1


def test_the_protocols_budget_holds_unless_another_is_asked_for(planned, tiny, out, fake_methods):
    quick = tiny.with_name("quick.toml")
    quick.write_text('budget = "quick"\n' + tiny.read_text())
    grid = {"methods": ["fake"], "protocols": [str(quick)], "bits": [8], "params": {"fake": {"epochs": "8"}}}
    registry, store = Registry([fake_methods]), Store(out)
    assert plan(Grid(**grid), registry, store, None)[0].spec.budget["epochs"] == 2
    assert plan(Grid(**grid, budget="paper"), registry, store, None)[0].spec.budget["epochs"] == 8
    assert plan(Grid(**grid, epochs=3), registry, store, None)[0].spec.budget["epochs"] == 3


def test_only_training_by_epochs_has_another_precision(planned):
    cells = planned(["fake", "itq"], precision="bf16")
    assert [cell.spec.precision for cell in cells] == ["bf16", "float32"]
    assert cells[1].spec.id == planned(["itq"])[0].spec.id


def test_variants_share_a_class_and_not_a_specification(planned):
    one, other = planned(["uvvh", "uvh"])
    assert one.entry.load() is other.entry.load() and one.spec.id != other.spec.id
    assert (one.spec.params["warmup"], other.spec.params["warmup"]) == (0.625, 1.0)


def states(cells):
    return {cell.spec.method: cell.state for cell in cells}


@pytest.fixture
def every_state(planned, out, monkeypatch):
    """A grid of one method in each state; yields a function that plans it anew."""
    grid = ["fake", "itq", "fake-nan-loss", "pcah", "lsh"]
    planned_now = planned(grid, [32])
    run([cell for cell in planned_now if cell.spec.method not in ("lsh",)], out)
    stale = next(cell for cell in planned_now if cell.spec.method == "fake")
    record = read_record(Store(out).path(stale.spec) / "run.json")
    write_record(record.folder, {**record.data, "method": {**record.data["method"], "fingerprint": "0" * 64}})
    return lambda: planned(grid, [32])


def test_states(every_state):
    assert states(every_state()) == {
        "fake": "stale",
        "itq": "skipped",
        "fake-nan-loss": "failed",
        "pcah": "skipped",
        "lsh": "missing",
    }


@pytest.mark.parametrize(
    ("rerun", "methods"),
    [
        ("missing", {"lsh"}),
        ("failed", {"lsh", "fake-nan-loss", "itq", "pcah"}),
        ("stale", {"lsh", "fake"}),
        ("all", {"lsh", "fake-nan-loss", "itq", "pcah", "fake"}),
    ],
)
def test_rerun_picks_by_state(every_state, rerun, methods):
    assert {cell.spec.method for cell in to_do(every_state(), rerun)} == methods


def test_every_choice_of_rerun_is_explained():
    assert all(RERUN.values())
    with pytest.raises(UsageError, match="did you mean 'stale'"):
        to_do([], "stail")


def test_a_run_that_another_process_holds_is_running_and_never_picked(planned, out):
    (cell,) = planned()
    with Store(out).claim(cell.spec):
        (again,) = planned()
        assert again.state == "running"
        assert all(to_do([again], rerun) == [] for rerun in RERUN)
    assert planned()[0].state == "missing"


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ({"bits": [0]}, "from 1 to 512, not 0"),
        ({"bits": [513]}, "not 513"),
        ({"seeds": [-1]}, "from 0 up, not -1"),
        ({"precision": "fp8"}, "precision 'fp8'"),
        ({"budget": "none"}, "budget 'none'"),
        ({"epochs": 0}, "at least 1"),
        ({"params": {"itq": {"iterations": "3"}}}, "--set names itq, which this grid does not run"),
        ({"params": {"fake": {"spred": "3"}}}, "did you mean 'spread'"),
    ],
)
def test_impossible_grids_are_refused_before_any_data_are_opened(planned, monkeypatch, grid, message):
    monkeypatch.setattr(Registry, "protocol", lambda *_: pytest.fail("the protocol was opened"))
    with pytest.raises(UsageError, match=message):
        planned(**grid)
