"""A backend whose jobs wait in the queue of a batch system, and work on machines that share this one's filesystem."""

from __future__ import annotations

import random
import sys
import time
from abc import abstractmethod
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import count, groupby
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from scaledproc._util.text import count_text
from scaledproc.backend.base import Expected, Job
from scaledproc.errors import ScaledprocError
from scaledproc.events import CombineDone, Event, Note, ShardState, State
from scaledproc.run_folder.folder import RunFolder
from scaledproc.run_folder.names import COMBINED

from .calls import BusyError, FullError
from .disks import local_disks
from .elements import COMBINE, Elements, QueuedJob, Tries, next_try, room, wait_after
from .expected import expected
from .job_command import storage_options
from .known_jobs import STOP, KnownJobs
from .settings import COMMAND

if TYPE_CHECKING:
    from scaledproc.extractors import Extractor
    from scaledproc.planning.plan import Plan
    from scaledproc.storage.store import Store


class BatchBackend(KnownJobs):
    """Runs elements of shards as jobs of a batch system, watches them, and verifies them by what they committed.

    A subclass declares its settings, submits, looks and cancels. The parameters are those of `KnownJobs`.
    """

    title: ClassVar[str] = "the batch system"
    shell: ClassVar[str] = "/bin/sh"
    """What reads a job's script, where the user gives no template."""
    has_throttle: ClassVar[bool] = False
    """Whether the batch system itself lets only so many of the jobs work that are submitted in one go."""
    _at_work = 0
    _may_take: int | None = None
    """How many jobs the batch system may take in one go, since it took no more; None where it took all."""
    _expected: Mapping[str, float] = MappingProxyType({})

    def record(self) -> Mapping[str, Any]:
        """What run.json says of it, with what the run was expected to take."""
        return {**super().record(), **({"expected": dict(self._expected)} if self._expected else {})}

    @property
    def gives_memory(self) -> bool:
        """Whether a job may be given more memory than the last one."""
        return False

    def first_start(self) -> str:
        """When the batch system would start a job, where it tells."""
        return ""

    @abstractmethod
    def submit(self, run: RunFolder, elements: Sequence[int], more_memory: int) -> None:
        """Submit a job for each element.

        Parameters
        ----------
        run, elements
            Whose they are, and which.
        more_memory
            How often they have got more memory.

        Raises
        ------
        FullError
            If the batch system takes none of them now; it may take fewer.
        BusyError
            If nobody knows which of the jobs the batch system took.
        ScaledprocError
            If the batch system refuses them.
        """

    def script(self, command: str) -> str:
        """A job's script: the user's template, or the command alone.

        With `exec`, as a shell would die of SIGTERM, and with it the job, before the worker has committed its chunks.
        """
        path = self.settings.template
        text = f"#!{self.shell}\nexec {COMMAND}\n" if path is None else Path(path).read_text(encoding="utf-8")
        return text.replace(COMMAND, command)

    # Before the run

    def check(self, run: RunFolder, plan: Plan) -> Iterator[str]:
        """See whether the plan can be run; nothing is submitted."""
        yield from self.notes(run)
        elements = Elements(plan.n_shards, self.shards_per_job(plan.n_shards))
        if elements.each > self.settings.shards_per_job:
            yield f"{elements.each} shards a job, as {self.title} takes fewer jobs here than there are shards"
        guess = expected(self.title, plan, elements, self.cores, self.settings.at_once, run.extractor, "").content
        self._expected = {
            "seconds": guess["seconds"],
            "work_seconds": 3600 * guess["core_hours"],
            "jobs": elements.count,
        }
        start = self.first_start()
        yield f"{count_text(elements.count, 'job')} of {count_text(self.cores, 'core')}{start and f', {start}'}"

    def notes(self, run: RunFolder) -> Iterator[str]:
        """What a person should know before jobs are submitted; what cannot be is refused."""
        storage_options(run)
        places = {"the dataset": run.dataset.local, "the output": run.store.local, "Python": Path(sys.prefix)}
        found = local_disks({what: place for what, place in places.items() if place is not None})
        if found:
            yield (
                f"{', '.join(found)}: on a disk of this machine, as it seems; jobs on other machines need the same "
                "folders there"
            )

    def estimate(self, plan: Plan, dataset: Store, extractor: Extractor) -> Expected:  # noqa: ARG002 - as the base has it
        """Jobs, cores and time, as far as the queue lets them start."""
        elements = Elements(plan.n_shards, self.shards_per_job(plan.n_shards))
        return expected(self.title, plan, elements, self.cores, self.settings.at_once, extractor, self.first_start())

    # The run

    def run(self, run: RunFolder, jobs: Sequence[Job]) -> Iterator[Event]:
        """Submit the jobs that are not there yet, watch them, tell what happens."""
        self._run = run
        shards = [job.shard for job in jobs if job.shard is not None]
        if shards:
            committed = run.committed_shards()
            yield from (self._report(run, shard) for shard in sorted(committed.intersection(shards)))
            yield from self._do(run, self.elements(run).elements_of(shards), committed)
        if any(job.shard is None for job in jobs):
            yield from self._do(run, [COMBINE], self._committed(run))
            if not self._is_finished(run):  # by a job that was to end the run by itself
                try:
                    yield CombineDone.from_json(run.store.read(COMBINED))
                except FileNotFoundError:
                    if not self._is_finished(run):
                        raise

    def _do(self, run: RunFolder, wanted: Sequence[int], told: set[int]) -> Iterator[Event]:
        tries = {element: Tries() for element in wanted}
        states: dict[int, ShardState] = {}
        trouble = 0
        run.store.remove(STOP)
        while True:
            found = {job.element: job for job in (yield from self._look(run))}
            committed = self._committed(run)
            for shard in sorted(committed - told):
                yield replace(self._report(run, shard), resumed=False)
            told |= committed
            left = [element for element in wanted if not self._is_done(run, element, committed)]
            busy = [element for element in left if element in found and not found[element].is_over]
            self._at_work = len(busy)
            for element in busy:
                if found[element].in_doubt:
                    continue  # one that another process submitted, and that has ended, is no try
                if tries[element].again or not tries[element].count:  # by another process, or a call without an answer
                    tries[element].count += 1
                    tries[element].over, tries[element].again = None, False
                    tries[element].mark = self._progress(run, [element], committed)[element]
            if not left:
                return
            if run.store.exists(STOP):
                raise ScaledprocError("its jobs were stopped; what is committed is kept, the same command continues")
            for state in self._states(run, list(found.values()), committed):
                if states.get(state.shard) != state:
                    states[state.shard] = state
                    yield state
            progress = self._progress(run, [each for each in left if each not in busy], committed)
            todo = [each for each in progress if self._needs_job(run, each, tries[each], found, progress[each])]
            try:
                yield from self._submit(run, todo, tries, len(busy), found, progress)
            except BusyError as error:
                # It may have taken the jobs all the same: they are looked for before any is submitted again.
                trouble += 1
                if (wait := self._wait_after(trouble)) is None:
                    raise
                if trouble == 1:
                    yield Note(f"{error}; submitting again")
                self.pause(wait)
                continue
            trouble = 0
            failed = [f"{self._what(run, each)}: {tries[each].failed}" for each in left if tries[each].failed]
            if len(failed) == len(left):
                raise ScaledprocError("\n".join((*failed, "what is committed is kept, the same command continues")))
            time.sleep(self.settings.poll_seconds)

    def _needs_job(
        self, run: RunFolder, element: int, tries: Tries, found: Mapping[int, QueuedJob], committed: int
    ) -> bool:
        """Whether an element, whose job is over or which has none, is to be submitted; notes why it is not."""
        job = found.get(element, QueuedJob(element, "", State.FAILED, "it is not in the queue any more"))
        if tries.failed or tries.again:
            return tries.again
        if not tries.count and tries.over is None:
            return True  # what became of jobs that another process submitted does not count
        if tries.over != job.name:
            tries.over = job.name  # looked at once more: what it committed may be seen a little later
            return False
        tries.again = next_try(tries, job.fate, committed, self.settings.retries, may_have_memory=self.gives_memory)
        if tries.again:
            return True
        tries.failed = f"{job.detail or 'it ended'}{self._said(run, job)}"
        return False

    def _submit(
        self,
        run: RunFolder,
        todo: Sequence[int],
        tries: dict[int, Tries],
        busy: int,
        found: Mapping[int, QueuedJob],
        progress: Mapping[int, int],
    ) -> Iterator[Event]:
        for more, group in groupby(
            sorted(todo, key=lambda each: tries[each].more_memory), lambda each: tries[each].more_memory
        ):
            chosen = list(group)[: room(self.settings.at_once, busy, has_throttle=self.has_throttle)]
            for element in self._submit_some(run, chosen, busy, more):
                if tries[element].again:
                    why = found[element].detail if element in found else "it left the queue"
                    yield Note(f"{self._what(run, element)} is submitted again: {why}")
                tries[element].count += 1
                tries[element].mark = progress[element]
                tries[element].over, tries[element].again = None, False
                busy += 1
        self._at_work = busy

    def _submit_some(self, run: RunFolder, elements: Sequence[int], at_work: int, more_memory: int) -> Sequence[int]:
        """Submit as many of them as the batch system takes; which these are.

        One that is full is asked once a look: for as many as it took last, for twice as many where it took those.

        Raises
        ------
        FullError
            If the batch system takes no job, though none of the run is there.
        """
        elements = elements[: self._may_take]
        was_refused = False
        while elements:
            try:
                self.submit(run, elements, more_memory)
            except FullError:
                was_refused, self._may_take = True, max(len(elements) // 2, 1)
                if len(elements) == 1 and not at_work:
                    raise
                elements = elements[: len(elements) // 2]
            else:
                if self._may_take is not None and not was_refused:
                    self._may_take = max(self._may_take, 2 * len(elements))
                break
        return elements

    def submit_once(self, submit: Callable[[], str], ids: Callable[[], set[str]], known: Collection[str] = ()) -> str:
        """Submit what must be taken whole; its id, also where the batch system took it and did not answer.

        Parameters
        ----------
        submit
            Does it, and returns the id.
        ids
            The ids that the batch system has by now, of jobs of the same name.
        known
            Those of them that it had before.
        """
        is_in_doubt = False
        for trouble in count(1):
            try:
                if is_in_doubt and (news := ids().difference(known)):
                    return max(news, key=lambda each: (len(each), each))  # the last number
                return submit()
            except FullError:
                raise
            except BusyError:
                if (wait := self._wait_after(trouble)) is None:
                    raise
            is_in_doubt = True
            self.pause(wait)
        raise AssertionError

    def _look(self, run: RunFolder) -> Generator[Event, None, Sequence[QueuedJob]]:
        """What `look` gives, which may fail for a while."""
        for trouble in count(1):
            try:
                return self.look(run)
            except BusyError as error:
                if (wait := self._wait_after(trouble)) is None:
                    raise
                if trouble == 3:
                    yield Note(f"{error}; asking again")
                self.pause(wait)
        raise AssertionError

    def _wait_after(self, trouble: int) -> float | None:
        return wait_after(trouble, self.settings.poll_seconds, random.random())  # noqa: S311 - no secret

    def pause(self, seconds: float) -> None:
        """Wait after a call that failed."""
        time.sleep(seconds)

    def interrupt(self, ask: Callable[[str], bool]) -> str:
        """Ask whether the jobs are to be cancelled, where somebody can answer."""
        if self._run is None or not self._at_work:
            return ""
        jobs = f"{self._at_work} {'job is' if self._at_work == 1 else 'jobs are'} queued or at work"
        if not ask(f"{jobs}. Cancel them?"):
            return f"{jobs} and left to go on: the same command watches them, scaledproc stop OUTPUT cancels them"
        self.cancel(self._run)
        return f"{jobs} and cancelled"
