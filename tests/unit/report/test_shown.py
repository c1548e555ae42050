"""How rows are shown: names, order, percent, differences, pairs, and tables for narrow terminals and columns."""

import csv
import dataclasses
import io
import json
import re

import pytest

from vhbench.errors import UsageError
from vhbench.plugins.registry import Registry
from vhbench.report.layout import tables
from vhbench.report.rows import Comparison, Row
from vhbench.report.shown import Names, in_order, read_names, renamed, usual_names
from vhbench.report.tables import render_rows
from vhbench.report.written import Form

METRIC = "map@20[den=k,ties=expected,self=keep]"
ROW = Row("toy", "toy", "itq", "itq", 16, (0, 1), METRIC, 0.51239, 0.0204, False, 300)
NUMBER = re.compile(r"[+-]?\d+\.\d+")


def row(method, value, *tests, label=None, **changes):
    return dataclasses.replace(ROW, method=method, label=label or method, value=value, tests=tests, **changes)


def labels(rows):
    return list(dict.fromkeys(row.label for row in rows))


def test_names_are_read_from_pairs_also_of_labels_with_settings():
    assert read_names(["uvvh=UVVH, itq = ITQ (ours)", "uvvh [lr=0.1, epochs=2]=slow"]) == {
        "uvvh": "UVVH", "itq": "ITQ (ours)", "uvvh [lr=0.1, epochs=2]": "slow",
    }  # fmt: skip
    for text in ("uvvh", "uvvh=", "=x", ""):
        with pytest.raises(UsageError, match="--names takes method=name"):
            read_names([text])


def test_a_name_replaces_the_methods_and_keeps_its_settings():
    names = Names({"uvvh": "ours", "itq [iterations=3]": "short ITQ"}, {"itq": "ITQ", "uvvh": "UVVH"})
    assert names.label("uvvh [lr=0.1]", "uvvh") == "ours [lr=0.1]"
    assert (names.label("itq", "itq"), names.label("itq [iterations=3]", "itq")) == ("ITQ", "short ITQ")
    assert names.label("my-own", "my-own") == "my-own"


def test_tests_speak_of_the_names_that_are_shown():
    rows = [row("itq", 0.5), row("lsh", 0.3, Comparison("itq", -0.2, 0.01, 0.01, True))]
    first, second = renamed(rows, Names({"itq": "ITQ"}))
    assert first.label == second.tests[0].against == "ITQ" and first.method == "itq"
    assert "worse than ITQ" in render_rows([first, second], "table")


def test_names_for_nothing_and_one_name_for_two_are_refused():
    rows = [row("itq", 0.5), row("lsh", 0.3)]
    with pytest.raises(UsageError, match="Unknown method or row 'itk': did you mean 'itq'"):
        Names({"itk": "ITQ"}).check(rows)
    with pytest.raises(UsageError, match="would call both 'itq' and 'lsh' 'X'"):
        Names({"itq": "X", "lsh": "X"}).check(rows)


def test_every_built_in_method_has_the_name_that_papers_write():
    usual = usual_names()
    assert {entry.name for entry in Registry().methods()} <= set(usual)
    assert len(set(usual.values())) == len(usual)
    assert all(name.replace("-", "").lower() == method.replace("-", "") for method, name in usual.items())


def test_rows_are_sorted_within_their_table_and_what_is_not_ours_stays_below():
    rows = [
        *(row(name, value, bits=bits) for bits, values in ((16, (0.2, 0.3, 0.1)), (64, (0.7, 0.5, None)))
          for name, value in zip(("b", "A", "c"), values, strict=True)),
        row("chance", 0.9, reference="chance"),
        *(row(name, 0.5, protocol="zoo", split="zoo") for name in ("y", "x")),
    ]  # fmt: skip
    assert labels(in_order(rows, None)) == ["b", "A", "c", "chance", "y", "x"]
    assert labels(in_order(rows, "name")) == ["A", "b", "c", "chance", "x", "y"]
    assert labels(in_order(rows, "value")) == ["b", "A", "c", "chance", "y", "x"], "no value comes last"
    assert labels(in_order(rows, "16"))[:4] == ["A", "b", "c", "chance"]
    for wrong in ("32", "best", ""):
        with pytest.raises(UsageError, match=r"name, value or the code length of a column \(16, 64\)"):
            in_order(rows, wrong)


def test_sorting_keeps_metrics_in_the_order_asked_for():
    five = METRIC.replace("20", "5")
    rows = [row("a", 0.1), row("b", 0.2), row("b", 0.9, metric=five), row("a", 0.8, metric=five)]
    (table,) = tables(in_order(rows, "value"))
    assert [metric for metric, _ in table.columns] == ["map@20", "map@5"] and table.lines[0].label == "b"


def test_percent_keeps_the_digits_and_says_so():
    text = render_rows([dataclasses.replace(ROW, ci=(0.4911, 0.5333))], "table", written=Form(percent=True))
    assert "51.2 ± 2.0 [49.1, 53.3]" in text and f"{METRIC}, in percent; 300 queries" in text
    assert "mAP@20 (\\%) on toy." in render_rows([ROW], "latex", written=Form(percent=True))
    best = [row("a", 0.512, sd=None), row("b", 0.0951, sd=None)]
    assert "**51.2**" in render_rows(best, "md", written=Form(percent=True)), "9.5 is less, as text it is more"
    assert json.loads(render_rows([ROW], "json", written=Form(percent=True)))[0]["value"] == 0.51239


def test_differences_have_their_own_intervals_and_the_baseline_stands_as_it_is():
    rows = [
        row("itq", 0.5, sd=None),
        row("lsh", 0.3, Comparison("itq", -0.2, 0.01, 0.01, True, (-0.25, -0.15))),
        row("sh", 0.51, Comparison("itq", 0.01, 0.6, 0.6, False, (-0.02, 0.04))),
        row("agh", 0.4),
    ]
    text = render_rows(rows, "md", written=Form(difference=True))
    cells = {line.split("|")[1].strip(): line.split("|")[3].strip() for line in text.splitlines() if "|" in line}
    assert cells["itq"] == "<ins>0.500</ins>" and cells["lsh"] == "-0.200⁻ [-0.250, -0.150]"
    assert cells["sh"] == "**+0.010** [-0.020, +0.040]" and cells["agh"] == "not tested"
    assert "differences to itq, with their paired 95 % bootstrap interval" in text
    latex = render_rows(rows, "latex", written=Form(difference=True))
    assert "$-$0.200$^{-}$ [$-$0.250, $-$0.150]" in latex and "Difference to itq in mAP@20 on toy." in latex
    (line,) = [line for line in csv.DictReader(io.StringIO(render_rows(rows, "csv"))) if line["label"] == "lsh"]
    assert [float(line[f"difference{end}"]) for end in ("", "_low", "_high")] == [-0.2, -0.25, -0.15]


def both(a, b, difference, p, yes):
    return {
        (a, b): Comparison(b, difference, p, p, yes, (difference - 0.1, difference + 0.1)),
        (b, a): Comparison(a, -difference, p, p, yes, (-difference - 0.1, -difference + 0.1)),
    }


def test_pairs_are_a_matrix_in_tables_and_a_line_a_pair_elsewhere():
    tests = both("a", "b", 0.2, 0.012, True) | both("a", "c", 0.01, 0.7, False) | both("b", "c", -0.19, 0.02, True)
    rows = [
        row(own, value, *(test for (first, _), test in tests.items() if first == own))
        for own, value in (("a", 0.5), ("b", 0.3), ("c", 0.49))
    ]
    text = render_rows(rows, "md", pairs=True)
    body = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    assert body[0] == ["#", "method", "seeds", "a", "b", "c"]
    assert body[2:] == [
        ["a", "a", "2", "", "0.012", "0.700"],
        ["b", "b", "2", "-0.200⁻", "", "0.020"],
        ["c", "c", "2", "-0.010", "+0.190⁺", ""],
    ]
    lines = json.loads(render_rows(rows, "json", pairs=True))
    assert [(line["label"], line["against"], line["difference"]) for line in lines] == [
        ("a", "b", 0.2), ("a", "c", 0.01), ("b", "c", -0.19),
    ]  # fmt: skip
    assert [line["ci_low"] for line in lines] == pytest.approx([0.1, -0.09, -0.29])
    table = list(csv.DictReader(io.StringIO(render_rows(rows, "csv", pairs=True))))
    assert [float(line["p"]) for line in table] == [0.012, 0.7, 0.02]


@pytest.mark.parametrize("width", [24, 40, 60, 80, 100, 200])
@pytest.mark.parametrize("label", ["itq", "uvvh [lr=1, batch_size=64, epochs=80, smoke]"])
def test_no_number_is_broken_however_narrow_the_terminal(width, label):
    rows = [
        row(name, 0.5 + bits / 1000, label=name, bits=bits, ci=(0.4, 0.6))
        for name in (label, "lsh") for bits in (16, 32, 64, 128)
    ]  # fmt: skip
    whole, narrow = (re.sub(r"\x1b\[\d*m", "", render_rows(rows, "table", width=w)) for w in (None, width))
    assert max(map(len, narrow.splitlines())) <= max(width, len(METRIC) + 1)
    assert sorted(NUMBER.findall(whole)) == sorted(NUMBER.findall(narrow))
    for bits in (16, 32, 64, 128):
        assert f"{0.5 + bits / 1000:.3f} ± 0.020" in narrow if width > 24 else True
    if width == 200:
        assert whole == narrow


@pytest.mark.parametrize(("lengths", "environment", "tabulars"), [(1, "table", 1), (4, "table*", 1), (12, "table*", 2)])
def test_latex_tables_take_a_column_a_page_or_several_tabulars(lengths, environment, tabulars):
    rows = [row(name, 0.5, bits=8 * (n + 1)) for name in ("itq", "lsh") for n in range(lengths)]
    text = render_rows(rows, "latex")
    assert re.findall(r"\\begin{(\w+\*?)}", text) == [environment, *["tabular"] * tabulars]
    assert r"\resizebox" not in text and len(re.search(r"\\caption{(.*)}", text)[1]) < 60
    assert text.count("0.500") == 2 * lengths
