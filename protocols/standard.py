"""The field's data sets in the files that their publishers released: a manifest each, read from `manifests/`."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

from vhbench.datasets.folds import ENDING, fold_of
from vhbench.datasets.manifest_protocol import ManifestProtocol, load_manifest
from vhbench.protocol import Protocol

FOLDER = Path(__file__).with_name("manifests")


@cache
def standard(name: str) -> ManifestProtocol:
    """Return a standard protocol by name, e.g. "fcvid"; its files lie below the data folder alone."""
    return load_manifest(FOLDER / f"{name}.toml", beside=False)


def resolve(name: str, find: Callable[[str], Protocol]) -> Protocol | None:
    """Return `X-foldN`, the Nth split of a protocol X that has several; None for names of another form.

    Raises:
        UsageError: X does not exist, or has no such split.
    """
    base, ending, number = name.rpartition(ENDING)
    return fold_of(base, find(base), number) if ending and re.fullmatch("[0-9]+", number) else None


def protocols() -> list[Protocol]:
    """Return the protocols that this file offers."""
    return [standard(path.stem) for path in sorted(FOLDER.glob("*.toml"))]
