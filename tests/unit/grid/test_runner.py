"""One run: what the method is given, what is measured, and what becomes of a failure."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from single_runs import TwoSplits, cell_of, do

from vhbench.errors import StoreError, UsageError
from vhbench.features import placement
from vhbench.grid.runner import run_cell, run_cells
from vhbench.grid.settings import Observer, Settings
from vhbench.launch.inline import launch as inline
from vhbench.method import FitContext
from vhbench.runs.store import Store
from vhbench.scoring import evaluate
from vhbench.testing import FakeMethod
from vhbench.videos import VideoSet

MAP = "map@5[den=k,ties=expected,self=keep]"


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "results")


def test_scores_are_those_of_evaluate_for_every_split(store):
    record = do(FakeMethod, store)
    protocol = TwoSplits()
    method = FakeMethod(16)
    codes = method.fit(protocol.videos, FitContext(seed=0)).encode(protocol.videos)
    for prefix, rows in (("", np.arange(30)), ("two-odd/", np.arange(1, 60, 2))):
        scores = evaluate(codes[rows], codes, protocol.labels[rows], protocol.labels, ks=(5,), self_index=rows)
        assert record.scores[f"{prefix}{MAP}"] == pytest.approx(scores.map(5), abs=1e-12)
        strict = f"{prefix}map@5[den=min,ties=expected,self=drop]"
        assert record.scores[strict] == pytest.approx(scores.map(5, "min", self_match="drop"), abs=1e-12)
    assert record.data["queries"]["two-odd"] == {
        "total": 30, "scored": 30, "scored_without_self": 30, "not_in_database": 0,
    }  # fmt: skip


class UsesABufferAgain(FakeMethod):
    """Returns the same memory each time."""

    buffer = np.empty((60, 16), dtype=bool)

    def encode(self, videos):
        codes = super().encode(videos)
        self.buffer[: len(codes)] = codes
        return self.buffer[: len(codes)]


class BoolsOfAnyByte(FakeMethod):
    """Returns bools that NumPy made by a view: a true one may be any byte but 0."""

    def encode(self, videos):
        codes = super().encode(videos).astype(np.uint8)
        return (codes * np.arange(2, 18, dtype=np.uint8)).view(bool)


class ColumnsOfAMap(FakeMethod):
    """Returns a view of other strides, and of a subclass."""

    def encode(self, videos):
        return np.asfortranarray(super().encode(videos)).view(np.recarray)


@pytest.mark.parametrize("method", [UsesABufferAgain, BoolsOfAnyByte, ColumnsOfAMap])
def test_codes_are_what_the_method_returned_whatever_it_does_with_the_array_later(store, method):
    right = do(FakeMethod, store)
    record = do(type("Same", (method,), {"name": "same"}), store)
    assert record.scores == right.scores and record.data["audit"] == right.data["audit"]
    for name, codes in right.arrays("codes.npz").items():
        assert np.array_equal(record.arrays("codes.npz")[name], codes)


def test_codes_that_are_masked_are_no_codes(store):
    class Masks(FakeMethod):
        def encode(self, videos):
            codes = super().encode(videos)
            return np.ma.masked_array(codes, codes)

    assert "returned codes some bits of which are masked" in do(Masks, store).data["reason"]


def test_the_record_says_how_many_numbers_were_learnt(store):
    assert do(FakeMethod, store).data["learnt_numbers"] == 20 + 20 * 16  # mean and directions


def test_what_is_no_number_has_no_count(store):
    class WithWords(FakeMethod):
        name = "with-words"

        def fit(self, train, ctx):
            self.words_ = np.array([None, "a"], dtype=object)
            return super().fit(train, ctx)

    assert do(WithWords, store).data["learnt_numbers"] is None


def test_equal_parts_are_encoded_once(store):
    encoded = []

    class Counts(FakeMethod):
        def encode(self, videos):
            encoded.append(len(videos))
            return super().encode(videos)

    do(Counts, store)
    assert sorted(encoded) == [30, 30, 60]


def test_the_method_gets_its_seed_budget_and_parameters_and_nothing_of_the_task(store):
    seen = {}

    class Looks(FakeMethod):
        def fit(self, train, ctx):
            seen.update(ctx=ctx, train=train, bits=self.bits, spread=self.spread)
            return super().fit(train, ctx)

    do(Looks, store, bits=8, seed=7, spread=2.0, budget={"epochs": 3, "videos": None})
    ctx = seen["ctx"]
    assert (ctx.seed, ctx.device, ctx.budget.epochs, seen["bits"], seen["spread"]) == (7, "cpu", 3, 8, 2.0)
    assert len(seen["train"]) == 60
    assert not any("two" in str(value) for name, value in vars(ctx).items() if name not in ("checkpoint", "report"))


def test_a_budget_of_videos_is_a_random_choice_that_the_seed_decides(store):
    seen = []

    class Looks(FakeMethod):
        def fit(self, train, ctx):
            seen.append(train.mean_frames())
            return super().fit(train, ctx)

    for number, seed in enumerate((0, 0, 1)):
        do(Looks, Store(store.root / str(number)), seed=seed, budget={"epochs": 1, "videos": 10})
    assert [len(means) for means in seen] == [10, 10, 10]
    assert np.array_equal(seen[0], seen[1]) and not np.array_equal(seen[0], seen[2])


def test_the_observer_hears_everything_in_order(store):
    heard = []

    class Listens(Observer):
        def started(self, cell):
            heard.append("started")

        def epoch(self, cell, epoch):
            heard.append(epoch.number)

        def finished(self, cell, record):
            heard.append(record and record.status)

    do(FakeMethod, store, Listens())
    assert heard == ["started", 1, 2, "done"]
    heard.clear()
    cell = cell_of(FakeMethod, store, bits=8)
    with store.claim(cell.spec):
        assert run_cell(cell, store, Settings("cpu"), Listens()) is None
    assert heard == [None]


def test_a_run_that_another_process_recorded_meanwhile_is_not_done_again(store):
    early = cell_of(FakeMethod, store)
    do(FakeMethod, store)
    before = (store.path(early.spec) / "run.json").stat().st_mtime_ns
    assert run_cell(early, store, Settings("cpu"), Observer()) is None
    assert (store.path(early.spec) / "run.json").stat().st_mtime_ns == before


class Fails(FakeMethod):
    error: BaseException = ValueError("")

    def fit(self, train, ctx):
        raise self.error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("wrong\n  value"), "ValueError: wrong value"),
        (ValueError(), "ValueError"),
        (KeyError("lr"), "KeyError: 'lr'"),
        (SystemExit(3), "SystemExit: 3"),
        (UsageError("A sentence."), "A sentence."),
        (torch.OutOfMemoryError("too much"), "OutOfMemoryError: too much"),
        (MemoryError(), "There was not enough memory."),
        (MemoryError("Unable to allocate 1 TiB"), "There was not enough memory: Unable to allocate 1 TiB"),
        (ValueError("\x1b[31mred\x1b[0m \x07\udcff"), "ValueError: red [U+0007][U+DCFF]"),
    ],
)
def test_a_failure_is_recorded_with_one_line(store, error, reason):
    record = do(type("F", (Fails,), {"error": error}), store)
    assert (record.status, record.data["reason"], record.scores) == ("failed", reason, {})
    assert "Traceback" in (record.folder / "traceback.txt").read_text()


@pytest.mark.parametrize("error", [StoreError("The disk is full."), KeyboardInterrupt()])
def test_a_full_disk_or_ctrl_c_is_no_failure_of_the_method(store, error):
    with pytest.raises(type(error)):
        do(type("F", (Fails,), {"error": error}), store)
    assert not list(store.root.rglob("run.json"))


def test_a_missing_device_is_no_failure_of_the_method(store):
    with pytest.raises(UsageError, match="cuda:99"):
        run_cell(cell_of(FakeMethod, store), store, Settings("cuda:99"), Observer())
    assert not list(store.root.rglob("run.json"))


def test_a_grid_holds_its_training_videos_in_memory_once_and_lets_go_of_them(store, monkeypatch):
    held = []
    resident = VideoSet.resident
    monkeypatch.setattr(VideoSet, "resident", lambda self, *a, **k: held.append(self) or resident(self, *a, **k))
    first, second = cell_of(FakeMethod, store), cell_of(FakeMethod, store, seed=1)
    cells = [first, replace(second, splits=first.splits)]
    run_cells(cells, store, Settings("cpu"), inline, Observer())
    assert len(held) == 1
    assert not placement._kept


def test_launchers_get_the_cells_and_the_function_that_does_one(store):
    cells = [cell_of(FakeMethod, store, bits=bits) for bits in (8, 16)]

    def backwards(cells, work):
        for cell in reversed(cells):
            work(cell)

    order = []

    class Listens(Observer):
        def started(self, cell):
            order.append(cell.spec.bits)

    run_cells(cells, store, Settings("cpu"), backwards, Listens())
    assert order == [16, 8] and len(store.records()[0]) == 2
