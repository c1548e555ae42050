"""`vhbench run` a second time: what is recorded stays, and `--rerun` says what is done again."""

import json

import pytest

from vhbench.runs.store import Store

NOTHING = "Nothing to do: every run is recorded already."

# fails as long as the file `mended` is not beside it, and can be edited to make its runs stale
PLUGIN = """
from pathlib import Path
from vhbench.testing.fakes import FakeMethod

class Mine(FakeMethod):
    name = "mine"

    def fit(self, train, ctx):
        if self.bits == 16 and not Path(__file__).with_name("mended").exists():
            raise ValueError("16 bits are not ready")
        return super().fit(train, ctx)
"""


@pytest.fixture
def plugin(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(PLUGIN)
    return path


@pytest.fixture
def run_mine(vhbench, tiny, out, plugin):
    def run(*arguments):
        words = ["--method", "mine,itq", "--protocol", tiny, "--bits", "8,16", "--out", out, "--plugin", plugin]
        return vhbench("run", *words, *arguments)

    return run


def written(out):
    """Return when each run was recorded, by method and bits."""
    records, _ = Store(out).records()
    return {(r.spec["method"], r.spec["bits"]): (r.folder / "run.json").stat().st_mtime_ns for r in records}


def done_again(out, before):
    after = written(out)
    return {key for key in after if after[key] != before.get(key)}


def test_a_finished_grid_is_not_done_again_and_its_table_is_printed(run_tiny, out):
    first = run_tiny("fake", "--seeds", "0,1")
    before = written(out)
    again = run_tiny("fake", "--seeds", "0,1")
    assert (again.code, again.out) == (0, first.out)
    assert NOTHING in again.err
    assert done_again(out, before) == set()


def test_only_what_is_missing_is_done(run_tiny, out):
    run_tiny("fake")
    before = written(out)
    result = run_tiny("fake,itq", "--bits", "8,16")
    assert "1 of 4 runs are recorded already." in result.err and "[3/3]" in result.err
    assert done_again(out, before) == {("fake", 16), ("itq", 8), ("itq", 16)}


def test_another_hyper_parameter_budget_or_precision_is_another_run(run_tiny, out):
    for options in ([], ["--set", "fake.spread=2"], ["--epochs", "1"], ["--precision", "bf16"]):
        assert NOTHING not in run_tiny("fake", *options).err
    assert len(list(out.glob("tiny/fake/*/run.json"))) == 4


def test_other_data_under_the_same_protocol_name_are_another_run(run_tiny, vhbench, tmp_path, out):
    from vhbench.testing import make_protocol

    run_tiny("itq")
    other = make_protocol(tmp_path / "other", videos=44)
    result = vhbench("run", "--method", "itq", "--protocol", other, "--bits", "8", "--out", out)
    assert NOTHING not in result.err and len(list(out.glob("tiny/itq/*/run.json"))) == 2


def test_rerun_failed_tries_failures_again_and_leaves_the_rest(run_mine, out, plugin):
    first = run_mine()
    assert first.code == 1 and "failed: 1 of 4 runs; --rerun failed tries them again" in first.err
    before = written(out)
    plain = run_mine()
    assert plain.code == 1 and NOTHING in plain.err and "16 bits are not ready" in plain.err
    assert done_again(out, before) == set()
    plugin.with_name("mended").touch()
    mended = run_mine("--rerun", "failed")
    assert mended.code == 0 and done_again(out, before) == {("mine", 16)}
    assert not list(out.rglob("traceback.txt"))


def test_edited_source_is_said_to_be_stale_and_rerun_stale_does_it_again(run_mine, out, plugin):
    plugin.with_name("mended").touch()
    run_mine()
    before = written(out)
    plugin.write_text(PLUGIN + "\nVERSION = 2\n")
    again = run_mine()
    assert NOTHING in again.err
    assert "2 of these were made with other source code of the method: --rerun stale does them again." in again.err
    assert done_again(out, before) == set()
    assert run_mine("--dry-run", "--rerun", "stale").out.count("stale") == 2
    run_mine("--rerun", "stale")
    assert done_again(out, before) == {("mine", 8), ("mine", 16)}
    assert "other source code" not in run_mine().err


def test_rerun_all_does_everything_again(run_mine, out, plugin):
    plugin.with_name("mended").touch()
    run_mine()
    before = written(out)
    assert run_mine("--rerun", "all").code == 0
    assert done_again(out, before) == set(before)


def test_a_run_that_fails_when_done_again_keeps_nothing_of_its_old_results(run_mine, out, plugin):
    plugin.with_name("mended").touch()
    run_mine()
    plugin.with_name("mended").unlink()
    assert run_mine("--rerun", "all").code == 1
    (folder,) = out.glob("tiny/mine/16b-*")
    assert {path.name for path in folder.iterdir()} == {"run.json", "traceback.txt", "train.jsonl"}
    assert json.loads((folder / "run.json").read_text())["status"] == "failed"
