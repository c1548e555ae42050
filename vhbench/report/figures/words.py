"""Which line is which: names at the ends of lines where they fit, one legend for all others."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vhbench.report.figures.grid import HEIGHT, PADS
from vhbench.report.figures.look import SMALL, Series
from vhbench.system.text import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

POINTS = 72  # an inch
GAP = 1.2 * SMALL  # points between the middles of two names
LEADER = 4  # points from the side of a panel to a name
WIDEST = 0.4  # of a panel: longer names go into the legend
HANDLE, PAD, BETWEEN, LINE = 3.2, 0.5, 1.2, 1.35  # of a legend, in font sizes
MOST_COLUMNS = 6
SAFE = 0.97  # of a room: what is drawn is a little wider than its outlines


@dataclass(frozen=True)
class End:
    """Where the line of a series ends: in which panel, and at which point in the panel's own numbers."""

    axis: Axes
    series: Series
    x: float
    y: float


def name_lines(figure: Figure, series: Sequence[Series], ends: Sequence[End], head: str, note: str) -> None:
    """Write names and notes, and fix the layout of a figure that is drawn but for them.

    Args:
        figure: with its panels drawn; it grows by what the legend takes.
        series: all that is drawn, in the legend's order.
        ends: of the lines that may be named directly: all of them are, or none.
        head: of the figure; empty: none.
        note: below the figure.
    """
    if head:
        figure.suptitle(plain(head))
    size = figure.get_size_inches()
    if ends and max(map(_end_width, ends)) <= WIDEST * ends[0].axis.get_position().width * size[0] * POINTS:
        named = [_name(end) for end in ends]
        direct = {end.series.label for end in ends}
        legend = _legend(figure, [one for one in series if one.label not in direct], note)
        if _settle(figure, ends, named):
            return
        for text in named:
            text.remove()
        if legend is not None:
            legend.remove()
        figure.set_size_inches(*size)
        figure.set_layout_engine("constrained", **PADS)
    _legend(figure, series, note)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float] | None:
    """Return places at least `gap` apart, between two ends and as near to those wanted as can be; None: no room."""
    order = np.argsort(wanted, kind="stable")
    room = high - low - gap * (len(wanted) - 1)
    if room < 0:
        return None
    blocks: list[list[float]] = []  # runs of neighbours that touch: their mean, and how many
    for number, place in enumerate(order):
        blocks.append([wanted[place] - gap * number, 1])
        while len(blocks) > 1 and blocks[-2][0] >= blocks[-1][0]:
            (a, n), (b, m) = blocks[-2:]
            blocks[-2:] = [[(a * n + b * m) / (n + m), n + m]]
    starts = np.repeat([mean for mean, _ in blocks], [int(count) for _, count in blocks])
    places = np.empty(len(wanted))
    places[order] = np.clip(starts, low, low + room) + gap * np.arange(len(wanted))
    return [float(place) for place in places]


def text_width(text: str) -> float:
    """Return how wide a text of the small size is, in points."""
    return _width_of(text) if text.strip() else 0.0


@functools.cache
def _width_of(text: str) -> float:
    from matplotlib.textpath import TextPath

    return float(TextPath((0, 0), text, size=SMALL).get_extents().width)


def _end_width(end: End) -> float:
    return text_width(end.series.name) + LEADER


def _name(end: End) -> Any:
    color = end.series.style["color"]
    arrow = {"arrowstyle": "-", "linewidth": 0.4, "color": color, "clip_on": False}
    return end.axis.annotate(
        end.series.name,
        (end.x, end.y),
        (LEADER + _margin(end), 0),
        textcoords="offset points",
        va="center",
        fontsize=SMALL,
        color=color,
        annotation_clip=False,
        arrowprops={**arrow, "shrinkA": 1, "shrinkB": 2, "relpos": (0, 0.5)},  # from the middle of the name's left side
    )


def _margin(end: End) -> float:
    """Return how far the end of a line is from the side of its panel, in points."""
    x, _ = end.axis.transData.transform((end.x, end.y))
    return float(end.axis.get_window_extent().x1 - x) * POINTS / end.axis.figure.dpi


def _settle(figure: Figure, ends: Sequence[End], named: Sequence[Any]) -> bool:
    """Fix the layout and move names apart; False if they do not fit beside their panels."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    to_points = POINTS / figure.dpi
    for axis in dict.fromkeys(end.axis for end in ends):
        own = [number for number, end in enumerate(ends) if end.axis is axis]
        box = axis.get_window_extent()
        at = [axis.transData.transform((ends[i].x, ends[i].y))[1] * to_points for i in own]
        places = spread(at, GAP, box.y0 * to_points, box.y1 * to_points)
        if places is None:
            return False
        for i, place, y in zip(own, places, at, strict=True):
            named[i].set_position((LEADER + _margin(ends[i]), place - y))
    return True


def _legend(figure: Figure, series: Sequence[Series], note: str) -> Any:
    """Add one legend: in a cell of the grid that has no panel where it fits there, else below."""
    size = figure.get_size_inches() * POINTS
    spare = next((axis for axis in figure.axes if not axis.axison), None)
    if spare is not None:
        room = (0.97 * size[0] / spare.get_subplotspec().get_gridspec().ncols, 0.9 * POINTS * HEIGHT)  # type: ignore[union-attr]
        columns, height = _columns(series, note, room[0])
        if columns and height <= room[1]:
            legend = spare.legend(loc="center", **_options(series, note, room[0], columns))
            legend.set_in_layout(False)
            return legend
    columns, height = _columns(series, note, size[0] - 6)
    figure.set_size_inches(size[0] / POINTS, (size[1] + height) / POINTS)
    options = {**_options(series, note, size[0] - 6, max(1, columns)), "loc": "outside lower center"}
    return figure.legend(**options)


def legend_of_patches(figure: Figure, entries: Sequence[tuple[str, dict[str, Any]]], note: str) -> None:
    """Add a legend of areas below a figure that is drawn but for it, and fix the layout.

    Args:
        figure: it grows by what the legend takes.
        entries: name and look of each.
        note: above the names.
    """
    from matplotlib.patches import Patch

    width, height = figure.get_size_inches() * POINTS
    handles = [Patch(linewidth=0.5, **look) for _, look in entries]
    widths = [text_width(name) + (HANDLE + PAD + BETWEEN) * SMALL for name, _ in entries]
    columns = len(entries) if sum(widths) <= width - 6 else 1
    lines = _note_lines(note, width - 6)
    extra = (len(lines) + len(entries) / columns + 0.8) * LINE * SMALL
    grown = (height + extra) / height
    figure.set_size_inches(width / POINTS, (height + extra) / POINTS)
    if figure.get_layout_engine() is None:  # panels stay as large as they are, above the legend
        for axis in figure.axes:
            box = axis.get_position()
            axis.set_position((box.x0, 1 - (1 - box.y0) / grown, box.width, box.height / grown))
    options = _options([], note, width - 6, columns)
    options |= {"handles": handles, "labels": [name for name, _ in entries]}
    options["loc"] = "lower center" if figure.get_layout_engine() is None else "outside lower center"
    figure.legend(**options)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")


def _columns(series: Sequence[Series], note: str, room: float) -> tuple[int, float]:
    """Return how many columns a legend has in this width and how high it is, in points; no columns: none fit."""
    widths = [text_width(one.name) + (HANDLE + PAD) * SMALL for one in series]
    lines = len(_note_lines(note, room))
    for columns in range(min(MOST_COLUMNS, len(series)), 0, -1):
        rows = -(-len(series) // columns)
        parts = [widths[start : start + rows] for start in _starts(len(series), columns)]
        if sum(map(max, filter(None, parts))) + BETWEEN * SMALL * columns <= room:
            return columns, (rows + lines + 0.8) * LINE * SMALL
    return (0, 0.0) if series else (1, (lines + 0.8) * LINE * SMALL)


def _starts(count: int, columns: int) -> list[int]:
    """Return where matplotlib begins the columns of a legend: the first ones have an entry more."""
    sizes = [count // columns + (number < count % columns) for number in range(columns)]
    return [sum(sizes[:number]) for number in range(columns)]


def _options(series: Sequence[Series], note: str, room: float, columns: int) -> dict[str, Any]:
    return {
        "handles": [_handle(one) for one in series] or [_nothing()],
        "labels": [one.name for one in series] or [""],
        "ncols": columns,
        "title": "\n".join(_note_lines(note, room)) or None,
        "frameon": False,
        "handlelength": HANDLE,
        "handletextpad": PAD,
        "columnspacing": BETWEEN,
        "labelspacing": LINE - 1.2,
        "borderpad": 0.2,
        "borderaxespad": 0.1,
    }


def _handle(series: Series) -> Line2D:
    from matplotlib.lines import Line2D

    options = {"linewidth": 1.1 if series.bold else 0.7, "markersize": 3, "markeredgewidth": 0.4}
    return Line2D([], [], **{**options, **series.style})


def _nothing() -> Line2D:
    """Return the entry of a legend that is a note alone: matplotlib makes none without entries."""
    from matplotlib.lines import Line2D

    return Line2D([], [], linestyle="none")


def _note_lines(note: str, room: float) -> list[str]:
    """Break a note between its words, so that no line is wider than the room in points."""
    lines: list[str] = []
    for word in plain(note).split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and text_width(longer) <= SAFE * room:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines
