"""Where runs are kept: one folder a run, `run.json` written last; the only channel between processes."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from vhbench.errors import StoreError
from vhbench.files import TEMPORARY, atomic_write, sha256_of, write_error, write_json
from vhbench.method import Epoch
from vhbench.spec import RunSpec

SCHEMA = "vhbench.run/1"
RECORD = "run.json"
LOCK = ".lock"
LOCK_TRIES, LOCK_PAUSE = 5, 0.02  # seconds
HELD = (errno.EWOULDBLOCK, errno.EACCES)  # what `flock` says of a lock that another process holds
KEYS = {"id", "spec", "status", "reason", "method"}  # a record without these is not one
DONE_KEYS = {"scores", "queries", "budget", "changed", "synthetic", "timing", "environment"}
SPEC_KEYS = {field.name for field in fields(RunSpec)}
ARTEFACTS = ("codes.npz", "per_query.npz", "curves.json", "traceback.txt")


@dataclass(frozen=True)
class Record:
    """One `run.json`.

    Attributes:
        folder: the run's folder.
        data: the file's content; `results/README.md` describes its keys.
    """

    folder: Path
    data: Mapping[str, Any]

    @property
    def spec(self) -> Mapping[str, Any]:
        """The run's specification."""
        return self.data["spec"]  # type: ignore[no-any-return]

    @property
    def status(self) -> str:
        """One of "done", "failed" and "skipped"."""
        return str(self.data["status"])

    @property
    def scores(self) -> Mapping[str, float | None]:
        """Full metric name -> number; names of further splits are prefixed with `split/`."""
        return self.data.get("scores", {})  # type: ignore[no-any-return]


class Store:
    """A results folder.

    Args:
        root: the folder; made when the first run is claimed.
    """

    def __init__(self, root: Path | str):
        self.root = Path(root)

    def check_writable(self) -> None:
        """Raise StoreError, before any work is done, unless runs can be written."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=self.root).close()
        except OSError as error:
            raise write_error(self.root, error) from error

    def path(self, spec: RunSpec) -> Path:
        """Return the folder of a run."""
        return self.root / spec.folder

    def read(self, spec: RunSpec) -> Record | None:
        """Return the run's record, or None where it has none.

        Raises:
            StoreError: the record is damaged or belongs to another run.
        """
        path = self.path(spec) / RECORD
        if not path.exists():
            return None
        record = read_record(path)
        if record.data["id"] != spec.id:
            raise StoreError(f"{path} belongs to another run (its id does not match): move the folder away.")
        return record

    def records(self) -> tuple[list[Record], list[str]]:
        """Return every readable record, in order of their folders, and a sentence for each unreadable one."""
        found, problems = [], []
        for path in sorted(self.root.glob(f"*/*/*/{RECORD}")):
            try:
                found.append(read_record(path))
            except StoreError as error:
                problems.append(str(error))
        return found, problems

    @contextlib.contextmanager
    def claim(self, spec: RunSpec) -> Iterator[RunFolder | None]:
        """Hold the run's lock while the block runs; yield None if another process holds it.

        The operating system drops the lock when its owner dies, so a killed run is free at once.
        """
        folder = self.path(spec)
        try:
            descriptor = _lock(folder / LOCK)
        except OSError as error:
            raise write_error(folder, error) from error
        if descriptor is None:
            yield None
            return
        try:
            yield RunFolder(folder)
        finally:
            (folder / LOCK).unlink(missing_ok=True)
            os.close(descriptor)
            with contextlib.suppress(OSError):
                folder.rmdir()  # only if it is empty: nothing was done

    def is_claimed(self, spec: RunSpec) -> bool:
        """Say whether a living process works on the run."""
        return is_locked(self.path(spec) / LOCK)


class RunFolder:
    """The folder of a run that this process holds."""

    def __init__(self, path: Path):
        self.path = path
        for left in path.rglob(f"{TEMPORARY}*"):  # of a process that was killed while writing
            left.unlink(missing_ok=True)

    @property
    def checkpoint(self) -> Path:
        """The folder of the run's checkpoint."""
        return self.path / "checkpoint"

    def log_epoch(self, epoch: Epoch) -> None:
        """Append an epoch to `train.jsonl`; lines of this and later epochs, from before a kill, are dropped."""
        path = self.path / "train.jsonl"
        lines = path.read_text().splitlines() if path.is_file() and epoch.number > 1 else []
        lines = lines[: epoch.number - 1]
        line = {"epoch": epoch.number, "loss": epoch.loss, **epoch.parts, "seconds": round(epoch.seconds, 3)}
        with atomic_write(path) as file:
            file.write("".join(f"{text}\n" for text in [*lines, json.dumps(line)]).encode())

    def publish(
        self,
        record: dict[str, Any],
        *,
        arrays: Mapping[str, Mapping[str, Any]] | None = None,
        texts: Mapping[str, str] | None = None,
    ) -> Record:
        """Write the run's files and, last of all, its record; then remove the checkpoint.

        Args:
            record: content of `run.json`; `files` (name -> sha256) is added.
            arrays: name of an `.npz` file -> its arrays.
            texts: name of a text file -> its content.
        """
        (self.path / RECORD).unlink(missing_ok=True)  # of an earlier try: files and record must not mix
        names = []
        for name, content in (arrays or {}).items():
            buffer = io.BytesIO()
            np.savez_compressed(buffer, **content)
            names.append(self._write(name, buffer.getvalue()))
        for name, text in (texts or {}).items():
            names.append(self._write(name, text.encode()))
        for name in ARTEFACTS:
            if name not in names:
                (self.path / name).unlink(missing_ok=True)
        record = {**record, "files": {name: sha256_of(self.path / name) for name in names}}
        write_json(self.path / RECORD, record)
        shutil.rmtree(self.checkpoint, ignore_errors=True)
        return Record(self.path, record)

    def _write(self, name: str, content: bytes) -> str:
        with atomic_write(self.path / name) as file:
            file.write(content)
        return name


def read_record(path: Path) -> Record:
    """Read one `run.json`.

    Raises:
        StoreError: it is unreadable, not JSON, or not a record of this schema.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StoreError(f"Cannot read {path}: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise StoreError(f"{path} is damaged (not JSON): move the folder away and run again.") from error
    if isinstance(data, dict) and data.get("schema", SCHEMA) != SCHEMA:
        raise StoreError(
            f"{path} has schema {data['schema']!r}; this vhbench reads {SCHEMA!r}: use the version that wrote it, or "
            "move the folder away and run again."
        )
    if not _is_record(data):
        raise StoreError(f"{path} is not a run record: move the folder away and run again.")
    return Record(path.parent, data)


def _is_record(data: Any) -> bool:
    if not isinstance(data, dict) or "schema" not in data or not data.keys() >= KEYS:
        return False
    if not all(isinstance(data[key], dict) for key in ("spec", "method")) or not data["spec"].keys() >= SPEC_KEYS:
        return False
    return data["status"] != "done" or (data.keys() >= DONE_KEYS and isinstance(data["scores"], dict))


def is_locked(path: Path) -> bool:
    """Say whether a living process holds this lock file."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in HELD
    finally:
        os.close(descriptor)
    return False


def _lock(path: Path) -> int | None:
    """Take the lock and return its descriptor, or None if another process holds it."""
    for _ in range(LOCK_TRIES):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:  # the owner before us has just removed the empty folder
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # the owner before us may have removed the file between our open and our lock
            if os.fstat(descriptor).st_ino == path.stat().st_ino:
                return descriptor
        except FileNotFoundError:
            pass
        except OSError as error:
            if error.errno not in HELD:  # the file system has no locks
                os.close(descriptor)
                raise
            time.sleep(LOCK_PAUSE)  # held: by an owner, or for an instant by `is_claimed`
        os.close(descriptor)
    return None
