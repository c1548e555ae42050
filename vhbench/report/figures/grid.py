"""Panels of a figure: their grid at one or two columns, axes that fit the data, and the files that are written."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vhbench.errors import UsageError
from vhbench.report.figures.look import SMALL, Look, Series, check_path
from vhbench.report.written import at_lengths
from vhbench.system.files import atomic_write
from vhbench.system.text import csv_cell, plain

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike

ACROSS = {"column": 2, "page": 4}  # panels beside each other, at most
HEIGHT = 1.3  # inches of a panel with its title and axis
DPI = 300
PADS = {"w_pad": 0.035, "h_pad": 0.02, "wspace": 0.02, "hspace": 0.02}  # of the layout: inches, and parts of a panel
LONE = 1 / 2  # of the range: more than that to the next value, and a lone point no longer stretches an axis
ROOM = 1 / 4  # of the range: more than that, and a reference is named at the edge instead of drawn
MOST_MARKERS = 8
PER_SPLIT = ["protocol", "split"]


def check(curves: pd.DataFrame, path: Path) -> None:
    """Raise UsageError for another ending than that of a figure, or where there is nothing to draw."""
    check_path(path)
    if curves.empty:
        raise UsageError("There is nothing to draw: no finished run is of this protocol, method and code length.")


def panels(look: Look, groups: int, each: int, height: float = HEIGHT) -> tuple[Figure, list[list[Axes]]]:
    """Return a figure with panels: a list a group (a protocol and split), each beginning a new line."""
    from matplotlib.figure import Figure

    lines = math.ceil(each / ACROSS[look.width])
    across = math.ceil(each / lines)
    height *= 1.5 if across == 1 else 1
    figure = Figure(layout="constrained", figsize=(look.inches, height * lines * groups))
    figure.get_layout_engine().set(**PADS)  # type: ignore[union-attr]
    axes = figure.subplots(lines * groups, across, squeeze=False)
    for axis in axes.flat:
        axis.grid(linewidth=0.25, color="#D8D8D8")
        axis.set_axisbelow(True)
    cells = [list(axes[lines * group : lines * (group + 1)].flat) for group in range(groups)]
    for axis in (axis for group in cells for axis in group[each:]):
        axis.set_axis_off()
    return figure, [group[:each] for group in cells]


def line(axis: Axes, series: Series, x: pd.Series, y: pd.Series, sd: pd.Series | None = None) -> None:
    """Draw one series: in colour with whiskers of one standard deviation, or in grey, or a thin reference."""
    every = max(1, len(x) // MOST_MARKERS)  # markers on some points only
    width, size = (1.1, 3.0) if series.bold else (0.6, 2.2)
    order = 3 if series.bold else 2 if not series.reference else 1.5
    options: dict[str, Any] = {"label": series.name, "linewidth": width, "markersize": size, "markevery": every}
    options |= {"markeredgewidth": 0.4, "zorder": order, **series.style}
    if series.bold and sd is not None and sd.notna().any():
        axis.errorbar(x, y, yerr=sd, elinewidth=0.5, capsize=1.2, capthick=0.5, **options)
    else:
        axis.plot(x, y, **options)


def limits(values: ArrayLike, references: ArrayLike = ()) -> tuple[float, float]:
    """Return the ends of an axis that fits its values, without being stretched by a lone one or by references."""
    given = np.asarray(values, dtype=float)
    known = np.sort(given[np.isfinite(given)])
    if not len(known):
        return 0.0, 1.0
    low, high = float(known[0]), float(known[-1])
    if len(known) > 3:  # else each is alone
        lone = LONE * (high - low)
        low, high = (
            float(known[1]) if known[1] - known[0] > lone else low,
            float(known[-2]) if known[-1] - known[-2] > lone else high,
        )
    room = ROOM * (high - low)
    near = [x for x in np.asarray(references, dtype=float).tolist() if low - room <= x <= high + room]
    low, high = min([low, *near]), max([high, *near])
    pad = 0.05 * (high - low) or 0.05 * abs(high) or 0.05
    return low - pad, high + pad


def scale_scores(axes: Sequence[Axes], ends: tuple[float, float], label: str, look: Look) -> None:
    """Give panels one scale of scores, with its numbers where a line of them begins."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    columns = axes[0].get_gridspec().ncols  # type: ignore[union-attr]
    for number, axis in enumerate(axes):
        axis.set_ylim(*ends)
        axis.yaxis.set_major_locator(MaxNLocator(5))
        axis.yaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{100 * x:.3g}" if look.percent else f"{x:.3g}"))
        if number % columns:
            axis.tick_params(labelleft=False)
        else:
            axis.set_ylabel(f"{label} (%)" if look.percent else label)


def scale_costs(axis: Axes, base: int) -> None:
    """Make the axis below a panel logarithmic, with a few plain numbers on it."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_xscale("log", base=base)
    low, high = axis.get_xlim()
    decades = math.log10(high / low)
    subs = (1.0,) if decades > 2 else (1.0, 3.0) if decades > 1.3 else (1.0, 2.0, 5.0)
    axis.xaxis.set_major_locator(LogLocator(10, subs, numticks=5))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axis.xaxis.set_minor_formatter(NullFormatter())


def beyond_the_axes(lines: Sequence[tuple[Series, float, float]]) -> str:
    """Say which references lie above or below the panels, and the nearest value that they take there."""
    found: dict[tuple[str, str], list[float]] = {}
    for series, value, end in lines:
        found.setdefault((series.name, "≥" if value > end else "≤"), []).append(value)
    nearest = [f"{name} {sign} {(min if sign == '≥' else max)(values):.2f}" for (name, sign), values in found.items()]
    return f"beyond the axes: {', '.join(nearest)}" if nearest else ""


def mark_lone(axis: Axes, series: Series, x: pd.Series, y: pd.Series) -> None:
    """Mark points beyond an axis at its edge, with their value."""
    low, high = axis.get_ylim()
    for at, value in zip(x, y, strict=True):
        if np.isfinite(value) and not low <= value <= high:
            edge, marker = (high, "^") if value > high else (low, "v")
            axis.plot(at, edge, marker=marker, markersize=3, color=series.style["color"], clip_on=False, zorder=5)
            inside = -6 if value > high else 3
            axis.annotate(f"{value:.2f}", (at, edge), (3, inside), textcoords="offset points", fontsize=SMALL)


def title(name: Any, part: pd.DataFrame) -> str:
    """Return the name of a protocol and split, and whether it is a mean over splits and its features are made up."""
    protocol, split = name
    text = protocol if split == protocol.partition(" (data ")[0] else f"{protocol}, split {split}"
    if "folds" in part and part["folds"].any():
        text += f", mean over {part['folds'].max()} splits"
    return plain(f"{text} (synthetic features)" if part["synthetic"].any() else text)


def fewer_splits(data: pd.DataFrame, series: Mapping[str, Series]) -> str:
    """Say which methods are means over fewer splits than others of their protocol; "" where none is."""
    means = data[data["folds"] > 0]
    fewer = means[means["folds"] < means.groupby("protocol")["folds"].transform("max")]
    texts = [
        f"{series[label].name}{at} over {folds} splits only"
        for folds, part in fewer.groupby("folds")
        for label, at in at_lengths(part.itertuples(), means.itertuples()).items()
        if not series[label].reference
    ]
    return "; ".join(texts)


def save(figure: Figure, data: pd.DataFrame, path: Path) -> list[Path]:
    """Write a figure, and its data as CSV beside it."""
    ending = path.suffix.lower()[1:]
    undated: dict[str, Any] = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[ending]
    with atomic_write(path) as file:
        figure.savefig(file, format=ending, dpi=DPI, metadata=undated)
    beside = path.with_suffix(".csv")
    with atomic_write(beside) as file:
        file.write(_harmless(data).to_csv(index=False).encode())
    return [path, beside]


def _harmless(data: pd.DataFrame) -> pd.DataFrame:
    """Return data in which no text is a formula."""
    from pandas.api.types import is_numeric_dtype

    harmless = data.copy()
    for name in (name for name in data if not is_numeric_dtype(data[name])):
        harmless[name] = data[name].map(csv_cell)
    return harmless
