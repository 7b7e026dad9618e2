"""Which shards a job has, what became of it, and what to do about it: plain data and functions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, Self

from scaledproc.events import State
from scaledproc.storage.retry import RetryPolicy

CALLS = 20
"""How many calls of the batch system fail in a row before its backend gives up."""
LONGEST_WAIT = 60.0
"""Seconds; the wait between two of them is drawn from half of that to one and a half."""
COMBINE = -1
"""The element that combines; the others are numbered from 0."""

Fate = Literal["", "well", "memory", "time", "lost", "ended", "stopped", "hopeless", "worker"]
"""What ended a job: nothing that is known; itself, too little memory, its time, its machine, a signal, a person; an
error that another try would meet again; any other."""
_STATES: Mapping[Fate, State] = {"well": State.DONE, "stopped": State.STOPPED}


@dataclass(frozen=True)
class QueuedJob:
    """A job as the batch system tells of it.

    Parameters
    ----------
    element
        Which shards it has.
    name
        Its id, for a person and for its heartbeat.
    state
        Where it is.
    detail
        Why, for a person.
    fate
        What ended it.
    in_doubt
        Whether it may have ended, which is not known yet.
    """

    element: int
    name: str
    state: State
    detail: str = ""
    fate: Fate = ""
    in_doubt: bool = False

    @classmethod
    def ended(cls, element: int, name: str, fate: Fate, detail: str) -> Self:
        """One that is over."""
        return cls(element, name, _STATES.get(fate, State.FAILED), detail, fate)

    @property
    def is_over(self) -> bool:
        """Whether it has ended, however that was."""
        return self.state in (State.DONE, State.FAILED, State.STOPPED)


@dataclass(frozen=True)
class Elements:
    """How the shards of a run are dealt to jobs: so many consecutive ones each.

    Parameters
    ----------
    shards
        Of the run.
    each
        Shards of a job; the last one may have fewer.
    """

    shards: int
    each: int = 1

    @property
    def count(self) -> int:
        """Number of elements."""
        return -(-self.shards // self.each)

    def shards_of(self, element: int) -> range:
        """The shards of an element; none of the one that combines."""
        if element == COMBINE:
            return range(0)
        return range(element * self.each, min((element + 1) * self.each, self.shards))

    def elements_of(self, shards: Iterable[int]) -> list[int]:
        """The elements that have these shards."""
        return sorted({shard // self.each for shard in shards})

    def shell_text(self, variable: str) -> str:
        """The shards of an element, as a shell makes them of a variable that has its number."""
        if self.each == 1:
            return f"${variable}"
        first, last = f"{variable} * {self.each}", self.shards - 1
        end = f"{first} + {self.each - 1}"
        return f"$(({first}))-$(({end} < {last} ? {end} : {last}))"


def latest(jobs: Iterable[QueuedJob]) -> list[QueuedJob]:
    """One job of each element: one at work, else one that waits, else one that is over; of several such, the last.

    Parameters
    ----------
    jobs
        In the order in which they were submitted.
    """
    ranked = sorted(jobs, key=lambda job: (not job.is_over, job.state is not State.QUEUED))
    best = {job.element: job for job in ranked}
    return [best[element] for element in sorted(best)]


@dataclass
class Tries:
    """What is known of an element over all of its jobs.

    Parameters
    ----------
    count
        Jobs in a row that committed nothing, the one at work among them.
    more_memory
        How often it was given more memory.
    mark
        How much of it was committed when its last job was submitted.
    over
        The last job that was seen to be over.
    again
        Whether it is to be submitted again, which has not been done yet.
    failed
        Why it is given up.
    """

    count: int = 0
    more_memory: int = 0
    mark: int = 0
    over: str | None = None
    again: bool = False
    failed: str = ""


def next_try(tries: Tries, fate: Fate, committed: int, retries: int, *, may_have_memory: bool) -> bool:
    """Whether an element whose job is over gets another one; counts that.

    A job that committed something costs no try, so one that is preempted or runs into its time limit goes on for as
    long as it gets on. Where memory is what it lacks, it is given more; the same would fail again.

    Parameters
    ----------
    tries
        What is known of it; changed.
    fate
        What ended its job.
    committed
        How much of it is committed now.
    retries
        How many more jobs than one may commit nothing.
    may_have_memory
        Whether more memory is to be had.
    """
    if fate in ("stopped", "hopeless"):
        return False
    if committed > tries.mark:
        tries.count = 0
    if fate == "memory":
        tries.more_memory += may_have_memory
        if not may_have_memory and committed <= tries.mark:
            return False
    return tries.count <= retries


def room(at_once: int | None, at_work: int, *, has_throttle: bool) -> int | None:
    """How many more jobs may be submitted now, so that no more than `at_once` work; None for any number.

    Jobs that are submitted in one go may be held to `at_once` by the batch system, but only they: beside jobs that are
    there already, which have a limit of their own, no more are submitted than are left of it.

    Parameters
    ----------
    at_once
        The limit; None for none.
    at_work
        Jobs of the run that are queued or at work.
    has_throttle
        Whether the batch system holds jobs that are submitted in one go to the limit.
    """
    if at_once is None or (has_throttle and not at_work):
        return None
    return max(at_once - at_work, 0)


def wait_after(trouble: int, poll_seconds: float, share: float) -> float | None:
    """How long to wait after calls of the batch system that failed in a row; None to give up.

    Parameters
    ----------
    trouble
        How many there were.
    poll_seconds
        Seconds between two looks that succeed.
    share
        Random, from 0 to 1, so that runs that were refused together do not call again together.
    """
    policy = RetryPolicy(CALLS, math.inf, 2 * poll_seconds, LONGEST_WAIT, spread=(0.5, 1.5))
    return policy.wait(trouble, 0.0, "passing", None, share)
