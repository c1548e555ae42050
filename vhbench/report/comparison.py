"""The rows of a comparison with all that was asked for: what `vhbench compare` prints."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vhbench.errors import UsageError
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

if TYPE_CHECKING:
    from vhbench.report.figures import Look

log = logging.getLogger(__name__)


def comparison(
    records: Sequence[Record],
    choice: Choice,
    *,
    ci: bool = False,
    baseline: str | None = None,
    difference: str | None = None,
    significance: bool = False,
    pairwise: bool = False,
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
        difference: the same, with the interval of the difference.
        significance: test all pairs of rows.
        pairwise: the same, with the interval of each difference.
        published: add published numbers of the same protocol.
        plugins: Python files with further methods, for telling which runs are stale.
        references: what the numbers are held against, added as rows.

    Raises:
        UsageError: a name or code length that no record has, a metric that none has recorded, or an impossible test.
        DataError: published numbers are not at hand.
    """
    _check_tests(baseline, difference, pairwise=pairwise, published=published)
    sources = {entry.name: entry.fingerprint for entry in Registry(plugins).methods() if not entry.broken}
    found = rows(records, choice, sources)
    for protocol, differs in {row.protocol: row.differs for row in found if row.differs}.items():
        log.warning("%s is not put together with other data of its name: %s", protocol, differs)
    alike = groups(records, choice)
    found = with_statistics(
        found, alike, ci=ci, baseline=difference or baseline, pairs=significance or pairwise,
        differences=bool(difference or pairwise),
    )  # fmt: skip
    if not (difference or pairwise):
        found = averaged(with_references(found, alike, references), alike, choice)
    if not published:
        return found
    beside = with_published(found, read_published(), choice.methods)
    for protocol in sorted({row.protocol for row in found} - {row.protocol for row in beside if row.published}):
        log.warning("no published numbers for %s by these metrics at these code lengths", protocol)
    return beside


def _check_tests(baseline: str | None, difference: str | None, *, pairwise: bool, published: bool) -> None:
    if baseline and difference and baseline != difference:
        raise UsageError(f"--difference {difference} tests against {difference} too: leave out --baseline {baseline}.")
    if published and (difference or pairwise):
        raise UsageError("Published numbers have no values query by query: leave out --published, or ask for no pairs.")


@dataclass(frozen=True)
class Figures:
    """Which figures to draw, and into which files; None: not that one.

    Attributes:
        pr: precision-recall curves.
        map: mAP@K against K and against the code length.
        distances: histograms of Hamming distances.
        wins: all pairs of methods.
        tradeoff: the first metric against time, memory and bits.
    """

    pr: Path | None = None
    map: Path | None = None
    distances: Path | None = None
    wins: Path | None = None
    tradeoff: Path | None = None

    def check(self) -> None:
        """Raise UsageError unless every file can be a figure."""
        from vhbench.report.figures import check_path

        for path in filter(None, vars(self).values()):
            check_path(path)


def draw(
    records: Sequence[Record],
    choice: Choice,
    figures: Figures,
    look: Look,
    references: Sequence[KeptReferences] = (),
) -> list[Path]:
    """Draw the figures that were asked for and return the files written; errors as for what gathers and draws each.

    Args:
        records: runs of any status; only "done" ones count.
        choice: which curves; the K of the first metric that has one is that of mAP against code length.
        figures: which, and where to.
        look: width, names, and what is in colour.
        references: what the runs are held against, drawn as thin lines.
    """
    from vhbench.report import figures as drawing
    from vhbench.report.costs import costs
    from vhbench.report.curves import distance_counts, map_curves, pr_curves
    from vhbench.report.wins import wins

    files: list[Path] = []
    if figures.pr:
        levels = chance_levels(records, choice, references)
        files += drawing.draw_pr(pr_curves(records, choice), figures.pr, levels, look)
    if figures.map:
        ks = [metric.k for metric in map(Metric.parse, choice.metrics) if metric.k]
        files += drawing.draw_map(map_curves(records, choice, references), figures.map, ks[0] if ks else USUAL_K, look)
    if figures.distances:
        files += drawing.draw_distances(distance_counts(records, choice), figures.distances, look)
    if figures.wins:
        files += drawing.draw_wins(wins(records, choice), figures.wins, look)
    if figures.tradeoff:
        files += drawing.draw_tradeoff(costs(records, choice, references), figures.tradeoff, look)
    return files
