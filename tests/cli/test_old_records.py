"""Records and kept grids of earlier versions: read, listed, compared, shown, rescored, and not done again."""

import json
import re
import shutil
from pathlib import Path

import pytest

from vhbench.runs.record import MIGRATIONS, SCHEMA
from vhbench.runs.store import Store

OLD = Path(__file__).parent.parent / "old_records"
FIRST = OLD / "run-1"
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


def test_the_first_schema_says_the_same_today():
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


def test_runs_of_an_old_grid_or_record_are_not_done_again(vhbench, copy):
    for path in (*copy.glob("grids/*.json"), *copy.glob("*/*/*/run.json")):
        result = vhbench("run", "--config", path, "--out", copy, "--dry-run")
        assert result.code == 0, result.err
        assert re.search(r"^0 of [12] runs to do", result.out + result.err, re.MULTILINE)
