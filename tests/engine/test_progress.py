"""How far a run is: counted right whatever tells of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from told import Clock, chunk, shard_done, started, state

from scaledproc.engine.progress import AT_WORK, RunProgress
from scaledproc.events import ChunkDone, ShardDone, ShardState

Told = ChunkDone | ShardDone | ShardState


chunk_sizes = st.lists(st.tuples(st.integers(1, 9), st.integers(0, 99), st.booleans()), min_size=1, max_size=5)


@st.composite
def stories(draw: st.DrawFn) -> tuple[list[list[tuple[int, int, bool]]], list[Told]]:
    """Shards as lists of chunks (tasks, size, whether one is quarantined), and what may be told of them, in any order.

    A shard is told of by its chunks, as here, by its sums so far, as from elsewhere, or as a whole; anything may be
    told twice.
    """
    shards = draw(st.lists(chunk_sizes, min_size=1, max_size=4))
    events: list[Told] = []
    for number, chunks in enumerate(shards):
        way = draw(st.sampled_from(["chunks", "sums", "whole"]))
        tasks, size, bad = (sum(int(part[at]) for part in chunks) for at in range(3))
        if way == "chunks":
            for at, (each, its_size, is_bad) in enumerate(chunks):
                was_done = draw(st.booleans())
                events.append(ChunkDone(number, each, each, its_size, 1.0, int(is_bad), resumed=was_done, chunk=at))
        if way == "sums":
            names = draw(st.lists(st.sampled_from(["queued", "starting", "staging", "retrying", "done"])))
            events += [state(number, name) for name in names]
            for upto in draw(st.lists(st.integers(0, len(chunks)), max_size=6)):  # falls where a job is tried again
                sums = [sum(int(part[at]) for part in chunks[:upto]) for at in range(3)]
                events.append(state(number, "running", sums[0], sums[1], draw(st.floats(0, 9)), quarantined=sums[2]))
        if way != "chunks" or draw(st.booleans()):
            events.append(ShardDone(number, tasks, tasks, size, 1.0, bad, resumed=draw(st.booleans())))
    events += draw(st.lists(st.sampled_from(events), max_size=4))
    return shards, draw(st.permutations(events))


@given(stories(), st.booleans())
def test_any_order_of_events_adds_up_to_the_plan(
    story: tuple[list[list[tuple[int, int, bool]]], list[Told]], continues: bool
) -> None:
    shards, events = story
    tasks, size, bad = (sum(int(part[at]) for chunks in shards for part in chunks) for at in range(3))
    progress = RunProgress(started(tasks, size, len(shards), resumed=continues), Clock())
    before = (0, 0, 0)
    for event in events:
        progress.add(event)
        now = (progress.tasks, progress.size, progress.quarantined)
        assert all(a <= b for a, b in zip(before, now, strict=True))
        assert 0 <= progress.resumed_tasks <= progress.tasks <= tasks
        assert progress.throughput >= 0
        assert sum(progress.counts.values()) == len(shards)
        before = now
    assert before == (tasks, size, bad)
    assert progress.counts.get("done", 0) == len({event.shard for event in events if isinstance(event, ShardDone)})
    assert not {each.shard for each in progress.at_work()} & {e.shard for e in events if isinstance(e, ShardDone)}


def test_pace_is_what_this_process_did() -> None:
    clock = Clock()
    progress = RunProgress(started(shards=2, resumed=True), clock)
    progress.add(shard_done(0, 40, 400, resumed=True))
    progress.add(chunk(1, 0, 10, 100, resumed=True))
    assert (progress.tasks, progress.throughput, progress.seconds_left) == (50, 0, None)
    progress.add(state(1, "running", job=""))
    clock.now = 10.0
    progress.add(chunk(1, 1, 25, 250))
    assert (progress.tasks, progress.throughput, progress.seconds_left) == (75, 25.0, 10.0)
    assert progress.text() == "75/100 tasks, 750 B of 1.0 kB, 25 B/s, about 10 s left"
    assert not progress.has_machines


def test_pace_leaves_out_the_start_of_the_first_machine() -> None:
    clock = Clock()
    progress = RunProgress(started(shards=2), clock)
    progress.add(state(0, "starting"))
    clock.now = 300.0
    progress.add(state(0, "running", 20, 200, 10.0))  # is at work since 290
    assert (progress.throughput, progress.seconds_left) == (20.0, 40.0)
    clock.now = 310.0
    progress.add(state(0, "running", 40, 400, 20.0))
    assert progress.throughput == 20.0
    assert progress.seconds_left == pytest.approx(30.0)


def test_pace_leaves_out_what_jobs_did_before_they_were_watched() -> None:
    clock = Clock()
    progress = RunProgress(started(shards=2, resumed=True), clock)
    progress.add(state(0, "running", 40, 400, 500.0))
    assert (progress.tasks, progress.resumed_tasks, progress.seconds_left) == (40, 40, None)
    clock.now = 5.0
    progress.add(state(0, "running", 50, 500, 505.0))
    progress.add(shard_done(0, 50, 500))
    assert (progress.tasks, progress.throughput) == (50, 20.0)
    assert progress.seconds_left == pytest.approx(25.0)


def test_a_retried_job_shows_its_own_counters_and_the_sum_does_not_fall() -> None:
    progress = RunProgress(started(shards=1))
    progress.add(state(0, "running", 60, 600, 6.0))
    progress.add(state(0, "retrying", detail="again in 3 s: no capacity"))
    assert (progress.tasks, progress.counts) == (60, {"retrying": 1})
    progress.add(state(0, "running", 10, 100, 1.0))
    assert (progress.tasks, [each.tasks for each in progress.at_work()]) == (60, [10])
    progress.add(state(0, "running", 70, 700, 7.0))
    assert progress.tasks == 70


def test_a_worker_that_is_done_counts_when_its_shard_is_found() -> None:
    progress = RunProgress(started(shards=1))
    progress.add(state(0, "done", 100, 1000, 9.0))
    assert (progress.counts, progress.is_complete) == ({"running": 1}, False)
    progress.add(shard_done(0, 100, 1000))
    assert (progress.counts, progress.is_complete) == ({"done": 1}, True)


def test_nothing_is_done_at_first() -> None:
    clock = Clock()
    clock.now = 3.0
    progress = RunProgress(started(shards=3), clock)
    clock.now = 5.0
    assert (progress.tasks, progress.size, progress.quarantined, progress.resumed_tasks) == (0, 0, 0, 0)
    assert (progress.total_tasks, progress.total_size, progress.total_shards) == (100, 1000, 3)
    assert (progress.counts, progress.is_complete, progress.has_machines) == ({"waiting": 3}, False, False)
    assert (progress.elapsed, progress.throughput, progress.seconds_left, progress.at_work()) == (2.0, 0.0, None, [])
    assert progress.text() == "0/100 tasks, 0 B of 1.0 kB"


def test_a_chunk_counts_once() -> None:
    progress = RunProgress(started(), Clock())
    for number in (0, 0, 1, 1, 0):
        progress.add(chunk(0, number, 10, 100))
    assert (progress.tasks, progress.size) == (20, 200)
    progress.add(shard_done(0, 25, 250))
    progress.add(chunk(0, 7, 10, 100))
    progress.add(shard_done(0, 25, 250))
    assert (progress.tasks, progress.size, progress.resumed_tasks) == (25, 250, 0)


def test_a_resumed_shard_counts_as_done_before_unless_some_of_it_was_done_now() -> None:
    progress = RunProgress(started(shards=3), Clock())
    progress.add(shard_done(0, 10, 100, resumed=True))
    assert (progress.tasks, progress.resumed_tasks) == (10, 10)
    progress.add(chunk(1, 0, 10, 100))
    progress.add(shard_done(1, 10, 100, resumed=True))
    assert (progress.tasks, progress.resumed_tasks) == (20, 10)
    progress.add(chunk(2, 0, 4, 40, resumed=True))
    progress.add(chunk(2, 1, 6, 60, resumed=True))
    assert (progress.tasks, progress.resumed_tasks) == (30, 20)


def test_what_is_done_before_is_never_more_than_what_is_done() -> None:
    progress = RunProgress(started(), Clock())
    progress.add(chunk(0, 0, 40, 400, resumed=True))
    progress.add(shard_done(0, 30, 300))
    assert (progress.tasks, progress.resumed_tasks, progress.throughput) == (30, 30, 0)


def test_all_tasks_are_the_end_where_no_machine_is_told_of() -> None:
    progress = RunProgress(started(tasks=10, shards=2), Clock())
    ends = []
    for event in (chunk(0, 0, 9), chunk(1, 0, 1), state(0, "running"), shard_done(0, 9), shard_done(1, 1)):
        progress.add(event)  # the state is a job's: from there on it is the jobs that have to end
        ends.append(progress.is_complete)
    assert ends == [False, True, False, False, True]


@pytest.mark.parametrize(
    ("name", "job", "expected"),
    [("running", "", False), ("staging", "", False), ("running", "j", True), ("queued", "", True), ("done", "", True)],
)
def test_a_backend_has_machines_where_it_tells_of_jobs(name: str, job: str, expected: bool) -> None:
    progress = RunProgress(started(shards=2), Clock())
    progress.add(state(0, name, job=job))
    assert progress.has_machines is expected
    progress.add(state(1, "running", job=""))
    assert progress.has_machines is expected


def test_a_committed_shard_has_no_other_state_any_more() -> None:
    progress = RunProgress(started(shards=1), Clock())
    progress.add(shard_done(0, 10, 100))
    progress.add(state(0, "running", 99, 990, job=""))
    assert (progress.counts, progress.tasks, progress.at_work()) == ({"done": 1}, 10, [])
    assert not progress.has_machines


def test_shards_at_work_come_in_the_order_of_their_states_and_numbers() -> None:
    progress = RunProgress(started(shards=9), Clock())
    names = [*reversed(AT_WORK), "queued", "running", "failed"]
    for number, name in enumerate(names):
        progress.add(state(number, name))
    progress.add(chunk(8, 0))
    assert [(each.state, each.shard) for each in progress.at_work()] == [
        ("running", 4),
        ("running", 6),
        ("staging", 3),
        ("starting", 2),
        ("stopping", 1),
        ("retrying", 0),
    ]
    assert progress.counts == dict.fromkeys(("failed", "queued", *AT_WORK, "waiting"), 1) | {"running": 2}


def test_a_shard_s_quarantined_tasks_are_told() -> None:
    progress = RunProgress(started(), Clock())
    progress.add(state(0, "running", 20, 200, 2.0, quarantined=3))
    assert progress.quarantined == 3
    assert progress.text().endswith(", 3 quarantined")


def test_work_of_an_earlier_command_is_seen_for_the_first_time_only() -> None:
    """A worker that has been at work for no time tells of what was there when it began."""
    progress = RunProgress(started(), Clock())
    progress.add(state(0, "running", 20, 200, 0.0))
    assert progress.resumed_tasks == 20
    progress.add(state(0, "running", 50, 500, 0.0))
    assert (progress.tasks, progress.resumed_tasks) == (50, 20)
    other = RunProgress(started(), Clock())
    other.add(state(0, "running", 20, 200, 1.0))
    other.add(state(0, "running", 50, 500, 0.0))
    assert (other.tasks, other.resumed_tasks) == (50, 0)
    resumed = RunProgress(started(resumed=True), Clock())
    resumed.add(chunk(0, 0, 30, 300, resumed=True))
    resumed.add(state(0, "running", 20, 200, 1.0))
    assert (resumed.tasks, resumed.resumed_tasks) == (30, 30)


def test_the_pace_begins_once() -> None:
    clock = Clock()
    progress = RunProgress(started(shards=3), clock)
    clock.now = 100.0
    progress.add(state(0, "queued"))
    progress.add(state(0, "staging"))
    clock.now = 110.0
    progress.add(state(1, "running", 10, 100, 1.0))
    assert progress.throughput == 10.0
    late = RunProgress(started(shards=1), clock)
    late.add(state(0, "running", 10, 100, 500.0))  # it began long before it was asked about
    clock.now = 120.0
    assert late.throughput == 10.0
    chunks = RunProgress(started(shards=2), clock)
    clock.now = 130.0
    chunks.add(chunk(0, 0, 10, 100))
    clock.now = 140.0
    chunks.add(state(1, "running"))
    assert chunks.throughput == 5.0


def test_nothing_is_left_where_all_is_done() -> None:
    clock = Clock()
    progress = RunProgress(started(), clock)
    progress.add(chunk(0, 0, 99, 990))
    clock.now = 1.0
    assert progress.text() == "99/100 tasks, 990 B of 1.0 kB, 990 B/s"  # too early to tell
    clock.now = 5.0
    assert progress.text() == "99/100 tasks, 990 B of 1.0 kB, 198 B/s, a few seconds left"
    progress.add(chunk(0, 1, 1, 10))
    assert progress.text() == "100/100 tasks, 1.0 kB of 1.0 kB, 200 B/s"
