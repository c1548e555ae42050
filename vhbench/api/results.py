"""Recorded results: `vhbench.compare`, `vhbench.report`, `vhbench.rescore` and `vhbench.export`."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vhbench.api.arguments import OneOrMoreNames, OneOrMoreNumbers, data_folder, texts, whole_numbers
from vhbench.errors import UsageError
from vhbench.plugins.registry import Registry
from vhbench.report.comparison import Figures, comparison, draw
from vhbench.runs.groups import Choice
from vhbench.runs.references import read_references
from vhbench.runs.store import Store
from vhbench.system.files import user_path

if TYPE_CHECKING:
    import pandas as pd


log = logging.getLogger(__name__)


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
    look = Look(width, texts(highlight), Names(names or {}, usual_names()), percent)
    records, problems = Store(out).records()
    kept, faults = read_references(user_path(out))
    for problem in [*problems, *faults]:
        log.warning("left out: %s", problem)
    protocols = Registry(plugins).protocol_names(texts(protocol))
    choice = Choice(protocols, texts(method), whole_numbers(bits), texts(metric), convention)
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

    path, choice = (
        user_path(output),
        Choice((), texts(method), whole_numbers(bits), (metric,) if metric else (), convention),
    )
    lacking = write_page(
        path, Store(out), choice, protocols=texts(protocol), data=data_folder(data), registry=Registry(plugins)
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

    choice, protocols, folder = (
        Choice(methods=texts(method), bits=whole_numbers(bits)),
        texts(protocol),
        data_folder(data),
    )
    if check:
        if whole_numbers(ks):
            raise UsageError("a check compares at the K that a record has: leave out ks.")
        found = check_runs(Registry(), Store(out), choice, protocols=protocols, data=folder)
    else:
        found = rescore_runs(Registry(), Store(out), choice, protocols=protocols, ks=whole_numbers(ks), data=folder)
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
    bit_order: str = "little",
    as_csv: bool = False,
    data: Path | str | None = None,
    out: Path | str = "results",
) -> pd.DataFrame:
    """Do what `vhbench export` does and return what was written.

    Args:
        run: the run's folder, or the start of its id; or a folder of codes, as `encode` writes it.
        output: where the files go.
        protocol: the run's protocol where only its manifest tells: the manifest's path.
        bit_order: of the bits in a byte, "little" or "big".
        as_csv: write tables of bits too, as pgvector and duckdb read them.
        data: folder of the feature files; `$VHBENCH_DATA` by default.
        out: results folder.

    Returns:
        A row a file: path, split, role, content ("codes", "index", "bits", "labels", "names", "rows" or "about") and
        videos. Labels are missing where the data are not found, the index where faiss is not installed: the log says
        so.

    Raises:
        UsageError: no run, or several, are meant; there is no such order of bits; the folder holds another export.
        StoreError: the codes are missing or damaged, or the files cannot be written.
    """
    import pandas as pd

    from vhbench.runs.export import export_run, find_run
    from vhbench.search.export import export_gallery
    from vhbench.search.gallery import is_gallery, open_gallery

    path, say = user_path(output), log.warning
    if is_gallery(user_path(run)):
        gallery = open_gallery(user_path(run))
        files = export_gallery(gallery, path, order=bit_order, as_csv=as_csv, say=say)
    else:
        record, name = find_run(os.fspath(run), Store(out)), None if protocol is None else os.fspath(protocol)
        files = export_run(
            record, path, Registry(), protocol=name, data=data_folder(data), order=bit_order, as_csv=as_csv, say=say
        )
    return pd.DataFrame({**vars(file), "path": str(file.path)} for file in files)
