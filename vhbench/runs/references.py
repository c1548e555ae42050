"""The reference scores of a protocol's splits, kept once in a results folder: `<protocol>/references-<id8>.json`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vhbench.errors import StoreError
from vhbench.protocol import Protocol, Split
from vhbench.runs.form import METRIC, PARTS, is_number
from vhbench.runs.spec import digest_of
from vhbench.runs.store import check_inside
from vhbench.scoring.names import REFERENCES
from vhbench.system.files import NotAFileError, read_error, read_json, write_json
from vhbench.system.locks import hold
from vhbench.system.text import plain
from vhbench.version import __version__

SCHEMA = "vhbench.references/1"
PATTERN = "*/references-*.json"
SLOW_PRODUCTS, SLOW_BYTES = 10**11, 2 * 10**9  # from here on computing them takes so long that a line says so
ENTRIES: dict[str, Any] = {
    "protocol": str, "split": str, "digests": dict, "ks": list, "values": dict, "intervals": dict, "queries": dict,
}  # fmt: skip


@dataclass(frozen=True)
class KeptReferences:
    """The reference scores of one split; see `vhbench.scoring.references.References`.

    Attributes:
        path: the file.
        digests: of the split's parts, by role: by these, never by a name, they belong to a run.
        ks: the cut-off ranks.
        values: key of REFERENCES -> full metric name -> number or None.
        intervals: full metric name -> 95 % interval of `cosine`, where it is of a sample of the queries.
        queries: `cosine`: how many queries that is of; `total`.
    """

    path: Path
    digests: Mapping[str, str]
    ks: tuple[int, ...]
    values: Mapping[str, Mapping[str, float | None]]
    intervals: Mapping[str, tuple[float, float]]
    queries: Mapping[str, int]


def keep_references(
    root: Path,
    protocol: Protocol,
    splits: Sequence[Split],
    ks: Sequence[int],
    device: str = "cpu",
    say: Callable[[str], object] = lambda _: None,
) -> list[Path]:
    """Compute and keep the reference scores of the splits that have none yet; another process may be doing it.

    Args:
        root: the results folder.
        protocol: whose splits they are.
        splits: opened.
        ks: the cut-off ranks.
        device: for the products of vectors.
        say: told in one line when a computation takes long.

    Returns:
        The files written.

    Raises:
        StoreError: a file cannot be written.
        DataError: features cannot be read, or changed meanwhile.
    """
    written = []
    for split in splits:
        path = _path(root, protocol.name, split, ks)
        check_inside(path.parent, root)
        if _is_kept(path):
            continue
        lock = path.with_suffix("")
        with hold(lock) as held:
            if held and not _is_kept(path):  # else another process does it, or has just done it
                write_json(path, _content(protocol, split, ks, device, say), within=lock)
                written.append(path)
    return written


def read_references(root: Path) -> tuple[list[KeptReferences], list[str]]:
    """Return all reference scores of a results folder, and a sentence for each file that is none."""
    found, problems = [], []
    try:
        paths = sorted(root.glob(PATTERN))
    except OSError as error:
        return [], [str(read_error(root, error))]
    for path in paths:
        try:
            check_inside(path.parent, root)
            found.append(_read(path))
        except StoreError as error:
            problems.append(plain(error))
    return found, problems


def _path(root: Path, protocol: str, split: Split, ks: Sequence[int]) -> Path:
    return root / protocol / f"references-{_id({'digests': split.digests(), 'ks': list(ks)})[:8]}.json"


def _id(data: Mapping[str, Any]) -> str:
    return digest_of({"digests": data["digests"], "ks": data["ks"]})


def _is_kept(path: Path) -> bool:
    try:
        return path.exists() and bool(_read(path))
    except StoreError:  # damaged: it is written anew
        return False


def _content(
    protocol: Protocol, split: Split, ks: Sequence[int], device: str, say: Callable[[str], object]
) -> dict[str, Any]:
    from vhbench.scoring.references import PRODUCTS, references, size_of  # loads numba

    products, read = size_of(split), split.database.videos.nbytes
    if products > SLOW_PRODUCTS or read > SLOW_BYTES:
        part = ", of a sample of the queries" if products > PRODUCTS else ""
        say(
            f"chance, attainable and cosine scores of {split.name} are computed once{part}: "
            f"{2e-12 * min(products, PRODUCTS):.1f} TFLOP, {1e-9 * read:.1f} GB to read"
        )
    found = references(split, ks, device)
    split.check_unchanged()
    data = {
        "schema": SCHEMA,
        "protocol": protocol.name,
        "split": split.name,
        "digests": split.digests(),
        "ks": list(ks),
        "queries": {"cosine": found.queries, "total": found.total},
        "values": found.values,
        "intervals": {name: list(ends) for name, ends in found.intervals.items()},
        "vhbench": __version__,
    }
    return {**data, "digest": digest_of(data)}


def _read(path: Path) -> KeptReferences:
    """Read one file.

    Raises:
        StoreError: it cannot be read, or is not what was written.
    """
    try:
        data = read_json(path)
        sound = _is_sound(data)
    except (ValueError, NotAFileError):
        sound = False
    except OSError as error:
        raise read_error(path, error) from error
    if not sound:
        raise StoreError(
            f"{path} is damaged or of another version: remove it; `vhbench rescore`, or the next run on its protocol, "
            "makes it anew."
        )
    intervals = {name: (low, high) for name, (low, high) in data["intervals"].items()}
    return KeptReferences(path, data["digests"], tuple(data["ks"]), data["values"], intervals, data["queries"])


def _is_sound(data: Any) -> bool:
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        return False
    if not all(isinstance(data.get(name), kind) for name, kind in ENTRIES.items()):
        return False
    if data.get("digest") != digest_of({name: value for name, value in data.items() if name != "digest"}):
        return False
    tables = [data["values"].get(name) for name in REFERENCES]
    return (
        data["digests"].keys() == {*PARTS}
        and all(isinstance(digest, str) for digest in data["digests"].values())
        and all(isinstance(k, int) for k in data["ks"])
        and data["queries"].keys() == {"cosine", "total"}
        and all(is_number(count) for count in data["queries"].values())
        and all(isinstance(table, dict) for table in tables)
        and all(METRIC.fullmatch(name) for table in tables for name in table)
        and all(value is None or is_number(value) for table in tables for value in table.values())
        and all(isinstance(ends, list) and len(ends) == 2 for ends in data["intervals"].values())
        and all(is_number(end) for ends in data["intervals"].values() for end in ends)
    )
