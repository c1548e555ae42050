"""How far relevant and other pairs lie apart: a histogram a method and code length."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from vhbench.report.figures import grid
from vhbench.report.figures.look import SMALL, USUAL_LOOK, Look, Series, series_of, with_look
from vhbench.report.figures.words import legend_of_patches

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

LINE, TOP = 0.3, 0.5  # inches: of a method's histograms, and of headings and axis
HIGHEST = 8.0  # inches of all histograms, that they fit a page
LOWEST = 0.14  # of one, that names do not touch
OTHERS = "#303030"


@with_look
def draw_distances(counts: pd.DataFrame, path: Path, look: Look = USUAL_LOOK) -> list[Path]:
    """Draw the shares of relevant and of other pairs at each Hamming distance: methods down, code lengths across.

    Args:
        counts: as `report.curves.distance_counts` returns them.
        path: where to; ends in .pdf, .svg or .png.
        look: width, names, and what is in colour.

    Returns:
        The files written: the figure and its data.

    Raises:
        UsageError: another ending, nothing to draw, or a method to be highlighted is not among them.
        VhbenchError: a file cannot be written.
    """
    from matplotlib.figure import Figure

    grid.check(counts, path)
    series, marks = series_of(zip(counts["method"], counts["label"], strict=True), look)
    lengths = sorted(int(bits) for bits in counts["bits"].unique())
    splits = list(counts.groupby(grid.PER_SPLIT, sort=False))
    lines = [(name, part, str(label)) for name, part in splits for label in part["label"].unique()]
    line = max(LOWEST, min(LINE, HIGHEST / len(lines)))
    figure = Figure(layout="constrained", figsize=(look.inches, TOP + line * len(lines)))
    figure.get_layout_engine().set(**{**grid.PADS, "h_pad": 0.01, "hspace": 0})  # type: ignore[union-attr]
    axes = figure.subplots(len(lines), len(lengths), squeeze=False)
    for row, (name, part, label) in enumerate(lines):
        first = row == 0 or lines[row - 1][0] != name
        for axis, bits in zip(axes[row], lengths, strict=True):
            own = part[(part["label"] == label) & (part["bits"] == bits)]
            _histogram(axis, own, bits, series[label], last=row + 1 == len(lines))
            if first:
                several = f"{grid.title(name, part)}\n" if len(splits) > 1 and axis is axes[row][0] else ""
                axis.set_title(f"{several}{bits} bits")
        _name(axes[row][0], series[label])
    matches = " and ".join(f"self={own}" for own in counts["self"].unique())
    if len(splits) == 1:
        figure.suptitle(grid.title(*splits[0]))
    entries = [
        ("relevant pairs", {"facecolor": "#8C8C8C"}),
        ("other pairs", {"facecolor": "none", "edgecolor": OTHERS}),
    ]
    note = ["share of each kind at a Hamming distance", matches, marks]
    legend_of_patches(figure, entries, "; ".join(filter(None, note)))
    return grid.save(figure, counts, path)


def _histogram(axis: Axes, own: pd.DataFrame, bits: int, series: Series, *, last: bool) -> None:
    axis.grid(False)
    axis.set_yticks([])
    for side in ("left", "right", "top"):
        axis.spines[side].set_visible(False)
    axis.set_xlim(-0.5, bits + 0.5)
    axis.set_xticks([0, bits // 2, bits], labels=[str(x) for x in (0, bits // 2, bits)] if last else [""] * 3)
    if own.empty:
        return
    edges = [x - 0.5 for x in range(bits + 2)]
    styles: dict[str, dict[str, Any]] = {
        "relevant": {"fill": True, "color": series.style["color"], "alpha": 0.75, "linewidth": 0},
        "others": {"color": OTHERS, "linewidth": 0.6},
    }
    highest = 0.0
    for kind, options in styles.items():
        share = own.sort_values("distance")[kind] / max(1, own[kind].sum())
        highest = max(highest, float(share.max()))
        axis.stairs(share, edges, **options)
    axis.set_ylim(0, 1.05 * highest)


def _name(axis: Axes, series: Series) -> None:
    color = series.style["color"] if series.bold else "#505050"
    axis.set_ylabel(series.name, rotation=0, ha="right", va="center", fontsize=SMALL, color=color, labelpad=3)
