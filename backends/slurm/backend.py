"""The backend `slurm`: a plan's shards as the elements of a job array, then a job that combines them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING

from scaledproc._util.text import count_text
from scaledproc.errors import ScaledprocError, UsageError

from ..batch.calls import BusyError
from ..batch.elements import COMBINE, Elements, QueuedJob
from ..batch.job_command import run_token
from ..batch.queue import BatchBackend
from .calls import FORMAT, call, configuration, index_text, job_of, latest, options, parse_queue, whole_number
from .settings import Settings

if TYPE_CHECKING:
    from scaledproc.planning.plan import Plan
    from scaledproc.run_folder.folder import RunFolder

KILL_WAIT, MAX_ARRAY_SIZE = 30, 1001
"""Slurm's own defaults, where a site does not tell."""
MARGIN = 5.0  # seconds between the end of the grace and SIGKILL
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
    def _site(self) -> Mapping[str, str]:
        return configuration()

    @property
    def _kill_wait(self) -> int:
        return whole_number(self._site.get("KillWait", ""), KILL_WAIT)

    @cached_property
    def grace(self) -> float:
        """Seconds that a job has from SIGTERM on."""
        wait = self._kill_wait
        return max(wait - MARGIN, wait / 2) if self.settings.grace is None else self.settings.grace

    def shards_per_job(self, shards: int) -> int:
        """As many as were asked for; more where an array could not have all the jobs."""
        most = whole_number(self._site.get("MaxArraySize", ""), MAX_ARRAY_SIZE)
        if most < 2:
            raise UsageError("this cluster takes no job arrays (MaxArraySize); use the backend `commands`")
        return max(self.settings.shards_per_job, math.ceil(shards / most))

    # Before the run

    def check(self, run: RunFolder, plan: Plan) -> Iterator[str]:
        """See whether Slurm would take the jobs; nothing is submitted."""
        yield from super().check(run, plan)
        if self.grace >= (wait := self._kill_wait):
            yield f"--grace {self.grace:g}: this site kills jobs {wait} s after it tells them to end (KillWait)"

    def start(self) -> str:
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
        self, run: RunFolder, elements: Sequence[int], memory: int, after: str = "", *, ends: bool = False
    ) -> str:
        """Submit a job, or an array, which may wait for others, and may end the run; its id."""
        layout, is_last = self.elements(run), elements[0] == COMBINE
        what, job = "--combine", '"$SLURM_JOB_ID"'
        if not is_last:
            what, job = f'--shard "{_shards_word(layout)}"', '"${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"'
        words = options(
            job_name=_names(run)[is_last],
            array=None if is_last else index_text(elements, self.settings.at_once),
            output="/dev/null",  # what the worker tells is in the run's folder
            error=self.logs(run) / ("%j.log" if is_last else "%A_%a.log"),
            dependency=after or None,
            kill_on_invalid_dep="yes" if after else None,
        )
        self.keep(run)  # before: whoever finds the jobs must know which shards they have
        script = self.script(self.worker(run, what, job, finish=ends))
        job_id = call("sbatch", "--parsable", *words, *self._options(memory), script=script).strip().partition(";")[0]
        self.keep(run, jobs=[*self.control(run).get("jobs", []), job_id])
        return job_id

    def _options(self, more_memory: int) -> list[str]:
        """What sbatch is told of each job."""
        given = self.settings
        same = ("partition", "time", "account", "qos", "constraint", "gpus")
        wanted = options(
            cpus_per_task=given.cpus or self.cores,
            mem=None if given.mem is None else f"{given.mem + more_memory * (given.memory_step or 0)}M",
            signal=f"B:TERM@{math.ceil(self.grace + MARGIN)}",
            **{name: getattr(given, name) for name in same},
        )
        return [*ALWAYS, *wanted, *given.extra]

    def look(self, run: RunFolder) -> Sequence[QueuedJob]:
        """The run's jobs in Slurm's queue, and those that have just left it."""
        names = ",".join(_names(run))
        said = call("squeue", "--noheader", "--array", "--states=all", f"--name={names}", f"--format={FORMAT}")
        return [job_of(line, _exit_code(line[2]) if line[3] == "FAILED" else "") for line in latest(parse_queue(said))]

    def cancel(self, run: RunFolder) -> None:
        """Cancel the run's jobs, by their names."""
        for name in _names(run):
            call("scancel", f"--name={name}")

    def detach(self, run: RunFolder) -> str:
        """Submit what is left, as often as it may be tried; then the last job, which waits for one of these arrays."""
        if count := sum(not job.is_over for job in self.look(run)):
            return f"{count_text(count, 'job')} of this run in the queue already"
        layout, committed = self.elements(run), run.committed_shards()
        left = layout.elements_of(shard for shard in range(layout.shards) if shard not in committed)
        arrays: list[str] = []
        for number in range(self.settings.retries + 1 if left else 0):
            # After all of the earlier ones: one that is cancelled, as it is not needed, counts as failed too.
            after = ",".join(f"afternotok:{array}" for array in arrays)
            array = partial(self._sbatch, run, left, number * self.gives_memory, after)
            arrays.append(self.surely(array, partial(_ids, run, 0), _ids(run, 0)))
        after = "?".join(f"afterok:{array}" for array in arrays)
        end = partial(self._sbatch, run, [COMBINE], 0, after, ends=True)
        last = self.surely(end, partial(_ids, run, 1), _ids(run, 1))
        first = f" (array {arrays[0]})" if arrays else ""
        return f"{count_text(len(left), 'job')} submitted{first}, then job {last} for the table"


def _names(run: RunFolder) -> tuple[str, str]:
    """The names of a run's arrays, and of its last job."""
    return f"scaledproc-{run_token(run)}", f"scaledproc-{run_token(run)}-combine"


def _ids(run: RunFolder, which: int) -> set[str]:
    """The ids that Slurm knows of the run's arrays, or of its last jobs."""
    return set(call("squeue", "--noheader", "--states=all", f"--name={_names(run)[which]}", "--format=%F").split())


def _exit_code(job: str) -> str:
    try:
        said = call("scontrol", "show", "job", "--oneliner", job)
    except BusyError:  # it is forgotten by now
        return ""
    return next((word.partition("=")[2] for word in said.split() if word.startswith("ExitCode=")), "")


def _shards_word(layout: Elements) -> str:
    """The shards of an element, as the job's shell makes them of its number."""
    if layout.each == 1:
        return "$SLURM_ARRAY_TASK_ID"
    first, last = f"SLURM_ARRAY_TASK_ID * {layout.each}", layout.shards - 1
    end = f"{first} + {layout.each - 1}"
    return f"$(({first}))-$(({end} < {last} ? {end} : {last}))"
