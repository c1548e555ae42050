"""Figures at the width that they are printed at: what a reader can make out, checked by the boxes that are drawn."""

import itertools

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

from vhbench.errors import UsageError
from vhbench.plugins.registry import Registry
from vhbench.report.figures import draw_distances, draw_map, draw_pr, draw_tradeoff, draw_wins, grid, style
from vhbench.report.figures.grid import limits
from vhbench.report.figures.look import WIDTHS, Look, distinct_styles, series_of
from vhbench.report.figures.words import spread
from vhbench.report.shown import Names

METHODS = [entry.name for entry in Registry().methods()][:15]
LABELS = [
    *((method, f"{method} [quick, bf16]" if number % 2 else method) for number, method in enumerate(METHODS)),
    *(("uvvh", f"uvvh [lr={lr}]") for lr in (0.1, 0.01, 0.001)),
    ("wsch", "wsch [epochs=6, stage1_epochs=10, batch_size=64, mask_ratio=0.5, bf16]"),
]
LENGTHS, KS = (16, 64, 128), (5, 20, 60, 100)
REFERENCES = {"chance": 0.02, "cosine": 0.8, "attainable": 1.0}
METRIC = "map@20[den=k,ties=expected,self=keep]"


def facts(method, label, bits):
    return {"protocol": "toy", "split": "toy", "method": method, "label": label, "bits": bits, "seeds": 2,
            "synthetic": False}  # fmt: skip


def level(method, label, bits):
    """A score that differs from row to row."""
    return REFERENCES.get(method) or 0.2 + 0.5 * np.random.default_rng([bits, *label.encode()]).random()


@pytest.fixture(scope="module")
def frames():
    """What the figures are drawn from: 18 rows, three of them settings of one method."""
    both = [*LABELS, *((name, name) for name in REFERENCES)]
    points = [(method, label, bits) for method, label in both for bits in LENGTHS]
    maps = [
        {**facts(*point), "folds": 0, "metric": METRIC, "k": k, "value": level(*point) * (1 - k / 400), "sd": 0.02}
        for point in points for k in KS
    ]  # fmt: skip
    costs = [
        {**facts(*point), "folds": 0, "metric": METRIC, "value": level(*point), "sd": 0.02,
         "fit_s": 900 * level(*point) ** 4, "encode_ms": 2 + level(*point), "memory_mb": 700 + 900 * level(*point),
         "memory": "process", "device": "CPU"}
        for point in points
    ]  # fmt: skip
    recall = np.linspace(0, 1, 9)
    own = [(method, label, bits) for method, label in LABELS for bits in LENGTHS]
    pr = pd.concat(
        pd.DataFrame({**facts(*p), "self": "keep", "by": by, "recall": recall, "precision": level(*p) ** (1 + recall)})
        for p in own for by in ("rank", "radius")
    )  # fmt: skip
    counts = pd.concat(
        pd.DataFrame({**facts(*p), "self": "keep", "distance": range(p[2] + 1), "relevant": 3, "others": 5})
        for p in own
    )
    pairs = [
        {"protocol": "toy", "split": "toy", "metric": METRIC, "bits": "16 64", "synthetic": False, "method": a,
         "label": first, "value": 0.9 - i / 40, "method_against": b, "against": second, "value_against": 0.9 - j / 40,
         "difference": (j - i) / 40, "p": 0.01 * (j - i)}
        for (i, (a, first)), (j, (b, second)) in itertools.combinations(enumerate(LABELS), 2)
    ]  # fmt: skip
    return {"map": pd.DataFrame(maps), "tradeoff": pd.DataFrame(costs), "pr": pr, "distances": counts,
            "wins": pd.DataFrame(pairs)}  # fmt: skip


DRAW = {
    "map": lambda frame, path, look: draw_map(frame, path, 20, look),
    "pr": lambda frame, path, look: draw_pr(frame, path, {("toy", "toy"): 0.02}, look),
    "distances": draw_distances,
    "wins": draw_wins,
    "tradeoff": draw_tradeoff,
}


@pytest.fixture
def figure_of(frames, tmp_path, monkeypatch):
    """Draw a figure, and return it instead of writing it."""

    def draw(kind, look, methods=None):
        drawn = []
        monkeypatch.setattr(grid, "save", lambda figure, data, path: drawn.append(figure) or [path])
        frame = frames[kind]
        DRAW[kind](frame if methods is None else frame[frame["method"].isin(methods)], tmp_path / "a.pdf", look)
        return drawn[0]

    return draw


def texts_of(figure):
    """Every text that is seen, with its box in points."""
    found = []
    figure.draw_without_rendering()
    unseen = {id(text) for axis in figure.axes for text in unseen_numbers(axis)}
    for text in figure.findobj(Text):
        if text.get_visible() and text.get_text().strip() and id(text) not in unseen:
            box = text.get_window_extent(figure._get_renderer())
            found.append((text, box.transformed(figure.dpi_scale_trans.inverted()).get_points() * 72))
    return found


def unseen_numbers(axis):
    """Numbers of ticks beyond the ends of an axis, and what belongs to axes that are not drawn."""
    for ticks in (axis.xaxis, axis.yaxis):
        low, high = sorted(ticks.get_view_interval())
        for tick in (*ticks.majorTicks, *ticks.minorTicks):
            if not axis.axison or not low <= tick.get_loc() <= high:
                yield from (tick.label1, tick.label2)
        if not axis.axison:
            yield from (ticks.label, ticks.offsetText)


def meet(a, b):
    """Whether two boxes overlap by more than half a point both ways."""
    (ax0, ay0), (ax1, ay1) = a
    (bx0, by0), (bx1, by1) = b
    return min(ax1, bx1) - max(ax0, bx0) > 0.5 and min(ay1, by1) - max(ay0, by0) > 0.5


@pytest.mark.parametrize(
    ("kind", "width", "highlight"),
    [
        ("map", "column", ()),
        ("map", "column", ("uvvh", "agh")),
        ("map", "page", ("uvvh [lr=0.1]", "agh")),
        ("pr", "column", ()),
        pytest.param("distances", "column", ("agh",), marks=pytest.mark.slow),
        ("wins", "column", ("agh",)),
        pytest.param("wins", "page", (), marks=pytest.mark.slow),
        ("tradeoff", "column", ("agh",)),
        pytest.param("tradeoff", "page", (), marks=pytest.mark.slow),
    ],
)
def test_every_text_can_be_read_where_it_stands(figure_of, kind, width, highlight):
    figure = figure_of(kind, Look(width, highlight))
    wide, high = figure.get_size_inches() * 72
    assert wide == pytest.approx(72 * WIDTHS[width])
    texts = texts_of(figure)
    assert len(texts) > 20
    for text, ((left, bottom), (right, top)) in texts:
        assert text.get_fontsize() >= 6, text
        assert left >= -0.5 and bottom >= -0.5 and right <= wide + 0.5 and top <= high + 0.5, text
    overlaps = [(a.get_text(), b.get_text()) for (a, x), (b, y) in itertools.combinations(texts, 2) if meet(x, y)]
    assert not overlaps


def test_lines_are_named_at_their_ends_where_there_is_room_and_else_in_the_one_legend(figure_of):
    def names(look, methods):
        figure = figure_of("map", look, methods)
        legends = figure.legends + [axis.get_legend() for axis in figure.axes if axis.get_legend()]
        (legend,) = legends
        direct = {text.get_text() for axis in figure.axes for text in axis.texts}
        return direct, {text.get_text() for text in legend.get_texts()} - {""}

    few = [METHODS[0], METHODS[2], *REFERENCES]  # without settings behind their names
    direct, legend = names(Look("column", ["agh"]), few)
    assert direct == {"AGH"} and "BerVAE" in legend and "AGH" not in legend
    direct, legend = names(Look("page"), few)
    assert direct == {"AGH", "BerVAE"} and legend <= {"chance", "cosine (float)", "attainable"}
    long = Names({"agh": "a name that no panel has room for beside it"})
    direct, legend = names(Look("column", names=long), few)
    assert not direct and long.given["agh"] in legend


def test_no_two_series_look_alike_and_settings_of_a_method_differ_in_everything():
    rows = [(entry.name, entry.name) for entry in Registry().methods()]
    rows += [(method, f"{method} [lr={lr}]") for method in ("uvvh", "itq", "a plugin", "another") for lr in range(4)]
    for bold in ({label for _, label in rows}, {"uvvh"}):
        looks = distinct_styles(rows, bold)
        assert len({tuple(map(str, look.values())) for look in looks.values()}) == len(rows)
    looks = distinct_styles(rows, {label for _, label in rows})
    for method in ("uvvh", "itq", "a plugin"):
        own = [look for label, look in looks.items() if label.partition(" [")[0] == method]
        assert len(own) >= 4
        for part in ("color", "linestyle", "marker"):
            assert len({str(look[part]) for look in own}) == len(own)
    assert looks["uvvh"] == style("uvvh")
    colors = [style(entry.name)["color"] for entry in Registry().methods()]
    assert len(set(colors)) == len(colors)


def test_settings_that_several_methods_share_become_a_mark_that_the_note_explains():
    rows = [("itq", "itq"), ("uvvh", "uvvh [quick]"), ("dh", "dh [quick]"), ("bth", "bth [lr=1]"), ("my", "my [quick]")]
    series, note = series_of(rows, Look(names=Names({"dh [quick]": "deep"}, {"uvvh": "UVVH"})))
    assert {one.label: one.name for one in series.values()} == {
        "itq": "itq", "uvvh [quick]": "UVVH*", "dh [quick]": "deep", "bth [lr=1]": "bth [lr=1]", "my [quick]": "my*",
    }  # fmt: skip
    assert note == "*quick"


def test_long_settings_become_a_mark_and_marks_do_not_run_out():
    rows = [(f"m{number}", f"m{number} [epochs=100, batch_size={number}]") for number in range(8)]
    series, note = series_of(rows, Look())
    names = [one.name for one in series.values()]
    assert names == ["m0*", "m1†", "m2‡", "m3§", "m4¶", "m5#", "m6**", "m7††"]
    assert note.split("; ")[0] == "*epochs=100, batch_size=0" and note.endswith("††epochs=100, batch_size=7")


def pairs_of(count):
    """All pairs of methods, of which every third is not significant."""
    return pd.DataFrame(
        {"protocol": "toy", "split": "toy", "synthetic": False, "metric": METRIC, "bits": "16 64", "queries": 9,
         "method": f"M{a}", "label": f"M{a}", "value": 0.9 - a / 50, "method_against": f"M{b}", "against": f"M{b}",
         "value_against": 0.9 - b / 50, "difference": (b - a) / 50, "p": (a + b) % 3 / 20}
        for a, b in itertools.combinations(range(count), 2)
    )  # fmt: skip


def test_wins_of_many_methods_at_the_width_of_a_column_have_shades_instead_of_numbers(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(grid, "save", lambda figure, data, path: drawn.append(figure) or [path])
    pairs = pairs_of(31)
    draw_wins(pairs, tmp_path / "a.pdf", Look("column"))
    texts = texts_of(drawn[0])
    assert not [x.get_text() for x, _ in texts if x.get_text().isdecimal()]
    assert not [(a.get_text(), b.get_text()) for (a, x), (b, y) in itertools.combinations(texts, 2) if meet(x, y)]
    shades = [rectangle.get_facecolor()[:3] for rectangle in drawn[0].axes[0].patches]
    assert len(shades) == len(pairs)
    filled = [rectangle.get_fill() and rectangle.get_facecolor()[3] > 0 for rectangle in drawn[0].axes[0].patches]
    assert filled == [p <= 0.05 for p in pairs["p"]]
    least = {sum(shade): pairs["difference"][[one == shade for one in shades]].min()
             for shade, seen in zip(shades, filled, strict=True) if seen}  # fmt: skip
    assert [least[light] for light in sorted(least, reverse=True)] == pytest.approx([0.02, 0.06, 0.16])


def test_wins_of_too_many_methods_for_a_column_are_refused(tmp_path):
    with pytest.raises(UsageError, match="50 methods are too many for --wins at this width: draw it at --width page"):
        draw_wins(pairs_of(50), tmp_path / "a.pdf", Look("column"))


def test_a_method_to_highlight_that_is_not_there_is_refused():
    with pytest.raises(UsageError, match="Unknown method or row to highlight 'itk': did you mean 'itq'"):
        series_of([("itq", "itq")], Look(highlight=["itk"]))


def test_an_axis_fits_its_values_but_for_a_lone_one_and_distant_references():
    low, high = limits([0.5, 0.6, 0.7, 0.8])
    assert 0.45 < low < 0.5 and 0.8 < high < 0.85
    assert limits([0.5, 0.6, 0.7, 0.8, 0.01]) == limits([0.5, 0.6, 0.7, 0.8, 5.0]) == (low, high)
    assert limits([0.5, 0.6, 0.7, 0.8], [0.02, 3.0]) == (low, high)
    assert limits([0.5, 0.6, 0.7, 0.8], [0.85])[1] > 0.85
    assert limits([0.2, 0.8])[0] < 0.2 < 0.8 < limits([0.2, 0.8])[1]
    assert limits([np.nan]) == (0, 1)


def test_a_point_beyond_the_axis_is_marked_with_its_value(figure_of, frames, monkeypatch):
    frame = frames["map"]
    frame = frame[frame["method"].isin(METHODS[:4]) & (frame["bits"] == 16)].copy()
    frame["value"] = np.linspace(0.6, 0.7, len(frame))
    frame.iloc[5, frame.columns.get_loc("value")] = 0.05
    monkeypatch.setitem(frames, "map", frame)
    figure = figure_of("map", Look("column"))
    assert figure.axes[0].get_ylim()[0] > 0.5
    assert "0.05" in {text.get_text() for text in figure.axes[0].texts}


@pytest.mark.parametrize("wanted", [[1, 2, 3], [50, 50, 50], [0, 0, 100, 100, 100], [99, 98, 1]])
def test_names_move_apart_no_further_than_they_must(wanted):
    places = spread(wanted, 10, 0, 100)
    order = np.argsort(wanted, kind="stable")
    assert (np.diff(np.array(places)[order]) >= 10 - 1e-9).all() and min(places) >= 0 and max(places) <= 100
    if np.diff(np.sort(wanted)).min() >= 10:
        assert places == wanted
    assert spread([0] * 12, 10, 0, 100) is None


def test_fonts_are_embedded_and_text_stays_text(frames, tmp_path):
    frame = frames["map"][frames["map"]["bits"] == 16]
    draw_map(frame, tmp_path / "a.pdf", 20, Look("column", percent=True))
    content = (tmp_path / "a.pdf").read_bytes()
    assert b"/FontFile2" in content and b"/Type3" not in content
    draw_map(frame, tmp_path / "a.svg", 20, Look("column", percent=True))
    assert "mAP@K, 16 bits (%)" in (tmp_path / "a.svg").read_text()
