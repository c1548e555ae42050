"""`vhbench run`: what a grid leaves on disk and on the screen, and what each option changes."""

import json

import numpy as np
import pytest

from vhbench.checkpoint import Checkpoint
from vhbench.codes import unpack
from vhbench.runs.store import Store

MAP = "map@20[den=k,ties=expected,self=keep]"


def records(out):
    found, problems = Store(out).records()
    assert problems == []
    return {(r.spec["method"], r.spec["bits"], r.spec["seed"]): r for r in found}


def test_every_combination_becomes_a_folder_with_a_record(run_tiny, out):
    result = run_tiny("fake,itq", "--bits", "8,16", "--seeds", "0,1")
    assert result.code == 0
    found = records(out)
    assert set(found) == {(m, b, s) for m in ("fake", "itq") for b in (8, 16) for s in (0, 1)}
    for (method, bits, seed), record in found.items():
        assert record.folder == out / f"tiny/{method}/{bits}b-s{seed}-{record.data['id'][:8]}"
        assert (record.status, record.data["reason"]) == ("done", None)
    assert not list(out.rglob(".*")), "no lock and no temporary file is left"


def test_a_record_holds_scores_codes_curves_and_surroundings(run_tiny, out):
    run_tiny("fake", "--bits", "16")
    (record,) = records(out).values()
    data, folder = record.data, record.folder
    assert data["schema"] == "vhbench.run/3"
    assert data["spec"]["params"] == {"epochs": 2, "spread": 1.0}
    assert data["spec"]["budget"] == {"epochs": 2, "videos": None}
    assert 0.25 < data["scores"][MAP] <= 0.5  # 10 of 40 videos are relevant, so 0.5 is the highest there is
    assert data["scores"][MAP] <= data["scores"]["map@20[den=min,ties=expected,self=keep]"] <= 1
    assert data["queries"] == {"tiny": {"total": 12, "scored": 12}}
    assert {"fit_s", "encode_s", "score_s", "videos_per_s"} == set(data["timing"])
    assert {"peak_rss_mb", "peak_gpu_mb"} == set(data["memory"])
    assert {"python", "packages", "git", "cpu", "device"} <= set(data["environment"])
    assert data["selection"] == "last epoch"
    assert data["audit"]["tiny"]
    codes = np.load(folder / "codes.npz")
    assert unpack(codes["tiny/query"], 16).shape == (12, 16)
    assert unpack(codes["tiny/database"], 16).shape == (40, 16)
    per_query = np.load(folder / "per_query.npz")[MAP]
    assert per_query.mean() == pytest.approx(data["scores"][MAP], abs=1e-6)
    assert set(json.loads((folder / "curves.json").read_text())["tiny"]) == {"rank", "radius"}
    assert [json.loads(line)["epoch"] for line in (folder / "train.jsonl").read_text().splitlines()] == [1, 2]
    assert set(data["files"]) == {"codes.npz", "per_query.npz", "curves.json", "train.jsonl"}


def test_the_table_goes_to_stdout_and_messages_to_stderr(run_tiny, out):
    result = run_tiny("itq,fake", "--bits", "16,8", "--seeds", "0,1")
    lines = result.out.splitlines()
    assert lines[0] == "tiny"
    assert lines[2].split() == ["method", "seeds", "8", "bits", "16", "bits"]
    assert [line.split()[0] for line in lines[4:6]] == ["itq", "fake"], "methods stand in the order asked for"
    assert [line.split()[0] for line in lines[6:9]] == ["chance", "cosine", "attainable"]
    (note,) = [line for line in lines if line.startswith(MAP)]
    assert "standard deviation" in note
    assert "[1/8] itq on tiny, 16 bits, seed 0" in result.err
    assert "epoch 2/2, loss 0.25" in result.err
    assert f"vhbench compare --out {out}" in result.err


def test_a_dry_run_prints_the_grid_and_does_nothing(run_tiny, out):
    result = run_tiny("fake,itq", "--bits", "8,16", "--dry-run")
    assert result.code == 0 and not out.exists()
    assert result.out.count("missing") == 4 and "4 of 4 runs to do" in result.out
    run_tiny("fake")
    again = run_tiny("fake", "--bits", "8,16", "--dry-run").out.splitlines()
    assert [line.split()[-2:] for line in again[2:4]] == [["done", "keep"], ["missing", "run"]]


def test_blanks_after_commas_and_repetitions_do_no_harm(run_tiny, out):
    assert run_tiny("fake, itq,fake", "--bits", "8, 8,16").code == 0
    assert set(records(out)) == {(m, b, 0) for m in ("fake", "itq") for b in (8, 16)}


def test_all_stands_for_every_usable_method(run_tiny, vhbench, fake_methods):
    listed = vhbench("list", "methods", "--plugin", fake_methods).out.splitlines()[1:]
    planned = run_tiny("all", "--dry-run").out.splitlines()[2:-2]
    assert [line.split()[1] for line in planned] == [line.split()[0] for line in listed]


def test_a_hyper_parameter_is_set_parsed_and_shown(run_tiny, out):
    result = run_tiny("fake,itq", "--set", "fake.spread=2e0", "--set", "itq.iterations=3")
    found = records(out)
    assert found["fake", 8, 0].spec["params"] == {"epochs": 2, "spread": 2.0}
    assert found["itq", 8, 0].data["changed"] == {"iterations": 3}
    assert "fake [spread=2.0]" in result.out and "itq [iterations=3]" in result.out


def test_a_method_named_with_its_origin_takes_hyper_parameters_under_either_name(run_tiny, out):
    assert run_tiny("built-in:itq", "--set", "built-in:itq.iterations=3").code == 0
    assert run_tiny("built-in:itq", "--bits", "16", "--set", "itq.iterations=4").code == 0
    found = records(out)
    assert found["itq", 8, 0].spec["params"] == {"iterations": 3}
    assert found["itq", 16, 0].spec["params"] == {"iterations": 4}


@pytest.mark.parametrize(
    ("options", "budget", "label"),
    [
        ([], {"epochs": 2, "videos": None}, "paper"),
        (["--budget", "paper", "--epochs", "7"], {"epochs": 7, "videos": None}, "7 epochs"),
        (["--budget", "smoke"], {"epochs": 1, "videos": 256}, "smoke"),
        (["--budget", "quick", "--set", "fake.epochs=8"], {"epochs": 2, "videos": None}, "quick"),
    ],
)
def test_budgets_and_epochs_become_numbers_in_the_specification(run_tiny, out, options, budget, label):
    run_tiny("fake", *options)
    (record,) = records(out).values()
    assert (record.spec["budget"], record.data["budget"]) == (budget, label)
    assert len((record.folder / "train.jsonl").read_text().splitlines()) == budget["epochs"]


def test_a_method_without_epochs_is_the_same_run_under_any_epoch_budget(run_tiny):
    run_tiny("itq")
    assert "Nothing to do" in run_tiny("itq", "--budget", "quick").err
    assert "Nothing to do" in run_tiny("itq", "--epochs", "3").err


def test_each_protocol_of_a_grid_gets_a_table_at_its_own_k(vhbench, tiny, out):
    other = tiny.with_name("other.toml")
    other.write_text(tiny.read_text().replace('"tiny"', '"other"').replace("[train]", "ks = [3, 10]\n[train]", 1))
    result = vhbench("run", "--method", "itq", "--protocol", f"{tiny},{other}", "--bits", "8", "--out", out)
    assert result.code == 0
    assert [line for line in result.out.splitlines() if line in ("tiny", "other")] == ["tiny", "other"]
    assert "map@20[" in result.out and "map@10[" in result.out


def test_an_impossible_run_is_skipped_with_a_reason_and_is_no_failure(run_tiny, out):
    result = run_tiny("itq", "--bits", "8,32")
    assert result.code == 0
    assert "skipped" in result.err and "32 bits asked of 24 dimensions" in result.err
    assert records(out)["itq", 32, 0].status == "skipped"


def test_results_may_lie_in_a_folder_with_blanks_and_accents(run_tiny, vhbench, tmp_path):
    folder = tmp_path / "my résults ü"
    result = run_tiny("fake", "--out", folder)
    assert result.code == 0 and f"--out '{folder}'" in result.err, "the command it suggests can be pasted"
    assert "fake" in vhbench("compare", "--out", folder).out


def test_data_are_found_below_the_data_folder_or_the_variable(vhbench, tiny, tmp_path, out, monkeypatch):
    moved = tmp_path / "elsewhere.toml"
    moved.write_text(tiny.read_text())
    words = ["run", "--method", "itq", "--protocol", moved, "--bits", "8", "--out", out]
    assert vhbench(*words, "--dry-run").code == 2
    assert vhbench(*words, "--data", tiny.parent).code == 0
    monkeypatch.setenv("VHBENCH_DATA", str(tiny.parent))
    assert "Nothing to do" in vhbench(*words).err, "where the files lie is no part of what a run is"


def test_checkpoints_are_saved_as_often_as_asked(run_tiny, monkeypatch):
    seen = []
    monkeypatch.setattr(Checkpoint, "__init__", lambda self, folder, key, every: seen.append(every))
    run_tiny("fake", "--checkpoint-every", "0")
    assert seen == [0.0]
