"""Back from a record to what it was made of: its codes, verified, and the videos and labels of its protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from vhbench.codes import unpack
from vhbench.errors import DataError, StoreError
from vhbench.protocol import Protocol, Split
from vhbench.runs.record import CODES, DamagedError, Record
from vhbench.system.files import LARGEST

LARGEST_PACKED = LARGEST // 4  # bytes; unpacked, codes take eight times as much
WORDS = {"query": "query videos", "database": "database videos", "relevance": "labels"}


def read_codes(record: Record) -> dict[str, np.ndarray]:
    """Return the codes that a finished run left.

    Returns:
        `<split>/query` and `<split>/database` -> bool (videos, bits).

    Raises:
        StoreError: the run is not finished, or its codes are missing, damaged or not those of the record.
    """
    if record.status != "done" or CODES not in record.digests:
        raise StoreError(f"{record.folder} has no codes: the run is {record.status}.")
    names = [f"{split}/{role}" for split in record.spec["splits"] for role in ("query", "database")]
    packed = record.arrays(CODES, names, LARGEST_PACKED)
    try:
        return {name: unpack(packed[name], record.spec["bits"]) for name in names}
    except (KeyError, ValueError) as error:
        raise DamagedError(record.folder / CODES, f"it does not hold the codes of this run: {error}") from error


def check_data(record: Record, protocol: Protocol, splits: Sequence[Split]) -> None:
    """Raise DataError unless a protocol's opened data are the ones that a run was scored on.

    What it was trained on plays no part: its codes are there.

    Args:
        record: the run.
        protocol: the protocol.
        splits: what `protocol.load` returned.
    """
    spec = record.spec
    advice = "name the data it was made on with --data or --protocol, or run it again."
    if (spec["protocol"], spec["version"]) != (protocol.name, protocol.version):
        raise DataError(
            f"{record.folder} was made on version {spec['version']} of {spec['protocol']}, "
            f"this is version {protocol.version} of {protocol.name}: {advice}"
        )
    if list(spec["splits"]) != [split.name for split in splits]:
        raise DataError(f"{record.folder} was made on other splits of {protocol.name}: {advice}")
    for split in splits:
        now = split.digests()
        for role, words in WORDS.items():
            if spec["splits"][split.name][role] != now[role]:
                raise DataError(f"{record.folder} was made on other {words} of {split.name} than these: {advice}")


def codes_by_part(record: Record, splits: Sequence[Split]) -> dict[str, np.ndarray]:
    """Return a run's codes by the digest of the part that they encode, for `score_splits`.

    Raises:
        StoreError: as `read_codes`, also where there are not as many codes as videos.
    """
    stored = read_codes(record)
    check_counts(record, stored, splits)
    parts = [(split, role) for split in splits for role in ("query", "database")]
    return {getattr(split, role).digest: stored[f"{split.name}/{role}"] for split, role in parts}


def check_counts(record: Record, codes: Mapping[str, np.ndarray], splits: Sequence[Split]) -> None:
    """Raise DamagedError unless there are as many codes as videos.

    Args:
        record: the run.
        codes: as `read_codes` returns them.
        splits: the run's, opened.
    """
    for split in splits:
        for role, part in (("query", split.query), ("database", split.database)):
            count = len(codes[f"{split.name}/{role}"])
            if count != len(part.videos):
                what = f"{count} {role} codes for {len(part.videos)} videos of {split.name}"
                raise DamagedError(record.folder / CODES, what)
