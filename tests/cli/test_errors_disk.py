"""Folders that cannot be written, full disks and damaged results: a sentence, and nothing that was whole is lost."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from vhbench.store import Store

SMALL_NET = Path(__file__).parent / "plugins" / "small_net.py"


# folders that cannot be written


@pytest.mark.parametrize("below", ["", "sub/folder"])
def test_a_file_in_place_of_the_results_folder(run_tiny, tmp_path, below):
    (tmp_path / "file").write_text("mine")
    folder = tmp_path / "file" / below
    result = run_tiny("fake", "--out", folder)
    assert result.code == 1
    assert f"Cannot write {folder}: a part of this path is a file, not a folder. Choose another" in result.error
    assert (tmp_path / "file").read_text() == "mine"


def test_a_results_folder_that_cannot_be_made(run_tiny):
    result = run_tiny("fake", "--out", "/proc/vhbench-results")
    assert result.code == 1
    assert "Cannot write /proc/vhbench-results" in result.error and "Choose a folder" in result.error


def test_a_folder_that_cannot_be_written_is_said_before_anything_is_trained(run_tiny):
    assert "[1/" not in run_tiny("fake", "--out", "/proc/vhbench-results").err


def test_finished_runs_are_read_where_nothing_can_be_written(run_tiny, out, monkeypatch):
    first = run_tiny("fake")
    monkeypatch.setattr(Store, "check_writable", lambda self: pytest.fail("there is nothing to write"))
    assert run_tiny("fake").out == first.out


# a full disk


@pytest.fixture
def small_disk(tmp_path):
    """A file system of a few kilobytes; call it to make it larger."""
    disk = tmp_path / "disk"
    disk.mkdir()

    def mount(*options):
        return subprocess.run(
            ["mount", "-t", "tmpfs", *options, "vhbench-test", disk], capture_output=True, check=False
        )

    if not shutil.which("mount") or mount("-o", "size=8k").returncode:
        pytest.skip("mounting a file system is not allowed here")
    yield lambda size: mount("-o", f"remount,size={size}")
    subprocess.run(["umount", disk], check=True)


def files(folder):
    return {path.name for path in folder.rglob("*") if path.is_file()}


def test_a_full_disk_stops_the_grid_and_space_lets_it_go_on(run_tiny, small_disk, tmp_path):
    folder = tmp_path / "disk" / "results"
    result = run_tiny("fake", "--bits", "8,16", "--out", folder)
    assert result.code == 1
    assert (
        "The disk is full: cannot write" in result.error
        and "Free space and run the same command again." in result.error
    )
    assert "run.json" not in files(folder), "no record claims that the run is done"
    assert not [name for name in files(folder) if name.startswith(".")]
    small_disk("1m")
    again = run_tiny("fake", "--bits", "8,16", "--out", folder)
    assert again.code == 0 and len(list(folder.rglob("run.json"))) == 2


def test_a_disk_that_fills_with_checkpoints_is_no_failure_of_the_method(vhbench, tiny, small_disk, tmp_path):
    folder = tmp_path / "disk" / "results"
    words = ["--method", "small-net", "--protocol", tiny, "--bits", "8", "--out", folder, "--plugin", SMALL_NET]
    result = vhbench("run", *words, "--checkpoint-every", "0", "--epochs", "2", "--device", "cpu")
    assert result.code == 1 and "The disk is full: cannot write" in result.error and "state.pt" in result.error
    assert "run.json" not in files(folder)


# damaged results


@pytest.fixture
def damaged(out, write_run):
    """A results folder with one sound run among all kinds of rubbish; returns the folders of the damaged records."""
    write_run("itq", 16, value=0.5)
    folders = {}
    for bits, (kind, content) in enumerate(DAMAGE.items(), 1):
        folders[kind] = write_run("lsh", bits, params={})
        if content is None:
            (folders[kind] / "run.json").unlink()
            (folders[kind] / "run.json").mkdir()
        else:
            (folders[kind] / "run.json").write_bytes(content)
    (out / "notes.txt").write_text("mine")
    (out / "toy" / "itq" / "my plots").mkdir()
    (out / "toy" / "file").write_text("")
    return folders


SOUND = {"schema": "vhbench.run/1", "id": "x", "status": "done", "reason": None, "spec": {}, "method": {}}
DAMAGE = {
    "cut off": b'{"schema": "vhbench.run/1", "id"',
    "empty": b"",
    "binary": b"\xff\xfe\x00\x01" * 50,
    "deep": b"[" * 100_000,
    "another list": b"[1, 2]",
    "another object": b'{"status": "done"}',
    "no specification": json.dumps(SOUND).encode(),
    "old": json.dumps({**SOUND, "schema": "vhbench.run/0"}).encode(),
    "folder": None,
}


@pytest.mark.parametrize(
    "command", [("compare",), ("status",), ("list", "runs"), ("compare", "--format", "json")], ids=" ".join
)
def test_damaged_records_are_named_and_the_sound_ones_shown(vhbench, damaged, out, command):
    result = vhbench(*command, "--out", out)
    assert result.code == 0 and "Traceback" not in result.err
    assert "itq" in result.out
    for folder in damaged.values():
        (sentence,) = (line for line in (result.out + result.err).splitlines() if str(folder / "run.json") in line)
        assert sentence.endswith(".")


def test_each_damage_has_its_sentence(damaged, out):
    _, problems = Store(out).records()
    by_folder = {str(Path(problem.split("/run.json")[0]).name): problem for problem in problems}
    said = {
        kind: by_folder.get(f"Cannot read {folder.name}", by_folder.get(folder.name))
        for kind, folder in damaged.items()
    }
    assert "is damaged (empty): `vhbench run` sets it aside and does the run again." in said["empty"]
    assert all("is damaged (not JSON): `vhbench run`" in said[kind] for kind in ("cut off", "binary", "deep"))
    assert all("(not a run record)" in said[kind] for kind in ("another list", "another object", "no specification"))
    assert "has schema 'vhbench.run/0'; this vhbench reads 'vhbench.run/1'" in said["old"]
    assert "Cannot read" in said["folder"]


@pytest.mark.parametrize("rerun", ["missing", "all"])
def test_a_record_of_another_vhbench_is_refused_and_left_as_it_is(run_tiny, out, rerun):
    run_tiny("fake")
    (record,) = out.rglob("run.json")
    content = json.dumps({**SOUND, "schema": "vhbench.run/9"})
    record.write_text(content)
    result = run_tiny("fake", "--rerun", rerun)
    assert result.code == 1 and str(record) in result.error and "move the folder away" in result.error
    assert record.read_text() == content


def test_a_record_moved_into_another_runs_folder_is_refused(run_tiny, out):
    run_tiny("fake", "--bits", "8,16")
    eight, sixteen = (next(out.glob(f"tiny/fake/{bits}b-*/run.json")) for bits in (8, 16))
    eight.replace(sixteen)
    result = run_tiny("fake", "--bits", "16")
    assert result.code == 1 and f"{sixteen} belongs to another run" in result.error
