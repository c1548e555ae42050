"""`vhbench forget`: a grid that nobody will finish is waited for no longer, and nothing else changes."""

import shlex
import shutil

import pytest

from vhbench.system.files import write_json
from vhbench.system.locks import hold

RUNS = {f"toy/itq/{bits}b-s0-0123abcd": None for bits in (8, 16, 32)}


@pytest.fixture
def grid(out):
    """Keep a grid of three runs that nobody has begun; returns its file."""
    path = out / "grids" / "1a2b3c4d.json"
    write_json(path, {"schema": "vhbench.grid/1", "options": {}, "runs": RUNS})
    return path


def content(out):
    return {path.relative_to(out) for path in out.rglob("*") if path.is_file()}


def test_status_names_the_command_that_gives_a_grid_up(vhbench, grid, out, write_run):
    write_run()
    before = content(out)
    (line,) = [line for line in vhbench("status", "--out", out).out.splitlines() if line.startswith("waiting:")]
    assert line.startswith("waiting: 3 of grid 1a2b3c4d; ") and line.endswith(" gives them up")
    words = shlex.split(line.rpartition(", vhbench ")[2].removesuffix(" gives them up"))
    assert words == ["forget", "1a2b3c4d", "--out", str(out)]
    result = vhbench(*words)
    assert result.code == 0
    assert result.out.splitlines() == [f"was waiting: {out / folder}" for folder in RUNS]
    assert result.err == f"removed: {grid}; 3 of its 3 runs were waiting\n"
    assert before - content(out) == {grid.relative_to(out)}
    assert "waiting" not in vhbench("status", "--out", out).out


@pytest.mark.parametrize("beside", [False, True])
def test_a_grid_is_named_by_its_path_too(vhbench, grid, monkeypatch, beside):
    if beside:
        monkeypatch.chdir(grid.parent)
    assert vhbench("forget", grid.name if beside else grid).code == 0
    assert not grid.exists()


def test_a_grid_with_a_run_at_work_stays(vhbench, grid, out):
    folder = out / next(iter(RUNS))
    folder.mkdir(parents=True)
    (folder / "train.jsonl").touch()
    with hold(folder):
        result = vhbench("forget", "1a2b3c4d", "--out", out)
    assert result.code == 1 and f"a process works on its run {folder}" in result.error
    assert grid.exists()
    assert vhbench("forget", "1a2b3c4d", "--out", out).out.count("was waiting") == 2, "begun runs do not wait"
    assert folder.is_dir()


def test_runs_that_another_grid_asks_for_too_are_named(vhbench, grid, out):
    other = grid.with_name("00000000.json")
    write_json(other, {"schema": "vhbench.grid/1", "options": {}, "runs": dict(list(RUNS.items())[:2])})
    assert f"still waiting: 2 of them, for which {other} asks too" in vhbench("forget", grid).err
    assert "waiting: 2 of grid 00000000;" in vhbench("status", "--out", out).out


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("1a2b3c4e", "Unknown grid '1a2b3c4e': did you mean '1a2b3c4d'?"),
        ("../1a2b3c4d", "is not in a folder grids of results"),
        ("run.json", "is not in a folder grids of results"),
        ("", "Unknown grid ''"),
        ("x" * 5000, "Unknown grid"),
        ("a\0b", "Unknown grid"),
    ],
)
def test_what_is_no_kept_grid_is_refused(vhbench, grid, out, name, message):
    shutil.copy(grid, out / "1a2b3c4d.json")
    before = content(out)
    result = vhbench("forget", name, "--out", out)
    assert result.code == 2 and message in result.error
    assert content(out) == before


def test_a_file_in_its_place_that_is_no_grid_is_left(vhbench, grid, out):
    grid.write_text("[]")
    result = vhbench("forget", "1a2b3c4d", "--out", out)
    assert result.code == 2 and f"{grid} is not a grid of this version of vhbench" in result.error
    assert grid.read_text() == "[]"
