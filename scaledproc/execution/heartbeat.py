"""What a worker elsewhere tells while it works: one small object in the run's folder, written again and again."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from types import TracebackType
from typing import Any, Self

from scaledproc.errors import ScaledprocError
from scaledproc.events import ChunkDone, Event, Failure, ShardDone, ShardState, State
from scaledproc.run_folder.names import WORK
from scaledproc.storage.store import READERS, Store, store_errors

PROGRESS = f"{WORK}/progress"
INTERVAL = 5.0  # seconds between two writes, when there is something new
LARGEST = 4_000_000  # bytes that are read of one
MOST = 2.0**63  # of anything that is counted
ALIVE = 60.0  # seconds after which it is written all the same


@dataclass
class ShardProgress:
    """How far a macro shard is."""

    phase: State = State.QUEUED
    tasks: int = 0
    rows: int = 0
    size: int = 0
    quarantined: int = 0
    seconds: float = 0.0
    """Since its first chunk was begun."""

    def __post_init__(self) -> None:
        self.phase = State(self.phase)


@dataclass
class Heartbeat:
    """One machine's state.

    Parameters
    ----------
    job, host
        Whose it is.
    cores
        Processes at work.
    versions
        Of the libraries that touch the data.
    scratch, scratch_total, scratch_free
        The folder of the scratch space; bytes of its disk, and those that were free when the job began.
    shards
        By number.
    failures
        The first quarantined tasks.
    updated
        Seconds since the epoch.
    """

    job: str
    host: str
    cores: int = 0
    versions: Mapping[str, str] = field(default_factory=dict)
    scratch: str = ""
    scratch_total: int = 0
    scratch_free: int = 0
    shards: dict[int, ShardProgress] = field(default_factory=dict)
    failures: tuple[Failure, ...] = ()
    updated: float = 0.0

    @property
    def name(self) -> str:
        """The object's name."""
        return f"{self.job}.{self.host}.json"

    def to_json(self) -> bytes:
        """The heartbeat as the content of its object."""
        return json.dumps(asdict(self), sort_keys=True).encode()

    @classmethod
    def from_json(cls, content: bytes) -> Heartbeat:
        """The heartbeat that an object's content holds.

        Raises
        ------
        ValueError
            If the content is not JSON, or lacks a value of a heartbeat or has one of another type.
        """
        try:
            found: dict[str, Any] = json.loads(content)
            shards = {int(shard): ShardProgress(**progress) for shard, progress in found.pop("shards").items()}
            failures = tuple(Failure(**failure) for failure in found.pop("failures"))
            made = cls(shards=shards, failures=failures, **found)
        except (TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
            raise ValueError(f"not a worker's progress: {error}") from None
        if not made._is_sound():
            raise ValueError("not a worker's progress: a value is of another kind")
        return made

    def _is_sound(self) -> bool:
        """Whether each value is what it should be: anybody who may write into the run's folder can write this."""
        words: list[Any] = (
            [self.job, self.host, self.scratch, *self.versions] if isinstance(self.versions, dict) else [None]
        )
        words += [*self.versions.values()] if isinstance(self.versions, dict) else []
        numbers: list[Any] = [self.cores, self.updated, self.scratch_total, self.scratch_free]
        for each in self.shards.values():
            numbers += [each.tasks, each.rows, each.size, each.quarantined, each.seconds]
        for failure in self.failures:
            words += asdict(failure).values()
        return all(isinstance(word, str) for word in words) and all(
            type(number) in (int, float) and 0 <= number < MOST for number in numbers
        )


class Beating:
    """Tells how a job goes on, beside the work, from a thread; a store that refuses it does not end the work.

    Parameters
    ----------
    store
        The folder for it; None to tell nothing.
    heartbeat
        What to begin with.
    interval
        Seconds between two writes.
    """

    def __init__(self, store: Store | None, heartbeat: Heartbeat, interval: float = INTERVAL) -> None:
        self._store = store
        self._state = heartbeat
        self._interval = interval
        self._started: dict[int, float] = {}
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        if self._store is not None:
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._over.set()
        if self._store is None:
            return
        self._thread.join()
        self._write()

    def listen(self, event: Event) -> None:
        """Hear of an event of the work."""
        with self._lock:
            if isinstance(event, ShardState):
                self._of(event.shard).phase = event.state
                self._started.setdefault(event.shard, time.monotonic())
            elif isinstance(event, (ChunkDone, ShardDone)):
                self._count(event)

    def _of(self, shard: int) -> ShardProgress:
        return self._state.shards.setdefault(shard, ShardProgress())

    def _count(self, event: ChunkDone | ShardDone) -> None:
        progress = self._of(event.shard)
        if isinstance(event, ShardDone):
            progress.phase = State.DONE
            progress.tasks, progress.rows, progress.size = event.tasks, event.rows, event.size
            progress.quarantined = event.quarantined
        else:
            progress.tasks += event.tasks
            progress.rows += event.rows
            progress.size += event.size
            progress.quarantined += event.quarantined
        if event.shard in self._started:
            progress.seconds = round(time.monotonic() - self._started[event.shard], 3)
        if isinstance(event, ChunkDone):
            self._state.failures = (*self._state.failures, *event.failures)[:5]

    def _beat(self) -> None:
        written, last = b"", 0.0
        while not self._over.wait(self._interval if written else 0):
            with self._lock:
                self._state.updated = 0.0
                content = self._state.to_json()
            if content != written or time.monotonic() - last > ALIVE:
                self._write()
                written, last = content, time.monotonic()

    def _write(self) -> None:
        assert self._store is not None
        with self._lock:
            self._state.updated = time.time()
            content = self._state.to_json()
        try:
            self._store.write(self._state.name, content)
        except Exception as error:
            if not isinstance(error, (ScaledprocError, *store_errors())):
                raise
            return  # the work itself will tell, if it cannot write either


def read_heartbeats(store: Store, known: Mapping[str, tuple[str, Heartbeat]]) -> dict[str, tuple[str, Heartbeat]]:
    """What all workers of a run tell now.

    Parameters
    ----------
    store
        The run's folder.
    known
        What an earlier call gave: only what changed since is read.

    Returns
    -------
    dict
        By the object's name: its version in the store, and its content.
    """
    listed = store.versions(PROGRESS)
    found = {name: known[name] for name, version in listed.items() if name in known and known[name][0] == version}
    news = [name for name in listed if name not in found]
    with ThreadPoolExecutor(min(READERS, max(len(news), 1))) as pool:
        for name, beat in zip(news, pool.map(lambda name: _read(store, name), news), strict=True):
            if beat is not None:
                found[name] = (listed[name], beat)
    return found


def _read(store: Store, name: str) -> Heartbeat | None:
    """One machine's state; None where it is gone, or is nothing that a worker wrote."""
    try:
        content = store.read(f"{PROGRESS}/{name}", LARGEST + 1)
        return Heartbeat.from_json(content) if len(content) <= LARGEST else None
    except (FileNotFoundError, ValueError):
        return None


def shard_states(beats: Iterable[Heartbeat]) -> dict[tuple[str, int], ShardState]:
    """How far each shard of each job is; what several machines of a job did of one is added up."""
    states: dict[tuple[str, int], ShardState] = {}
    for beat in beats:
        for shard, one in beat.shards.items():
            before = states.get((beat.job, shard), ShardState(shard, one.phase, beat.job))
            states[beat.job, shard] = ShardState(
                shard,
                one.phase if before.state is State.DONE else before.state,  # done when it is on all of them
                beat.job,
                tasks=before.tasks + one.tasks,
                rows=before.rows + one.rows,
                size=before.size + one.size,
                quarantined=before.quarantined + one.quarantined,
                seconds=max(before.seconds, one.seconds),
                failures=before.failures or (beat.failures if one.quarantined else ()),
            )
    return states
