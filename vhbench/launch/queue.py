"""Which runs SLURM has in its queue: what was submitted is noted beside the results, what is left of it SLURM says."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from vhbench.errors import StoreError, UsageError
from vhbench.system.environment import user_name
from vhbench.system.files import make_folder, read_json, write_error, write_json
from vhbench.system.locks import hold

SCHEMA = "vhbench.slurm/1"
FOLDER = "slurm"  # below the results folder: notes, and what submitit and the jobs write
JOB = re.compile(r"(\d+)(_\d+)?")
TEMPORARY = re.compile(r"\.submission_file_[0-9a-f]{32}\.sh|[0-9a-f]{32}\.pkl")
FILE = re.compile(r"(\d+)[_.].*")  # files of a job begin with its number
SPECIAL = "%\\'\""  # characters that sbatch does not take as they are in the name of an output file
ANSWER = 60.0  # seconds that SLURM has to answer
PATIENCE = 60.0  # seconds for another process to submit its runs


def check_programs() -> None:
    """Raise UsageError where this machine cannot submit jobs."""
    missing = [name for name in ("sbatch", "squeue", "srun") if not shutil.which(name)]
    if missing:
        raise UsageError(
            f"--launcher slurm needs SLURM, and there is no {', no '.join(missing)} on the PATH: run the command "
            "where jobs are submitted, or use --launcher local."
        )


def living() -> set[str]:
    """Return the user's jobs that wait or run: "17", or "17_3" for an array's task.

    Raises:
        UsageError: SLURM does not answer.
    """
    command = ["squeue", f"--user={os.getuid()}", "--noheader", "--array", "--format=%i"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=ANSWER)
    except subprocess.TimeoutExpired:
        raise UsageError(f"SLURM does not answer: squeue took more than {ANSWER:g} s. Try again later.") from None
    if done.returncode:
        raise UsageError(f"SLURM does not answer: {last_line(done.stderr)}")
    return set(done.stdout.split())


def queued(root: Path) -> dict[str, str]:
    """Return the runs of a results folder that SLURM has in its queue: run -> job.

    Raises:
        UsageError: SLURM does not answer.
    """
    noted: dict[str, str] = {}
    for path in sorted((root / FOLDER).glob("*.json")):
        noted |= _read(path)
    if not noted:
        return {}
    jobs = living()
    return {run: job for run, job in noted.items() if job in jobs}


def note(root: Path, jobs: Mapping[str, str]) -> None:
    """Write down which runs were submitted as which jobs of one array: run -> job.

    Raises:
        StoreError: it cannot be written.
    """
    number = array_of(next(iter(jobs.values())))
    write_json(root / FOLDER / f"{number}.json", {"schema": SCHEMA, "runs": dict(jobs)})


def array_of(job: str) -> str:
    """Return the number of a job, that of the array for one of its tasks."""
    return job.partition("_")[0]


def remove_temporary(root: Path) -> None:
    """Remove what submitit wrote on its way to a submission, or for one that sbatch refused."""
    for path in (root / FOLDER).iterdir():
        if TEMPORARY.fullmatch(path.name):
            with contextlib.suppress(OSError):
                path.unlink()


def check_folder(root: Path) -> None:
    """Make the folder of the jobs where it is missing, and see that nobody but this user can write in it.

    What submitit has pickled there is unpickled, and so executed, by this user's jobs.

    Raises:
        UsageError: it is another user's, or a link, or its path cannot stand in a job's script.
        StoreError: it cannot be made.
    """
    folder = root / FOLDER
    special = {c for c in str(folder.resolve()) if not c.isprintable() or c in SPECIAL}
    if special:
        raise UsageError(
            f"The path of --out has {', '.join(sorted(map(ascii, special)))} in it, which means something in a SLURM "
            "script: choose another folder."
        )
    try:
        make_folder(root)
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode):
            raise UsageError(f"{folder} is no folder: remove it, or choose another --out.")
        if found.st_uid != os.getuid():
            raise UsageError(
                f"{folder} belongs to {user_name(found.st_uid)}, whose jobs keep there what they execute: choose an "
                "--out of your own."
            )
        if stat.S_IMODE(found.st_mode) & 0o077:
            folder.chmod(0o700)
    except OSError as error:
        raise write_error(folder, error) from error


@contextlib.contextmanager
def submitting(root: Path) -> Iterator[None]:
    """Let one process at a time submit runs of a results folder.

    Raises:
        StoreError: another one does not end, or the folder cannot be written.
        UsageError: the folder is not this user's alone.
    """
    end = time.monotonic() + PATIENCE
    while True:
        check_folder(root)
        with hold(root / FOLDER) as held:
            if held:
                check_folder(root)  # the one before may have removed it, empty, in between
                yield
                return
        if time.monotonic() > end:
            raise StoreError(f"Another process has been submitting runs of {root} for {PATIENCE:g} s: try again later.")
        time.sleep(0.1)


def tidy_notes(root: Path) -> list[Path]:
    """Remove the notes, scripts and logs of jobs that have ended, and return their paths.

    Nothing is removed where SLURM is not there to say which have.

    Raises:
        StoreError: the folder cannot be written.
    """
    folder = root / FOLDER
    if not folder.is_dir() or not shutil.which("squeue"):
        return []
    try:
        check_folder(root)
    except UsageError:  # another user's, or none of ours
        return []
    removed = []
    with hold(folder) as held:
        if not held:
            return []
        files = [path for path in sorted(folder.iterdir()) if FILE.fullmatch(path.name)]
        try:
            arrays = {array_of(job) for job in living()} if files else set()
        except UsageError:
            return []
        for path in files:
            if array_of(FILE.sub(r"\1", path.name)) not in arrays:
                with contextlib.suppress(OSError):
                    path.unlink()
                    removed.append(path)
    return removed if folder.is_dir() else [*removed, folder]


def last_line(text: str) -> str:
    """Return the last line that a program has printed, as a sentence."""
    lines = text.strip().splitlines() or ["it gave no reason"]
    return f"{re.sub(r'^[a-z]+: (error: )?', '', lines[-1]).rstrip('.')}."


def _read(path: Path) -> dict[str, str]:
    """Read a note; one that is damaged says nothing."""
    try:
        value = read_json(path)
        found = {str(run): str(job) for run, job in value["runs"].items()} if value["schema"] == SCHEMA else {}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}
    return {run: job for run, job in found.items() if JOB.fullmatch(job)}
