"""`vhbench status`: what the results folder says of every run."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import click
from tabulate import tabulate

from vhbench.cli import options
from vhbench.registry import Registry
from vhbench.store import LOCK, RECORD, Record, Store, is_locked

STATES = ("done", "stale", "running", "interrupted", "failed", "skipped")


@click.command()
@options.out
@options.plugins
def command(out: Path, plugins: Sequence[Path]) -> None:
    """Count the runs in --out by state, and say why some failed.

    done: recorded. stale: recorded, but the method's source has changed since. running: a process works on it.
    interrupted: begun, and continued by the next `vhbench run`. failed, skipped: recorded with a reason.
    """
    records, problems = Store(out).records()
    sources = {entry.name: entry.fingerprint for entry in Registry(plugins).methods() if not entry.broken}
    states = {record.folder: _state(record, sources) for record in records}
    states |= {folder: _unfinished(folder) for folder in _begun(out)}
    counts = Counter((folder.parts[-3], folder.parts[-2], state) for folder, state in states.items())
    keys = sorted({key[:2] for key in counts})
    shown = [state for state in STATES if any(key[2] == state for key in counts)]
    lines = [[*key, *(counts[(*key, state)] or "" for state in shown)] for key in keys]
    if lines:
        click.echo(tabulate(lines, ["protocol", "method", *shown], tablefmt="plain"))
    for record in records:
        if record.status != "done":
            click.echo(f"{record.status}: {record.folder}: {record.data['reason']}")
    for folder, state in states.items():
        if state in ("running", "interrupted"):
            click.echo(f"{state}: {folder}{_epoch(folder)}")
    for problem in problems:
        click.echo(problem)
    if not states:
        click.echo(f"There are no runs in {out}.", err=True)


def _state(record: Record, sources: dict[str, str]) -> str:
    if record.status != "done":
        return record.status
    current = sources.get(record.spec["method"])
    return "stale" if current and current != record.data["method"]["fingerprint"] else "done"


def _begun(out: Path) -> list[Path]:
    return [folder for folder in sorted(out.glob("*/*/*b-s*-*")) if not (folder / RECORD).exists()]


def _unfinished(folder: Path) -> str:
    return "running" if is_locked(folder / LOCK) else "interrupted"


def _epoch(folder: Path) -> str:
    """Say how far training is."""
    log = folder / "train.jsonl"
    lines = log.read_text().splitlines() if log.is_file() else []
    if not lines:
        return ""
    try:
        last = json.loads(lines[-1])
        return f": epoch {last['epoch']}, loss {last['loss']:.4g}"
    except (ValueError, KeyError, TypeError):
        return ": train.jsonl is damaged"
