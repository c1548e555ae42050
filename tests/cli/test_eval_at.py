"""`--eval-at`: scores at epochs on the way are recorded, and change nothing."""

import json
import re
import signal
from pathlib import Path

import pytest

SMALL_NET = Path(__file__).parent / "plugins" / "small_net.py"


@pytest.fixture
def small_net(vhbench, tiny, tmp_path):
    """Train small-net on the tiny protocol into a folder of that name; return what was printed and the record."""

    def run(folder, *words):
        out = tmp_path / folder
        given = (
            "run",
            "--method",
            "small-net",
            "--protocol",
            tiny,
            "--bits",
            "5",
            "--device",
            "cpu",
            "--set",
            "small-net.lr=0.1",
        )
        result = vhbench(*given, "--plugin", SMALL_NET, "--out", out, *words)
        assert result.code == 0, result.err
        (path,) = out.rglob("run.json")
        return result, json.loads(path.read_text())

    return run


def test_scores_on_the_way_are_those_of_a_training_that_ends_there_and_the_last_ones_stay(small_net):
    result, record = small_net("asked", "--eval-at", "1,12")
    _, plain = small_net("plain")
    _, short = small_net("short", "--epochs", "1")
    assert record["at_epochs"] == {"1": short["scores"], "12": plain["scores"]}
    assert short["scores"] != plain["scores"], "nothing could be told apart"
    assert record["scores"] == plain["scores"] and record["files"]["codes.npz"] == plain["files"]["codes.npz"]
    assert record["id"] == plain["id"] and "at_epochs" not in plain
    lines = [line.split() for line in result.out.splitlines() if " map@20 " in line]
    values = [f"{scores['map@20[den=k,ties=expected,self=keep]']:.3f}" for scores in record["at_epochs"].values()]
    assert [line[-3:] for line in lines] == [["1", "map@20", values[0]], ["12", "map@20", values[1]]]


def test_scores_from_before_a_kill_are_recorded_with_the_others(small_net, start, tiny, tmp_path):
    out = tmp_path / "killed"
    words = [
        "run", "--method", "small-net", "--protocol", tiny, "--bits", "5", "--device", "cpu", "--plugin", SMALL_NET,
        "--set", "small-net.lr=0.1", "--set", "small-net.pause=0.02", "--checkpoint-every", "0",
        "--eval-at", "2,11", "--out", out,
    ]  # fmt: skip
    child = start(*words)
    child.wait_for(lambda: any(log.read_text().count("\n") >= 4 for log in out.rglob("train.jsonl")))
    assert child.signal(signal.SIGKILL) == -signal.SIGKILL
    _, record = small_net("killed", *words[11:])
    _, undisturbed = small_net("undisturbed", "--set", "small-net.pause=0.02", "--eval-at", "2,11")
    assert record["at_epochs"] == undisturbed["at_epochs"] and {*record["at_epochs"]} == {"2", "11"}


def test_epochs_that_cannot_be_scored_are_said(small_net):
    result, record = small_net("past", "--eval-at", "12,40")
    assert "no scores at epoch 40: it was not trained now" in result.err and {*record["at_epochs"]} == {"12"}
    again, _ = small_net("past", "--eval-at", "3")
    assert re.search(r"1 of 1 recorded runs have no scores at epoch 3: --rerun all trains them again\.", again.err)


def test_methods_without_epochs_have_none_on_the_way(run_tiny, out):
    assert run_tiny("itq", "--eval-at", "3").code == 0
    (path,) = out.rglob("run.json")
    assert "at_epochs" not in json.loads(path.read_text())
    again = run_tiny("itq", "--eval-at", "3")
    assert again.code == 0 and "scores at epoch" not in again.err


def test_a_failed_run_beside_one_that_succeeds_is_no_fault_of_the_table(run_tiny):
    result = run_tiny("fake,fake-nan-loss", "--eval-at", "1")
    assert result.code == 1 and "failed: 1 of 2 runs" in result.err and "Traceback" not in result.err


def test_epoch_0_is_a_usage_error(run_tiny):
    result = run_tiny("fake", "--eval-at", "0")
    assert result.code == 2 and "--eval-at takes epochs from 1 up, not 0" in result.err
