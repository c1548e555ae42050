"""Records and kept grids of earlier versions: read, listed, compared, shown, rescored, and not done again."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from vhbench import evaluate
from vhbench.codes import unpack
from vhbench.protocols import demo
from vhbench.runs.record import MIGRATIONS, SCHEMA
from vhbench.runs.store import Store

OLD = Path(__file__).parent.parent / "old_records"
FIRST, SECOND = OLD / "run-1", OLD / "run-2"
STATUSES = {"demo-shift/lsh": "done", "demo-to-demo-shift/lsh": "done", "demo/bl1": "failed", "demo/pcah": "skipped"}
CONVENTION = "[ties=expected,self=keep]"


def name(record):
    return "/".join(record.folder.parts[-3:-1])


def on_disk(record):
    return json.loads((record.folder / "run.json").read_text())


@pytest.fixture
def copy(out):
    """A results folder of version 0.1.0.dev that may be written to."""
    shutil.copytree(FIRST, out)
    return out


def test_there_are_records_of_every_schema_but_todays():
    assert {f"vhbench.{folder.name.replace('-', '/')}" for folder in OLD.iterdir() if folder.is_dir()} == {*MIGRATIONS}


@pytest.mark.parametrize("folder", [path for path in OLD.iterdir() if path.is_dir()], ids=lambda path: path.name)
def test_old_records_are_read_as_todays(folder):
    records, problems = Store(folder).records()
    assert records and problems == []
    for record in records:
        old = on_disk(record)
        assert old["schema"] == f"vhbench.{folder.name.replace('-', '/')}" and record.data["schema"] == SCHEMA
        assert record.damage(read=True) == []


def test_old_schemas_say_the_same_today():
    for record in Store(SECOND).records()[0]:
        assert record.data == {**on_disk(record), "schema": SCHEMA}
    records, _ = Store(FIRST).records()
    assert {name(record): record.status for record in records} == STATUSES
    for record in records:
        assert record.data == {**on_disk(record), "schema": SCHEMA}


def test_they_are_listed_with_their_grids(vhbench):
    listed = vhbench("list", "runs", "--out", FIRST)
    assert (listed.code, listed.err) == (0, "")
    assert [line.split()[:2] for line in listed.out.splitlines()[1:]] == [
        ["demo", "bl1"], ["demo", "pcah"], ["demo-shift", "lsh"], ["demo-to-demo-shift", "lsh"],
    ]  # fmt: skip
    status = vhbench("status", "--out", FIRST)
    assert status.code == 0 and "training diverged" in status.out and "waiting" not in status.out


@pytest.mark.parametrize(
    "metric", ["map@20[den=k,ties=worst,self=keep]", "map@5[den=min,ties=expected,self=keep]", f"recall@5{CONVENTION}"]
)
def test_they_are_compared_by_what_they_have_recorded(vhbench, metric):
    rows = json.loads(vhbench("compare", "--out", FIRST, "--metric", metric, "--format", "json").out)
    recorded = {}
    for record in Store(FIRST).records()[0]:
        if record.status == "done":
            main, *others = record.spec["splits"]
            recorded |= {(record.spec["protocol"], main): on_disk(record)["scores"][metric]}
            recorded |= {(record.spec["protocol"], x): on_disk(record)["scores"][f"{x}/{metric}"] for x in others}
    assert len(recorded) == 3
    assert {(row["protocol"], row["split"]): row["value"] for row in rows} == recorded


@pytest.mark.parametrize(
    ("metric", "advice"),
    [("mrr", "rescore"), ("ndcg@20", "rescore"), ("precision@r2", "rescore"), ("map@7", "rescore --ks 5,7,20,40")],
)
def test_what_was_not_recorded_then_is_said_with_what_adds_it(vhbench, metric, advice):
    result = vhbench("compare", "--out", FIRST, "--metric", metric)
    assert result.code == 2
    assert f"{metric} is not recorded for demo-shift, demo-to-demo-shift; recorded are map@5, map@20" in result.error
    assert f"`vhbench {advice}" in result.error


def test_rescoring_adds_the_new_metrics_and_changes_no_number(vhbench, copy):
    before = {name(record): on_disk(record) for record in Store(copy).records()[0]}
    result = vhbench("rescore", "--out", copy)
    assert result.code == 0, result.err
    assert " -> " not in result.out and "no longer recorded" not in result.out
    assert result.out.endswith("2 runs: other metrics than before, all else as it was\n")
    for record in Store(copy).records()[0]:
        old, new = before[name(record)], on_disk(record)
        if record.status != "done":
            assert new == old
            continue
        assert (new["schema"], new["rescored"]["vhbench"]) == (SCHEMA, new["vhbench"])
        added = {score.rpartition("/")[2].partition("[")[0] for score in set(new["scores"]) - set(old["scores"])}
        assert added == {"mrr", "precision@r2", *(f"ndcg@{k}" for k in (5, 20, 40, 60, 80, 100))}
        assert {key: new["scores"][key] for key in old["scores"]} == pytest.approx(old["scores"], abs=1e-9)
        kept = set(old) - {"schema", "scores", "timing", "files", "sizes", "in_domain", "digest"}
        assert {key: new[key] for key in kept} == {key: old[key] for key in kept}
    gains = [data["in_domain"]["gain"] for data in (before["demo-to-demo-shift/lsh"], in_domain(copy))]
    assert gains[1] == pytest.approx(gains[0], abs=1e-9)


@pytest.mark.parametrize("folder", [FIRST, SECOND], ids=["run-1", "run-2"])
def test_they_are_marked_until_rescoring_gives_them_a_digest(vhbench, out, folder):
    shutil.copytree(folder, out)

    def marks():
        rows = json.loads(vhbench("compare", "--out", out, "--metric", "map@20", "--format", "json").out)
        return [[text for text in row["warnings"] if "no digest" in text] for row in rows if not row["reference"]]

    one = ["the record has no digest, and a change of it goes unseen (vhbench rescore adds one)"]
    count = {FIRST: 3, SECOND: 4}[folder]
    assert marks() == [one] * count
    assert "! the record has no digest" in vhbench("compare", "--out", out, "--metric", "map@20").out
    checked = vhbench("rescore", "--check", "--out", out)
    assert (checked.code, checked.out) == (0, f"{count - 1} runs: as the codes give it\n")
    assert f"{count - 1} runs without a digest" in checked.err
    assert vhbench("rescore", "--out", out).code == 0
    assert marks() == [[]] * count
    for record in Store(out).records()[0]:
        assert record.has_digest == (record.status == "done")
        assert ("train.jsonl" in record.digests) == (record.has_digest and (record.folder / "train.jsonl").exists())
    assert vhbench("rescore", "--check", "--out", out).err == ""


def in_domain(folder):
    (path,) = folder.glob("demo-to-demo-shift/*/*/run.json")
    return json.loads(path.read_text())


def test_the_new_metrics_are_then_compared_and_shown(vhbench, copy, tmp_path):
    vhbench("rescore", "--out", copy)
    rows = json.loads(vhbench("compare", "--out", copy, "--metric", "mrr", "--format", "json").out)
    (value,) = [row["value"] for row in rows if row["protocol"] == "demo-shift"]
    with np.load(next(FIRST.glob("demo-shift/*/*/codes.npz"))) as packed:
        codes = [unpack(packed[f"demo-shift/{part}"], 16) for part in ("query", "database")]
    assert value == pytest.approx(evaluate(*codes, demo.labels("query"), demo.labels("database")).mrr(), abs=1e-12)
    page = tmp_path / "page.html"
    assert vhbench("report", "-o", page, "--out", copy).code == 0
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text(), re.DOTALL)
    shown = next(one for one in json.loads(found[1])["sets"] if one["protocol"] == "demo-shift")
    assert shown["names"]["literature"]["mrr"] == f"mrr{CONVENTION}"
    assert shown["series"][0]["scores"]["literature"]["mrr"][0] == pytest.approx(value)


def test_runs_of_an_old_grid_or_record_are_not_done_again(vhbench, copy):
    for path in (*copy.glob("grids/*.json"), *copy.glob("*/*/*/run.json")):
        result = vhbench("run", "--config", path, "--out", copy, "--dry-run")
        assert result.code == 0, result.err
        to_do = 1 if "bl1" in path.read_text() else 0  # BL1 has got a hyper-parameter since: another run
        assert re.search(rf"^{to_do} of [12] runs to do", result.out + result.err, re.MULTILINE)
