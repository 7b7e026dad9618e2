"""A scheduler and what it is told, for the tests beside this."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

from scaledproc.events import ChunkDone
from scaledproc.execution.chunks.chunk_work import PieceDone
from scaledproc.execution.chunks.missing_dataset import UnreadError
from scaledproc.execution.limits import Limits
from scaledproc.execution.scheduler import Scheduler, SchedulerTerms
from scaledproc.execution.scheduler_messages import (
    Assemble,
    Call,
    Event,
    Lost,
    Made,
    PieceMade,
    Release,
    RunChunk,
    RunLast,
    RunPiece,
    Stage,
    Staged,
    Tell,
    Together,
    Unread,
)
from scaledproc.execution.workers.recovery import Cause, Loss
from scaledproc.planning.plan import Chunk

LIMITS = Limits(task_timeout=5.0)
SIZE = 10
CRASH = "crash"


def chunks_of(*counts: Sequence[int]) -> list[Chunk]:
    """The chunks of shards, given by the numbers of tasks of each shard's chunks."""
    chunks, start = [], 0
    for shard, tasks in enumerate(counts):
        for number, count in enumerate(tasks):
            chunks.append(Chunk(shard, number, start, start + count, SIZE))
            start += count
    return chunks


def n_tasks(chunk: Chunk) -> int:
    return chunk.stop - chunk.start


def scheduler(
    chunks: Sequence[Chunk],
    *,
    jobs: int = 1,
    small: Iterable[int] = (),
    together: bool = False,
    n_files: Callable[[Chunk], int] | None = None,
    limits: Limits = LIMITS,
    merged_only: Iterable[int] = (),
    begun: Iterable[int] = (),
) -> Scheduler:
    left = {**dict.fromkeys(merged_only, 0), **Counter(chunk.shard for chunk in chunks)}
    return Scheduler(SchedulerTerms(jobs, limits, n_tasks, n_files, 4, together), left, chunks, small, begun)


def done(chunk: Chunk, seconds: float = 0.0) -> ChunkDone:
    tasks = n_tasks(chunk)
    return ChunkDone(chunk.shard, tasks, tasks, chunk.size, seconds, quarantined=0, chunk=chunk.number)


def made(call: RunChunk | RunLast | Together | Assemble, count: int | None = None, seconds: float = 0.0) -> Made:
    runs = call.runs[:count] if isinstance(call, Together) else (call,)
    return Made(call, tuple(done(run.chunk, seconds) for run in runs))


def part(call: RunPiece) -> PieceMade:
    return PieceMade(call, PieceDone(call.piece.start, (1,) * (call.piece.stop - call.piece.start), 0.0))


def lost(call: Call, task: int | None = None, cause: str = CRASH, *, begun: bool = True) -> Lost:
    return Lost(call, Loss(cast(Cause, cause), "SIGSEGV", task, begun))


def unread(call: RunChunk | RunLast | Together | Assemble, count: int = 1, gone: int = 0, tasks: int = 4) -> Unread:
    return Unread(call, UnreadError(count, gone, tasks, f"example {count}"))


def refused(call: RunChunk | RunLast | Together | Assemble, tasks: int) -> Unread:
    return Unread(call, UnreadError(0, 0, tasks, "refused", tasks))


def after(machine: Scheduler, *events: Event) -> list[Any]:
    """What it says next; of stages it hears at once, as where the dataset is on a local disk."""
    for event in events:
        machine.receive(event)
    found: list[Any] = []
    while True:
        said = list(machine.instructions())
        found += [each for each in said if not isinstance(each, Stage | Tell | Release)]
        stages = [each for each in said if isinstance(each, Stage)]
        for stage in stages:
            machine.receive(Staged(stage.chunk))
        if not stages:
            return found


ONE, TWO, THREE, FOUR = chunks_of([4], [4], [4], [4])
RUN = RunChunk(ONE, SIZE)
