"""`vhbench compare`: figures, and what numbers are held against, of runs that took place."""

import csv
import json
import re

from vhbench.runs.record import write_record


def test_figures_have_thin_lines_for_the_references(run_tiny, vhbench, out, tmp_path):
    run_tiny("lsh", "--bits", "8")
    vhbench("compare", "--out", out, "--pr", tmp_path / "pr.svg", "--map", tmp_path / "map.svg")
    assert "chance" in (tmp_path / "pr.svg").read_text()
    assert all(name in (tmp_path / "map.svg").read_text() for name in ("chance", "cosine (float)", "attainable"))


def test_all_figures_are_drawn_at_the_width_of_a_column(vhbench, run_tiny, out, tmp_path):
    run_tiny("lsh,itq", "--bits", "8,16")
    names = ("pr", "map", "distances", "wins", "tradeoff")
    files = [word for name in names for word in (f"--{name}", tmp_path / f"{name}.svg")]
    result = vhbench("compare", "--out", out, "--width", "column", "--highlight", "itq", *files)
    assert result.code == 0, result.err
    for name in names:
        text = (tmp_path / f"{name}.svg").read_text()
        assert 'width="237.6pt"' in text and "ITQ" in text
        with (tmp_path / f"{name}.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert {row[name] for row in rows for name in ("label", "against") if name in row} >= {"itq", "lsh"}
    refused = vhbench("compare", "--out", out, "--highlight", "itk", "--map", tmp_path / "map.svg")
    assert refused.code == 2 and "Unknown method or row to highlight 'itk'" in refused.err


def test_distances_of_older_records_come_with_what_adds_them(vhbench, run_tiny, tiny, out, tmp_path):
    run_tiny("lsh")
    (path,) = out.glob("tiny/lsh/*/curves.json")
    curves = json.loads(path.read_text())
    pairs = curves["tiny"]["radius"]["keep"]
    assert sum(pairs.pop("relevant")) + sum(pairs.pop("others")) == 12 * 40
    path.write_text(json.dumps(curves))
    record = path.with_name("run.json")
    text = re.sub(r'"curves.json": ("\w+"|\d+),?', "", record.read_text())
    write_record(path.parent, json.loads(re.sub(r",(\s*})", r"\1", text)))
    refused = vhbench("compare", "--out", out, "--distances", tmp_path / "a.svg")
    assert refused.code == 1 and "has no distances: `vhbench rescore` adds them" in refused.err
    assert vhbench("rescore", "--protocol", tiny, "--out", out).code == 0
    assert vhbench("compare", "--out", out, "--distances", tmp_path / "a.svg").code == 0


def test_collapsed_codes_are_said_and_marked_and_references_stand_below(run_tiny, vhbench, out):
    """The whole chain: a run whose bits repeat says so when it ends, and so does every table."""
    result = run_tiny("fake,lsh", "--bits", "8")
    assert "mind: 1 of 8 bits are copies of another" in result.err
    text = vhbench("compare", "--out", out).out
    (line,) = [line for line in text.splitlines() if line.startswith("fake")]
    assert line.split()[2].endswith("!")
    (note,) = [note for note in text.splitlines() if note.startswith("! 1 of 8 bits are copies of another: ")]
    assert "fake" in note
    assert [line.split()[0] for line in text.splitlines()[4:9]] == ["fake", "lsh", "chance", "cosine", "attainable"]
    assert "chance" not in vhbench("compare", "--out", out, "--no-references").out
    plain, asked = (vhbench("compare", "--out", out, "--format", "json", *more).out for more in ((), ["--references"]))
    rows, more = json.loads(plain), json.loads(asked)
    assert [row["reference"] for row in more] == ["", "", "chance", "cosine", "attainable"]
    assert rows == more[:2] and "1 of 8 bits are copies of another" in rows[0]["warnings"]
    assert 0 < more[2]["value"] < more[3]["value"] <= more[4]["value"] <= 1


def test_damaged_references_are_named_and_left_out(run_tiny, vhbench, out):
    run_tiny("lsh", "--bits", "8")
    (path,) = out.glob("tiny/references-*.json")
    path.write_text(path.read_text().replace("0.", "0.1", 1))
    result = vhbench("compare", "--out", out)
    assert f"left out: {path}" in result.err and "chance" not in result.out and "lsh" in result.out
