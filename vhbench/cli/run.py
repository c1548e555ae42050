"""`vhbench run`: work off a grid and print its table."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from vhbench.cli import options
from vhbench.cli.grid_options import grid_options
from vhbench.cli.launching import LaunchingCommand
from vhbench.cli.status import note_of
from vhbench.cli.words import duration
from vhbench.errors import DataError, UsageError
from vhbench.grid.cells import Cell, changed_params
from vhbench.grid.files import GridFile, read_grid_file, tuned_in
from vhbench.grid.lacking import recorded_ks
from vhbench.grid.limits import gigabytes, needed_memory
from vhbench.grid.order import Estimates
from vhbench.grid.request import Request, request
from vhbench.grid.survey import unfinished
from vhbench.grid.sweep import Texts
from vhbench.report.folds import averaged
from vhbench.report.references import with_references
from vhbench.report.rows import Row, rows
from vhbench.runs.groups import USUAL_K, Choice, groups, in_database
from vhbench.runs.model import has_model
from vhbench.runs.record import RECORD, Record
from vhbench.runs.references import KeptReferences, read_references
from vhbench.runs.store import Store
from vhbench.runs.tuned import Tuned
from vhbench.runs.warnings import steps_of
from vhbench.scoring import Metric
from vhbench.system.gpus import has_gpu
from vhbench.system.text import shell

NOT_IN_FILES = {"config", "dry-run", "help", "set", "tuned"}  # the last two are read apart
TUNED_HELP = (
    "The folder of a study of `vhbench tune`: its method takes the setting that it chose, the records say how that was "
    "chosen, and tables mark them. May be repeated."
)
SET_HELP = (
    "A hyper-parameter, e.g. uvvh.lr=1e-4; may be repeated. Several values are a sweep, every combination of which is "
    "run: uvvh.lr=1e-4,3e-4. Where it is a text, which may hold commas itself, bars within brackets divide: "
    "'uvvh.lengths=[mirror|literal]'."
)


def _read_config(ctx: click.Context, param: click.Parameter, path: Path | None) -> GridFile | None:
    """Make what a grid file says the defaults of the other options."""
    if path is None:
        return None
    known = {str(p.opts[-1]).removeprefix("--"): p for p in ctx.command.get_params(ctx)}
    file = read_grid_file(path, known.keys() - NOT_IN_FILES)
    defaults = {}
    for key, value in file.values.items():
        option = known[key]
        if isinstance(value, list) and not option.multiple:
            value = ",".join(value)
        elif isinstance(value, str) and option.multiple:
            value = [value]
        if isinstance(value, bool) is not getattr(option, "is_flag", False):
            raise UsageError(f"{path}: {key} takes {'a value' if isinstance(value, bool) else 'true or false'}.")
        try:
            option.type_cast_value(ctx, value)
        except (click.BadParameter, UsageError) as error:
            raise UsageError(
                f"{path}: {key}: {error.message if isinstance(error, click.BadParameter) else error}"
            ) from error
        defaults[str(option.name)] = value
    ctx.default_map = defaults
    return file


@click.command(cls=LaunchingCommand)
@click.option(
    "--config",
    type=options.PATH,
    is_eager=True,
    callback=_read_config,
    help="A TOML file with these options by their long names, tables [set.METHOD] too; a record's run.json does that "
    "run again. Options given here go before those in the file.",
)
@click.option("--method", "methods", type=options.NAMES, required=True, help="Methods, or `all` of them.")
@click.option("--protocol", "protocols", type=options.NAMES, required=True, help="Protocols, or paths of manifests.")
@click.option("--bits", type=options.NUMBERS, required=True, help="Code lengths, e.g. 16,32,64,128.")
@click.option("--set", "sets", multiple=True, help=SET_HELP)
@click.option("--tuned", multiple=True, type=options.PATH, help=TUNED_HELP)
@grid_options
@click.option("--checkpoint-every", type=float, default=30.0, show_default=True, help="Seconds between checkpoints.")
@click.option("--dry-run", is_flag=True, help="Print the grid with each run's state and do nothing.")
def command(config: GridFile | None, sets: Sequence[str], tuned: Sequence[Path], dry_run: bool, **given: Any) -> int:
    """Train, encode, score and record every combination of methods, protocols, code lengths and seeds.

    Finished runs are never done again unless --rerun asks for it; an interrupted run continues where it was.
    """
    if config:
        _check_hints(config)
    chosen = {"params": _params(config, given["methods"], sets), "tuned": _tuned(config, given["methods"], tuned)}
    asked = request({**given, **chosen, "dry_run": dry_run})
    if config and config.run:
        _check_record(config, asked)
    if dry_run:
        click.echo(_grid_table(asked.cells, asked.to_do, asked.store, gpus=_on_gpus(asked)))
        _say_lacking(asked)
        return 0
    _say_kept(asked)
    if asked.to_do:
        from vhbench.cli.progress import progress

        with progress(asked.to_do, asked.store) as observer:
            asked.run(observer)
    return max(_report(asked.cells, asked.store), _say_models(asked))


def _say_models(asked: Request) -> int:
    """Say how many runs were done now and kept no model, where they should; return the exit code."""
    if not asked.settings.keep_model:
        return 0
    done = [r for cell in asked.to_do if (r := asked.store.read(cell.spec)) and r.status == "done"]
    without = [record for record in done if not has_model(record)]
    if without:
        click.echo(f"no model was kept of {len(without)} of {len(done)} runs, as said above", err=True)
    return 1 if without else 0


def _check_record(config: GridFile, asked: Request) -> None:
    """Say where the runs are not the one of the record that they were asked for with.

    Raises:
        UsageError, DataError: its protocol, method or data are not found; the message says what the record names.
    """
    protocols = [name for name in asked.grid.protocols if _is_unknown(asked.registry.protocol, name)]
    methods = [name for name in asked.grid.methods if name != "all" and _is_unknown(asked.registry.method, name)]
    if any(entry.broken for entry in asked.registry.methods()):
        methods = []  # planning says why a plugin cannot be used
    lacking = {kind: names[0] for kind, names in (("protocol", protocols), ("method", methods)) if names}
    if lacking:
        words = config.made_with.words(protocol="protocol" in lacking, data=not asked.data, plugins="method" in lacking)
        said = f"it says that it was made with {words}: add what you trust of this" if words else "add where they are"
        raise UsageError(
            f"{config.path} is the record of a run with {' and '.join(f'{k} {n!r}' for k, n in lacking.items())}, "
            f"unknown here; {said} (--protocol PATH.toml, --plugin FILE.py)."
        )
    try:
        runs = {cell.spec.id for cell in asked.cells}
    except DataError as error:
        if asked.data is None and config.made_with.data:
            raise DataError(
                f"{error} The record says {config.made_with.words(protocol=False, plugins=False)}."
            ) from error
        raise
    if config.run not in runs:
        click.echo(f"These runs are not the one in {config.path}: its data, or options, differ.", err=True)


def _is_unknown(find: Callable[[str], object], name: str) -> bool:
    try:
        find(name)
    except UsageError:
        return True
    return False


def _check_hints(config: GridFile) -> None:
    """Raise UsageError where a file among results, and not the user, says what is to be opened or executed."""
    names = {"protocol": "protocols", "data": "data", "plugin": "plugins"}
    context = click.get_current_context()
    words = []
    for key in config.hints:
        value = config.values[key]
        texts = [value] if isinstance(value, str) else list(value) if isinstance(value, list) else []
        by_user = context.get_parameter_source(names[key]) is ParameterSource.COMMANDLINE
        if not by_user and not (key == "data" and value == os.environ.get("VHBENCH_DATA")):
            words += [f"--{key} {shell(text)}" for text in ([",".join(texts)] if key == "protocol" else texts)]
    if words:
        raise UsageError(
            f"{config.path} lies among results, which others may have written, and names files to open or execute: if "
            f"they are yours or you trust them, add {' '.join(words)}."
        )


def _params(config: GridFile | None, methods: Sequence[str], sets: Sequence[str]) -> dict[str, dict[str, Texts]]:
    """Return the hyper-parameters to set: those of the grid file, where a text is one value, under those of --set."""
    params: dict[str, dict[str, Texts]] = {}
    if config:
        narrowed = click.get_current_context().get_parameter_source("methods") is not ParameterSource.DEFAULT_MAP
        for method, values in config.sets.items():
            if not narrowed or method in methods:  # --method may pick a part of the file's grid
                params[method] = {name: [text] if isinstance(text, str) else text for name, text in values.items()}
    for method, values in options.parse_sets(sets).items():
        params[method] = {**params.get(method, {}), **values}
    return params


def _tuned(config: GridFile | None, methods: Sequence[str], folders: Sequence[Path]) -> list[Tuned]:
    """Return the settings that studies have chosen: those of the folders before those of the grid file."""
    narrowed = click.get_current_context().get_parameter_source("methods") is not ParameterSource.DEFAULT_MAP
    own = [tuned_in(folder) for folder in folders]
    others = [t for t in config.tuned if not narrowed or t.method in methods] if config else []
    given = {tuned.method for tuned in own}
    return [*own, *(tuned for tuned in others if tuned.method not in given)]


def _say_lacking(asked: Request) -> None:
    for line in asked.lacking():
        click.echo(line, err=True)


def _say_kept(asked: Request) -> None:
    """Say how many runs are left as they are, and why."""
    cells, chosen = asked.cells, {cell.spec.id for cell in asked.to_do}
    kept = Counter(cell.state for cell in cells if cell.spec.id not in chosen)
    recorded = kept.total() - kept["running"]
    if recorded == len(cells):
        click.echo(f"Nothing to {'train' if asked.lacking() else 'do'}: every run is recorded already.", err=True)
    elif kept:
        click.echo(f"{recorded} of {len(cells)} runs are recorded already.", err=True)
    if kept["stale"]:
        text = "of these were made with other source code of the method: --rerun stale does them again."
        click.echo(f"{kept['stale']} {text}", err=True)
    _say_lacking(asked)


def _report(cells: Sequence[Cell], store: Store) -> int:
    """Print the grid's table and what failed; return the exit code."""
    from vhbench.report.tables import render_rows

    records = [record for cell in cells if (record := store.read(cell.spec))]
    kept, _ = read_references(store.root)
    if table := _rows(cells, [record for record in records if record.status == "done"], kept):
        click.echo(render_rows(table, "table"))
        if on_the_way := _on_the_way(records):
            click.echo(f"\n{on_the_way}")
        click.echo(f"\nRecorded in {store.root}; more: vhbench compare --out {shell(store.root)}", err=True)
    failed = [record for record in records if record.status == "failed"]
    for record in (r for r in records if r.status != "done"):
        click.echo(f"{record.status}: {record.folder}: {record.data['reason']}", err=True)
    missing = len(cells) - len(records)
    if missing:
        click.echo(f"being done by other processes: {missing} of {len(cells)} runs", err=True)
    if failed:
        click.echo(f"failed: {len(failed)} of {len(cells)} runs; --rerun failed tries them again", err=True)
    return 1 if failed else 0


def _rows(cells: Sequence[Cell], done: Sequence[Record], kept: Sequence[KeptReferences]) -> list[Row]:
    """Return each protocol's map@20, or at the K nearest to 20 that it reports; methods in the order asked for.

    Where a run has not recorded that, because the protocol got it since, each is shown at the nearest K that it has.
    """
    found = []
    for protocol in {cell.protocol.name: cell.protocol for cell in cells}.values():
        records = [record for record in done if record.spec["protocol"] == protocol.name]
        known = {record.spec["method"] for record in records}
        methods = tuple(dict.fromkeys(cell.spec.method for cell in cells if cell.spec.method in known))
        k = min(protocol.ks, key=lambda k: abs(k - USUAL_K))
        everywhere = all(k in recorded_ks(record) for record in records)
        choice = Choice(methods=methods, metrics=(f"map@{k}",) if everywhere else ())
        found += with_references(rows(records, choice), groups(records, choice), kept)
    return averaged(found, groups(done, Choice()), Choice())


def _on_the_way(records: Sequence[Record]) -> str:
    """Return a table of the scores at epochs on the way: each run's map@20, or at the K nearest to 20 that it has."""
    from tabulate import tabulate

    lines = []
    for record in (record for record in records if "at_epochs" in record.data):  # a failed run has not even queries
        spec, ks = record.spec, recorded_ks(record)
        run = [spec[key] for key in ("protocol", "method", "bits", "seed")]
        name = f"map@{min(ks, key=lambda k: abs(k - USUAL_K), default=USUAL_K)}"
        metric = str(Metric.parse(name, "literature", in_database(record, next(iter(spec["splits"])))))
        for epoch, scores in record.data["at_epochs"].items():
            value = scores.get(metric)
            lines.append([*run, int(epoch), name, "-" if value is None else f"{value:.3f}"])
    headings = ["protocol", "method", "bits", "seed", "epoch", "metric", "value"]
    return str(tabulate(lines, headings, disable_numparse=True)) if lines else ""


def _on_gpus(asked: Request) -> bool:
    """Say whether the runs will be done on GPUs, as far as it can be known before."""
    device, elsewhere = asked.settings.device, asked.launcher not in ("inline", "local")
    return device.startswith("cuda") or (device == "auto" and (elsewhere or has_gpu()))


def _grid_table(cells: Sequence[Cell], wanted: Sequence[Cell], store: Store, *, gpus: bool) -> str:
    from tabulate import tabulate

    estimates = Estimates(store.records()[0])
    chosen = {cell.spec.id: estimates.seconds(cell.spec) for cell in wanted}
    lines = [
        [
            cell.spec.protocol,
            cell.spec.method,
            cell.spec.bits,
            cell.spec.seed,
            cell.spec.budget["epochs"] or "-",
            steps_of(cell.spec.to_json(), len(cell.splits[0].train.videos)) or "-",
            ", ".join(f"{name}={value}" for name, value in changed_params(cell).items()) or "-",
            _estimate(chosen[cell.spec.id]) if cell.spec.id in chosen else "-",
            *([_memory(cell) if cell.spec.id in chosen else "-"] if gpus else []),
            _state(cell, store),
            "run" if cell.spec.id in chosen else "keep",
        ]
        for cell in cells
    ]
    memory = ["GPU memory"] if gpus else []
    headings = ["protocol", "method", "bits", "seed", "epochs", "steps", "changed", "time", *memory, "state", "plan"]
    table = tabulate(lines, headings, disable_numparse=[6, 7, 8])
    known = [seconds for seconds in chosen.values() if seconds is not None]
    total = f"{len(wanted)} of {len(cells)} runs to do"
    if known:
        total += f", one after the other about {duration(sum(known))}"
    if 0 < len(known) < len(chosen):
        total += f" and the unknown time of {len(chosen) - len(known)}"
    return f"{table}\n\n{total}."


def _memory(cell: Cell) -> str:
    needed = needed_memory(cell)
    return "-" if needed is None else f"{gigabytes(needed.total)} or more"


def _state(cell: Cell, store: Store) -> str:
    """Return a run's state with its reason or its epoch."""
    folder = store.path(cell.spec)
    begun = cell.state == "missing" and folder.is_dir() and not (folder / RECORD).exists()
    if begun or cell.state == "running":
        run = unfinished(folder, cell.spec.budget["epochs"])
        return run.state + note_of(run)
    reason = cell.record.data["reason"] if cell.record else None
    return f"{cell.state}: {reason}" if reason else cell.state


def _estimate(seconds: float | None) -> str:
    return "unknown" if seconds is None else duration(seconds)
