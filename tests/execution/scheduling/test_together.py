"""What is made by one call of a process: several chunks, several shards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from scheduling_support import (
    ONE,
    TWO,
    after,
    chunks_of,
    lost,
    made,
    part,
    scheduler,
    unread,
)

from scaledproc.execution.chunks.chunk_work import TOGETHER, PieceDone
from scaledproc.execution.scheduler import MOMENT, MOST_TOGETHER, Scheduler
from scaledproc.execution.scheduler_messages import (
    Assemble,
    Call,
    End,
    Event,
    MakeShards,
    Merge,
    Merged,
    MergeShards,
    RunChunk,
    RunChunks,
    RunPiece,
    ShardPhase,
    StopAsked,
)
from scaledproc.execution.workers.recovery import ChunkPiece, QuarantinedTask
from scaledproc.planning.plan import Chunk


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

    @pytest.mark.parametrize(("left", "together"), [(5, 1), (8, 2), (40, 10)])
    def test_the_last_ones_are_shared_out_as_they_may_be_longer(self, left: int, together: int) -> None:
        machine = scheduler(chunks_of([2] * (8 + left)), jobs=4, together=True)
        first, *_ = after(machine)
        (call,) = after(machine, made(first, seconds=MOMENT / 1000))
        assert (len(call.runs) if isinstance(call, RunChunks) else 1) == together

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
