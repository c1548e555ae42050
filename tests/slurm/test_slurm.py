"""`--launcher slurm` with real daemons: arrays, resources, preemption, time limits, crashes, Ctrl-C, and shards."""

import contextlib
import io
import json
import re
import signal
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from vhbench import run
from vhbench.cli import main
from vhbench.runs.store import Store

pytestmark = pytest.mark.xdist_group("slurm")  # one SLURM for all of them

PLUGINS = Path(__file__).parent.parent / "cli" / "plugins"
SMALL_NET, CRASHING = PLUGINS / "small_net.py", PLUGINS / "crashing.py"
EPOCHS = 8
SLURM = ("--launcher", "slurm", "--device", "cpu")


def command(*words):
    """Run a command in this process; returns its exit code and what it printed for people."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()), pytest.raises(SystemExit) as end:
        main([str(word) for word in words])
    return end.value.code, said.getvalue()


def records(out):
    found, problems = Store(out).records()
    assert problems == []
    return {(r.spec["method"], r.spec["protocol"], r.spec["bits"], r.spec["seed"]): r for r in found}


def epochs(out):
    return [json.loads(line)["epoch"] for log in out.rglob("train.jsonl") for line in log.read_text().splitlines()]


def logs(out):
    return "".join(path.read_text() for path in (out / "slurm").glob("*_log.out"))


def script(out, job):
    return (out / "slurm" / f"{job}_submission.sh").read_text()


@pytest.fixture
def words(tiny, out):
    """A run of a second an epoch; its checkpoints would come every 30 s."""
    return [
        "run", "--method", "small-net", "--protocol", tiny, "--bits", "8", *SLURM, "--plugin", SMALL_NET,
        "--set", "small-net.pause=0.3", "--epochs", EPOCHS, "--out", out,
    ]  # fmt: skip


# the everyday path


@pytest.fixture(scope="module")
def waited(daemons, tiny, fake_methods, tmp_path_factory):
    """A job array of a method that works and one whose process crashes, waited for; exit code, words, records, jobs."""
    out = tmp_path_factory.mktemp("waited")
    plugins = ["--plugin", CRASHING, "--plugin", fake_methods]
    words = ["run", "--method", "segfault,fake", "--protocol", tiny, "--bits", 8, *SLURM, *plugins, "--out", out]
    code, said = command(*words, "--wait", "--cpus-per-run", "1", "--memory-limit", "500")
    return code, said, {method: record for (method, *_), record in records(out).items()}, out


def test_runs_are_tasks_of_a_job_array_and_waited_for(waited):
    code, said, found, _ = waited
    assert re.search(r"submitted as job \d+: 2 runs of (segfault|fake), \w+; each gets 1 CPU, 500 MB, 240 min\.", said)
    assert found["fake"].status == "done" and "map@20 0." in said
    assert code == 1


def test_a_crash_costs_its_own_run_only(waited):
    _, _, found, _ = waited
    assert found["segfault"].data["reason"] == "Its process crashed: Segmentation fault (SIGSEGV)."
    assert (found["segfault"].folder / "traceback.txt").read_text().startswith("the last words\n")


def test_nothing_is_left_of_ended_jobs_but_results(waited, cluster, vhbench):
    *_, out = waited
    cluster.wait_for(lambda: not cluster.jobs())
    assert (out / "slurm").is_dir()
    vhbench("status", "--tidy", "--out", out)
    assert {path.name for path in out.iterdir()} == {"grids", "tiny"}
    assert [path for path in out.rglob("*") if path.name.startswith(".")] == []


# a grid on its way


@pytest.mark.slow
def test_each_method_gets_its_own_resources(cluster, tiny, fake_methods, out, tmp_path):
    file = tmp_path / "resources.toml"
    file.write_text(
        '[default]\ncpus = 1\ntime = "30m"\n[talks]\npartition = "short"\ntime = 300\nmemory = "1G"\n'
        'extra = {comment = "loud", nice = 5}\n'
    )
    words = ["run", "--method", "fake,talks", "--protocol", tiny, "--bits", "8,16", *SLURM, "--out", out]
    plugins = ["--plugin", CRASHING, "--plugin", fake_methods]
    code, said = command(*words, *plugins, "--resources", file, "--wait", "--array-parallelism", 1)
    assert code == 0, said
    jobs = dict(re.findall(r"submitted as job (\d+): 2 runs of (\w+);", said))
    by_method = {method: script(out, job) for job, method in jobs.items()}
    assert "--partition" not in by_method["fake"] and "--time=30\n" in by_method["fake"]
    for flag in ("--partition=short", "--time=5", "--mem=976562K", "--comment=loud", "--nice=5", "--array=0-1%1"):
        assert f"#SBATCH {flag}\n" in by_method["talks"]
    assert {record.status for record in records(out).values()} == {"done"} and len(records(out)) == 4


@pytest.mark.slow
def test_a_preempted_run_continues_from_its_checkpoint_to_the_same_codes(cluster, words, out, tiny, tmp_path):
    assert command(*words)[0] == 0
    cluster.wait_for(lambda: len(epochs(out)) >= 2)
    (job,) = cluster.jobs()
    cluster.ask("sbatch", "--partition=urgent", "--exclusive", "--output=/dev/null", "--wrap=true")
    cluster.wait_for(lambda: "Requeued job" in logs(out))
    (log,) = out.rglob("train.jsonl")
    kept = log.read_text()
    assert list(out.rglob("state.pt")) and kept.count("\n") < EPOCHS, "it ended after the epoch that it was in"
    cluster.wait_for(lambda: len(epochs(out)) > kept.count("\n"))
    cluster.ask("scontrol", "requeue", job)  # as SLURM does where it gives no warning
    cluster.wait_for(lambda: not cluster.jobs())
    assert logs(out).count("Starting with") == 3
    assert log.read_text().startswith(kept), "no epoch was trained again: their times are the same"
    made = tmp_path / "undisturbed"
    run("small-net", tiny, 8, plugins=[SMALL_NET], epochs=EPOCHS, device="cpu", out=made)
    (record,), (other,) = records(out).values(), records(made).values()
    assert record.status == "done" and record.scores == other.scores
    codes, wanted = np.load(record.folder / "codes.npz"), np.load(other.folder / "codes.npz")
    assert set(codes) == set(wanted) and all(np.array_equal(codes[name], wanted[name]) for name in codes)
    assert epochs(out) == list(range(1, EPOCHS + 1))


@pytest.mark.slow
def test_a_run_out_of_time_continues_in_another_turn_unless_it_gets_nowhere(cluster, words, out, tiny):
    limits = ("--time-limit", "2m", "--checkpoint-every", "1000")
    _, said = command(*words, "--set", "small-net.pause=3", "--epochs", "10", *limits)
    assert "each gets 2 min" in said
    stuck = ["run", "--method", "sleeps", "--protocol", tiny, "--bits", 8, *SLURM, "--plugin", CRASHING, "--out", out]
    code, said = command(*stuck, *limits, "--wait")
    assert code == 1
    assert "failed: It took more than --time-limit, 120 s, and wrote no checkpoint to go on from." in said
    cluster.wait_for(lambda: not cluster.jobs(), 400)
    (record,) = (record for record in records(out).values() if record.spec["method"] == "small-net")
    assert record.status == "done" and epochs(out) == list(range(1, 11))
    assert "this job is timed-out" in logs(out) and logs(out).count("Starting with") == 3


@pytest.mark.slow
def test_what_is_queued_is_not_submitted_again(cluster, words, out, vhbench):
    cluster.ask("scontrol", "update", "PartitionName=main", "State=DOWN")  # jobs wait
    try:
        code, said = command(*words)
        assert code == 0 and "submitted as job" in said
        jobs = cluster.jobs()
        assert "waiting" in vhbench("status", "--out", out).out
        code, said = command(*words, "--seeds", "0,1")
        assert "1 run is in SLURM's queue already." in said and "submitted as job" in said
        assert len(cluster.jobs()) == len(jobs) + 1
        vhbench("status", "--tidy", "--out", out)
        assert list((out / "slurm").glob("*_submitted.pkl")), "files of jobs that wait stay"
    finally:
        cluster.ask("scontrol", "update", "PartitionName=main", "State=UP")
    cluster.wait_for(lambda: not cluster.jobs())
    assert vhbench("status", "--out", out).out.split() == ["protocol", "method", "done", "tiny", "small-net", "2"]
    assert logs(out).count("Starting with") == 2


@pytest.mark.slow
def test_ctrl_c_while_waiting_leaves_the_jobs(cluster, words, out, start):
    child = start(*words, "--wait")
    child.wait_for(lambda: len(epochs(out)) >= 1)
    assert child.signal(signal.SIGINT) == 130
    (job,) = cluster.jobs()
    assert f"Ctrl-C: the jobs stay in SLURM's queue; scancel {job} ends them." in child.printed
    cluster.wait_for(lambda: not cluster.jobs())
    assert [record.status for record in records(out).values()] == ["done"]


@pytest.mark.slow
def test_a_job_that_ends_without_a_record_is_said(cluster, words, out, start):
    child = start(*words, "--wait")
    child.wait_for(lambda: len(epochs(out)) >= 1)
    cluster.cancel_all()
    assert child.end() == 1
    assert "its job ended before the run was recorded; see" in child.printed
    assert "Error: 1 of 1 run ended without a record" in child.printed
    assert records(out) == {}


@pytest.mark.slow
def test_a_run_waits_for_the_one_that_it_is_measured_against(cluster, out):
    protocols = "demo-to-demo-shift,demo-shift"
    code, said = command("run", "--method", "lsh", "--protocol", protocols, "--bits", 8, *SLURM, "--wait", "--out", out)
    assert code == 0, said
    first, second = re.findall(r"submitted as job (\d+)", said)
    assert f"#SBATCH --dependency=afterany:{first}\n" in script(out, second)
    (crossed,) = (record for key, record in records(out).items() if key[1] == "demo-to-demo-shift")
    assert any("in_domain" in name or "in-domain" in name for name in [*crossed.data, *crossed.scores])


def test_what_slurm_refuses_is_said(cluster, run_tiny, out):
    found = run_tiny("fake", *SLURM, "--partition", "nowhere")
    assert found.code == 2
    assert found.err.strip().splitlines()[-1] == (
        "Error: SLURM refuses 1 run of fake with 240 min, partition nowhere: Batch job submission failed: Invalid "
        "partition name specified."
    )
    assert not (out / "slurm").exists()


# a study


def study(out):
    """Return a study's trials, its losses by setting, and what it chose."""
    (folder,) = (out / "tune").iterdir()
    found = [record.data for record in Store(folder).records()[0]]
    losses = {tuple(sorted(record["spec"]["params"].items())): record["held_out"]["loss"] for record in found}
    chosen = tomllib.loads((folder / "chosen.toml").read_text())
    return json.loads((folder / "study" / "trials.json").read_text())["trials"], losses, chosen


@pytest.mark.slow
def test_a_study_killed_twice_ends_with_the_trials_of_one_undisturbed(cluster, tiny, out, start, tmp_path):
    space = tmp_path / "space.toml"
    space.write_text("lr = { low = 1e-4, high = 1e-1, log = true }\nbatch_size = [8, 16]\n")
    question = ["--method", "judged", "--protocol", tiny, "--space", space, "--bits", 8, "--held-out", 0.2]
    words = ["tune", *question, "--trials", 13, "--batch", 11, "--plugin", PLUGINS / "judged.py", "--device", "cpu"]
    on_cluster = [*words, "--launcher", "slurm", "--out", out]
    child = start(*on_cluster, "--wait")
    child.wait_for(lambda: len(list(out.rglob("run.json"))) >= 2)
    assert child.signal(signal.SIGKILL) == -signal.SIGKILL
    code, said = command(*on_cluster)
    assert code == 0 and "in SLURM's queue already." in said and "submitted" not in said
    assert re.search(r"\d of the 11 trials so far are not recorded yet \(the study has 13\)", said)
    cluster.cancel_all()
    assert len(list(out.rglob("run.json"))) < 11, "jobs were cancelled before they began"
    code, said = command(*on_cluster, "--wait")
    assert code == 0 and len(re.findall("submitted as job", said)) == 2, said
    assert command(*words, "--out", tmp_path / "here")[0] == 0
    found, wanted = study(out), study(tmp_path / "here")
    assert found == wanted and len(found[0]) == len(found[1]) == 13


# shards


@pytest.mark.slow
def test_shards_counted_by_an_array_are_the_single_pass_to_the_last_bit(
    cluster, run_tiny, vhbench, tiny, out, tmp_path
):
    assert run_tiny("fake").code == 0
    (record,) = records(out).values()
    exported = vhbench("export", record.folder, "-o", tmp_path / "codes", "--protocol", tiny, "--out", out)
    assert exported.code == 0, exported.err
    (codes,) = {path.parent for path in (tmp_path / "codes").rglob("database.npy")}
    program = f"{sys.executable} -m vhbench"
    shards = f"{program} score {codes} --shard $SLURM_ARRAY_TASK_ID/4 -o {tmp_path / 'counts'}"
    cluster.ask("sbatch", "--array=1-4", "--output", tmp_path / "log-%a", "--wrap", shards)
    cluster.wait_for(lambda: not cluster.jobs())
    vhbench("score", codes, "-o", tmp_path / "once")
    merged, single = (vhbench("score", "--merge", tmp_path / name, "--format", "json") for name in ("counts", "once"))
    found, wanted = json.loads(merged.out), json.loads(single.out)
    assert (found.pop("shards"), wanted.pop("shards")) == (4, 1)
    assert found == wanted and wanted["scores"]
