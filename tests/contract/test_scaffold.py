"""`vhbench new method`: what it writes installs, passes its checks, and its mistakes are one sentence."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import vhbench as package
from vhbench.errors import UsageError, VhbenchError
from vhbench.scaffold import write_method_package
from vhbench.testing import RULES, parametrize_with_checks

CHECKOUT = Path(package.__file__).parent.parent
FILES = {
    "pyproject.toml",
    "README.md",
    "src/vhbench_my_hash/__init__.py",
    "src/vhbench_my_hash/method.py",
    "tests/test_contract.py",
}


def python(*arguments: object, cwd: Path, path: list[Path]) -> subprocess.CompletedProcess[str]:
    """Run Python in a process of its own."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path)), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)


def test_command_writes_the_package(vhbench, tmp_path):
    code, out, err = vhbench("new", "method", "my-hash", "--into", tmp_path)
    folder = tmp_path / "my-hash"
    assert (code, out) == (0, f"{folder}\n")
    assert "pip install -e" in err and "vhbench check my-hash" in err
    assert {str(f.relative_to(folder)) for f in folder.rglob("*") if f.is_file()} == FILES
    assert not [f for f in folder.rglob("*") if f.is_file() and "$" in f.read_text()]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("itq", "There is a method 'itq' already"),
        ("uvvh-1", "There is a method 'uvvh-1' already"),
        ("class", "a word of the Python language"),
        ("none", "a word of the Python language"),
        ("2nd-hash", "a letter first"),
        ("my_hash", "single hyphens"),
        ("my--hash", "single hyphens"),
        ("../hash", "single hyphens"),
        ("", "single hyphens"),
    ],
)
def test_name_that_cannot_be_used(vhbench, tmp_path, name, message):
    code, out, err = vhbench("new", "method", name, "--into", tmp_path)
    assert (code, out) == (2, "") and message in err and err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_folder_that_exists(tmp_path):
    (tmp_path / "my-hash").mkdir()
    with pytest.raises(UsageError, match=r"my-hash exists already: .* --into"):
        write_method_package("my-hash", tmp_path)


def test_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(VhbenchError, match="Cannot write"):
        write_method_package("my-hash", tmp_path / "file")


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    return write_method_package("my-hash", tmp_path_factory.mktemp("scaffold"))


def test_installs_and_passes_the_check_unchanged(project, tmp_path):
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--disable-pip-version-check"]
    installed = python("-m", "pip", "install", *options, "--target", tmp_path, project, cwd=tmp_path, path=[])
    assert installed.returncode == 0, installed.stderr
    checked = python("-m", "vhbench", "check", "my-hash", cwd=tmp_path, path=[CHECKOUT, tmp_path])
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"my-hash: all {len(RULES)} rules are kept" in checked.stdout
    assert "vhbench-my-hash 0.1.0" in checked.stderr


def test_its_own_tests_pass(project):
    tested = python("-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=project, path=[CHECKOUT])
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert f"{len(RULES)} passed" in tested.stdout


def test_odd_names_make_working_code(tmp_path):
    """Names whose class hides what the file imports."""
    sys.path[:0] = (places := [str(tmp_path / name / "src") for name in ("method", "Video-set2")])
    try:
        for name, module, cls in (
            ("method", "vhbench_method", "Method"),
            ("Video-set2", "vhbench_video_set2", "VideoSet2"),
        ):
            write_method_package(name, tmp_path)
            made = getattr(__import__(module), cls)
            assert made.name == name and len(parametrize_with_checks([made]).mark.args[1]) == len(RULES)
    finally:
        for place in places:
            sys.path.remove(place)
