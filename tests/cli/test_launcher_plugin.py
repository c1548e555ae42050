"""A launcher of another package: its own options on the command line, in a grid file and from Python."""

import inspect
import json
import subprocess
import sys
from dataclasses import fields

import pytest

import vhbench
from vhbench.cli.run import command
from vhbench.grid.plan import Grid
from vhbench.grid.request import Request
from vhbench.grid.settings import Settings

LAUNCHER = '''
"""A launcher that notes what it was told, then does the runs."""
from __future__ import annotations
import json
from collections.abc import Sequence
from pathlib import Path
from vhbench.plugins.launcher import Seconds

def launch(
    cells, work, *, note: Path | None = None, patience: Seconds = 60.0, hosts: Sequence[str] = (),
    ports: Sequence[int] = (), loud: bool = False, share=0.5
):
    """Do the runs here.

    Args:
        cells: the runs.
        work: how they are done.
        note: a file that gets what this launcher was told.
        patience: how long to wait for a host.
        hosts: where to run,
            separated by commas.
        loud: say more.
    """
    told = {"patience": patience, "hosts": list(hosts), "ports": list(ports), "loud": loud, "share": share}
    Path(note).write_text(json.dumps(told))
    for cell in cells:
        work(cell)

def broken(cells, work, *, seeds=1):
    """Do nothing."""
'''


@pytest.fixture
def package(tmp_path):
    """A folder that looks as if a distribution with launchers were installed there."""
    info = tmp_path / "site" / "launchers-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: launchers\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[vhbench.launchers]\nnoting = notes:launch\nclash = notes:broken\n")
    (tmp_path / "site" / "notes.py").write_text(LAUNCHER)
    return tmp_path / "site"


@pytest.fixture
def start(vhbench_process, child_environment, package):
    path = f"{child_environment['PYTHONPATH']}:{package}"
    return lambda *words: vhbench_process(*words, PYTHONPATH=path)


TOLD = {"patience": 120.0, "hosts": ["a", "b"], "ports": [1, 2], "loud": True, "share": 0.25}


def test_its_options_on_the_command_line(start, tiny, out, tmp_path):
    words = ["run", "--method", "lsh", "--protocol", tiny, "--bits", "8", "--out", out, "--launcher", "noting"]
    words += ["--note", tmp_path / "note", "--patience", "2m", "--hosts", "a,b", "--ports", "1,2", "--loud"]
    done = start(*words, "--share", "0.25")
    assert done.code == 0, done.err
    assert json.loads((tmp_path / "note").read_text()) == TOLD
    wrong = start(*words, "--share", "half")
    assert wrong.code == 2 and "--share" in wrong.err and "half" in wrong.err
    elsewhere = start(*[word if word != "noting" else "inline" for word in words])
    assert elsewhere.code == 2 and "option of the launcher inline" in elsewhere.err


def test_its_options_in_a_grid_file(start, tiny, out, tmp_path):
    grid = tmp_path / "grid.toml"
    grid.write_text(
        f'method = "lsh"\nprotocol = "{tiny}"\nbits = 8\nout = "{out}"\nlauncher = "noting"\n'
        f'note = "{tmp_path / "note"}"\n'
        'patience = "2m"\nhosts = ["a", "b"]\nports = [1, 2]\nloud = true\nshare = 0.25\n'
    )
    done = start("run", "--config", grid)
    assert done.code == 0, done.err
    assert json.loads((tmp_path / "note").read_text()) == TOLD


def test_its_options_from_python(child_environment, package, tiny, out, tmp_path):
    code = (
        "import sys, vhbench; _, tiny, out, note = sys.argv\n"
        "print(vhbench.run('lsh', tiny, 8, out=out, launcher='noting', note=note, patience=120.0, hosts=['a', 'b'], "
        "ports=[1, 2], loud=True, share=0.25).status[0])"
    )
    environment = {**child_environment, "PYTHONPATH": f"{child_environment['PYTHONPATH']}:{package}"}
    words = [sys.executable, "-c", code, tiny, out, tmp_path / "note"]
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    assert done.stdout == "done\n", done.stderr
    assert json.loads((tmp_path / "note").read_text()) == TOLD


def test_help_shows_them_with_their_meanings_beside_the_built_in_ones(start):
    text = " ".join(start("run", "--help").out.split())
    assert "--patience TIME noting: how long to wait for a host." in text
    assert "--hosts NAME,... noting: where to run, separated by commas." in text
    assert "--workers INTEGER local: runs at a time" in text
    assert "noting: how long to wait" in " ".join(start("reproduce", "--help").out.split())


def test_a_launcher_whose_option_every_run_has_is_broken(start, tiny, out):
    done = start("run", "--method", "lsh", "--protocol", tiny, "--bits", "8", "--out", out, "--launcher", "clash")
    assert done.code == 2 and "Launcher 'clash' cannot be used: its option 'seeds' is one of every run." in done.err


def test_the_command_line_and_python_know_every_field_of_a_request():
    own = {field.name for kind in (Grid, Settings, Request) for field in fields(kind)}
    own -= {"grid", "settings", "launcher_options", "sharing"}  # the last one is the local launcher's
    assert own - {param.name for param in command.params} == {"params"}  # --set
    names = {"methods": "method", "protocols": "protocol"}
    python = inspect.signature(vhbench.run).parameters.keys()
    assert {names.get(name, name) for name in own} - python == {"dry_run"}  # of the command line alone
