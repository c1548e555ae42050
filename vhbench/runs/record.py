"""One run's record, `run.json`, and the files beside it: written, read, checked for damage, never unpickled."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vhbench.errors import StoreError
from vhbench.runs.form import FormError, check_record
from vhbench.runs.made_with import ENTRY
from vhbench.runs.spec import digest_of
from vhbench.system.arrays import read_npz
from vhbench.system.files import (
    LARGEST,
    LARGEST_TEXT,
    NotAFileError,
    check_regular,
    parse_json,
    read_bytes,
    read_error,
    sha256_of,
)
from vhbench.system.sealed import DIGEST, is_as_written, write_sealed
from vhbench.system.text import plain

SCHEMA = "vhbench.run/3"
# the files of a run's folder
RECORD = "run.json"
CODES = "codes.npz"
PER_QUERY = "per_query.npz"
CURVES = "curves.json"
TRACEBACK = "traceback.txt"
TRAIN_LOG = "train.jsonl"
MODEL = "model.json"
WEIGHTS = "model.safetensors"
CHECKPOINT = "checkpoint"  # a folder
DERIVED = (PER_QUERY, CURVES)
UNSCORED = (TRAIN_LOG, MODEL, WEIGHTS)  # no number of the record stands on these; who reads them compares them


def has_log(folder: Path) -> bool:
    """Say whether a run's folder holds a training log: a regular file, and no link to one."""
    try:
        check_regular(folder / TRAIN_LOG, links=False)
    except OSError:
        return False
    return True


class DamagedError(StoreError):
    """A file of a run is not what was written.

    Attributes:
        path: the file.
        what: is wrong with it.
        derived: it can be made anew from the run's codes, so that the run need not be done again.
    """

    def __init__(self, path: Path, what: str):
        self.path, self.what = path, what
        self.derived = path.name in DERIVED
        advice = (
            "`vhbench rescore` makes it anew from the run's codes"
            if self.derived
            else "`vhbench run` sets it aside and does the run again"
        )
        super().__init__(f"{path} is damaged ({what}): {advice}.")


@dataclass(frozen=True)
class Record:
    """One `run.json`.

    Attributes:
        folder: the run's folder.
        data: the file's content, in the form of SCHEMA; `results/README.md` describes its keys.
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

    @property
    def has_digest(self) -> bool:
        """Whether the record would have been refused had it changed; those of schemas 1 and 2 have no digest."""
        return DIGEST in self.data

    @property
    def digests(self) -> Mapping[str, str]:
        """Name of a file that was written with the record -> its sha256."""
        return self.data.get("files", {})  # type: ignore[no-any-return]

    def read_file(self, name: str) -> bytes:
        """Return the content of a file that was written with the record, e.g. "curves.json".

        Raises:
            DamagedError: the content is not what was written.
            StoreError: there is no such file, or it cannot be read.
        """
        path = self.folder / name
        try:
            content = read_bytes(path, links=False)
        except NotAFileError as error:
            raise DamagedError(path, str(error.strerror)) from error
        except FileNotFoundError as error:
            advice = "`vhbench rescore` makes it anew" if name in DERIVED else "run it again with --rerun all"
            raise StoreError(f"{path} is missing: {advice}.") from error
        except OSError as error:
            raise read_error(path, error) from error
        if name in self.digests and hashlib.sha256(content).hexdigest() != self.digests[name]:
            raise DamagedError(path, "its sha256 is not the one in run.json")
        return content

    def arrays(self, name: str, only: Collection[str] | None = None, limit: int = LARGEST) -> dict[str, np.ndarray]:
        """Return the arrays of an `.npz` file that was written with the record; errors as for `read_file`.

        Args:
            name: of the file.
            only: names of arrays, those that are there; None: all.
            limit: the most bytes that they may have.
        """
        content = self.read_file(name)
        try:
            return read_npz(content, only, limit=limit)
        except ValueError as error:
            raise DamagedError(self.folder / name, str(error)) from error

    def check_digests(self) -> None:
        """Raise DamagedError if a file is damaged that the run's codes cannot give again, the codes above all."""
        for error in self.damage(read=True):
            if not error.derived:
                raise error

    def damage(self, *, read: bool) -> list[DamagedError]:
        """Return what is wrong with the files beside the record.

        A file that somebody has removed is no damage: the scores stand, and what needs the file says that it is gone.
        Nor are files that no number stands on: `read_log` and `vhbench.runs.model` compare them when they are read. The
        log of a run that was begun again goes on, and models are large.

        Args:
            read: compare all files with their digests; otherwise only those of another size than was written.

        Raises:
            StoreError: a file cannot be read.
        """
        found = []
        for name in (name for name in self.digests if name not in UNSCORED):
            path = self.folder / name
            try:
                what = self._fault(path, read)
            except NotAFileError as error:
                what = str(error.strerror)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise read_error(path, error) from error
            if what:
                found.append(DamagedError(path, what))
        return found

    def _fault(self, path: Path, read: bool) -> str:
        """Say what is wrong with a file that was written with the record; empty: nothing."""
        check_regular(path, links=False)
        size = path.stat().st_size
        if size > LARGEST:  # not to be read, whatever the record says
            return f"it has {size} bytes, and such a file at most {LARGEST}"
        as_written = not read and size == self.data.get("sizes", {}).get(path.name, size)
        return (
            "" if as_written or sha256_of(path) == self.digests[path.name] else f"its sha256 is not the one in {RECORD}"
        )


def write_record(folder: Path, data: Mapping[str, Any]) -> Record:
    """Write a run's record, with the digest of its content at its end, and return it.

    Args:
        folder: the run's.
        data: the content, in the form of SCHEMA; the digest that a record was read with counts for nothing.

    Raises:
        StoreError: it cannot be written.
    """
    return Record(folder, write_sealed(folder / RECORD, data))


def read_record(path: Path) -> Record:
    """Read one `run.json`.

    Raises:
        DamagedError: it is no regular file, not JSON or not of a record's form, its digest is not that of its content,
            or its id is not its specification's.
        FileNotFoundError, NotADirectoryError: there is none.
        StoreError: it cannot be read, or is of a schema that this version does not know.
    """
    try:
        content = read_bytes(path, links=False, limit=LARGEST_TEXT)
    except (FileNotFoundError, NotADirectoryError):
        raise
    except NotAFileError as error:
        raise DamagedError(path, str(error.strerror)) from error
    except OSError as error:
        raise read_error(path, error) from error
    try:
        data = parse_json(content)
    except ValueError as error:
        raise DamagedError(path, str(error) if content.strip(b"\0") else "empty") from error
    if not isinstance(data, dict) or not isinstance(data.get("schema"), str):
        raise DamagedError(path, "not a run record")
    written_as = data["schema"]
    data = migrate(data)
    if data["schema"] != SCHEMA:
        readable = f"{', '.join(map(repr, MIGRATIONS))} and {SCHEMA!r}"
        raise StoreError(
            f"{path} has schema {data['schema']!r}; this vhbench reads {readable}: use the version that wrote it, "
            "or move the folder away and run again."
        )
    if (written_as == SCHEMA or DIGEST in data) and not is_as_written(content):
        raise DamagedError(path, "it was changed after it was written: its digest is not that of its content")
    try:
        check_record(data)
    except FormError as error:
        raise DamagedError(path, f"not a run record: {error}") from error
    if data["id"] != digest_of(data["spec"]):
        raise DamagedError(path, "its id is not the sha256 of its specification")
    as_it_is = ("spec", ENTRY)  # the run's identity, and paths: both are shown by what quotes them
    return Record(path.parent, {name: x if name in as_it_is else _printable(x) for name, x in data.items()})


def migrate(data: dict[str, Any]) -> dict[str, Any]:
    """Return a record's content in the form of SCHEMA, whichever version of vhbench wrote it; another's as it is."""
    while isinstance(schema := data.get("schema"), str) and schema in MIGRATIONS:
        data = MIGRATIONS[schema](data)
    return data


def _from_1(data: dict[str, Any]) -> dict[str, Any]:
    """Schema 2 has names of scores without `@K`, such as mrr; what schema 1 has means the same in it."""
    return {**data, "schema": "vhbench.run/2"}


def _from_2(data: dict[str, Any]) -> dict[str, Any]:
    """Schema 3 has a digest of the whole record, which cannot be given to one that is there already."""
    return {**data, "schema": "vhbench.run/3"}


MIGRATIONS: Mapping[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "vhbench.run/1": _from_1, "vhbench.run/2": _from_2,
}  # fmt: skip
"""Schema -> what makes a record of it one of the next. A new schema adds one function; its input is not checked yet.

`tests/old_records` keeps records of each schema as the version that wrote them left them."""


def _printable(value: Any) -> Any:
    """Return a value with all text in it made plain: it may come from other people, and goes to terminals and pages."""
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, list):
        return [_printable(inner) for inner in value]
    if isinstance(value, dict):
        return {_printable(name): _printable(inner) for name, inner in value.items()}
    return value
