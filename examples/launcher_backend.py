"""A backend for machines that share a filesystem: each job is a command; with `srun` before it, on a cluster's node."""

import subprocess
import sys
from collections.abc import Iterator, Sequence

from scaledproc.plugins import Backend, Capabilities, Event, Job, RunFolder, ScaledprocError, cores, from_json

LAUNCHER: tuple[str, ...] = ()  # such as ("srun", "--nodes=1", "--exclusive")


class LauncherBackend(Backend):
    """Does one job after the other by `scaledproc worker`."""

    name = "launcher"
    capabilities = Capabilities(shares_disk=True)

    @property
    def cores(self) -> int:
        """Those of this machine, or as many as were asked for."""
        return cores(self.jobs)

    def run(self, run: RunFolder, jobs: Sequence[Job]) -> Iterator[Event]:
        """Do the jobs; a worker prints its events, each as a line."""
        for job in jobs:
            command = [*LAUNCHER, sys.executable, "-m", "scaledproc", "worker", run.store.uri, *job.arguments]
            with subprocess.Popen([*command, f"--jobs={self.cores}"], stdout=subprocess.PIPE) as worker:
                try:
                    yield from map(from_json, worker.stdout or ())
                except BaseException:  # the run is not read to its end
                    worker.terminate()
                    raise
            if worker.returncode:
                raise ScaledprocError(f"{job} ended with exit code {worker.returncode}; see what it wrote above")
