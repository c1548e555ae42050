"""What only a process of its own shows: what is imported, pipes, closed streams and odd locales."""

import shutil
import subprocess
import sys

import pytest

HEAVY = ("torch", "numba", "pandas", "matplotlib", "sklearn", "scipy.stats", "av", "onnxruntime", "optuna")
# run a command, then print the heavy modules it has imported
PROBE = f"""
import atexit, sys
atexit.register(lambda: print("LOADED", *[name for name in {HEAVY} if name in sys.modules], file=sys.stderr))
from vhbench.cli import main
main(sys.argv[1:])
"""


@pytest.fixture
def probe(vhbench_process):
    """Run a command; returns its result and the heavy modules it imported. benchmarks/startup.py measures the time."""

    def run(*arguments):
        result = vhbench_process(*arguments, python=("-c", PROBE))
        [loaded] = [line.split()[1:] for line in result.err.splitlines() if line.startswith("LOADED")]
        return result, loaded

    return run


@pytest.mark.parametrize(
    "command", ["--help", "--version", "run --help", "list methods", "list protocols", "describe fcvid"]
)
def test_looking_around_imports_nothing_heavy(probe, command):
    result, loaded = probe(*command.split())
    assert (result.code, loaded) == (0, [])


def test_looking_at_results_imports_nothing_heavy(probe, out, write_run):
    for seed in (0, 1):
        write_run(seed=seed)
    for command in ("compare", "status"):
        result, loaded = probe(command, "--out", out)
        assert (result.code, loaded) == (0, []) and "itq" in result.out


def test_a_finished_grid_imports_nothing_heavy(vhbench, probe, tiny, out):
    words = ["run", "--method", "itq,uvvh", "--protocol", tiny, "--bits", "8,16", "--out", out, "--budget", "smoke"]
    words += ["--set", "uvvh.intermediate=16"]
    assert vhbench(*words).code == 0
    result, loaded = probe(*words)
    assert "Nothing to do" in result.err and "uvvh" in result.out
    assert loaded == []


def test_importing_the_package_loads_nothing_heavy(vhbench_process):
    code = f"import sys, vhbench, vhbench.testing; sys.exit(bool(set({HEAVY}) & set(sys.modules)))"
    assert vhbench_process(python=("-c", code)).code == 0


def shell(script, child_environment, tmp_path, **environment):
    """Run a line of bash in which `vhbench` is the command."""
    line = f'vhbench() {{ "{sys.executable}" -m vhbench "$@"; }}; {script}'
    env = {**child_environment, **environment}
    return subprocess.run(["bash", "-c", line], cwd=tmp_path, env=env, capture_output=True, timeout=300, check=False)


def test_output_may_be_cut_off_by_a_pipe(child_environment, tmp_path):
    done = shell("vhbench list methods | true; vhbench list methods | head -1", child_environment, tmp_path)
    assert done.stdout.startswith(b"method ") and done.stderr == b""


def test_runs_go_on_when_nobody_reads_their_messages(child_environment, tmp_path, tiny, out, fake_methods):
    words = f"--method fake --protocol {tiny} --bits 8 --seeds 0,1,2 --out {out} --plugin {fake_methods}"
    shell(f"vhbench run {words} 2>&1 | true", child_environment, tmp_path)
    assert len(list(out.glob("tiny/fake/*/codes.npz"))) == 3


def test_standard_streams_may_be_closed(child_environment, tmp_path, out, write_run):
    write_run()
    for streams in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
        done = shell(f"vhbench compare --out {out} {streams}", child_environment, tmp_path)
        assert done.returncode == 0 and b"Traceback" not in done.stderr


@pytest.mark.parametrize("streams", ["2>&-", "2> /dev/full", "<&- >&- 2>&-"])
def test_runs_are_done_where_their_messages_cannot_be(child_environment, tmp_path, tiny, out, fake_methods, streams):
    words = f"--method fake --protocol {tiny} --bits 8 --out {out} --plugin {fake_methods} --launcher local"
    done = shell(f"vhbench run {words} {streams}", child_environment, tmp_path)
    assert (done.returncode, done.stderr) == (0, b"") and len(list(out.glob("tiny/fake/*/run.json"))) == 1
    assert (b"fake" in done.stdout) == (">&-" not in streams.split()), "the table is what standard output is for"


def test_output_onto_a_full_disk_is_one_sentence(child_environment, tmp_path, out, write_run):
    write_run()
    done = shell(f"vhbench compare --out {out} > /dev/full", child_environment, tmp_path)
    assert (done.returncode, done.stderr) == (1, b"Error: The disk is full: the output could not be written.\n")


@pytest.mark.parametrize(
    "locale",
    [{"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, {"PYTHONIOENCODING": "iso8859-7"}],
    ids=str,
)
def test_any_locale_can_show_a_table_and_an_error(vhbench_process, tmp_path, write_run, out, locale):
    write_run(seed=0, value=0.1)
    write_run(seed=1, value=0.3)
    folder = tmp_path / "résultats"
    shutil.move(out, folder)
    result = vhbench_process("compare", "--out", folder, **locale)
    assert result.code == 0 and "0.200" in result.out and "0.141" in result.out
    wrong = vhbench_process("describe", "…", **locale)
    assert wrong.code == 2 and "Traceback" not in wrong.err


def test_a_file_name_that_is_no_text_can_be_printed(child_environment, tmp_path, out, write_run):
    write_run()
    shutil.move(out, tmp_path / "\udcff")
    done = shell("vhbench list runs --out $'\\xff'; vhbench compare --out $'\\xff'", child_environment, tmp_path)
    assert done.returncode == 0 and b"Traceback" not in done.stderr and done.stdout.count(b"itq") == 3
