"""What a run's process tells its launcher: heard from the harness alone, whatever a method does to the process."""

import json
import os
import signal
import subprocess
import sys

import pytest

from vhbench.errors import StoreError, UsageError
from vhbench.launch import task
from vhbench.launch.outcome import ELSEWHERE, INTERRUPTED, RECORDED, STOPPED, VARIABLE, Listener, Outcome, Teller
from vhbench.launch.task import Task


@pytest.fixture
def listener():
    found = Listener()
    yield found
    found.close()


@pytest.mark.parametrize("kind", [RECORDED, ELSEWHERE, STOPPED, INTERRUPTED])
def test_what_is_told_is_heard(listener, kind):
    assert listener.hear() == Outcome()
    environment = dict(listener.environment)
    told = Outcome(kind, "The disk is full: größe \udcff.", 1)
    Teller(environment).tell(told)
    assert listener.hear() == told
    assert environment == {}, "what the process starts does not find it"


def test_what_stops_a_grid_is_the_error_that_it_was():
    assert isinstance(Outcome(STOPPED, "full", 1).error, StoreError)
    assert isinstance(Outcome(STOPPED, "wrong", 2).error, UsageError)
    assert str(Outcome(STOPPED, "full", 1).error) == "full"


@pytest.mark.parametrize(
    "content",
    [
        b"garbage", b"{}", b"[]", b'{"kind": "stopped", "message": "", "exit_code": 1}', b"\xff" * 100,
        b'{"word": "0", "kind": "stopped", "message": "", "exit_code": 1}', b"[" * 10000,
    ],
    ids=range(7),
)  # fmt: skip
def test_anything_else_in_the_file_says_nothing(listener, content):
    os.write(listener.descriptor, content)
    assert listener.hear() == Outcome()


def test_a_word_that_the_harness_does_not_know_says_nothing(listener):
    word = listener.environment[VARIABLE].split()[1]
    for value in ({"kind": "else"}, {"kind": "stopped", "more": 1}, {"kind": ["stopped"]}):
        os.pwrite(listener.descriptor, json.dumps({**value, "word": word}).encode(), 0)
        assert listener.hear() == Outcome()
        os.truncate(listener.descriptor, 0)


def test_a_file_that_was_opened_by_the_number_of_a_closed_one_is_left_alone(tmp_path):
    number = os.open(tmp_path / "ours", os.O_RDWR | os.O_CREAT)
    teller = Teller({VARIABLE: f"{number} word"})
    os.close(number)
    other = os.open(tmp_path / "the method's own", os.O_RDWR | os.O_CREAT)
    assert other == number
    teller.tell(Outcome(RECORDED))
    os.close(other)
    assert (tmp_path / "the method's own").read_bytes() == b""


def test_a_process_that_a_method_has_forked_says_nothing(listener):
    teller = Teller(dict(listener.environment))
    pid = os.fork()
    if pid == 0:
        teller.tell(Outcome(STOPPED, "not so", 1))
        os._exit(0)
    os.waitpid(pid, 0)
    assert listener.hear() == Outcome()


@pytest.mark.parametrize("value", [{}, {VARIABLE: ""}, {VARIABLE: "99 word"}, {VARIABLE: "x"}, {VARIABLE: "-1 word"}])
def test_where_nobody_listens_nothing_happens(value):
    Teller(value).tell(Outcome(RECORDED))


# a SLURM job's process


@pytest.fixture
def job(monkeypatch, tmp_path):
    """Do a job whose process does what these lines of Python do; returns what it came to, and what was recorded."""
    recorded = []
    monkeypatch.setattr(task, "_record_end", lambda job, reason, printed: recorded.append(reason))
    monkeypatch.setattr(task, "WORD", 0.3)
    monkeypatch.setattr(task, "STAY", 0.0)
    popen = subprocess.Popen
    job = {"folder": str(tmp_path), "out": "results", "run": "a/b/c"}

    def do(lines):
        first = "import os, signal, sys; sys.stdin.read(); from vhbench.launch.outcome import *; "
        start = lambda words, **options: popen([sys.executable, "-c", f"{first}{lines}"], **options)  # noqa: E731
        monkeypatch.setattr(subprocess, "Popen", start)
        before = signal.getsignal(signal.SIGTERM)
        try:
            return Task()(job, 3600.0, None), recorded
        finally:
            signal.signal(signal.SIGTERM, before)

    return do


@pytest.mark.parametrize("code", [63, 65, 66, 130, 255, 0])
def test_no_exit_code_of_a_slurm_job_keeps_its_run_from_being_recorded(job, code):
    found, recorded = job(f"os._exit({code})")
    assert found == "recorded" and recorded == [f"Its process ended with exit code {code} before the run was recorded."]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR2, signal.SIGSEGV])
def test_a_run_that_ends_itself_by_a_signal_is_no_end_of_the_slurm_job(job, number):
    found, recorded = job(f"os.kill(os.getpid(), {int(number)})")
    assert found == "recorded" and number.name in recorded[0]


def test_a_slurm_job_that_was_told_to_end_records_nothing(job):
    with pytest.raises(RuntimeError, match="The run was interrupted; its checkpoint stays"):
        job("os.kill(os.getppid(), signal.SIGTERM); os.kill(os.getpid(), signal.SIGTERM)")


def test_what_a_slurm_job_says_of_its_run_is_heard(job):
    assert job("Teller(os.environ).tell(Outcome(ELSEWHERE))") == ("another process does or has done this run", [])
    with pytest.raises(RuntimeError, match="The disk is full"):
        job("Teller(os.environ).tell(Outcome(STOPPED, 'The disk is full', 1)); sys.exit(0)")
