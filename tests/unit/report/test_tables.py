"""Rows as text: what a reader of a table can rely on; whole texts are in tests/golden."""

import csv
import dataclasses
import io
import json
import re
import shutil
import subprocess

import pytest

from vhbench.errors import UsageError
from vhbench.report.beside import with_published
from vhbench.report.latex import latex
from vhbench.report.layout import RowTable, TableCell, TableLine
from vhbench.report.published import read_published
from vhbench.report.rows import Comparison, Row
from vhbench.report.tables import COLUMNS, FORMATS, render_rows
from vhbench.system.text import latex as escape
from vhbench.system.text import plain

ROW = Row("toy", "toy", "itq", "itq", 16, (0, 1), "map@20[den=k,ties=expected,self=keep]", 0.51239, 0.0204, False, 300)


def row(**changes):
    return dataclasses.replace(ROW, **changes)


def cells(text):
    """Return the body of a Markdown table."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]


def test_a_cell_is_the_mean_with_its_standard_deviation():
    head, _, body = cells(render_rows([ROW], "md"))
    assert head == ["method", "seeds", "16 bits"] and body == ["itq", "2", "0.512 ± 0.020"]


def test_one_seed_has_no_spread_and_no_value_is_not_zero():
    _, _, one, none = cells(render_rows([row(sd=None, seeds=(3,)), row(label="lsh", value=None, sd=None)], "md"))
    assert one == ["itq", "1", "0.512"] and none[2] == "undefined"


def test_a_line_that_was_tuned_at_some_lengths_says_at_which():
    tuned = "by their loss, without labels, best of 3 trials of study s"
    every = [row(tuned=(tuned,)), row(bits=32, tuned=(tuned,)), row(label="lsh"), row(label="lsh", bits=32)]
    note = f"¶ tuned on held-out training videos: {tuned}"
    assert render_rows(every, "table").splitlines()[-1] == note
    some = [every[0], row(bits=32), *every[2:]]
    text = render_rows(some, "table")
    assert text.splitlines()[-1] == f"{note} (itq at 16 bits only)" and "itq¶" in text and "lsh¶" not in text


def test_what_was_not_run_is_an_empty_cell():
    text = render_rows([ROW, row(bits=32, label="lsh")], "md")
    assert cells(text)[2:] == [["itq", "2", "0.512 ± 0.020", ""], ["lsh", "2", "", "0.512 ± 0.020"]]


def test_columns_stand_by_metric_as_asked_and_by_length():
    five = row(metric="map@5[den=k,ties=expected,self=keep]")
    rows = [row(bits=128), ROW, dataclasses.replace(five, bits=128), five]
    assert cells(render_rows(rows, "md"))[0][2:] == [
        "map@20, 16 bits",
        "map@20, 128 bits",
        "map@5, 16 bits",
        "map@5, 128 bits",
    ]


def test_every_table_says_its_data_metric_queries_and_whether_features_are_made_up():
    text = render_rows([ROW, row(protocol="demo", split="demo", synthetic=True, queries=12, sd=None)], "table")
    toy, demo = text.split("\n\ndemo ")
    assert toy.startswith("toy\n") and toy.endswith(f"{ROW.metric}; 300 queries; mean ± standard deviation over seeds")
    assert demo.startswith("(synthetic features)\n") and demo.endswith(f"{ROW.metric}; 12 queries")


def test_splits_of_a_protocol_are_tables_of_their_own():
    text = render_rows([ROW, row(split="toy-odd")], "md")
    assert "**toy**" in text and "**toy, split toy-odd**" in text


def test_csv_and_json_keep_every_digit():
    rows = [ROW, row(value=1 / 3, sd=None), row(value=None, sd=None, label='a, "quoted" label [x=1]')]
    from_csv = list(csv.DictReader(io.StringIO(render_rows(rows, "csv"))))
    from_json = json.loads(render_rows(rows, "json"))
    assert [tuple(line) for line in from_csv] == [COLUMNS] * 3
    for given, a, b in zip(rows, from_csv, from_json, strict=True):
        assert (float(a["value"]) if a["value"] else None) == b["value"] == given.value
        assert a["label"] == b["label"] == given.label
        assert a["seeds"] == "0 1" and b["seeds"] == [0, 1]


@pytest.mark.parametrize("form", FORMATS)
def test_no_rows_are_no_error(form):
    assert render_rows([], form) == {"json": "[]", "csv": ",".join(COLUMNS)}.get(form, "")


def compared(label, value, *comparisons, **changes):
    """A row with tests: (against, difference, significant)."""
    tests = tuple(Comparison(name, difference, 0.01, 0.02, yes) for name, difference, yes in comparisons)
    return row(label=label, method=label, value=value, sd=None, tests=tests, **changes)


def test_marks_say_what_is_significantly_better_or_worse_than_the_baseline():
    rows = [compared("itq", 0.5), compared("a", 0.7, ("itq", 0.2, True)), compared("b", 0.3, ("itq", -0.2, True))]
    rows.append(compared("c", 0.6, ("itq", 0.1, False)))
    text = render_rows(rows, "md")
    assert [line[2] for line in cells(text)[2:]] == ["0.500", "**0.700**⁺", "0.300⁻", "<ins>0.600</ins>"]
    assert "Superscript + or -: significantly better or worse than itq" in text


def test_letters_name_the_lines_that_one_is_better_than():
    rows = [
        compared("itq", 0.5, ("lsh", 0.2, True), ("sh", -0.1, True)),
        compared("lsh", 0.3, ("itq", -0.2, True), ("sh", -0.3, True)),
        compared("sh", 0.6, ("itq", 0.1, True), ("lsh", 0.3, True)),
    ]
    head, _, *lines = cells(render_rows(rows, "md"))
    assert head[0] == "#" and [line[0] for line in lines] == ["a", "b", "c"]
    assert [line[3] for line in lines] == ["<ins>0.500</ins>ᵇ", "0.300", "**0.600**ᵃᵇ"]
    with pytest.raises(UsageError, match="marks 32 rows at most, not 33"):
        render_rows([compared(str(i), 0.5, (str(i + 1), 0.1, True)) for i in range(33)], "md")


def test_values_that_print_alike_are_best_together_and_a_lone_one_is_not_best():
    rows = [row(label="a", value=0.51239), row(label="b", value=0.51201), row(label="c", value=0.4)]
    assert [line[2].split()[0] for line in cells(render_rows(rows, "md"))[2:]] == ["**0.512**"] * 2 + [
        "<ins>0.400</ins>"
    ]
    assert "**" not in "".join(cells(render_rows([ROW], "md"))[2])
    assert "<ins>" in render_rows(rows, "md") and "bold" not in render_rows([ROW], "md").lower()


def test_published_values_are_never_best_and_stand_in_the_column_of_the_nearest_convention():
    ours = [row(protocol="fcvid", split="fcvid", method="uvvh", label="uvvh", value=0.01, metric=name) for name in (
        "map@20[den=min,ties=expected,self=drop]", "map@20[den=k,ties=expected,self=keep]",
    )]  # fmt: skip
    everything = with_published(ours, read_published(), ["conmh"])
    assert len(everything) == 3 and everything[2].beside == ours[1].metric
    assert everything[2].value > 0.01 and "**" not in render_rows(everything, "md").replace("**fcvid**", "")
    assert with_published(ours, read_published(), ["no-such"]) == ours


@pytest.mark.parametrize("form", ["md", "latex", "table", "csv"])
def test_text_of_others_is_never_markup(form):
    hostile = "itq [x=<script>|*_`a\nb\x1b[31m & 50% \\end{table}]"
    text = render_rows([row(label=hostile), ROW], form)
    assert "\x1b[31m" not in text
    if form == "md":
        assert len({re.sub(r"\\\|", "", line).count("|") for line in text.splitlines() if line.startswith("|")}) == 1
        assert r"\<script\>\|\*\_\`a b \&" in text
    if form == "latex":
        assert len(re.findall(r"\\end{table\*?}", text)) == 1 and r"\textbackslash{}end\{table\}" in text
    if form == "csv":
        assert next(csv.DictReader(io.StringIO(text)))["label"] == plain(hostile)


@pytest.mark.parametrize("form", ["md", "csv", "latex", "table"])
def test_a_title_links_nowhere_and_no_cell_is_a_formula(form):
    hostile = "=HYPERLINK(1) [x](http://t) ![](http://t/p.png) $x$ www.t"
    text = render_rows(
        [row(label=hostile, protocol=hostile, split=hostile), row(protocol=hostile, split=hostile)], form
    )
    if form == "md":
        assert re.search(r"\](?=\()|(?<!\\)\$|\w://|www\.t", text.replace("\\]", "")) is None
    if form == "csv":
        first = next(csv.DictReader(io.StringIO(text)))
        assert {first[name] for name in ("label", "protocol", "split")} == {f"'{hostile}"}
        assert float(first["value"]) == 0.51239
    if form == "latex":
        assert r"\$x\$" in text
    if form == "table":
        assert text.startswith(hostile)


def test_characters_that_latex_has_no_font_for_are_written_as_numbers():
    assert escape("é ß 漢 -- ł") == "é ß [U+6F22] -{}- [U+0142]"


def latex_of(count, columns, note):
    """A table of lines with means, spreads and intervals; and its environments."""
    cells = tuple(TableCell("0.123", sd="0.456", ci="[0.100, 0.200]") for _ in range(columns))
    lines = tuple(TableLine(f"m{number}", "", "", "3", False, "", cells) for number in range(count))
    headings = tuple(("map@20", f"{2**place} bits") for place in range(columns))
    text = latex(RowTable("toy", headings, lines, (note,), False, "mAP@20 on toy"))
    return text, text.split(r"\begin{table*}")[1:]


def test_latex_higher_than_a_page_goes_on_in_a_table_of_its_own():
    text, environments = latex_of(31, 6, "a note")
    assert [one.count(r"\begin{tabular}") for one in environments] == [1, 1]
    assert "mAP@20 on toy." in environments[0] and "mAP@20 on toy, continued." in environments[1]
    assert ["a note." in one for one in environments] == [False, True] and text.count("0.123") == 6 * 31


@pytest.mark.parametrize(("count", "words", "lines"), [(37, 400, [37, 0]), (80, 300, [39, 39, 2])])
def test_lines_and_notes_that_are_higher_than_a_page_go_on_too(count, words, lines, tmp_path):
    text, environments = latex_of(count, 3, "words " * words)
    assert [one.count("0.456") // 3 for one in environments] == lines
    assert [one.count("words ") for one in environments] == [*[0] * (len(lines) - 1), words]
    if shutil.which("pdflatex"):
        head = r"\documentclass[twocolumn]{article}\usepackage{booktabs}\begin{document}"
        (tmp_path / "table.tex").write_text(rf"{head}{text}\end{{document}}")
        subprocess.run(["pdflatex", "-interaction=batchmode", "table"], cwd=tmp_path, check=True, capture_output=True)
        log = (tmp_path / "table.log").read_text(errors="replace")
        assert "Output written" in log and "Overfull" not in log and "Float too large" not in log


def test_numbers_of_settings_are_explained_below_the_table_that_has_them():
    rows = [row(label=f"itq [iterations={1000 + number}]") for number in range(11)]
    rows.append(row(protocol="fcvid", split="fcvid", label="itq [iterations=1010]"))
    toy, fcvid = render_rows(rows, "latex").split("% needs")[1:]
    assert [rf"\textsuperscript{{{number}}} iterations={999 + number}" in toy for number in range(1, 10)] == [True] * 9
    eleven = r"itq\textsuperscript{1}\textsuperscript{1}"
    assert eleven in fcvid and fcvid.count("iterations=") == 1 and "iterations=1010" in fcvid
