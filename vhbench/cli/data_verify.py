"""`vhbench data verify`: look through a protocol's files."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
from tabulate import tabulate

from vhbench.cli import options
from vhbench.cli.data_status import chosen
from vhbench.datasets.manifest import ROLES
from vhbench.datasets.manifest_protocol import ManifestProtocol
from vhbench.datasets.opening import Opening
from vhbench.datasets.verification import Role, judge, role_of
from vhbench.features import Header
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
    protocol.labels(opening)
    remarks = [*_on_labels(opening), *_on_files(opening)]
    found: dict[Header, Findings] = {}
    for header in dict.fromkeys(header for role in ROLES for header in headers[role]):
        with _progress(header.path.name, bytes_to_read(header)) as told:
            found[header] = look_through(header, told)
    roles = {role: role_of(protocol, opening, role, found) for role in ROLES}
    verdict = judge(protocol, opening, roles)
    click.echo(f"{protocol.name}\n\n{_table(headers, roles)}\n\nlabels: {verdict.labels}\n")
    faults = [fault for findings in found.values() for fault in _faults(findings)]
    for role in ROLES:
        for among in opening.sets(role):
            if len(dtypes := {header.dtype.name for header in among}) > 1:
                faults.append(f"the files of {role} are {' and '.join(sorted(dtypes))}: one dtype is needed")
    faults += verdict.faults
    shared_by: dict[str, list[str]] = {}
    for role in ROLES:
        shared_by.setdefault(roles[role].part.digest, []).append(role)
    for same in shared_by.values():
        remarks += _oddities(" and ".join(same), roles[same[0]])
    remarks += _between(roles)
    for kind, texts in (("broken", faults), ("problem", verdict.problems), ("remark", remarks)):
        for text in dict.fromkeys(texts):
            click.echo(f"{kind}: {text}")
    click.echo(_end(faults, verdict.problems))
    return faults


def _end(faults: Sequence[str], problems: Sequence[str]) -> str:
    if faults:
        return "broken: do not use these files\n"
    counted = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
    return f"sound, with {counted}\n" if problems else "sound\n"


def _table(headers: dict[str, tuple[Header, ...]], roles: dict[str, Role]) -> str:
    lines = []
    for role, files in headers.items():
        part = roles[role].part
        shape = (len(part.videos), part.videos.frames, part.videos.dim)
        dtype = " + ".join(dict.fromkeys(among[0].header.dtype.name for among in roles[role].sets))
        lines.append([role, len(files), *shape, dtype, part.digest])
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


def _oddities(name: str, role: Role) -> list[str]:
    numbers = {
        "videos are zero throughout": role.zeros,
        "videos repeat an earlier one": repeats(role.digests) - max(0, role.zeros - 1),
        "of the dimensions have one value throughout": sum(map(constant_dimensions, role.sets)),
    }
    return [f"{name}: {number} {text}" for text, number in numbers.items() if number]


def _between(roles: dict[str, Role]) -> list[str]:
    """Say how many database videos are training videos too; where all are, that is how the data set is made."""
    train, database = roles["train"], roles["database"]
    both = shared(database.digests, train.digests)
    return [f"database: {both} videos are training videos too"] if 0 < both < len(database.digests) else []


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
        if role == "database" and (without := int((~labels.any(axis=1)).sum())):
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
