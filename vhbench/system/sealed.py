"""JSON files that end in a digest of all that stands before it: a change of them is seen. It is no signature."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vhbench.system.files import atomic_write, json_bytes

DIGEST = "digest"  # the last entry: sha256 of all that stands before its digits in the file
END = b'"\n}\n'  # what follows them


def write_sealed(path: Path, content: Mapping[str, Any]) -> dict[str, Any]:
    """Write an object as JSON with its digest at the end, as `atomic_write`, and return it with the digest.

    Args:
        path: the file.
        content: JSON values; a digest that it was read with counts for nothing.

    Raises:
        StoreError: it cannot be written.
    """
    bare = {name: value for name, value in content.items() if name != DIGEST}
    before = json_bytes({**bare, DIGEST: ""}).removesuffix(END)
    digest = hashlib.sha256(before).hexdigest()
    with atomic_write(path) as file:
        file.write(before + digest.encode() + END)
    return {**bare, DIGEST: digest}


def is_as_written(content: bytes) -> bool:
    """Say whether a file's content ends in the digest of all before."""
    before, digest = content[: -len(END) - 64], content[-len(END) - 64 :]
    return before.endswith(f'"{DIGEST}": "'.encode()) and digest == hashlib.sha256(before).hexdigest().encode() + END
