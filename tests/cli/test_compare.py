"""`vhbench compare`: recorded runs as tables; what is averaged, what never is, and how each format reads back."""

import csv
import io
import json
import statistics
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parent.parent / "golden"
ITQ, ITQ_32 = (0.50, 0.53, 0.56), (0.61, 0.63)


@pytest.fixture
def grid(write_run):
    """Records of two methods, two code lengths, up to three seeds and two protocols, one with synthetic features."""
    for seed, value in enumerate(ITQ):
        write_run("itq", 16, seed, value)
    for seed, value in enumerate(ITQ_32):
        write_run("itq", 32, seed, value)
    write_run("lsh", 16, 0, 0.25, params={})
    write_run("itq", 16, 0, 0.4, params={"iterations": 3}, changed={"iterations": 3})
    write_run("itq", 16, 0, 0.3, protocol="made-up", synthetic=True, splits={"made-up": {}, "made-up-shift": {}})
    write_run("lsh", 16, 1, params={}, status="failed", reason="it broke")


@pytest.mark.parametrize(("form", "file"), [("table", "txt"), ("md", "md"), ("csv", "csv"), ("json", "json")])
def test_formats_are_as_they_were(vhbench, grid, out, form, file):
    """A change of a format shows here; if it is meant, write the new text into the golden file."""
    result = vhbench("compare", "--out", out, "--format", form)
    assert result.out == (GOLDEN / f"compare.{file}").read_text()
    assert result.err == "not in the table: 1 failed or skipped runs (vhbench status)\n"


def test_json_and_csv_read_back_as_the_same_rows(vhbench, grid, out):
    from_json = json.loads(vhbench("compare", "--out", out, "--format", "json").out)
    from_csv = list(csv.DictReader(io.StringIO(vhbench("compare", "--out", out, "--format", "csv").out)))
    assert len(from_json) == len(from_csv) == 6
    assert {"protocol", "split", "method", "bits", "seeds", "metric", "value", "ci"} <= set(from_json[0])
    for a, b in zip(from_json, from_csv, strict=True):
        assert (a["protocol"], a["method"], a["label"], str(a["bits"])) == (
            b["protocol"], b["method"], b["label"], b["bits"],
        )  # fmt: skip
        assert a["seeds"] == [int(seed) for seed in b["seeds"].split()]
        assert a["value"] == float(b["value"]) and str(a["sd"] if a["sd"] is not None else "") == b["sd"]


def test_markdown_is_a_table_of_as_many_cells_in_each_line(vhbench, grid, out):
    text = vhbench("compare", "--out", out, "--format", "md", "--protocol", "toy").out
    heading, _, *table, _, note = text.splitlines()
    assert heading == "**toy**" and note.startswith("map@20[")
    assert {line.count("|") for line in table} == {5}


def test_means_and_standard_deviations_are_over_seeds(vhbench, grid, out):
    rows = json.loads(vhbench("compare", "--out", out, "--format", "json").out)
    found = {(r["protocol"], r["split"], r["label"], r["bits"]): r for r in rows}
    for bits, values in ((16, ITQ), (32, ITQ_32)):
        row = found["toy", "toy", "itq", bits]
        assert row["seeds"] == list(range(len(values)))
        assert row["value"] == pytest.approx(sum(values) / len(values), abs=1e-12)
        assert row["sd"] == pytest.approx(statistics.stdev(values), abs=1e-12)
    assert found["toy", "toy", "lsh", 16]["sd"] is None, "one seed has no spread"
    assert found["toy", "toy", "itq [iterations=3]", 16]["value"] == 0.4


def values(vhbench, out, *arguments):
    rows = json.loads(vhbench("compare", "--out", out, "--format", "json", *arguments).out)
    return {row["label"]: row["value"] for row in rows}


def test_runs_that_differ_in_more_than_the_seed_are_never_averaged(vhbench, out, write_run):
    write_run(value=0.1)
    write_run(seed=1, value=0.2, params={"iterations": 9}, changed={"iterations": 9})
    write_run(seed=1, value=0.3, precision="bf16")
    write_run(seed=1, value=0.4, budget={"epochs": None, "videos": 256})
    rows = json.loads(vhbench("compare", "--out", out, "--format", "json").out)
    found = {row["label"]: row["value"] for row in rows}
    assert found == {"itq": 0.1, "itq [iterations=9]": 0.2, "itq [bf16]": 0.3, "itq [smoke]": 0.4}


def test_other_data_of_the_same_protocol_name_are_another_table(vhbench, out, write_run):
    write_run(value=0.1)
    write_run(value=0.2, splits={"toy": dict.fromkeys(("train", "query", "database", "relevance"), "1" * 64)})
    write_run(value=0.3, version=2)
    rows = json.loads(vhbench("compare", "--out", out, "--format", "json").out)
    assert {row["protocol"] for row in rows} == {f"toy (data {i} of 3)" for i in (1, 2, 3)}
    table = vhbench("compare", "--out", out).out
    assert table.count("seeds") == 3 and "split" not in table


def test_runs_of_other_defaults_stand_in_rows_that_say_so(vhbench, out, write_run):
    """Both runs kept to the defaults of their day, so neither records a change, but the defaults differ."""
    write_run(value=0.1, params={"iterations": 50})
    write_run(value=0.2, params={"iterations": 60})
    assert values(vhbench, out) == {"itq [iterations=50]": 0.1, "itq [iterations=60]": 0.2}


def test_choices_keep_what_is_asked_for_in_the_order_asked_for(vhbench, grid, out):
    table = vhbench("compare", "--out", out, "--protocol", "toy", "--method", "lsh,itq", "--bits", "16").out
    assert [line.split("  ")[0] for line in table.splitlines()[4:7]] == ["lsh", "itq", "itq [iterations=3]"]
    assert "32 bits" not in table and "made-up" not in table


def test_a_metric_may_be_partial_full_or_several(vhbench, out, write_run):
    write_run(value=0.3)
    full = "map@20[den=min,ties=expected,self=keep]"
    for options in (["--metric", full], ["--metric", "map@20[den=min]"], ["--convention", "strict"]):
        (row,) = json.loads(vhbench("compare", "--out", out, "--format", "json", *options).out)
        assert (row["metric"], row["value"]) == (full, pytest.approx(0.4))
    assert "map@20, 16 bits" in vhbench("compare", "--out", out, "--metric", "map@20,precision@5").out
    two = vhbench("compare", "--out", out, "--metric", f"map@20,{full}").out
    assert f"{full}, 16 bits" in two, "columns of one short name carry their full ones"
    for options in (["--metric", "map@20, precision@5"], ["--metric", "map@20", "--metric", "precision@5"]):
        rows = json.loads(vhbench("compare", "--out", out, "--format", "json", *options).out)
        assert [row["metric"].partition("[")[0] for row in rows] == ["map@20", "precision@5"]


def test_protocols_without_the_metric_are_left_out_and_named(vhbench, out, write_run, caplog):
    write_run()
    write_run(protocol="other", ks=(10,))
    rows = json.loads(vhbench("compare", "--out", out, "--format", "json").out)
    assert [row["protocol"] for row in rows] == ["toy"]
    assert caplog.messages == ["left out: map@20 is not recorded for other"]


def test_scores_that_are_undefined_are_neither_zero_nor_averaged(vhbench, out, write_run):
    write_run(seed=0, value=None)
    write_run(seed=1, value=0.5)
    write_run("lsh", seed=0, value=None, params={})
    rows = {r["label"]: r for r in json.loads(vhbench("compare", "--out", out, "--format", "json").out)}
    assert (rows["itq"]["value"], rows["itq"]["sd"], rows["itq"]["seeds"]) == (0.5, None, [0, 1])
    assert rows["lsh"]["value"] is None
    assert "undefined" in vhbench("compare", "--out", out).out


def test_an_empty_results_folder_is_no_error(vhbench, out):
    result = vhbench("compare", "--out", out)
    assert (result.code, result.out) == (0, "") and "`vhbench run` makes some" in result.err
    assert vhbench("compare", "--out", out, "--format", "json").out == "[]\n"


def test_a_choice_that_nothing_meets_says_so(vhbench, out, write_run):
    write_run("itq", 16)
    write_run("lsh", 32, params={})
    result = vhbench("compare", "--out", out, "--method", "itq", "--bits", "32")
    assert (result.code, result.out) == (0, "") and "No finished run is of this" in result.err
