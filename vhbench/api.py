"""The commands as Python functions: `vhbench.run` and `vhbench.compare`."""

from __future__ import annotations

import logging
import operator
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsIndex

from vhbench.errors import UsageError
from vhbench.grid.request import request
from vhbench.plugins.registry import Registry
from vhbench.report.comparison import Figures, comparison, draw
from vhbench.runs.groups import Choice
from vhbench.runs.record import Record
from vhbench.runs.references import read_references
from vhbench.runs.store import Store
from vhbench.system.files import user_path

if TYPE_CHECKING:
    import pandas as pd

    from vhbench.search.gallery import Gallery

OneOrMoreNames = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]
OneOrMoreNumbers = SupportsIndex | Iterable[SupportsIndex]

log = logging.getLogger(__name__)


def run(
    method: OneOrMoreNames,
    protocol: OneOrMoreNames,
    bits: OneOrMoreNumbers,
    *,
    seeds: OneOrMoreNumbers = 0,
    params: Mapping[str, Mapping[str, Any]] | None = None,
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
    from vhbench.grid.settings import Observer

    texts = {name: {key: _values(value) for key, value in values.items()} for name, values in (params or {}).items()}
    names = {"methods": _texts(method), "protocols": _texts(protocol), "bits": _ints(bits), "seeds": _ints(seeds)}
    asked = request({
        **launcher_options, **names, "params": texts, "preset": preset, "budget": budget, "epochs": epochs,
        "eval_at": _ints(eval_at), "keep_model": keep_model, "precision": precision, "normalize": normalize,
        "allow_counts": allow_counts,
        "data": _data_folder(data), "out": user_path(out), "device": device, "deterministic": deterministic,
        "checkpoint_every": checkpoint_every, "launcher": launcher, "rerun": rerun, "plugins": plugins,
    })  # fmt: skip
    for line in asked.lacking():
        log.warning(line)
    if asked.to_do:
        asked.run(Observer())
    return _table(asked.records())


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


def compare(
    protocol: OneOrMoreNames = (),
    *,
    method: OneOrMoreNames = (),
    bits: OneOrMoreNumbers = (),
    metric: OneOrMoreNames = (),
    convention: str = "literature",
    ci: bool = False,
    baseline: str | None = None,
    difference: str | None = None,
    significance: bool = False,
    pairwise: bool = False,
    published: bool = False,
    references: bool = False,
    sort: str | None = None,
    percent: bool = False,
    names: Mapping[str, str] | None = None,
    pr: Path | str | None = None,
    map_file: Path | str | None = None,
    distances: Path | str | None = None,
    wins: Path | str | None = None,
    tradeoff: Path | str | None = None,
    width: str = "page",
    highlight: OneOrMoreNames = (),
    out: Path | str = "results",
    plugins: Sequence[Path | str] = (),
) -> pd.DataFrame:
    """Do what `vhbench compare` does and return its rows.

    Args:
        protocol: names or paths of manifests to keep; empty keeps all.
        method: names to keep, in this order; empty keeps all.
        bits: code lengths to keep; empty keeps all.
        metric: one name or several, full or partial: `map@20`, `mrr[ties=worst]`; empty takes map@20, or the nearest K
            that a run has recorded.
        convention: "literature" or "strict": what a partial name leaves out.
        ci: add the 95 % bootstrap interval over queries.
        baseline: test every method against this one.
        difference: the same, each difference with its 95 % interval (`tests`, `ci` of each).
        significance: test all pairs of methods.
        pairwise: the same with intervals, and a row a pair is returned.
        published: add other people's numbers for the same protocol.
        references: add chance, the cosine of mean frames and what is attainable; figures show them anyway.
        sort: order of the methods: "name", "value" (best first at the longest code), or a code length as text.
        percent: scores in percent, in figures; the rows keep fractions.
        names: what to call methods, or rows by their whole label; figures call the others what papers do.
        pr: file to draw precision-recall curves into; .pdf, .svg or .png.
        map_file: file to draw mAP@K into, against K and against the code length.
        distances: file to draw histograms of Hamming distances into.
        wins: file to draw all pairs of methods into, with tests.
        tradeoff: file to draw the first metric into, against time, memory and code length.
        width: of figures: "column" or "page" of a two-column paper.
        highlight: methods, or rows by their whole label, that figures draw in colour and all others in grey.
        out: results folder.
        plugins: Python files with further methods, for telling which runs are stale.

    Returns:
        A row a protocol, split, method, code length and metric, or with `pairwise` a pair of them; columns as in
        `vhbench compare --format json`.

    Raises:
        UsageError: a name that no finished run has, a metric that is not recorded, or an impossible test.
        DataError: published numbers are not at hand.
        StoreError: a run's curves are missing or damaged.
    """
    import pandas as pd

    from vhbench.report.figures.look import Look
    from vhbench.report.pairs import pair_list
    from vhbench.report.shown import Names, in_order, renamed, usual_names

    figures = Figures(*(user_path(path) if path else None for path in (pr, map_file, distances, wins, tradeoff)))
    figures.check()
    look = Look(width, _texts(highlight), Names(names or {}, usual_names()), percent)
    records, problems = Store(out).records()
    kept, faults = read_references(user_path(out))
    for problem in [*problems, *faults]:
        log.warning("left out: %s", problem)
    protocols = Registry(plugins).protocol_names(_texts(protocol))
    choice = Choice(protocols, _texts(method), _ints(bits), _texts(metric), convention)
    found = comparison(
        records, choice, ci=ci, baseline=baseline, difference=difference, significance=significance, pairwise=pairwise,
        published=published, plugins=plugins, references=kept if references else (),
    )  # fmt: skip
    in_rows = Names(names or {})
    in_rows.check(found)
    shown = in_order(renamed(found, in_rows), sort)
    if found:
        draw(records, choice, figures, look, kept)
    return pd.DataFrame(pair_list(shown) if pairwise else [row.to_json() for row in shown])


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
        "data": _data_folder(options.get("data")),
        "out": user_path(options.get("out", "results")),
    }
    given["seeds"] = _ints(options.get("seeds", 0))
    asked = Reproduction(table, given, name, _ints(bits), user_path(published) if published else None)
    if asked.request.to_do and not dry_run:
        asked.request.run(Observer())
    if not dry_run:
        asked.rescore()
    return pd.DataFrame([line.to_json() for line in asked.lines()])


def report(
    output: Path | str = "report.html",
    *,
    protocol: OneOrMoreNames = (),
    method: OneOrMoreNames = (),
    bits: OneOrMoreNumbers = (),
    metric: str | None = None,
    convention: str = "literature",
    data: Path | str | None = None,
    out: Path | str = "results",
    plugins: Sequence[Path | str] = (),
) -> Path:
    """Do what `vhbench report` does: write every result on one self-contained HTML page.

    What the page lacks, labels for example, goes to the log; the page says it too.

    Args:
        output: the page; an existing file is replaced.
        protocol: names or paths of manifests to keep; empty keeps all. A path also says where the labels are.
        method: names to keep; empty keeps all.
        bits: code lengths to keep; empty keeps all.
        metric: a map: shown first, and AP query by query; map@20 by default. Of runs that have not recorded it the
            nearest K is taken.
        convention: "literature" or "strict": shown first.
        data: folder of the feature files, for labels; `$VHBENCH_DATA` by default.
        out: results folder.
        plugins: Python files with further methods.

    Returns:
        The page's path.

    Raises:
        UsageError: an unknown name, a metric that no run has recorded or that is no map, or no run at all.
        DataError: a manifest is missing or faulty.
        StoreError: the file cannot be written.
    """
    from vhbench.report.page import write_page

    path, choice = user_path(output), Choice((), _texts(method), _ints(bits), (metric,) if metric else (), convention)
    lacking = write_page(
        path, Store(out), choice, protocols=_texts(protocol), data=_data_folder(data), registry=Registry(plugins)
    )
    for sentence in lacking:
        log.warning("not on the page: %s", sentence)
    return path


def rescore(
    protocol: OneOrMoreNames = (),
    *,
    method: OneOrMoreNames = (),
    bits: OneOrMoreNumbers = (),
    ks: OneOrMoreNumbers = (),
    check: bool = False,
    data: Path | str | None = None,
    out: Path | str = "results",
) -> pd.DataFrame:
    """Do what `vhbench rescore` does and return what became of every run.

    Args:
        protocol: names or paths of manifests to keep; empty keeps all that the finished runs name.
        method: names to keep; empty keeps all.
        bits: code lengths to keep; empty keeps all.
        ks: the K to record; empty takes each protocol's own.
        check: write nothing; compare each record with what its codes give, at the K that it has.
        data: folder of the feature files; `$VHBENCH_DATA` by default.
        out: results folder.

    Returns:
        A row a run: protocol, method, bits, seed, result ("unchanged", "changed", or "left" as it was), changed (name
        of a number -> what it was and what it is), added and dropped (names of scores), problem, folder.

    Raises:
        UsageError: an unknown name, an impossible K, K for a check, or a protocol that only its manifest tells.
        DataError: a protocol's data are missing or faulty.
        StoreError: results cannot be written.
    """
    import pandas as pd

    from vhbench.runs.rescore import check_runs, rescore_runs

    choice, protocols, folder = Choice(methods=_texts(method), bits=_ints(bits)), _texts(protocol), _data_folder(data)
    if check:
        if _ints(ks):
            raise UsageError("a check compares at the K that a record has: leave out ks.")
        found = check_runs(Registry(), Store(out), choice, protocols=protocols, data=folder)
    else:
        found = rescore_runs(Registry(), Store(out), choice, protocols=protocols, ks=_ints(ks), data=folder)
    return pd.DataFrame(
        {
            **{key: item.record.spec[key] for key in ("protocol", "method", "bits", "seed")},
            "result": item.result,
            "changed": dict(item.changed),
            "added": item.added,
            "dropped": item.dropped,
            "problem": item.problem,
            "folder": str(item.record.folder),
        }
        for item in found
    )


def export(
    run: str | os.PathLike[str],
    output: Path | str,
    *,
    protocol: str | os.PathLike[str] | None = None,
    data: Path | str | None = None,
    out: Path | str = "results",
) -> pd.DataFrame:
    """Do what `vhbench export` does and return what was written.

    Args:
        run: the run's folder, or the start of its id.
        output: where the files go.
        protocol: the run's protocol where only its manifest tells: the manifest's path.
        data: folder of the feature files; `$VHBENCH_DATA` by default.
        out: results folder.

    Returns:
        A row a file: path, split, role, content ("codes", "index", "labels", "names" or "about") and videos. Labels
        are missing where the data are not found, the index where faiss is not installed: the log says so.

    Raises:
        UsageError: no run, or several, are meant.
        StoreError: the codes are missing or damaged, or the files cannot be written.
    """
    import pandas as pd

    from vhbench.runs.export import export_run, find_run

    record = find_run(os.fspath(run), Store(out))
    name = None if protocol is None else os.fspath(protocol)
    files = export_run(record, user_path(output), Registry(), protocol=name, data=_data_folder(data), say=log.warning)
    return pd.DataFrame({**vars(file), "path": str(file.path)} for file in files)


def encode(
    run: str | os.PathLike[str],
    features: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    output: Path | str,
    *,
    key: str = "feats",
    device: str = "auto",
    batch: int | None = None,
    out: Path | str = "results",
    plugins: Sequence[Path | str] = (),
) -> Gallery:
    """Do what `vhbench encode` does and return the codes, which are not read before they are used.

    Args:
        run: as for `vhbench.load`.
        features: a feature file or several, read as one in this order.
        output: where the codes go.
        key: name of the features' data set in HDF5 files.
        device: "auto", "cpu" or "cuda:N".
        batch: videos encoded at a time, 65,536 by default; fewer take less memory.
        out: results folder, where an id is given.
        plugins: Python files with further methods.

    Returns:
        `codes`, a memory map of uint8 (videos, ceil(bits / 8)), bit j in bit j % 8 of byte j // 8; `names`; `about`.

    Raises:
        UsageError: as for `vhbench.load`, or `output` holds other things.
        DataError: the files cannot be used, or were not computed as what the model was trained on.
        StoreError: a file of the model is damaged, or the codes cannot be written.
    """
    from vhbench.search.encode import encode_files
    from vhbench.search.loading import load

    model = load(run, out=out, device=device, plugins=plugins)
    paths = [user_path(path) for path in _texts(features)]
    return encode_files(model, paths, user_path(output), key=key, batch=batch, say=log.warning)


def extract(
    videos: OneOrMoreNames,
    output: Path | str,
    *,
    network: str = "efficientnet-lite0",
    layer: str | None = None,
    weights: Path | str | None = None,
    frames: int = 25,
    dtype: str = "float16",
    jobs: int | None = None,
    device: str = "cpu",
    shard: tuple[int, int] = (1, 1),
) -> pd.DataFrame:
    """Do what `vhbench extract` does: compute frame features of videos and write them as one HDF5 file.

    Args:
        videos: a folder or file, or several.
        output: the feature file.
        network: "efficientnet-lite0", "vgg16", "resnet50" or the path of an ONNX file.
        layer: its output; None takes the network's default.
        weights: the weights of vgg16 or resnet50.
        frames: frames a video.
        dtype: "float16" or "float32".
        jobs: processes; None: one a core.
        device: "auto", "cpu" or "cuda:N".
        shard: (number from 1, of how many): only this part of the videos.

    Returns:
        A row a video: name, distinct (different frames; 0 where it gave no features) and reason.

    Raises:
        UsageError: there are no videos, or no such network, layer, weights or device, or a package is missing.
        DataError: the weights cannot be read, or the output, or parts of it, are of another extraction.
        StoreError: something cannot be written, or no video gave features.
    """
    import pandas as pd

    from vhbench.system.environment import resolve_device
    from vhbench.video.extraction import Wish
    from vhbench.video.extraction import extract as do
    from vhbench.video.networks import Choice

    choice = Choice(network, layer, user_path(weights) if weights else None, resolve_device(device))
    paths = [user_path(text) for text in _texts(videos)]
    outcome = do(Wish(paths, user_path(output), choice, frames, dtype, jobs, shard))
    rows = [(name, int(count), "") for name, count in zip(outcome.names, outcome.distinct, strict=True)]
    rows += [(name, 0, reason) for name, reason in outcome.reasons.items()]
    return pd.DataFrame(sorted(rows), columns=["name", "distinct", "reason"])


def _data_folder(data: Path | str | None) -> Path | None:
    data = data or os.environ.get("VHBENCH_DATA")
    return user_path(data) if data else None


def _values(value: Any) -> list[str]:
    """Return a hyper-parameter's value or values as texts, each of which is one value."""
    return [str(item) for item in ([value] if isinstance(value, str) or not isinstance(value, Iterable) else value)]


def _texts(value: OneOrMoreNames) -> tuple[str, ...]:
    values = (value,) if isinstance(value, str | os.PathLike) else value
    return tuple(os.fspath(value) for value in values)


def _ints(value: OneOrMoreNumbers) -> tuple[int, ...]:
    values = value if isinstance(value, Iterable) else (value,)
    try:
        return tuple(operator.index(value) for value in values)  # NumPy's integers too
    except TypeError:
        raise UsageError(f"Code lengths and seeds are whole numbers, not {value!r}.") from None
