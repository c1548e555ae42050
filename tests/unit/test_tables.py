"""Rows as text: what a reader of a table can rely on; whole texts are in tests/golden."""

import csv
import dataclasses
import io
import json

import pytest

from vhbench.report.rows import Row
from vhbench.report.tables import COLUMNS, FORMATS, render

ROW = Row("toy", "toy", "itq", "itq", 16, (0, 1), "map@20[den=k,ties=expected,self=keep]", 0.51239, 0.0204, False, 300)


def row(**changes):
    return dataclasses.replace(ROW, **changes)


def cells(text):
    """Return the body of a Markdown table."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]


def test_a_cell_is_the_mean_with_its_standard_deviation():
    head, _, body = cells(render([ROW], "md"))
    assert head == ["method", "seeds", "16 bits"] and body == ["itq", "2", "0.512 ± 0.020"]


def test_one_seed_has_no_spread_and_no_value_is_not_zero():
    _, _, one, none = cells(render([row(sd=None, seeds=(3,)), row(label="lsh", value=None, sd=None)], "md"))
    assert one == ["itq", "1", "0.512"] and none[2] == "undefined"


def test_what_was_not_run_is_an_empty_cell():
    text = render([ROW, row(bits=32, label="lsh")], "md")
    assert cells(text)[2:] == [["itq", "2", "0.512 ± 0.020", ""], ["lsh", "2", "", "0.512 ± 0.020"]]


def test_columns_stand_by_metric_as_asked_and_by_length():
    five = row(metric="map@5[den=k,ties=expected,self=keep]")
    rows = [row(bits=128), ROW, dataclasses.replace(five, bits=128), five]
    assert cells(render(rows, "md"))[0][2:] == [
        "map@20, 16 bits",
        "map@20, 128 bits",
        "map@5, 16 bits",
        "map@5, 128 bits",
    ]


def test_every_table_says_its_data_metric_queries_and_whether_features_are_made_up():
    text = render([ROW, row(protocol="demo", split="demo", synthetic=True, queries=12, sd=None)], "table")
    toy, demo = text.split("\n\ndemo ")
    assert toy.startswith("toy\n") and toy.endswith(f"{ROW.metric}; 300 queries; mean ± standard deviation over seeds")
    assert demo.startswith("(synthetic features)\n") and demo.endswith(f"{ROW.metric}; 12 queries")


def test_splits_of_a_protocol_are_tables_of_their_own():
    text = render([ROW, row(split="toy-odd")], "md")
    assert "**toy**" in text and "**toy, split toy-odd**" in text


def test_csv_and_json_keep_every_digit():
    rows = [ROW, row(value=1 / 3, sd=None), row(value=None, sd=None, label='a, "quoted" label [x=1]')]
    from_csv = list(csv.DictReader(io.StringIO(render(rows, "csv"))))
    from_json = json.loads(render(rows, "json"))
    assert [tuple(line) for line in from_csv] == [COLUMNS] * 3
    for given, a, b in zip(rows, from_csv, from_json, strict=True):
        assert (float(a["value"]) if a["value"] else None) == b["value"] == given.value
        assert a["label"] == b["label"] == given.label
        assert a["seeds"] == "0 1" and b["seeds"] == [0, 1]


@pytest.mark.parametrize("form", FORMATS)
def test_no_rows_are_no_error(form):
    assert render([], form) == {"json": "[]", "csv": ",".join(COLUMNS)}.get(form, "")
