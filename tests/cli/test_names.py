"""Names of every kind: not UTF-8, too long, with commas and tildes; and what a notebook has set before it calls."""

import json
import logging
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import vhbench as library
from vhbench.runs.store import Store
from vhbench.testing import make_protocol

SMALL_NET = Path(__file__).parent / "plugins" / "small_net.py"
LATIN_1 = os.fsdecode(b"gr\xf6\xdfe")
HALF = "\ud83d"  # of a pair, as JSON can write it


@pytest.fixture
def latin(tmp_path, fake_methods):
    """A folder whose name is not UTF-8, with a manifest, its data and a plugin in it."""
    folder = tmp_path / LATIN_1
    plugin = folder / "plugin.py"
    manifest = make_protocol(folder)
    shutil.copy(fake_methods, plugin)
    return manifest, plugin, folder / "results"


@pytest.fixture
def unlogged():
    """Log nothing: pytest's workers cannot send each other a captured name that is not UTF-8."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.usefixtures("unlogged")
def test_names_that_are_not_utf_8_are_names_like_any(vhbench, latin, tmp_path):
    manifest, plugin, out = latin
    words = ("--method", "fake", "--bits", "8", "--out", out, "--protocol", manifest, "--plugin", plugin)
    assert vhbench("run", *words).code == 0
    (record,), problems = Store(out).records()
    assert problems == [] and record.data["method"]["origin"].endswith("gr[U+DCF6][U+DCDF]e/plugin.py")
    (grid,) = (out / "grids").iterdir()
    assert "Nothing to do" in vhbench("run", *words).err
    for command in (("compare",), ("compare", "--format", "csv"), ("status",), ("list", "runs"), ("rescore", "-h")):
        result = vhbench(*command, "--out", out) if "-h" not in command else vhbench(*command)
        assert result.code == 0
    assert vhbench("rescore", "--protocol", manifest, "--out", out).code == 0
    assert vhbench("export", record.folder, "-o", out / "exported", "--protocol", manifest).code == 0
    page = out / "page.html"
    assert vhbench("report", "-o", page, "--out", out, "--protocol", manifest).code == 0
    assert "gr[U+DCF6]" in page.read_text(encoding="utf-8")
    shutil.rmtree(record.folder)
    said = vhbench("status", "--out", out).out
    assert "$'" in said and r"gr\xf6\xdfe" in said, "a shell can take it from there"
    refused = vhbench("run", "--config", grid, "--out", out)
    assert refused.code == 2 and r"gr\xf6\xdfe" in refused.error
    assert vhbench("run", "--config", grid, "--out", out, *words[-4:]).code == 0


def test_half_a_character_in_a_text_breaks_no_record_page_or_grid(vhbench, run_tiny, out, write_run, tmp_path):
    params = {"iterations": 50, "word": HALF}
    write_run(params=params, changed={"word": HALF})
    write_run("lsh", status="failed", reason=f"a {HALF}")
    assert run_tiny("fake").code == 0
    for words in (("compare",), ("compare", "--format", "csv"), ("compare", "--format", "latex"), ("status",)):
        result = vhbench(*words, "--out", out)
        assert result.code == 0 and HALF not in result.out
    page = tmp_path / "page.html"
    assert vhbench("report", "-o", page, "--out", out).code == 0
    assert r'"word":"\ud83d"' in page.read_text(encoding="utf-8"), "as JSON writes it"
    figure = tmp_path / "map.svg"
    assert vhbench("compare", "--protocol", "toy", "--map", figure, "--out", out).code == 0
    assert "[word=[U+D83D]]" in figure.with_suffix(".csv").read_text(encoding="utf-8")


@pytest.mark.parametrize("folder", ["a,b", "a,b,c.toml", "b.toml,a"])
def test_the_path_of_a_manifest_may_have_commas(vhbench, tmp_path, out, folder):
    one, other = make_protocol(tmp_path / folder), make_protocol(tmp_path / "other", name="other")
    for names in (f"{one}", f"{one},{other}", f"{other},{one}"):
        result = vhbench("run", "--method", "itq", "--protocol", names, "--bits", "8", "--out", out, "--dry-run")
        planned = {line.split()[0] for line in result.out.splitlines()[2:] if " itq " in line}
        assert (result.code, planned) == (0, {"tiny", "other"} if str(other) in names else {"tiny"})
    file = tmp_path / "grid.toml"
    file.write_text(f'method = "itq"\nprotocol = ["{one}", "{other}"]\nbits = 8\n')
    assert vhbench("run", "--config", file, "--out", out, "--dry-run").code == 0


def test_a_tilde_is_the_home_folder_wherever_a_path_is_given(vhbench, tmp_path, monkeypatch, write_run):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    write_run()
    assert "itq" in vhbench("compare", "--out=~/results").out
    assert len(library.compare(out="~/results")) == 1
    make_protocol(tmp_path)
    names = "demo,~/tiny.toml"  # no shell reads the second tilde
    planned = vhbench("run", "--method", "itq", "--protocol", names, "--bits", "8", "--out=~/results", "--dry-run")
    assert planned.code == 0 and "tiny " in planned.out
    file = tmp_path / "grid.toml"
    file.write_text('method = "itq"\nprotocol = "~/tiny.toml"\nbits = 8\nout = "~/elsewhere"\nbudget = "smoke"\n')
    assert vhbench("run", "--config", "~/grid.toml").code == 0
    (record,) = Store(tmp_path / "elsewhere").records()[0]
    library.export(f"~/{record.folder.relative_to(tmp_path)}", "~/exported", out="~/elsewhere")
    assert (tmp_path / "exported" / "about.json").is_file()
    assert not (tmp_path / "~").exists()


LONG = "x" * 300


@pytest.mark.parametrize(
    "words",
    [
        ("describe", f"{LONG}.toml"),
        ("run", "--method", "itq", "--protocol", f"{LONG}.toml", "--bits", "8"),
        ("run", "--method", "lsh", "--protocol", "demo", "--bits", "8", "--out", LONG),
        ("run", "--method", "lsh", "--protocol", "demo", "--bits", "8", "--plugin", f"{LONG}.py"),
        ("run", "--config", f"{LONG}.json"),
        ("export", LONG, "-o", "exported"),
        ("list", "runs", "--out", LONG),
        ("status", "--out", LONG),
        ("status", "--tidy", "--out", LONG),
        ("forget", LONG),
        ("rescore", "--out", LONG),
        ("report", "--out", LONG),
        ("compare", "--out", LONG),
        ("compare", "--map", f"{LONG}.svg"),
        ("check", f"./{LONG}.py"),
        ("score", LONG),
        ("reproduce", "table3", "--published", LONG),
    ],
    ids=lambda words: " ".join(words).replace(LONG, "LONG"),
)
def test_a_name_that_is_too_long_is_a_sentence(vhbench, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = vhbench(*words)
    assert result.code in (0, 1, 2) and "Traceback" not in result.err
    assert result.code == 0 or result.err.strip().splitlines()[-1].startswith("Error: ")


def test_what_a_notebook_has_set_changes_no_run_and_stays(tiny, tmp_path, fake_methods):
    options = {"plugins": [SMALL_NET, fake_methods], "epochs": 2, "device": "cpu"}
    wanted = library.run(["small-net", "fake"], tiny, 8, out=tmp_path / "a", **options)
    before = np.seterr(all="raise")
    torch.set_default_dtype(torch.float64)
    torch.set_grad_enabled(False)
    try:
        with pd.option_context("display.precision", 1, "display.max_columns", 1):
            found = library.run(["small-net", "fake"], tiny, 8, out=tmp_path / "b", **options)
            library.compare(out=tmp_path / "b", ci=True, pr=tmp_path / "pr.svg", map_file=tmp_path / "map.svg")
            library.report(tmp_path / "page.html", out=tmp_path / "b")
        assert (torch.get_default_dtype(), torch.is_grad_enabled()) == (torch.float64, False)
        assert np.geterr()["divide"] == "raise"
    finally:
        np.seterr(**before)
        torch.set_default_dtype(torch.float32)
        torch.set_grad_enabled(True)
    assert list(found["status"]) == ["done", "done"]
    for one, other in zip(found["folder"], wanted["folder"], strict=True):
        scores = [json.loads((Path(folder) / "run.json").read_text())["scores"] for folder in (one, other)]
        assert scores[0] == scores[1]


def test_a_package_that_is_not_there_is_a_sentence(vhbench, write_run, out, tmp_path, monkeypatch):
    write_run()
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    refused = vhbench("compare", "--protocol", "toy", "--map", tmp_path / "map.svg", "--out", out)
    assert refused.code == 1 and "Traceback" not in refused.err
    error = refused.err.splitlines()[-1]
    assert error.startswith("Error: ") and "matplotlib" in error and "`pip install vhbench` brings it" in error
