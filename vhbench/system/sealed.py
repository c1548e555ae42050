"""JSON files that end in a digest of all that stands before it: a change of them is seen. It is no signature."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vhbench.system.files import atomic_write, json_bytes

DIGEST = "digest"  # the last entry: sha256 of all that stands before its digits in the file
END = b'"\n}\n'  # what follows them


def sealed(content: Mapping[str, Any]) -> tuple[dict[str, Any], bytes]:
    """Return an object with its digest as the last entry, and it as the JSON that a file holds.

    Args:
        content: JSON values; a digest that it was read with counts for nothing.
    """
    bare = {name: value for name, value in content.items() if name != DIGEST}
    before = json_bytes({**bare, DIGEST: ""}).removesuffix(END)
    digest = hashlib.sha256(before).hexdigest()
    return {**bare, DIGEST: digest}, before + digest.encode() + END


def write_sealed(path: Path, content: Mapping[str, Any]) -> dict[str, Any]:
    """Write an object as `sealed` has it and return it with its digest.

    Raises:
        StoreError: it cannot be written.
    """
    value, octets = sealed(content)
    with atomic_write(path) as file:
        file.write(octets)
    return value


def is_as_written(content: bytes) -> bool:
    """Say whether a file's content ends in the digest of all before."""
    before, digest = content[: -len(END) - 64], content[-len(END) - 64 :]
    return before.endswith(f'"{DIGEST}": "'.encode()) and digest == hashlib.sha256(before).hexdigest().encode() + END
