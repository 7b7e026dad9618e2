"""What one machine does next: cases, without processes and files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from scheduling_support import (
    FOUR,
    ONE,
    RUN,
    SIZE,
    THREE,
    TWO,
    after,
    chunks_of,
    lost,
    made,
    part,
    refused,
    scheduler,
    unread,
)

from scaledproc.events import ChunkDone
from scaledproc.execution.chunks.chunk_work import PieceDone
from scaledproc.execution.limits import Limits
from scaledproc.execution.scheduler import MOST_UNREAD, Scheduler
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
    Merge,
    Merged,
    NoRoom,
    PieceMade,
    Release,
    RoomFreed,
    RunChunk,
    RunLast,
    RunPiece,
    SeenElsewhere,
    ShardPhase,
    Stage,
    Staged,
    StopAsked,
    Tell,
    Unread,
)
from scaledproc.execution.workers.recovery import LOADS, ChunkPiece, Loss, QuarantinedTask
from scaledproc.planning.plan import Chunk


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
