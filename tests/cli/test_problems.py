"""Data that contradict themselves: said when they are run and verified, kept in the record, marked in every table."""

import csv
import json
import os

import h5py
import numpy as np
import pytest

from vhbench.runs.record import write_record
from vhbench.testing.files import write_hdf5, write_mat

TRAIN, TEST = "tiny_train_feats.h5", "tiny_test_feats.h5"
LEAK = "5 of 12 queries are database and training videos too, although queries_in_database is false"
LACKING = "1 of 12 queries has only classes that the database lacks (1 of 5 classes) and is not scored"


@pytest.fixture
def data(tmp_path):
    """A data set of one's own to spoil."""
    from vhbench.testing import make_protocol

    return make_protocol(tmp_path / "data")


@pytest.fixture
def spoilt(data):
    """Five queries are database videos, and one is of a class that no database video has."""
    with h5py.File(data.parent / TRAIN) as train, h5py.File(data.parent / TEST, "a") as test:
        test["feats"][:5] = train["feats"][10:15]
    write_mat(data.parent / "tiny_test_labels.mat", np.array([0, 1, 2, 3] * 2 + [0, 1, 2, 7]))
    write_mat(data.parent / "tiny_train_labels.mat", np.arange(40) % 4)
    return data


@pytest.fixture
def run(vhbench, out):
    return lambda data, *more: vhbench(
        "run", "--method", "itq", "--protocol", data, "--bits", "8", "--out", out, "--seeds", "0,1", *more
    )


def test_a_run_says_what_labels_it_read_and_what_is_wrong(vhbench_process, data, spoilt, out):
    result = vhbench_process("run", "--method", "itq", "--protocol", spoilt, "--bits", "8", "--out", out)
    for text in ("labels: 5 classes, one a video", LEAK, LACKING):
        assert f"tiny: {text}" in result.err.splitlines()


def test_sound_data_have_no_mark(run, data, caplog):
    result = run(data)
    assert "tiny: labels: 4 classes, one a video" in caplog.messages
    assert "§" not in result.out and "self=keep]; 12 queries;" in result.out


@pytest.mark.parametrize("launcher", ["inline", "local"])
def test_problems_are_said_and_recorded(run, spoilt, out, caplog, launcher):
    assert run(spoilt, "--launcher", launcher).code == 0
    assert caplog.messages[-3:] == [f"tiny: {text}" for text in ("labels: 5 classes, one a video", LEAK, LACKING)]
    for path in out.rglob("run.json"):
        assert json.loads(path.read_text())["data"]["tiny"]["problems"] == {"in_database": LEAK, "no_class": LACKING}
    caplog.clear()
    assert "Nothing to do" in run(spoilt).err and f"tiny: {LEAK}" in caplog.messages, "also where nothing is done"


def test_tables_mark_the_rows_and_say_why(vhbench, run, spoilt, out):
    printed = run(spoilt).out
    table = vhbench("compare", "--out", out).out
    footer = (
        "map@20[den=k,ties=expected,self=keep]; 11 of 12 queries scored, the others have no relevant database video"
    )
    for text in (printed, table):
        lines = text.splitlines()
        assert any(line.startswith("itq§  ") for line in lines)
        assert f"§ {LEAK}" in lines and f"§ {LACKING}" in lines
        assert any(line.startswith(footer) for line in lines)
    assert "| itq§ " in vhbench("compare", "--out", out, "--format", "md").out
    assert r"ITQ$^{\S}$ & 2" in vhbench("compare", "--out", out, "--format", "latex").out
    row, *references = json.loads(vhbench("compare", "--out", out, "--format", "json").out)
    assert all(reference["problems"] == [] for reference in references)
    assert row["problems"] == [LEAK, LACKING] and (row["queries"], row["asked"]) == (11, 12)
    row, *_ = csv.DictReader(vhbench("compare", "--out", out, "--format", "csv").out.splitlines())
    assert row["problems"] == f"{LEAK}; {LACKING}" and (row["queries"], row["asked"]) == ("11", "12")
    vhbench("report", "-o", out / "page.html", "--out", out)
    assert json.dumps([LEAK, LACKING]) in (out / "page.html").read_text().replace('","', '", "')


def test_verify_says_the_same_and_more(vhbench, spoilt):
    text = vhbench("data", "verify", spoilt).out
    assert "labels: 5 classes, one a video" in text
    assert f"problem: {LEAK}\nproblem: {LACKING}\nsound, with 2 problems" in text


def test_verify_finds_queries_that_equal_other_videos_but_for_rounding(vhbench, run, data, caplog):
    with h5py.File(data.parent / TRAIN) as train, h5py.File(data.parent / TEST) as test:
        query = test["feats"][()]
        query[3:7] = train["feats"][20:24]
    write_hdf5(data.parent / TEST, query.astype(np.float16))
    run(data)
    assert "not checked: whether queries are database videos too (their features are float16" in caplog.text
    assert "problem: 4 of 12 queries equal database videos but for rounding" in vhbench("data", "verify", data).out
    write_hdf5(data.parent / TEST, query.astype(np.float16).astype(np.float32))
    assert "problem: 4 of 12 queries equal database videos but for rounding" in vhbench("data", "verify", data).out


def test_near_duplicates_are_not_taken_for_equal(vhbench, data):
    with h5py.File(data.parent / TRAIN) as train, h5py.File(data.parent / TEST, "a") as test:
        test["feats"][3:7] = train["feats"][20:24] + 0.05
    assert "rounding" not in vhbench("data", "verify", data).out


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.zeros(40, int), "every database video is relevant to every query"),
        (np.arange(40) % 4 + 50, "no query shares a class with any database video"),
    ],
)
def test_labels_that_allow_no_sound_number_are_refused_and_called_broken(vhbench, run, data, out, labels, words):
    write_mat(data.parent / "tiny_train_labels.mat", labels)
    write_mat(data.parent / "tiny_test_labels.mat", np.zeros(12, int))
    assert words in run(data).error and not out.exists()
    result = vhbench("data", "verify", data)
    assert result.code == 1 and f"broken: {words}" in result.out


def test_classes_numbered_otherwise_are_refused_unless_told(vhbench, run, data, caplog):
    write_mat(data.parent / "tiny_train_labels.mat", np.arange(40) % 4)
    write_mat(data.parent / "tiny_test_labels.mat", np.arange(12) % 4 + 1)
    for result in (run(data), vhbench("data", "verify", data)):
        assert result.code == 2 and "one seems to count from 0 and the other from 1" in result.error
    assert run(data, "--allow-counts").code == 0 and "tiny: [database]" in caplog.text
    text = vhbench("data", "verify", data, "--allow-counts").out
    assert "problem: [database] (tiny_train_labels.mat) numbers classes from 0 to 3 and [query]" in text


def test_rerun_all_digests_again(run, data, out, caplog):
    run(data)
    before = {path.parent.name for path in out.rglob("run.json")}
    caplog.clear()
    run(data)
    run(data, "--rerun", "all", "--dry-run")
    assert "reading" not in caplog.text
    run(data, "--rerun", "all")
    assert sum(message.startswith("reading ") for message in caplog.messages) == 2
    assert {path.parent.name for path in out.rglob("run.json")} == before


def test_other_content_of_the_same_size_and_date_gets_an_identity_of_its_own(run, data, out, caplog):
    first = run(data).out
    path = data.parent / TEST
    stat = path.stat()
    with h5py.File(path, "a") as file:
        file["feats"][...] = file["feats"][()][::-1]
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert path.stat().st_size == stat.st_size
    second = run(data)
    assert f"{path} is not what it was when it was first read, though its size and date are the same" in caplog.text
    assert second.out != first and len({p.parent.name for p in out.rglob("run.json")}) == 4


def test_rescoring_records_what_an_older_record_does_not_say_of_its_data(run, spoilt, vhbench, out):
    assert run(spoilt).code == 0
    for path in out.rglob("run.json"):
        data = json.loads(path.read_text())
        del data["data"]["tiny"]["problems"]
        write_record(path.parent, data)
    assert vhbench("rescore", "--protocol", spoilt, "--out", out).code == 0
    for path in out.rglob("run.json"):
        assert json.loads(path.read_text())["data"]["tiny"]["problems"] == {"in_database": LEAK, "no_class": LACKING}
