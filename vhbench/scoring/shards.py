"""Scoring a database in shards: counts that processes or machines of their own make, kept as files and added up.

Distance counts are additive over the database, in whole numbers, so that the sum does not depend on the shards: it is
that of a single pass, and so is every score, to the last bit. Codes and labels are read in blocks of rows; no process
ever holds more of the database than one block.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np

from vhbench.errors import DataError, StoreError, UsageError
from vhbench.features.headers import NPY_ERRORS
from vhbench.features.inputs import check_regular
from vhbench.scoring.counts import DistanceCounts, count_distances
from vhbench.system.arrays import read_npz
from vhbench.system.files import LARGEST, atomic_write, parse_json, read_json

SCHEMA = "vhbench.counts/1"
BLOCK_ROWS = 1 << 17
LARGEST_COUNTS = 4 * LARGEST  # bytes; two million queries at 128 bits
SHOWN = 10  # missing shards that a message names
NAME = "counts-{number:05}-of-{of:05}.npz"
ARRAYS = ("items", "relevant")
SELF_ARRAYS = ("self_distance", "self_relevant")


@dataclass(frozen=True)
class Shard:
    """What was counted: a part of a database, against which queries.

    Attributes:
        number: which of the shards, from 1.
        of: how many there are.
        start: first row of the database that was counted.
        stop: end of these rows.
        rows: rows of the whole database.
        bits: length of the codes.
        queries: sha256 of the queries' codes and labels and of their rows in the database.
        content: sha256 of the rows' codes and labels.
    """

    number: int
    of: int
    start: int
    stop: int
    rows: int
    bits: int
    queries: str
    content: str


class CodeFiles:
    """Codes and labels as `.npy` files in one folder, as `vhbench export` writes them.

    `query.npy` and `database.npy`: uint8 (videos, ceil(bits / 8)), bit j of a code in bit j % 8 of byte j // 8, or in
    the other order of bits where `about.json` says "big".
    `query-labels.npy` and `database-labels.npy`: int (videos,) or multi-hot (videos, classes).
    `self-index.npy`, where queries sit in the database: int (queries,), the database row that is the query, -1: none.

    Args:
        folder: the folder.
        bits: length of the codes; by default what `about.json`, here or in the folder above, says, or else all bits of
            all bytes.

    Raises:
        DataError: a file is missing, damaged or of another form.
        UsageError: the codes have fewer or many more bits.
    """

    def __init__(self, folder: Path | str, bits: int | None = None):
        self.folder = Path(folder)
        self._query = _bytes_of(self._open("query.npy"), self.folder / "query.npy")
        database = _bytes_of(self._open("database.npy"), self.folder / "database.npy")
        width = self._query.shape[1]
        if database.shape[1] != width:
            raise DataError(f"{self.folder}: query.npy has {width} bytes a code and database.npy {database.shape[1]}.")
        self.rows = len(database)
        about = self._about()
        self._order: Literal["big", "little"] = "big" if about.get("order") == "big" else "little"
        told = about.get("bits")
        self.bits = bits or (told if type(told) is int and told > 0 else 8 * width)
        if not 8 * (width - 1) < self.bits <= 8 * width:
            raise UsageError(f"Codes of {width} bytes have {8 * width - 7} to {8 * width} bits, not {self.bits}.")
        self._query_labels = np.asarray(self._open("query-labels.npy"))
        self._check_length("query-labels.npy", self._query_labels, len(self._query))
        self._check_length("database-labels.npy", self._open("database-labels.npy"), self.rows)
        self._self_index = self._read_self_index()

    def count(self, number: int = 1, of: int = 1) -> tuple[Shard, DistanceCounts]:
        """Count one shard of the database, block by block.

        Args:
            number: which shard, from 1.
            of: how many shards; they are equally long, to a row.

        Raises:
            UsageError: there is no such shard.
            DataError: codes or labels are not of the form that they should be.
        """
        if not 1 <= number <= of <= self.rows:
            raise UsageError(
                f"There is no shard {number}/{of} of a database of {self.rows} rows: shards are numbered from 1, and "
                "each has a row at least."
            )
        start, stop = self.rows * (number - 1) // of, self.rows * number // of
        query_codes = self._unpack(self._query, "query.npy")
        digest, total = hashlib.sha256(), None
        for first, codes, labels in self._blocks(start, stop):
            _add_to(digest, codes, labels)
            self_index = self._self_index
            if self_index is not None:
                inside = (self_index >= first) & (self_index < first + len(codes))
                self_index = np.where(inside, self_index - first, -1)
            try:
                counts = count_distances(
                    query_codes,
                    self._unpack(codes, "database.npy"),
                    self._query_labels,
                    labels,
                    self_index=self_index,
                )
            except ValueError as error:
                raise DataError(f"{self.folder}: {error}") from error
            total = counts if total is None else total + counts
        assert total is not None
        return Shard(number, of, start, stop, self.rows, self.bits, self._digest(), digest.hexdigest()), total

    def _blocks(self, start: int, stop: int) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Yield first row, packed codes and labels of each block."""
        for first in range(start, stop, BLOCK_ROWS):
            # opened anew each time: pages of a long-lived map would stay in this process's memory
            rows = slice(first, min(stop, first + BLOCK_ROWS))
            yield first, np.array(self._open("database.npy")[rows]), np.array(self._open("database-labels.npy")[rows])

    def _digest(self) -> str:
        digest = hashlib.sha256()
        _add_to(digest, self._query, self._query_labels)
        if self._self_index is not None:
            _add_to(digest, self._self_index)
        return digest.hexdigest()

    def _read_self_index(self) -> np.ndarray | None:
        name = "self-index.npy"
        if not (self.folder / name).exists():
            return None
        index = np.asarray(self._open(name))
        self._check_length(name, index, len(self._query))
        if index.ndim != 1 or index.dtype.kind not in "iu" or ((index < -1) | (index >= self.rows)).any():
            raise DataError(f"{self.folder / name} must hold a row of the database for each query, or -1 for none.")
        return index.astype(np.int64)

    def _check_length(self, name: str, array: np.ndarray, length: int) -> None:
        if array.ndim == 0 or len(array) != length:
            raise DataError(f"{self.folder / name} has shape {array.shape}; there are {length} codes.")

    def _open(self, name: str) -> np.ndarray:
        path = self.folder / name
        try:
            check_regular(path)
            array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
        except FileNotFoundError as error:
            labels = ", labels where it finds the run's data" if "labels" in name else ""
            raise DataError(f"There is no {path}: `vhbench export RUN -o DIR` writes such files{labels}.") from error
        except (OSError, EOFError, *NPY_ERRORS) as error:
            raise DataError(f"{path} is not a sound .npy file ({error}). Make it again.") from error
        if not isinstance(array, np.ndarray):
            raise DataError(f"{path} is an .npz archive, not an .npy file.")
        return array

    def _about(self) -> dict[str, Any]:
        """Return what the export says of itself, here or in the folder above; {} where it says nothing."""
        for folder in (self.folder, self.folder.resolve().parent):
            try:
                about = read_json(folder / "about.json", links=True)
            except (OSError, ValueError):
                continue
            if isinstance(about, dict) and "bits" in about:
                return about
        return {}

    def _unpack(self, packed: np.ndarray, name: str) -> np.ndarray:
        """Return the codes, bool (videos, bits); bits beyond them must be 0."""
        every = np.unpackbits(np.asarray(packed), axis=1, bitorder=self._order).view(bool)
        if every[:, self.bits :].any():
            raise DataError(f"{self.folder / name} has bits beyond the {self.bits} of a code: give the right --bits.")
        return every[:, : self.bits]


def save_shard(folder: Path | str, shard: Shard, counts: DistanceCounts) -> Path:
    """Write the counts of a shard to a file of its own in `folder`, and return its path; nothing is pickled.

    Raises:
        StoreError: the folder cannot be written.
    """
    path = Path(folder) / NAME.format(number=shard.number, of=shard.of)
    names = [*ARRAYS, *(SELF_ARRAYS if counts.self_distance is not None else ())]
    arrays: dict[str, Any] = {name: getattr(counts, name) for name in names}
    with atomic_write(path) as file:
        np.savez_compressed(file, about=np.asarray(json.dumps({"schema": SCHEMA, **asdict(shard)})), **arrays)
    return path


def load_shard(path: Path | str) -> tuple[Shard, DistanceCounts]:
    """Read what `save_shard` wrote.

    Raises:
        StoreError: the file is missing or damaged, or of another schema.
    """
    try:
        arrays = read_npz(Path(path), limit=LARGEST_COUNTS)
        about = parse_json(str(arrays.pop("about")).encode())
        if about.pop("schema") != SCHEMA:
            raise ValueError(f"its schema is not {SCHEMA}")
        shard, counts = Shard(**about), DistanceCounts(**arrays)
        _check_counts(shard, counts)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise StoreError(f"{path} is no sound file of counts ({error}): count that shard again.") from error
    return shard, counts


def _check_counts(shard: Shard, counts: DistanceCounts) -> None:
    """Raise ValueError unless these can be the counts of a shard; what they are of nothing can tell."""
    kinds = {"queries": str, "content": str}
    if wrong := [name for name, value in asdict(shard).items() if type(value) is not kinds.get(name, int)]:
        raise ValueError(f"its {wrong[0]} is none")
    if not (1 <= shard.number <= shard.of <= shard.rows and 0 <= shard.start < shard.stop <= shard.rows):
        raise ValueError("there is no such shard")
    arrays = {name: value for name, value in vars(counts).items() if value is not None}
    shape = (len(counts.items), shard.bits + 1)
    forms: dict[str, tuple[tuple[int, ...], Any]] = dict.fromkeys(ARRAYS, (shape, np.int64))
    forms |= {"self_distance": (shape[:1], np.int64), "self_relevant": (shape[:1], np.bool_)}
    if any((array.shape, array.dtype) != forms[name] for name, array in arrays.items()):
        raise ValueError(f"it does not hold counts of codes of {shard.bits} bits")
    if (counts.relevant < 0).any() or (counts.relevant > counts.items).any():
        raise ValueError("more items are relevant than there are")
    if (counts.items.sum(axis=1) != shard.stop - shard.start).any():
        raise ValueError(f"its items are not {shard.stop - shard.start} a query")
    if len(arrays) not in (len(ARRAYS), len(ARRAYS) + len(SELF_ARRAYS)):
        raise ValueError(f"it has one of {' and '.join(SELF_ARRAYS)}")
    own = counts.self_distance
    if own is not None and ((own < -1) | (own > shard.bits)).any():
        raise ValueError(f"a self_distance is not from -1 to {shard.bits}")


def merge_shards(folder: Path | str) -> tuple[list[Shard], DistanceCounts]:
    """Add up the counts of all shards in a folder, one file at a time; `Scores(counts)` then has every metric.

    Raises:
        StoreError: there are none; some are missing; a file is damaged; or they are of different queries, databases or
            numbers of shards.
    """
    folder = Path(folder)
    paths = sorted(folder.glob("counts-*-of-*.npz"))
    if not paths:
        raise StoreError(f"There are no counts in {folder}: `vhbench score FOLDER --shard 1/1 -o {folder}` makes some.")
    first, total = load_shard(paths[0])
    shards = [first]
    for path in paths[1:]:
        shard, counts = load_shard(path)
        _check_alike(first, shard, paths[0], path)
        shards.append(shard)
        total = total + counts
    _check_complete(shards, folder)
    return shards, total


def _check_alike(first: Shard, other: Shard, first_path: Path, path: Path) -> None:
    if path.name != NAME.format(number=other.number, of=other.of):
        raise StoreError(f"{path} holds shard {other.number}/{other.of} under another name: count its own again.")
    words = {
        "of": "another number of shards",
        "bits": "codes of another length",
        "queries": "other queries",
        "rows": "another database",
    }
    for name, word in words.items():
        if getattr(first, name) != getattr(other, name):
            raise StoreError(f"{path} and {first_path.name} do not belong together: {word}. Remove what is not wanted.")


def _check_complete(shards: Sequence[Shard], folder: Path) -> None:
    of, rows = shards[0].of, shards[0].rows
    numbers = [shard.number for shard in shards]
    missing = of - len(set(numbers))
    if missing:
        some = list(islice((number for number in range(1, of + 1) if number not in numbers), SHOWN))
        names = ", ".join(map(str, some)) + (", …" if missing > SHOWN else "")
        raise StoreError(
            f"{missing} of {of} shards are missing in {folder}: {names}. Count them, e.g. with --shard {some[0]}/{of}."
        )
    ends = [(rows * (shard.number - 1) // of, rows * shard.number // of) for shard in shards]
    if len(numbers) != of or ends != [(shard.start, shard.stop) for shard in shards]:
        raise StoreError(f"The shards in {folder} overlap or are not the {of} of one database: count them again.")


def _bytes_of(array: np.ndarray, path: Path) -> np.ndarray:
    if array.dtype != np.uint8 or array.ndim != 2 or 0 in array.shape:
        raise DataError(f"{path} must hold packed codes, uint8 (videos, bytes), not {array.dtype} {array.shape}.")
    return array


def _add_to(digest: Any, *arrays: np.ndarray) -> None:
    """Digest arrays together with their form; rows of one array may come in any blocks."""
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape[1:]}".encode())
        digest.update(np.ascontiguousarray(array).data)
