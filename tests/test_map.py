"""The map in CONTRIBUTING.md holds: rooms import only what their row names, and no two files import each other."""

import ast
import functools
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOORS = {"__init__", "__main__"}  # of the package: they may import anything
FILES_AT_THE_ROOT = 13
EARLY, LATE = ("system", "scoring", "features", "datasets"), {"runs", "grid", "launch", "report", "cli"}


def read_map(text: str) -> dict[str, set[str]]:
    """Return room -> the rooms that it may import."""
    rows = re.findall(r"^\| (`[^|]*?) \| [^|]* \| ([^|]*)\|$", text, re.MULTILINE)
    rooms = {
        room: set(re.findall(r"`(\w+)`", allowed)) for names, allowed in rows for room in re.findall(r"`(\w+)`", names)
    }
    together = [re.findall(r"`(\w+)`", names) for names, _ in rows]
    for row in together:
        for room in row:
            rooms[room] |= set(row)
    return rooms


def sources(package: Path) -> dict[str, str]:
    """Return every module's dotted name below the package -> its text."""
    found = {}
    for path in package.rglob("*.py"):
        parts = path.relative_to(package).with_suffix("").parts
        name = parts[:-1] if parts[-1] == "__init__" and parts[:-1] else parts
        found[".".join(name)] = path.read_text(encoding="utf-8")
    return found


@functools.cache
def imported(text: str) -> frozenset[tuple[str, str]]:
    """Return what a file imports of the package, anywhere in it: module, and the name taken from it or ""."""
    pairs = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "vhbench":
            pairs |= {(node.module.removeprefix("vhbench").removeprefix("."), alias.name) for alias in node.names}
        elif isinstance(node, ast.Import):
            pairs |= {(alias.name.removeprefix("vhbench."), "") for alias in node.names}
    return frozenset(pairs)


def violations(texts: dict[str, str], rooms: dict[str, set[str]]) -> list[str]:
    """Return a line for every import that the map does not allow, and for every circle."""
    graph = {}
    for name, text in texts.items():
        targets = {both if (both := f"{base}.{leaf}".strip(".")) in texts else base for base, leaf in imported(text)}
        graph[name] = targets & texts.keys() - {name}
    problems = []
    for name, others in sorted(graph.items()):
        room = name.split(".")[0]
        if room not in rooms.keys() | DOORS:
            problems.append(f"{name} is in no room of the map")
        for other in sorted(others if room in rooms else ()):
            target = other.split(".")[0]
            if target != room and target not in rooms[room] and not (room == "cli" and target != "api"):
                problems.append(f"{name} imports {other}")
    return problems + [f"a circle: {' -> '.join(circle)}" for circle in circles(graph)]


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Return groups of modules that import each other; what imports nothing left is taken away first."""
    left = {name: set(imported) for name, imported in graph.items()}
    while free := [name for name, imported in left.items() if not imported & left.keys()]:
        for name in free:
            del left[name]
    while bound := [name for name in left if not any(name in imported for imported in left.values())]:
        for name in bound:
            del left[name]
    return [sorted(left)] if left else []


@pytest.fixture(scope="module")
def rooms() -> dict[str, set[str]]:
    return read_map((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))


def test_the_map_holds(rooms):
    assert violations(sources(ROOT / "vhbench"), rooms) == []


def test_no_early_room_may_import_a_late_one(rooms):
    assert all(not rooms[room] & LATE for room in EARLY)


def test_every_room_is_on_the_map_and_every_room_of_the_map_is_there(rooms):
    package = ROOT / "vhbench"
    there = {path.stem for path in package.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert there - DOORS == rooms.keys()


def test_few_files_lie_at_the_root():
    assert len([path for path in (ROOT / "vhbench").iterdir() if path.is_file()]) <= FILES_AT_THE_ROOT


@pytest.mark.parametrize(
    ("name", "line", "problem"),
    [
        ("scoring.counts", "from vhbench.runs.store import Store", "scoring.counts imports runs.store"),
        ("system.files", "def f():\n    import vhbench.cli.run", "system.files imports cli.run"),
        ("features.cache", "from vhbench.grid import plan", "features.cache imports grid.plan"),
        ("method", "from vhbench.training import NeuralMethod", "a circle"),
        ("runs.record", "if TYPE_CHECKING:\n    from vhbench.runs.store import Store", "a circle"),
        ("newroom.thing", "", "newroom.thing is in no room of the map"),
    ],
)
def test_a_planted_violation_is_found(rooms, name, line, problem):
    texts = sources(ROOT / "vhbench")
    before = violations(texts, rooms)
    texts[name] = f"{texts.get(name, '')}\n{line}\n"
    found = [text for text in violations(texts, rooms) if text not in before]
    assert found and problem in found[0]
