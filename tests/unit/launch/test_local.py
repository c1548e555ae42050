"""The parts of the local launcher: places, order, what is seen of a run, its lines, and jobs as data."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from vhbench.cli.progress import PlainProgress
from vhbench.errors import DataError, StoreError, UsageError
from vhbench.grid.order import Estimates
from vhbench.grid.plan import Grid, plan
from vhbench.grid.runner import Work
from vhbench.grid.settings import Observer, Settings, Sources
from vhbench.launch import connection, server, slots
from vhbench.launch.connection import Connection, LostError
from vhbench.launch.jobs import Job, do, job_of
from vhbench.launch.local import _Pool, launch
from vhbench.launch.slots import make_slots, share_of_threads
from vhbench.launch.watching import memory_of, reason_of
from vhbench.method import Epoch
from vhbench.plugins.launcher import LauncherEntry
from vhbench.plugins.registry import Registry
from vhbench.runs.store import Store
from vhbench.runs.train_log import last_epoch
from vhbench.testing.simulated_gpu import simulated_gpus

# places


@pytest.fixture
def machine(monkeypatch):
    """Pretend to be a machine with so many cores and GPUs."""

    def make(cores, gpus=()):
        monkeypatch.setattr(slots, "cores", lambda: cores)
        monkeypatch.setattr(slots, "visible_gpus", lambda: [str(name) for name in gpus])
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)

    return make


def places(*arguments):
    return [(slot.environment.get("CUDA_VISIBLE_DEVICES"), slot.device) for slot in make_slots(*arguments)]


def test_each_gpu_has_as_many_places_as_asked_and_a_run_sees_its_gpu_only(machine):
    machine(8, gpus=[0, 1])
    assert places("auto", None, (0, 1), 2) == [("0", "cuda:0"), ("1", "cuda:0")] * 2
    assert places("auto", None, (1,), 1) == [("1", "cuda:0")]
    assert places("auto", None, (), 1) == [("0", "cuda:0"), ("1", "cuda:0")], "all of them by default"


def test_workers_are_spread_over_all_gpus_and_know_how_many_share_theirs(machine):
    machine(8, gpus=[0, 1])
    assert places("auto", 3, (), 1) == [("0", "cuda:0"), ("1", "cuda:0"), ("0", "cuda:0")]
    assert [slot.sharing for slot in make_slots("auto", 3, (), 1)] == [2, 1, 2]
    assert [slot.sharing for slot in make_slots("auto", None, (0, 1), 3)] == [3] * 6
    assert [(slot.device, slot.sharing) for slot in make_slots("cuda:1", 2, (), 1)] == [(None, 2)] * 2
    assert places("cpu", 3, (), 1) == [(None, None)] * 3, "and over none where the user wants none"


@pytest.mark.parametrize(
    ("visible", "names"), [(None, ["0", "1"]), ("4,6", ["4", "6"]), ("MIG-a,MIG-b", ["MIG-a", "MIG-b"])]
)
def test_places_are_on_the_gpus_that_torch_finds(monkeypatch, visible, names):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)  # as SLURM sets it, too
    with simulated_gpus(2):
        assert [name for name, _ in places("auto", None, (), 1)] == names
        assert [name for name, _ in places("auto", None, (1,), 2)] == names[1:] * 2


def test_gpus_are_numbered_among_those_that_are_visible(machine, monkeypatch):
    visible = slots.visible_gpus
    machine(8)
    monkeypatch.setattr(slots, "visible_gpus", visible)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,GPU-1234")
    assert places("auto", None, (1,), 1) == [("GPU-1234", "cuda:0")]


def test_without_gpus_there_is_a_place_for_every_four_cores(machine):
    machine(16)
    assert places("auto", None, (), 1) == places("cpu", None, (), 1) == [(None, None)] * 4
    assert places("cpu", 3, (), 1) == [(None, None)] * 3
    machine(2)
    assert len(places("auto", None, (), 1)) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("auto", 2, (0,), 1), "--gpus and --workers exclude each other"),
        (("cpu", None, (0,), 1), "leave out --device cpu"),
        (("auto", None, (2,), 1), "--gpus 2: this machine has 1 CUDA devices"),
        (("cpu", 2, (), 2), "--per-gpu belongs to --gpus"),
        (("auto", 2, (), 2), "--per-gpu belongs to --gpus"),
    ],
)
def test_places_that_cannot_be_are_refused(machine, arguments, message):
    machine(4, gpus=[0])
    with pytest.raises(UsageError, match=message):
        make_slots(*arguments)


def test_threads_are_shared_out_and_the_users_own_limit_holds(machine, monkeypatch):
    machine(8)
    assert [share_of_threads(count) for count in (1, 3, 8, 20)] == [8, 2, 1, 1]
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert [share_of_threads(count) for count in (1, 4)] == [3, 2]


@pytest.mark.parametrize("options", [{"workers": 0}, {"memory_limit": 0}, {"time_limit": -1}, {"per_gpu": 0}])
def test_limits_of_nothing_are_refused(options):
    with pytest.raises(UsageError, match=r"--[a-z]+-?[a-z]+ must be"):
        launch([], SimpleNamespace(settings=Settings("cpu")), **options)


def test_an_option_that_a_launcher_does_not_take_is_refused():
    LauncherEntry.of("local", "built-in", launch).check({"workers": 2})
    with pytest.raises(UsageError, match=r"option of the launcher local 'worker': did you mean 'workers'"):
        LauncherEntry.of("local", "built-in", launch).check({"worker": 2})


# order


def timed(write_run, method, bits, epochs, fit_s):
    timing = {"fit_s": fit_s, "encode_s": 1.0, "score_s": 1.0}
    write_run(method, bits, budget={"epochs": epochs, "videos": None}, timing=timing)


def spec_of(method, bits, epochs=None):
    return SimpleNamespace(method=method, protocol="toy", bits=bits, budget={"epochs": epochs})


def test_estimates_come_from_the_nearest_length_scaled_to_the_epochs(write_run, out):
    timed(write_run, "uvvh", 16, 10, 20.0)
    timed(write_run, "uvvh", 64, 10, 80.0)
    timed(write_run, "itq", 16, None, 5.0)
    estimates = Estimates(Store(out).records()[0])
    assert estimates.seconds(spec_of("uvvh", 16, 40)) == 20.0 * 4 + 2
    assert estimates.seconds(spec_of("uvvh", 128, 10)) == 80.0 + 2
    assert estimates.seconds(spec_of("itq", 32)) == 7.0
    assert estimates.seconds(spec_of("lsh", 16)) is None


def test_the_longest_runs_come_first_and_unknown_ones_by_whether_they_train_in_epochs(write_run, out):
    timed(write_run, "itq", 16, None, 5.0)
    estimates = Estimates(Store(out).records()[0])
    specs = [spec_of("lsh", 128), spec_of("itq", 16), spec_of("uvvh", 16, 80), spec_of("uvvh", 64, 80)]
    ranked = sorted(specs, key=estimates.rank, reverse=True)
    assert [(spec.method, spec.bits) for spec in ranked] == [("uvvh", 64), ("uvvh", 16), ("itq", 16), ("lsh", 128)]


@pytest.fixture
def planned(tiny, out, fake_methods):
    """Plan fake runs on the tiny protocol; returns the cells and the work."""

    def make(methods=("fake",), bits=(8,), **options):
        sources = Sources(None, [fake_methods])
        cells = plan(Grid(methods, [str(tiny)], bits, **options), Registry(sources.plugins), Store(out), None)
        return cells, Work(Store(out), Settings("cpu"), Observer(), sources)

    return make


def test_a_run_waits_for_the_one_that_it_is_measured_against(planned, monkeypatch):
    monkeypatch.setattr("vhbench.launch.local.Connection", lambda threads: None)
    (short, long), work = planned(bits=[8, 16])
    split = replace(long.splits[0], in_domain=SimpleNamespace(protocol="tiny", version=1, splits=short.spec.splits))
    other = replace(long, spec=replace(short.spec, protocol="cross"), splits=[split])
    pool = _Pool([short, other], work, make_slots("cpu", 2, (), 1), None, None)
    pool._waiting = [other, short]
    assert pool._next() is short
    pool._waiting.remove(short)
    assert pool._next() is other, "it was not asked for, or is recorded"
    pool._running[short.spec.id] = None
    assert pool._next() is None


# what is seen of a run


def test_the_last_epoch_is_read_from_the_log(tmp_path):
    assert last_epoch(tmp_path, 9) is None
    (tmp_path / "train.jsonl").write_text(
        '{"epoch": 1, "loss": 3, "seconds": 2}\n{"epoch": 2, "loss": 1.5, "seconds": 4}\n'
    )
    assert last_epoch(tmp_path, 9) == Epoch(2, 9, 1.5, {}, 4.0)
    assert last_epoch(tmp_path, None) == Epoch(2, 0, 1.5, {}, 4.0)
    (tmp_path / "train.jsonl").write_text('{"epoch": 1')
    with pytest.raises(ValueError, match="is damaged"):
        last_epoch(tmp_path, 9)


def test_memory_counts_what_a_process_fills_and_not_what_it_maps(tmp_path):
    big = tmp_path / "big"
    big.write_bytes(bytes(80_000_000))
    code = (
        "import mmap, sys; f = open(sys.argv[1], 'rb'); m = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ); "
        "sum(m[::4096]); print('mapped', flush=True); input(); "
        "b = bytearray(60_000_000); print('filled', flush=True); input()"
    )
    words = [sys.executable, "-c", code, str(big)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as process:
        assert process.stdout.readline() == "mapped\n"
        before = memory_of(process.pid)
        process.stdin.write("\n")
        assert process.stdout.readline() == "filled\n"
        assert memory_of(process.pid) - before == pytest.approx(60, abs=5) and before < 40
        process.kill()
    assert memory_of(process.pid) == 0


@pytest.mark.parametrize(
    ("code", "printed", "reason"),
    [
        (-signal.SIGABRT, "", "Its process crashed: Aborted (SIGABRT)."),
        (-signal.SIGKILL, "", "Its process was killed (SIGKILL), as the system does when memory runs out."),
        (-63, "", "Its process crashed: "),
        (3, "a\nNameError: b\n", "Its process ended with exit code 3 before the run was recorded: NameError: b."),
    ],
)
def test_reasons(code, printed, reason):
    assert reason_of(code, printed).startswith(reason)


# the helper process


def next_reports(link):
    end = time.monotonic() + 120
    while not (found := link.reports(0.2)):
        assert time.monotonic() < end, "no report"
    return found


def test_a_helper_that_dies_is_started_anew_until_it_dies_at_once(monkeypatch):
    monkeypatch.setattr(connection.sys, "executable", "/bin/false")
    link = Connection(1)
    for _ in range(connection.STARTS - 1):
        with pytest.raises(LostError):
            next_reports(link)
        link.restart()
    with pytest.raises(LostError):
        next_reports(link)
    with pytest.raises(StoreError, match="died 3 times in a row"):
        link.restart()


def test_a_run_that_may_use_a_gpu_gets_a_fresh_interpreter(planned, monkeypatch):
    (cell,), work = planned()
    monkeypatch.setattr(server, "_has_gpu", lambda: True)
    monkeypatch.setattr(server, "die_with", lambda parent: None)
    monkeypatch.setattr(server.worker, "main", lambda text: pytest.fail("the forked process did the run"))
    requests, reports = os.pipe(), os.pipe()
    job = job_of(cell, work, "auto").to_json()
    os.write(requests[1], json.dumps({"start": "a", "job": job, "environment": {}}).encode() + b"\n")
    here = server.Server(requests[0], reports[1])
    thread = threading.Thread(target=here.serve)
    thread.start()
    with os.fdopen(reports[0]) as lines:
        started, ended = (json.loads(lines.readline()) for _ in range(2))
    os.close(requests[1])
    thread.join()
    assert started["key"] == "a" and ended["code"] == 0, ended
    assert work.store.read(cell.spec).status == "done"


# a run as data


def test_a_job_does_what_run_cell_does_from_json_alone(planned, out, monkeypatch, tmp_path):
    (cell,), work = planned(params={"fake": {"spread": "2"}})
    job = Job.from_json(json.loads(json.dumps(job_of(cell, work).to_json())))
    before = Path.cwd()
    monkeypatch.chdir(tmp_path)  # the job knows where it was made
    record = do(job, Observer())
    monkeypatch.chdir(before)
    assert record.data["id"] == cell.spec.id and record.spec["params"] == {"epochs": 2, "spread": 2.0}
    assert do(job, Observer()) is None, "recorded since"


def test_a_job_replaces_only_the_record_that_was_there_when_it_was_planned(planned):
    (cell,), work = planned()
    first = do(job_of(cell, work), Observer())
    (again,), _ = planned()
    job = job_of(again, work)
    second = do(job, Observer())
    assert second is not None and second.data != first.data
    assert do(job, Observer()) is None


def test_a_job_whose_data_have_changed_is_refused(planned, tmp_path):
    (cell,), work = planned()
    with pytest.raises(DataError, match="not what they were when the grid was planned"):
        other = {**cell.spec.to_json(), "splits": {"tiny": {"train": "0" * 64}}}
        do(replace(job_of(cell, work), spec=other), Observer())
    with pytest.raises(UsageError, match="not a job of this version"):
        Job.from_json({**job_of(cell, work).to_json(), "more": 1})


@pytest.mark.parametrize(
    "changes",
    [
        {"out": []}, {"out": "a\0b"}, {"folder": None}, {"method": 3}, {"plugins": "x"}, {"plugins": [1]}, {"spec": {}},
        {"spec": []}, {"settings": {"more": 1}}, {"settings": None}, {"recorded": 1}, {"allow_counts": "no"},
    ],
)  # fmt: skip
def test_a_job_of_another_form_is_refused(planned, changes):
    (cell,), work = planned()
    with pytest.raises(UsageError, match="not a job of this version"):
        Job.from_json({**job_of(cell, work).to_json(), **changes})


def test_a_job_in_a_folder_that_is_gone_is_refused(planned, tmp_path):
    (cell,), work = planned()
    with pytest.raises(StoreError, match=r"Cannot work in .*No such file"):
        do(replace(job_of(cell, work), folder=str(tmp_path / "gone")), Observer())


# lines


def test_lines_of_runs_at_work_together_say_whose_they_are(planned, capsys):
    (one, other), _ = planned(bits=[8, 16])
    plain = PlainProgress(2)
    plain.started(one)
    plain.epoch(one, Epoch(2, 2, 0.5, {}, 1.0))
    plain.started(other)
    plain.epoch(one, Epoch(2, 2, 0.5, {}, 1.0))
    plain.said("| printed", one)
    plain.finished(other, None)
    plain.said("of the grid")
    plain.epoch(other, Epoch(2, 2, 0.5, {}, 1.0))
    assert capsys.readouterr().err.splitlines() == [
        "[1/2] fake on tiny, 8 bits, seed 0",
        "    epoch 2/2, loss 0.5, about 0.0 s left",
        "[2/2] fake on tiny, 16 bits, seed 0",
        "[1/2] fake on tiny, 8 bits, seed 0: epoch 2/2, loss 0.5, about 0.0 s left",
        "    | printed",
        "[2/2] fake on tiny, 16 bits, seed 0: another process is doing this run",
        "of the grid",
        "[2/2] fake on tiny, 16 bits, seed 0: epoch 2/2, loss 0.5, about 0.0 s left",
    ]
