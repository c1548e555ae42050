"""A SLURM of one node for the tests: real daemons with their own sockets, ports, key and folder."""

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from vhbench.system.processes import die_with

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "scancel", "srun", "sinfo")
CONF = """
ClusterName=vhbench
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SwitchType=switch/none
ReturnToService=2
KillWait=2
SchedulerParameters=sched_interval=1,bf_interval=1,sched_min_interval=0
SlurmctldParameters=preempt_send_user_signal
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=4000 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE PriorityTier=1 GraceTime=60 State=UP
PartitionName=short Nodes={host} MaxTime=10 PriorityTier=1 State=UP
PartitionName=urgent Nodes={host} PriorityTier=2 PreemptMode=OFF State=UP
"""


class Cluster:
    """The daemons, and what tests ask of them.

    Args:
        folder: for sockets, state and logs; its path must be short.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self._daemons: list[subprocess.Popen] = []
        self.conf = folder / "slurm.conf"

    def start(self) -> None:
        """Start munged, slurmctld and slurmd, and wait until the node is idle."""
        folder = self._folder
        folder.chmod(0o755)  # munged wants it so
        for name in ("state", "spool"):
            (folder / name).mkdir()
        key = folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        host = socket.gethostname().partition(".")[0]
        conf = CONF.format(host=host, ports=_free_ports(2), user=getpass.getuser(), folder=folder)
        self.conf.write_text(conf)
        files = {"key-file": key, "socket": folder / "munge.socket", "pid-file": folder / "munged.pid"}
        files |= {"log-file": folder / "munged.log", "seed-file": folder / "munged.seed"}
        self._run("munged", "--foreground", "--force", *(f"--{name}={path}" for name, path in files.items()))
        self._wait(files["socket"].exists)
        self._run("slurmctld", "-D")
        self._run("slurmd", "-D", "-N", host)
        self._wait(lambda: "idle" in self.ask("sinfo", "--noheader", "--format=%T", check=False))

    def stop(self) -> None:
        """End every job and every daemon."""
        if self._daemons:
            with contextlib.suppress(AssertionError, subprocess.SubprocessError):
                self.cancel_all()
        while self._daemons:
            daemon = self._daemons.pop()
            daemon.terminate()
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()

    def ask(self, *words: object, check: bool = True) -> str:
        """Run a SLURM command and return what it prints."""
        done = subprocess.run([*map(str, words)], capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0 or not check, f"{words}: {done.stderr}\n{self.logs}"
        return done.stdout

    def jobs(self) -> dict[str, str]:
        """Return the jobs that wait or run: id -> state."""
        lines = self.ask("squeue", "--noheader", "--array", "--format=%i %T").splitlines()
        return dict(line.split() for line in lines)

    def wait_for(self, happened, seconds=120) -> None:
        """Return when something has happened; fail after so many seconds, with the daemons' last words."""
        self._wait(happened, seconds)

    def cancel_all(self) -> None:
        """Cancel every job and wait until none is left."""
        self.ask("scancel", f"--user={getpass.getuser()}", check=False)
        self._wait(lambda: not self.jobs(), 60)

    @property
    def logs(self) -> str:
        texts = [(path.name, path.read_text(errors="replace")[-3000:]) for path in self._folder.glob("*.log")]
        return "\n".join(f"--- {name}\n{text}" for name, text in texts)

    def _run(self, *words: str) -> None:
        parent = os.getpid()
        program = shutil.which(words[0], path=_path())
        with (self._folder / f"{words[0]}.out.log").open("wb") as out:
            self._daemons.append(
                subprocess.Popen(
                    [program, *words[1:]],
                    stdout=out,
                    stderr=out,
                    start_new_session=True,  # Ctrl-C is for pytest, which then stops them
                    preexec_fn=lambda: die_with(parent),  # if it is killed, they are too
                )
            )

    def _wait(self, happened, seconds=60) -> None:
        end = time.monotonic() + seconds
        while not happened():
            dead = [daemon.args for daemon in self._daemons if daemon.poll() is not None]
            assert not dead, f"these have ended: {dead}\n{self.logs}"
            assert time.monotonic() < end, f"waited too long\n{self.logs}"
            time.sleep(0.05)


def _path() -> str:
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        found = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in found:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in found]


@pytest.fixture(scope="session")
def daemons():
    """A SLURM that works; it and all its jobs are gone when the tests end."""
    missing = [name for name in PROGRAMS if not shutil.which(name, path=_path())]
    if missing:
        reason = f"SLURM is not installed ({', '.join(missing)} not found): tests/slurm/install.sh does that as root"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="vhbench-slurm-"))  # a socket's path may have 107 characters, so no tmp_path
    cluster = Cluster(folder)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SLURM_CONF", str(cluster.conf))  # for commands of the tests too
            cluster.start()
            yield cluster
            cluster.stop()
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def cluster(daemons):
    """The SLURM; no job is left in it when the test ends."""
    yield daemons
    daemons.cancel_all()
