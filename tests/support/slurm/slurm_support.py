"""A real Slurm for the tests: munged, slurmctld, and nodes in namespaces of their own, on loopback."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "scancel", "unshare")
START_SECONDS, STOP_SECONDS = 30.0, 10.0
# A node is a process that leads namespaces of processes, of mounts and of the host's name: when it is killed, all that
# runs on the node is gone at once, as when a machine loses its power. The shell reaps what is orphaned there.
_NODE = 'hostname "$0" && mount --bind "$1" /etc/hosts && { slurmd -D -N "$0" & wait; }'
_UNSHARE = ("unshare", "--pid", "--mount", "--uts", "--fork", "--kill-child", "--mount-proc")
_ADDRESSES = ("127.0.0.11", "127.0.0.12")
_CGROUPS = Path("/sys/fs/cgroup")
_LIMITS = """
CgroupPlugin=cgroup/v1
CgroupMountpoint=/sys/fs/cgroup
ConstrainRAMSpace=yes
ConstrainSwapSpace=yes
AllowedSwapSpace=0
"""
_CONFIGURATION = """
ClusterName=scaledproc
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CryptoType=crypto/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=5
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdPidFile={folder}/%n.pid
SlurmdLogFile={folder}/%n.log
SlurmdSpoolDir={folder}/spool-%n
SlurmdParameters=config_overrides
ProctrackType=proctrack/{tracks}
TaskPlugin=task/{task}
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,sched_interval=2,bf_interval=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
ReturnToService=2
SlurmdTimeout=6
InactiveLimit=0
KillWait=8
DefMemPerCPU=500
MinJobAge={age}
MaxArraySize={array}
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
NodeName={nodes[0]} NodeAddr=127.0.0.11 NodeHostname={nodes[0]} Port={ports[1]} CPUs=2 RealMemory=4000 State=UNKNOWN
NodeName={nodes[1]} NodeAddr=127.0.0.12 NodeHostname={nodes[1]} Port={ports[2]} CPUs=2 RealMemory=4000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE OverTimeLimit=0 PriorityTier=1 State=UP
PartitionName=urgent Nodes=ALL MaxTime=INFINITE PriorityTier=2 State=UP
"""


def why_no_slurm() -> str:
    """What is missing for a Slurm here; nothing where it can be started."""
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        return f"needs {', '.join(missing)}: the packages slurm-wlm and munge"
    if os.geteuid() != 0:
        return "needs root, whose nodes are namespaces"
    if subprocess.run([*_UNSHARE, "true"], capture_output=True, check=False).returncode:
        return "needs namespaces: unshare is not permitted here"
    return ""


class Slurm:
    """A cluster of two nodes.

    Parameters
    ----------
    folder
        An empty folder for all of it, with a short path, since it has sockets.
    age
        Seconds for which the controller knows jobs that have ended.
    array
        Its `MaxArraySize`.
    limits_memory
        Whether jobs are held to their memory, by control groups.

    Attributes
    ----------
    nodes
        The names of its nodes.
    """

    def __init__(self, folder: Path, *, age: int = 300, array: int = 1001, limits_memory: bool = False) -> None:
        self.folder = folder
        host = socket.gethostname().partition(".")[0]
        self.configuration = folder / "slurm.conf"
        self.environment: Mapping[str, str] = {"SLURM_CONF": str(self.configuration)}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        # Control groups, which have the nodes' names, are the machine's: another cluster's must be others.
        self.nodes = [f"node{number}{f'-{os.getpid()}' if limits_memory else ''}" for number in (1, 2)]
        for name in ("munge", "state", *(f"spool-{node}" for node in self.nodes)):
            (folder / name).mkdir(mode=0o755)
        (folder / "munge/key").write_bytes(os.urandom(128))
        (folder / "munge/key").chmod(0o600)
        text = _CONFIGURATION.format(
            host=host,
            folder=folder,
            ports=_free_ports(3),
            nodes=self.nodes,
            age=age,
            array=array,
            tracks="cgroup" if limits_memory else "linuxproc",
            task="cgroup" if limits_memory else "none",
        )
        if limits_memory:
            (folder / "cgroup.conf").write_text(_LIMITS, encoding="ascii")
        self.configuration.write_text(text, encoding="ascii")
        self._hosts = folder / "hosts"  # as the nodes see them
        addresses = {"127.0.0.1": "localhost " + host, **dict(zip(_ADDRESSES, self.nodes, strict=True))}
        self._hosts.write_text("".join(f"{address} {name}\n" for address, name in addresses.items()))

    def start(self) -> None:
        """Start the daemons, and wait until both nodes are ready."""
        munge = self.folder / "munge"
        places = {
            "--socket": "socket",
            "--key-file": "key",
            "--pid-file": "pid",
            "--log-file": "log",
            "--seed-file": "seed",
        }
        options = [f"{option}={munge / name}" for option, name in places.items()]
        self._start("munged", "munged", "--foreground", "--force", *options)
        self._wait_for("munged", (munge / "socket").exists)
        self._start("slurmctld", "slurmctld", "-D")
        for node in self.nodes:
            self.start_node(node)
        self._wait_for("slurmctld", lambda: self.states() == ["idle"] * 2)

    def start_node(self, node: str) -> None:
        """Switch a node on."""
        self._start(node, *_UNSHARE, "bash", "-c", _NODE, node, str(self._hosts))

    def kill_node(self, node: str) -> None:
        """Switch a node off, without warning."""
        process = self._processes.pop(node)
        process.kill()
        process.wait()

    def call(self, *command: str, check: bool = True) -> str:
        """What one of Slurm's commands prints."""
        done = subprocess.run(
            command, env={**os.environ, **self.environment}, capture_output=True, text=True, check=False, timeout=60
        )
        if check and done.returncode:
            raise AssertionError(f"{' '.join(command)}: {done.stderr}\n{self.logs()}")
        return done.stdout

    def stop(self) -> None:
        """Cancel what there is, and end what was started here."""
        for name in self.nodes:
            if name in self._processes:
                self.kill_node(name)
        for process in reversed(self._processes.values()):
            process.terminate()
        for process in self._processes.values():
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._processes.clear()
        for node in self.nodes:
            for folder in _CGROUPS.glob(f"*/slurm_{node}"):
                _remove_groups(folder)

    def clear(self) -> None:
        """Cancel all jobs, wait until none is left, and have both nodes ready."""
        self.call("scancel", "--user=root", check=False)
        for node in self.nodes:
            if node not in self._processes:
                self.start_node(node)
        self._wait_for("slurmctld", lambda: not self.call("squeue", "--noheader") and self.states() == ["idle"] * 2)

    def states(self) -> list[str]:
        """How the nodes are."""
        return self.call("sinfo", "--noheader", "--Node", "--partition=main", "--format=%t").split()

    def logs(self) -> str:
        """The ends of the daemons' logs."""
        return "\n".join(
            f"{path.name}:\n{path.read_text(errors='replace')[-2000:]}" for path in sorted(self.folder.glob("*.log"))
        )

    def _start(self, name: str, *command: str) -> None:
        # With setpriv, the kernel ends the daemon when the thread that started it ends, even if it was killed.
        guard = [setpriv, "--pdeathsig", "KILL", "--"] if (setpriv := shutil.which("setpriv")) else []
        with (self.folder / f"{name}.out.log").open("ab") as out:
            self._processes[name] = subprocess.Popen(
                [*guard, *command],
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    def _wait_for(self, name: str, holds: Callable[[], bool]) -> None:
        end = time.monotonic() + START_SECONDS
        while not holds():
            if self._processes[name].poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"{name} did not start:\n{self.logs()}")
            time.sleep(0.1)


@contextmanager
def slurm_cluster(**settings: Any) -> Iterator[Slurm]:
    """A cluster that is there within the block."""
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))  # short: it has sockets
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        folder.chmod(0o755)
        made = Slurm(folder, **settings)
        stack.callback(made.stop)
        made.start()
        yield made


def may_limit_memory() -> bool:
    """Whether control groups of memory can be made here, in the form that this Slurm knows."""
    probe = _CGROUPS / f"memory/scaledproc-{os.getpid()}"
    try:
        probe.mkdir()
        probe.rmdir()
    except OSError:
        return False
    return True


def _remove_groups(folder: Path) -> None:
    for inner in folder.iterdir():
        if inner.is_dir():
            _remove_groups(inner)
    folder.rmdir()


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
