"""Several training splits as one protocol: each is run by itself, and tables show their mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from vhbench.datasets.manifest import SPLITS, read_manifest
from vhbench.datasets.manifest_protocol import ManifestProtocol
from vhbench.errors import DataError, UsageError
from vhbench.protocol import Protocol, Split

ENDING = "-fold"  # X-fold2 is the second split of X


class Fold(ManifestProtocol):
    """One of several splits of a data set; `fold` in its notes names them all.

    Args:
        base: the split as a protocol of its own.
        values: of the manifest of all splits.
        number: which one it is, from 1 up.
        count: how many there are.
    """

    def __init__(self, base: ManifestProtocol, values: Mapping[str, Any], number: int, count: int):
        vars(self).update(vars(base))
        of = values["name"]
        self.name = f"{of}{ENDING}{number}"
        self.title = f"{values.get('title', of)}: split {number} of {count}"
        self.dataset = values.get("dataset", base.dataset or of)
        self.budget = values.get("budget", base.budget)
        self._note = {"of": of, "number": number, "count": count}
        if self.split and self.split.folds:
            self.split = replace(self.split, fold=number)

    def load(self, data: Path | None, *, allow_counts: bool = False) -> list[Split]:
        """Open the split; see `ManifestProtocol.load`."""
        (split,) = super().load(data, allow_counts=allow_counts)
        return [replace(split, notes={**split.notes, "fold": self._note})]


class Folds(Protocol):
    """Several splits of a data set: `vhbench run` takes each of `folds` in its place, tables show their mean.

    Args:
        path: the manifest.
        values: what it says.
        bases: the splits, in order.
    """

    def __init__(self, path: Path, values: Mapping[str, Any], bases: Sequence[ManifestProtocol]):
        self.name = values["name"]
        self.folds = tuple(Fold(base, values, number, len(bases)) for number, base in enumerate(bases, 1))
        self.title = values.get("title", f"{self.name}: the mean over {len(bases)} splits")
        self.made_of = self.folds
        first = self.folds[0]
        self.dataset, self.version, self.budget, self.ks = first.dataset, first.version, first.budget, first.ks
        self.synthetic = any(fold.synthetic for fold in self.folds)
        self._path = path

    def load(self, data: Path | None, *, allow_counts: bool = False) -> list[Split]:
        """Raise UsageError: each of the splits is a protocol of its own."""
        raise UsageError(
            f"{self.name} has {len(self.folds)} splits, and what is asked for takes one: name it, as "
            f"{self._path}{ENDING}1."
        )

    def describe(self) -> list[tuple[str, str]]:
        """Return (heading, text) rows for `vhbench describe`."""
        first = [row for row in self.folds[0].describe() if row[0] not in ("title", "split", "manifest")]
        names = ", ".join(fold.name for fold in self.folds)
        splits = ("splits", f"{len(self.folds)}, run one by one: {names}; the first one:")
        return [("title", self.title), splits, *first, ("manifest", str(self._path))]


def read_protocol(path: Path) -> Protocol:
    """Read a manifest of one split or of several; opens no data.

    Raises:
        DataError: it is missing, is no TOML, or an entry is missing or of the wrong type.
        UsageError: it has a key that does not exist; the message names the nearest valid one.
    """
    path = Path(path)
    values, tables = read_manifest(path)
    if SPLITS in values:
        bases = [_listed(file, path) for file in values[SPLITS]]
        ks = list(dict.fromkeys(base.ks for base in bases))
        if len(ks) > 1:
            raise DataError(f"The splits of {path} report different K: give all of them the same `ks`.")
        return Folds(path, values, bases)
    protocol = ManifestProtocol(path, values, tables)
    if protocol.split and protocol.split.folds:
        return Folds(path, values, [protocol] * protocol.split.folds)
    return protocol


def fold_of(name: str, protocol: Protocol, number: str) -> Protocol:
    """Return one split of a protocol that has several.

    Args:
        name: how the protocol was named.
        protocol: the protocol.
        number: which split, from 1 up.

    Raises:
        UsageError: there is no such split.
    """
    count = len(protocol.folds)
    if not count:
        raise UsageError(f"{name} has one split: name it without {ENDING}{number[:9]}.")
    if not 1 <= int(number[:9]) <= count:
        raise UsageError(f"{name} has {count} splits: name one of {name}{ENDING}1 to {name}{ENDING}{count}.")
    return protocol.folds[int(number[:9]) - 1]


def _listed(file: str, path: Path) -> ManifestProtocol:
    """Return a split that a manifest lists; it lies beside that manifest unless its path is whole."""
    place = path.parent / file
    values, tables = read_manifest(place)
    if not tables or values.get("split", {}).get("folds"):
        raise DataError(f"{path} lists {file}, which has several splits itself: list manifests of one split each.")
    return ManifestProtocol(place, values, tables)
