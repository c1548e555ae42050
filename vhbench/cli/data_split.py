"""`vhbench data split`: which videos a manifest puts on which side, before anything is run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np
from tabulate import tabulate

from vhbench.cli import options
from vhbench.cli.data_status import chosen
from vhbench.datasets.manifest import ROLES
from vhbench.datasets.manifest_protocol import ManifestProtocol
from vhbench.datasets.opening import Opening
from vhbench.datasets.problems import faults_of, group_problem, label_problems
from vhbench.errors import DataError
from vhbench.protocol import Relevance


@click.command()
@click.argument("protocols", metavar="PROTOCOL...", nargs=-1, required=True)
@options.data
@click.option("--allow-counts", is_flag=True, help="Accept files of another size than the protocol expects.")
def command(protocols: Sequence[str], data: Path | None, allow_counts: bool) -> None:
    """Say how many videos, classes and groups each side of each PROTOCOL has; reads labels and names, no features."""
    for protocol in chosen(protocols):
        click.echo(preview(protocol, Opening(protocol, data, allow_counts)))


def preview(protocol: ManifestProtocol, opening: Opening) -> str:
    """Return the sides of a data set as a table, with what is wrong with them.

    Raises:
        DataError: files are missing or contradict each other, or the split is not possible.
    """
    relevance = Relevance.from_labels(*protocol.labels(opening), class_names=opening.class_names)
    sides: list[list[str]] = []
    for role in ROLES:
        same = next((side for side in sides if opening.same_videos(side[0], role)), None)
        if same is None:
            sides.append([role])
        else:
            same.append(role)
    lines = [_line(protocol, opening, side) for side in sides]
    columns = ["side", "videos", "classes", "videos a class", "groups"]
    known = [place for place in range(len(columns)) if any(line[place] is not None for line in lines)]
    columns, lines = [columns[place] for place in known], [[line[place] for place in known] for line in lines]
    table = tabulate(lines, columns, tablefmt="plain", disable_numparse=True, missingval="")
    groups = opening.groups("query"), [opening.groups("train"), opening.groups("database")]
    apart = "" if protocol.queries_in_database else group_problem(*groups)
    if apart and protocol.split:
        apart += '; by = "group" keeps them apart'
    problems = [*faults_of(relevance), *label_problems(relevance).values(), *([apart] if apart else [])]
    title = f"{protocol.name}{f': {protocol.split.text}' if protocol.split else ''}"
    return "\n".join([title, "", table, "", *(f"problem: {text}" for text in problems), *([""] if problems else [])])


def _line(protocol: ManifestProtocol, opening: Opening, side: Sequence[str]) -> list[str | None]:
    """Return the cells of a side; None for what is not known."""
    rows = opening.rows(side[0])
    count = sum(header.shape[0] for header in opening.sets(side[0])[0]) if rows is None else len(rows)
    groups = opening.groups(side[0])
    distinct = None if groups is None else f"{len(np.unique(groups)):,}"
    return [" and ".join(side), f"{count:,}", *_classes(protocol, opening, side[-1]), distinct]


def _classes(protocol: ManifestProtocol, opening: Opening, role: str) -> tuple[str | None, str | None]:
    """Return how many classes a role has, and how many videos each of them."""
    try:
        labels = opening.labels(protocol.labelled(role))
    except DataError:
        return None, None  # of training videos, whose labels no run reads
    counts = np.bincount(labels) if labels.ndim == 1 else labels.sum(axis=0)
    counts = counts[counts > 0]
    if not len(counts):
        return "0", None
    return f"{len(counts):,}", f"{counts.min()} to {counts.max()}" if counts.min() < counts.max() else f"{counts.max()}"
