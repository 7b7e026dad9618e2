"""The backend `slurm`: a plan's shards as the elements of a job array, then a job that combines them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING

from scaledproc._util.text import ranges_text
from scaledproc.errors import ScaledprocError, UsageError

from ..batch.calls import BusyError
from ..batch.elements import COMBINE, QueuedJob, latest
from ..batch.handover import ENDS, After, hand_over
from ..batch.job_command import jobs_name
from ..batch.queue import BatchBackend
from .calls import FORMAT, call, jobs_in, options
from .settings import Settings

if TYPE_CHECKING:
    from scaledproc.planning.plan import Plan
    from scaledproc.run_folder.folder import RunFolder

KILL_WAIT, MAX_ARRAY_SIZE = 30, 1001
"""Slurm's own defaults, where a site does not tell."""
MARGIN = 5.0  # seconds between the end of the grace and SIGKILL
_AFTER = {"ended": ("afterany:", ","), "failed": ("afternotok:", ","), "well": ("afterok:", "?")}
ALWAYS = ("--nodes=1", "--ntasks=1", "--requeue", "--open-mode=append")


class SlurmBackend(BatchBackend):
    """Runs jobs on the nodes of a Slurm cluster that share a filesystem with this machine."""

    name, title, shell = "slurm", "Slurm", "/bin/bash"
    declares = Settings
    settings: Settings
    has_throttle = True

    @property
    def gives_memory(self) -> bool:
        """Whether a job may be given more memory than the last one."""
        return self.settings.memory_step is not None

    @property
    def detaches(self) -> bool:
        """Whether all jobs are submitted at once, and nobody watches."""
        return self.settings.detach

    @cached_property
    def _site(self) -> str:
        return call("scontrol", "show", "config")

    def _of_site(self, name: str, default: int) -> int:
        """The number that a value of the cluster's configuration begins with, such as `30 sec`."""
        found = re.search(rf"^{name}\s*=\s*(\d+)", self._site, re.MULTILINE)
        return int(found[1]) if found else default

    @property
    def grace(self) -> float:
        """Seconds that a job has from SIGTERM on."""
        wait = self._of_site("KillWait", KILL_WAIT)
        return self.settings.grace or max(wait - MARGIN, wait / 2)

    def shards_per_job(self, shards: int) -> int:
        """As many as were asked for; more where an array could not have all the jobs."""
        most = self._of_site("MaxArraySize", MAX_ARRAY_SIZE)
        if most < 2:
            raise UsageError("this cluster takes no job arrays (MaxArraySize); use the backend `commands`")
        return max(self.settings.shards_per_job, math.ceil(shards / most))

    # Before the run

    def check(self, run: RunFolder, plan: Plan) -> Iterator[str]:
        """See whether Slurm would take the jobs; nothing is submitted."""
        yield from super().check(run, plan)
        if self.grace >= (wait := self._of_site("KillWait", KILL_WAIT)):
            yield f"--slurm-grace {self.grace:g}: this site kills jobs {wait} s after it tells them to end (KillWait)"

    def first_start(self) -> str:
        """When Slurm would start a job, as it says; it is asked whether it takes one."""
        try:
            said = call("sbatch", "--test-only", *self._options(0), script=f"#!{self.shell}\ntrue\n")
        except BusyError:
            return ""
        except ScaledprocError as error:
            raise UsageError(str(error)) from None
        _, found, rest = said.partition(" to start at ")
        return f"the first to start at {rest.split()[0]}" if found else ""

    # Jobs

    def submit(self, run: RunFolder, elements: Sequence[int], more_memory: int) -> None:
        """One array for them."""
        self._sbatch(run, elements, more_memory)

    def _sbatch(
        self, run: RunFolder, elements: Sequence[int], memory: int, after: After | None = None, *, ends: bool = False
    ) -> str:
        """Submit a job, or an array, which may wait for others, and may end the run; its id."""
        what, job, log, array = "--combine", '"$SLURM_JOB_ID"', "%j.log", None
        if elements[0] != COMBINE:
            what = f'--shard "{self.elements(run).shell_text("SLURM_ARRAY_TASK_ID")}"'
            job, log = '"${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"', "%A_%a.log"
            at_once = f"%{self.settings.at_once}" if self.settings.at_once else ""
            array = ranges_text(sorted(elements)).replace(" ", "") + at_once
        words = options(
            job_name=jobs_name(run),
            array=array,
            output="/dev/null",  # what the worker tells is in the run's folder
            error=self.logs(run) / log,
            dependency=after and _AFTER[after.what][1].join(_AFTER[after.what][0] + each for each in after.ids),
            kill_on_invalid_dep="yes" if after else None,
        )
        # Before: whoever finds the jobs must know which shards they have, and whether the last one ends the run.
        self.keep(run, self.control(run) | ({ENDS: ends} if array is None else {}))
        script = self.script(self.worker(run, what, job, finish=ends))
        return call("sbatch", "--parsable", *words, *self._options(memory), script=script).strip().partition(";")[0]

    def _options(self, more_memory: int) -> list[str]:
        """What sbatch is told of each job."""
        given = self.settings
        same = ("partition", "time", "account", "qos", "constraint", "gpus")
        wanted = options(
            cpus_per_task=given.cpus or self.cores,
            mem=given.mem and f"{math.ceil((given.mem + more_memory * (given.memory_step or 0)) / 2**20)}M",
            signal=f"B:TERM@{math.ceil(self.grace + MARGIN)}",
            **{name: getattr(given, name) for name in same},
        )
        return [*ALWAYS, *wanted, *given.extra]

    def look(self, run: RunFolder) -> Sequence[QueuedJob]:
        """The run's jobs in Slurm's queue, and those that have just left it."""
        return latest(self._all(run))

    def _all(self, run: RunFolder) -> list[QueuedJob]:
        return jobs_in(_queue(run, "--array", f"--Format={FORMAT}"))

    def cancel(self, run: RunFolder) -> None:
        """Cancel the run's jobs, by their name."""
        call("scancel", f"--name={jobs_name(run)}")

    def detach(self, run: RunFolder) -> str:
        """Submit what is left, as often as it may be tried; then the last job, which waits for one of these arrays."""

        def ids() -> set[str]:
            return set(_queue(run, "--format=%F").split())

        def submit_once(elements: Sequence[int], memory: int, after: After | None) -> str:
            once = partial(self._sbatch, run, elements, memory, after, ends=elements == [COMBINE])
            return self.submit_once(once, ids, ids())

        return hand_over(self, run, self._all(run), submit_once, lambda arrays: call("scancel", *arrays))


def _queue(run: RunFolder, *words: str) -> str:
    """What squeue says of the run's jobs, those among them that have just left it."""
    return call("squeue", "--noheader", "--states=all", f"--name={jobs_name(run)}", *words)
