"""`vhbench rescore`: metrics anew from stored codes, recorded or only compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vhbench.cli import options
from vhbench.errors import UsageError
from vhbench.plugins.registry import Registry
from vhbench.runs.groups import Choice
from vhbench.runs.store import Store

if TYPE_CHECKING:
    from vhbench.runs.rescore import Rescored

FEW = 6  # names listed before the rest is counted


@click.command()
@click.option(
    "--protocol", "protocols", type=options.NAMES, default=(),
    help="Only these protocols: names, or paths of manifests. By default all that the finished runs name.",
)  # fmt: skip
@click.option("--method", "methods", type=options.NAMES, default=(), help="Only these methods.")
@click.option("--bits", type=options.NUMBERS, default=(), help="Only these code lengths.")
@click.option("--ks", type=options.NUMBERS, default=(), help="The K to record instead of the protocol's.")
@click.option(
    "--check", is_flag=True,
    help="Write nothing: compare each record with what its codes give, at the K that it has, and its files with their "
    "digests. Exit code 1: one differs, is damaged or could not be checked.",
)  # fmt: skip
@options.data
@options.out
def command(
    protocols: Sequence[str],
    methods: Sequence[str],
    bits: Sequence[int],
    ks: Sequence[int],
    check: bool,
    data: Path | None,
    out: Path,
) -> int:
    """Compute every metric of finished runs anew from their stored codes; nothing is trained.

    The codes must be the recorded ones, and queries, database and labels those that the run was scored on. Numbers that
    come out otherwise than they were are listed. Exit code 1: some runs could not be rescored and are as they were.
    """
    from vhbench.runs.rescore import check_runs, rescore_runs

    if check and ks:
        raise UsageError("--check compares at the K that a record has: leave out --ks.")
    store = Store(out)
    records, problems = store.records()
    for problem in problems:
        click.echo(f"left out: {problem}", err=True)
    chosen = Choice(methods=methods, bits=bits)
    if check:
        results = check_runs(Registry(), store, chosen, protocols=protocols, data=data, heard=_say_checked)
        return 1 if _differ(results) or problems else 0
    results = rescore_runs(
        Registry(), store, chosen, protocols=protocols, ks=ks, data=data, heard=_say,
        say=lambda text: click.echo(text, err=True),
    )  # fmt: skip
    if unfinished := sum(record.status != "done" for record in records):
        click.echo(f"not rescored: {unfinished} failed or skipped runs (vhbench status)", err=True)
    if not results:
        click.echo(f"There are no finished runs to rescore in {out}.", err=True)
        return 0
    counts = Counter("metrics" if r.result == "changed" and not r.changed else r.result for r in results)
    words = {
        "unchanged": "every number as it was",
        "metrics": "other metrics than before, all else as it was",
        "changed": "other numbers than before",
        "left": "left as they were",
    }
    click.echo("; ".join(f"{_runs(counts[key])}: {text}" for key, text in words.items() if counts[key]))
    return 1 if counts["left"] else 0


def _differ(results: Sequence[Rescored]) -> bool:
    """Print how many runs are as their codes say, and return whether some are not."""
    counts = Counter(result.result for result in results)
    words = {
        "unchanged": "as the codes give it",
        "changed": "not as the codes give it",
        "left": "damaged or not checked",
    }
    found = [f"{_runs(counts[key])}: {text}" for key, text in words.items() if counts[key]]
    click.echo("; ".join(found) or "There are no finished runs to check.", err=not found)
    if without := sum(not result.record.has_digest for result in results):
        click.echo(f"{_runs(without)} without a digest of the record, which `vhbench rescore` adds", err=True)
    return len(found) > 0 and counts["unchanged"] < len(results)


def _say_checked(result: Rescored) -> None:
    """Print a line for a run that differs from its codes, is damaged or could not be checked."""
    folder = result.record.folder
    if result.problem:
        click.echo(f"damaged or not checked: {folder}: {result.problem}")
    elif result.changed:
        name, (old, new) = next(iter(result.changed.items()))
        more = f", and {len(result.changed) - 1} more numbers" if len(result.changed) > 1 else ""
        click.echo(f"differs: {folder}: {name} is {_number(old)} in the record, {_number(new)} by its codes{more}")


def _runs(count: int) -> str:
    return f"{count} run{'s' if count > 1 else ''}"


def _say(result: Rescored) -> None:
    """Print what differs; a run whose numbers are as they were is a line for people."""
    folder = result.record.folder
    if result.result == "unchanged":
        click.echo(f"unchanged: {folder}", err=True)
    elif result.problem:
        click.echo(f"left as it was: {folder}: {result.problem}", err=True)
    else:
        click.echo(f"changed: {folder}")
        for name, (old, new) in result.changed.items():
            click.echo(f"  {name}: {_number(old)} -> {_number(new)}")
        for text, names in (("new", result.added), ("no longer recorded", result.dropped)):
            if names:
                more = f" and {len(names) - FEW} more" if len(names) > FEW else ""
                click.echo(f"  {text}: {', '.join(names[:FEW])}{more}")


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.10g}"
