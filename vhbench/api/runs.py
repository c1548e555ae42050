"""Training and scoring: `vhbench.run`, `vhbench.tune` and `vhbench.reproduce`."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vhbench.api.arguments import OneOrMoreNames, OneOrMoreNumbers, data_folder, texts, values_of, whole_numbers
from vhbench.grid.request import request
from vhbench.runs.record import Record
from vhbench.system.files import user_path

if TYPE_CHECKING:
    import pandas as pd


log = logging.getLogger(__name__)


def run(
    method: OneOrMoreNames,
    protocol: OneOrMoreNames,
    bits: OneOrMoreNumbers,
    *,
    seeds: OneOrMoreNumbers = 0,
    params: Mapping[str, Mapping[str, Any]] | None = None,
    tuned: OneOrMoreNames = (),
    preset: str = "auto",
    budget: str | None = None,
    epochs: int | None = None,
    eval_at: OneOrMoreNumbers = (),
    keep_model: bool = False,
    precision: str = "float32",
    normalize: str = "none",
    allow_counts: bool = False,
    data: Path | str | None = None,
    out: Path | str = "results",
    device: str = "auto",
    deterministic: bool = False,
    checkpoint_every: float = 30.0,
    launcher: str = "inline",
    rerun: str = "missing",
    plugins: Sequence[Path | str] = (),
    **launcher_options: Any,
) -> pd.DataFrame:
    """Do what `vhbench run` does and return every run of the grid.

    Args:
        method: one name or several; "all" stands for every usable method.
        protocol: one name or several, or paths of manifests.
        bits: one code length or several.
        seeds: one seed or several.
        params: method -> hyper-parameter -> value, or a list of values, every combination of which is run.
        tuned: folders of studies by `vhbench.tune`, whose chosen settings are taken; `params` go over them.
        preset: published settings to start from: "auto", "none" or a data set's name.
        budget: "paper", "quick" or "smoke"; None takes the protocol's own.
        epochs: overrides the budget's epochs.
        eval_at: epochs, counted from 1, whose scores are recorded too; none is chosen by them.
        keep_model: keep what encoding needs of each trained method beside its record; see `vhbench.load`.
        precision: "float32", "tf32" (on GPUs) or "bf16", each with "+half" for training features in float16.
        normalize: feature scaling, learnt on the training videos: "none", "l2", "standard", "whiten" or "whiten=0.5".
        allow_counts: accept files of another size than a protocol expects; the records say so.
        data: folder of the feature files; `$VHBENCH_DATA` by default.
        out: results folder.
        device: "auto", "cpu" or "cuda:N".
        deterministic: use deterministic GPU kernels.
        checkpoint_every: seconds between checkpoints.
        launcher: how runs are worked off, "inline", "local" or "slurm" (which returns at once, unless `wait=True`).
        rerun: "missing", "failed", "stale", "model" or "all".
        plugins: Python files with further methods.
        **launcher_options: the launcher's own, e.g. workers=2, gpus=[0, 1], time_limit=3600 (seconds).

    Returns:
        A row a run: protocol, method, bits, seed, status, reason, folder, and every score under its full name.

    Raises:
        UsageError: an unknown name or an impossible value.
        DataError: a protocol's data are missing or faulty.
        StoreError: results cannot be written.
    """
    from vhbench.grid.files import tuned_in
    from vhbench.grid.settings import Observer

    chosen = [tuned_in(user_path(folder)) for folder in texts(tuned)]
    written = {name: {key: values_of(item) for key, item in values.items()} for name, values in (params or {}).items()}
    names = {"methods": texts(method), "protocols": texts(protocol)}
    numbers = {"bits": whole_numbers(bits), "seeds": whole_numbers(seeds)}
    asked = request({
        **launcher_options, **names, **numbers, "params": written, "tuned": chosen,
        "preset": preset, "budget": budget, "epochs": epochs,
        "eval_at": whole_numbers(eval_at), "keep_model": keep_model, "precision": precision, "normalize": normalize,
        "allow_counts": allow_counts,
        "data": data_folder(data), "out": user_path(out), "device": device, "deterministic": deterministic,
        "checkpoint_every": checkpoint_every, "launcher": launcher, "rerun": rerun, "plugins": plugins,
    })  # fmt: skip
    for line in asked.lacking():
        log.warning(line)
    if asked.to_do:
        asked.run(Observer())
    return _table(asked.records())


def tune(
    method: str,
    protocol: str | os.PathLike[str],
    space: Mapping[str, Any] | Path | str,
    *,
    bits: int = 64,
    trials: int = 30,
    sampler: str = "tpe",
    seed: int = 0,
    judge: str = "loss",
    held_out: float = 0.1,
    batch: int | None = None,
    name: str = "",
    params: Mapping[str, Any] | None = None,
    **options: Any,
) -> pd.DataFrame:
    """Do what `vhbench tune` does and return every trial of the study.

    The protocol's queries take no part. Where a launcher leaves trials to a queue, call it again to go on.

    Args:
        method: one name.
        protocol: one name, or the path of a manifest; its training videos are divided.
        space: hyper-parameter -> {"low", "high", "log"} or a list of values; or a TOML file of that.
        bits: code length.
        trials: how many settings are tried.
        sampler: "tpe" or "random".
        seed: of the sampler, of the division of the videos, and of every training.
        judge: "loss", on the held-out videos, or "retrieval" among the training videos, with their labels.
        held_out: share of the training videos that is held out.
        batch: trials at a time; None: 5, or all where the sampler is "random".
        name: of the study; empty: made of method, protocol, bits and judge.
        params: hyper-parameter -> value, for what is not searched.
        **options: how the trials are done, as for `run`: preset, budget, epochs, precision, normalize, allow_counts,
            data, out, device, deterministic, checkpoint_every, launcher, plugins, and the launcher's own.

    Returns:
        A row a trial: trial, state, reason, folder, `loss` or `map@K`, best, and a column a hyper-parameter. Its
        attribute `attrs["chosen"]` is the grid file of the best, for `vhbench run --config`; None while trials are
        missing.

    Raises:
        UsageError: an unknown name, an impossible value, or the judge cannot judge.
        DataError: the protocol's data are missing or faulty, or too few.
        StoreError: results cannot be written, or another process works on the study.
    """
    import pandas as pd

    from vhbench.grid.files import CHOSEN
    from vhbench.grid.settings import Observer
    from vhbench.study.search import Question, Search

    source = space if isinstance(space, Mapping) else user_path(space)
    question = Question(method, os.fspath(protocol), source, bits, trials, sampler, seed, judge, held_out, batch, name)
    given = {
        **options,
        "params": {method: {key: values_of(value) for key, value in (params or {}).items()}},
        "data": data_folder(options.get("data")),
        "out": user_path(options.get("out", "results")),
    }
    search = Search(question, given)
    tried = search.run(lambda cells: search.do(cells, Observer()))
    best = search.best(tried)
    table = pd.DataFrame(
        {
            "trial": one.trial.number,
            "state": one.state,
            "reason": one.reason,
            "folder": str(search.store.path(one.cell.spec)),
            search.metric: one.trial.value,
            "best": one is best,
            **one.trial.params,
        }
        for one in tried
    )
    table.attrs["chosen"] = str(search.folder / CHOSEN) if best and all(one.over for one in tried) else None
    return table


def _table(records: Iterable[Record]) -> pd.DataFrame:
    """Return a row a record."""
    import pandas as pd

    keys = ("protocol", "method", "bits", "seed")
    return pd.DataFrame(
        {
            **{key: record.spec[key] for key in keys},
            "status": record.status,
            "reason": record.data["reason"],
            "folder": str(record.folder),
            **record.scores,
        }
        for record in records
    )


def reproduce(
    table: str,
    *,
    protocol: str | os.PathLike[str] | None = None,
    bits: OneOrMoreNumbers = (),
    published: Path | str | None = None,
    dry_run: bool = False,
    **options: Any,
) -> pd.DataFrame:
    """Do what `vhbench reproduce` does and return ours beside what the paper printed and claimed.

    Args:
        table: "table2" to "table7", "fig4" or "fig5" of the UVVH paper, or "s5vh/table1" and the like of later ones.
        protocol: another protocol, or the path of a manifest; then nothing counts as reproduced.
        bits: only these code lengths; empty takes the table's own.
        published: folder of published numbers in the form of `results/published`, which is the default.
        dry_run: train nothing; compare what is recorded.
        **options: how the runs are done, as for `run`: seeds, budget, epochs, precision, normalize, allow_counts, data,
            out, device, deterministic, checkpoint_every, launcher, rerun, plugins, and the launcher's own.

    Returns:
        A row a number and, after them, a row a claim of order, told apart by the column `kind`; the columns are the
        attributes of `vhbench.report.paper.lines.Line`.

    Raises:
        UsageError: an unknown name or an impossible value.
        DataError: a protocol's data or the published numbers are missing or faulty.
        StoreError: results cannot be written.
    """
    import pandas as pd

    from vhbench.grid.settings import Observer
    from vhbench.report.paper.run import Reproduction

    name = None if protocol is None else os.fspath(protocol)
    given = {
        **options,
        "dry_run": dry_run,
        "data": data_folder(options.get("data")),
        "out": user_path(options.get("out", "results")),
    }
    given["seeds"] = whole_numbers(options.get("seeds", 0))
    asked = Reproduction(table, given, name, whole_numbers(bits), user_path(published) if published else None)
    if asked.request.to_do and not dry_run:
        asked.request.run(Observer())
    if not dry_run:
        asked.rescore()
    return pd.DataFrame([line.to_json() for line in asked.lines()])
