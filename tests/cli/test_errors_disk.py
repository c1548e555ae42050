"""Folders that cannot be written, full disks and damaged results: a sentence, and nothing that was whole is lost."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from vhbench.runs.store import RunFolder, Store

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
def limited(start):
    """Run a command in a process of its own after some lines of Python; returns its exit code and all it printed."""

    def run(lines, *arguments):
        child = start(*arguments, first=lines)
        return child.end(), child.printed

    return run


@pytest.fixture
def small_disk(tmp_path):
    """A file system of a few kilobytes; call it with other options, such as `size=1m` or `ro`."""
    disk = tmp_path / "disk"
    disk.mkdir()

    def mount(*options):
        return subprocess.run(
            ["mount", "-t", "tmpfs", *options, "vhbench-test", disk], capture_output=True, check=False
        )

    if not shutil.which("mount") or mount("-o", "size=8k").returncode:
        pytest.skip("mounting a file system is not allowed here")
    yield lambda options: mount("-o", f"remount,{options}")
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
    small_disk("size=1m")
    again = run_tiny("fake", "--bits", "8,16", "--out", folder)
    assert again.code == 0 and len(list(folder.rglob("run.json"))) == 2


def test_a_disk_that_fills_with_checkpoints_is_no_failure_of_the_method(vhbench, tiny, small_disk, tmp_path):
    folder = tmp_path / "disk" / "results"
    words = ["--method", "small-net", "--protocol", tiny, "--bits", "8", "--out", folder, "--plugin", SMALL_NET]
    result = vhbench("run", *words, "--checkpoint-every", "0", "--epochs", "2", "--device", "cpu")
    assert result.code == 1 and "The disk is full: cannot write" in result.error and "state.pt" in result.error
    assert "run.json" not in files(folder)


def test_a_limit_on_the_size_of_files_is_one_sentence(limited, tiny, out, fake_methods):
    words = ["--method", "fake", "--protocol", tiny, "--bits", "8", "--plugin", fake_methods, "--out", out]
    code, printed = limited("import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500))", "run", *words)
    assert code == 1 and "Traceback" not in printed
    assert "larger than this file system or `ulimit -f` allows" in printed
    assert not list(out.rglob("run.json"))
    assert limited("", "run", *words)[0] == 0 and len(list(out.rglob("run.json"))) == 1


# folders made read-only


def test_a_file_system_made_read_only_can_still_be_read(run_tiny, vhbench, small_disk, tmp_path):
    small_disk("size=1m")
    folder = tmp_path / "disk" / "results"
    first = run_tiny("fake", "--out", folder)
    small_disk("ro")
    assert run_tiny("fake", "--out", folder).out == first.out
    assert "fake" in vhbench("compare", "--out", folder).out and "fake" in vhbench("status", "--out", folder).out
    result = run_tiny("fake", "--bits", "8,16", "--out", folder)
    assert result.code == 1
    assert f"Cannot write {folder}: Read-only file system. Choose a folder that you may write to." in result.err


def test_a_damaged_record_on_a_read_only_file_system_is_named_and_left(run_tiny, small_disk, tmp_path, caplog):
    small_disk("size=1m")
    folder = tmp_path / "disk" / "results"
    run_tiny("fake", "--out", folder)
    (record,) = folder.rglob("run.json")
    record.write_bytes(b"{")
    small_disk("ro")
    result = run_tiny("fake", "--out", folder)
    assert result.code == 1 and "Read-only file system" in result.err
    assert f"{record} is damaged (not JSON)" in caplog.text and record.read_bytes() == b"{"


def test_a_folder_locked_during_a_training_stops_it_and_the_next_run_goes_on(vhbench, tiny, out, monkeypatch):
    words = ["--method", "small-net", "--protocol", tiny, "--bits", "8", "--device", "cpu", "--plugin", SMALL_NET]
    words += ["--out", out, "--epochs", "4", "--checkpoint-every", "0"]
    log_epoch, told = RunFolder.log_epoch, []

    def lock(folder, epoch):
        told.append(epoch.number)
        if epoch.number == 3 and not immutable("+i", folder.path):
            pytest.skip("folders cannot be made immutable here")
        log_epoch(folder, epoch)

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "log_epoch", lock)
        try:
            result = vhbench("run", *words)
        finally:
            for folder in out.glob("*/*/*"):
                immutable("-i", folder)
        assert result.code == 1 and "Cannot write" in result.err and "Operation not permitted" in result.err
        assert "Traceback" not in result.err and not list(out.rglob("run.json"))
        patch.setattr(
            RunFolder, "log_epoch", lambda folder, epoch: (told.append(epoch.number), log_epoch(folder, epoch))
        )
        assert vhbench("run", *words).code == 0
    assert told == [1, 2, 3, 3, 4], "it went on from the checkpoint of the second epoch"


def immutable(flag, folder):
    done = (
        subprocess.run(["chattr", flag, folder], capture_output=True, check=False) if shutil.which("chattr") else None
    )
    return done is not None and done.returncode == 0


# clocks and names of machines

ELSEWHERE = """
import ctypes, socket, time
time.time = lambda: 1e9  # 2001: before every file here was written
if ctypes.CDLL(None).unshare(0x04000000) == 0:  # CLONE_NEWUTS: the name changes for this process alone
    socket.sethostname("elsewhere")
else:
    socket.gethostname = lambda: "elsewhere"
"""


def test_another_machine_with_its_clock_set_back_goes_on_where_this_one_died(vhbench, limited, tiny, out, monkeypatch):
    """Locks die with their owners and checkpoints say what they are of: no time and no name of a machine decides."""
    words = ["run", "--method", "small-net", "--protocol", tiny, "--bits", "8", "--device", "cpu"]
    words += ["--plugin", SMALL_NET, "--out", out, "--epochs", "4", "--checkpoint-every", "0"]
    log_epoch = RunFolder.log_epoch

    def stop(folder, epoch):
        if epoch.number == 3:
            raise KeyboardInterrupt
        log_epoch(folder, epoch)

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "log_epoch", stop)
        assert vhbench(*words).code == 130
    (folder,) = out.glob("*/*/*")
    (folder / ".lock").touch()  # as a killed process leaves it
    before = (folder / "train.jsonl").read_text().splitlines()
    for path in folder.rglob("*"):
        os.utime(path, (4e9, 4e9))  # 2096
    code, printed = limited(ELSEWHERE, *words)
    assert code == 0, printed
    lines = (folder / "train.jsonl").read_text().splitlines()
    assert len(lines) == 4 and lines[:1] == before[:1], "the first epoch was not trained again"
    code, printed = limited(ELSEWHERE, *words)
    assert code == 0 and "Nothing to do" in printed


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
    assert all("is damaged (not JSON): `vhbench run`" in said[kind] for kind in ("cut off", "binary"))
    assert "is damaged (it has too many levels): `vhbench run`" in said["deep"]
    assert all("(not a run record" in said[kind] for kind in ("another list", "another object", "no specification"))
    assert (
        "has schema 'vhbench.run/0'; this vhbench reads 'vhbench.run/1', 'vhbench.run/2' and 'vhbench.run/3'"
        in said["old"]
    )
    assert "is damaged (it is a folder and no regular file)" in said["folder"]


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
