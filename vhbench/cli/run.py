"""`vhbench run`: work off a grid and print its table."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from vhbench.cli import options
from vhbench.environment import check_device
from vhbench.plan import RERUN, Cell, Grid, check_rerun, plan, to_do
from vhbench.registry import Registry
from vhbench.report.rows import Choice, Row, rows
from vhbench.spec import BUDGETS, PRECISIONS
from vhbench.store import Record, Store

BUDGET_HELP = "; ".join(f"{name}: {text}" for name, text in BUDGETS.items())
RERUN_HELP = "; ".join(f"{name}: {text}" for name, text in RERUN.items())


@click.command()
@click.option("--method", "methods", type=options.NAMES, required=True, help="Methods, or `all` of them.")
@click.option("--protocol", "protocols", type=options.NAMES, required=True, help="Protocols, or paths of manifests.")
@click.option("--bits", type=options.NUMBERS, required=True, help="Code lengths, e.g. 16,32,64,128.")
@click.option("--seeds", type=options.NUMBERS, default=(0,), help="Seeds; 0 by default.")
@click.option("--set", "sets", multiple=True, help="A hyper-parameter, e.g. uvvh.lr=1e-4; may be repeated.")
@click.option("--budget", metavar="NAME", help=f"{BUDGET_HELP}. By default the protocol's own.")
@click.option("--epochs", type=int, help="Train this many epochs instead of the budget's.")
@click.option("--precision", default="float32", show_default=True, help=f"One of {', '.join(PRECISIONS)}.")
@options.data
@click.option("--allow-counts", is_flag=True, help="Accept files of another size than a protocol expects; recorded.")
@options.out
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda:N.")
@click.option("--deterministic", is_flag=True, help="Use deterministic GPU kernels (slower).")
@click.option("--launcher", default="inline", show_default=True, help="How runs are worked off.")
@click.option("--rerun", metavar="WHICH", default="missing", show_default=True, help=f"What to do: {RERUN_HELP}.")
@click.option("--checkpoint-every", type=float, default=30.0, show_default=True, help="Seconds between checkpoints.")
@options.plugins
@click.option("--dry-run", is_flag=True, help="Print the grid with each run's state and do nothing.")
def command(
    methods: Sequence[str],
    protocols: Sequence[str],
    bits: Sequence[int],
    seeds: Sequence[int],
    sets: Sequence[str],
    budget: str | None,
    epochs: int | None,
    precision: str,
    data: Path | None,
    allow_counts: bool,
    out: Path,
    rerun: str,
    launcher: str,
    plugins: Sequence[Path],
    dry_run: bool,
    **settings: Any,
) -> int:
    """Train, encode, score and record every combination of methods, protocols, code lengths and seeds.

    Finished runs are never done again unless --rerun asks for it; an interrupted run continues where it was.
    """
    registry = Registry(plugins)
    grid = Grid(methods, protocols, bits, seeds, options.parse_sets(sets), budget, epochs, precision, allow_counts)
    store = Store(out)
    launch = registry.launcher(launcher)
    check_device(settings["device"])
    check_rerun(rerun)
    cells = plan(grid, registry, store, data)
    wanted = to_do(cells, rerun)
    if dry_run:
        click.echo(_grid_table(cells, wanted))
        return 0
    _say_kept(cells, wanted)
    if wanted:
        _work(wanted, store, launch, settings)
    return _report(cells, store)


def _say_kept(cells: Sequence[Cell], wanted: Sequence[Cell]) -> None:
    """Say how many runs are left as they are, and why."""
    chosen = {cell.spec.id for cell in wanted}
    kept = Counter(cell.state for cell in cells if cell.spec.id not in chosen)
    recorded = kept.total() - kept["running"]
    if recorded == len(cells):
        click.echo("Nothing to do: every run is recorded already.", err=True)
    elif kept:
        click.echo(f"{recorded} of {len(cells)} runs are recorded already.", err=True)
    if kept["stale"]:
        text = "of these were made with other source code of the method: --rerun stale does them again."
        click.echo(f"{kept['stale']} {text}", err=True)


def _work(wanted: Sequence[Cell], store: Store, launch: Any, settings: dict[str, Any]) -> None:
    from vhbench.cli.progress import progress
    from vhbench.runner import Settings, run_cells

    store.check_writable()
    with progress(len(wanted)) as observer:
        run_cells(wanted, store, Settings(**settings), launch, observer)


def _report(cells: Sequence[Cell], store: Store) -> int:
    """Print the grid's table and what failed; return the exit code."""
    from vhbench.report.tables import render

    records = [record for cell in cells if (record := store.read(cell.spec))]
    if table := _rows(cells, [record for record in records if record.status == "done"]):
        click.echo(render(table, "table"))
        click.echo(f"\nRecorded in {store.root}; more: vhbench compare --out {shlex.quote(str(store.root))}", err=True)
    failed = [record for record in records if record.status == "failed"]
    for record in (r for r in records if r.status != "done"):
        click.echo(f"{record.status}: {record.folder}: {record.data['reason']}", err=True)
    missing = len(cells) - len(records)
    if missing:
        click.echo(f"being done by other processes: {missing} of {len(cells)} runs", err=True)
    if failed:
        click.echo(f"failed: {len(failed)} of {len(cells)} runs; --rerun failed tries them again", err=True)
    return 1 if failed else 0


def _rows(cells: Sequence[Cell], done: Sequence[Record]) -> list[Row]:
    """Return each protocol's map@20, or at the K nearest to 20 that it reports; methods in the order asked for."""
    found = []
    for protocol in {cell.protocol.name: cell.protocol for cell in cells}.values():
        records = [record for record in done if record.spec["protocol"] == protocol.name]
        known = {record.spec["method"] for record in records}
        methods = tuple(dict.fromkeys(cell.spec.method for cell in cells if cell.spec.method in known))
        k = min(protocol.ks, key=lambda k: abs(k - 20))
        found += rows(records, Choice(methods=methods, metrics=(f"map@{k}",)))
    return found


def _grid_table(cells: Sequence[Cell], wanted: Sequence[Cell]) -> str:
    from tabulate import tabulate

    chosen = {cell.spec.id for cell in wanted}
    lines = [
        [
            cell.spec.protocol,
            cell.spec.method,
            cell.spec.bits,
            cell.spec.seed,
            cell.spec.budget["epochs"] or "-",
            cell.state + (f" ({cell.record.data['reason']})" if cell.record and cell.record.data["reason"] else ""),
            "run" if cell.spec.id in chosen else "keep",
        ]
        for cell in cells
    ]
    table = tabulate(lines, ["protocol", "method", "bits", "seed", "epochs", "state", "plan"])
    return f"{table}\n\n{len(wanted)} of {len(cells)} runs to do."
