"""When the cores of a run were at work, and when its shards were, as whoever drives the run hears of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from scaledproc.events import ChunkDone, Event, ShardDone, ShardState, State

if TYPE_CHECKING:
    from scaledproc.engine.options import Listener

STRETCHES = 240
"""Equal stretches of time at most, for which work is added up: the picture of a run has so many steps."""
SHARDS = 2_000
"""Shards whose times are kept."""
TIMELINE_OF = "of"
"""What a timeline in run.json says it is of, where its shards are not the run's: `todo`, what an update had to do."""
FIRST_WIDTH = 0.02  # seconds; doubled as often as there are too many stretches


class Timeline:
    """Hears a run's events, and adds up who was at work when; its size does not grow with the run.

    A chunk is told of when it is done, with the time that it took one core, so it was at work for that time before.
    A shard of which no chunk is told, as those of machines elsewhere are, is taken to have been at work evenly from
    when it was heard to be until it was done.

    What cores waited for files to be staged is told with the chunk that had to be waited for, so it is put into the
    time before that was begun (or was handed to a process that had yet to start), as far back as there were cores
    without work, and what does not fit there soon after; or, of machines elsewhere, evenly.

    Parameters
    ----------
    begun
        When the run was, by the clock.
    cores
        How many are at work here.
    clock
        Seconds.
    """

    def __init__(self, begun: float, cores: int = 1, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._begun = begun
        self._width = FIRST_WIDTH
        self._busy: list[float] = []
        self._staging: list[float] = []  # of machines elsewhere, when it was
        self._staged: list[float] = []  # by when it was over
        self._cores = cores
        self._first: dict[int, float] = {}
        self._waited: dict[int, float] = {}
        self._handed: dict[int, float] = {}
        self._chunked: set[int] = set()
        self._shards: dict[int, tuple[float, float]] = {}

    def through(self, listen: Listener | None) -> Listener:
        """A listener that hears of each event before another one does."""

        def hear(event: Event) -> None:
            self.add(event)
            if listen is not None:
                listen(event)

        return hear

    def add(self, event: Event) -> None:
        """Hear of an event."""
        now = self._clock() - self._begun
        if isinstance(event, ShardState):
            if event.state in (State.QUEUED, State.STARTING):
                self._waited.setdefault(event.shard, now)
            elif event.state in (State.STAGING, State.RUNNING) and len(self._first) < SHARDS:
                self._first.setdefault(event.shard, now)
                if event.state is State.RUNNING and self._first[event.shard] < now:  # after it was staging
                    self._handed[event.shard] = now
        elif isinstance(event, ChunkDone) and not event.resumed:
            begin = max(0.0, now - event.seconds)
            self._add(self._busy, begin, now, 1.0)
            handed = self._handed.pop(event.shard, begin)  # of the shard's first chunk
            if event.staging:
                at = int(min(begin, handed) / self._width)
                self._staged += [0.0] * (at + 1 - len(self._staged))
                self._staged[at] += event.staging
            self._chunked.add(event.shard)
            if event.shard in self._first or len(self._first) < SHARDS:
                self._first[event.shard] = min(begin, self._first.get(event.shard, begin))
        elif isinstance(event, ShardDone) and not event.resumed:
            if event.shard not in self._first:
                return
            begin = self._first.pop(event.shard)
            if event.shard not in self._chunked and now > begin:
                self._add(self._busy, begin, now, event.seconds / (now - begin))
                if event.staging:
                    self._add(self._staging, begin, now, event.staging / (now - begin))
            self._chunked.discard(event.shard)
            self._handed.pop(event.shard, None)
            if len(self._shards) < SHARDS:
                self._shards[event.shard] = (begin, now)

    def _add(self, sums: list[float], begin: float, end: float, cores: float) -> None:
        """So many cores were at work, or waited, from one time to another."""
        while end / self._width >= STRETCHES:
            self._width *= 2
            for each in (self._busy, self._staging, self._staged):
                each[:] = [sum(each[at : at + 2]) for at in range(0, len(each), 2)]
        last = int(end / self._width)
        sums += [0.0] * (last + 1 - len(sums))
        for at in range(int(begin / self._width), last + 1):
            inside = min(end, (at + 1) * self._width) - max(begin, at * self._width)
            sums[at] += max(0.0, inside) * cores

    def _waiting(self) -> list[float]:
        """Core-seconds of each stretch in which files were staged and cores had nothing to do; none where none were."""
        if not (self._staging or self._staged):
            return []
        found = [*self._staging, *[0.0] * (len(self._busy) - len(self._staging))]
        for at, left in enumerate(self._staged):
            rest = left
            for near in (*range(at, -1, -1), *range(at + 1, len(found))):
                room = max(self._cores * self._width - self._busy[near] - found[near], 0.0)
                found[near] += min(rest, room)
                rest -= min(rest, room)
                if rest <= 0:
                    break
            found[at] += rest
        return found

    def to_record(self) -> dict[str, Any]:
        """For run.json: the width of a stretch in seconds, core-seconds of each, and when each shard was at work."""
        if not self._busy:
            return {}
        waited = {
            shard: round(begin - self._waited[shard], 3)
            for shard, (begin, _) in self._shards.items()
            if shard in self._waited and begin > self._waited[shard]
        }
        return {
            "width": self._width,
            "busy": [round(each, 4) for each in self._busy],
            "shards": [[shard, round(begin, 3), round(end, 3)] for shard, (begin, end) in sorted(self._shards.items())],
            **({"staging": [round(each, 4) for each in waiting]} if (waiting := self._waiting()) else {}),
            **({"waited": [[shard, seconds] for shard, seconds in sorted(waited.items())]} if waited else {}),
        }
