"""What one machine does next: events in, instructions out; no process, no file and no clock.

`Scheduler.receive` takes what happened into the state. `Scheduler.instructions` says what to do now. `worker` carries
that out, waits until something happens, and so on, until it is told to `End`.

A chunk's way: it waits in the queue, is staged, is ready, and is handed out to the pool. When it is committed its files
are released, and the last chunk of a shard has the shard merged. Short chunks are handed out several at once, and short
shards are merged so; shards that are one chunk each are too, and come back as shards. A chunk whose process was lost is
done again in pieces, as `workers.recovery` says, and put together of them. A chunk whose files cannot be read is
postponed until all else is done, and then done once more, for the last time.

Once a stop is asked for nothing is begun any more, but that pieces which make a chunk whole are put together. What is
at work comes to its end, and then that is all.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from scaledproc.execution.chunks.chunk_work import TOGETHER
from scaledproc.execution.limits import Limits
from scaledproc.execution.scheduler_messages import (
    Assemble,
    Call,
    CannotGoOn,
    CannotRead,
    End,
    Event,
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
    ShardPhase,
    Stage,
    Staged,
    StopAsked,
    Tell,
    Together,
    Unread,
)
from scaledproc.execution.workers.recovery import LOADS, ChunkPiece, Loss, QuarantinedTask, after_loss, in_its_part

if TYPE_CHECKING:
    from scaledproc.events import ChunkDone
    from scaledproc.execution.chunks.chunk_work import PieceDone
    from scaledproc.execution.chunks.missing_dataset import UnreadError
    from scaledproc.planning.plan import Chunk

MOST_UNREAD = 10  # tasks that could not be read, from which on it is asked whether any can
MOST_TOGETHER = 64  # chunks, or shards, that are made together
MOMENT = 0.01  # seconds of work that are not shared out, as to commit it takes nearly as long
_SHORTEST = 1e-6  # seconds


@dataclass(frozen=True)
class SchedulerTerms:
    """What does not change while the scheduler is at work.

    Parameters
    ----------
    jobs
        Cores.
    limits
        What ends a task, and how often it is tried.
    n_tasks
        How many of a chunk's tasks are to be done.
    n_files
        How many files are fetched for a chunk; None where the dataset is on a local disk, and nothing is.
    files_ahead
        How many files are fetched ahead at least.
    may_be_together
        Whether several chunks may be made by one call, and several shards merged.
    """

    jobs: int
    limits: Limits
    n_tasks: Callable[[Chunk], int]
    n_files: Callable[[Chunk], int] | None
    files_ahead: int
    may_be_together: bool = False


@dataclass
class _Shard:
    left: int
    """Chunks that are not committed."""
    is_small: bool
    """Whether it is one chunk, and may be made together with others."""
    phase: ShardPhase = ShardPhase.WAITING
    seconds: float = 0.0
    """That its chunks took; infinite where some were made earlier."""


@dataclass
class _Repair:
    """A chunk that is made in pieces, after it lost its process."""

    left: int = 0
    """Pieces that wait or are at work."""
    parts: list[tuple[int, PieceDone | QuarantinedTask]] = field(default_factory=list)
    """What is there of it, with the place of its first task."""
    losses: int = 0
    """Processes that ended while all was put together."""


class Scheduler:
    """Stage ahead, keep the cores busy, make a shard of its chunks when the last one is there.

    Parameters
    ----------
    terms
        What does not change.
    shards
        How many of each shard's chunks are to be made; where none is, the shard is only merged.
    chunks
        These chunks, in the order in which they are begun.
    small
        Shards that may be made together with others: each is one chunk, and can be written at once.
    begun
        Shards some of whose chunks were made earlier.

    Notes
    -----
    All that it knows is below; each chunk that is not yet committed is in exactly one of `_queue`, `_staging`,
    `_ready`, `_repairs`, `_postponed`, `_last`, or the calls at work; after a stop also in none.
    """

    def __init__(
        self,
        terms: SchedulerTerms,
        shards: Mapping[int, int],
        chunks: Iterable[Chunk],
        small: Iterable[int] = (),
        begun: Iterable[int] = (),
    ) -> None:
        self._terms = terms
        is_small = frozenset(small)
        self._shards = {shard: _Shard(left, shard in is_small) for shard, left in shards.items()}
        for shard in begun:
            self._shards[shard].seconds = math.inf

        # Chunks that no process has.
        self._queue = deque(chunks)
        self._staging: dict[Chunk, None] = {}  # in order
        self._ready: deque[Chunk] = deque()
        self._postponed: list[tuple[Chunk, UnreadError]] = []
        self._last: deque[Chunk] = deque()  # the postponed ones, when all else is done
        self._repairs: dict[Chunk, _Repair] = {}
        self._pieces: deque[RunPiece] = deque()  # of repairs, that no process has
        self._alone: set[Chunk] = set()  # not made together with others any more, as that went wrong

        # What the pool has, whether it is at work or waits there.
        self._calls: set[Call] = set()  # all but merges, which are not counted where it is asked for room
        self._merges: set[Merge] = set()

        # What is said next, whatever else is at work; then nothing more, but for the end.
        self._due: deque[Instruction] = deque()
        self._failure: CannotRead | CannotGoOn | None = None
        self._is_stopping = False
        self._has_ended = False

        # Numbers that decisions rest on.
        self._ahead = sum(chunk.size for chunk in self._queue)  # bytes that are not handed out yet
        self._most: dict[type[Together], int] = {MakeShards: MOST_TOGETHER, RunChunks: 1}  # handed out together
        self._no_room: NoRoom | None = None  # the answer to the last `Stage`, until something else happens
        self._seconds = math.inf  # that a chunk took, of those that were made last
        self._tasks = 0  # that were tried
        self._read = self._unread = 0  # of these, since the first one that could not be read
        self._reads_elsewhere = True  # unless `LookElsewhere` was answered otherwise

        for shard, state in self._shards.items():
            if not state.left:  # an earlier process ended between a shard's last chunk and the shard
                self._merge(Merge(shard))

    @property
    def has_ended(self) -> bool:
        """Whether it has said `End`."""
        return self._has_ended

    @property
    def waits_for_room(self) -> bool:
        """Whether a chunk is not staged for want of room."""
        return self._no_room is not None

    def phase(self, shard: int) -> ShardPhase:
        """How far a shard is."""
        return self._shards[shard].phase

    # Instructions.

    def instructions(self) -> Iterator[Instruction]:
        """What to do now, until the next event; the last one of all is `End`.

        Each is decided when it is asked for. So an event that one of them brought, such as `NoRoom` or `StopAsked`, may
        be given before the next.
        """
        while self._due and self._failure is None:
            instruction = self._due.popleft()
            yield self._begun(self._with_others(instruction) if isinstance(instruction, Merge) else instruction)
        if not self._is_over():
            yield from self._stage()
            yield from self._work()
        if (self._failure is not None or not self._is_any_left()) and not self._has_ended:
            self._has_ended = True
            yield End(self._failure)

    def _begun(self, instruction: Instruction) -> Instruction:
        """Count a call among those of the pool."""
        if isinstance(instruction, Merge):
            self._merges.add(instruction)
        elif isinstance(instruction, MergeShards):
            self._merges.update(instruction.merges)
        elif not isinstance(instruction, Stage | Release | Tell | LookElsewhere | End):
            self._calls.add(instruction)
        return instruction

    def _with_others(self, merge: Merge) -> Merge | MergeShards:
        """A merge that is due; with others where all are short, a core's share of those that are due now."""
        short = [each for each in (merge, *self._due) if isinstance(each, Merge) and self._is_short(each)]
        if merge not in short:
            return merge
        together = short[: min(-(-len(short) // self._terms.jobs), MOST_TOGETHER)]
        for each in together[1:]:
            self._due.remove(each)
        return MergeShards(tuple(together)) if len(together) > 1 else merge

    def _is_short(self, merge: Merge) -> bool:
        return self._terms.may_be_together and not merge.losses and self._shards[merge.shard].seconds < TOGETHER

    def _is_over(self) -> bool:
        return self._is_stopping or self._has_ended or self._failure is not None

    def _is_any_untried(self) -> bool:
        """Whether there are chunks that were not tried yet, or are at work."""
        return bool(self._queue or self._staging or self._ready or self._pieces or self._calls or self._due)

    def _is_any_left(self) -> bool:
        return self._is_any_untried() or bool(self._postponed or self._last or self._merges)

    def _stage(self) -> Iterator[Instruction]:
        while not self._is_over() and self._queue and self._wants_more():
            must = False
            if self._no_room is not None:
                at_hand = self._staging or self._ready or self._pieces or self._calls or self._merges
                if at_hand or self._no_room.is_freeing:
                    return  # until a chunk at work gives up its units, and these are removed
                must = True
            chunk = self._queue.popleft()
            self._no_room = None
            self._staging[chunk] = None
            yield Stage(chunk, must)
            if self._terms.n_files is not None and chunk in self._staging:
                yield from self._tell(chunk.shard, ShardPhase.STAGING)

    def _wants_more(self) -> bool:
        """Whether to stage another chunk ahead: for each core, and where chunks are small, for each request."""
        ahead, n_files = len(self._staging) + len(self._ready), self._terms.n_files
        if n_files is None:
            most = MOST_TOGETHER if self._way_together(self._queue[0]) is not None else 1
            return ahead < 2 * self._terms.jobs * most
        if ahead < 2 * self._terms.jobs:
            return True
        return sum(map(n_files, (*self._staging, *self._ready))) < self._terms.files_ahead

    def _work(self) -> Iterator[Instruction]:
        if any(isinstance(call, RunPiece) and call.piece.is_alone for call in self._calls):
            return
        while not self._is_over() and self._has_room() and self._pieces:
            is_alone = self._pieces[0].piece.is_alone
            if is_alone and (self._calls or self._merges):
                return
            yield self._begun(self._pieces.popleft())
            if is_alone:
                return
        while not self._is_over() and self._has_room() and self._ready:
            way = self._way_together(self._ready[0])
            runs = []
            for chunk in self._next_chunks(way):
                runs.append(RunChunk(chunk, max(self._ahead // self._terms.jobs, chunk.size)))
                self._ahead -= chunk.size
            yield self._begun(runs[0] if way is None or len(runs) == 1 else way(tuple(runs)))
            for run in runs:
                yield from self._tell(run.chunk.shard, ShardPhase.RUNNING)
        if not self._is_over() and self._postponed and not self._is_any_untried():
            yield from self._see_whose_fault()
        while not self._is_over() and self._has_room() and self._last:
            yield self._begun(RunLast(self._last.popleft()))

    def _has_room(self) -> bool:
        """Whether to hand out more: for each core one is at work and one waits."""
        return len(self._calls) < 2 * self._terms.jobs

    def _way_together(self, chunk: Chunk) -> type[Together] | None:
        """How a chunk is made together with others, if it may be."""
        if chunk in self._alone:
            return None
        if self._shards[chunk.shard].is_small:
            return MakeShards
        return RunChunks if self._terms.may_be_together else None

    def _next_chunks(self, way: type[Together] | None) -> list[Chunk]:
        """A chunk that is ready; or several that are made together: as many as are ready for each core, or a moment."""
        share = len(self._ready) // (2 * self._terms.jobs)
        if way is RunChunks:
            left = len(self._ready) + len(self._staging) + len(self._queue)  # the next may be longer than those before
            share = max(share, min(int(MOMENT / max(self._seconds, _SHORTEST)), left // self._terms.jobs))
        most = 1 if way is None else min(self._most[way], share)
        chunks = [self._ready.popleft()]
        while self._ready and len(chunks) < most and self._way_together(self._ready[0]) is way:
            chunks.append(self._ready.popleft())
        return chunks

    def _tell(self, shard: int, phase: ShardPhase) -> Iterator[Tell]:
        """Tell of a shard's phase once: it is staging, then running."""
        state = self._shards[shard]
        if state.phase not in (phase, ShardPhase.RUNNING):
            state.phase = phase
            yield Tell(shard, phase)

    # Events.

    def receive(self, event: Event) -> None:
        """Take in what happened. What was asked for by a call that is not at work is an error of the caller."""
        if not isinstance(event, NoRoom):
            self._no_room = None
        match event:
            case StopAsked():
                self._stop(event.withdrawn)
            case Staged():
                if event.chunk in self._staging:  # else it came after a stop
                    del self._staging[event.chunk]
                    self._ready.append(event.chunk)
            case NoRoom():
                if event.chunk in self._staging:
                    del self._staging[event.chunk]
                    self._queue.appendleft(event.chunk)
                    self._no_room = event
            case RoomFreed():
                pass
            case SeenElsewhere():
                self._reads_elsewhere = event.is_readable
            case Merged():
                merges = event.call.merges if isinstance(event.call, MergeShards) else (event.call,)
                for number, merge in enumerate(merges):
                    self._merges.remove(merge)
                    if number < event.count:
                        self._shards[merge.shard].phase = ShardPhase.DONE
                    elif not self._is_stopping:
                        self._merge(merge)
            case Made():
                self._calls.remove(event.call)
                self._made(event.call, event.done)
            case PieceMade():
                self._calls.remove(event.call)
                repair = self._repairs[event.call.chunk]
                repair.left -= 1
                repair.parts.append((event.call.piece.start, event.part))
                self._assemble(event.call.chunk)
            case Lost(Merge() as call, loss):
                self._merges.remove(call)
                if self._is_stopping:
                    return  # its chunks are there for the next start
                if call.losses + 1 >= LOADS:
                    self._fail(CannotGoOn(call, loss))
                else:
                    self._merge(Merge(call.shard, call.losses + 1))
            case Lost(MergeShards() as call, _):
                self._merges.difference_update(call.merges)
                for merge in () if self._is_stopping else call.merges:
                    self._merge(Merge(merge.shard, merge.losses + 1))
            case Lost(call, loss):
                self._calls.remove(call)
                if not self._is_stopping:
                    self._mend(call, loss)
            case Unread():
                self._calls.remove(event.call)
                if not self._is_stopping:
                    self._see_unread(event.call, event.error)

    def _fail(self, failure: CannotRead | CannotGoOn) -> None:
        self._failure = self._failure or failure

    def _stop(self, withdrawn: tuple[Call, ...]) -> None:
        """Leave what is not at work to the next start."""
        self._is_stopping = True
        self._due = deque(each for each in self._due if not isinstance(each, Merge))
        for chunks in (self._queue, self._staging, self._ready, self._postponed, self._last, self._pieces):
            chunks.clear()
        self._calls.difference_update(withdrawn)
        for call in withdrawn:
            self._merges.difference_update(call.merges if isinstance(call, MergeShards) else ())
            self._merges.difference_update((call,) if isinstance(call, Merge) else ())

    def _made(self, call: RunChunk | RunLast | Together | Assemble, done: tuple[ChunkDone, ...]) -> None:
        runs = call.runs if isinstance(call, Together) else (call,)
        for run, made in zip(runs, done, strict=False):
            self._repairs.pop(run.chunk, None)
            self._tasks += made.tasks
            self._read += made.tasks - made.quarantined
            self._due.append(Release(run.chunk))
            shard = self._shards[run.chunk.shard]
            shard.left -= 1
            shard.seconds += made.seconds
            if isinstance(call, MakeShards):
                shard.phase = ShardPhase.DONE
            elif not shard.left and not self._is_stopping:
                self._merge(Merge(run.chunk.shard))
        if isinstance(call, Together | RunChunk):  # what is sent and not made is sent again
            way = RunChunks if isinstance(call, RunChunk) else type(call)
            most: float = MOST_TOGETHER if way is RunChunks and len(done) == len(runs) else 2 * len(done) + 1
            if way is RunChunks:
                self._seconds = sum(made.seconds for made in done) / len(done)
                most = min(most, TOGETHER / max(self._seconds, _SHORTEST))
            self._most[way] = max(min(int(most), MOST_TOGETHER), 1)
        if isinstance(call, Together):
            self._hand_back(call.runs[len(done) :])

    def _hand_back(self, runs: Iterable[RunChunk]) -> None:
        """Chunks that were handed out together come next."""
        if not self._is_stopping:
            chunks = [run.chunk for run in runs]
            self._ready.extendleft(reversed(chunks))
            self._ahead += sum(chunk.size for chunk in chunks)

    def _merge(self, call: Merge) -> None:
        self._shards[call.shard].phase = ShardPhase.MERGING
        self._due.append(call)

    def _see_unread(self, call: RunChunk | RunLast | Together | Assemble, error: UnreadError) -> None:
        """Some files could not be read: have a chunk done again when all others are, unless nothing can be read.

        It is said of a chunk alone, so those that were made together come each by itself.
        """
        if isinstance(call, Together):
            self._part(call)
            return
        self._repairs.pop(call.chunk, None)
        if not self._postponed:
            self._read = 0
        self._postponed.append((call.chunk, error))
        self._tasks += error.tasks
        self._unread += error.unread
        self._read += error.tasks - error.unread - error.gone - error.refused
        if self._unread >= MOST_UNREAD and self._unread > self._read:
            self._fail(self._cannot_read())

    def _part(self, call: Together) -> None:
        """Have chunks made each by itself."""
        self._alone.update(run.chunk for run in call.runs)
        self._hand_back(call.runs)

    def _see_whose_fault(self) -> Iterator[Instruction]:
        """All but the postponed chunks are done: do these for the last time, unless most tasks are among them.

        Files that are refused, or that a store has no more, are their tasks' fault, unless that is so of all tasks
        here, and nothing else of the dataset can be read either.
        """
        failure = self._cannot_read()
        refused = sum(error.refused for _, error in self._postponed)
        if 2 * (failure.unread - refused) > self._tasks:
            self._fail(failure)
            return
        if refused == self._tasks:
            yield LookElsewhere()
            if not self._reads_elsewhere:
                self._fail(replace(failure, is_refused=True))
                return
        self._last += [chunk for chunk, _ in self._postponed]
        self._tasks -= sum(error.tasks for _, error in self._postponed)
        self._postponed.clear()

    def _cannot_read(self) -> CannotRead:
        unread = sum(error.unread + error.gone + error.refused for _, error in self._postponed)
        return CannotRead(unread, self._tasks, self._postponed[0][1].example)

    def _mend(self, call: Call, loss: Loss) -> None:
        """A process was lost: have its work done in smaller pieces, or put a task into quarantine."""
        match call:
            case RunChunks() | MakeShards():
                found = in_its_part(loss, [self._terms.n_tasks(run.chunk) for run in call.runs])
                if found is None:  # it is not known whose task was at work
                    self._part(call)
                    return
                part, loss = found
                culprit = call.runs[part]
                self._hand_back(run for run in call.runs if run is not culprit)
                self._cut(culprit, ChunkPiece(0, self._terms.n_tasks(culprit.chunk)), loss)
            case Assemble():
                repair = self._repairs[call.chunk]
                repair.losses += 1
                if repair.losses >= LOADS:
                    self._fail(CannotGoOn(call, loss))
                else:
                    self._assemble(call.chunk)
            case RunPiece():
                self._repairs[call.chunk].left -= 1
                self._cut(call, call.piece, loss)
            case RunChunk() | RunLast():
                self._cut(call, ChunkPiece(0, self._terms.n_tasks(call.chunk)), loss)

    def _cut(self, call: RunChunk | RunLast | RunPiece, lost: ChunkPiece, loss: Loss) -> None:
        repair = self._repairs.setdefault(call.chunk, _Repair())
        pieces, verdict = after_loss(lost, loss, self._terms.limits)
        if verdict is not None:
            repair.parts.append((verdict.task, verdict))
        elif not pieces:
            self._fail(CannotGoOn(call, loss))
            return
        repair.left += len(pieces)
        self._pieces += [RunPiece(call.chunk, piece) for piece in pieces]
        self._assemble(call.chunk)

    def _assemble(self, chunk: Chunk) -> None:
        """Have a chunk committed of its parts once all are there."""
        repair = self._repairs[chunk]
        if not repair.left:
            repair.parts.sort(key=lambda part: part[0])
            self._due.append(Assemble(chunk, tuple(part for _, part in repair.parts)))
