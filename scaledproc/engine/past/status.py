"""How far a run is, from its folder and from what its backend says."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING

from scaledproc._util.process.processes import is_alive
from scaledproc.engine.progress import AT_WORK
from scaledproc.errors import ScaledprocError
from scaledproc.events import SHOWN_FAILURES, ShardDone, ShardState, State
from scaledproc.execution.chunks.committed import committed_chunks
from scaledproc.run_folder.folder import RunFolder
from scaledproc.run_folder.lock.lease_store import read_lease
from scaledproc.run_folder.names import LEASE, RECORD, TODO, UPDATE, WORK
from scaledproc.run_folder.record import read_record, reports_of
from scaledproc.run_folder.replacement import is_half_replaced, update_of
from scaledproc.storage.store import READERS

if TYPE_CHECKING:
    from scaledproc.backend.base import Backend
    from scaledproc.run_folder.lock.lease import Lease

SILENT = 2.0
"""Times the time after which another driver may take a lease: this machine's clock may differ from the store's."""


@dataclass(frozen=True)
class Status:
    """How far a run is.

    Parameters
    ----------
    output, plan_id, state
        Which run; `running`, `done`, or `stopped`: unfinished, and nobody is at work on it.
    backend
        The name of the one that has it.
    tasks, size
        Of the plan; bytes.
    done
        The shards that are committed.
    states
        What is known of the others. `begun`: some of its chunks are committed, and whether a process is at work on it
        cannot be told; `not committed`: the same where none of its chunks are.
    held_by
        Which driver has the run's folder, in words; nothing where none has.
    """

    output: str
    plan_id: str
    state: str
    backend: str
    tasks: int
    size: int
    done: tuple[ShardDone, ...]
    states: tuple[ShardState, ...]
    held_by: str = ""
    note: str = ""
    """Why the machines could not be asked, where they could not."""
    notes: tuple[str, ...] = ()
    """What a person should read of the end."""

    @property
    def counts(self) -> dict[str, int]:
        """How many shards are in which state."""
        return dict(Counter([*(State.DONE for _ in self.done), *(state.state for state in self.states)]))


def _so_far(run: RunFolder, backend: Backend | None) -> tuple[tuple[ShardDone, ...], tuple[ShardState, ...]]:
    """The committed shards of a run that is not done, and what is known of the others."""
    known = {state.shard: state for state in backend.states(run)} if backend is not None else {}
    committed = run.committed_shards()  # afterwards: a job may have committed its shard and ended meanwhile
    done = tuple(run.shard_reports(sorted(committed)))
    left = (shard for shard in range(run.record.counts["shards"]) if shard not in committed)
    return done, _with_chunks(run, [known.get(shard, ShardState(shard, State.WAITING)) for shard in left])


def find_status(run: RunFolder, backend: Backend | None, note: str = "") -> Status:
    """Look at a run's folder, and ask its backend; where that cannot be had, `note` says why.

    Raises
    ------
    ScaledprocError
        If the run's folder cannot be read, or the backend cannot be asked.
    """
    record = run.record
    if record.state == "done":
        done = reports_of(record)
        states: tuple[ShardState, ...] = ()
    else:
        missing: FileNotFoundError | None = None
        try:
            done, states = _so_far(run, backend)
        except FileNotFoundError as error:
            missing = error
        ended = read_record(run.store)
        if ended is not None and ended.state == "done":  # by a job meanwhile: what was read may be gone in part
            return find_status(replace(run, record=ended), backend, note)
        if missing is not None:
            raise missing
    lease = read_lease(_held_folder(run).store)
    state = "done" if record.state == "done" else _state(run, backend, lease, states)
    if state == "running" and backend is not None and backend.capabilities.is_here:
        states = tuple(_as_may_be(each) for each in states)
    return Status(
        output=str(run.store),
        plan_id=record.plan_id,
        state=state,
        backend=str(record.backend.get("name") or "local"),
        tasks=record.counts["tasks"],
        size=record.bytes["input"],
        done=done,
        states=states,
        held_by=_held_by(lease),
        note=note,
        notes=(*record.notes, *_update_notes(run)),
    )


def _as_may_be(state: ShardState) -> ShardState:
    """A shard's state where processes of the driver's own may have it, which tell nobody else."""
    return replace(state, state=State.UNCOMMITTED) if state.state == State.WAITING else state


def _update_notes(run: RunFolder) -> tuple[str, ...]:
    """What is to be said of an update of the run."""
    there = update_of(run)
    if there is None:
        return ()
    if is_half_replaced(run):
        return ("an update of it is whole, and is being put in its place: the same command continues that",)
    return (f"an update of it was begun: scaledproc status {at_work_in(run).store} shows how far it is",)


def at_work_in(run: RunFolder) -> RunFolder:
    """The run that jobs are at work for: what an update of a run has to do, where there is one, else the run itself."""
    for folder in (UPDATE, ""):
        try:
            store = run.store.child(f"{folder}/{TODO}" if folder else TODO)
            record = read_record(store)
        except ScaledprocError:
            continue
        if record is not None and record.state == "running":
            return RunFolder(store, run.dataset, run.source, record)
    there = update_of(run)
    return run if there is None or there.record.state == "done" else there


def is_being_updated(run: RunFolder) -> bool:
    """Whether a finished run is about to be another one: an update of it was begun, or a driver has its folder."""
    return at_work_in(run) is not run or update_of(run) is not None or _is_held(run, read_lease(run.store))


def _held_folder(run: RunFolder) -> RunFolder:
    """The run whose folder a driver has that is at work on this one: of what an update has to do, the one above."""
    uri = run.store.uri.rstrip("/")
    for inside in (f"/{UPDATE}/{TODO}", f"/{UPDATE}", f"/{TODO}"):
        if uri.endswith(inside):
            above = replace(run.store, uri=uri.removesuffix(inside))
            if above.exists(RECORD):
                return run.within(above)
    return run


def _state(run: RunFolder, backend: Backend | None, lease: Lease | None, states: Sequence[ShardState]) -> str:
    """Whether somebody is at work: a driver, or machines that need none."""
    if _is_held(_held_folder(run), lease):
        return "running"
    if backend is None:
        return "running"  # by a plug-in that is not installed here, whose machines cannot be asked
    is_left = backend.capabilities.is_here or (
        not any(state.state in (*AT_WORK, State.QUEUED) for state in states) and not backend.at_work(run)
    )
    return "stopped" if is_left else "running"


def _is_held(run: RunFolder, lease: Lease | None) -> bool:
    if lease is None:
        return False
    alive = is_alive(lease.holder)
    if alive is None:  # another machine's: it shows that it is there by renewing the lease
        with contextlib.suppress(OSError, NotImplementedError, TypeError):
            renewed: datetime = run.store.fs.modified(run.store.path(LEASE))
            return datetime.now(UTC) - renewed < timedelta(seconds=SILENT * lease.ttl)
    return alive is not False


def _held_by(lease: Lease | None) -> str:
    if lease is None:
        return ""
    ends = {True: "", False: ", which is gone", None: "; whether it is alive cannot be seen from here"}
    return f"process {lease.holder.pid} on {lease.holder.host} since {lease.since}{ends[is_alive(lease.holder)]}"


def _with_chunks(run: RunFolder, states: Sequence[ShardState]) -> tuple[ShardState, ...]:
    """The shards' states, with the chunks that are committed of shards that no machine is known to have.

    The next start goes on there.
    """
    parted = {int(name) for name in run.store.names(WORK) if name.isdecimal()}

    def look(state: ShardState) -> ShardState:
        if state.shard not in parted or state.state in AT_WORK:
            return state
        chunks = list(committed_chunks(run.store, run.record.work_id, state.shard))
        return replace(
            state,
            state=State.BEGUN if state.state == State.WAITING and chunks else state.state,
            tasks=sum(chunk.tasks for chunk in chunks),
            rows=sum(chunk.rows for chunk in chunks),
            size=sum(chunk.size for chunk in chunks),
            quarantined=sum(chunk.quarantined for chunk in chunks),
            failures=tuple(islice((each for chunk in chunks for each in chunk.failures), SHOWN_FAILURES)),
        )

    with ThreadPoolExecutor(READERS) as pool:
        return tuple(pool.map(look, states))
