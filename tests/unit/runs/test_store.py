"""The results folder: whole records or none, locks that die with their owner, and nothing left lying about."""

import dataclasses
import errno
import fcntl
import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from vhbench.errors import StoreError
from vhbench.method import Epoch
from vhbench.runs.record import RECORD, SCHEMA, read_record, write_record
from vhbench.runs.spec import RunSpec
from vhbench.runs.store import RunFolder, Store
from vhbench.system import locks
from vhbench.system.locks import is_held

SPEC = RunSpec("m", {}, 8, 0, {"epochs": None, "videos": None}, "float32", "toy", 1, {"toy": {}})
OTHER = dataclasses.replace(SPEC, seed=1)
RECORD_OF = {
    "schema": SCHEMA, "id": SPEC.id, "spec": SPEC.to_json(), "status": "done", "reason": None,
    "method": {"origin": "built-in", "fingerprint": ""}, "scores": {"map@5": 0.5},
    "queries": {"toy": {"total": 2, "scored": 2}},
    "budget": "paper", "changed": {}, "synthetic": False, "timing": {}, "environment": {"finished": "2026-01-01"},
}  # fmt: skip
ARRAYS = {"codes.npz": {"toy/query": np.arange(4)}, "per_query.npz": {"map@5": np.ones(4)}}
TEXTS = {"curves.json": "{}"}


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "results")


def files(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def publish(store, **changes):
    with store.claim(SPEC) as folder:
        return folder.publish({**RECORD_OF, **changes}, arrays=ARRAYS, texts=TEXTS)


# reading and writing


def test_what_is_published_is_read_back(store):
    assert store.read(SPEC) is None
    publish(store)
    record = store.read(SPEC)
    assert (record.status, record.scores, record.spec) == ("done", {"map@5": 0.5}, SPEC.to_json())
    assert files(record.folder) == {RECORD, *ARRAYS, *TEXTS} == {RECORD, *record.data["files"]}
    assert np.array_equal(np.load(record.folder / "codes.npz")["toy/query"], np.arange(4))
    assert store.records() == ([record], [])


@pytest.mark.parametrize("last", [*ARRAYS, *TEXTS, RECORD])
def test_a_kill_between_files_leaves_no_record(store, monkeypatch, last):
    """`run.json` is absent or whole: it is the last file that is renamed into place."""

    class Killed(BaseException):
        pass

    publish(store)
    replace = type(store.root).replace

    def replace_until(self, target):
        if target.name == last:
            raise Killed
        return replace(self, target)

    monkeypatch.setattr(type(store.root), "replace", replace_until)
    with pytest.raises(Killed):
        publish(store, scores={})
    monkeypatch.undo()
    assert store.read(SPEC) is None, "neither the old record beside new files nor a part of the new one"
    assert publish(store, scores={}).scores == {}


class PowerCuts:
    """What would be left on the disk if the power failed: content and names, each as last flushed."""

    def __init__(self, root):
        self.root = root
        self.contents, self.names = {}, {}
        self.records = 0

    def fsync(self, descriptor):
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        if path.is_dir():
            self.names[path] = {entry.name: entry.inode() for entry in os.scandir(path)}
        else:
            self.contents[path.stat().st_ino] = path.read_bytes()
        self.check()

    def content(self, path):
        """Return a file's content on the disk, b"" where only its name was flushed, None where not even that."""
        for parent in path.relative_to(self.root.parent).parents:
            folder = self.root.parent / parent
            if folder != self.root.parent and folder.name not in self.names.get(folder.parent, {}):
                return None
        inode = self.names.get(path.parent, {}).get(path.name)
        return None if inode is None else self.contents.get(inode, b"")

    def check(self):
        """A record on the disk is whole, and so is all that it vouches for."""
        for folder in [folder for folder in self.names if folder.parent.parent.parent == self.root]:
            text = self.content(folder / RECORD)
            if text is not None:
                self.records += 1
                for name, digest in json.loads(text)["files"].items():
                    assert hashlib.sha256(self.content(folder / name)).hexdigest() == digest


def test_after_a_power_cut_at_any_moment_a_record_is_whole_or_absent(store, monkeypatch):
    disk = PowerCuts(store.root)
    monkeypatch.setattr(os, "fsync", disk.fsync)
    publish(store)
    assert disk.records, "what was published is on the disk, with all folders above it"
    publish(store, scores={"map@5": 0.25})
    assert json.loads(disk.content(store.path(SPEC) / RECORD))["scores"] == {"map@5": 0.25}


def test_numbers_that_json_lacks_are_never_written(store):
    with pytest.raises(ValueError):
        publish(store, scores={"map@5": float("nan")})
    assert store.read(SPEC) is None and files(store.path(SPEC)) == {*ARRAYS, *TEXTS}


def test_publishing_removes_the_checkpoint_and_what_another_status_left(store):
    with store.claim(SPEC) as folder:
        folder.checkpoint.mkdir()
        (folder.checkpoint / "state.pt").write_bytes(b"state")
        folder.publish({**RECORD_OF, "status": "failed", "reason": "it broke"}, texts={"traceback.txt": "..."})
    assert files(store.path(SPEC)) == {RECORD, "traceback.txt"}
    publish(store)
    assert files(store.path(SPEC)) == {RECORD, *ARRAYS, *TEXTS}


def test_records_lists_every_run_and_names_what_it_cannot_read(store):
    publish(store)
    damaged = store.root / "toy" / "m" / "16b-s0-00000000" / RECORD
    damaged.parent.mkdir()
    damaged.write_text("{")
    found, problems = store.records()
    assert [record.folder for record in found] == [store.path(SPEC)]
    assert problems == [f"{damaged} is damaged (not JSON): `vhbench run` sets it aside and does the run again."]


def test_a_record_of_another_run_is_refused(store):
    publish(store)
    store.path(SPEC).rename(store.path(OTHER))
    with pytest.raises(StoreError, match="belongs to another run"):
        store.read(OTHER)


def test_a_record_of_another_schema_is_refused_with_a_sentence(tmp_path):
    path = tmp_path / RECORD
    path.write_text(json.dumps({**RECORD_OF, "schema": "vhbench.run/0"}))
    with pytest.raises(StoreError) as error:
        read_record(path)
    assert str(error.value).startswith(
        f"{path} has schema 'vhbench.run/0'; this vhbench reads 'vhbench.run/1', 'vhbench.run/2' and 'vhbench.run/3'"
    )


@pytest.mark.parametrize("missing", ["schema", "id", "status", "reason", "method", "scores", "environment", "spec"])
def test_an_object_that_lacks_an_entry_is_no_record(tmp_path, missing):
    path = tmp_path / RECORD
    write_record(tmp_path, {name: value for name, value in RECORD_OF.items() if name != missing})
    with pytest.raises(StoreError, match="not a run record"):
        read_record(path)


def test_a_failed_record_needs_no_scores(tmp_path):
    kept = {key: RECORD_OF[key] for key in ("schema", "id", "spec", "method")}
    write_record(tmp_path, {**kept, "status": "failed", "reason": "it broke"})
    assert read_record(tmp_path / RECORD).scores == {}


# the training log


def test_the_log_has_each_epoch_once_also_after_a_kill(store):
    with store.claim(SPEC) as folder:
        for number in (1, 2, 3, 4, 3, 4, 5):  # killed after epoch 4, continued from the checkpoint of epoch 2
            folder.log_epoch(Epoch(number, 5, 1 / number, {"recon": 1 / number}, 0.1))
    lines = [json.loads(line) for line in (store.path(SPEC) / "train.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4, 5]
    assert lines[2] == {"epoch": 3, "loss": 1 / 3, "recon": 1 / 3, "seconds": 0.1}


# claims


def test_a_claimed_run_is_refused_to_others_until_it_is_given_back(store):
    assert not store.is_claimed(SPEC)
    with store.claim(SPEC) as folder:
        assert isinstance(folder, RunFolder) and store.is_claimed(SPEC)
        with store.claim(SPEC) as second:
            assert second is None
        with store.claim(OTHER) as another:
            assert another is not None
    assert not store.is_claimed(SPEC)
    with store.claim(SPEC) as again:
        assert again is not None


def test_a_claim_without_a_result_leaves_nothing(store):
    with pytest.raises(KeyError), store.claim(SPEC):
        raise KeyError
    assert not store.path(SPEC).exists()


def test_a_claim_keeps_what_lies_in_the_folder_but_removes_half_written_files(store):
    folder = store.path(SPEC)
    (folder / "checkpoint").mkdir(parents=True)
    for name in ("train.jsonl", ".tmp-abcrun.json", "checkpoint/state.pt", "checkpoint/.tmp-abcstate.pt"):
        (folder / name).write_text("")
    with store.claim(SPEC):
        pass
    assert files(folder) == {"train.jsonl", "checkpoint/state.pt"}


def test_a_process_that_is_killed_loses_its_claim(store):
    folder = store.path(SPEC)
    folder.mkdir(parents=True)
    code = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX); print('held'); input()"
    words = [sys.executable, "-uc", code, str(folder / ".lock")]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as owner:
        assert owner.stdout.readline() == b"held\n"
        assert store.is_claimed(SPEC)
        with store.claim(SPEC) as claimed:
            assert claimed is None
        owner.send_signal(signal.SIGKILL)
        owner.wait()
    assert (folder / ".lock").exists() and not store.is_claimed(SPEC)
    with store.claim(SPEC) as claimed:
        assert claimed is not None


def test_a_lock_removed_by_its_owner_in_the_instant_between_open_and_lock_is_not_taken(store, monkeypatch):
    """Otherwise two processes could hold the same run: one by the removed file, one by a new file of that name."""
    flock, calls = fcntl.flock, []

    def flock_of_a_removed_file(descriptor, operation):
        flock(descriptor, operation)
        calls.append(descriptor)
        if len(calls) == 1:
            (store.path(SPEC) / ".lock").unlink()

    monkeypatch.setattr(locks.fcntl, "flock", flock_of_a_removed_file)
    with store.claim(SPEC) as folder:
        assert folder is not None and len(calls) == 2
        monkeypatch.undo()
        assert is_held(store.path(SPEC))


def test_a_file_system_without_locks_is_an_error_and_not_another_process(store, monkeypatch):
    def refuse(descriptor, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locks.fcntl, "flock", refuse)
    words = r"No locks available.*choose an --out on a file system that has them"
    with pytest.raises(StoreError, match=words), store.claim(SPEC):
        pass


def test_a_file_that_the_server_has_lost_is_an_error_and_no_missing_record(store, monkeypatch):
    publish(store)

    def stale(path, **options):
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    monkeypatch.setattr("vhbench.runs.record.read_bytes", stale)
    with pytest.raises(StoreError, match=r"run\.json: the file server has lost track of it \(Stale file handle\)"):
        store.read(SPEC)


def test_a_rename_that_the_server_did_but_answers_with_an_error_leaves_a_whole_record(store, monkeypatch):
    """As NFS does where the first answer was lost: the same request, sent again, finds the file gone."""
    replace = Path.replace

    def lost_answer(path, target):
        replace(path, target)
        if target.name == RECORD:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

    monkeypatch.setattr(Path, "replace", lost_answer)
    with pytest.raises(StoreError, match="Cannot write"):
        publish(store)
    monkeypatch.undo()
    assert store.read(SPEC).scores == {"map@5": 0.5}


def test_files_that_nfs_keeps_for_a_reader_are_in_nobodys_way(store):
    folder = store.path(SPEC)
    (folder / "checkpoint").mkdir(parents=True)
    for left in (folder / ".nfs0000000001", folder / "checkpoint" / ".nfs0000000002"):
        left.write_bytes(b"removed, but still open elsewhere")
    publish(store)
    assert store.records()[1] == [] and store.read(SPEC).status == "done"


def test_checking_that_the_folder_can_be_written_leaves_nothing_in_it(store):
    store.check_writable()
    assert list(store.root.iterdir()) == []
