"""Which method is better than which: differences of all pairs, and whether they are significant."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from vhbench.report.figures import grid
from vhbench.report.figures.look import SMALL, USUAL_LOOK, Look, Series, series_of, with_look
from vhbench.report.figures.words import POINTS, legend_of_patches, text_width
from vhbench.report.significance import ALPHA

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

FILLED = "#CFE2F3"
LARGEST, WITH_P = 0.42, 0.34  # inches of a cell's width: at most, and from where on it has room for a p
HIGHEST = 0.25  # inches of its height
HEADING = 0.2  # inches above a matrix, beside its names


@with_look
def draw_wins(pairs: pd.DataFrame, path: Path, look: Look = USUAL_LOOK) -> list[Path]:
    """Draw a matrix a protocol: a line's method less a column's in points of the metric, filled where significant.

    Methods stand from best to worst, so that each line's method is the better one.

    Args:
        pairs: as `report.wins.wins` returns them.
        path: where to; ends in .pdf, .svg or .png.
        look: width, names, and what is in colour.

    Returns:
        The files written: the figure and its data.

    Raises:
        UsageError: another ending, nothing to draw, or a method to be highlighted is not among them.
        VhbenchError: a file cannot be written.
    """
    from matplotlib.figure import Figure

    grid.check(pairs, path)
    rows = [*zip(pairs["method"], pairs["label"], strict=True)]
    rows += zip(pairs["method_against"], pairs["against"], strict=True)
    series, marks = series_of(rows, look)
    splits = list(pairs.groupby(grid.PER_SPLIT, sort=False))
    names = max(text_width(f"{one.name} 0.000") for one in series.values()) / POINTS + 0.08
    above = max(_above(part, series) for _, part in splits) / POINTS + 0.08
    most = max(len(_order(part)) for _, part in splits)
    cell = min(LARGEST, (look.inches - names - 0.05) / (most - 1))
    line = min(cell, HIGHEST)
    heights = [line * (len(_order(part)) - 1) + above + HEADING for _, part in splits]
    figure = Figure(figsize=(look.inches, sum(heights)))
    top = sum(heights)
    for (name, part), height in zip(splits, heights, strict=True):
        labels = _order(part)
        wide, high = names + cell * (len(labels) - 1), height - HEADING
        box = (0.02 / look.inches, (top - height) / sum(heights), wide / look.inches, high / sum(heights))
        axis = figure.add_axes(box)
        _matrix(axis, part, [series[label] for label in labels], (names / cell, above / line), cell >= WITH_P, look)
        axis.set_title(grid.title(name, part), loc="left")
        top -= height
    first = pairs.iloc[0]
    lengths = first["bits"].replace(" ", ", ")
    note = [
        f"{first['metric']}, mean over {lengths} bits",
        f"in a cell 100 × (line - column){', p below it' if cell >= WITH_P else ''}",
        marks,
    ]
    entries = [
        (f"p ≤ {ALPHA} (sign-flip over queries, Holm)", {"facecolor": FILLED, "edgecolor": "#808080"}),
        ("not significant", {"facecolor": "none", "edgecolor": "#808080"}),
    ]
    legend_of_patches(figure, entries, "; ".join(filter(None, note)))
    return grid.save(figure, pairs, path)


def _order(part: pd.DataFrame) -> list[str]:
    """Return the labels of a protocol, best first."""
    values = dict(zip(part["label"], part["value"], strict=True))
    values |= dict(zip(part["against"], part["value_against"], strict=True))
    return sorted(values, key=lambda label: -values[label])


def _above(part: pd.DataFrame, series: dict[str, Series]) -> float:
    """Return how much the names above a matrix take, in points; the last one has its value with it."""
    names = [series[label].name for label in _order(part)]
    return max(text_width(name) for name in [*names[:-1], f"{names[-1]} 0.000"])


def _matrix(
    axis: Axes, part: pd.DataFrame, order: list[Series], room: tuple[float, float], with_p: bool, look: Look
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
        fill = FILLED if significant else "none"
        axis.add_patch(Rectangle((x, y), 1, 1, facecolor=fill, edgecolor="#B0B0B0", linewidth=0.3, clip_on=False))
        text = f"{100 * difference:.0f}" + (f"\n{p:.2g}" if with_p else "")
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
