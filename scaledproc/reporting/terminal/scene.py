"""What a display shows, whatever it is of: lines that stay, and how far it is; made of events alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from scaledproc._util.pace import WARMING, Pace, TimeLeft, left_text
from scaledproc._util.text import bytes_text, clean_text, count_text, seconds_text
from scaledproc.engine.progress import TROUBLE, RunProgress
from scaledproc.events import (
    ChunkDone,
    CombineDone,
    Event,
    FetchMoved,
    FetchStarted,
    JobPlanned,
    Note,
    ReuseFound,
    RunStarted,
    ShardDone,
    ShardState,
)
from scaledproc.reporting.text import counts_text, files_text, reused_text, shard_lines, trouble_lines

_WORK = (ChunkDone, ShardDone, ShardState)


class FetchProgress:
    """How far a fetch is, counted from what its events tell.

    Parameters
    ----------
    started
        What is to be fetched.
    clock
        Seconds.
    """

    def __init__(self, started: FetchStarted, clock: Callable[[], float] = time.monotonic) -> None:
        self._started = started
        self._clock = clock
        self._moved = FetchMoved(0, 0, 0)
        self._pace = Pace(clock())
        self._left = TimeLeft()

    def add(self, event: FetchMoved) -> None:
        """Take what is fetched so far."""
        self._moved = event
        self._pace.add(self._clock(), event.size)

    @property
    def fraction(self) -> float:
        """What part is done: a file counts as a byte besides its own, so that empty ones count too."""
        done = self._moved.size + self._moved.files + self._moved.failed
        return min(done / max(self._started.size + self._started.files, 1), 1.0)

    def parts(self) -> list[str]:
        """What is fetched, how fast, how long it still takes, and what failed."""
        now, moved, started = self._clock(), self._moved, self._started
        parts = [
            f"{moved.files:,}/{started.files:,} files",
            f"{bytes_text(moved.size)} of {bytes_text(started.size)}",
        ]
        rate = self._pace.rate(now, moved.size)
        if moved.size:
            parts.append(f"{bytes_text(rate)}/s")
        left = started.size - moved.size
        if rate and left > 0 and now - self._pace.start >= WARMING:
            parts.append(left_text(self._left.shown(now, left / rate) or 0.0))
        if moved.failed:
            parts.append(f"{moved.failed:,} failed")
        return parts


class Scene:
    """What there is to see of one command: what stays on the screen, and what moves.

    Parameters
    ----------
    beginning
        What is done before anything is told, such as `planning`.
    clock
        Seconds.
    """

    def __init__(self, beginning: str = "planning", clock: Callable[[], float] = time.monotonic) -> None:
        self.run: RunProgress | None = None
        self.fetch: FetchProgress | None = None
        self.troubles: list[ShardState] = []
        """Those that were not yet said."""
        self._beginning = beginning
        self._clock = clock
        self._began = clock()

    def hear(self, event: Event) -> Iterator[str]:
        """Take an event, and give the lines that stay; of shards that failed, only when `say_troubles` is called."""
        match event:
            case ChunkDone() | ShardDone() | ShardState():
                if self.run is None:
                    return
                self.run.add(event)
                if isinstance(event, ShardState) and event.state in TROUBLE and event.detail:
                    self.troubles.append(event)
            case FetchMoved():
                if self.fetch is not None:
                    self.fetch.add(event)
            case Note():
                yield f"note: {clean_text(event.text)}"
            case ReuseFound():
                yield reuse_text(event)
            case RunStarted():
                self.run = RunProgress(event, self._clock)
                yield started_text(event)
            case FetchStarted():
                self.fetch = FetchProgress(event, self._clock)
                yield fetch_started_text(event)
            case JobPlanned():
                yield f"would run: {clean_text(event.job)}"
            case CombineDone():
                yield f"combined {count_text(event.rows, 'row')} in {seconds_text(event.seconds)}"

    def say_troubles(self) -> list[str]:
        """Why shards failed since this was asked last."""
        lines = trouble_lines(self.troubles)
        self.troubles.clear()
        return lines

    @property
    def doing(self) -> str:
        """What is being done, in a word or two."""
        if self.run is not None:
            return "combining" if self.run.is_complete else "extracting"
        return "fetching" if self.fetch is not None else self._beginning

    @property
    def fraction(self) -> float | None:
        """What part of it is done; None while that is not known."""
        if self.run is not None:
            return self.run.tasks / self.run.total_tasks if self.run.total_tasks else 1.0
        return None if self.fetch is None else self.fetch.fraction

    def parts(self) -> list[str]:
        """How far it is, in parts between which a line can be broken."""
        if self.run is not None:
            return self.run.parts() if self.run.has_machines or self.run.tasks else ["starting"]
        return self.fetch.parts() if self.fetch is not None else [elapsed_text(self._clock() - self._began)]

    def failing(self) -> str:
        """The first failure, and how many more there are; nothing where there is none."""
        return "" if self.run is None else clean_text(self.run.failing_text())

    def machines(self) -> str:
        """How many shards are where, and since when; nothing where no backend tells of jobs."""
        if self.run is None or not self.run.has_machines:
            return ""
        return f"{counts_text(self.run.counts)} after {elapsed_text(self.run.elapsed)}"

    def table(self, width: int, height: int) -> list[str]:
        """The shards that machines have, a line each, as many as there is room for."""
        if self.run is None or not self.run.has_machines:
            return []
        return _table(self.run.at_work(), width, height)


def _table(states: Sequence[ShardState], width: int, height: int) -> list[str]:
    if not states or height < 3:
        return []
    room = height - 1
    shown = states if len(states) <= room else states[: room - 1]
    more = [f"   … and {len(states) - len(shown):,} more"] if len(shown) < len(states) else []
    return [*shard_lines(shown, width), *more]


def is_work(event: Event) -> bool:
    """Whether an event is one of the many that tell how far it is."""
    return isinstance(event, (*_WORK, FetchMoved))


def elapsed_text(seconds: float) -> str:
    """Time that has passed, in whole seconds."""
    return f"{int(seconds)} s" if seconds < 60 else seconds_text(seconds)


def reuse_text(event: ReuseFound) -> str:
    """What of a table is done, and what is taken from earlier runs."""
    return reused_text(clean_text(event.text), event.tasks - event.todo)


def started_text(event: RunStarted) -> str:
    """What a run is about to do."""
    return (
        f"plan {event.plan_id[:12]}: {count_text(event.tasks, 'task')}, {bytes_text(event.size)}, "
        f"{count_text(event.shards, 'shard')}, {count_text(event.chunks, 'chunk')}, "
        f"{count_text(event.cores, 'core')}{'; continuing' if event.resumed else ''}"
    )


def fetch_started_text(event: FetchStarted) -> str:
    """What a fetch is about to do."""
    unsized = f" and {count_text(event.unsized, 'file')} of unknown size" if event.unsized else ""
    already = f"; {files_text(event.already, event.already_size)} there already" if event.already else ""
    free = f"; {bytes_text(event.free)} free" if event.free is not None else ""
    return f"{event.source} to {event.dest}: {files_text(event.files, event.size)}{unsized} to fetch{already}{free}"
