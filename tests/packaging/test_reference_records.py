"""The committed runs are those of today's code: what moves makes none of them stale, what changes its own ones."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from vhbench.runs.store import Store

ROOT = Path(__file__).resolve().parents[2]
CODE = (
    "import json, sys; sys.path.insert(0, sys.argv[1]); from vhbench.plugins.registry import Registry; "
    "print(json.dumps({entry.name: entry.fingerprint for entry in Registry().methods()}))"
)
UVVH = {"uvh", "uvvh", "uvvh-1", "uvvh-nopro", "uvvh-q", "bl3"}  # BL3 has its encoder from UVVH's file
SHALLOW = {"agh", "imh", "itq", "lsh", "mfh", "pca-rr", "pcah", "sh", "sph"}


@pytest.fixture(scope="module")
def recorded() -> dict[str, set[str]]:
    """Return method -> the fingerprints of its committed runs."""
    found: dict[str, set[str]] = {}
    for path in (ROOT / "results" / "reference").glob("*/*/*/run.json"):
        data = json.loads(path.read_text())
        found.setdefault(data["spec"]["method"], set()).add(data["method"]["fingerprint"])
    return found


@pytest.fixture
def checkout(tmp_path):
    for name in ("vhbench", "methods", "protocols"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def stale(folder: Path, recorded: dict[str, set[str]]) -> set[str]:
    """Return the methods of whose runs one at least is stale beside the code in a folder."""
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(folder)], capture_output=True, text=True, check=True, cwd="/"
    )
    today = json.loads(done.stdout)
    return {method for method, fingerprints in recorded.items() if fingerprints != {today[method]}}


def test_every_committed_record_has_a_digest_and_the_files_that_it_names():
    records, problems = Store(ROOT / "results" / "reference").records()
    assert len(records) >= 240 and problems == []
    assert [record.folder for record in records if not record.has_digest or record.damage(read=True)] == []


def test_no_committed_run_is_stale(recorded):
    assert len(recorded) >= 18
    assert stale(ROOT, recorded) == set()


def test_a_moved_and_renamed_module_makes_nothing_stale(recorded, checkout):
    (checkout / "methods" / "layers.py").rename(checkout / "methods" / "blocks.py")
    for path in (checkout / "methods").glob("*.py"):
        path.write_text(re.sub(r"\bmethods\.layers\b", "methods.blocks", path.read_text()))
    assert stale(checkout, recorded) == set()


@pytest.mark.parametrize(("file", "marked"), [("methods/uvvh.py", "its own"), ("vhbench/training.py", "all neural")])
def test_a_changed_line_makes_its_own_runs_stale_and_no_others(recorded, checkout, file, marked):
    with (checkout / file).open("a") as text:
        text.write("\nCHANGED = True\n")
    assert stale(checkout, recorded) == (UVVH if marked == "its own" else recorded.keys() - SHALLOW)
