"""How far a run is, counted from what its events tell; shards, tasks, bytes, pace."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Self

from scaledproc._util.pace import WARMING, Pace, TimeLeft, left_text
from scaledproc._util.text import bytes_text
from scaledproc.events import ChunkDone, Failure, RunStarted, ShardDone, ShardState, State
from scaledproc.planning.cost_model import ASSUMED

AT_WORK = (State.RUNNING, State.STAGING, State.STARTING, State.STOPPING, State.RETRYING)
"""States of shards that some machine has or is about to have again, the most interesting first."""
SHOWN = 200  # characters of a failure's message
TROUBLE = (State.RETRYING, State.FAILED, State.STOPPED)
_AT_WORK_HERE = (State.STAGING, State.RUNNING)


class _Count(NamedTuple):
    tasks: int
    size: int
    quarantined: int

    @classmethod
    def of(cls, event: ChunkDone | ShardDone | ShardState) -> Self:
        return cls(event.tasks, event.size, event.quarantined)

    def plus(self, other: _Count) -> _Count:
        return _Count(*(a + b for a, b in zip(self, other, strict=True)))

    def minus(self, other: _Count) -> _Count:
        return _Count(*(a - b for a, b in zip(self, other, strict=True)))

    def most(self, other: _Count) -> _Count:
        return _Count(*map(max, self, other))

    def least(self, other: _Count) -> _Count:
        return _Count(*map(min, self, other))


NOTHING = _Count(0, 0, 0)


@dataclass
class _Shard:
    """What is known of one macro shard."""

    state: ShardState | None = None
    total: _Count | None = None
    """Once it is committed."""
    chunks: set[int] = field(default_factory=set)
    added: _Count = NOTHING
    """Its chunks together."""
    told: _Count | None = None
    """The most that a worker elsewhere told."""
    before: _Count = NOTHING
    """What of it was done before this process began."""

    @property
    def done(self) -> _Count:
        return self.total if self.total is not None else self.added.most(self.told or NOTHING)

    @property
    def resumed(self) -> _Count:
        return self.before.least(self.done)

    @property
    def name(self) -> State:
        """Where the shard is."""
        if self.total is not None:
            return State.DONE
        return self.state.state if self.state else State.WAITING


class RunProgress:
    """What is done so far, of each shard and of all.

    Chunks are added, each once; what a worker elsewhere tells of a shard is its sum so far; a committed shard counts as
    a whole. A shard's part in the sums never falls: a job that is tried again may have to do some tasks once more,
    and they are not counted until it is beyond where the first try was.

    Parameters
    ----------
    started
        The plan's sums.
    clock
        Seconds.
    """

    def __init__(self, started: RunStarted, clock: Callable[[], float] = time.monotonic) -> None:
        self.total_tasks = started.tasks
        self.total_size = started.size
        self.total_shards = started.shards
        self.has_machines = False
        """Whether a backend tells of jobs."""
        self._continues = started.resumed
        self._shards: dict[int, _Shard] = {}
        self._names: Counter[str] = Counter({State.WAITING: started.shards})
        self._done = self._resumed = NOTHING
        self._clock = clock
        self._began = self._paced_from = clock()
        self._is_at_work = False
        self._first: Failure | None = None
        self._are_alike = True
        self._pace = Pace(self._began)
        self._left = TimeLeft()

    def add(self, event: ChunkDone | ShardDone | ShardState) -> None:
        """Count what an event tells of."""
        shard = self._shards.setdefault(event.shard, _Shard())
        done, resumed, name = shard.done, shard.resumed, shard.name
        if isinstance(event, ShardState):
            self._hear(shard, event)
        elif isinstance(event, ShardDone):
            if event.resumed and not any(done):
                shard.before = _Count.of(event)
            shard.total = _Count.of(event)
            shard.chunks.clear()
        elif shard.total is None and event.chunk not in shard.chunks:
            shard.chunks.add(event.chunk)
            shard.added = shard.added.plus(_Count.of(event))
            if event.resumed:
                shard.before = shard.before.plus(_Count.of(event))
        self._done = self._done.plus(shard.done.minus(done))
        self._resumed = self._resumed.plus(shard.resumed.minus(resumed))
        self._names[name] -= 1
        self._names[shard.name] += 1
        self._is_at_work |= self._done != self._resumed
        for failure in event.failures:
            self._first = self._first or failure
            self._are_alike = self._are_alike and failure.cause == self._first.cause

    def _hear(self, shard: _Shard, state: ShardState) -> None:
        self.has_machines |= bool(state.job) or state.state not in _AT_WORK_HERE
        if shard.total is not None:
            return
        # A worker that is done has yet to be believed: its shard counts when it is found committed.
        shard.state = replace(state, state=State.RUNNING) if state.state is State.DONE else state
        if state.tasks:
            if shard.told is None and (self._continues or not state.seconds):
                shard.before = shard.before.most(_Count.of(state))  # an earlier command's work, seen for the first time
            shard.told = _Count.of(state).most(shard.told or NOTHING)
        if not self._is_at_work and state.state in _AT_WORK_HERE:  # machines take minutes to start: no part of the pace
            self._is_at_work = True
            ago = 0.0 if self._continues else state.seconds
            self._paced_from = max(self._began, self._clock() - ago)

    @property
    def tasks(self) -> int:
        """Number of tasks that are done."""
        return self._done.tasks

    @property
    def size(self) -> int:
        """Bytes of the files of the tasks that are done."""
        return self._done.size

    @property
    def quarantined(self) -> int:
        """How many of the tasks failed."""
        return self._done.quarantined

    @property
    def resumed_tasks(self) -> int:
        """How many of the tasks an earlier process did."""
        return self._resumed.tasks

    @property
    def counts(self) -> dict[str, int]:
        """How many shards are in which state."""
        return {name: count for name, count in self._names.items() if count}

    @property
    def is_complete(self) -> bool:
        """Whether all tasks are done, and where shards are told of, these too."""
        return self.tasks == self.total_tasks and (
            not self.has_machines or self._names[State.DONE] >= self.total_shards
        )

    @property
    def elapsed(self) -> float:
        """Seconds since this process began."""
        return self._clock() - self._began

    @property
    def throughput(self) -> float:
        """Bytes a second, of what was done since this process began, from when the first machine was at work."""
        return (self._done.size - self._resumed.size) / max(self._clock() - self._paced_from, 1e-9)

    @property
    def seconds_left(self) -> float | None:
        """Seconds that the rest takes at the pace so far, tasks and bytes weighed as for the cuts; None without a pace.

        It jumps whenever a piece of work ends; `calm_seconds_left` does not.
        """
        done, left = self._work, _weight(self.total_tasks - self.tasks, self.total_size - self.size)
        if not done:
            return None
        if self._pace.start != self._paced_from:
            self._pace = Pace(self._paced_from)
        now = self._clock()
        self._pace.add(now, done)
        rate = self._pace.rate(now, done)
        return left / rate if rate else None

    @property
    def _work(self) -> float:
        """What was done since this process began."""
        return _weight(self._done.tasks - self._resumed.tasks, self._done.size - self._resumed.size)

    @property
    def calm_seconds_left(self) -> float | None:
        """Seconds that the rest takes, as a person is shown them: without jumps.

        None in the first seconds, and when all is done.
        """
        now = self._clock()
        if self.tasks >= self.total_tasks or now - self._paced_from < WARMING:
            return None
        return self._left.shown(now, self.seconds_left)

    def failing_text(self) -> str:
        """The first failure, and how many more there are; nothing where there is none."""
        first = self._first
        if first is None:
            return ""
        others = f" and {self.quarantined - 1:,} more{'' if self._are_alike else ', not all alike'}"
        where = f" ({first.place})" if first.place else ""
        text = f"{first.anchor}{others if self.quarantined > 1 else ''}: {first.error}: {first.message[:SHOWN]}{where}"
        return " ".join(text.splitlines())

    def at_work(self) -> list[ShardState]:
        """The shards that machines have, running ones first."""
        found = [shard.state for shard in self._shards.values() if shard.state and shard.name in AT_WORK]
        return sorted(found, key=lambda state: (AT_WORK.index(state.state), state.shard))

    def text(self) -> str:
        """What is done, how fast, how long it still takes, and what failed, in one line."""
        return ", ".join(self.parts())

    def parts(self) -> list[str]:
        """What `text` tells, in parts between which a line can be broken."""
        parts = [
            f"{self.tasks:,}/{self.total_tasks:,} tasks",
            f"{bytes_text(self.size)} of {bytes_text(self.total_size)}",
        ]
        if self._work:
            parts.append(f"{bytes_text(self.throughput)}/s")
        if (left := self.calm_seconds_left) is not None:
            parts.append(left_text(left))
        if self.quarantined:
            parts.append(f"{self.quarantined:,} quarantined")
        return parts


def _weight(tasks: float, size: float) -> float:
    return ASSUMED.task * tasks + ASSUMED.byte * size
