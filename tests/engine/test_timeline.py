"""When cores and shards were at work, from events in a made-up time."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaledproc.engine.timeline import STRETCHES, Timeline
from scaledproc.events import ChunkDone, ShardDone, ShardState, State


def chunk(shard: int, seconds: float, *, resumed: bool = False, staging: float = 0.0) -> ChunkDone:
    return ChunkDone(shard, 1, 1, 1, seconds, 0, resumed=resumed, staging=staging)


def done(shard: int, seconds: float, staging: float = 0.0) -> ShardDone:
    return ShardDone(shard, 1, 1, 1, seconds, 0, staging=staging)


def by_second(found: dict[str, Any], name: str) -> list[float]:
    sums = [0.0] * 10
    for at, each in enumerate(found[name]):
        sums[int(at * found["width"])] += each
    return sums


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_chunk_was_at_work_before_it_was_told_of() -> None:
    clock = Clock()
    line = Timeline(0.0, clock=clock)
    for now, event in ((2.0, chunk(0, 1.0)), (3.0, chunk(0, 3.0)), (3.5, done(0, 4.0))):
        clock.now = now
        line.add(event)
    found = line.to_record()
    assert sum(found["busy"]) == pytest.approx(4.0, abs=0.01)
    assert found["shards"] == [[0, 0.0, 3.5]]
    assert by_second(found, "busy")[:3] == pytest.approx([1.0, 2.0, 1.0], abs=0.1)
    assert "staging" not in found


def test_a_shard_elsewhere_is_taken_to_work_evenly_and_its_wait_is_known() -> None:
    clock = Clock()
    line = Timeline(0.0, clock=clock)
    for now, event in (
        (1.0, ShardState(5, State.QUEUED)),
        (3.0, ShardState(5, State.RUNNING)),
        (7.0, done(5, 16.0)),
    ):
        clock.now = now
        line.add(event)
    found = line.to_record()
    assert found["shards"] == [[5, 3.0, 7.0]]
    assert found["waited"] == [[5, 2.0]]
    assert sum(found["busy"]) == pytest.approx(16.0, abs=0.05)


def test_what_cores_waited_for_files_is_in_the_time_before_the_chunk_where_they_had_no_work() -> None:
    clock = Clock()
    line = Timeline(0.0, 2, clock)
    # Two cores wait for 2 s; one works for 1 s, the other for 3 s; the first waits for 1 s more.
    for now, event in ((3.0, chunk(0, 1.0, staging=4.0)), (5.0, chunk(0, 3.0)), (6.0, chunk(0, 2.0, staging=1.0))):
        clock.now = now
        line.add(event)
    found = line.to_record()
    assert by_second(found, "busy")[:6] == pytest.approx([0, 0, 2, 1, 2, 1], abs=0.1)
    assert by_second(found, "staging")[:6] == pytest.approx([2, 2, 0, 1, 0, 0], abs=0.1)


def test_the_start_of_processes_is_no_waiting_for_files() -> None:
    clock = Clock()
    line = Timeline(0.0, 2, clock)
    for now, event in (
        (1.0, ShardState(0, State.STAGING)),
        (2.0, ShardState(0, State.RUNNING)),  # handed to a process that starts until second 5
        (6.0, chunk(0, 1.0, staging=2.0)),
        (9.0, chunk(0, 1.0, staging=1.0)),
    ):
        clock.now = now
        line.add(event)
    assert by_second(line.to_record(), "staging")[:9] == pytest.approx([0, 2, 0, 0, 0, 0, 0, 1, 0], abs=0.1)


def test_the_time_of_handing_out_is_of_the_first_chunk_alone() -> None:
    clock = Clock()
    line = Timeline(0.0, 1, clock)
    for now, event in (
        (0.5, ShardState(0, State.STAGING)),
        (1.0, ShardState(0, State.RUNNING)),
        (3.0, chunk(0, 2.0)),
        (9.0, chunk(0, 1.0, staging=4.0)),
    ):
        clock.now = now
        line.add(event)
    assert by_second(line.to_record(), "staging")[:9] == pytest.approx([0, 0, 0, 0, 1, 1, 1, 1, 0], abs=0.1)


def test_what_machines_elsewhere_waited_for_files_is_spread() -> None:
    clock = Clock()
    line = Timeline(0.0, clock=clock)
    for now, event in ((1.0, ShardState(0, State.STAGING)), (5.0, done(0, 8.0, staging=4.0))):
        clock.now = now
        line.add(event)
    found = line.to_record()
    assert by_second(found, "busy")[:5] == pytest.approx([0, 2, 2, 2, 2], abs=0.1)
    assert by_second(found, "staging")[:5] == pytest.approx([0, 1, 1, 1, 1], abs=0.1)


def test_what_an_earlier_process_did_is_not_counted() -> None:
    clock = Clock()
    clock.now = 5.0
    line = Timeline(0.0, clock=clock)
    line.add(chunk(0, 4.0, resumed=True))
    assert line.to_record() == {}


@given(st.lists(st.tuples(st.floats(0.001, 5000), st.floats(0.001, 100)), min_size=1, max_size=200))
def test_its_size_does_not_grow_and_no_work_is_lost(steps: list[tuple[float, float]]) -> None:
    clock = Clock()
    line = Timeline(0.0, clock=clock)
    total = waited = 0.0
    for step, seconds in steps:
        clock.now += step
        line.add(chunk(0, seconds, staging=seconds / 2))
        total += min(seconds, clock.now)
        waited += seconds / 2
    found = line.to_record()
    assert len(found["staging"]) == len(found["busy"])
    assert sum(found["staging"]) == pytest.approx(waited, rel=1e-6, abs=0.03)
    assert len(found["busy"]) <= STRETCHES
    assert sum(found["busy"]) == pytest.approx(total, rel=1e-6, abs=0.03)
