"""A score against what it costs: training, encoding, memory, bits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from vhbench.report.figures import grid
from vhbench.report.figures.look import USUAL_LOOK, Look, Series, series_of, with_look
from vhbench.report.figures.words import End, name_lines
from vhbench.report.written import in_words

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

COSTS = {"fit_s": "training, s", "encode_ms": "encoding, ms a video", "memory_mb": "peak memory, MiB", "bits": "bits"}
MOST_DEVICES = 2  # that the note names


@with_look
def draw_tradeoff(costs: pd.DataFrame, path: Path, look: Look = USUAL_LOOK) -> list[Path]:
    """Draw a score against training time, encoding time, peak memory and code length; a line a method, over lengths.

    Args:
        costs: as `report.costs.costs` returns them.
        path: where to; ends in .pdf, .svg or .png.
        look: width, names, and what is in colour.

    Returns:
        The files written: the figure and its data.

    Raises:
        UsageError: another ending, nothing to draw, or a method to be highlighted is not among them.
        VhbenchError: a file cannot be written.
    """
    grid.check(costs, path)
    series, marks = series_of(zip(costs["method"], costs["label"], strict=True), look)
    shown = {name: label for name, label in COSTS.items() if costs[name].notna().any()}
    splits = list(costs.groupby(grid.PER_SPLIT, sort=False))
    figure, axes = grid.panels(look, len(splits), len(shown))
    ends: list[End] = []
    beyond: list[tuple[Series, float, float]] = []
    for own, (name, part) in zip(axes, splits, strict=True):
        reference = part["label"].map(lambda label: series[str(label)].reference)
        scale = grid.limits(part["value"][~reference], part["value"][reference].dropna())
        grid.scale_scores(own, scale, in_words(part["metric"].iloc[0]), look)
        for axis, (cost, under) in zip(own, shown.items(), strict=True):
            found = _panel(axis, part.dropna(subset=["value"]), cost, series, beyond)
            ends += found if cost == "bits" and costs["bits"].nunique() > 1 else []
            axis.set_xlabel(under)
            if len(splits) > 1:
                axis.set_title(grid.title(name, part))
    far = {one.label for one, _, _ in beyond}
    kept = [one for one in series.values() if one.label not in far]
    head = grid.title(*splits[0]) if len(splits) == 1 else ""
    notes = [*_notes(costs), marks, grid.fewer_splits(costs, series), grid.beyond_the_axes(beyond)]
    name_lines(figure, kept, ends, head, "; ".join(filter(None, notes)))
    return grid.save(figure, costs, path)


def _panel(
    axis: Axes, part: pd.DataFrame, cost: str, series: dict[str, Series], beyond: list[tuple[Series, float, float]]
) -> list[End]:
    """Draw the methods of a panel whose scale is set; return the ends of those in colour, note what is beyond it."""
    low, high = axis.get_ylim()
    ends = []
    for label, rows in part.groupby("label", sort=False):
        own = series[str(label)]
        if own.reference:
            level = float(rows["value"].iloc[0])
            if low <= level <= high:
                axis.axhline(level, zorder=1.5, **own.style)
            else:
                beyond.append((own, level, high if level > high else low))
            continue
        known = rows[rows[cost].notna() & (rows[cost] > 0)].sort_values("bits")
        if known.empty:
            continue
        grid.line(axis, own, known[cost], known["value"])
        grid.mark_lone(axis, own, known[cost], known["value"])
        if own.bold:
            ends.append(End(axis, own, float(known[cost].iloc[-1]), float(known["value"].iloc[-1])))
    axis.set_ylim(low, high)
    grid.scale_costs(axis, 2 if cost == "bits" else 10)
    if cost == "bits":
        lengths = sorted(int(bits) for bits in part["bits"].unique())
        axis.set_xticks(lengths, labels=[str(bits) for bits in lengths])
    axis.minorticks_off()
    return ends


def _notes(costs: pd.DataFrame) -> list[str]:
    """Say which metric it is, and where the costs were measured."""
    devices = sorted({name.replace("(R)", "") for text in costs["device"].dropna() for name in text.split("; ")})
    places = "; ".join(devices) if len(devices) <= MOST_DEVICES else f"{len(devices)} machines, which differ"
    memory = "" if set(costs["memory"].dropna()) == {"GPU"} else "memory of the whole process"
    metrics = " and ".join(costs["metric"].unique())
    several = "a line joins the code lengths of a method" if costs["bits"].nunique() > 1 else ""
    return [text for text in (metrics, several, f"on {places}" if places else "", memory) if text]
