"""Precision against recall."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from vhbench.report.figures import grid
from vhbench.report.figures.look import USUAL_LOOK, Look, series_of, with_look
from vhbench.report.figures.words import name_lines
from vhbench.scoring.names import REFERENCES

if TYPE_CHECKING:
    import pandas as pd

NO_LEVELS: Mapping[tuple[str, str], float] = MappingProxyType({})


@with_look
def draw_pr(
    curves: pd.DataFrame,
    path: Path,
    levels: Mapping[tuple[str, str], float] = NO_LEVELS,
    look: Look = USUAL_LOOK,
) -> list[Path]:
    """Draw precision against recall (UVVH paper, Fig. 5): two panels a code length, by rank and by radius.

    Args:
        curves: as `report.curves.pr_curves` returns them.
        path: where to; ends in .pdf, .svg or .png.
        levels: protocol and split -> precision of a random order, drawn as a thin line.
        look: width, names, and what is in colour.

    Returns:
        The files written: the figure and its data.

    Raises:
        UsageError: another ending, nothing to draw, or a method to be highlighted is not among the curves.
        VhbenchError: a file cannot be written.
    """
    grid.check(curves, path)
    rows = list(zip(curves["method"], curves["label"], strict=True))
    if levels:
        rows.append(("chance", REFERENCES["chance"]))
    series, marks = series_of(rows, look)
    cells = [(bits, by) for bits in sorted(curves["bits"].unique()) for by in ("rank", "radius")]
    splits = list(curves.groupby(grid.PER_SPLIT, sort=False))
    figure, axes = grid.panels(look, len(splits), len(cells))
    for own, (name, part) in zip(axes, splits, strict=True):
        level = levels.get((str(name[0]), str(name[1])))
        for axis, (bits, by) in zip(own, cells, strict=True):
            panel = part[(part["bits"] == bits) & (part["by"] == by)]
            for label, curve in panel.groupby("label", sort=False):
                grid.line(axis, series[str(label)], curve["recall"], curve["precision"])
            if level is not None:
                axis.axhline(level, zorder=1.5, **series[REFERENCES["chance"]].style)
            axis.set_xlim(0, 1)
            axis.set_xlabel("recall")
            head = f"{bits} bits, by {by}"
            axis.set_title(head if len(splits) == 1 else f"{grid.title(name, part)}\n{head}")
        ends = grid.limits(part["precision"], [] if level is None else [level])
        grid.scale_scores(own, ends, "precision", look)
    matches = " and ".join(f"self={own}" for own in curves["self"].unique())
    head = grid.title(*splits[0]) if len(splits) == 1 else ""
    name_lines(figure, list(series.values()), [], head, "; ".join(filter(None, [matches, marks])))
    return grid.save(figure, curves, path)
