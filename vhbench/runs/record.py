"""One run's record, `run.json`, and the files beside it: read, checked for damage, never unpickled."""

from __future__ import annotations

import hashlib
import io
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np

from vhbench.errors import StoreError
from vhbench.runs.spec import digest_of
from vhbench.system.files import read_error, sha256_of

SCHEMA = "vhbench.run/2"
# the files of a run's folder
RECORD = "run.json"
CODES = "codes.npz"
PER_QUERY = "per_query.npz"
CURVES = "curves.json"
TRACEBACK = "traceback.txt"
TRAIN_LOG = "train.jsonl"
CHECKPOINT = "checkpoint"  # a folder
DERIVED = (PER_QUERY, CURVES)
STATUSES = ("done", "failed", "skipped")

# a record without these entries, of these types, is not one
ENTRIES: dict[str, Any] = {"id": str, "spec": dict, "status": str, "reason": (str, NoneType), "method": dict}
DONE_ENTRIES: dict[str, Any] = {
    "scores": dict, "queries": dict, "budget": str, "changed": dict, "synthetic": bool, "timing": dict,
    "environment": dict,
}  # fmt: skip
SPEC_ENTRIES: dict[str, Any] = {
    "method": str, "params": dict, "bits": int, "seed": int, "budget": dict, "precision": str, "protocol": str,
    "version": int, "splits": dict,
}  # fmt: skip
PARTS = {"train", "query", "database", "relevance"}
FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")  # a plain name, which leads nowhere else
METRIC = re.compile(r"(.+/)?[a-z]+(@r?[0-9]+)?(\[.*\])?")


class DamagedError(StoreError):
    """A file of a run is not what was written.

    Attributes:
        path: the file.
        derived: it can be made anew from the run's codes, so that the run need not be done again.
    """

    def __init__(self, path: Path, what: str):
        self.path = path
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
            content = path.read_bytes()
        except FileNotFoundError as error:
            advice = "`vhbench rescore` makes it anew" if name in DERIVED else "run it again with --rerun all"
            raise StoreError(f"{path} is missing: {advice}.") from error
        except OSError as error:
            raise read_error(path, error) from error
        if name in self.digests and hashlib.sha256(content).hexdigest() != self.digests[name]:
            raise DamagedError(path, "its sha256 is not the one in run.json")
        return content

    def arrays(self, name: str) -> dict[str, np.ndarray]:
        """Return the arrays of an `.npz` file that was written with the record; errors as for `read_file`."""
        content = self.read_file(name)
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as file:
                return dict(file)
        except Exception as error:  # what numpy's and zipfile's parsers trip over has many types
            raise DamagedError(self.folder / name, "no .npz file of plain arrays") from error

    def check_digests(self) -> None:
        """Raise DamagedError if a file is damaged that the run's codes cannot give again, the codes above all."""
        for error in self.damage(read=True):
            if not error.derived:
                raise error

    def damage(self, *, read: bool) -> list[DamagedError]:
        """Return what is wrong with the files beside the record.

        A file that somebody has removed is no damage: the scores stand, and what needs the file says that it is gone.

        Args:
            read: compare all files with their digests; otherwise only those of another size than was written.

        Raises:
            StoreError: a file cannot be read.
        """
        sizes, found = self.data.get("sizes", {}), []
        for name, digest in self.digests.items():
            path = self.folder / name
            try:
                size = path.stat().st_size
                if (read or size != sizes.get(name, size)) and sha256_of(path) != digest:
                    found.append(DamagedError(path, "its sha256 is not the one in run.json"))
            except FileNotFoundError:
                continue
            except OSError as error:
                raise read_error(path, error) from error
        return found


def read_record(path: Path) -> Record:
    """Read one `run.json`.

    Raises:
        DamagedError: it is not JSON, lacks something that every record has, or its id is not its specification's.
        FileNotFoundError, NotADirectoryError: there is none.
        StoreError: it cannot be read, or is of a schema that this version does not know.
    """
    try:
        text = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as error:
        raise read_error(path, error) from error
    try:
        data = json.loads(text.decode("utf-8"), parse_constant=refuse_constant)
    except (ValueError, RecursionError) as error:
        raise DamagedError(path, "not JSON" if text.strip(b"\0") else "empty") from error
    if isinstance(data, dict):
        data = migrate(data)
        if data.get("schema", SCHEMA) != SCHEMA:
            readable = " and ".join(map(repr, [*MIGRATIONS, SCHEMA]))
            raise StoreError(
                f"{path} has schema {data['schema']!r}; this vhbench reads {readable}: use the version that wrote it, "
                "or move the folder away and run again."
            )
    if not _is_record(data):
        raise DamagedError(path, "not a run record")
    if data["id"] != _digest_of(data["spec"]):
        raise DamagedError(path, "its id is not the sha256 of its specification")
    return Record(path.parent, data)


def migrate(data: dict[str, Any]) -> dict[str, Any]:
    """Return a record's content in the form of SCHEMA, whichever version of vhbench wrote it; another's as it is."""
    while isinstance(schema := data.get("schema"), str) and schema in MIGRATIONS:
        data = MIGRATIONS[schema](data)
    return data


def _from_1(data: dict[str, Any]) -> dict[str, Any]:
    """Schema 2 has names of scores without `@K`, such as mrr; what schema 1 has means the same in it."""
    return {**data, "schema": "vhbench.run/2"}


MIGRATIONS: Mapping[str, Callable[[dict[str, Any]], dict[str, Any]]] = {"vhbench.run/1": _from_1}
"""Schema -> what makes a record of it one of the next. A new schema adds one function; its input is not checked yet.

`tests/old_records` keeps records of each schema as the version that wrote them left them."""


def _digest_of(spec: Mapping[str, Any]) -> str | None:
    try:
        return digest_of(spec)
    except (ValueError, RecursionError):  # a number too large for JSON, or a depth that could just be read
        return None


def refuse_constant(constant: str) -> None:
    """Refuse NaN and infinity, which JSON has not: `parse_constant` of `json.loads`."""
    raise ValueError(f"{constant} is not JSON")


def _is_record(data: Any) -> bool:
    if not (isinstance(data, dict) and "schema" in data and _has(data, ENTRIES) and _has(data["spec"], SPEC_ENTRIES)):
        return False
    files, sizes = data.get("files", {}), data.get("sizes", {})
    splits = data["spec"]["splits"].values()
    if not (_maps_names(files, str) and _maps_names(sizes, int) and isinstance(data["method"].get("fingerprint"), str)):
        return False
    if not all(isinstance(parts, dict) and parts.keys() <= PARTS for parts in splits):
        return False
    if not all(isinstance(digest, str) for parts in splits for digest in parts.values()):
        return False
    if data["status"] == "done":
        return _has(data, DONE_ENTRIES) and _has_scores(data)
    return data["status"] in STATUSES and bool(data["reason"])


def _has(data: Mapping[str, Any], entries: Mapping[str, Any]) -> bool:
    return all(
        name in data and isinstance(data[name], kind) and (kind is not int or not isinstance(data[name], bool))
        for name, kind in entries.items()
    )


def _maps_names(data: Any, kind: type) -> bool:
    """Say whether an entry maps file names to values of a type."""
    return isinstance(data, dict) and all(
        isinstance(value, kind) and FILE.fullmatch(name) for name, value in data.items()
    )


def _has_scores(data: Mapping[str, Any]) -> bool:
    queries = [data["queries"].get(split) for split in data["spec"]["splits"]]
    return (
        all(METRIC.fullmatch(name) for name in data["scores"])
        and all(value is None or is_number(value) for value in data["scores"].values())
        and bool(queries)
        and all(isinstance(counts, dict) and is_number(counts.get("scored")) for counts in queries)
        and isinstance(data["environment"].get("finished"), str)
    )


def is_number(value: Any) -> bool:
    """Say whether a JSON value is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
