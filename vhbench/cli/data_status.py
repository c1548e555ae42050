"""`vhbench data status`: which files of which protocol are there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
from tabulate import tabulate

from vhbench.cli import options
from vhbench.datasets.manifest import ROLES
from vhbench.datasets.manifest_protocol import ManifestProtocol, data_sets
from vhbench.datasets.opening import Opening
from vhbench.errors import DataError
from vhbench.features import Header
from vhbench.features.cache import entry_of, features_folder, folder_bytes
from vhbench.plugins.registry import Registry


@dataclass(frozen=True)
class PartState:
    """What is there of one data set.

    Attributes:
        protocol: its manifest.
        found: the files that are there.
        missing: names of those that are not.
        fault: what is wrong with those that are there, as far as their headers tell; empty if nothing is.
        remark: what else there is to say.
        cached: bytes that their digests and uncompressed copies take.
    """

    protocol: ManifestProtocol
    found: list[Path]
    missing: list[str]
    fault: str
    remark: str
    cached: int

    @property
    def word(self) -> str:
        """The state in a word or two."""
        if self.fault:
            return "faulty"
        return "complete" if not self.missing else "incomplete" if self.found else "not there"


@click.command()
@click.argument("protocols", metavar="[PROTOCOL]...", nargs=-1)
@options.data
def command(protocols: Sequence[str], data: Path | None) -> None:
    """Say which feature and label files of each PROTOCOL are in the data folder, and where the others are published.

    Without PROTOCOL: all standard data sets. Reads headers only; `vhbench data verify` reads the features.
    """
    states = [state_of(protocol, data) for protocol in chosen(protocols)]
    lines = [
        [
            state.protocol.name,
            state.word,
            f"{len(state.found)} of {len(state.found) + len(state.missing)}",
            size(sum(path.stat().st_size for path in state.found)),
            size(state.cached),
        ]
        for state in states
    ]
    columns = ["protocol", "state", "files", "size", "in the cache"]
    click.echo(tabulate(lines, columns, tablefmt="plain", disable_numparse=True))
    for state in states:
        click.echo(_details(state), nl=False)
    cache = features_folder()
    click.echo(f"\nThe cache {cache} takes {size(folder_bytes(cache))}; `vhbench data clear-cache` frees it.")
    if data is None:
        click.echo("No data folder is named: --data DIR or $VHBENCH_DATA.", err=True)


def chosen(names: Sequence[str]) -> list[ManifestProtocol]:
    """Return the data sets of the protocols named, each once; all standard ones where none is.

    Raises:
        UsageError: a name is unknown.
    """
    registry = Registry()
    if names:
        protocols = [registry.protocol(name) for name in names]
    else:
        protocols = [e.protocol for e in registry.protocols() if isinstance(e.protocol, ManifestProtocol)]
    found = [manifest for protocol in protocols for manifest in data_sets(protocol)]
    return list({(manifest.path, manifest.name): manifest for manifest in found}.values())


def state_of(protocol: ManifestProtocol, data: Path | None) -> PartState:
    """Look for a data set's files and read the headers of those that are there."""
    found, missing = [], []
    for file in dict.fromkeys(file for role in ROLES for file in _needed(protocol, role)):
        place = next((place for place in protocol.places(file, data) if place.exists()), None)
        if place:
            found.append(place)
        else:
            missing.append(file)
    opening = Opening(protocol, data)
    headers: dict[Path, Header] = {}
    faults = []
    for role in ROLES:
        if not set(protocol.tables[role].feature_files) & set(missing):
            try:
                headers |= {header.path: header for header in opening.headers(role)}
            except DataError as error:
                faults.append(str(error))
    cached = sum(folder_bytes(entry_of(header).folder) for header in headers.values())
    return PartState(protocol, found, missing, " ".join(faults), _remark(protocol, opening, data), cached)


def size(count: float) -> str:
    """Return a number of bytes for people: 18.7 GB."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5:
            break
        count, unit = count / 1000, "TB" if unit == "GB" else unit
    return f"{count:.3g} {unit}"


def _needed(protocol: ManifestProtocol, role: str) -> tuple[str, ...]:
    """Return the files of a role without which the protocol cannot run; training labels are not among them."""
    table, split = protocol.tables[role], protocol.split
    lists = (table.feature_files, table.names, split.groups if split else (), () if role == "train" else table.labels)
    return (*(file for files in lists for file in files), *([protocol.class_file] if protocol.class_file else ()))


def _remark(protocol: ManifestProtocol, opening: Opening, data: Path | None) -> str:
    notes = opening.notes()
    remarks = [f"synthetic, {marker['scale']:g} of {marker['like']}" for marker in notes.get("synthetic", [])]
    remarks += notes.get("variants", [])
    for file in protocol.tables["train"].labels:
        if not any(place.exists() for place in protocol.places(file, data)):
            remarks.append(f"no {file}, which only {protocol.name}-unseen needs")
    return "; ".join(remarks)


def _details(state: PartState) -> str:
    """Return what there is to say of a data set beside its line in the table."""
    name, lines = state.protocol.name, []
    if state.fault:
        lines.append(f"{name}: {state.fault}")
    if state.missing:
        lines.append(f"{name}: missing {', '.join(state.missing)}")
        lines += [f"{name}: published at {place}" for place in state.protocol.published]
    if state.remark and state.found:
        lines.append(f"{name}: {state.remark}")
    return "".join(f"\n{line}" for line in lines) + ("\n" if lines else "")
