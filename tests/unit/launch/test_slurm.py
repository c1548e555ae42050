"""The parts of the SLURM launcher that need no SLURM: resources, what is queued, and how it refuses."""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from pickletools import genops
from types import SimpleNamespace

import pytest

from vhbench import run
from vhbench.checkpoint import Checkpoint
from vhbench.errors import UsageError
from vhbench.grid.plan import Grid, plan
from vhbench.grid.runner import Work
from vhbench.grid.settings import Observer, Settings, Sources
from vhbench.launch import queue, slurm
from vhbench.launch.resources import Resources, read_resources, resources_of
from vhbench.launch.task import Task, warning
from vhbench.plugins.registry import Registry
from vhbench.runs.store import Store

SMALL_NET = Path(__file__).parents[2] / "cli" / "plugins" / "small_net.py"

# resources


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "resources.toml"
        path.write_text(text)
        return path

    return write


FILE = """
[default]
partition = "cpu"
time = "30m"
extra = {constraint = "new", exclusive = true}
[uvvh]
gpus = 1
memory = "16G"
partition = "gpu"
extra = {constraint = "a100"}
"""


def test_options_go_before_a_methods_table_and_that_before_the_default(write):
    tables = read_resources(write(FILE), ["uvvh", "itq"])
    extra = (("constraint", "new"), ("exclusive", True))
    assert resources_of("itq", tables, {}) == Resources(partition="cpu", time=1800, extra=extra)
    uvvh = resources_of("uvvh", tables, {"memory": 500.0})
    assert (uvvh.partition, uvvh.gpus, uvvh.memory, uvvh.time) == ("gpu", 1, 500.0, 1800)
    assert dict(uvvh.extra) == {"constraint": "a100", "exclusive": True}


def test_without_a_file_a_turn_is_four_hours_and_the_rest_the_clusters():
    assert str(resources_of("itq", {}, {})) == "240 min"


@pytest.mark.parametrize(
    ("value", "seconds"), [("90", 90), ("90s", 90), ("30m", 1800), ("2h", 7200), ("2d", 172800), ("3600", 3600)]
)
def test_a_time_is_in_seconds_or_has_its_unit(write, value, seconds):
    assert read_resources(write(f"[default]\ntime = {json.dumps(value)}"), []) == {"default": {"time": seconds}}


def test_minutes_are_rounded_up():
    assert [Resources(time=seconds).minutes for seconds in (1, 60, 61, 7200)] == [1, 1, 2, 120]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gpus = 1", r"gpus stands in no table: write it below \[default\] or below a method's name"),
        ("[uvh]\ngpus = 1", "Unknown method 'uvh': did you mean 'uvvh'.* It stands in the resources file"),
        ("[uvvh]\ngpu = 1", r"Unknown resource 'gpu': did you mean .*'gpus'.*\? It stands in \[uvvh\]"),
        ("[uvvh]\ngpus = -1", r"gpus in \[uvvh\] takes a whole number from 0 up, not -1\."),
        ("[uvvh]\ngpus = true", "takes a whole number from 0 up, not True"),
        ("[uvvh]\ncpus = 0", "takes a whole number from 1 up, not 0"),
        ("[uvvh]\nmemory = '16T'", "takes a number of MB above 0, or a text such as .16G., not '16T'"),
        ("[uvvh]\nmemory = -5", "takes a number of MB above 0"),
        ("[uvvh]\ntime = 'soon'", "takes a number of seconds above 0, or a text such as"),
        ("[uvvh]\ntime = 0", "takes a number of seconds above 0"),
        ("[uvvh]\ntime = nan", "takes a number of seconds above 0"),
        ("[uvvh]\npartition = 'a b'", "takes a name, not 'a b'"),
        ("[uvvh]\nextra = 'a100'", "takes a table of long options of sbatch"),
        ("[uvvh]\nextra = {array = '0-5'}", "none that vhbench sets itself"),
        ("[uvvh]\nextra = {comment = \"a\\nb\"}", "takes a table of long options of sbatch"),
        ("[uvvh]\nextra = {'no such' = 1}", "takes a table of long options of sbatch"),
        ("[uvvh", "is not TOML"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_file_is_named(write, text, message):
    with pytest.raises(UsageError, match=message):
        read_resources(write(text), ["uvvh", "itq"])


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"Cannot read the resources file .*nowhere\.toml: No such file"):
        read_resources(tmp_path / "nowhere.toml", [])


@pytest.mark.parametrize("option", [("--array-parallelism", "0"), ("--cpus-per-run", "0"), ("--gpus-per-run", "-1")])
def test_impossible_options_are_refused(run_tiny, option):
    found = run_tiny("fake", "--launcher", "slurm", *option)
    assert found.code == 2 and option[0] in found.error


def test_its_options_belong_to_it(run_tiny):
    found = run_tiny("fake", "--launcher", "local", "--partition", "gpu")
    assert found.code == 2 and "option of the launcher local 'partition'" in found.error


def test_they_may_stand_in_a_grid_file(vhbench, tiny, fake_methods, out, tmp_path):
    file = tmp_path / "grid.toml"
    file.write_text(
        f'method = "fake"\nprotocol = "{tiny}"\nbits = 8\nplugin = "{fake_methods}"\nlauncher = "slurm"\nwait = true\n'
        'partition = "gpu"\ntime-limit = "2h"\ngpus-per-run = 1\nresources = "nowhere.toml"\n'
    )
    found = vhbench("run", "--config", file, "--out", out)
    assert found.code == 2 and "Cannot read the resources file nowhere.toml" in found.err
    file.write_text(file.read_text().replace("wait = true", 'wait = "yes"'))
    assert "wait takes true or false." in vhbench("run", "--config", file, "--out", out).error


# without SLURM


def test_a_machine_without_slurm_is_told_what_to_do(run_tiny, monkeypatch, tmp_path, out):
    monkeypatch.setenv("PATH", str(tmp_path))
    found = run_tiny("fake", "--launcher", "slurm")
    assert found.code == 2
    assert found.err.strip().endswith(
        "Error: --launcher slurm needs SLURM, and there is no sbatch, no squeue, no srun on the PATH: run the command "
        "where jobs are submitted, or use --launcher local."
    )
    assert list(out.glob("*/*/*/run.json")) == []


def test_without_submitit_the_extra_is_named(run_tiny, monkeypatch):
    monkeypatch.setitem(sys.modules, "submitit", None)
    found = run_tiny("fake", "--launcher", "slurm")
    assert found.code == 2 and found.err.strip().endswith('pip install "vhbench[slurm]".')


# what is queued


@pytest.fixture
def squeue(tmp_path, monkeypatch):
    """Put a program in squeue's place that does what a shell line says."""

    def make(line):
        program = tmp_path / "bin" / "squeue"
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\n{line}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")

    return make


def test_runs_are_queued_as_long_as_slurm_has_their_jobs(squeue, out):
    queue.note(out, {"a": "17_0", "b": "17_1"})
    queue.note(out, {"c": "18"})
    (out / "slurm" / "19.json").write_text("{")
    squeue("printf '17_1\\n18\\n20\\n'")
    assert queue.queued(out) == {"b": "17_1", "c": "18"}


def test_a_slurm_that_does_not_answer_is_said(squeue, out):
    queue.note(out, {"a": "17"})
    squeue("echo 'squeue: error: Unable to contact slurm controller' >&2; exit 1")
    with pytest.raises(UsageError, match=r"^SLURM does not answer: Unable to contact slurm controller\.$"):
        queue.queued(out)


def test_tidy_removes_files_of_ended_jobs_only(squeue, out):
    for job in ("17", "18"):
        queue.note(out, {job: job})
        for name in (f"{job}_0_log.out", f"{job}_submission.sh", f"{job}_submitted.pkl"):
            (out / "slurm" / name).touch()
    (out / "slurm" / "mine.txt").touch()
    squeue("echo 18")
    removed = queue.tidy_notes(out)
    assert sorted(path.name for path in removed) == [
        "17.json", "17_0_log.out", "17_submission.sh", "17_submitted.pkl",
    ]  # fmt: skip
    assert (out / "slurm" / "18.json").exists() and (out / "slurm" / "mine.txt").exists()


def test_tidy_removes_nothing_where_slurm_does_not_answer(squeue, out):
    queue.note(out, {"a": "17"})
    squeue("exit 1")
    assert queue.tidy_notes(out) == [] and (out / "slurm" / "17.json").exists()


# what is submitted together


@pytest.fixture
def planned(tiny, out, fake_methods):
    """Plan runs of `fake` on the tiny protocol; returns the cells and the work."""

    def make(bits, device="cpu"):
        sources = Sources(None, [fake_methods])
        cells = plan(Grid(["fake"], [str(tiny)], bits), Registry(sources.plugins), Store(out), None)
        return cells, Work(Store(out), Settings(device), Observer(), sources)

    return make


@pytest.fixture
def submitted(monkeypatch):
    """Take the place of sbatch; returns what was submitted: the runs' lengths and protocols, and the jobs awaited."""
    found = []

    def submit(cells, work, wanted, awaited, parallelism):
        found.append(([(cell.spec.protocol, cell.spec.bits) for cell in cells], sorted(awaited)))
        return {cell.spec.id: f"{len(found)}_{number}" for number, cell in enumerate(cells)}

    monkeypatch.setattr(slurm, "_submit_array", submit)
    monkeypatch.setattr(queue, "living", set)
    return found


def test_an_array_is_no_larger_than_slurm_takes_and_the_longest_come_first(planned, submitted, monkeypatch):
    monkeypatch.setattr(slurm, "LARGEST", 2)
    cells, work = planned([8, 16, 32])
    slurm._submit(cells, work, {"fake": Resources()}, None)
    assert submitted == [([("tiny", 32), ("tiny", 16)], []), ([("tiny", 8)], [])]


def test_a_run_awaits_the_job_of_the_one_that_it_is_measured_against(planned, submitted):
    (short, long), work = planned([8, 16])
    split = replace(long.splits[0], in_domain=SimpleNamespace(protocol="tiny", version=1, splits=short.spec.splits))
    other = replace(long, spec=replace(short.spec, protocol="cross"), splits=[split])
    slurm._submit([other, short], work, {"fake": Resources()}, None)
    assert submitted == [([("tiny", 8)], []), ([("cross", 8)], ["1_0"])]
    del submitted[:]
    slurm._submit([other], work, {"fake": Resources()}, None)
    assert submitted == [([("cross", 8)], [])], "the other is not in the queue"


def test_a_run_with_a_gpu_computes_on_it_unless_told_otherwise(planned):
    for device, gpus, wanted in (("auto", 1, "cuda:0"), ("auto", None, "auto"), ("auto", 0, "auto"), ("cpu", 1, "cpu")):
        (cell,), work = planned([8], device)
        assert slurm._job(cell, work, Resources(gpus=gpus))["settings"]["device"] == wanted


# the job


def test_slurm_warns_a_job_before_its_end_and_leaves_it_most_of_its_time():
    assert [warning(limit) for limit in (60, 120, 360, 14400)] == [15, 30, 90, 90]


def test_a_run_that_is_to_end_does_so_after_its_epoch_with_a_checkpoint(tiny, out, monkeypatch):
    monkeypatch.setattr(Checkpoint, "stopping", True)
    with pytest.raises(KeyboardInterrupt):
        run("small-net", tiny, 8, plugins=[SMALL_NET], epochs=3, device="cpu", out=out)
    (log,) = out.rglob("train.jsonl")
    assert log.read_text().count("\n") == 1 and log.with_name("checkpoint").joinpath("state.pt").exists()
    assert not log.with_name(".lock").exists()


def test_what_submitit_pickles_names_a_class_and_plain_values():
    import cloudpickle
    from submitit.core.utils import DelayedSubmission

    job = {"id": "a", "bits": 8, "data": None, "plugins": ["p.py"], "budget": {"epochs": 1}}
    codes = list(genops(cloudpickle.dumps(DelayedSubmission(Task(), job, 60.0, None))))
    texts = [argument for code, argument, _ in codes if code.name == "SHORT_BINUNICODE"]
    assert [text for text in texts if text.startswith(("submitit", "vhbench"))] == [
        "submitit.core.utils", "vhbench.launch.task",
    ]  # fmt: skip
    assert sum(code.name in ("GLOBAL", "STACK_GLOBAL", "REDUCE", "INST") for code, *_ in codes) == 2
