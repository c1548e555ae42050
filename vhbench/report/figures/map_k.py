"""mAP@K against K and against the code length."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from vhbench.report.figures import grid
from vhbench.report.figures.look import USUAL_LOOK, Look, Series, series_of, with_look
from vhbench.report.figures.words import End, name_lines

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


@with_look
def draw_map(curves: pd.DataFrame, path: Path, k: int, look: Look = USUAL_LOOK) -> list[Path]:
    """Draw mAP@K against K (UVVH paper, Fig. 4), a panel a code length, and mAP@k against the code length.

    Args:
        curves: as `report.curves.map_curves` returns them.
        path: where to; ends in .pdf, .svg or .png.
        k: the K of the last panel; the nearest one recorded is taken.
        look: width, names, and what is in colour.

    Returns:
        The files written: the figure and its data.

    Raises:
        UsageError: another ending, nothing to draw, or a method to be highlighted is not among the curves.
        VhbenchError: a file cannot be written.
    """
    grid.check(curves, path)
    series, marks = series_of(zip(curves["method"], curves["label"], strict=True), look)
    lengths = sorted(int(bits) for bits in curves["bits"].unique())
    splits = list(curves.groupby(grid.PER_SPLIT, sort=False))
    by_length = len(lengths) > 1  # else a panel would hold a point a method
    figure, axes = grid.panels(look, len(splits), len(lengths) + by_length)
    ends: list[End] = []
    beyond: list[tuple[Series, float, float]] = []
    for own, (name, part) in zip(axes, splits, strict=True):
        nearest = min(part["k"], key=lambda recorded: abs(recorded - k))
        parts = [(part[part["bits"] == bits], "k", f"{bits} bits", "K") for bits in lengths]
        if by_length:
            parts.append((part[part["k"] == nearest], "bits", f"mAP@{nearest}", "bits"))
        methods = part[[not series[str(label)].reference for label in part["label"]]]
        references = part[[series[str(label)].reference for label in part["label"]]]
        scale = grid.limits(methods["value"], references["value"].dropna())
        grid.scale_scores(own, scale, "mAP@K" if by_length else f"mAP@K, {lengths[0]} bits", look)
        for axis, (panel, x, head, under) in zip(own, parts, strict=True):
            ends += _panel(axis, panel, x, series, beyond)
            axis.set_title(head if len(splits) == 1 else f"{grid.title(name, part)}\n{head}")
            axis.set_xlabel(under)
        if by_length:
            own[-1].set_xscale("log", base=2)
            own[-1].set_xticks(lengths, labels=[str(bits) for bits in lengths])
            own[-1].minorticks_off()
    conventions = " and ".join(curves["metric"].str.extract(r"\[(.*)\]")[0].unique())
    far = {one.label for one, _, _ in beyond}
    shown = [one for one in series.values() if one.label not in far]
    head = grid.title(*splits[0]) if len(splits) == 1 else ""
    notes = [conventions, marks, grid.fewer_splits(curves, series), grid.beyond_the_axes(beyond)]
    name_lines(figure, shown, ends, head, "; ".join(filter(None, notes)))
    return grid.save(figure, curves, path)


def _panel(
    axis: Axes, panel: pd.DataFrame, x: str, series: dict[str, Series], beyond: list[tuple[Series, float, float]]
) -> list[End]:
    """Draw the lines of a panel whose scale is set; return the ends of those in colour, and note what is beyond it."""
    low, high = axis.get_ylim()
    ends = []
    for label, curve in panel.groupby("label", sort=False):
        own = series[str(label)]
        known = curve.dropna(subset=["value"]).sort_values(x)
        if known.empty:
            continue
        least, most = known["value"].min(), known["value"].max()
        if own.reference and (least > high or most < low):
            beyond.append((own, least, high) if least > high else (own, most, low))
            continue
        grid.line(axis, own, known[x], known["value"], known["sd"])
        if not own.reference:
            grid.mark_lone(axis, own, known[x], known["value"])
        if own.bold:
            ends.append(End(axis, own, float(known[x].iloc[-1]), float(known["value"].iloc[-1])))
    axis.set_ylim(low, high)
    return ends
