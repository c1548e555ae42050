"""Which method is better than which: differences of all pairs, and whether they are significant."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vhbench.errors import UsageError
from vhbench.report.figures import grid
from vhbench.report.figures.look import SMALL, USUAL_LOOK, Look, Series, series_of, with_look
from vhbench.report.figures.words import POINTS, legend_of_patches, text_width
from vhbench.report.significance import ALPHA

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

FILLED = "#CFE2F3"
SHADES = {0.05: FILLED, 0.15: "#7FB2DD", np.inf: "#2B6CA3"}  # of cells without numbers: differences up to these
LARGEST, WITH_P = 0.42, 0.34  # inches of a cell's width: at most, and from where on it has room for a p
NUMBERED, SMALLEST = 0.122, 0.085  # from where on it has room for a number, and a name for the column above it
LOWEST = 0.1  # inches of its height, for the names beside it
HIGHEST = 0.25  # inches of its height
HEADING = 0.2  # inches above a matrix, beside its names


@with_look
def draw_wins(pairs: pd.DataFrame, path: Path, look: Look = USUAL_LOOK) -> list[Path]:
    """Draw a matrix a protocol: a line's method less a column's in points of the metric, filled where significant.

    Methods stand from best to worst, so that each line's method is the better one. Where cells are too narrow for
    numbers, shades stand for the differences.

    Args:
        pairs: as `report.wins.wins` returns them.
        path: where to; ends in .pdf, .svg or .png.
        look: width, names, and what is in colour.

    Returns:
        The files written: the figure and its data.

    Raises:
        UsageError: another ending, nothing to draw, a method to be highlighted is not among them, or they are too many.
        VhbenchError: a file cannot be written.
    """
    from matplotlib.figure import Figure

    grid.check(pairs, path)
    rows = [*zip(pairs["method"], pairs["label"], strict=True)]
    rows += zip(pairs["method_against"], pairs["against"], strict=True)
    series, marks = series_of(rows, look)
    splits = list(pairs.groupby(grid.PER_SPLIT, sort=False))
    orders = [[series[label] for label in _order(part)] for _, part in splits]
    cell = min(LARGEST, *(_widest_cell(order, look.inches - 0.05) for order in orders))
    if cell < SMALLEST:
        advice = "draw it at --width page, or choose" if look.width == "column" else "choose"
        raise UsageError(
            f"{max(map(len, orders))} methods are too many for --wins at this width: {advice} with --method."
        )
    line = max(LOWEST, min(cell, HIGHEST))
    above = max(map(_above, orders)) / POINTS + 0.08
    heights = [line * (len(order) - 1) + above + HEADING for order in orders]
    figure = Figure(figsize=(look.inches, sum(heights)))
    top = sum(heights)
    for (name, part), order, height in zip(splits, orders, heights, strict=True):
        names = max(_beside(one) - number * cell for number, one in enumerate(order[:-1]))
        wide, high = names + cell * (len(order) - 1), height - HEADING
        box = (0.02 / look.inches, (top - height) / sum(heights), wide / look.inches, high / sum(heights))
        axis = figure.add_axes(box)
        _matrix(axis, part, order, (names / cell, above / line), cell, look)
        axis.set_title(grid.title(name, part), loc="left")
        top -= height
    first = pairs.iloc[0]
    lengths = first["bits"].replace(" ", ", ")
    note = [
        f"{first['metric']}, mean over {lengths} bits",
        f"in a cell 100 × (line - column){', p below it' if cell >= WITH_P else ''}" if cell >= NUMBERED else "",
        marks,
    ]
    entries = [*_fills(cell), ("not significant", {"facecolor": "none", "edgecolor": "#808080"})]
    legend_of_patches(figure, entries, "; ".join(filter(None, note)))
    return grid.save(figure, pairs, path)


def _order(part: pd.DataFrame) -> list[str]:
    """Return the labels of a protocol, best first."""
    values = dict(zip(part["label"], part["value"], strict=True))
    values |= dict(zip(part["against"], part["value_against"], strict=True))
    return sorted(values, key=lambda label: -values[label])


def _fills(cell: float) -> list[tuple[str, dict[str, Any]]]:
    """Return what the fills of cells of this width mean."""
    test = f"p ≤ {ALPHA} (sign-flip over queries, Holm)"
    if cell >= NUMBERED:
        return [(test, {"facecolor": FILLED, "edgecolor": "#808080"})]
    ends = [f"{100 * end:.0f}" for end in SHADES if np.isfinite(end)]
    texts = [f"{test}, line - column under {ends[0]} points", f"{ends[0]} to {ends[1]} points", f"{ends[1]} or more"]
    return [
        (text, {"facecolor": fill, "edgecolor": "#808080"}) for text, fill in zip(texts, SHADES.values(), strict=True)
    ]


def _beside(series: Series) -> float:
    """Return how much a name and value take beside a line, in inches."""
    return text_width(f"{series.name} 0.000") / POINTS + 0.08


def _widest_cell(order: Sequence[Series], width: float) -> float:
    """Return how wide cells can be, in inches: a name has the room left of the diagonal, more from line to line."""
    last = len(order) - 1
    return min((width - _beside(one)) / (last - number) for number, one in enumerate(order[:-1]))


def _above(order: Sequence[Series]) -> float:
    """Return how much the names above a matrix take, in points; the last one has its value with it."""
    names = [one.name for one in order]
    return max(text_width(name) for name in [*names[:-1], f"{names[-1]} 0.000"])


def _matrix(
    axis: Axes, part: pd.DataFrame, order: Sequence[Series], room: tuple[float, float], cell: float, look: Look
) -> None:
    """Draw the cells above the diagonal, in units of a cell, with the names in the room left of and above them."""
    from matplotlib.patches import Rectangle

    place = {one.label: number for number, one in enumerate(order)}
    axis.set_axis_off()
    axis.set_xlim(1 - room[0], len(order))
    axis.set_ylim(len(order) - 1, -room[1])
    columns = (part["label"], part["against"], part["difference"].astype(float), part["p"].astype(float))
    for label, against, difference, p in zip(*columns, strict=True):
        x, y = place[against], place[label]
        significant = p <= ALPHA
        fill = "none"
        if significant:
            fill = FILLED if cell >= NUMBERED else next(shade for end, shade in SHADES.items() if difference < end)
        axis.add_patch(Rectangle((x, y), 1, 1, facecolor=fill, edgecolor="#B0B0B0", linewidth=0.3, clip_on=False))
        if cell < NUMBERED:
            continue
        text = f"{100 * difference:.0f}" + (f"\n{p:.2g}" if cell >= WITH_P else "")
        color = "black" if significant else "#606060"
        axis.text(x + 0.5, y + 0.5, text, ha="center", va="center", fontsize=SMALL, color=color, linespacing=1.1)
    values = dict(zip(part["against"], part["value_against"], strict=True))
    values |= dict(zip(part["label"], part["value"], strict=True))
    for number, one in enumerate(order):
        color = one.style["color"] if look.highlight and one.bold else "black"
        value = f"{100 * values[one.label]:.1f}" if look.percent else f"{values[one.label]:.3f}"
        options: dict[str, Any] = {"fontsize": SMALL, "color": color}
        if number < len(order) - 1:
            axis.text(number + 0.9, number + 0.5, f"{one.name} {value}", ha="right", va="center", **options)
        if number:
            text = f"{one.name} {value}" if number == len(order) - 1 else one.name
            axis.text(number + 0.5, -0.1, text, ha="center", va="bottom", rotation=90, **options)
