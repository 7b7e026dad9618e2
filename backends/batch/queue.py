"""A backend whose jobs wait in the queue of a batch system, and work on machines that share this one's filesystem."""

from __future__ import annotations

import json
import re
import shlex
import sys
import time
from abc import abstractmethod
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

from scaledproc._util.redaction import has_login, is_secret_option
from scaledproc._util.user_cache import cache_folder
from scaledproc.backend.base import Backend, Capabilities, Expected, Job
from scaledproc.errors import ScaledprocError, UsageError
from scaledproc.events import CombineDone, Event, Note, ShardDone, ShardState, State
from scaledproc.execution.heartbeat import Heartbeat, read_heartbeats, shard_states
from scaledproc.run_folder.folder import RunFolder
from scaledproc.run_folder.names import COMBINED, WORK, work_name
from scaledproc.run_folder.record import read_record, reports_of

from .disks import local_disks
from .elements import COMBINE, Elements, QueuedJob, Tries, next_try

CONTROL = f"{WORK}/control"
STOP = f"{CONTROL}/stop"
MOST_TROUBLE = 20  # looks in a row that fail before giving up
LONGEST_BLINDNESS = 60.0  # seconds between two of them
LOG_END = 1500  # characters of a job's log that are shown
_TELLING = (State.STARTING, State.RUNNING)
_CHUNK = re.compile(r"\d+\.parquet")
_WHOLE_SHARD = 10**6  # more than a shard has chunks


class BusyError(ScaledprocError):
    """The batch system cannot be asked now, or takes no more jobs."""


class BatchBackend(Backend):
    """Runs elements of shards as jobs of a batch system, watches them, and verifies them by what they committed.

    A subclass submits, looks and cancels; `retries`, `poll` and `per_job` come from its settings.

    Parameters
    ----------
    jobs, scratch, settings
        As `Backend` has them.
    """

    capabilities = Capabilities(shares_disk=True)
    retries: int
    poll: float
    per_job: int
    gives_memory = False
    """Whether a job may be given more memory than the last one."""

    def __init__(self, *, jobs: int | None = None, scratch: Path | None = None, **settings: Any) -> None:
        super().__init__(jobs=jobs, scratch=scratch, **settings)
        self._heartbeats: Mapping[str, tuple[str, Heartbeat]] = {}
        self._run: RunFolder | None = None
        self._at_work = 0
        self._guess: dict[str, float] = {}

    def guess(self, found: Expected) -> None:
        """Keep what a run is expected to take, for run.json."""
        self._guess = {
            "seconds": round(found.content["seconds"], 1),
            "work_seconds": round(3600 * found.content["core_hours"], 1),
        }

    def with_guess(self, record: Mapping[str, Any]) -> Mapping[str, Any]:
        """What run.json says of the backend, with what the run was expected to take."""
        return {**record, "expected": self._guess} if self._guess else record

    @abstractmethod
    def submit(self, run: RunFolder, elements: Sequence[int], at_work: int, more_memory: int) -> Sequence[int]:
        """Submit a job for each element; those that the batch system took.

        Parameters
        ----------
        run, elements
            Whose they are, and which.
        at_work
            How many jobs of the run are there already.
        more_memory
            How often they have got more memory.

        Raises
        ------
        ScaledprocError
            If the batch system refuses them.
        """

    @abstractmethod
    def look(self, run: RunFolder) -> Sequence[QueuedJob]:
        """What is known of the run's jobs now, at most one of each element.

        Raises
        ------
        BusyError
            If the batch system cannot be asked now.
        """

    @abstractmethod
    def cancel(self, run: RunFolder) -> None:
        """Cancel all of the run's jobs."""

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
                if trouble == MOST_TROUBLE:
                    raise
                if trouble == 1:
                    yield Note(f"{error}; submitting again")
                self.pause(trouble)
                continue
            trouble = 0
            failed = [f"{self._what(run, each)}: {tries[each].failed}" for each in left if tries[each].failed]
            if len(failed) == len(left):
                raise ScaledprocError("\n".join((*failed, "what is committed is kept, the same command continues")))
            time.sleep(self.poll)

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
        tries.again = next_try(tries, job.fate, committed, self.retries, may_have_memory=self.gives_memory)
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
            for element in self.submit(run, list(group), busy, more):
                if tries[element].again:
                    why = found[element].detail if element in found else "it left the queue"
                    yield Note(f"{self._what(run, element)} is submitted again: {why}")
                tries[element].count += 1
                tries[element].mark = progress[element]
                tries[element].over, tries[element].again = None, False
                busy += 1
        self._at_work = busy

    def _look(self, run: RunFolder) -> Generator[Event, None, Sequence[QueuedJob]]:
        """What `look` gives, which may fail for a while."""
        for trouble in range(1, MOST_TROUBLE + 1):
            try:
                return self.look(run)
            except BusyError as error:
                if trouble == MOST_TROUBLE:
                    raise
                if trouble == 3:
                    yield Note(f"{error}; asking again")
                self.pause(trouble)
        raise AssertionError

    def pause(self, trouble: int) -> None:
        """Wait after so many calls in a row that failed."""
        time.sleep(min(self.poll * 2**trouble, LONGEST_BLINDNESS))

    def _report(self, run: RunFolder, shard: int) -> ShardDone:
        """What became of a committed shard, also where a job has ended the run meanwhile, and its report is gone."""
        try:
            return run.shard_report(shard)
        except FileNotFoundError:
            record = read_record(run.store)
            if record is None or record.state != "done":
                raise
            return next(done for done in reports_of(record) if done.shard == shard)

    def _committed(self, run: RunFolder) -> set[int]:
        return set(range(run.record.counts["shards"])) if self._is_finished(run) else run.committed_shards()

    def _is_done(self, run: RunFolder, element: int, committed: set[int]) -> bool:
        if element == COMBINE:
            return self._is_finished(run) or (run.store.exists(COMBINED) and run.store.exists(run.record.last_of_table))
        return committed.issuperset(self.elements(run).shards_of(element))

    def _is_finished(self, run: RunFolder) -> bool:
        record = read_record(run.store)
        return record is not None and record.state == "done"

    def _progress(self, run: RunFolder, elements: Sequence[int], committed: set[int]) -> dict[int, int]:
        """How much of each element is committed, as a number that only grows."""
        begun = set(run.store.names(WORK)) if elements else set()

        def of(shard: int) -> int:
            folder = work_name(shard, "")
            if shard in committed or folder.removeprefix(f"{WORK}/").rstrip("/") not in begun:
                return _WHOLE_SHARD if shard in committed else 0
            return sum(_CHUNK.fullmatch(name) is not None for name in run.store.names(folder))

        layout = self.elements(run)
        return {element: sum(map(of, layout.shards_of(element))) for element in elements}

    def _what(self, run: RunFolder, element: int) -> str:
        shards = self.elements(run).shards_of(element)
        if element == COMBINE:
            return "combine"
        return f"shard {shards[0]}" if len(shards) == 1 else f"shards {shards[0]}-{shards[-1]}"

    # What jobs are

    def elements(self, run: RunFolder) -> Elements:
        """How the run's shards are dealt to jobs: as when the first of them were submitted."""
        each = self.control(run).get("each") or self.shards_per_job(run.record.counts["shards"])
        return Elements(run.record.counts["shards"], each)

    def shards_per_job(self, shards: int) -> int:  # noqa: ARG002 - some look at the site
        """How many shards a job has."""
        return self.per_job

    def control(self, run: RunFolder) -> dict[str, Any]:
        """What this backend keeps in the run's folder."""
        try:
            found = json.loads(run.store.read(f"{CONTROL}/{self.name}.json"))
        except (FileNotFoundError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def keep(self, run: RunFolder, **changes: Any) -> None:
        """Keep something there."""
        content = {"each": self.elements(run).each, **self.control(run), **changes}
        run.store.write(f"{CONTROL}/{self.name}.json", json.dumps(content).encode())

    def worker(self, run: RunFolder, what: str, report: str, grace: float, *, finish: bool = False) -> str:
        """The command that does a job, for a shell.

        Parameters
        ----------
        run
            The run.
        what, report
            Which job, and the name that its heartbeat has; as a shell reads them.
        grace
            Seconds that the job has to finish its chunks when it is told to end.
        finish
            Whether it ends the run.
        """
        words = [sys.executable, "-m", "scaledproc", "worker", run.store.uri]
        options = [f"--jobs={self.cores}", f"--grace={grace:g}"]
        if self.scratch is not None:
            options.append(f"--scratch={self.scratch}")
        options += [f"--storage-option={key}={json.dumps(value)}" for key, value in storage_options(run).items()]
        return f"{shlex.join(words)} {what} --report {report} {shlex.join(options)}{' --finish' if finish else ''}"

    def logs(self, run: RunFolder) -> Path:
        """The folder of the jobs' logs, which is made."""
        local = run.store.local
        folder = cache_folder() / self.name / run_token(run) if local is None else local / CONTROL / "logs"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _said(self, run: RunFolder, job: QueuedJob) -> str:
        """The end of a job's log."""
        try:
            text = (self.logs(run) / f"{job.name}.log").read_text(errors="replace").strip()[-LOG_END:]
        except OSError:
            return ""
        return f"\n{text}" if text else ""

    # From any machine

    def states(self, run: RunFolder) -> Sequence[ShardState]:
        """What the run's jobs do now."""
        return self._states(run, self.look(run), run.committed_shards())

    def _states(self, run: RunFolder, found: Sequence[QueuedJob], committed: set[int]) -> list[ShardState]:
        elements = self.elements(run)
        self._heartbeats = read_heartbeats(run.store, self._heartbeats)
        beats = shard_states(beat for _, beat in self._heartbeats.values())
        states = []
        for job in found:
            for shard in elements.shards_of(job.element):
                beat = beats.get((job.name, shard))
                if shard in committed or job.state is State.DONE:
                    continue
                is_telling = beat is not None and job.state in _TELLING and beat.state is not State.DONE
                states.append(beat if is_telling and beat else ShardState(shard, job.state, job.name, job.detail))
        return sorted(states, key=lambda state: state.shard)

    def at_work(self, run: RunFolder) -> int:
        """How many jobs of a run are queued or at work."""
        return sum(not job.is_over for job in self.look(run))

    def halt(self, run: RunFolder) -> int:
        """Cancel the run's jobs, whoever submitted them."""
        count = self.at_work(run)
        run.store.write(STOP, b"")  # for a driver that is about to submit more
        self.cancel(run)
        return count

    def interrupt(self, ask: Callable[[str], bool]) -> str:
        """Ask whether the jobs are to be cancelled, where somebody can answer."""
        if self._run is None or not self._at_work:
            return ""
        jobs = f"{self._at_work} {'job is' if self._at_work == 1 else 'jobs are'} queued or at work"
        if not ask(f"{jobs}. Cancel them?"):
            return f"{jobs} and left to go on: the same command watches them, scaledproc stop OUTPUT cancels them"
        self.cancel(self._run)
        return f"{jobs} and cancelled"

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


def run_token(run: RunFolder) -> str:
    """What the names of all jobs of a run have in common, whoever submits them."""
    import hashlib

    return hashlib.sha256(run.record.work_id.encode()).hexdigest()[:10]


def storage_options(run: RunFolder) -> dict[str, Any]:
    """Storage options for the workers.

    Raises
    ------
    UsageError
        If one may be a secret: the commands of jobs can be read by others.
    """
    found: dict[str, Any] = {}
    for side, store in (("input", run.dataset), ("output", run.store)):
        for key, value in store.options.items():
            if _may_be_secret(key, value):
                raise UsageError(
                    f"--storage-option {key}: cannot be given to the jobs, whose commands others can read; set it "
                    "in the environment, which they have too, or in the configuration of your account"
                )
            found[f"{side}.{key}"] = value
    return found


def _may_be_secret(key: str, value: Any) -> bool:
    """Whether a storage option must not be shown, or cannot be written as a text."""
    if isinstance(value, Mapping):
        return any(_may_be_secret(str(inner), each) for inner, each in value.items())
    if isinstance(value, list | tuple):
        return any(_may_be_secret(key, each) for each in value)
    is_plain = isinstance(value, str | int | float | bool) or value is None
    return is_secret_option(key) or not is_plain or (isinstance(value, str) and has_login(value))
