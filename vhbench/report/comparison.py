"""The rows of a comparison with all that was asked for: what `vhbench compare` prints."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from vhbench.plugins.registry import Registry
from vhbench.report.beside import with_published
from vhbench.report.folds import averaged
from vhbench.report.published import read_published
from vhbench.report.references import chance_levels, with_references
from vhbench.report.rows import Row, rows
from vhbench.report.significance import with_statistics
from vhbench.runs.groups import USUAL_K, Choice, groups
from vhbench.runs.record import Record
from vhbench.runs.references import KeptReferences
from vhbench.scoring import Metric

log = logging.getLogger(__name__)


def comparison(
    records: Sequence[Record],
    choice: Choice,
    *,
    ci: bool = False,
    baseline: str | None = None,
    significance: bool = False,
    published: bool = False,
    plugins: Sequence[Path | str] = (),
    references: Sequence[KeptReferences] = (),
) -> list[Row]:
    """Return the rows of a comparison; what could not be done is logged as a warning.

    Args:
        records: runs of any status; only "done" ones count.
        choice: which rows.
        ci: add 95 % bootstrap intervals over queries.
        baseline: test every row against this method's.
        significance: test all pairs of rows.
        published: add published numbers of the same protocol.
        plugins: Python files with further methods, for telling which runs are stale.
        references: what the numbers are held against, added as rows.

    Raises:
        UsageError: a name or code length that no record has, a metric that none has recorded, or an impossible test.
        DataError: published numbers are not at hand.
    """
    sources = {entry.name: entry.fingerprint for entry in Registry(plugins).methods() if not entry.broken}
    found = rows(records, choice, sources)
    for protocol, differs in {row.protocol: row.differs for row in found if row.differs}.items():
        log.warning("%s is not put together with other data of its name: %s", protocol, differs)
    alike = groups(records, choice)
    found = with_statistics(found, alike, ci=ci, baseline=baseline, pairs=significance)
    found = averaged(with_references(found, alike, references), alike, choice)
    if not published:
        return found
    beside = with_published(found, read_published(), choice.methods)
    for protocol in sorted({row.protocol for row in found} - {row.protocol for row in beside if row.published}):
        log.warning("no published numbers for %s by these metrics at these code lengths", protocol)
    return beside


def draw(
    records: Sequence[Record],
    choice: Choice,
    pr: Path | None,
    map_file: Path | None,
    references: Sequence[KeptReferences] = (),
) -> list[Path]:
    """Draw the figures that were asked for and return the files written; errors as for `report.curves` and `.figures`.

    Args:
        records: runs of any status; only "done" ones count.
        choice: which curves; the K of the first metric that has one is that of mAP against code length.
        pr: file for precision-recall curves, or None.
        map_file: file for mAP@K, or None.
        references: what the runs are held against, drawn as thin lines.
    """
    from vhbench.report.curves import map_curves, pr_curves
    from vhbench.report.figures import draw_map, draw_pr

    levels = chance_levels(records, choice, references)
    files = draw_pr(pr_curves(records, choice), pr, levels) if pr else []
    if map_file:
        ks = [metric.k for metric in map(Metric.parse, choice.metrics) if metric.k]
        files += draw_map(map_curves(records, choice, references), map_file, ks[0] if ks else USUAL_K)
    return files
