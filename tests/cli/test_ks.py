"""K that a protocol has got since its runs were recorded: said, shown by what is there, and added by rescoring."""

import shlex
import shutil

import pytest

import vhbench as package
from vhbench.runs.store import Store

OLD = "K = 5, 20, 40, 60, 80, 100"


@pytest.fixture
def manifest(tiny, tmp_path):
    """Write the tiny protocol with these K; its features stay where they are."""

    def write(ks):
        path = tmp_path / "a manifest.toml"
        path.write_text(f"ks = {ks}\n{tiny.read_text()}" if ks else tiny.read_text())
        return path

    return write


@pytest.fixture
def run(vhbench, tiny, out, fake_methods, manifest):
    """Run the fake method on the tiny protocol with these K."""

    def run(ks, *words):
        given = ["--protocol", manifest(ks), "--data", tiny.parent, "--out", out, "--plugin", fake_methods]
        return vhbench("run", "--method", "fake", "--bits", "8", *given, *words)

    return run


@pytest.mark.parametrize(
    ("ks", "lacking", "instead", "after"),
    [
        ([5, 20, 40, 60, 80, 100, 7], "K = 7", "it from the stored codes.", "map@20["),
        ([3, 7], "K = 3, 7", f"them from the stored codes in place of {OLD}.", "map@7["),
    ],
)
def test_a_run_says_which_k_are_lacking_and_the_command_that_it_prints_adds_them(
    vhbench, run, out, ks, lacking, instead, after
):
    assert "lack" not in run(None).err
    again = run(ks)
    assert again.code == 0 and "map@20[" in again.out, "the table shows what is recorded"
    assert "Nothing to train: every run is recorded already." in again.err
    (line,) = [line for line in again.err.splitlines() if "lack" in line]
    assert line.startswith(f"1 of 1 recorded runs on tiny lack {lacking}: `vhbench rescore ") and line.endswith(instead)
    assert line in run(ks, "--dry-run").err
    assert vhbench(*shlex.split(line.split("`")[1])[1:]).code == 0
    healed = run(ks)
    assert "lack" not in healed.err and "Nothing to do" in healed.err and after in healed.out
    (record,) = Store(out).records()[0]
    assert {name for k in ks for name in record.scores if name.startswith(f"map@{k}[")}


def test_runs_with_other_k_stand_in_one_table_with_a_word(vhbench, run, out, caplog):
    run(None)
    mixed = run([3, 7], "--seeds", "0,1", "--bits", "8,16")
    assert "map@20, 8 bits" in mixed.out and "map@7, 16 bits" in mixed.out
    assert "1 of 1 recorded runs on tiny lack K = 3, 7" in mixed.err
    word = "shown instead: map@7, as map@20 is not recorded for 3 of 4 runs on tiny"
    assert word in caplog.messages
    caplog.clear()
    for line in (vhbench("compare", "--out", out), vhbench("compare", "--out", out, "--bits", "8")):
        assert line.code == 0 and "map@20, 8 bits" in line.out and "map@7, 8 bits" in line.out
    assert word in caplog.messages
    asked = vhbench("compare", "--out", out, "--metric", "map@20")
    assert "map@7" not in asked.out, "what is asked for by name is not replaced"
    assert "left out: map@20 is not recorded for 3 of 4 runs on tiny" in caplog.messages


def test_a_protocol_that_never_had_the_usual_k_has_a_table_and_a_page(vhbench, run, out, tmp_path, caplog):
    first = run([3, 7])
    assert "map@7[" in first.out and "lack" not in first.err
    assert not [message for message in caplog.messages if "shown instead" in message], "it is the protocol's own"
    compared = vhbench("compare", "--out", out)
    assert compared.code == 0 and "map@7[" in compared.out
    assert "shown instead: map@7, as map@20 is not recorded for tiny" in caplog.messages
    assert vhbench("report", "--out", out, "-o", tmp_path / "page.html").code == 0
    assert vhbench("report", "--out", out, "-o", tmp_path / "page.html", "--metric", "map@20").code == 2


def test_runs_that_are_done_again_lack_nothing(run):
    run(None)
    assert "lack" not in run([3, 7], "--rerun", "all").err


def test_the_python_function_says_it_in_the_log(run, tiny, out, fake_methods, manifest, caplog):
    run(None)
    package.run("fake", manifest([3, 7]), 8, data=tiny.parent, out=out, plugins=[fake_methods])
    assert [message for message in caplog.messages if message.startswith("1 of 1 recorded runs on tiny lack K = 3, 7")]
    table = package.compare(manifest([3, 7]), out=out)
    assert list(table["metric"]) == ["map@20[den=k,ties=expected,self=keep]"]


def test_the_outcome_of_a_run_that_another_process_recorded_with_other_k_is_its_own(run, out, tmp_path, monkeypatch):
    """The grid was planned before the record was there."""
    run(None)
    shutil.move(out, tmp_path / "made")
    real = Store.claim

    def claim(store, spec):
        if not out.exists():
            shutil.copytree(tmp_path / "made", out)
        return real(store, spec)

    monkeypatch.setattr(Store, "claim", claim)
    monkeypatch.setattr(Store, "check_writable", lambda _: None)
    monkeypatch.setattr("vhbench.grid.request.keep_grid", lambda *_: None)
    result = run([3, 7])
    assert result.code == 0 and "map@20 0." in result.err
