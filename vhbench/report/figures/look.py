"""The look of all figures: sizes at print, fonts, and a colour, dash and marker for each series."""

from __future__ import annotations

import functools
import itertools
import tomllib
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, ParamSpec

from vhbench.errors import UsageError, unknown
from vhbench.report.shown import Names, short_labels, usual_names
from vhbench.scoring.names import REFERENCES
from vhbench.system.environment import import_without
from vhbench.system.text import plain

P = ParamSpec("P")

ENDINGS = (".pdf", ".svg", ".png")
WIDTHS = {"column": 3.3, "page": 7.0}  # inches at print, of two-column papers
SMALL, USUAL = 6, 7  # points at print
MARKERS = "osDv^<>pPX*hd8H"
PAGE_MARKERS = 11  # that the page can draw too
DASHES: tuple[Any, ...] = (
    "-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)), (0, (3, 1, 1, 1)), (0, (1, 3)),
)  # fmt: skip
COLORS = ("#0072B2", "#D55E00", "#117733", "#882255", "#000000", "#B07C00", "#332288", "#CC3377", "#009E73", "#6E6E00")
GREY, REFERENCE = "#A0A0A0", "#707070"
REFERENCE_LINES = {"chance": ":", "cosine": "--", "attainable": "-."}
REFERENCE_NAMES = {**REFERENCES, "cosine": "cosine (float)"}  # of mean frames: the table says it in full
MARKS = "*†‡§¶#"  # of settings that are too much for a name; after these doubled ones
LOOK: dict[Any, Any] = {
    "font.size": USUAL,
    "axes.titlesize": USUAL,
    "axes.labelsize": USUAL,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "legend.fontsize": SMALL,
    "legend.title_fontsize": SMALL,
    "figure.titlesize": USUAL,
    "axes.linewidth": 0.5,
    "xtick.major.width": 0.5,
    "ytick.major.width": 0.5,
    "xtick.major.size": 2,
    "ytick.major.size": 2,
    "axes.titlepad": 3,
    "axes.labelpad": 1.5,
    "pdf.fonttype": 42,  # fonts are embedded as TrueType, which publishers ask for
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "vhbench",  # the same curves, the same file
    "text.parse_math": False,  # a $ in a name is a $
}


@dataclass(frozen=True)
class Look:
    """How a figure is to look.

    Attributes:
        width: "column" or "page" of a two-column paper (WIDTHS).
        highlight: methods, or labels of rows, that are drawn in colour; the rest is grey. Empty: all in colour.
        names: what methods are called.
        percent: scores are written in percent.
    """

    width: str = "page"
    highlight: Sequence[str] = ()
    names: Names = field(default_factory=lambda: Names(usual=usual_names()))
    percent: bool = False

    @property
    def inches(self) -> float:
        """The width of the figure at print.

        Raises:
            UsageError: there is no such width.
        """
        if self.width not in WIDTHS:
            raise unknown("width", self.width, WIDTHS)
        return WIDTHS[self.width]


USUAL_LOOK = Look()


@dataclass(frozen=True)
class Series:
    """What one row of a table is in a figure.

    Attributes:
        label: of the row.
        method: registered name.
        name: what the figure calls it.
        style: matplotlib's color, marker and linestyle; no two series of a figure have the same three.
        bold: drawn in colour; else in grey, behind the others.
        reference: no method, but what scores are held against.
    """

    label: str
    method: str
    name: str
    style: dict[str, Any]
    bold: bool
    reference: bool


def with_look(draw: Callable[P, list[Path]]) -> Callable[P, list[Path]]:
    """Return a function that draws with this look, whatever the user's own settings of matplotlib."""

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


def style(method: str) -> dict[str, Any]:
    """Return a method's colour, marker and line, the same in every figure; further rows of it look otherwise."""
    if method in REFERENCE_LINES:
        return {"color": REFERENCE, "marker": "", "linestyle": REFERENCE_LINES[method], "linewidth": 0.7}
    number = zlib.crc32(method.encode())
    free = [COLORS[number % len(COLORS)], MARKERS[number % PAGE_MARKERS], "-"]
    color, marker, line = _listed().get(method, free)
    return {"color": color, "marker": marker, "linestyle": line}


@functools.cache
def _listed() -> dict[str, list[str]]:
    return tomllib.loads((files("vhbench.report.figures") / "styles.toml").read_text(encoding="utf-8"))


def series_of(rows: Iterable[tuple[str, str]], look: Look) -> tuple[dict[str, Series], str]:
    """Return how each row is drawn, and a note on the marks of their names.

    Args:
        rows: method and label of each, in order, references last.
        look: which of them in colour, and what they are called.

    Returns:
        Label -> series; and what marks behind names mean, empty where there are none.

    Raises:
        UsageError: a method to be highlighted is none of these.
    """
    pairs = list(dict.fromkeys(rows))
    own = [(method, label) for method, label in pairs if method not in REFERENCES]
    known = {text for pair in own for text in pair}
    for text in look.highlight:
        if text not in known:
            raise unknown("method or row to highlight", text, known)
    bold = {label for method, label in own if not look.highlight or {method, label} & set(look.highlight)}
    shown = {label: look.names.label(label, method) for method, label in own}
    marks = (mark * times for times in itertools.count(1) for mark in MARKS)
    short, settings = short_labels(own, shown, marks)
    names = {label: plain(name) for label, name in short.items()}
    note = "; ".join(f"{mark}{plain(text)}" for mark, text in settings.items())
    looks = distinct_styles(own, bold)
    found = {label: Series(label, method, names[label], looks[label], label in bold, False) for method, label in own}
    for method, label in pairs:
        if method in REFERENCES:
            found[label] = Series(label, method, REFERENCE_NAMES[method], style(method), False, True)
    return found, note


def distinct_styles(rows: Sequence[tuple[str, str]], bold: set[str]) -> dict[str, dict[str, Any]]:
    """Return a colour, dash and marker a label; rows of one method differ in all three, no two rows have the same.

    A method's first row has the method's own look; rows that are not bold are grey.
    """
    found: dict[str, dict[str, Any]] = {}
    listed = [style(method) for method in dict.fromkeys(method for method, _ in rows)]
    shared = {(look["linestyle"], look["marker"]) for look in listed}  # better not used again, where there are enough
    taken: set[tuple[Any, Any, Any]] = set()
    of_method: dict[str, list[tuple[Any, Any]]] = {}
    for method, label in rows:
        own, look = of_method.setdefault(method, []), style(method)
        color = _from(COLORS, look["color"], len(own))[0] if label in bold else GREY
        lines, markers = _from(DASHES, look["linestyle"], len(own)), _from(MARKERS, look["marker"], len(own))
        pairs = list(itertools.product(lines, markers))
        if own:
            pairs.sort(key=functools.partial(_likeness, own=own, shared=shared))  # stable
        line, marker = next((pair for pair in pairs if (color, *pair) not in taken), pairs[0])
        own.append((line, marker))
        taken.add((color, line, marker))
        shared.add((line, marker))
        found[label] = {"color": color, "linestyle": line, "marker": marker}
    return found


def _likeness(pair: tuple[Any, Any], own: Sequence[tuple[Any, Any]], shared: set[tuple[Any, Any]]) -> tuple[int, bool]:
    """Return how much a dash and marker are like those of the method's other rows, then like any others."""
    alike = sum(pair[part] in {other[part] for other in own} for part in (0, 1))
    return alike, pair in shared


def _from(values: Sequence[Any], first: Any, number: int) -> list[Any]:
    """Return the values with another one first for each number: `first` itself for 0."""
    rest = [value for value in values if value != first]
    turned = [first, *rest]
    place = number % len(turned)
    return turned[place:] + turned[:place]
