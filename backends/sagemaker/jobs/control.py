"""Many jobs at once: started as there is room, watched together, tried again, verified by what they committed."""

from __future__ import annotations

import contextlib
import hashlib
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from scaledproc._util.text import count_text
from scaledproc.errors import ScaledprocError, UsageError
from scaledproc.events import Event, Note, ShardState, State
from scaledproc.execution.heartbeat import Heartbeat, read_heartbeats, shard_states
from scaledproc.run_folder.folder import RunFolder
from scaledproc.run_folder.record import read_record
from scaledproc.storage.store import describe, store_errors

from ..cost.billing import Bill
from ..quotas import ASK_FOR_MORE, usage_type
from ..service import Jobs, JobSummary, Service, ServiceError
from ..settings import Settings
from .decisions import (
    Fate,
    exceeded_quota,
    fate,
    is_not_the_volume,
    look_again,
    machine_of,
    pause,
    pause_for_room,
    reason,
    smallest_scratch,
)
from .job_list import COMBINE, KEYS, STOP, has_combined, has_parts, publish
from .requests import Assignment, Choice, is_mounted, possible_types

if TYPE_CHECKING:
    from scaledproc.events import ShardDone

T = TypeVar("T")
U = TypeVar("U")

SUBMITTERS = 8  # requests under way at once: 200 jobs are not 200 round trips one after the other
SHOWN_LINES = 8
TOO_SHORT = (
    "nothing of it was finished, and another try would begin anew: give a longer --max-runtime or more --shards, or "
    "--input-mode stage, which keeps each chunk"
)
LARGER: Mapping[Fate, str] = {
    "memory": "another try on the same machine would fail again: give an --instance-type with more memory, or fewer "
    "--jobs; for combining --combine-instance-type",
    "disk": "another try with the same disk would fail again: give a larger --volume-size; for combining "
    "--combine-volume-size",
}
_CLOCKS = timedelta(minutes=10)  # by which this clock and the service's may differ
_ENDED = ("Completed", "Failed", "Stopped")
_NAME = re.compile(r".*-([a-z]+\d*)-(\d+)")


def run_token(run: RunFolder) -> str:
    """What the names of all jobs of a run have in common, whoever starts them."""
    text = f"{run.store.uri}\0{run.record.plan_id}\0{run.record.timings.get('started')}"
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def job_name(prefix: str, token: str, key: str, attempt: int) -> str:
    """A job's name: the same for the same try, so that two drivers cannot start twins."""
    return f"{prefix}-{token}-{key}-{attempt}"


def key_and_attempt(name: str) -> tuple[str, int]:
    """What a job's name says of it."""
    match = _NAME.fullmatch(name)
    return (match[1], int(match[2])) if match else ("", 0)


@dataclass
class _JobState:
    """What is known of a job over all its tries, until it is done."""

    assignment: Assignment
    attempt: int = 0
    tries: int = 0
    not_before: float = 0.0
    waits: int = 0
    """How often in a row there was no machine for it."""
    waits_since: float = 0.0
    without: frozenset[str] = frozenset()
    """Types of machines that are known not to do."""
    prefers: bool = True
    """Whether its last request named several types."""
    name: str = ""
    is_stopping: bool = False


class Controller:
    """Does assignments by jobs.

    Parameters
    ----------
    jobs
        What runs them.
    run, settings
        Whose they are, and how.
    request
        Makes the request of a assignment's try: its name, the assignment, and which machines to ask for.
    bills
        Where what each job took is added.
    """

    def __init__(
        self,
        jobs: Jobs,
        run: RunFolder,
        settings: Settings,
        request: Callable[[str, Assignment, Choice], dict[str, Any]],
        bills: dict[str, Bill],
    ) -> None:
        self._jobs = jobs
        self._run = run
        self._settings = settings
        self._request = request
        self._bills = bills
        self._token = run_token(run)
        self._waiting: list[_JobState] = []
        self._active: list[_JobState] = []
        self._failed: list[tuple[_JobState, str]] = []
        self._room = settings.max_parallel_jobs
        self._room_until = 0.0
        self._refusals = 0
        self._prefers = True
        self._has_started = False
        self._heartbeats: Mapping[str, tuple[str, Heartbeat]] = {}
        self._asked_gb: dict[str, int] = {}
        self._told: set[int] = set()
        self._noted: set[str] = set()
        self._troubles = 0
        self._last_look: datetime | None = None
        self.completed: dict[str, str] = {}
        """The name of the job that did an assignment, by the assignment's key."""
        self.is_over = False
        """Whether another driver finished the run meanwhile."""

    @property
    def active(self) -> list[str]:
        """The names of the jobs that are not over."""
        return [job.name for job in self._active]

    def at_work(self) -> list[str]:
        """As `active`, with those that were started just before somebody interrupted."""
        try:
            listed = self._jobs.summaries(self._token)
        except ServiceError:
            return self.active
        return [job.name for job in listed if job.status == "InProgress"]

    def do(self, assignments: Sequence[Assignment]) -> Iterator[Event]:
        """Do assignments, and tell what happens.

        Raises
        ------
        ScaledprocError
            If some of the assignments cannot be done. The others were.
        """
        self._waiting = [_JobState(assignment) for assignment in assignments]
        yield from self._attach()
        while self._waiting or self._active:
            yield from self._submit()
            if not self._active and not self._waiting:
                break
            time.sleep(self._settings.poll_seconds if self._active else min(self._settings.poll_seconds, 1.0))
            if self._active:
                yield from self._look()
        if self._has_started and not self._heartbeats:  # all jobs were quicker than a look at them
            with contextlib.suppress(*store_errors()):
                self._heartbeats = read_heartbeats(self._run.store, self._heartbeats)
        if self._failed:
            raise ScaledprocError(self._report())

    # Starting

    def _attach(self) -> Iterator[Event]:
        """Take over the jobs of an earlier command instead of starting twins."""
        jobs = {job.assignment.key: job for job in self._waiting}
        found: dict[str, tuple[int, str, str]] = {}
        listed = self._jobs.summaries(self._token)
        for summary in listed:
            key, attempt = key_and_attempt(summary.name)
            if key in jobs:
                found[key] = max(found.get(key, (0, "", "")), (attempt, summary.name, summary.status))
            elif summary.status not in _ENDED:
                self._watch_other(summary, key, attempt)
        ended = [summary.name for summary in listed if summary.status in _ENDED and summary.name not in self._bills]
        for name, description in zip(ended, self._side_by_side(self._jobs.describe, ended), strict=True):
            self._bill(name, description)
        committed = self._run.committed_shards() if ended else set()  # some may have ended just now
        for key, (attempt, name, status) in found.items():
            job = jobs[key]
            job.attempt, job.name = attempt, name
            if status in _ENDED:
                yield from self._tell_done(job.assignment.shards, committed)
                if job.assignment.shards and committed.issuperset(job.assignment.shards):
                    self._waiting.remove(job)
                    self.completed[key] = name
                if key == KEYS and status == "Completed" and has_parts(self._run, job.assignment, name) == "all":
                    self._waiting.remove(job)
                    self.completed[key] = name
                continue
            job.is_stopping = status == "Stopping"
            job.tries = 1
            self._waiting.remove(job)
            self._active.append(job)
            yield Note(f"job {name} is at work already: watching it")
            yield from self._say(job, State.STARTING)
        for job in self._waiting:
            yield from self._say(job, State.QUEUED)

    def _watch_other(self, job: JobSummary, key: str, attempt: int) -> None:
        """Wait for a job that is not of this command's assignments: its shards are committed, and it is about to end.

        Raises
        ------
        UsageError
            If the other job makes shards that this command is to make, in another way.
        """
        if key == COMBINE and not self._waiting:
            return  # it is taken over when there is nothing left but to combine
        shards = {shard for job in self._waiting for shard in job.assignment.shards}
        if self._waiting and (not key.startswith("s") or int(key[1:]) in shards):
            raise UsageError(
                f"job {job.name} is at work for this run, with another --input-mode or another choice of --instances: "
                f"give the same as then, wait for it, or stop it: scaledproc stop {self._run.store}"
            )
        self._active.append(_JobState(Assignment(key), attempt, name=job.name))

    def _submit(self) -> Iterator[Event]:
        now = time.monotonic()
        if now >= self._room_until:  # others of the account may have ended their jobs meanwhile
            self._room = self._settings.max_parallel_jobs
        room = self._room - len(self._active)
        ready = [job for job in self._waiting if job.not_before <= now][: max(room, 0)]
        if not ready:
            return
        if self._is_stopped():
            yield from self._give_up_all("it was stopped: scaledproc stop")
            return
        refused: list[tuple[_JobState, ServiceError]] = []
        for job, error in zip(ready, self._side_by_side(self._start, ready), strict=True):
            self._waiting.remove(job)
            if error is None:
                self._active.append(job)
                self._has_started = True
                yield from self._say(job, State.STARTING)
            else:
                refused.append((job, error))
        self._refusals = self._refusals + 1 if any(error.trouble == "limit" for _, error in refused) else 0
        for job, error in refused:  # after those that were started: they may be why
            yield from self._not_started(job, error)

    def _is_stopped(self) -> bool:
        return self._run.store.exists(STOP)

    @staticmethod
    def _side_by_side(do: Callable[[T], U], what: Sequence[T]) -> list[U]:
        if not what:
            return []
        with ThreadPoolExecutor(SUBMITTERS, thread_name_prefix="calls") as pool:
            return list(pool.map(do, what))

    def _start(self, job: _JobState) -> ServiceError | None:
        job.attempt += 1
        job.name = job_name(self._settings.job_name_prefix, self._token, job.assignment.key, job.attempt)
        job.prefers = self._prefers and len(possible_types(self._settings, job.assignment, job.without)) > 1
        request = self._request(job.name, job.assignment, Choice(job.attempt, job.without, self._prefers))
        self._asked_gb[job.name] = (
            request.get("ProcessingResources", {}).get("ClusterConfig", {}).get("VolumeSizeInGB", 0)
        )
        try:
            self._jobs.create(request)
        except ServiceError as error:
            if error.trouble != "exists":
                return error
            self._last_look = None  # another command started just this try: watch it, even if it ended long ago
        job.tries += 1
        return None

    def _not_started(self, job: _JobState, error: ServiceError) -> Iterator[Event]:
        job.attempt -= 1
        job.name = ""
        if error.trouble in ("denied", "invalid"):
            yield from self._refused(job, error)
        elif error.trouble == "limit":
            yield from self._above_quota(job, error)
        elif error.trouble == "capacity":
            job.attempt += 1  # another machine, where there are several to choose from
            yield from self._wait_for(job, "capacity", str(error))
        else:
            if error.trouble == "expired":
                self._renew()
            job.tries += 1
            yield from self._again(job, "service", str(error))

    def _refused(self, job: _JobState, error: ServiceError) -> Iterator[Event]:
        """A request is not allowed, or not possible, as it is."""
        if job.prefers:  # a choice of machines is new: not every region, and not every policy, need know of it
            self._prefers = False
            self._waiting.append(job)
            yield from self._note(
                f"a request for several types of machines is refused, so they are tried one after the other: {error}"
            )
            return
        yield from self._give_up(job, str(error))
        if error.trouble == "denied" or not self._has_started:  # so it would be for all
            yield from self._give_up_all(str(error))

    def _above_quota(self, job: _JobState, error: ServiceError) -> Iterator[Event]:
        """The account has no room for a job: for now, or for no such job ever."""
        quota = exceeded_quota(str(error))
        if quota is not None:
            named = usage_type(quota)
            if named is not None and self._rules_out(job, named):
                yield from self._note(f"no {named}: {error}")
            else:
                yield from self._give_up(job, f"{error}; {ASK_FOR_MORE}")
        elif self._active:  # the run's own jobs may be why: go on with these, and try more at times
            self._room = len(self._active)
            seconds = pause_for_room(self._refusals, self._settings.retry_wait, random.random())  # noqa: S311 - no secret
            self._room_until = time.monotonic() + seconds
            job.waits = 0
            self._waiting.append(job)
            yield from self._note(f"the account allows no more jobs at once than {self._room} for now: {error}")
            yield from self._say(job, State.QUEUED)
        else:
            yield from self._wait_for(job, "a quota", str(error))

    def _rules_out(self, job: _JobState, instance_type: str) -> bool:
        """Have a job do without a type of machines from now on; False if there is no other one."""
        without = job.without | {instance_type}
        if (
            not instance_type
            or instance_type in job.without
            or not possible_types(self._settings, job.assignment, without)
        ):
            return False
        job.without = without
        self._waiting.append(job)
        return True

    def _wait_for(self, job: _JobState, what: str, why: str) -> Iterator[Event]:
        """Ask again later, for as long as the user waits."""
        now = time.monotonic()
        if not job.waits:
            job.waits_since = now
        job.waits += 1
        end = job.waits_since + self._settings.max_wait_seconds
        if now >= end:
            yield from self._give_up(job, f"{why}\nwaited for {what} for {self._settings.max_wait} (--max-wait)")
            return
        seconds = pause_for_room(job.waits, self._settings.retry_wait, random.random())  # noqa: S311 - no secret
        job.not_before = min(now + seconds, end)
        self._waiting.append(job)
        after = f"again in {job.not_before - now:.0f} s"
        limit = f"for {self._settings.max_wait} at most (--max-wait)"
        yield from self._say(job, State.RETRYING, f"waiting for {what}, {limit}, {after}: {_short(why)}")

    def _again(self, job: _JobState, what: Fate, why: str) -> Iterator[Event]:
        seconds = pause(what, max(job.tries, 1), self._settings.retries, self._settings.retry_wait, random.random())  # noqa: S311 - no secret
        if seconds is None:
            yield from self._give_up(job, why)
            return
        job.not_before = time.monotonic() + seconds
        self._waiting.append(job)
        yield from self._say(job, State.RETRYING, f"again in {seconds:.0f} s: {_short(why)}")

    def _give_up(self, job: _JobState, why: str) -> Iterator[Event]:
        self._failed.append((job, why))
        yield from self._say(job, State.FAILED, _short(why))

    def _give_up_all(self, why: str) -> Iterator[Event]:
        """Start no more."""
        waiting, self._waiting = self._waiting, []
        for job in waiting:
            yield from self._give_up(job, why)

    # Watching

    def _look(self) -> Iterator[Event]:
        asked = datetime.now(UTC)
        try:
            listed = self._jobs.summaries(self._token, self._last_look)
        except ServiceError as error:
            yield from self._endure(error)
            return
        self._last_look = asked - _CLOCKS
        status = {job.name: job.status for job in listed}
        ended = [job for job in self._active if status.get(job.name) in _ENDED]
        described = self._side_by_side(self._description, ended)
        trouble: ServiceError | None = None
        try:
            committed = self._run.committed_shards() if ended else set()
        except store_errors() as error:  # as with the service: it may pass
            self._last_look = None
            yield from self._endure(ServiceError("unreachable", f"{self._run.store}: {describe(error)}"))
            return
        for job, description in zip(ended, described, strict=True):
            if isinstance(description, ServiceError):  # at the next look, then
                self._last_look = None
                trouble = description
                continue
            self._active.remove(job)
            yield from self._end(job, description, committed)
        yield from self._progress()
        if trouble is None:
            self._troubles = 0
        else:
            yield from self._endure(trouble)

    def _description(self, job: _JobState) -> dict[str, Any] | ServiceError:
        try:
            return self._jobs.describe(job.name)
        except ServiceError as error:
            return error

    def _endure(self, error: ServiceError) -> Iterator[Event]:
        """Look again later: what is wrong may pass, and the jobs go on meanwhile."""
        self._troubles += 1
        if error.trouble == "expired":
            yield from self._note("the credentials have expired; log in again (the jobs go on meanwhile)")
            self._renew()
        seconds = look_again(self._troubles, self._settings.poll_seconds, random.random())  # noqa: S311 - no secret
        if seconds is None or error.trouble == "denied":
            raise ScaledprocError(
                f"the jobs cannot be watched: {error}; they go on, and the same command watches them again"
            ) from error
        time.sleep(seconds)

    def _renew(self) -> None:
        if isinstance(self._jobs, Service):
            self._jobs.renew()

    def _end(self, job: _JobState, description: Mapping[str, Any], committed: set[int]) -> Iterator[Event]:
        self._bill(job.name, description)
        assignment = job.assignment
        if assignment.combines and assignment.key != COMBINE:  # an earlier command's, whose shards are committed
            return
        yield from self._tell_done(assignment.shards, committed)
        left = tuple(shard for shard in assignment.shards if shard not in committed)
        if assignment.key == COMBINE:
            publish(self._run)
        is_done = has_combined(self._run) if assignment.key == COMBINE else not left
        parts = ""
        if assignment.key == KEYS and description["ProcessingJobStatus"] == "Completed":
            parts = has_parts(self._run, assignment, job.name)
            is_done = parts == "all"
        what = fate(description, committed=is_done, max_runtime=self._settings.max_runtime_seconds)
        if what == "done":
            self.completed[assignment.key] = job.name
            return
        if self._ended_elsewhere():
            self.is_over = True
            self._waiting, self._active, self._failed = [], [], []
            return
        if parts == "some":
            yield from self._give_up(job, "some files came to no machine: were they removed since they were listed?")
            return
        if assignment.key != KEYS and assignment.shards:
            job.assignment = replace(assignment, shards=left, instances=min(assignment.instances, max(len(left), 1)))
        if what == "stopped" and job.is_stopping:  # by an earlier command; this one is to do it
            job.is_stopping = False
            job.tries = 0
            what = "service"
        why = reason(what, description)
        if what == "capacity":
            yield from self._wait_for(job, "capacity", why)
            return
        job.waits = 0
        if what in ("memory", "disk") and self._rules_out(job, machine_of(description)):
            yield from self._say(job, State.RETRYING, f"on another machine: {_short(why)}")
            return
        if what == "timeout" and is_mounted(self._settings) and left == assignment.shards:
            yield from self._give_up(job, f"{why}\n{TOO_SHORT}")
            return
        yield from self._again(job, what, f"{why}\n{LARGER[what]}" if what in LARGER else why)
        if what == "stopped" and self._is_stopped():
            yield from self._give_up_all("it was stopped: scaledproc stop")

    def _ended_elsewhere(self) -> bool:
        """Whether the run is finished, so that its folder no longer shows what is committed."""
        record = read_record(self._run.store)
        return record is not None and record.state == "done" and record.plan_id == self._run.record.plan_id

    def _tell_done(self, shards: Sequence[int], committed: set[int]) -> Iterator[Event]:
        for shard in shards:
            if shard in committed and shard not in self._told:
                self._told.add(shard)
                done: ShardDone = replace(self._run.shard_report(shard), resumed=False)
                yield done

    def _progress(self) -> Iterator[Event]:
        """What the workers tell."""
        if not self._active:
            return
        before = self._heartbeats
        try:
            self._heartbeats = read_heartbeats(self._run.store, before)
        except store_errors():
            return  # it is only to show
        at_work = {job.name: job for job in self._active}
        changed = [beat for name, (version, beat) in self._heartbeats.items() if before.get(name, ("",))[0] != version]
        news = {(beat.job, shard) for beat in changed if beat.job in at_work for shard in beat.shards}
        for beat in changed:
            yield from self._compare_versions(beat)
            yield from self._compare_disks(beat)
        finished = False
        for place, state in shard_states(beat for _, beat in self._heartbeats.values()).items():
            if (
                place not in news
                or state.shard in self._told
                or state.shard not in at_work[state.job].assignment.shards
            ):
                continue
            finished |= state.state is State.DONE
            yield state
        if finished:  # some shards of a job that goes on with others
            committed = self._run.committed_shards()
            for job in self._active:
                yield from self._tell_done(job.assignment.shards, committed)

    def _compare_versions(self, beat: Heartbeat) -> Iterator[Event]:
        mine = self._run.record.versions
        differ = sorted(
            name
            for name in ("scaledproc", "pyarrow", "wfdb", "numpy")
            if name in beat.versions and name in mine and beat.versions[name] != mine[name]
        )
        if differ:
            words = ", ".join(f"{name} {beat.versions[name]} (here {mine[name]})" for name in differ)
            yield from self._note(f"the machines have other versions: {words}; the output may differ in its bytes")

    def _compare_disks(self, beat: Heartbeat) -> Iterator[Event]:
        """Say where a machine's data is on another disk than the one that was asked for."""
        asked = self._asked_gb.get(beat.job, 0)
        if beat.scratch_total and is_not_the_volume(beat.scratch_total, asked):
            yield from self._note(
                f"the machines' roomiest place, {beat.scratch}, has {beat.scratch_total / 1e9:,.0f} GB: a volume of "
                f"{asked:,} GB was asked for, and it is not there; units must fit without it"
            )

    @property
    def scratch(self) -> dict[str, Any] | None:
        """Where the smallest of the machines' scratch spaces was."""
        return smallest_scratch(beat for _, beat in self._heartbeats.values())

    # Telling

    def _note(self, text: str) -> Iterator[Event]:
        if text not in self._noted:
            self._noted.add(text)
            yield Note(text)

    def _say(self, job: _JobState, state: State, detail: str = "") -> Iterator[Event]:
        for shard in job.assignment.shards:
            yield ShardState(shard, state, job.name, detail)
        if job.assignment.combines and detail:
            yield from self._note(f"combining: {state}: {detail}")

    def _bill(self, name: str, description: Mapping[str, Any]) -> None:
        self._bills[name] = Bill.of(name, description)

    def _report(self) -> str:
        """Why some jobs failed: what the service and the worker say, the end of the log, and where it is."""
        shards = sum(len(job.assignment.shards) for job, _ in self._failed)
        made = "is" if shards == 1 else "are"
        what = f"{count_text(shards, 'shard')} {made} not made" if shards else "the shards are not combined"
        lines = [f"{what}; what is committed stays, and the same command runs the rest"]
        for job, why in self._failed[:5]:
            name = "combine" if job.assignment.combines else f"shard {', '.join(map(str, job.assignment.shards[:5]))}"
            lines.append(f"{name}: {why}")
            if not job.name:
                continue
            lines += [f"  | {line[:200]}" for line in self._jobs.last_lines(job.name, SHOWN_LINES)]
            lines.append(f"  job {job.name}: {self._jobs.link(job.name)}")
        if len(self._failed) > 5:
            lines.append(f"and {len(self._failed) - 5} more")
        return "\n".join(lines)


def _short(why: str) -> str:
    """What the service says, and the first line of what the worker left."""
    return ": ".join(why.splitlines()[:2])
