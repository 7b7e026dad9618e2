"""What one machine does next: random schedules of all that may happen."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from scheduling_support import (
    chunks_of,
    lost,
    made,
    n_tasks,
    part,
    scheduler,
    unread,
)

from scaledproc.execution.chunks.chunk_work import PieceDone
from scaledproc.execution.limits import Limits
from scaledproc.execution.scheduler_messages import (
    Assemble,
    Call,
    End,
    Event,
    LookElsewhere,
    MakeShards,
    Merge,
    Merged,
    MergeShards,
    NoRoom,
    Release,
    RoomFreed,
    RunChunk,
    RunChunks,
    RunPiece,
    SeenElsewhere,
    ShardPhase,
    Stage,
    Staged,
    StopAsked,
    Tell,
    Together,
)
from scaledproc.execution.workers.recovery import QuarantinedTask, allowed_losses
from scaledproc.planning.plan import Chunk


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
