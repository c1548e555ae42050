"""The SLURM launcher: the runs become tasks of job arrays, submitted through submitit and left to the cluster."""

from __future__ import annotations

import contextlib
import io
import time
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from vhbench.errors import StoreError, UsageError
from vhbench.grid.cells import Cell, recorded_since
from vhbench.grid.order import longest_first, waits
from vhbench.grid.runner import Work
from vhbench.launch import queue
from vhbench.launch.jobs import job_of
from vhbench.launch.resources import Resources, checked, read_resources, resources_of
from vhbench.launch.task import Task, warning
from vhbench.launch.watching import RunProgress
from vhbench.plugins.launcher import Seconds
from vhbench.plugins.registry import Registry
from vhbench.system.text import shell

LARGEST = 1000  # tasks of an array: more than SLURM's own default limit allows are several arrays
TURNS = 1_000_000  # that submitit may put a run back into the queue: whether it gets any further is looked at instead
PAUSE, REST = 1.0, 4  # seconds between looks at the store, at least; looking takes at most a fifth of the time
ASK = 10.0  # seconds between questions to SLURM
LATE = 30.0  # seconds after which a record would be seen that a job has written before it ended


def launch(
    cells: Sequence[Cell],
    work: Work,
    *,
    resources: Path | str | None = None,
    partition: str | None = None,
    account: str | None = None,
    qos: str | None = None,
    gpus_per_run: int | None = None,
    cpus_per_run: int | None = None,
    memory_limit: float | None = None,
    time_limit: Seconds | None = None,
    array_parallelism: int | None = None,
    wait: bool = False,
) -> None:
    """Submit the cells, the longest first, and leave them to SLURM. A run that is in its queue already stays there.

    Runs of equal resources are one job array. A run that is preempted, or at the end of its time, goes back into the
    queue and continues from its checkpoint.

    Args:
        cells: the runs.
        work: how they are done.
        resources: a TOML file with a table [default] and one a method of partition, account, qos, gpus, cpus, memory,
            time and extra = {any option of sbatch}; the options below go before it.
        partition: where the runs go.
        account: who pays for them.
        qos: their quality of service.
        gpus_per_run: GPUs of each run; none by default.
        cpus_per_run: processor cores of each run.
        memory_limit: MB of host memory of each run.
        time_limit: how long a run's turn is, e.g. 30m or 2h, 4h by default; then it goes back into the queue and on
            from its checkpoint.
        array_parallelism: runs of a job array at a time; by default as many as the cluster lets run.
        wait: stay until the runs are recorded.

    Raises:
        UsageError: an impossible option, or jobs cannot be submitted here.
        StoreError: the store cannot be written, or a job has ended without a record.
        KeyboardInterrupt: Ctrl-C while waiting; the jobs stay.
    """
    given = {
        "partition": partition, "account": account, "qos": qos, "gpus": gpus_per_run, "cpus": cpus_per_run,
        "memory": memory_limit, "time": time_limit,
    }  # fmt: skip
    flags = {"gpus": "--gpus-per-run", "cpus": "--cpus-per-run", "memory": "--memory-limit", "time": "--time-limit"}
    asked = {key: checked(key, value, flags.get(key, f"--{key}")) for key, value in given.items() if value is not None}
    if array_parallelism is not None and array_parallelism < 1:
        raise UsageError(f"--array-parallelism must be at least 1, not {array_parallelism}.")
    methods = [entry.name for entry in Registry(work.sources.plugins).methods()] if resources else []
    tables = read_resources(resources, methods) if resources else {}
    by_method = {name: resources_of(name, tables, asked) for name in {cell.spec.method for cell in cells}}
    _check_submitit()
    queue.check_programs()
    with queue.submitting(work.store.root):
        jobs = _submit(cells, work, by_method, array_parallelism)
    arrays = sorted({queue.array_of(job) for job in jobs.values()}, key=int)
    out = work.store.root
    work.observer.said(
        f"vhbench status --watch --out {shell(out)} shows how they get on, squeue --job {','.join(arrays)} "
        f"what SLURM does with them; what they print is in {out / queue.FOLDER}."
    )
    if wait:
        _Watch(cells, work, jobs).run()


def _check_submitit() -> None:
    try:
        import submitit  # noqa: F401
    except ImportError as error:
        raise UsageError(
            f'--launcher slurm needs submitit, which cannot be imported ({error}): pip install "vhbench[slurm]".'
        ) from error


def _submit(
    cells: Sequence[Cell], work: Work, resources: Mapping[str, Resources], parallelism: int | None
) -> dict[str, str]:
    """Submit what SLURM does not have in its queue yet; return every cell's job by the run's id."""
    queued = queue.queued(work.store.root)
    jobs = {cell.spec.id: queued[cell.spec.id] for cell in cells if cell.spec.id in queued}
    if jobs:
        work.observer.said(f"{_runs(len(jobs))} {'is' if len(jobs) == 1 else 'are'} in SLURM's queue already.")
    new = [cell for cell in cells if cell.spec.id not in jobs]
    undone = {cell.spec.id for cell in new} | queued.keys()
    groups: dict[tuple[bool, Resources], list[Cell]] = defaultdict(list)
    for cell in longest_first(new, work.store):
        groups[waits(cell, undone), resources[cell.spec.method]].append(cell)
    for (after, wanted), group in sorted(groups.items(), key=lambda item: item[0][0]):
        for first in range(0, len(group), LARGEST):
            part = group[first : first + LARGEST]
            awaited = {(queued | jobs)[cell.measured_against or ""] for cell in part} if after else set()
            found = _submit_array(part, work, wanted, awaited, parallelism)
            queue.note(work.store.root, found)
            jobs |= found
            number = queue.array_of(next(iter(found.values())))
            work.observer.said(
                f"submitted as job {number}: {_runs(len(part))} of {_methods(part)}; each gets {wanted}."
            )
    return jobs


def _runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count} runs"


def _methods(cells: Sequence[Cell]) -> str:
    return ", ".join(dict.fromkeys(cell.spec.method for cell in cells))


def _submit_array(
    cells: Sequence[Cell], work: Work, wanted: Resources, awaited: Collection[str], parallelism: int | None
) -> dict[str, str]:
    """Submit runs of equal resources; return each one's job by the run's id.

    Args:
        cells: the runs.
        work: how they are done.
        wanted: what each gets.
        awaited: jobs that must have ended before.
        parallelism: tasks at a time.

    Raises:
        UsageError: sbatch refuses.
    """
    from submitit import SlurmExecutor
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    limit = wanted.minutes * 60.0
    executor = SlurmExecutor((work.store.root / queue.FOLDER).resolve(), max_num_timeout=TURNS)
    options: dict[str, Any] = {
        "partition": wanted.partition, "account": wanted.account, "qos": wanted.qos,
        "gpus_per_node": wanted.gpus or None, "cpus_per_task": wanted.cpus,
    }  # fmt: skip
    if wanted.memory is not None:
        options["mem"] = f"{wanted.memory * 1e6 / 1024:.0f}K"
    if awaited:
        options["dependency"] = "afterany:" + ":".join(sorted({queue.array_of(job) for job in awaited}, key=int))
    executor.update_parameters(
        **{name: value for name, value in options.items() if value is not None},
        job_name="vhbench",
        time=wanted.minutes,
        signal_delay_s=int(warning(limit)),
        array_parallelism=parallelism or len(cells),
        stderr_to_stdout=True,
        # srun no longer takes the number of cores over from sbatch
        srun_args=[] if wanted.cpus is None else [f"--cpus-per-task={wanted.cpus}"],
        additional_parameters={**dict(wanted.extra), "requeue": True},
    )
    tasks = [_job(cell, work, wanted) for cell in cells]
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # submitit prints what sbatch says, and raises it
            submitted = executor.map_array(Task(), tasks, [limit] * len(tasks), [wanted.cpus] * len(tasks))
    except (FailedJobError, FailedSubmissionError) as error:
        raise UsageError(
            f"SLURM refuses {_runs(len(cells))} of {_methods(cells)} with {wanted}: {queue.last_line(str(error))}"
        ) from error
    finally:
        queue.remove_temporary(work.store.root)
    return {cell.spec.id: str(job.job_id) for cell, job in zip(cells, submitted, strict=True)}


def _job(cell: Cell, work: Work, wanted: Resources) -> dict[str, Any]:
    """Return a run as data; one that gets a GPU computes on it or says that it is not there."""
    device = "cuda:0" if wanted.gpus and work.settings.device == "auto" else None
    return job_of(cell, work, device).to_json()


class _Watch:
    """Waits for runs, and tells what the store and SLURM say of them.

    Args:
        cells: the runs.
        work: how they are done.
        jobs: each one's job, by the run's id.
    """

    def __init__(self, cells: Sequence[Cell], work: Work, jobs: Mapping[str, str]):
        self._work, self._jobs, self._count = work, jobs, len(cells)
        self._left = {cell.spec.id: cell for cell in cells}
        self._progress = {cell.spec.id: RunProgress(work.store.path(cell.spec), _epochs(cell)) for cell in cells}
        self._started: set[str] = set()
        self._gone: dict[str, float] = {}  # runs without a record whose job has ended -> since when
        self._asked = -ASK

    def run(self) -> None:
        """Stay until every run is recorded or its job has ended.

        Raises:
            StoreError: jobs have ended without a record.
            KeyboardInterrupt: Ctrl-C.
        """
        lost = 0
        try:
            while self._left:
                began = time.monotonic()
                self._ask()
                for run, cell in list(self._left.items()):
                    if self._over(run, cell):
                        del self._left[run]
                    elif began - self._gone.get(run, began) > LATE:
                        del self._left[run]
                        lost += 1
                        log = self._work.store.root / queue.FOLDER / f"{self._jobs[run]}_0_log.out"
                        self._work.observer.said(f"its job ended before the run was recorded; see {log}", cell)
                if self._left:
                    time.sleep(max(PAUSE, REST * (time.monotonic() - began)))
        except KeyboardInterrupt:
            arrays = sorted({queue.array_of(self._jobs[run]) for run in self._left}, key=int)
            self._work.observer.said(f"Ctrl-C: the jobs stay in SLURM's queue; scancel {' '.join(arrays)} ends them.")
            raise
        if lost:
            raise StoreError(
                f"{lost} of {_runs(self._count)} ended without a record: the lines above name the logs; the same "
                "command submits what is missing again."
            )

    def _ask(self) -> None:
        """Find out whose jobs have ended."""
        if time.monotonic() - self._asked < ASK:
            return
        self._asked = time.monotonic()
        with contextlib.suppress(UsageError):  # SLURM may be busy: the runs go on
            living = queue.living()
            ended = [run for run in self._left if self._jobs[run] not in living]
            self._gone = {run: self._gone.get(run, self._asked) for run in ended}

    def _over(self, run: str, cell: Cell) -> bool:
        """Tell the news of a run, and say whether it is recorded."""
        record, epoch = recorded_since(cell, self._work.store), self._progress[run].news()
        at_work = record or epoch or self._work.store.is_claimed(cell.spec)
        if at_work and run not in self._started:
            self._started.add(run)
            self._work.observer.started(cell)
        if epoch:
            self._work.observer.epoch(cell, epoch)
        if record:
            self._work.observer.finished(cell, record)
        return record is not None


def _epochs(cell: Cell) -> int | None:
    epochs: int | None = cell.spec.budget["epochs"]
    return epochs
