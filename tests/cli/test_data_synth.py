"""`vhbench data synth`: a data set that runs accept and call synthetic, and that a kill never leaves half-made."""

import json
import signal

import h5py
import pytest

from vhbench.datasets.made_up import standard_manifest
from vhbench.datasets.marker import Marker, read_marker

WORDS = ("data", "synth", "--like", "hmdb51", "--scale", "0.01")  # 153 + 153 videos, the fewest: 125 MB


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A data folder with a synthetic hmdb51."""
    from vhbench.cli import main

    folder = tmp_path_factory.mktemp("data")
    with pytest.raises(SystemExit) as end:
        main([*WORDS, "--data", str(folder)])
    assert end.value.code == 0
    return folder


def test_the_folder_is_printed_and_what_to_do_next(vhbench, tmp_path):
    result = vhbench("data", "synth", "--like", "hmdb51", "--scale", "0.02", "--seed", "5", "--data", tmp_path)
    assert result.code == 0 and result.out == f"{tmp_path / 'hmdb51'}\n"
    assert "4 files, 0.125 GB of features" in result.err
    assert f"vhbench run --method itq --protocol hmdb51 --bits 32 --data {tmp_path}" in result.err
    counts = {"train": 153, "query": 153, "database": 153}
    assert read_marker(tmp_path / "hmdb51") == Marker("hmdb51", 0.02, 5, counts)


def test_the_same_again_says_so_and_does_nothing(vhbench, data):
    result = vhbench(*WORDS, "--data", data)
    assert result.code == 0 and result.out == f"{data / 'hmdb51'}\n" and "nothing to do" in result.err


def test_the_data_folder_may_come_from_the_environment(vhbench, data, monkeypatch):
    monkeypatch.setenv("VHBENCH_DATA", str(data))
    assert vhbench(*WORDS).out == f"{data / 'hmdb51'}\n"


def test_runs_accept_its_counts_and_their_records_say_synthetic(vhbench, data, out):
    protocol = standard_manifest("hmdb51").path
    assert (
        vhbench("run", "--method", "lsh", "--protocol", protocol, "--data", data, "--bits", "8", "--out", out).code == 0
    )
    (record,) = out.rglob("run.json")
    assert json.loads(record.read_text())["synthetic"] is True


def test_gzip_compresses(vhbench, tmp_path):
    assert vhbench(*WORDS, "--gzip", "--data", tmp_path).code == 0
    with h5py.File(tmp_path / "hmdb51/hmdb_train_feats.h5") as file:
        assert file["feats"].compression == "gzip" and file["feats"].shape == (153, 25, 4096)


# refusals


def test_no_data_folder(vhbench):
    result = vhbench(*WORDS)
    assert result.code == 2 and "--data DIR or $VHBENCH_DATA" in result.error


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--like", "hmdb"), ["Unknown data set 'hmdb'", "'hmdb51'"]),
        (("--scale", "2"), ["--scale", "above 0", "not 2"]),
        (("--seed", "1"), ["holds synthetic files already", "seed 0", "Remove that folder"]),
        (("--gzip",), ["contiguous", "Remove that folder"]),
    ],
)
def test_what_cannot_be_made_is_one_sentence(vhbench, data, options, words):
    before = {path: path.stat().st_mtime_ns for path in data.rglob("*")}
    result = vhbench(*WORDS, "--data", data, *options)
    assert result.code == 2 and all(word in result.error for word in words)
    assert {path: path.stat().st_mtime_ns for path in data.rglob("*")} == before


def test_real_data_are_refused(vhbench, tmp_path):
    real = tmp_path / "hmdb51/hmdb_test_feats.h5"
    real.parent.mkdir()
    real.write_text("real")
    result = vhbench(*WORDS, "--data", tmp_path)
    assert result.code == 2 and f"{real} exists and is not known to be synthetic" in result.error
    assert real.read_text() == "real" and [path for path in tmp_path.rglob("*") if path.is_file()] == [real]


def test_a_folder_that_cannot_be_made(vhbench):
    result = vhbench(*WORDS, "--data", "/proc/vhbench-data")
    assert result.code == 1 and "Cannot write /proc/vhbench-data/hmdb51" in result.error


# being stopped


@pytest.fixture
def half_made(start, tmp_path):
    """Start the command and return it once it has written part of a feature file."""
    child = start("data", "synth", "--like", "hmdb51", "--scale", "0.5", "--data", tmp_path)
    part = tmp_path / ".tmp-hmdb51/hmdb_train_feats.h5"
    child.wait_for(lambda: part.exists() and part.stat().st_size > 2**20)
    return child


def test_a_kill_leaves_nothing_under_the_final_name_and_the_next_call_finishes(half_made, vhbench, tmp_path):
    assert half_made.signal(signal.SIGKILL) == -signal.SIGKILL
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == [".tmp-hmdb51"]
    assert not list(tmp_path.rglob("synthetic.toml"))
    assert vhbench(*WORDS, "--data", tmp_path).code == 0
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["hmdb51"]
    assert read_marker(tmp_path / "hmdb51").scale == 0.01


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_and_kill_remove_what_was_written(half_made, tmp_path, number, code):
    assert half_made.signal(number) == code
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]
    assert "Traceback" not in half_made.printed
    assert ("Interrupted" in half_made.printed) == (number == signal.SIGINT)
