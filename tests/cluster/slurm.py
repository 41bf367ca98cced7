"""A real SLURM of one machine, started in a folder of its own and bound to loopback.

Controller, two one-core nodes and their authentication daemon run as root inside a temporary
folder, with their own ports, key and sockets, so that a system-wide SLURM is never touched.
Accounting needs a database server; what SLURM says of a finished job is read from its
job-completion log instead, which holds the same states and exit codes.
"""

import os
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.ports import free_ports

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol", "sinfo")
NODES = ("n1", "n2")

CONF = """\
ClusterName=loopback
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={root}/munge/munge.socket,cred_expire=5
CredType=cred/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
ReturnToService=2
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool-%n
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd-%n.pid
SlurmctldLogFile={root}/slurmctld.log
SlurmdLogFile={root}/slurmd-%n.log
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_interval=1,batch_sched_delay=0,requeue_delay=1
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/filetxt
JobCompLoc={root}/completed.txt
JobRequeue=1
KillWait=5
MinJobAge=300
SlurmdTimeout=120
{nodes}
PartitionName=debug Nodes={names} Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
"""


@dataclass
class Slurm:
    """A running cluster; `env` is what a client needs to talk to it."""

    root: Path
    daemons: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def env(self) -> dict[str, str]:
        """The environment in which sbatch, squeue and scontrol reach this cluster."""
        return {**os.environ, "SLURM_CONF": str(self.root / "slurm.conf")}

    def start(self) -> "Slurm":
        """Starts the daemons and waits until both nodes are idle."""
        root = self.root
        self._start_munge(root / "munge")
        ports = free_ports(1 + len(NODES))
        for folder in ("state", *(f"spool-{name}" for name in NODES)):
            (root / folder).mkdir()
        host = socket.gethostname()
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**21
        nodes = "\n".join(
            f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=1 "
            f"RealMemory={memory} State=UNKNOWN"
            for name, port in zip(NODES, ports[1:], strict=True)
        )
        text = CONF.format(root=root, host=host, ports=ports, nodes=nodes, names=",".join(NODES))
        (root / "slurm.conf").write_text(text)
        (root / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\nCgroupAutomount=no\n")
        (root / "completed.txt").touch()
        self._spawn("slurmctld", "-D", "-i", "-f", str(root / "slurm.conf"))
        for name in NODES:
            self._spawn("slurmd", "-D", "-N", name, "-f", str(root / "slurm.conf"))
        self._await_nodes()
        return self

    def _start_munge(self, folder: Path) -> None:
        # munged insists on safe folders all the way up; it runs as root here, like SLURM does.
        folder.mkdir(mode=0o755)
        key = folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        self._spawn(
            "munged", "--foreground", "--force", f"--key-file={key}",
            f"--socket={folder / 'munge.socket'}", f"--pid-file={folder / 'munged.pid'}",
            f"--log-file={folder / 'munged.log'}", f"--seed-file={folder / 'munged.seed'}",
        )  # fmt: skip
        _wait(lambda: (folder / "munge.socket").exists(), 60, "munged's socket")

    def _spawn(self, *command: str) -> None:
        log = (self.root / f"{command[0]}.out").open("ab")
        path = shutil.which(command[0]) or f"/usr/sbin/{command[0]}"
        daemon = subprocess.Popen(
            [path, *command[1:]], stdout=log, stderr=log, env=self.env, start_new_session=True
        )
        self.daemons.append(daemon)

    def _await_nodes(self) -> None:
        def idle() -> bool:
            states = self.run("sinfo", "-h", "-N", "-o", "%T", check=False).split()
            return len(states) == len(NODES) and set(states) == {"idle"}

        _wait(idle, 120, f"two idle nodes (logs in {self.root})")

    def run(self, *command: str, check: bool = True) -> str:
        """Standard output of a client command such as squeue."""
        done = subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=120)
        if check and done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout

    def wait_for_jobs(self, seconds: float) -> None:
        """Returns when no job is queued or running."""
        _wait(self._idle, seconds, "an empty queue")

    def _idle(self) -> bool:
        """Whether the queue is empty; does what an administrator does with jobs that are held.

        A job that SLURM starts again on a node before the node has cleaned up behind its first run
        is held, and the node drained: "launch failed requeued held".
        """
        queued = self.run("squeue", "-h", "--array", "--format=%i %r").splitlines()
        for job in [line.split()[0] for line in queued if "held" in line]:
            for name in NODES:
                self.run("scontrol", "update", f"nodename={name}", "state=resume", check=False)
            self.run("scontrol", "release", job, check=False)
        return not queued

    def completed(self) -> list[dict[str, str]]:
        """What SLURM wrote of every finished job: JobId, JobState, ExitCode, ..."""
        lines = (self.root / "completed.txt").read_text().splitlines()
        return [dict(part.split("=", 1) for part in line.split() if "=" in part) for line in lines]

    def stop(self) -> None:
        """Cancels every job and ends the daemons."""
        self.run("scancel", "--full", "-u", "root", check=False)
        for daemon in reversed(self.daemons):
            daemon.terminate()
        for daemon in reversed(self.daemons):
            try:
                daemon.wait(timeout=10)
            except subprocess.TimeoutExpired:
                daemon.kill()


def _wait(ready: object, seconds: float, what: str) -> None:
    """Polls until `ready()`; says what did not come."""
    assert callable(ready)
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:.0f} s for {what}")
        time.sleep(0.2)
