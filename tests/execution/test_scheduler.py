"""What one machine does next: cases, and random schedules of all that may happen, without processes and files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from scaledproc.events import ChunkDone
from scaledproc.execution.chunks.chunk_work import PieceDone
from scaledproc.execution.chunks.missing_dataset import UnreadError
from scaledproc.execution.limits import Limits
from scaledproc.execution.scheduler import MOMENT, MOST_TOGETHER, MOST_UNREAD, Scheduler, SchedulerTerms
from scaledproc.execution.scheduler_messages import (
    TOGETHER,
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
from scaledproc.execution.workers.recovery import LOADS, Cause, ChunkPiece, Loss, QuarantinedTask, allowed_losses
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


def pieces(*places: tuple[int, int, int]) -> list[RunPiece]:
    return [RunPiece(ONE, ChunkPiece(start, stop, losses)) for start, stop, losses in places]


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (made(RUN), [Merge(0)]),
        (lost(RUN, 1), pieces((0, 1, 0), (2, 4, 0))),
        (lost(RUN, 0), pieces((1, 4, 0), (0, 1, 1))),
        (lost(RUN, 3), pieces((0, 3, 0), (3, 4, 1))),
        (lost(RUN, None), pieces((0, 2, 0), (2, 4, 0))),
        (lost(RUN, 2, "worn"), pieces((0, 2, 0), (2, 4, 0))),
        (lost(RUN, 3, "timeout"), pieces((0, 3, 0))),
        (lost(RUN, begun=False), [RunPiece(ONE, ChunkPiece(0, 4, loads=1))]),
        (unread(RUN, 1), [RunLast(ONE)]),
        (unread(RUN, 2), [RunLast(ONE)]),
        (unread(RUN, 3), [End(CannotRead(3, 4, "example 3"))]),
        (unread(RUN, 1, 2), [End(CannotRead(3, 4, "example 1"))]),
        (unread(RUN, MOST_UNREAD, tasks=2 * MOST_UNREAD), [RunLast(ONE)]),
        (unread(RUN, MOST_UNREAD, tasks=2 * MOST_UNREAD - 1), [End(CannotRead(10, 19, "example 10"))]),
        (StopAsked(), []),
        (StopAsked((RUN,)), [End()]),
    ],
)
def test_what_follows_an_event(event: Event, expected: list[Instruction]) -> None:
    machine = scheduler([ONE])
    assert after(machine) == [RUN]
    assert after(machine, event) == expected
    assert machine.has_ended is (bool(expected) and isinstance(expected[-1], End))


def test_a_run_of_two_chunks_from_its_begin_to_its_end() -> None:
    first, second = chunks_of([2, 3])
    machine = scheduler([first, second])
    assert machine.phase(0) is ShardPhase.WAITING
    assert list(machine.instructions()) == [Stage(first), Stage(second)]
    assert list(machine.instructions()) == []  # until something happens
    machine.receive(Staged(first))
    assert list(machine.instructions()) == [RunChunk(first, 2 * SIZE), Tell(0, ShardPhase.RUNNING)]
    machine.receive(Staged(second))
    assert list(machine.instructions()) == [RunChunk(second, SIZE)]  # a shard's phase is told once
    machine.receive(made(RunChunk(second, SIZE)))
    assert list(machine.instructions()) == [Release(second)]
    machine.receive(made(RunChunk(first, 2 * SIZE)))
    assert list(machine.instructions()) == [Release(first), Merge(0)]
    assert machine.phase(0) is ShardPhase.MERGING
    machine.receive(Merged(Merge(0)))
    assert machine.phase(0) is ShardPhase.DONE
    assert list(machine.instructions()) == [End()]
    assert list(machine.instructions()) == []


def test_nothing_to_do_is_the_end() -> None:
    assert list(scheduler([]).instructions()) == [End()]


def test_a_shard_whose_chunks_are_all_there_is_merged_first() -> None:
    machine = scheduler([ONE], merged_only=[7])
    assert machine.phase(7) is ShardPhase.MERGING
    assert list(machine.instructions()) == [Merge(7), Stage(ONE)]


def test_the_phases_of_a_shard_whose_files_are_fetched_are_told() -> None:
    machine = scheduler(chunks_of([4, 4]), n_files=lambda _: 1)
    first, second = chunks_of([4, 4])
    assert list(machine.instructions()) == [Stage(first), Tell(0, ShardPhase.STAGING), Stage(second)]
    machine.receive(Staged(first))
    assert list(machine.instructions()) == [RunChunk(first, 20), Tell(0, ShardPhase.RUNNING)]
    machine.receive(Staged(second))
    assert list(machine.instructions()) == [RunChunk(second, 10)]


@pytest.mark.parametrize(
    ("jobs", "files", "staged"), [(1, 1, 4), (1, 2, 2), (1, 3, 2), (2, 1, 4), (2, 3, 4), (3, 3, 6)]
)
def test_so_much_is_staged_ahead_of_a_remote_dataset(jobs: int, files: int, staged: int) -> None:
    """Two chunks for each core, and more until these have 4 files, as `files_ahead` says here."""
    machine = scheduler(chunks_of([1] * 9), jobs=jobs, n_files=lambda _: files)
    assert sum(isinstance(each, Stage) for each in machine.instructions()) == staged


def test_what_is_ready_counts_as_staged_ahead_too() -> None:
    chunks = chunks_of([1] * 9)
    machine = scheduler(chunks)
    assert [call.chunk for call in after(machine)] == chunks[:2]  # as many as one core is given
    assert list(machine.instructions()) == [Stage(chunks[2]), Stage(chunks[3])]
    machine.receive(Staged(chunks[2]))
    assert list(machine.instructions()) == []


def test_as_many_are_staged_as_the_next_shard_asks_for() -> None:
    """Not as a small one behind it would."""
    machine = scheduler(chunks_of([1] * 4, [1]), small=[1])
    assert sum(isinstance(each, Stage) for each in machine.instructions()) == 2


def test_so_much_is_staged_ahead_and_handed_out_of_a_local_dataset() -> None:
    machine = scheduler(chunks_of([1] * 20), jobs=3)
    stages = [each for each in machine.instructions() if isinstance(each, Stage)]
    assert len(stages) == 6
    for stage in stages:
        machine.receive(Staged(stage.chunk))
    runs = [each for each in machine.instructions() if isinstance(each, RunChunk)]
    assert [run.chunk for run in runs] == [stage.chunk for stage in stages]
    assert [run.ahead for run in runs] == [200 // 3, 190 // 3, 180 // 3, 170 // 3, 160 // 3, 150 // 3]


def test_a_chunk_is_larger_than_a_core_s_part_of_what_is_left() -> None:
    machine = scheduler([ONE], jobs=4)
    assert after(machine) == [RUN]


class TestRoom:
    def chunks(self) -> tuple[Scheduler, Chunk, Chunk]:
        first, second = chunks_of([4, 4])
        machine = scheduler([first, second], n_files=lambda _: 9)
        stages = machine.instructions()
        assert next(stages) == Stage(first)
        assert next(stages) == Tell(0, ShardPhase.STAGING)
        assert next(stages) == Stage(second)
        machine.receive(NoRoom(second, is_freeing=False))
        assert list(stages) == []
        assert machine.waits_for_room
        return machine, first, second

    def test_a_chunk_without_room_is_asked_for_again_when_something_happened(self) -> None:
        machine, first, second = self.chunks()
        assert list(machine.instructions()) == []
        machine.receive(Staged(first))
        assert not machine.waits_for_room
        said = machine.instructions()
        assert next(said) == Stage(second)
        machine.receive(NoRoom(second, is_freeing=False))
        assert list(said) == [RunChunk(first, 2 * SIZE), Tell(0, ShardPhase.RUNNING)]

    def test_it_is_staged_without_room_where_nothing_will_make_any(self) -> None:
        machine, first, second = self.chunks()
        machine.receive(Staged(first))
        said = list(machine.instructions())
        assert said[0] == Stage(second)
        machine.receive(NoRoom(second, is_freeing=False))
        machine.receive(made(RunChunk(first, 2 * SIZE)))
        said_again = machine.instructions()
        assert next(said_again) == Release(first)
        assert next(said_again) == Stage(second)
        machine.receive(NoRoom(second, is_freeing=True))
        assert list(said_again) == []  # there will be room
        machine.receive(RoomFreed())
        freed = machine.instructions()
        assert next(freed) == Stage(second)
        machine.receive(NoRoom(second, is_freeing=False))
        assert list(freed) == [Stage(second, must=True)]
        machine.receive(Staged(second))
        assert list(machine.instructions()) == [RunChunk(second, SIZE)]

    def test_nothing_is_staged_while_a_merge_is_at_work(self) -> None:
        machine = scheduler([ONE], n_files=lambda _: 9, merged_only=[7])
        said = machine.instructions()
        assert next(said) == Merge(7)
        assert next(said) == Stage(ONE)
        machine.receive(NoRoom(ONE, is_freeing=False))
        assert list(said) == []


class TestTogether:
    def machine(self, count: int, jobs: int = 1) -> tuple[Scheduler, list[Chunk]]:
        chunks = chunks_of(*[[2]] * count)
        return scheduler(chunks, jobs=jobs, small=range(count)), chunks

    def test_the_more_are_ready_the_more_are_handed_out_together(self) -> None:
        machine, _ = self.machine(400)
        said = after(machine)
        assert [len(each.runs) for each in said if isinstance(each, MakeShards)] == [64, 32]

    def test_few_come_one_by_one(self) -> None:
        machine, chunks = self.machine(3)
        assert after(machine) == [RunChunk(chunks[0], 30), RunChunk(chunks[1], 20)]

    def test_half_of_what_is_ready_goes_to_one_core(self) -> None:
        machine, chunks = self.machine(6)
        runs = [RunChunk(chunk, 60 - 10 * number) for number, chunk in enumerate(chunks)]
        assert after(machine) == [MakeShards(tuple(runs[:3])), runs[3]]
        assert after(machine, made(MakeShards(tuple(runs[:3])))) == [runs[4]]
        assert [machine.phase(shard) for shard in (0, 1, 2)] == [ShardPhase.DONE] * 3

    def test_a_larger_shard_is_not_among_them(self) -> None:
        chunks = chunks_of([1], [1], [1, 1], *[[1]] * 13)
        machine = scheduler(chunks, jobs=2, small=[0, 1, *range(3, 16)])
        calls = after(machine)
        runs = [call.runs if isinstance(call, MakeShards) else (call,) for call in calls]
        assert [[run.chunk.shard for run in each] for each in runs] == [[0, 1], [2], [2], [3, 4, 5]]

    def test_what_was_not_made_comes_next_and_fewer_are_sent(self) -> None:
        machine, chunks = self.machine(40)
        first, second = after(machine)
        assert isinstance(first, MakeShards)
        assert len(first.runs) == 20
        (third,) = after(machine, made(first, 2))
        assert isinstance(third, MakeShards)
        assert [run.chunk for run in third.runs] == chunks[2:7]  # 5: twice as many as were made, and one
        assert third.runs[0].ahead == 280  # what was sent and not made is ahead once more
        assert isinstance(second, MakeShards)

    def test_only_the_shard_whose_task_ended_the_process_is_set_apart(self) -> None:
        machine, chunks = self.machine(8)
        first, _ = after(machine)
        assert isinstance(first, MakeShards)
        assert len(first.runs) == 4
        said = after(machine, lost(first, 3))  # the second task of the second shard
        assert said == [RunPiece(chunks[1], ChunkPiece(0, 1))]
        said = after(machine, part(said[0]))
        assert said == [RunPiece(chunks[1], ChunkPiece(1, 2, 1))]
        (whole,) = after(machine, lost(said[0], 1))
        assert isinstance(whole, Assemble)
        assert [type(each) for each in whole.parts] == [PieceDone, QuarantinedTask]
        merge, *others = after(machine, made(whole))
        assert merge == Merge(1)
        runs = [run for call in others for run in (call.runs if isinstance(call, MakeShards) else (call,))]
        assert [run.chunk for run in runs] == [chunks[0], chunks[2]]

    @pytest.mark.parametrize("event", [lambda call: lost(call, None), lambda call: lost(call, 1, begun=False), unread])
    def test_all_come_one_by_one_where_it_is_not_known_whose_fault_it_is(self, event: Callable[[Call], Event]) -> None:
        machine, chunks = self.machine(6)
        first, second = after(machine)
        assert after(machine, event(first), made(second)) == [
            Merge(3),
            RunChunk(chunks[0], 50),
            RunChunk(chunks[1], 40),
        ]

    def chunks(self, count: int) -> tuple[Scheduler, list[Chunk], list[RunChunk]]:
        """Chunks of one shard, the first of which is made."""
        chunks = chunks_of([2] * count)
        machine = scheduler(chunks, together=True)
        return machine, chunks, after(machine)

    def test_short_chunks_are_handed_out_together_once_it_is_known_that_they_are(self) -> None:
        machine, chunks, (first, second) = self.chunks(400)
        assert [first.chunk, second.chunk] == chunks[:2]
        (call,) = after(machine, made(first))
        assert isinstance(call, RunChunks)
        assert [run.chunk for run in call.runs] == chunks[2 : 2 + MOST_TOGETHER]
        assert call.runs[0].ahead == 3980

    @pytest.mark.parametrize(("seconds", "count"), [(MOMENT, 3), (MOMENT / 5, 5), (MOMENT / 20, 12)])
    def test_what_is_done_in_a_moment_is_not_shared_out(self, seconds: float, count: int) -> None:
        machine, _, (first, _) = self.chunks(8)
        (call,) = after(machine, made(first, seconds=seconds))
        assert len(call.runs) == min(count, 6)

    @pytest.mark.parametrize(("seconds", "count"), [(TOGETHER, 1), (TOGETHER / 2, 2), (TOGETHER / 3.5, 3)])
    def test_no_more_than_take_a_moment_are_handed_out_together(self, seconds: float, count: int) -> None:
        machine, _, (first, _) = self.chunks(100)
        (call,) = after(machine, made(first, seconds=seconds))
        assert (len(call.runs) if isinstance(call, RunChunks) else 1) == count

    def test_chunks_that_were_not_made_come_next(self) -> None:
        machine, chunks, (first, _) = self.chunks(100)
        (some,) = after(machine, made(first, seconds=TOGETHER / 8))
        assert len(some.runs) == 8
        (call,) = after(machine, made(some, 1, seconds=TOGETHER / 8))
        assert [run.chunk for run in call.runs] == chunks[3:6]

    def test_the_last_chunk_has_the_shard_merged(self) -> None:
        machine, chunks, (first, second) = self.chunks(12)
        calls = after(machine, made(first), made(second))
        assert any(isinstance(call, RunChunks) for call in calls)
        while not isinstance(calls[0], Merge):
            calls += after(machine, made(calls.pop(0)))
        assert calls == [Merge(0)]
        assert len(chunks) == 12

    def test_only_the_chunk_whose_task_ended_the_process_is_set_apart(self) -> None:
        machine, chunks, (first, _) = self.chunks(100)
        (three,) = after(machine, made(first, seconds=TOGETHER / 3.5))
        said = after(machine, lost(three, 3))  # the second task of the second chunk
        assert said == [RunPiece(chunks[3], ChunkPiece(0, 1))]
        assert after(machine, part(said[0])) == [RunPiece(chunks[3], ChunkPiece(1, 2, 1))]

    @pytest.mark.parametrize("event", [lambda call: lost(call, None), lambda call: lost(call, 1, begun=False), unread])
    def test_chunks_come_one_by_one_where_it_is_not_known_whose_fault_it_is(
        self, event: Callable[[Call], Event]
    ) -> None:
        machine, chunks, (first, second) = self.chunks(100)
        (three,) = after(machine, made(first, seconds=TOGETHER / 3.5))
        assert len(three.runs) == 3
        assert [call.chunk for call in after(machine, event(three), made(second))] == chunks[2:4]


class TestShortShards:
    def machine(self, jobs: int = 1, **options: Any) -> tuple[Scheduler, list[Any]]:
        machine = scheduler([], jobs=jobs, together=True, merged_only=[1, 2, 3], **options)
        return machine, after(machine)

    @pytest.mark.parametrize(
        ("jobs", "said"),
        [
            (1, [MergeShards((Merge(1), Merge(2), Merge(3)))]),
            (2, [MergeShards((Merge(1), Merge(2))), Merge(3)]),
            (3, [Merge(1), Merge(2), Merge(3)]),
        ],
    )
    def test_those_that_are_due_are_made_together_a_part_by_each_core(self, jobs: int, said: list[Any]) -> None:
        assert self.machine(jobs)[1] == said

    def test_how_long_one_takes_is_not_known_where_some_chunks_were_made_earlier(self) -> None:
        assert self.machine(begun=[1, 2, 3])[1] == [Merge(1), Merge(2), Merge(3)]
        assert self.machine(begun=[2])[1] == [MergeShards((Merge(1), Merge(3))), Merge(2)]

    @pytest.mark.parametrize("seconds", [0.01, TOGETHER])
    def test_one_whose_chunks_took_long_is_made_alone(self, seconds: float) -> None:
        machine = scheduler([ONE, TWO], together=True)
        one, two = after(machine)
        said = after(machine, made(one, seconds=seconds), made(two, seconds=seconds))
        assert said == ([MergeShards((Merge(0), Merge(1)))] if seconds < TOGETHER else [Merge(0), Merge(1)])

    def test_what_was_not_made_comes_again(self) -> None:
        machine, (call,) = self.machine()
        assert after(machine, Merged(call, 1)) == [MergeShards((Merge(2), Merge(3)))]
        assert [machine.phase(shard) for shard in (1, 2)] == [ShardPhase.DONE, ShardPhase.MERGING]
        assert after(machine, Merged(MergeShards((Merge(2), Merge(3))), 2)) == [End()]

    def test_each_is_made_alone_after_a_process_was_lost(self) -> None:
        machine, (call,) = self.machine()
        assert after(machine, lost(call)) == [Merge(1, 1), Merge(2, 1), Merge(3, 1)]

    @pytest.mark.parametrize("event", [lambda call: Merged(call, 1), lost])
    def test_what_was_not_made_is_left_to_the_next_start_after_a_stop(self, event: Callable[[Call], Event]) -> None:
        machine, (call,) = self.machine()
        assert after(machine, StopAsked()) == []
        assert after(machine, event(call)) == [End()]

    def test_they_are_withdrawn_together(self) -> None:
        machine, (call,) = self.machine()
        assert after(machine, StopAsked((call,))) == [End()]


class TestRepair:
    def test_a_chunk_is_put_together_of_its_pieces_in_order(self) -> None:
        machine = scheduler([ONE])
        after(machine)
        before, behind = after(machine, lost(RUN, 1))
        assert isinstance(before, RunPiece)
        assert isinstance(behind, RunPiece)
        (alone,) = after(machine, part(behind))
        assert alone == RunPiece(ONE, ChunkPiece(1, 2, 1))
        assert alone.piece.is_fresh
        assert after(machine, lost(alone, 1)) == []
        (whole,) = after(machine, part(before))
        assert isinstance(whole, Assemble)
        assert [each.start if isinstance(each, PieceDone) else each.task for each in whole.parts] == [0, 1, 2]
        assert isinstance(whole.parts[1], QuarantinedTask)
        assert whole.parts[1].attempts == 2
        assert after(machine, made(whole)) == [Merge(0)]
        assert after(machine, Merged(Merge(0))) == [End()]

    def test_a_task_that_lacked_memory_is_tried_with_nothing_else_at_work(self) -> None:
        machine = scheduler([ONE, TWO], jobs=2)
        one, two = after(machine)
        (rest,) = after(machine, lost(one, 0, "memory"))
        assert rest == RunPiece(ONE, ChunkPiece(1, 4))
        assert after(machine, part(rest)) == []  # another chunk is at work
        assert after(machine, made(two)) == [Merge(1)]
        (alone,) = after(machine, Merged(Merge(1)))
        assert alone == RunPiece(ONE, ChunkPiece(0, 1, 1, is_alone=True))

    def test_nothing_is_begun_beside_it(self) -> None:
        small, other = chunks_of([1], [1])
        machine = scheduler([small, other], limits=Limits(task_retries=1))
        one, _ = after(machine)
        assert after(machine, lost(one, 0, "memory")) == []
        (merge,) = after(machine, made(RunChunk(other, SIZE)))
        assert merge == Merge(1)
        (alone,) = after(machine, Merged(merge))
        assert alone.piece.is_alone
        assert after(machine, RoomFreed()) == []

    def test_processes_that_end_before_they_begin_end_the_run(self) -> None:
        machine = scheduler([ONE])
        (call,) = after(machine)
        for _ in range(LOADS - 1):
            (call,) = after(machine, lost(call, begun=False))
        loss = Loss("crash", "SIGSEGV", None, begun=False)
        assert after(machine, Lost(call, loss)) == [End(CannotGoOn(call, loss))]
        assert after(machine) == []

    @pytest.mark.parametrize("committing", [True, False])
    def test_processes_that_end_while_they_commit_end_the_run(self, committing: bool) -> None:
        machine = scheduler([ONE])
        (call,) = after(machine)
        said = after(machine, lost(call, 0, "timeout"))
        (call,) = after(machine, part(said[0]))
        if not committing:
            (call,) = after(machine, made(call))
        for _ in range(LOADS - 1):
            (call,) = after(machine, lost(call))
        assert isinstance(call, Assemble if committing else Merge)
        event = lost(call)
        assert after(machine, event) == [End(CannotGoOn(call, event.loss))]

    def test_a_piece_may_bring_rows_of_errors(self) -> None:
        machine = scheduler([ONE])
        (call,) = after(machine)
        (piece,) = after(machine, lost(call, 0, "timeout"))
        errors: tuple[Mapping[str, object], ...] = ({"anchor": "a.hea"},)
        (whole,) = after(machine, PieceMade(piece, PieceDone(1, (0, 1, 1), 0.0, errors)))
        assert isinstance(whole, Assemble)
        assert whole.parts[1] == PieceDone(1, (0, 1, 1), 0.0, errors)

    def test_a_chunk_that_was_put_together_may_be_unread_too(self) -> None:
        machine = scheduler([ONE])
        (call,) = after(machine)
        (piece,) = after(machine, lost(call, 0, "timeout"))
        (whole,) = after(machine, part(piece))
        assert after(machine, unread(whole)) == [RunLast(ONE)]
        (piece,) = after(machine, lost(RunLast(ONE), 0, "timeout"))
        assert piece == RunPiece(ONE, ChunkPiece(1, 4))


class TestUnread:
    def test_what_could_not_be_read_comes_when_all_else_is_done(self) -> None:
        machine = scheduler([ONE, TWO])
        one, two = after(machine)
        assert after(machine, unread(one)) == []
        assert after(machine, made(two)) == [Merge(1), RunLast(ONE)]
        assert after(machine, made(RunLast(ONE)), Merged(Merge(1))) == [Merge(0)]
        assert after(machine, Merged(Merge(0))) == [End()]

    @pytest.mark.parametrize("count", [2, 3, 4])
    def test_half_of_all_do_not_end_a_run(self, count: int) -> None:
        machine = scheduler([ONE, TWO])
        one, two = after(machine)
        assert after(machine, unread(one, count), made(two))[-1] == RunLast(ONE)

    def test_reads_before_the_first_that_failed_do_not_count(self) -> None:
        """The dataset went away in the middle: all that is tried from then on fails."""
        machine = scheduler([ONE, TWO, THREE])
        one, two = after(machine)
        big = ChunkDone(0, 1000, 1000, 1, 0.0, 0, chunk=0)
        (_, three) = after(machine, Made(one, (big,)))
        assert after(machine, unread(two, 6, tasks=6)) == []
        assert after(machine, unread(three, 6, tasks=6)) == [End(CannotRead(12, 1012, "example 6"))]

    def test_reads_since_then_count(self) -> None:
        machine = scheduler([ONE, TWO, THREE])
        one, two = after(machine)
        assert after(machine, unread(one, 6, tasks=6)) == [RunChunk(THREE, SIZE)]
        (merge,) = after(machine, Made(two, (ChunkDone(1, 14, 14, 1, 0.0, 2, chunk=0),)))
        assert merge == Merge(1)
        said = after(machine, unread(RunChunk(THREE, SIZE), 6, tasks=6))
        assert said == [RunLast(ONE), RunLast(THREE)]  # 12 unread, 12 read, of 26

    @pytest.mark.parametrize(
        ("event", "failure"),
        [
            (unread(RunChunk(ONE, 20), 9, tasks=9), None),
            (unread(RunChunk(ONE, 20), 10, tasks=10), CannotRead(10, 10, "example 10")),
            (unread(RunChunk(ONE, 20), 10, tasks=19), CannotRead(10, 19, "example 10")),
            (unread(RunChunk(ONE, 20), 10, tasks=20), None),
            (unread(RunChunk(ONE, 20), 10, 2, tasks=21), CannotRead(12, 21, "example 10")),
            (unread(RunChunk(ONE, 20), 10, 2, tasks=22), None),
        ],
    )
    def test_ten_that_cannot_be_read_and_fewer_that_can_end_a_run(
        self, event: Unread, failure: CannotRead | None
    ) -> None:
        """At once, whatever else is at work."""
        machine = scheduler([ONE, TWO])
        after(machine)
        assert after(machine, event) == ([] if failure is None else [End(failure)])

    @pytest.mark.parametrize("quarantined", [2, 3])
    def test_what_came_into_quarantine_was_not_read(self, quarantined: int) -> None:
        machine = scheduler([ONE, TWO, THREE, FOUR])
        one, two = after(machine)
        assert after(machine, unread(one, 6, tasks=6)) == [RunChunk(THREE, 20)]
        after(machine, Made(two, (ChunkDone(1, 14, 14, 1, 0.0, quarantined, chunk=0),)))
        said = after(machine, unread(RunChunk(THREE, 20), 6, tasks=6))
        assert said == ([End(CannotRead(12, 26, "example 6"))] if quarantined == 3 else [])

    def test_the_first_one_s_error_is_shown(self) -> None:
        machine = scheduler([ONE, TWO])
        one, two = after(machine)
        assert after(machine, unread(one, 3), unread(two, 4)) == [End(CannotRead(7, 8, "example 3"))]

    def test_a_task_is_counted_once_however_often_it_is_tried(self) -> None:
        one, two = chunks_of([4], [3])
        machine = scheduler([one, two])
        first, second = after(machine)
        assert after(machine, unread(first, 3), made(second)) == [Merge(1), RunLast(one)]
        (piece,) = after(machine, lost(RunLast(one), 0, "timeout"))
        (whole,) = after(machine, part(piece))
        assert after(machine, Merged(Merge(1)), unread(whole, 4)) == [End(CannotRead(4, 7, "example 4"))]

    @pytest.mark.parametrize("tasks", [1, 40])
    @pytest.mark.parametrize("is_readable", [True, False])
    def test_what_is_refused_of_all_ends_it_where_nothing_else_is_read(self, tasks: int, is_readable: bool) -> None:
        machine = scheduler([ONE])
        (call,) = after(machine)
        machine.receive(refused(call, tasks))
        said = machine.instructions()
        assert next(said) == LookElsewhere()
        machine.receive(SeenElsewhere(is_readable))
        failure = CannotRead(tasks, tasks, "refused", is_refused=True)
        assert next(said) == (RunLast(ONE) if is_readable else End(failure))

    @pytest.mark.parametrize("other", [made, unread])
    def test_what_is_refused_beside_others_is_its_tasks_failure(self, other: Callable[[Any], Event]) -> None:
        machine = scheduler([ONE, TWO])
        one, two = after(machine)
        after(machine, refused(one, 20))
        assert RunLast(ONE) in after(machine, other(two))

    def test_what_is_gone_counts_as_neither_while_others_are_at_work(self) -> None:
        machine = scheduler([ONE, TWO])
        one, two = after(machine)
        assert after(machine, unread(one, 0, 20, 30)) == []
        assert after(machine, made(two)) == [Merge(1), End(CannotRead(20, 34, "example 0"))]


class TestStop:
    def test_what_is_at_work_ends_and_nothing_is_begun(self) -> None:
        chunks = chunks_of([1, 1, 1, 1, 1, 1])
        machine = scheduler(chunks)
        first, second = after(machine)
        assert after(machine, StopAsked((second,))) == []
        assert not machine.has_ended
        assert after(machine, made(first)) == [End()]

    def test_a_shard_is_not_merged_any_more(self) -> None:
        machine = scheduler([ONE])
        (call,) = after(machine)
        machine.receive(made(call))
        assert after(machine, StopAsked()) == [End()]

    def test_a_merge_that_is_at_work_comes_to_its_end(self) -> None:
        machine = scheduler([ONE])
        (call,) = after(machine)
        assert after(machine, made(call)) == [Merge(0)]
        assert after(machine, StopAsked()) == []
        assert after(machine, Merged(Merge(0))) == [End()]

    def test_a_merge_that_waits_is_withdrawn(self) -> None:
        machine = scheduler([], merged_only=[1, 2])
        assert after(machine) == [Merge(1), Merge(2)]
        assert after(machine, StopAsked((Merge(2),))) == []
        assert after(machine, Merged(Merge(1))) == [End()]

    @pytest.mark.parametrize("event", [lambda call: lost(call, 1), unread])
    def test_what_failed_is_left_to_the_next_start(self, event: Callable[[Call], Event]) -> None:
        machine = scheduler([ONE])
        (call,) = after(machine)
        assert after(machine, StopAsked()) == []
        assert after(machine, event(call)) == [End()]

    def test_a_merge_whose_process_was_lost_is_left_too(self) -> None:
        machine = scheduler([], merged_only=[1])
        assert after(machine) == [Merge(1)]
        assert after(machine, StopAsked(), lost(Merge(1))) == [End()]

    def test_a_chunk_whose_last_piece_was_at_work_is_put_together(self) -> None:
        machine = scheduler([ONE])
        (call,) = after(machine)
        (piece,) = after(machine, lost(call, 0, "timeout"))
        assert after(machine, StopAsked()) == []
        (whole,) = after(machine, part(piece))
        assert isinstance(whole, Assemble)
        assert after(machine, made(whole)) == [End()]

    def test_shards_that_were_not_made_are_left(self) -> None:
        chunks = chunks_of(*[[1]] * 8)
        machine = scheduler(chunks, small=range(8))
        first, second = after(machine)
        assert after(machine, StopAsked((second,)), made(first, 1)) == [End()]

    def test_a_stop_between_two_instructions_leaves_the_second(self) -> None:
        """Where there are no processes, an instruction is carried out before the next is asked for."""
        chunks = chunks_of([1, 1, 1])
        machine = scheduler(chunks)
        assert list(machine.instructions()) == [Stage(chunks[0]), Stage(chunks[1])]
        for chunk in chunks[:2]:
            machine.receive(Staged(chunk))
        said = machine.instructions()
        for each in said:
            if isinstance(each, RunChunk):
                machine.receive(StopAsked())
                break
        assert [each for each in said if not isinstance(each, Tell)] == []

    def test_files_that_are_there_after_a_stop_change_nothing(self) -> None:
        machine = scheduler([ONE])
        assert list(machine.instructions()) == [Stage(ONE)]
        machine.receive(StopAsked())
        machine.receive(Staged(ONE))
        machine.receive(NoRoom(ONE, is_freeing=False))
        assert list(machine.instructions()) == [End()]


def test_what_is_not_at_work_cannot_end() -> None:
    machine = scheduler([ONE])
    with pytest.raises(KeyError):
        machine.receive(made(RUN))
    (call,) = after(machine)
    after(machine, made(call))
    with pytest.raises(KeyError):
        machine.receive(made(call))


@dataclass
class _Truth:
    """What a pool and a disk know."""

    committed: Counter[Chunk]
    released: Counter[Chunk]
    merged: Counter[int]
    tries: Counter[tuple[Chunk, int]]
    losses: Counter[tuple[Chunk, int]]


class Schedules(RuleBasedStateMachine):
    """Anything may happen in any order; the promises hold whatever it is."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self.staging: list[Chunk] = []
        self.ends: list[End] = []
        self.is_stopping = False
        self.truth = _Truth(Counter(), Counter(), Counter(), Counter(), Counter())

    @initialize(
        jobs=st.integers(1, 3),
        shards=st.lists(st.lists(st.integers(1, 4), max_size=3), max_size=8),
        small=st.booleans(),
        together=st.booleans(),
        local=st.booleans(),
        retries=st.integers(0, 2),
    )
    def begin(self, jobs: int, shards: list[list[int]], small: bool, together: bool, local: bool, retries: int) -> None:
        self.jobs, self.is_local = jobs, local
        self.chunks = chunks_of(*shards)
        self.limits = Limits(task_timeout=5.0, task_retries=retries)
        self.shards = [number for number, counts in enumerate(shards) if counts] + [100]
        ones = [number for number, counts in enumerate(shards) if len(counts) == 1] if small else []
        self.machine = scheduler(
            self.chunks,
            jobs=jobs,
            small=ones,
            together=together,
            n_files=None if local else (lambda _: 1),
            limits=self.limits,
            merged_only=[100],
        )
        self.listen()

    def listen(self) -> None:
        """Carry out all that is said, and see that it may be said."""
        for said in self.machine.instructions():
            assert not self.ends
            match said:
                case End():
                    self.ends.append(said)
                    assert said.failure is not None or not self.calls
                case Stage():
                    assert not self.is_stopping
                    self.staging.append(said.chunk)
                case Release():
                    assert self.truth.committed[said.chunk] == 1
                    self.truth.released[said.chunk] += 1
                case LookElsewhere():
                    self.machine.receive(SeenElsewhere(True))
                case Tell():
                    assert said.phase in (ShardPhase.STAGING, ShardPhase.RUNNING)
                case _:
                    self.hand_out(said)

    def hand_out(self, call: Call) -> None:
        assert call not in self.calls
        assert not self.is_stopping or isinstance(call, Assemble)
        assert not any(isinstance(other, RunPiece) and other.piece.is_alone for other in self.calls)
        assert not (isinstance(call, RunPiece) and call.piece.is_alone and self.calls)
        counted = [each for each in self.calls if not isinstance(each, Merge | MergeShards | Assemble)]
        assert len(counted) < 2 * self.jobs or isinstance(call, Merge | MergeShards | Assemble)
        for chunk, tasks in parts_of(call):
            assert not self.truth.committed[chunk]
            assert not any(chunk == other for each in self.calls for other, busy in parts_of(each) if busy & tasks)
            self.truth.tries.update((chunk, task) for task in tasks if not isinstance(call, Assemble))
        if isinstance(call, Assemble):
            found = [task for each in call.parts for task in tasks_of(each)]
            assert found == list(range(n_tasks(call.chunk)))
        for merge in merges_of(call):
            of_shard = [chunk for chunk in self.chunks if chunk.shard == merge.shard]
            assert all(self.truth.committed[chunk] for chunk in of_shard)
            assert not self.truth.merged[merge.shard]
            assert not any(merge.shard == other.shard for each in self.calls for other in merges_of(each))
        self.calls.append(call)

    def tell(self, event: Event) -> None:
        self.machine.receive(event)
        self.listen()

    def is_running(self) -> bool:
        return not self.ends

    @precondition(lambda self: self.is_running() and self.staging)
    @rule(data=st.data(), outcome=st.sampled_from(["there", "there", "there", "no room", "no room, some comes"]))
    def stage_ends(self, data: st.DataObject, outcome: str) -> None:
        chunk = self.staging.pop(data.draw(st.integers(0, len(self.staging) - 1)))
        if outcome == "there" or self.is_local or self.staging:  # what has no room is the last that was asked for
            self.tell(Staged(chunk))
        else:
            self.tell(NoRoom(chunk, outcome != "no room"))

    @precondition(lambda self: self.is_running() and self.machine.waits_for_room)
    @rule()
    def room_is_freed(self) -> None:
        self.tell(RoomFreed())

    @precondition(lambda self: self.is_running() and self.calls)
    @rule(data=st.data())
    def call_ends(self, data: st.DataObject) -> None:
        call = self.calls.pop(data.draw(st.integers(0, len(self.calls) - 1)))
        self.succeed(call, data.draw(st.integers(1, 64)))

    @precondition(lambda self: self.is_running() and self.calls)
    @rule(data=st.data(), cause=st.sampled_from(["crash", "memory", "timeout", "worn"]), begun=st.integers(0, 5))
    def process_is_lost(self, data: st.DataObject, cause: str, begun: int) -> None:
        call = self.calls.pop(data.draw(st.integers(0, len(self.calls) - 1)))
        places = [place for _, tasks in parts_of(call) for place in sorted(tasks)]
        if isinstance(call, Together):
            places = list(range(len(places)))
        task = data.draw(st.sampled_from([*places, None])) if places else None
        if task is not None and begun and cause != "worn" and isinstance(call, RunPiece):
            self.truth.losses[call.chunk, task] += 1
        self.tell(lost(call, task, cause, begun=begun > 0))

    @precondition(lambda self: self.is_running() and self.calls)
    @rule(data=st.data(), count=st.integers(0, 2), gone=st.integers(0, 1))
    def files_cannot_be_read(self, data: st.DataObject, count: int, gone: int) -> None:
        call = data.draw(st.sampled_from(self.calls))
        if isinstance(call, RunChunk | Together | Assemble):
            self.calls.remove(call)
            self.tell(unread(call, count, gone, count + gone + 2))

    @precondition(lambda self: self.is_running() and not self.is_stopping)
    @rule(data=st.data())
    def stop_is_asked(self, data: st.DataObject) -> None:
        waiting = data.draw(st.integers(0, len(self.calls)))
        self.is_stopping = True
        self.calls, withdrawn = self.calls[waiting:], tuple(self.calls[:waiting])
        self.staging.clear()
        self.tell(StopAsked(withdrawn))

    @precondition(lambda self: self.ends)
    @rule()
    def nothing_comes_after_the_end(self) -> None:
        assert list(self.machine.instructions()) == []

    def succeed(self, call: Call, count: int = 64) -> None:
        match call:
            case Merge():
                self.truth.merged[call.shard] += 1
                self.tell(Merged(call))
            case MergeShards():
                for merge in call.merges[:count]:
                    self.truth.merged[merge.shard] += 1
                self.tell(Merged(call, count))
            case RunPiece():
                self.tell(part(call))
            case RunChunks() | MakeShards():
                for run in call.runs[:count]:
                    self.truth.committed[run.chunk] += 1
                    self.truth.merged[run.chunk.shard] += isinstance(call, MakeShards)
                self.tell(made(call, count))
            case _:
                self.truth.committed[call.chunk] += 1
                self.tell(made(call))

    @invariant()
    def nothing_is_done_twice(self) -> None:
        assert max(self.truth.committed.values(), default=0) <= 1
        assert max(self.truth.released.values(), default=0) <= 1
        assert max(self.truth.merged.values(), default=0) <= 1
        assert len(self.ends) <= 1

    @invariant()
    def no_task_ends_more_processes_than_it_may(self) -> None:
        for count in self.truth.losses.values():
            assert count <= 2 * (
                allowed_losses("crash", self.limits) + 1
            )  # once more where a chunk came again at the end

    @invariant()
    def it_waits_for_something_or_has_ended(self) -> None:
        if hasattr(self, "machine") and not self.ends:
            assert self.calls or self.staging or self.machine.waits_for_room

    def teardown(self) -> None:
        """Let all succeed from now on: then it ends, and nothing is missing."""
        if not hasattr(self, "machine"):
            return
        for _ in range(10_000):
            if self.ends:
                break
            if self.staging:
                self.tell(Staged(self.staging.pop(0)))
            elif self.calls:
                self.succeed(self.calls.pop(0))
            else:
                self.tell(RoomFreed())
        (end,) = self.ends
        assert self.machine.has_ended
        assert list(self.machine.instructions()) == []
        self.nothing_is_done_twice()
        if not self.is_stopping and end.failure is None:
            assert set(self.truth.committed) == set(self.chunks) == set(self.truth.released)
            assert set(self.truth.merged) == set(self.shards)
            assert all(self.truth.tries[chunk, task] for chunk in self.chunks for task in range(n_tasks(chunk)))
            assert {self.machine.phase(shard) for shard in self.shards} == {ShardPhase.DONE}


def merges_of(call: Call) -> tuple[Merge, ...]:
    """The shards that a call makes of their chunks."""
    return call.merges if isinstance(call, MergeShards) else (call,) if isinstance(call, Merge) else ()


def parts_of(call: Call) -> list[tuple[Chunk, set[int]]]:
    """The chunks that a call is of, and the places of the tasks in each that it makes."""
    match call:
        case Merge() | MergeShards():
            return []
        case RunChunks() | MakeShards():
            return [(run.chunk, set(range(n_tasks(run.chunk)))) for run in call.runs]
        case RunPiece():
            return [(call.chunk, set(range(call.piece.start, call.piece.stop)))]
        case _:
            return [(call.chunk, set(range(n_tasks(call.chunk))))]


def tasks_of(made: PieceDone | QuarantinedTask) -> list[int]:
    if isinstance(made, QuarantinedTask):
        return [made.task]
    return list(range(made.start, made.start + len(made.ends)))


TestSchedules = Schedules.TestCase
TestSchedules.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
