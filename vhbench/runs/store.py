"""Where runs are kept: one folder a run, `run.json` written last; the only channel between processes."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vhbench.errors import StoreError
from vhbench.method import Epoch
from vhbench.runs.record import (
    CHECKPOINT,
    CODES,
    CURVES,
    MODEL,
    PER_QUERY,
    RECORD,
    TRACEBACK,
    TRAIN_LOG,
    WEIGHTS,
    DamagedError,
    Record,
    has_log,
    read_record,
    write_record,
)
from vhbench.runs.spec import RunSpec
from vhbench.runs.train_log import log_epoch
from vhbench.system.files import (
    DAMAGED,
    aside_name,
    atomic_write,
    leads_out,
    make_folder,
    read_error,
    set_aside,
    sha256_of,
    sync_folder,
    user_path,
    write_error,
)
from vhbench.system.locks import hold, is_held
from vhbench.system.text import plain

RUN_FOLDER = re.compile(r"\d+b-s\d+-[0-9a-f]{8}")  # the name of a run's folder, as `RunSpec.folder` makes it
ARTEFACTS = (CODES, PER_QUERY, CURVES, TRACEBACK, MODEL, WEIGHTS)

log = logging.getLogger(__name__)


class Store:
    """A results folder.

    Args:
        root: the folder; made when the first run is claimed.
    """

    def __init__(self, root: Path | str):
        self.root = user_path(root)
        self._whole: set[tuple[Any, ...]] = set()  # runs whose files this process has compared with their digests

    def check_writable(self) -> None:
        """Raise StoreError, before any work is done, unless runs can be written."""
        try:
            make_folder(self.root)
            tempfile.TemporaryFile(dir=self.root).close()
        except OSError as error:
            raise write_error(self.root, error) from error

    def path(self, spec: RunSpec) -> Path:
        """Return the folder of a run."""
        return self.root / spec.folder

    def read(self, spec: RunSpec) -> Record | None:
        """Return the run's record, or None where it has none or is damaged; damage is named in a message.

        The files beside the record are read too and compared with their digests, once in the life of this object: a
        run whose codes are damaged is to be done again. One that only lacks what its codes can give again is not.

        Raises:
            StoreError: the record cannot be read or belongs to another run.
        """
        path = self.path(spec) / RECORD
        check_inside(path.parent, self.root)
        try:
            record = read_record(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except DamagedError as error:
            self._name([error], spec)
            return None
        if record.data["id"] != spec.id:
            raise StoreError(f"{path} belongs to another run (its id does not match): move the folder away.")
        files = (record.folder, *record.digests.items())
        if files in self._whole:
            return record
        damage = record.damage(read=True)
        self._name(damage, spec)
        if not all(error.derived for error in damage):
            return None
        self._whole.add(files)
        return record

    def _name(self, damage: Sequence[DamagedError], spec: RunSpec) -> None:
        """Name damaged files in messages, unless they are just being written anew."""
        for error in damage:
            if not self.is_claimed(spec):
                log.warning("%s", error)

    def run_folders(self) -> list[Path]:
        """Return the folders of all runs, with a record or without, in order; those that a link leads to are none."""
        found = (path for path in self.root.glob("*/*/*") if RUN_FOLDER.fullmatch(path.name) and path.is_dir())
        return sorted(path for path in found if not leads_out(path, self.root))

    def records(self) -> tuple[list[Record], list[str]]:
        """Return every sound record, in order of their folders, and a sentence for each damaged file.

        Of the files beside a record only the sizes are compared: a listing must not read gigabytes. A run with damaged
        codes is left out; damage to what its codes can give again is only named.
        """
        found, problems = [], []
        try:
            paths = sorted(path for folder in self.root.glob("*/*/*") if os.path.lexists(path := folder / RECORD))
        except OSError as error:
            raise read_error(self.root, error) from error
        for path in paths:
            try:
                check_inside(path.parent, self.root)
                record = read_record(path)
                damage = record.damage(read=False)
            except FileNotFoundError:  # it is being done again
                continue
            except DamagedError as error:
                damage = [error]
            except StoreError as error:
                problems.append(plain(error))
                continue
            if all(error.derived for error in damage):
                found.append(record)
            if not is_held(path.parent):  # else they are just being written anew
                problems += map(plain, damage)
        return found, problems

    @contextlib.contextmanager
    def claim(self, spec: RunSpec) -> Iterator[RunFolder | None]:
        """Hold the run's lock while the block runs; yield None if another process holds it.

        The operating system drops the lock when its owner dies, so a killed run is free at once.

        Raises:
            StoreError: the folder cannot be written or locked.
        """
        check_inside(self.path(spec), self.root)
        with hold_run(self.path(spec)) as folder:
            yield folder

    def is_claimed(self, spec: RunSpec) -> bool:
        """Say whether a living process works on the run."""
        return is_held(self.path(spec))


def check_inside(folder: Path, root: Path) -> None:
    """Raise StoreError where a link leads out of a results folder: what came with it may not say what is written."""
    if leads_out(folder, root):
        raise StoreError(
            f"{folder} leads out of {root} by a symbolic link: put the folder itself in the link's place, or name the "
            "one that the link leads to by --out."
        )


@contextlib.contextmanager
def hold_run(folder: Path) -> Iterator[RunFolder | None]:
    """Hold the lock of a run's folder while the block runs; yield None if another process holds it.

    Raises:
        StoreError: the folder cannot be written or locked.
    """
    with hold(folder) as held:
        yield RunFolder(folder) if held else None


class RunFolder:
    """The folder of a run that this process holds."""

    def __init__(self, path: Path):
        self.path = path

    @property
    def checkpoint(self) -> Path:
        """The folder of the run's checkpoint."""
        return self.path / CHECKPOINT

    def log_epoch(self, epoch: Epoch) -> None:
        """Append an epoch to the training log."""
        log_epoch(self.path, epoch)

    def publish(
        self,
        record: dict[str, Any],
        *,
        arrays: Mapping[str, Mapping[str, Any]] | None = None,
        texts: Mapping[str, str] | None = None,
        octets: Mapping[str, bytes] | None = None,
        keep_checkpoint: bool = False,
    ) -> Record:
        """Write the run's files and, last of all, its record; then remove the checkpoint.

        Files of an earlier try are replaced; those among them that are damaged are set aside.

        Args:
            record: content of `run.json`; `files` (name -> sha256), `sizes` (name -> bytes) and the digest are added.
            arrays: name of an `.npz` file -> its arrays.
            texts: name of a text file -> its content.
            octets: name of any other file -> its content.
            keep_checkpoint: leave the checkpoint, so that another try goes on from it.
        """
        try:
            self._remove_record()
            names = self._write_files(arrays or {}, texts or {}, octets or {}) + [TRAIN_LOG] * has_log(self.path)
            paths = {name: self.path / name for name in names}
            digests = {name: sha256_of(path) for name, path in paths.items()}
            sizes = {name: path.stat().st_size for name, path in paths.items()}
        except OSError as error:
            raise write_error(self.path, error) from error
        written = write_record(self.path, {**record, "files": digests, "sizes": sizes})
        if not keep_checkpoint:
            self.remove_checkpoint()
        return written

    def _remove_record(self) -> None:
        """Remove the record of an earlier try: files and record must not mix. Set aside what is damaged of it."""
        path = self.path / RECORD
        try:
            damaged = [error.path for error in read_record(path).damage(read=True)]
        except FileNotFoundError:
            return
        except DamagedError as error:
            damaged = [error.path]
        if path not in damaged:
            path.unlink()
            sync_folder(self.path)
        for moved in damaged:
            log.warning("%s was damaged and is now %s", moved, set_aside(moved).name)

    def _write_files(
        self, arrays: Mapping[str, Mapping[str, Any]], texts: Mapping[str, str], octets: Mapping[str, bytes]
    ) -> list[str]:
        """Write what stands beside the record, remove what another status left there, and return the names."""
        contents = {name: text.encode(errors="backslashreplace") for name, text in texts.items()} | octets
        for name, content in arrays.items():
            buffer = io.BytesIO()
            np.savez_compressed(buffer, **content)
            contents[name] = buffer.getvalue()
        for name, data in contents.items():
            with atomic_write(self.path / name) as file:
                file.write(data)
        for name in ARTEFACTS:
            if name not in contents:
                (self.path / name).unlink(missing_ok=True)
        return [*contents]

    def remove_checkpoint(self) -> None:
        """Remove the checkpoint's folder; a checkpoint that was set aside stays beside the record."""
        for damaged in self.checkpoint.glob(f"*{DAMAGED}*"):
            with contextlib.suppress(OSError):
                damaged.rename(aside_name(self.path / damaged.name.partition(DAMAGED)[0]))
        shutil.rmtree(self.checkpoint, ignore_errors=True)
