"""`vhbench tune`: its trials, what it chooses, and that a kill or the queries' labels change neither."""

import json
import re
import shutil
import signal
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

import vhbench as package
from vhbench.study.search import Question, Search
from vhbench.testing.files import write_mat

PLUGIN = Path(__file__).parent / "plugins" / "judged.py"
SPACE = "lr = { low = 1e-4, high = 1e-1, log = true }\nbatch_size = [8, 16]\n"


@pytest.fixture
def words(tmp_path, tiny):
    """A study of 7 trials by loss, in two batches; further options go before these."""
    (tmp_path / "space.toml").write_text(SPACE)
    return [
        "tune", "--method", "judged", "--protocol", tiny, "--plugin", PLUGIN, "--space", tmp_path / "space.toml",
        "--bits", "8", "--trials", "7", "--held-out", "0.2", "--device", "cpu",
    ]  # fmt: skip


@pytest.fixture
def tune(vhbench, words, out):
    def run(*arguments):
        return vhbench(*words, "--out", out, *arguments)

    return run


def folder(out):
    [found] = (out / "tune").iterdir()
    return found


def trials(out):
    return json.loads((folder(out) / "study" / "trials.json").read_text())["trials"]


def losses(out):
    records = [json.loads(path.read_text()) for path in folder(out).rglob("run.json")]
    return {(r["spec"]["params"]["lr"], r["spec"]["params"]["batch_size"]): r["held_out"]["loss"] for r in records}


def test_the_least_loss_is_chosen_and_used_and_marked(tune, vhbench, out, tiny):
    result = tune()
    assert result.code == 0, result.err
    by_setting = losses(out)
    assert [(t["lr"], t["batch_size"]) in by_setting for t in trials(out)] == [True] * 7
    lr, batch_size = min(by_setting, key=by_setting.get)
    best = re.search(r"^(\d) +(\S+) +(\d+) +\S+ +done +best$", result.out, re.MULTILINE)
    assert (float(best[2]), int(best[3])) == (lr, batch_size) and trials(out)[int(best[1])]["lr"] == lr
    assert f"setting: --set judged.lr={lr} --set judged.batch_size={batch_size}" in result.out
    command = re.search(r"run it: vhbench (.*)", result.out)[1].split()
    assert vhbench(*command).code == 0
    [path] = (out / "tiny").rglob("run.json")
    record = json.loads(path.read_text())
    entry = record["tuned"]
    assert entry["params"] == {"lr": lr, "batch_size": batch_size} and record["spec"]["params"]["lr"] == lr
    assert (entry["judge"], entry["trials"], entry["held_out"]) == ("loss", 7, 8)
    assert entry["value"] == pytest.approx(min(by_setting.values())) and len(entry["space"]) == 64
    note = (
        "¶ tuned on held-out training videos: by their loss, without labels, best of 7 trials of study judged-tiny-8b"
    )
    text = vhbench("compare", "--out", out).out
    assert note in text and re.search(r"^judged \[.*\]¶ ", text, re.MULTILINE)
    again = vhbench("run", "--config", path, "--protocol", tiny, "--plugin", PLUGIN, "--out", out / "again")
    assert again.code == 0 and "¶ tuned" in again.out, "a record's run done again is as tuned"


def test_what_only_was_set_is_not_marked_and_that_is_said(tune, vhbench, out, tiny):
    tune("--trials", "1")
    values = trials(out)[0]
    run = ["run", "--method", "judged", "--protocol", tiny, "--plugin", PLUGIN, "--bits", "8", "--out", out]
    plain = vhbench(*run, *(word for name, value in values.items() for word in ("--set", f"judged.{name}={value}")))
    assert plain.code == 0 and "¶" not in plain.out
    tuned = vhbench(*run, "--tuned", folder(out))
    assert "1 of 1 recorded runs with a tuned setting do not say so" in tuned.err
    [kept] = (out / "grids").glob("*.json")
    assert "¶" in vhbench(*run, "--tuned", folder(out), "--rerun", "all").out
    other = vhbench(*run, "--tuned", folder(out), "--set", "judged.lr=0.5", "--dry-run")
    assert "lr=0.5" in other.out and kept.exists()
    wrong = [*run[:2], "itq", *run[3:], "--tuned", folder(out)]
    assert "A setting of judged was tuned, which this grid does not run" in vhbench(*wrong).error
    assert "is not the folder of a finished study" in vhbench(*run, "--tuned", out).error


def test_killed_and_started_again_it_tries_and_chooses_the_same(start, words, tune, out, tmp_path):
    tune()
    killed = tmp_path / "killed"
    child = start(*words, "--out", killed)
    child.wait_for(lambda: len(list(killed.rglob("run.json"))) >= 3)
    assert child.signal(signal.SIGKILL) == -signal.SIGKILL
    assert not (folder(killed) / "chosen.toml").exists()
    assert start(*words, "--out", killed).end() == 0
    assert trials(killed) == trials(out) and losses(killed) == losses(out)
    one, other = (tomllib.loads((folder(path) / "chosen.toml").read_text()) for path in (killed, out))
    assert one == other


def test_more_trials_go_on_with_the_study_and_other_settings_do_not(tune, out, words):
    tune("--trials", "3", "--sampler", "random")
    before = trials(out)
    assert tune("--trials", "5", "--sampler", "random").code == 0
    assert trials(out)[:3] == before and len(trials(out)) == 5
    error = tune("--sampler", "tpe").error
    assert "it was begun with --sampler random, and is asked for with tpe. Give another --name" in error
    words[words.index("--space") + 1].write_text("lr = [1e-3]")
    assert "it was begun with --space" in tune("--sampler", "random").error
    (folder(out) / "study" / "trials.json").write_text("{}")
    result = tune("--sampler", "random")
    assert result.code == 1 and "is not a study of this version" in result.error


@pytest.mark.parametrize("judge", ["loss", "retrieval"])
def test_the_queries_labels_change_nothing_of_the_choice(vhbench, words, tiny, tmp_path, judge):
    chosen = []
    for change in ("as they are", "shuffled", "removed"):
        data, out = tmp_path / f"{change}-data", tmp_path / change
        shutil.copytree(tiny.parent, data)
        labels = data / "tiny_test_labels.mat"
        if change != "as they are":
            labels.unlink()
        if change == "shuffled":
            write_mat(labels, np.eye(4)[np.random.default_rng(3).permutation(np.arange(12) % 4)], "re_label")
        asked = [data / "tiny.toml" if word == tiny else word for word in words]
        assert vhbench(*asked, "--judge", judge, "--trials", "2", "--out", out).code == 0
        content = tomllib.loads((folder(out) / "chosen.toml").read_text())
        chosen.append((content["tuned"], trials(out)))
    assert chosen[0] == chosen[1] == chosen[2] and chosen[0][0]["judge"] == judge


def test_python_gives_the_trials_and_retrieval_suits_every_method(tiny, out, fake_methods, vhbench):
    found = package.tune(
        "fake", tiny, {"spread": [1.0, 2.0, 4.0]}, bits=8, trials=4, sampler="random", judge="retrieval", held_out=0.25,
        params={"epochs": 1}, plugins=[fake_methods], out=out, device="cpu",
    )  # fmt: skip
    assert list(found["trial"]) == [0, 1, 2, 3] and set(found["state"]) == {"done"}
    assert found["map@20"].max() == found.loc[found["best"], "map@20"].item()
    assert Path(found.attrs["chosen"]).is_file()
    words = ["--method", "fake,itq", "--protocol", tiny, "--bits", "8", "--plugin", fake_methods, "--out", out]
    text = vhbench("run", *words, "--tuned", Path(found.attrs["chosen"]).parent, "--set", "fake.epochs=1").out
    assert "¶ tuned on held-out training videos: by retrieval among training videos, with their labels" in text
    assert re.search(r"^fake.*¶ ", text, re.MULTILINE) and not re.search(r"^itq.*¶", text, re.MULTILINE)


@pytest.mark.parametrize(
    ("arguments", "space", "message"),
    [
        ([], "weight = [0.5, 1]", "judged.weight is a part of the loss, which for one and the same network is"),
        (["--method", "with-rows"], "lr = [1]", "with-rows cannot be tuned by its loss. WithRows gives no loss"),
        (
            ["--method", "itq"],
            "iterations = [10, 50]",
            "itq cannot be tuned by its loss. ITQ gives no loss on held-out",
        ),
        ([], "lrr = [1]", "Unknown hyper-parameter of judged 'lrr': did you mean 'lr'"),
        (["--set", "judged.lr=1"], "lr = [1]", "judged.lr has one place"),
        (["--set", "judged.epochs=1,2"], "lr = [1]", "judged.epochs has one place: with --set it is one value"),
        (["--set", "itq.iterations=1"], "lr = [1]", "--set names itq, and the study is of judged."),
        (["--sampler", "grid"], "lr = [1]", "Unknown sampler 'grid'"),
        (["--judge", "retrieve"], "lr = [1]", "Unknown judge 'retrieve': did you mean 'retrieval'"),
        (["--trials", "0"], "lr = [1]", "--trials must be at least 1, not 0."),
        (["--held-out", "1"], "lr = [1]", "--held-out takes a share of the training videos between 0 and 1, not 1."),
        (["--name", "a/b"], "lr = [1]", "--name 'a/b' names a folder"),
        (["--protocol", "nowhere"], "lr = [1]", "Unknown protocol 'nowhere"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(tune, words, out, arguments, space, message):
    words[words.index("--space") + 1].write_text(space)
    result = tune(*arguments)
    assert result.code == 2 and message in result.error
    assert not list(out.rglob("run.json"))


def test_trials_that_fail_are_said_and_the_others_chosen_among(tune, words, out):
    words[words.index("--space") + 1].write_text("batch_size = [1, 8]")
    result = tune("--sampler", "random", "--trials", "4")
    failed = [trial["batch_size"] for trial in trials(out)].count(1)
    assert 0 < failed < 4 and result.out.count(" failed") == failed and result.code == 0
    assert result.err.count("needs a batch_size of at least 2") >= failed
    assert re.findall(r"^\[(\d/\d)\] judged \[trial (\d)\] on", result.err, re.MULTILINE)[0] == ("1/2", "0")
    firsts = [trials(out).index(trial) for trial in trials(out)]
    same = re.findall(r"^(\d) .* as trial (\d)$", result.out, re.MULTILINE)
    assert same == [(str(n), str(first)) for n, first in enumerate(firsts) if first != n] and len(same) == 2
    assert tomllib.loads((folder(out) / "chosen.toml").read_text())["tuned"]["params"] == {"batch_size": 8}


def test_what_makes_no_difference_is_said(tune, words):
    words[words.index("--space") + 1].write_text('form = ["a", "b"]')
    result = tune("--sampler", "random", "--trials", "4")
    assert result.code == 0 and "Every setting has the same loss: what was searched makes no diff" in result.err


def test_it_says_what_to_install(tune, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert 'pip install "vhbench[tune]"' in tune().error


def test_a_queue_that_has_not_done_its_trials_yet_leaves_the_study_open(tune, vhbench, words, out, tiny, tmp_path):
    question = Question("judged", str(tiny), tmp_path / "space.toml", bits=8, trials=7, held_out=0.2)
    search = Search(question, {"out": out, "plugins": [PLUGIN], "device": "cpu"})
    queued = []
    tried = search.run(queued.extend)
    assert [one.over for one in tried] == [False] * 5 and len(queued) == len(trials(out)) == 5
    assert {one.state for one in tried} == {"waiting"} and not (folder(out) / "chosen.toml").exists()
    status = vhbench("status", "--out", folder(out)).out
    assert status.split()[:6] == ["protocol", "method", "waiting", "tiny-tune-loss-0.2-0", "judged", "5"]
    assert status.endswith("waiting: 5 of this study; the same vhbench tune goes on with them\n")
    before = trials(out)
    assert tune().code == 0 and trials(out)[:5] == before and len(losses(out)) == 7


@pytest.mark.slow
def test_trials_run_in_processes_of_their_own(tune, out, vhbench, words):
    assert tune("--launcher", "local", "--workers", "2", "--batch", "3").code == 0
    assert len(trials(out)) == 7 and len(losses(out)) == 7
