"""Whatever stands in a file that vhbench reads: no traceback, no hang, no memory without bounds."""

import multiprocessing
import runpy
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("fuzz_files.py")


def fuzz(root, examples, seconds):
    """Try so many files of each kind in a process of its own, which a library may take down."""
    given = {"root": str(root), "examples": examples, "names": ()}
    child = multiprocessing.get_context("forkserver").Process(target=runpy.run_path, args=(str(SCRIPT), given))
    child.start()
    child.join(seconds)
    hangs = child.is_alive()
    child.kill()
    child.join()
    now = (root / "now").read_text()
    assert not hangs and now.startswith("ended after"), f"the process hung or crashed over {now}"
    assert (root / "faults").read_text() == ""
    return int(now.split()[2])


def test_a_few_damaged_files_of_every_kind(tmp_path):
    assert fuzz(tmp_path, 2, 300) >= 70


@pytest.mark.slow
def test_hundreds_of_damaged_files(tmp_path):
    assert fuzz(tmp_path, 16, 3000) >= 500
