"""The backend `slurm`: a plan's shards as the elements of a job array, then a job that combines them."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from scaledproc._util.text import count_text
from scaledproc.backend.base import Expected
from scaledproc.errors import ScaledprocError, UsageError
from scaledproc.execution.workers.pool import cores
from scaledproc.run_folder.folder import RunFolder

from ..batch.elements import COMBINE, Elements, QueuedJob
from ..batch.expected import expected
from ..batch.queue import MOST_TROUBLE, BatchBackend, BusyError, run_token
from .calls import (
    FORMAT,
    FullError,
    UnansweredError,
    call,
    configuration,
    index_text,
    job_of,
    latest,
    options,
    parse_queue,
    whole_number,
)
from .settings import COMMAND, Settings

if TYPE_CHECKING:
    from scaledproc.extractors import Extractor
    from scaledproc.planning.plan import Plan
    from scaledproc.storage.store import Store

CORES = 4  # of a job, where nobody says
KILL_WAIT, MAX_ARRAY_SIZE = 30, 1001
"""Slurm's own defaults, where a site does not tell."""
MARGIN = 5.0  # seconds between the end of the grace and SIGKILL
SCRIPT = f"#!/bin/bash\nexec {COMMAND}\n"
"""With `exec`, since bash would die of SIGTERM, and with it the job, before the worker has committed its chunks."""


class SlurmBackend(BatchBackend):
    """Runs jobs on the nodes of a Slurm cluster that share a filesystem with this machine.

    Parameters
    ----------
    jobs
        Processes of each job; as many as it has cores where none is given.
    scratch
        Where jobs stage remote data; on their nodes.
    settings
        As `Settings` has them.

    Raises
    ------
    UsageError
        If there is no such setting, or one cannot have its value.
    """

    name = "slurm"

    def __init__(self, *, jobs: int | None = None, scratch: Path | None = None, **settings: Any) -> None:
        super().__init__(jobs=jobs, scratch=scratch)
        self.settings = Settings.parse(settings)
        self.retries, self.poll = self.settings.retries, self.settings.poll_seconds
        self.per_job = self.settings.shards_per_job
        self.gives_memory = self.settings.memory_step is not None

    @classmethod
    def recall(cls, record: Mapping[str, Any], settings: Mapping[str, Any]) -> Self:  # noqa: ARG003 - as the base has it
        """One that finds a run's jobs again, by their names."""
        return cls(**settings)

    @property
    def cores(self) -> int:
        """Cores of one job."""
        return cores(self.jobs or self.settings.cpus or CORES)

    @property
    def detaches(self) -> bool:
        """Whether all jobs are submitted at once, and nobody watches."""
        return self.settings.detach

    @cached_property
    def _site(self) -> Mapping[str, str]:
        return configuration()

    @cached_property
    def _grace(self) -> float:
        """Seconds that a job has from SIGTERM on."""
        wait = whole_number(self._site.get("KillWait", ""), KILL_WAIT)
        return max(wait - MARGIN, wait / 2) if self.settings.grace is None else self.settings.grace

    def shards_per_job(self, shards: int) -> int:
        """As many as were asked for; more where an array could not have all the jobs."""
        most = whole_number(self._site.get("MaxArraySize", ""), MAX_ARRAY_SIZE)
        if most < 2:
            raise UsageError("this cluster takes no job arrays (MaxArraySize); use the backend `commands`")
        return max(self.per_job, math.ceil(shards / most))

    # Before the run

    def check(self, run: RunFolder, plan: Plan) -> Iterator[str]:
        """See whether Slurm would take the jobs; nothing is submitted."""
        yield from self.notes(run)
        wait = whole_number(self._site.get("KillWait", ""), KILL_WAIT)
        if self._grace >= wait:
            yield f"--grace {self._grace:g}: this site kills jobs {wait} s after it tells them to end (KillWait)"
        elements = Elements(plan.n_shards, self.shards_per_job(plan.n_shards))
        if elements.each > self.per_job:
            yield f"{elements.each} shards a job, as an array of this site has fewer jobs than there are shards"
        self.guess(self._expected(plan, run.extractor, ""))
        yield f"{count_text(elements.count, 'job')} of {count_text(self.cores, 'core')}{self._start()}"

    def estimate(self, plan: Plan, dataset: Store, extractor: Extractor) -> Expected:  # noqa: ARG002 - as the base has it
        """Jobs, cores and time, as far as the queue lets them start."""
        return self._expected(plan, extractor, self._start().removeprefix(", "))

    def _expected(self, plan: Plan, extractor: Extractor, start: str) -> Expected:
        elements = Elements(plan.n_shards, self.shards_per_job(plan.n_shards))
        return expected("Slurm", plan, elements, self.cores, self.settings.at_once, extractor, start)

    def _start(self) -> str:
        """When Slurm would start a job, as it says; it is asked whether it takes one."""
        try:
            said = call("sbatch", "--test-only", *self._options(0), script=SCRIPT.replace(COMMAND, "true"))
        except BusyError:
            return ""
        except ScaledprocError as error:
            raise UsageError(str(error)) from None
        _, found, rest = said.partition(" to start at ")
        return f", the first to start at {rest.split()[0]}" if found else ""

    # Jobs

    def submit(self, run: RunFolder, elements: Sequence[int], at_work: int, more_memory: int) -> Sequence[int]:
        """One array for them; if the site takes no more jobs of a user, as many as it takes."""
        taken = list(elements)
        while True:
            try:
                self._sbatch(run, taken, more_memory)
            except FullError:
                if len(taken) > 1:
                    taken = taken[: len(taken) // 2]
                    continue
                if not at_work:
                    raise
                return []
            return taken

    def _sbatch(
        self,
        run: RunFolder,
        elements: Sequence[int],
        more_memory: int,
        after: str = "",
        *,
        finish: bool = False,
    ) -> str:
        """Submit a job or an array; its id."""
        layout, is_last = self.elements(run), elements[0] == COMBINE
        name = _names(run)[is_last]
        what, job = "--combine", '"$SLURM_JOB_ID"'
        if not is_last:
            what, job = f'--shard "{_shards_word(layout)}"', '"${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"'
        command = self.worker(run, what, job, self._grace, finish=finish)
        template = (
            SCRIPT if self.settings.template is None else Path(self.settings.template).read_text(encoding="utf-8")
        )
        log = self.logs(run) / ("%j.log" if is_last else "%A_%a.log")
        words = options(
            job_name=name,
            array=None if is_last else index_text(elements, self.settings.at_once),
            output="/dev/null",  # what the worker tells is in the run's folder
            error=log,
            dependency=after or None,
            kill_on_invalid_dep="yes" if after else None,
        )
        self.keep(run)  # before: whoever finds the jobs must know which shards they have
        said = call(
            "sbatch", "--parsable", *words, *self._options(more_memory), script=template.replace(COMMAND, command)
        )
        job_id = said.strip().partition(";")[0]
        self.keep(run, jobs=[*self.control(run).get("jobs", []), job_id])
        return job_id

    def _options(self, more_memory: int) -> list[str]:
        """What sbatch is told of each job."""
        given = self.settings
        memory = None if given.mem is None else given.mem + more_memory * (given.memory_step or 0)
        return [
            *("--nodes=1", "--ntasks=1", "--requeue", "--open-mode=append"),
            *options(
                partition=given.partition,
                time=given.time,
                cpus_per_task=given.cpus or self.cores,
                mem=None if memory is None else f"{memory}M",
                account=given.account,
                qos=given.qos,
                constraint=given.constraint,
                gpus=given.gpus,
                signal=f"B:TERM@{math.ceil(self._grace + MARGIN)}",
            ),
            *given.extra,
        ]

    def look(self, run: RunFolder) -> Sequence[QueuedJob]:
        """The run's jobs in Slurm's queue, and those that have just left it."""
        names = ",".join(_names(run))
        found = latest(
            parse_queue(
                call("squeue", "--noheader", "--array", "--states=all", f"--name={names}", f"--format={FORMAT}")
            )
        )
        return [job_of(line, self._exit_code(line[2]) if line[3] == "FAILED" else "") for line in found]

    def _exit_code(self, job: str) -> str:
        try:
            said = call("scontrol", "show", "job", "--oneliner", job)
        except BusyError:  # it is forgotten by now
            return ""
        return next((word.partition("=")[2] for word in said.split() if word.startswith("ExitCode=")), "")

    def cancel(self, run: RunFolder) -> None:
        """Cancel the run's jobs, by their names."""
        for name in _names(run):
            call("scancel", f"--name={name}")

    # Detached

    def detach(self, run: RunFolder) -> str:
        """Submit what is left, as often as it may be tried; then the last job, which waits for one of these arrays."""
        if count := self.at_work(run):
            return f"{count_text(count, 'job')} of this run in the queue already"
        layout, committed = self.elements(run), run.committed_shards()
        left = layout.elements_of(shard for shard in range(layout.shards) if shard not in committed)
        arrays: list[str] = []
        for number in range(self.settings.retries + 1 if left else 0):
            # After all of the earlier ones: one that is cancelled, as it is not needed, counts as failed too.
            after = ",".join(f"afternotok:{array}" for array in arrays)
            arrays.append(self._submit_one(run, left, number * self.gives_memory, after))
        after = "?".join(f"afterok:{array}" for array in arrays)
        last = self._submit_one(run, [COMBINE], 0, after, finish=True)
        first = f" (array {arrays[0]})" if arrays else ""
        return f"{count_text(len(left), 'job')} submitted{first}, then job {last} for the table"

    def _submit_one(
        self, run: RunFolder, elements: Sequence[int], more_memory: int, after: str, *, finish: bool = False
    ) -> str:
        """Submit a job or an array that must be taken whole; its id, also where Slurm took it and did not answer."""
        name = _names(run)[elements[0] == COMBINE]
        known = self._ids(name)
        for trouble in range(1, MOST_TROUBLE + 1):
            try:
                return self._sbatch(run, elements, more_memory, after, finish=finish)
            except UnansweredError:
                if trouble == MOST_TROUBLE:
                    raise
            self.pause(trouble)
            with contextlib.suppress(BusyError):
                if news := self._ids(name) - known:
                    return max(news, key=int)
        raise AssertionError

    def _ids(self, name: str) -> set[str]:
        """The ids of all jobs and arrays of a name that Slurm knows."""
        return set(call("squeue", "--noheader", "--states=all", f"--name={name}", "--format=%F").split())

    def record(self) -> Mapping[str, Any]:
        """What run.json says of it."""
        given = {name: value for name, value in asdict(self.settings).items() if value not in (None, (), False)}
        return self.with_guess({"name": self.name, "settings": {**given, "cores": self.cores}})


def _names(run: RunFolder) -> tuple[str, str]:
    """The names of a run's arrays, and of its last job."""
    return f"scaledproc-{run_token(run)}", f"scaledproc-{run_token(run)}-combine"


def _shards_word(layout: Elements) -> str:
    """The shards of an element, as the job's shell makes them of its number."""
    if layout.each == 1:
        return "$SLURM_ARRAY_TASK_ID"
    first, last = f"SLURM_ARRAY_TASK_ID * {layout.each}", layout.shards - 1
    end = f"{first} + {layout.each - 1}"
    return f"$(({first}))-$(({end} < {last} ? {end} : {last}))"
