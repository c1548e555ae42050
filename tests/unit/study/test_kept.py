"""What is kept of a study, read by those that did not write it."""

import json

import pytest

from vhbench.study.kept import read_tried, write_trials

RUN = "tiny-tune-loss-0.2-0/judged/8b-s0-0123abcd"


def test_the_runs_of_a_study_are_read_as_they_were_written(tmp_path):
    write_trials(tmp_path / "study" / "trials.json", {}, [{"lr": 1}], {RUN: 5})
    assert read_tried(tmp_path) == {RUN: 5}
    assert read_tried(tmp_path / "elsewhere") == {}


@pytest.mark.parametrize("runs", [{"../../etc": 1}, {f"../{RUN}": 1}, {RUN: "5"}, {RUN: -1}, [RUN], None])
def test_what_names_no_runs_is_not_followed(tmp_path, runs):
    path = tmp_path / "study" / "trials.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"schema": "vhbench.tune/1", "runs": runs}))
    assert read_tried(tmp_path) == {}
