"""One machine's jobs: chunks over its cores, each committed as it ends, then a shard of them.

The chunk is what is committed: its rows and its quarantined tasks appear together or not at all. When all chunks of a
shard are there they become the shard's one file, and the chunks go.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from scaledproc._util import startup
from scaledproc._util.machine import fitting, too_few_files
from scaledproc._util.scratch import remove_left
from scaledproc._util.signals import stopping
from scaledproc.errors import ScaledprocError, UsageError
from scaledproc.events import ChunkDone, Event, Note, ShardDone, ShardState
from scaledproc.execution.chunk import ChunkWork, PieceDone, assemble_chunk, committed_chunks, run_chunk, run_piece
from scaledproc.execution.limits import Limits
from scaledproc.execution.missing_dataset import UnreadError
from scaledproc.execution.shard import make_shards, merge_part, merge_shard
from scaledproc.execution.staging import FILES_AHEAD, Direct, StagedUnits, Stager
from scaledproc.execution.workers.pool import Pool
from scaledproc.execution.workers.recovery import LOADS, Loss, Piece, WorkerLostError, after_loss, in_its_part
from scaledproc.extractors.code.fingerprint import fingerprint_of
from scaledproc.extractors.registry import place
from scaledproc.planning.shared_files import AtHand, at_hand
from scaledproc.run_folder.folder import WORK, Run

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from scaledproc.planning.plan import Chunk, Plan


PATIENCE = 2.0  # seconds that others get to end what they are at, where the run must end
MOST_UNREAD = 10  # tasks that could not be read, from which on it is asked whether any can
MOST_TOGETHER = 64  # shards that are made together
FILES_SENT = 1_000  # files of a unit that are sent along with each chunk


def run_shards(
    run: Run,
    shards: Sequence[int],
    *,
    jobs: int,
    scratch: Path | None = None,
    here: NDArray[np.bool_] | None = None,
    pool: Pool | None = None,
    shared: Path | None = None,
) -> Iterator[Event]:
    """Make the features of macro shards with so many processes, and tell what happened.

    Parameters
    ----------
    run
        Its plan is read from its folder.
    shards
        Their numbers. What is committed of them is not done again.
    jobs
        Processes; 1 works in this one, unless the run has limits that only another can keep. A store that only this
        process can see makes it 1.
    scratch
        Where remote data is staged; the system's temporary folder where none is given.
    here
        Which of the plan's tasks this machine has, shape (tasks,), where others have the rest: then parts of shards
        are made instead of shards.
    pool
        Processes that are there already, with the run's limits; the caller ends them. Else there are new ones.
    shared
        A folder of the files that the extractor declared, where they are not to be taken from the dataset.

    Yields
    ------
    Note, ShardState, ChunkDone, ShardDone
        As it happens: a shard is staging, running; chunks and shards in the order in which they end.

    Raises
    ------
    ScaledprocError
        Processes die before they come to a task.
    UsageError
        The run has limits, but its dataset or its folder can only be seen by this process.
    """
    startup.end()
    asked, jobs = jobs, fitting(jobs) if pool is None else pool.jobs
    if jobs < asked:
        yield Note(too_few_files(asked, jobs))
    plan = run.plan
    left: dict[int, int] = {}
    queue: deque[Chunk] = deque()
    committed = run.committed_shards(shards)
    begun = {*run.store.names(WORK)}
    schema = run.extractor.schema
    for shard in shards:
        if shard in committed:
            yield run.shard_report(shard)
            continue
        wanted = range(plan.n_chunks_of(shard)) if run.record.timings.get("starts", 1) > 1 else ()
        done: dict[int, ChunkDone] = {}
        if f"{shard:05d}" in begun or not run.store.lists_all:
            found = committed_chunks(run.store, run.record.work_id, shard, wanted, schema)
            done = {chunk.chunk: chunk for chunk in found}
        yield from done.values()
        todo = [chunk for chunk in plan.chunks(shard) if chunk.number not in done]
        if here is not None:
            todo = [chunk for chunk in todo if here[chunk.start : chunk.stop].any()]
            if not todo:
                continue
        left[shard] = len(todo)
        # Largest first, so that no core ends with the longest one; but staged units are used up one after the other.
        queue += sorted(todo, key=lambda chunk: -chunk.size) if run.dataset.local else todo
    limits = Limits.of(run.record.options)
    is_private = run.store.is_private or run.dataset.is_private
    if is_private and limits.need_processes:
        raise UsageError(
            f"{run.store if run.store.is_private else run.dataset} is in this process's memory, where the worker "
            "processes that --task-timeout, --memory-per-worker and --worker-lifespan need cannot see it"
        )
    remove_left(scratch)
    is_here = is_private or (jobs == 1 and not limits.need_processes)
    with ExitStack() as held:
        stager: Direct | Stager
        stager = Direct(run.dataset) if run.dataset.local else Stager(run.dataset, plan, list(queue), scratch)
        held.enter_context(stager)
        files = plan.reads if queue else ()
        common = _Common(
            at_hand(files, shared or stager.share(files)) if files else {},
            fingerprint_of(run.extractor).files if queue else (),
        )
        if pool is None or is_here:
            processes = 1 if is_here else min(jobs, max(len(queue), 1))
            pool = held.enter_context(Pool(processes, limits, scratch, in_process=is_here))
        try:
            yield from _Loop(run, plan, stager, pool, queue, left, common, here).events()
        except Exception:
            pool.close(PATIENCE)
            raise
        except BaseException:  # who leaves at once does not wait
            pool.close()
            raise


@dataclass(frozen=True)
class _Common:
    """What all chunks get."""

    shared: Mapping[str, AtHand]
    """Where the files are that the extractor declared."""
    code: tuple[tuple[str, int, int], ...]
    """The files that the extractor's code was read from."""


@dataclass
class _Repair:
    """A chunk that is made in pieces, after it lost its process."""

    chunk: Chunk
    work: ChunkWork
    left: int = 0
    """Pieces that wait or are at work."""
    done: list[PieceDone] = field(default_factory=list)
    losses: int = 0
    """Processes that ended while all was put together."""


@dataclass(frozen=True)
class _Call:
    """What a process has been given: a whole chunk, a piece of one, or all pieces to put together."""

    chunk: Chunk
    work: ChunkWork
    repair: _Repair | None = None
    piece: Piece | None = None


class _Loop:
    """Stage ahead, keep the cores busy, make a shard of its chunks when the last one is there."""

    def __init__(
        self,
        run: Run,
        plan: Plan,
        stager: Direct | Stager,
        pool: Pool,
        queue: deque[Chunk],
        left: dict[int, int],
        common: _Common,
        here: NDArray[np.bool_] | None = None,
    ) -> None:
        self._run = run
        self._plan = plan
        self._stager = stager
        self._pool = pool
        self._queue = queue
        self._left = left
        self._common = common
        self._here = here
        self._staging: dict[Future[Any], Chunk] = {}
        self._ready: deque[tuple[Chunk, StagedUnits]] = deque()
        self._pieces: deque[tuple[_Repair, Piece]] = deque()
        self._working: dict[Future[Any], _Call] = {}
        self._together: dict[Future[Any], list[tuple[Chunk, StagedUnits, ChunkWork]]] = {}
        self._most = MOST_TOGETHER
        self._single = {shard for shard in left if self._may_be_together(shard)}
        self._merging: dict[Future[Any], tuple[int, int]] = {}  # the shard, and how many processes that ended
        self._states: dict[int, str] = {}
        self._news: deque[Event] = deque()
        self._postponed: list[tuple[_Call, UnreadError]] = []
        self._last: deque[_Call] = deque()  # the postponed ones, when all else is done
        self._tasks = self._read = self._unread = 0
        self._files = 0
        self._ahead = sum(chunk.size for chunk in queue)  # bytes that are not handed out yet
        self._asked = stopping().asked
        self._is_ending = False

    def events(self) -> Iterator[Event]:
        for shard, left in self._left.items():
            if not left:  # an earlier process ended between a shard's last chunk and the shard
                self._merge(shard)
        with stopping().orderly():
            while self._is_left() or self._postponed or self._last or self._merging:
                removals = [*self._stager.removals()] if self._queue else []  # before it is seen what has room
                self._stage()
                self._work()
                while self._news:
                    yield self._news.popleft()
                at_work = [*self._staging, *self._at_work()]
                others = [] if self._is_ending else [self._asked, *removals]
                ended, _ = wait([*at_work, *others], return_when=FIRST_COMPLETED)
                if self._asked.done() and not self._is_ending:
                    self._withdraw()
                for future in [future for future in at_work if future in ended and not future.cancelled()]:
                    if not (self._is_ending and future in self._staging):
                        yield from self._end(future)
        stopping().leave()  # also where the signal came with the very last event

    def _is_left(self) -> bool:
        """Whether there are chunks that were not tried yet."""
        waits = self._queue or self._staging or self._ready or self._pieces
        return bool(waits or self._working or self._together)

    def _withdraw(self) -> None:
        """Leave what is not at work to the next start."""
        self._is_ending = True
        self._pool.withdraw()
        for waiting in (self._queue, self._staging, self._ready, self._pieces, self._postponed, self._last):
            waiting.clear()
        calls: dict[Future[Any], Any]
        for calls in (self._working, self._together, self._merging):
            for future in [future for future in calls if future.cancelled()]:
                del calls[future]

    def _stage(self) -> None:
        while self._queue and self._wants_more():
            is_idle = not (self._staging or self._ready or self._pieces or self._at_work() or self._stager.removals())
            if not is_idle and not self._stager.admits(self._queue[0]):
                return  # until a chunk at work gives up its units, and these are removed
            chunk = self._queue.popleft()
            if isinstance(self._stager, Stager):
                self._tell(chunk.shard, "staging")
            self._staging[self._stager.stage(chunk)] = chunk

    def _wants_more(self) -> bool:
        """Whether to stage another chunk ahead: for each core, and where chunks are small, for each request."""
        if isinstance(self._stager, Direct):
            most = MOST_TOGETHER if self._queue[0].shard in self._single else 1
            return len(self._staging) + len(self._ready) < 2 * self._pool.jobs * most
        ahead = [*self._staging.values(), *(chunk for chunk, _ in self._ready)]
        return len(ahead) < 2 * self._pool.jobs or sum(map(self._stager.n_files, ahead)) < FILES_AHEAD

    def _work(self) -> None:
        if any(call.piece is not None and call.piece.is_alone for call in self._working.values()):
            return
        while self._has_room() and self._pieces:
            repair, piece = self._pieces.popleft()
            if piece.is_alone and self._at_work():
                self._pieces.appendleft((repair, piece))
                return
            self._begin_piece(repair, piece)
            if piece.is_alone:
                return
        while self._has_room() and self._ready and not self._asked.done():
            works = self._next_works()
            if len(works) > 1:
                make = partial(make_shards, [work for _, _, work in works])
                self._together[self._pool.submit(make)] = works
            else:
                ((chunk, _, work),) = works
                self._working[self._pool.submit(partial(run_chunk, work))] = _Call(chunk, work)
        if self._postponed and not self._is_left() and not self._asked.done():
            self._see_whose_fault()
        while self._has_room() and self._last:
            call = self._last.popleft()
            self._working[self._pool.submit(partial(run_chunk, call.work))] = call

    def _next_works(self) -> list[tuple[Chunk, StagedUnits, ChunkWork]]:
        """A chunk that is ready; or several that are a shard each, a part of what is ready for each core."""
        most = min(self._most, len(self._ready) // (2 * self._pool.jobs))
        works: list[tuple[Chunk, StagedUnits, ChunkWork]] = []
        while self._ready and (not works or (len(works) < most and self._ready[0][0].shard in self._single)):
            chunk, units = self._ready.popleft()
            self._tell(chunk.shard, "running")
            work = _chunk_work(self._run, self._plan, chunk, units, self._here)
            work = replace(
                work,
                ahead=max(self._ahead // self._pool.jobs, chunk.size),
                shared=self._common.shared,
                code=self._common.code,
            )
            works.append((chunk, units, work))
            self._ahead -= chunk.size
            if chunk.shard not in self._single:
                break
        return works

    def _may_be_together(self, shard: int) -> bool:
        """Whether a shard may be made by one call with others: it is one chunk, and there is a local disk to write."""
        is_simple = self._here is None and not self._pool.limits.worker_lifespan and self._run.store.local is not None
        return is_simple and self._plan.n_chunks_of(shard) == 1

    def _at_work(self) -> list[Future[Any]]:
        return [*self._working, *self._together, *self._merging]

    def _has_room(self) -> bool:
        """Whether to hand out more: for each core one is at work and one waits."""
        return len(self._working) + len(self._together) < 2 * self._pool.jobs

    def _begin_piece(self, repair: _Repair, piece: Piece) -> None:
        self._files += 1
        path = self._pool.folder / f"piece-{self._files}.parquet"
        future = self._pool.submit(partial(run_piece, repair.work, piece, path), fresh=piece.is_fresh)
        self._working[future] = _Call(repair.chunk, repair.work, repair, piece)

    def _tell(self, shard: int, state: str) -> None:
        """Tell of a shard's state once: it is staging, then running."""
        if self._states.get(shard) not in (state, "running"):
            self._states[shard] = state
            self._news.append(ShardState(shard, state))

    def _merge(self, shard: int, losses: int = 0) -> None:
        store, work_id = self._run.store, self._run.record.work_id
        merge: Callable[[], Event]
        if self._here is None:
            merge = partial(merge_shard, store, work_id, shard, self._plan.n_chunks_of(shard))
        else:
            present = [chunk.number for chunk in self._plan.chunks(shard) if self._here[chunk.start : chunk.stop].any()]
            merge = partial(merge_part, store, work_id, shard, present)
        self._merging[self._pool.submit(merge)] = shard, losses

    def _end(self, future: Future[Any]) -> Iterator[Event]:
        if future in self._staging:
            self._ready.append((self._staging.pop(future), future.result()))
        elif future in self._merging:
            yield from self._end_merge(future, *self._merging.pop(future))
        elif future in self._together:
            yield from self._end_together(future, self._together.pop(future))
        else:
            yield from self._end_call(future, self._working.pop(future))

    def _end_together(self, future: Future[Any], works: list[tuple[Chunk, StagedUnits, ChunkWork]]) -> Iterator[Event]:
        """Some shards are there; the others come next.

        Where the process was lost, that is without the shard whose task was at work; where it is not known which one
        that is, or files could not be read, each comes by itself.
        """
        made: list[tuple[ChunkDone, ShardDone]] = []
        try:
            made = future.result()
            self._most = min(2 * len(made) + 1, MOST_TOGETHER)  # what is sent and not made is sent again
        except UnreadError:
            self._single.difference_update(chunk.shard for chunk, _, _ in works)
        except WorkerLostError as error:
            found = in_its_part(error.loss, [len(work.tasks) for _, _, work in works])
            if found is None:
                self._single.difference_update(chunk.shard for chunk, _, _ in works)
            elif not self._is_ending:
                part, loss = found
                chunk, _, work = works.pop(part)
                self._single.discard(chunk.shard)
                self._mend(_Call(chunk, work), loss)
        for (chunk, _, _), events in zip(works, made, strict=False):
            yield from events
            self._count(events[0])
            self._stager.release(chunk)
            self._left[chunk.shard] -= 1
        if not self._is_ending:
            self._ready.extendleft((chunk, units) for chunk, units, _ in reversed(works[len(made) :]))
            self._ahead += sum(chunk.size for chunk, _, _ in works[len(made) :])

    def _end_merge(self, future: Future[Any], shard: int, losses: int) -> Iterator[Event]:
        try:
            yield future.result()
        except WorkerLostError as error:
            if self._here is None and shard in self._run.committed_shards([shard]):  # its chunks may be left
                yield self._run.shard_report(shard)
            elif losses + 1 < LOADS:
                self._merge(shard, losses + 1)
            else:
                raise _cannot_go_on(error.loss, f"shard {shard} was put together") from error

    def _end_call(self, future: Future[Any], call: _Call) -> Iterator[Event]:
        try:
            result = future.result()
        except WorkerLostError as error:
            self._mend(call, error.loss)
            return
        except UnreadError as error:
            for piece in call.repair.done if call.repair else ():
                piece.discard()
            self._postpone(replace(call, repair=None), error)
            return
        if call.repair is not None and call.piece is not None:
            call.repair.left -= 1
            call.repair.done.append(result)
            self._assemble(call.repair)
            return
        yield result
        self._count(result)
        for piece in call.repair.done if call.repair else ():
            piece.discard()
        self._stager.release(call.chunk)
        self._left[call.chunk.shard] -= 1
        if not self._left[call.chunk.shard] and not self._is_ending:
            self._merge(call.chunk.shard)

    def _count(self, done: ChunkDone) -> None:
        self._tasks += done.tasks
        self._read += done.tasks - done.quarantined

    def _postpone(self, call: _Call, error: UnreadError) -> None:
        """Some files of a chunk could not be read: have it done again when all others are, unless nothing can be read.

        Raises
        ------
        ScaledprocError
            Since the first such task, more could not be read than could.
        """
        if not self._postponed:
            self._read = 0
        self._postponed.append((call, error))
        self._tasks += error.tasks
        self._unread += error.unread
        self._read += error.tasks - error.unread - error.gone
        if self._unread >= MOST_UNREAD and self._unread > self._read:
            raise self._cannot_read()

    def _see_whose_fault(self) -> None:
        """All but the postponed chunks are done: do these for the last time, unless most tasks are among them.

        Raises
        ------
        ScaledprocError
            They are.
        """
        unread = sum(error.unread + error.gone for _, error in self._postponed)
        if 2 * unread > self._tasks:
            raise self._cannot_read()
        self._last += [replace(call, work=replace(call.work, is_last=True)) for call, _ in self._postponed]
        self._tasks -= sum(error.tasks for _, error in self._postponed)
        self._postponed.clear()

    def _cannot_read(self) -> ScaledprocError:
        unread = sum(error.unread + error.gone for _, error in self._postponed)
        return ScaledprocError(
            f"{self._run.dataset}: the files of {unread:,} of {self._tasks:,} tasks cannot be read (the first: "
            f"{self._postponed[0][1].example}); is the disk or the network there? What is committed is kept, the same "
            "command continues"
        )

    def _mend(self, call: _Call, loss: Loss) -> None:
        """A process was lost: have its work done in smaller pieces, or put a task into quarantine."""
        repair = call.repair
        if repair is not None and call.piece is None:
            repair.losses += 1
            if repair.losses >= LOADS:
                raise _cannot_go_on(loss, f"a chunk was committed that begins with {call.work.tasks[0][2]!r}")
            self._assemble(repair)
            return
        if repair is None:
            repair = _Repair(call.chunk, call.work)
        else:
            repair.left -= 1
        lost = call.piece or Piece(0, len(call.work.tasks))
        pieces, verdict = after_loss(lost, loss, self._pool.limits)
        if verdict is not None:
            row = call.work.error_row(verdict)
            repair.done.append(PieceDone(verdict.task, (0,), 0.0, (row,)))
        elif not pieces:
            raise _cannot_go_on(loss, f"a chunk was begun that begins with {call.work.tasks[lost.start][2]!r}")
        repair.left += len(pieces)
        self._pieces += [(repair, piece) for piece in pieces]
        self._assemble(repair)

    def _assemble(self, repair: _Repair) -> None:
        """Commit a chunk of its pieces once all are there."""
        if repair.left:
            return
        repair.done.sort(key=lambda piece: piece.start)
        future = self._pool.submit(partial(assemble_chunk, repair.work, tuple(repair.done)))
        self._working[future] = _Call(repair.chunk, repair.work, repair)


def _cannot_go_on(loss: Loss, meanwhile: str) -> ScaledprocError:
    return ScaledprocError(
        f"{LOADS} worker processes died in a row ({loss.how}) while {meanwhile}; what is committed is kept: the same "
        f"command continues, with --jobs 1 in one process that a debugger can watch. {loss.trace}".rstrip()
    )


def _chunk_work(
    run: Run, plan: Plan, chunk: Chunk, staged: StagedUnits, here: NDArray[np.bool_] | None = None
) -> ChunkWork:
    tasks = plan.tasks.slice(chunk.start, chunk.stop - chunk.start)
    positions: tuple[int, ...] = ()
    if here is not None:
        tasks = tasks.filter(pa.array(here[chunk.start : chunk.stop]))
        positions = tuple((chunk.start + here[chunk.start : chunk.stop].nonzero()[0]).tolist())
    units = {plan.unit_name(unit): unit for unit in plan.units_of(chunk.start, chunk.stop)}
    return ChunkWork(
        work_id=run.record.work_id,
        shard=chunk.shard,
        chunk=chunk.number,
        size=chunk.size,
        tasks=tuple(zip(*(tasks[name].to_pylist() for name in ("group", "unit", "anchor")), strict=True)),
        files={name: _files(plan, unit) for name, unit in units.items()},
        staged={name: staged[unit] for name, unit in units.items()},
        store=run.store,
        source=place(run.source),
        options=run.record.extractor.get("options") or {},
        positions=positions,
        retries=Limits.of(run.record.options).task_retries,
    )


def _files(plan: Plan, unit: int) -> dict[str, int] | int:
    """A unit's files; for a unit of many, which many chunks may share, where to read them."""
    many = plan.unit_files[unit + 1] - plan.unit_files[unit] > FILES_SENT
    return unit if many else plan.sizes_of(unit)
