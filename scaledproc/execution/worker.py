"""One machine's jobs: chunks over its cores, each committed as it ends, then a shard of them.

`scheduler` decides what comes next; here is what it takes to do that, and to see what came of it.

The chunk is what is committed: its rows and its quarantined tasks appear together or not at all. When all chunks of a
shard are there they become the shard's one file, and the chunks go.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from scaledproc._util.process import startup
from scaledproc._util.process.machine import allowed_processes, too_few_files
from scaledproc._util.process.scratch import remove_left
from scaledproc._util.process.signals import stopping
from scaledproc.errors import ScaledprocError, UsageError
from scaledproc.events import ChunkDone, Event, Note, ShardState, State
from scaledproc.execution.chunks.chunk import assemble_chunk, run_chunk, run_chunks, run_piece
from scaledproc.execution.chunks.chunk_work import ChunkWork, PieceDone
from scaledproc.execution.chunks.committed import committed_chunks
from scaledproc.execution.chunks.costs import UNKNOWN
from scaledproc.execution.chunks.missing_dataset import UnreadError, reads_elsewhere
from scaledproc.execution.limits import Limits
from scaledproc.execution.scheduler import Scheduler, SchedulerTerms
from scaledproc.execution.scheduler_messages import (
    Assemble,
    Call,
    CannotGoOn,
    CannotRead,
    End,
    Instruction,
    LookElsewhere,
    Lost,
    Made,
    MakeShards,
    Merge,
    Merged,
    MergeShards,
    NoRoom,
    PieceMade,
    Release,
    RoomFreed,
    RunChunk,
    RunChunks,
    RunLast,
    RunPiece,
    SeenElsewhere,
    Stage,
    Staged,
    StopAsked,
    Tell,
    Unread,
)
from scaledproc.execution.shard import make_shards, merge_part, merge_shard, merge_shards
from scaledproc.execution.staging import FILES_AHEAD, Direct, StagedUnits, Stager
from scaledproc.execution.tables.table_files import Finishing
from scaledproc.execution.workers.pool import Pool
from scaledproc.execution.workers.recovery import LOADS, Loss, QuarantinedTask, WorkerLostError
from scaledproc.execution.workers.sending import Sent, sendable
from scaledproc.extractors.code.fingerprint import fingerprint_of
from scaledproc.extractors.rows.several import schema_between
from scaledproc.planning.shared_files import AtHand, at_hand
from scaledproc.run_folder.folder import RunFolder
from scaledproc.run_folder.names import WORK
from scaledproc.run_folder.replacement import UPDATES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scaledproc.planning.plan import Chunk, Plan


GRACE = 2.0  # seconds that others get to end what they are at, where the run must end
FILES_SENT = 1_000  # files of a unit that are sent along with each chunk
_UNITS_KEPT = 16  # units whose files are at hand


def run_shards(
    run: RunFolder,
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
        If processes die before they come to a task, or the run cannot go on for another reason.
    UsageError
        If the run has limits, but its dataset or its folder can only be seen by this process.
    """
    startup.end()
    asked, jobs = jobs, allowed_processes(jobs) if pool is None else pool.jobs
    if jobs < asked:
        yield Note(too_few_files(asked, jobs))
    plan = run.plan
    left: dict[int, int] = {}
    queue: deque[Chunk] = deque()
    committed = run.committed_shards(shards)
    begun = {*run.store.names(WORK)}
    schema = schema_between(run.extractor)
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
            source := sendable(run.source),
            Finishing.of(run, source),
        )
        if pool is None or is_here:
            processes = 1 if is_here else min(jobs, max(len(queue), 1))
            pool = held.enter_context(Pool(processes, limits, scratch, in_process=is_here))
        try:
            yield from _Execution(run, plan, stager, pool, queue, left, common, here).events()
        except Exception:
            pool.close(GRACE)
            raise
        except BaseException:  # who leaves at once does not wait
            pool.close()
            raise


@dataclass(frozen=True)
class _Common:
    """What the work of all chunks is given alike."""

    shared: Mapping[str, AtHand]
    """Where the files are that the extractor declared."""
    code: tuple[tuple[str, int, int], ...]
    """The files that the extractor's code was read from."""
    source: str | Sent
    """What finds the extractor in another process, or brings it there."""
    finishing: Finishing | None = None
    """What a shard's files of the tables are made with, where the tables are folders."""


class _Execution:
    """Carries out what the scheduler says, with the stager, the pool and the run's folder; tells it what came of it."""

    def __init__(
        self,
        run: RunFolder,
        plan: Plan,
        stager: Direct | Stager,
        pool: Pool,
        chunks: Sequence[Chunk],
        left: Mapping[int, int],
        common: _Common,
        here: NDArray[np.bool_] | None = None,
    ) -> None:
        self._run = run
        self._plan = plan
        self._stager = stager
        self._pool = pool
        self._common = common
        self._here = here
        # Short chunks and small shards are made by one call with others where there is a local disk to write.
        may_be_together = here is None and not pool.limits.worker_lifespan and run.store.local is not None
        small = [shard for shard in left if plan.n_chunks_of(shard) == 1] if may_be_together else ()
        terms = SchedulerTerms(
            pool.jobs,
            pool.limits,
            self._n_tasks,
            stager.n_files if isinstance(stager, Stager) else None,
            FILES_AHEAD,
            may_be_together,
        )
        self._shards = tuple(left)
        begun = [shard for shard, count in left.items() if count < plan.n_chunks_of(shard)]
        self._is_part = bool(begun) or bool(run.record.options.get(UPDATES))
        self._scheduler = Scheduler(terms, left, chunks, small, begun)
        self._staging: dict[Future[StagedUnits], Chunk] = {}
        self._calls: dict[Future[Any], Call] = {}
        self._removals: list[Future[None]] = []  # that were under way when there was no room
        self._units: dict[Chunk, StagedUnits] = {}  # of chunks that are staged and not released
        self._works: dict[Chunk, ChunkWork] = {}  # of chunks that were handed out, as the last time
        self._sizes_of = lru_cache(_UNITS_KEPT)(plan.sizes_of)  # chunks beside each other share units of many files
        self._limits = Limits.of(run.record.options)
        self._files = 0  # that were named for pieces
        self._idle = 0.0  # core-seconds without work while files were staged, since a chunk was handed out
        self._news: deque[Event] = deque()
        self._asked = stopping().asked
        self._is_stopping = False

    def events(self) -> Iterator[Event]:
        with stopping().orderly():
            while not self._scheduler.has_ended:
                for instruction in self._scheduler.instructions():
                    self._carry_out(instruction)
                    self._hear()
                while self._news:
                    yield self._news.popleft()
                if not self._scheduler.has_ended:
                    yield from self._wait()
        stopping().leave()  # also where the signal came with the very last event

    def _hear(self) -> None:
        """Leave what no process has begun to the next start, once a stop is asked for."""
        if not self._asked.done() or self._is_stopping:
            return
        self._is_stopping = True
        self._pool.withdraw()
        withdrawn = {future: call for future, call in self._calls.items() if future.cancelled()}
        for future in withdrawn:
            del self._calls[future]
        self._staging.clear()
        self._scheduler.receive(StopAsked(tuple(withdrawn.values())))

    def _wait(self) -> Iterator[Event]:
        """Wait until something happens, and tell of it."""
        at_work = [*self._staging, *self._calls]
        idle = self._idle_for_files()
        since = time.perf_counter() if idle else 0.0
        removals = self._removals if self._scheduler.waits_for_room else []
        ended, _ = wait([*at_work, *(() if self._is_stopping else (self._asked, *removals))], None, FIRST_COMPLETED)
        if idle:
            self._idle += idle * (time.perf_counter() - since)
        self._hear()
        if not ended.isdisjoint(removals):
            self._scheduler.receive(RoomFreed())
        for future in at_work:
            if future in ended:
                yield from self._end(future)

    def _idle_for_files(self) -> int:
        """How many cores have nothing to do until files are staged, or there is room for them; none of a local disk."""
        if not isinstance(self._stager, Stager) or self._is_stopping:
            return 0
        awaited = len(self._staging) + self._scheduler.waits_for_room
        return min(max(self._pool.jobs - len(self._calls), 0), awaited)

    def _carry_out(self, instruction: Instruction) -> None:
        """Do what needs no process at once, and give the pool what does.

        Raises
        ------
        ScaledprocError
            If the run ends because it cannot go on.
        """
        match instruction:
            case Tell():
                self._news.append(ShardState(instruction.shard, State(instruction.phase.value)))
            case Stage():
                self._removals = [*self._stager.removals()]  # before it is seen what has room
                if instruction.must or self._stager.admits(instruction.chunk):
                    self._staging[self._stager.stage(instruction.chunk)] = instruction.chunk
                else:
                    self._scheduler.receive(NoRoom(instruction.chunk, bool(self._removals)))
            case LookElsewhere():
                found = reads_elsewhere(self._run.dataset, self._plan, self._shards, is_part=self._is_part)
                self._scheduler.receive(SeenElsewhere(found))
            case Release():
                self._stager.release(instruction.chunk)
                del self._units[instruction.chunk], self._works[instruction.chunk]
            case End():
                if instruction.failure is not None:
                    raise self._error(instruction.failure)
            case RunPiece():
                self._calls[self._pool.submit(self._function(instruction), fresh=instruction.piece.is_fresh)] = (
                    instruction
                )
            case _:
                self._calls[self._pool.submit(self._function(instruction))] = instruction

    def _function(self, call: Call) -> Callable[[], Any]:
        """What a process has to do for a call."""
        match call:
            case RunChunk():
                return partial(run_chunk, self._work(call))
            case RunLast():
                self._works[call.chunk] = replace(self._works[call.chunk], is_last=True)
                return partial(run_chunk, self._works[call.chunk])
            case RunChunks():
                return partial(run_chunks, [self._work(run) for run in call.runs])
            case MakeShards():
                return partial(make_shards, [self._work(run) for run in call.runs])
            case RunPiece():
                self._files += 1
                path = self._pool.folder / f"piece-{self._files}.parquet"
                return partial(run_piece, self._works[call.chunk], call.piece, path)
            case Assemble():
                work = self._works[call.chunk]
                pieces = (part if isinstance(part, PieceDone) else _quarantined(work, part) for part in call.parts)
                return partial(assemble_chunk, work, tuple(pieces))
            case Merge():
                store, work_id = self._run.store, self._run.record.work_id
                if self._here is None:
                    chunks = self._plan.n_chunks_of(call.shard)
                    return partial(merge_shard, store, work_id, call.shard, chunks, self._common.finishing)
                present = [chunk.number for chunk in self._plan.chunks(call.shard) if self._n_tasks(chunk)]
                return partial(merge_part, store, work_id, call.shard, present)
            case MergeShards():
                shards = [(merge.shard, self._plan.n_chunks_of(merge.shard)) for merge in call.merges]
                store, work_id = self._run.store, self._run.record.work_id
                return partial(merge_shards, store, work_id, shards, self._common.finishing)

    def _work(self, run: RunChunk) -> ChunkWork:
        common = self._common
        own = self._plan.units_of(run.chunk.start, run.chunk.stop)
        sizes = self._sizes(own)
        work = _chunk_work(self._run, self._plan, common.source, run.chunk, self._units[run.chunk], sizes, self._here)
        before = self._works.get(run.chunk)  # where it was handed out already, with others that came first
        idle, self._idle = self._idle + (0.0 if before is None else before.staging), 0.0
        work = replace(
            work,
            limits=self._limits,
            ahead=run.ahead,
            shared=common.shared,
            code=common.code,
            finishing=common.finishing,
            staging=round(idle, 4),
        )
        self._works[run.chunk] = work
        return work

    def _sizes(self, units: range) -> Sequence[Mapping[str, int] | None]:
        """The files of units with their sizes; None for a unit that has too many to be sent along."""
        if len(units) > 1:
            return self._plan.sizes_of_units(units, FILES_SENT)
        count = int(np.diff(self._plan.unit_files[units.start : units.stop + 1]).sum())
        return [self._sizes_of(unit) if count <= FILES_SENT else None for unit in units]

    def _n_tasks(self, chunk: Chunk) -> int:
        """How many of a chunk's tasks this machine has."""
        return chunk.stop - chunk.start if self._here is None else int(self._here[chunk.start : chunk.stop].sum())

    def _end(self, future: Future[Any]) -> Iterator[Event]:
        """Tell of what ended; nothing where that was withdrawn.

        Raises
        ------
        Exception
            If a call failed for another reason than a lost process or a file that cannot be read.
        """
        if future in self._staging:
            chunk = self._staging.pop(future)
            self._units[chunk] = future.result()
            self._scheduler.receive(Staged(chunk))
        elif future in self._calls:
            yield from self._end_call(self._calls.pop(future), future)

    def _end_call(self, call: Call, future: Future[Any]) -> Iterator[Event]:
        try:
            result = future.result()
        except WorkerLostError as error:
            yield from self._lose(call, error.loss)
            return
        except UnreadError as error:
            assert not isinstance(call, RunPiece | Merge | MergeShards)
            _discard_parts(call)
            self._scheduler.receive(Unread(call, error))
            return
        match call:
            case Merge():
                yield result
                self._scheduler.receive(Merged(call))
            case MergeShards():
                yield from result
                self._scheduler.receive(Merged(call, len(result)))
            case RunPiece():
                self._scheduler.receive(PieceMade(call, result))
            case RunChunks():
                yield from result
                self._scheduler.receive(Made(call, tuple(result)))
            case MakeShards():
                for made in result:
                    yield from made
                self._scheduler.receive(Made(call, tuple(chunk for chunk, _ in result)))
            case _:
                yield result
                _discard_parts(call)
                self._scheduler.receive(Made(call, (result,)))

    def _lose(self, call: Call, loss: Loss) -> Iterator[Event]:
        """A process was lost; a shard may be there nonetheless, and only its chunks are left beside it."""
        merges = call.merges if isinstance(call, MergeShards) else (call,) if isinstance(call, Merge) else ()
        shards = [merge.shard for merge in merges if self._here is None]
        there = self._run.committed_shards(shards) if shards else set()
        made = [*takewhile(there.__contains__, shards)]  # they appear in this order
        yield from map(self._run.shard_report, made)
        if isinstance(call, Merge | MergeShards) and made:
            self._scheduler.receive(Merged(call, len(made)))
        else:
            self._scheduler.receive(Lost(call, loss))

    def _error(self, failure: CannotRead | CannotGoOn) -> ScaledprocError:
        if isinstance(failure, CannotRead) and failure.is_refused:
            return ScaledprocError(
                f"{self._run.dataset}: no file of the {failure.tasks:,} tasks here can be read (the first: "
                f"{failure.example}): may these be read from here, and are they still there? Nothing of them is "
                "committed; the same command continues"
            )
        if isinstance(failure, CannotRead):
            return ScaledprocError(
                f"{self._run.dataset}: the files of {failure.unread:,} of {failure.tasks:,} tasks cannot be read (the "
                f"first: {failure.example}); is the disk or the network there? What is committed is kept, the same "
                "command continues"
            )
        match failure.call:
            case Merge(shard):
                meanwhile = f"shard {shard} was put together"
            case Assemble(chunk):
                meanwhile = f"a chunk was committed that begins with {self._works[chunk].tasks[0][2]!r}"
            case RunPiece(chunk, piece):
                meanwhile = f"a chunk was begun that begins with {self._works[chunk].tasks[piece.start][2]!r}"
            case call:
                meanwhile = f"a chunk was begun that begins with {self._works[call.chunk].tasks[0][2]!r}"
        loss = failure.loss
        return ScaledprocError(
            f"{LOADS} worker processes died in a row ({loss.how}) while {meanwhile}; what is committed is kept: the "
            "same command continues, with --jobs 1 in one process that a debugger can watch. "
            f"{loss.trace}".rstrip()
        )


def _quarantined(work: ChunkWork, verdict: QuarantinedTask) -> PieceDone:
    """The part of a chunk that is one task without rows."""
    return PieceDone(verdict.task, (0,), 0.0, (work.error_row(verdict),), costs=(UNKNOWN,))


def _discard_parts(call: Call) -> None:
    """Remove the files that a chunk was put together of."""
    for part in call.parts if isinstance(call, Assemble) else ():
        if isinstance(part, PieceDone):
            part.discard()


def _chunk_work(
    run: RunFolder,
    plan: Plan,
    source: str | Sent,
    chunk: Chunk,
    staged: StagedUnits,
    sizes: Sequence[Mapping[str, int] | None],
    here: NDArray[np.bool_] | None = None,
) -> ChunkWork:
    tasks = plan.tasks.slice(chunk.start, chunk.stop - chunk.start)
    own = plan.units_of(chunk.start, chunk.stop)
    firsts = np.maximum(plan.unit_tasks[own.start : own.stop] - chunk.start, 0)  # of each unit, here
    names = tasks["unit"].take(pa.array(firsts)).to_pylist()
    positions: tuple[int, ...] = ()
    if here is not None:
        tasks = tasks.filter(pa.array(here[chunk.start : chunk.stop]))
        positions = tuple((chunk.start + here[chunk.start : chunk.stop].nonzero()[0]).tolist())
    return ChunkWork(
        work_id=run.record.work_id,
        shard=chunk.shard,
        chunk=chunk.number,
        size=chunk.size,
        tasks=tuple(zip(*(tasks[name].to_pylist() for name in ("group", "unit", "anchor")), strict=True)),
        # Of a unit of many files, which many chunks may share, where to read them.
        files={name: unit if of is None else of for name, unit, of in zip(names, own, sizes, strict=True)},
        staged={name: staged[unit] for name, unit in zip(names, own, strict=True)},
        store=run.store,
        source=source,
        options=run.record.extractor.get("options") or {},
        positions=positions,
    )
