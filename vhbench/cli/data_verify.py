"""`vhbench data verify`: look through a protocol's files."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import numpy as np
from tabulate import tabulate

from vhbench.cli import options
from vhbench.cli.data_status import chosen
from vhbench.datasets.manifest_protocol import ROLES, ManifestProtocol
from vhbench.datasets.opening import Opening, digest_of_choice, kept_frames
from vhbench.features import Header, content_digest
from vhbench.features.state import Meter
from vhbench.features.verify import (
    Findings,
    Told,
    bytes_to_read,
    constant_dimensions,
    look_through,
    repeats,
    shared,
)

QUIET = 10.0  # seconds between lines on a long reading


@click.command()
@click.argument("protocols", metavar="PROTOCOL...", nargs=-1, required=True)
@options.data
@click.option("--allow-counts", is_flag=True, help="Accept files of another size than the protocol expects.")
def command(protocols: Sequence[str], data: Path | None, allow_counts: bool) -> int:
    """Read the files of each PROTOCOL from end to end: counts, NaN, zeros, repeated videos, constant dimensions.

    Prints each role's digest, which is the one that records of runs name. Exit code 0: sound; 1: something is broken.
    """
    faults = [fault for protocol in chosen(protocols) for fault in _verify(protocol, data, allow_counts)]
    return 1 if faults else 0


def _verify(protocol: ManifestProtocol, data: Path | None, allow_counts: bool) -> list[str]:
    """Print what one data set holds and return what is broken in it."""
    opening = Opening(protocol, data, allow_counts)
    headers = {role: opening.headers(role) for role in ROLES}
    remarks = _on_labels(opening)
    remarks += _on_files(opening)
    found: dict[Header, Findings] = {}
    files = list(dict.fromkeys(header for role in ROLES for header in headers[role]))
    for header in files:
        with _progress(header.path.name, bytes_to_read(header)) as told:
            found[header] = look_through(header, told)
    roles = {role: [found[header] for header in headers[role]] for role in ROLES}
    digests = {role: np.concatenate([part.digests for part in parts]) for role, parts in roles.items()}
    click.echo(f"{protocol.name}\n\n{_table(protocol, headers, digests)}\n")
    faults = [fault for findings in found.values() for fault in _faults(findings)]
    for role in ROLES:
        if len(dtypes := {header.dtype.name for header in headers[role]}) > 1:
            faults.append(f"the files of {role} are {' and '.join(sorted(dtypes))}: one dtype is needed")
    shared_by: dict[tuple[Header, ...], list[str]] = {}
    for role in ROLES:
        shared_by.setdefault(headers[role], []).append(role)
    for same in shared_by.values():
        remarks += _oddities(" and ".join(same), roles[same[0]], digests[same[0]])
    remarks += _between(protocol, digests, headers)
    for kind, texts in (("broken", faults), ("remark", remarks)):
        for text in dict.fromkeys(texts):
            click.echo(f"{kind}: {text}")
    click.echo("sound\n" if not faults else "broken: do not use these files\n")
    return faults


def _table(protocol: ManifestProtocol, headers: dict[str, tuple[Header, ...]], digests: dict[str, np.ndarray]) -> str:
    lines = []
    for role, files in headers.items():
        shape = (len(digests[role]), *files[0].shape[1:])
        frames = kept_frames(shape[1], protocol.keep_frames) if protocol.keep_frames else None
        digest = digest_of_choice(content_digest(files[0].dtype, shape, digests[role]), frames)
        lines.append([role, len(files), *shape, files[0].dtype.name, digest])
    columns = ["role", "files", "videos", "frames", "dim", "dtype", "digest"]
    table: str = tabulate(lines, columns, tablefmt="plain", disable_numparse=True)
    return table


def _faults(findings: Findings) -> list[str]:
    faults = list(findings.faults)
    path = findings.header.path
    if len(bad := findings.not_finite):
        faults.append(f"{path} holds NaN or infinity in {len(bad)} videos, the first is {bad[0]} (counted from 0)")
    if len(findings.zero) == findings.header.shape[0]:
        faults.append(f"{path} holds nothing but zeros: it was never filled")
    return faults


def _oddities(role: str, parts: Sequence[Findings], digests: np.ndarray) -> list[str]:
    zero = sum(len(part.zero) for part in parts)
    numbers = {
        "videos are zero throughout": zero,
        "videos repeat an earlier one": repeats(digests) - max(0, zero - 1),
        "of the dimensions have one value throughout": constant_dimensions(parts),
    }
    return [f"{role}: {number} {text}" for text, number in numbers.items() if number]


def _between(
    protocol: ManifestProtocol, digests: dict[str, np.ndarray], headers: dict[str, tuple[Header, ...]]
) -> list[str]:
    """Say which videos play two roles that they should not, or do not play those that they should."""
    remarks = []
    inside = shared(digests["query"], digests["database"])
    queries = len(digests["query"])
    if protocol.queries_in_database and inside < queries:
        remarks.append(f"query: {queries - inside} of {queries} videos are not in the database, as they should be")
    if not protocol.queries_in_database and inside and headers["query"] != headers["database"]:
        remarks.append(f"query: {inside} of {queries} videos are in the database too")
    for role in ("query", "database"):
        both = shared(digests[role], digests["train"])
        if both and headers[role] != headers["train"]:
            remarks.append(f"{role}: {both} videos are training videos too")
    return remarks


def _on_files(opening: Opening) -> list[str]:
    notes = opening.notes()
    remarks = [f"the files are synthetic, {m['scale']:g} of {m['like']}" for m in notes.get("synthetic", [])]
    remarks += [f"known variant: {name}" for name in notes.get("variants", [])]
    allowed = notes.get("allowed_counts", {})
    return remarks + [f"{found} {what} instead of {expected}" for what, (expected, found) in allowed.items()]


def _on_labels(opening: Opening) -> list[str]:
    remarks = []
    for role in ("query", "database"):
        labels = opening.labels(role)
        if labels.ndim == 1:
            continue
        if without := int((~labels.any(axis=1)).sum()):
            remarks.append(f"{role}: {without} videos have no label")
        if empty := int((~labels.any(axis=0)).sum()):
            remarks.append(f"{role}: {empty} of {labels.shape[1]} classes have no video")
    return remarks


@contextlib.contextmanager
def _progress(name: str, total: int) -> Iterator[Told]:
    """Yield a function that shows how far a reading is: a bar on a terminal, lines elsewhere; on standard error."""
    meter = Meter(total)
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
        from rich.progress import TransferSpeedColumn as Speed

        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), Speed(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
            task = bars.add_task(name, total=total)

            def advance(count: int) -> None:
                meter.add(count)
                bars.advance(task, count)

            yield advance
    else:
        said = time.monotonic()

        def say(count: int) -> None:
            nonlocal said
            meter.add(count)
            if time.monotonic() - said > QUIET:
                said = time.monotonic()
                click.echo(f"    {name}: {meter}", err=True)

        yield say
    click.echo(f"{name}: {meter}", err=True)
