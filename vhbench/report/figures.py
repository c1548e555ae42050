"""Figures: precision-recall curves and mAP against K and code length, with their data beside them as CSV."""

from __future__ import annotations

import functools
import tomllib
import zlib
from collections.abc import Callable, Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ParamSpec

from vhbench.errors import UsageError
from vhbench.scoring.names import REFERENCES
from vhbench.system.environment import import_without
from vhbench.system.files import atomic_write
from vhbench.system.text import csv_cell, plain

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

P = ParamSpec("P")

ENDINGS = (".pdf", ".svg", ".png")
PANEL = 3.2  # inches
MARKERS = "osDv^<>pPX*"
PER_SPLIT = ["protocol", "split"]
REFERENCE_LINES = {"chance": ":", "cosine": "--", "attainable": "-."}
NO_LEVELS: Mapping[tuple[str, str], float] = MappingProxyType({})
LOOK: dict[Any, Any] = {
    "font.size": 8,
    "svg.hashsalt": "vhbench",
    "svg.fonttype": "none",
    "text.parse_math": False,  # a $ in a name is a $
}  # the salt: the same curves, the same file


def _with_look(draw: Callable[P, list[Path]]) -> Callable[P, list[Path]]:
    @functools.wraps(draw)
    def within(*args: P.args, **kwargs: P.kwargs) -> list[Path]:
        matplotlib = import_without("matplotlib", "MPLBACKEND", "MATPLOTLIBRC")  # nothing is shown, only written
        with matplotlib.rc_context():
            matplotlib.rcdefaults()  # the user's own settings are for the user's own figures
            matplotlib.rcParams.update(LOOK)
            return draw(*args, **kwargs)

    return within


def check_path(path: Path) -> None:
    """Raise UsageError unless a figure can be written under this name."""
    if path.suffix.lower() not in ENDINGS:
        raise UsageError(f"{path}: a figure's name must end in {', '.join(ENDINGS)}.")


@_with_look
def draw_pr(curves: pd.DataFrame, path: Path, levels: Mapping[tuple[str, str], float] = NO_LEVELS) -> list[Path]:
    """Draw precision against recall (UVVH paper, Fig. 5): a column a code length, one row by rank and one by radius.

    Args:
        curves: as `report.curves.pr_curves` returns them.
        path: where to; ends in .pdf, .svg or .png.
        levels: protocol and split -> precision of a random order, drawn as a thin line.

    Returns:
        The files written: the figure and its data.

    Raises:
        UsageError: another ending, or there is nothing to draw.
        VhbenchError: a file cannot be written.
    """
    figure = _figure(path, curves)
    lengths = sorted(curves["bits"].unique())
    splits = list(curves.groupby(PER_SPLIT, sort=False))
    axes = figure.subplots(2 * len(splits), len(lengths), squeeze=False)
    figure.set_size_inches(PANEL * len(lengths), 2 * PANEL * len(splits))
    for row, (name, part, by) in enumerate((n, p, by) for n, p in splits for by in ("rank", "radius")):
        for axis, bits in zip(axes[row], lengths, strict=True):
            panel = part[(part["bits"] == bits) & (part["by"] == by)]
            for label, curve in panel.groupby("label", sort=False):
                _line(axis, str(label), curve["method"].iloc[0], curve["recall"], curve["precision"])
            if (level := levels.get((str(name[0]), str(name[1])))) is not None:
                axis.axhline(level, label=REFERENCES["chance"], **style("chance"))
            _finish(axis, f"{_title(name, part)}\n{bits} bits, by {by}", "recall", "precision")
            axis.set_xlim(0, 1)
    self_matches = " and ".join(curves["self"].unique())
    return _save(figure, axes, curves, path, f"self={self_matches}")


@_with_look
def draw_map(curves: pd.DataFrame, path: Path, k: int) -> list[Path]:
    """Draw mAP@K against K (UVVH paper, Fig. 4), a column a code length, and mAP@k against the code length.

    Args:
        curves: as `report.curves.map_curves` returns them.
        path: where to; ends in .pdf, .svg or .png.
        k: the K of the last column; the nearest one recorded is taken.

    Returns:
        The files written: the figure and its data.

    Raises:
        UsageError: another ending, or there is nothing to draw.
        VhbenchError: a file cannot be written.
    """
    figure = _figure(path, curves)
    lengths = sorted(curves["bits"].unique())
    splits = list(curves.groupby(PER_SPLIT, sort=False))
    axes = figure.subplots(len(splits), len(lengths) + 1, squeeze=False)
    figure.set_size_inches(PANEL * (len(lengths) + 1), PANEL * len(splits))
    for row, (name, part) in zip(axes, splits, strict=True):
        for axis, bits in zip(row[:-1], lengths, strict=True):
            for label, curve in part[part["bits"] == bits].groupby("label", sort=False):
                _line(axis, str(label), curve["method"].iloc[0], curve["k"], curve["value"], curve["sd"])
            _finish(axis, f"{_title(name, part)}\n{bits} bits", "K", "mAP@K")
        nearest = min(part["k"], key=lambda recorded: abs(recorded - k))
        for label, curve in part[part["k"] == nearest].groupby("label", sort=False):
            _line(row[-1], str(label), curve["method"].iloc[0], curve["bits"], curve["value"], curve["sd"])
        row[-1].set_xscale("log", base=2)
        row[-1].set_xticks(lengths, labels=[str(bits) for bits in lengths])
        _finish(row[-1], f"{_title(name, part)}\nK = {nearest}", "bits", f"mAP@{nearest}")
    conventions = " and ".join(curves["metric"].str.extract(r"\[(.*)\]")[0].unique())
    return _save(figure, axes, curves, path, conventions)


def style(method: str) -> dict[str, Any]:
    """Return a method's colour, marker and line, the same in every figure."""
    if method in REFERENCE_LINES:
        return {"color": "#999999", "marker": "", "linestyle": REFERENCE_LINES[method], "linewidth": 0.8}
    listed = tomllib.loads((files("vhbench.report") / "styles.toml").read_text(encoding="utf-8"))
    marker = MARKERS[zlib.crc32(method.encode()) % len(MARKERS)]
    color, marker, line = listed.get(method, ["#777777", marker, "-"])
    return {"color": color, "marker": marker, "linestyle": line}


def _figure(path: Path, curves: pd.DataFrame) -> Figure:
    check_path(path)
    if curves.empty:
        raise UsageError("There is nothing to draw: no finished run is of this protocol, method and code length.")
    from matplotlib.figure import Figure

    return Figure(layout="constrained")


def _line(axis: Axes, label: str, method: str, x: pd.Series, y: pd.Series, sd: pd.Series | None = None) -> None:
    every = max(1, len(x) // 8)  # markers on some points only
    options = {"label": label, "linewidth": 1.2, "markersize": 4, "markevery": every, **style(method)}
    if sd is not None and sd.notna().any():
        axis.errorbar(x, y, yerr=sd, elinewidth=0.7, capsize=1.5, **options)
    else:
        axis.plot(x, y, **options)


def _finish(axis: Axes, title: str, x: str, y: str) -> None:
    axis.set_title(title)
    axis.set_xlabel(x)
    axis.set_ylabel(y)
    axis.set_ylim(bottom=0)
    axis.grid(linewidth=0.3)


def _title(name: Any, part: pd.DataFrame) -> str:
    protocol, split = name
    title = protocol if split == protocol.partition(" (data ")[0] else f"{protocol}, split {split}"
    return plain(f"{title} (synthetic features)" if part["synthetic"].any() else title)


def _save(figure: Figure, axes: Any, curves: pd.DataFrame, path: Path, note: str) -> list[Path]:
    handles = {label: line for axis in axes.flat for line, label in _entries(axis)}
    labels = [str(label) for label in curves["label"].unique()]  # matplotlib would put lines before error bars
    labels += [label for label in handles if label not in labels]
    figure.legend([handles[label] for label in labels], labels, loc="outside lower center", ncols=6, title=note)
    data = path.with_suffix(".csv")
    ending = path.suffix.lower()[1:]
    undated = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[ending]
    with atomic_write(path) as file:
        figure.savefig(file, format=ending, dpi=150, metadata=undated)
    with atomic_write(data) as file:
        file.write(_harmless(curves).to_csv(index=False).encode())
    return [path, data]


def _harmless(curves: pd.DataFrame) -> pd.DataFrame:
    """Return curves in which no text is a formula."""
    from pandas.api.types import is_numeric_dtype

    harmless = curves.copy()
    for name in (name for name in curves if not is_numeric_dtype(curves[name])):
        harmless[name] = curves[name].map(csv_cell)
    return harmless


def _entries(axis: Axes) -> Iterator[tuple[Any, str]]:
    handles, labels = axis.get_legend_handles_labels()
    yield from zip(handles, labels, strict=True)
