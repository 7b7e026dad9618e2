"""Which shards a job has, and whether an element gets another job."""

from __future__ import annotations

import os
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaledproc.backends.batch.elements import (
    CALLS,
    COMBINE,
    LONGEST_WAIT,
    Elements,
    Fate,
    QueuedJob,
    Tries,
    latest,
    next_try,
    room,
    wait_after,
)
from scaledproc.events import State


@given(st.integers(1, 200), st.integers(1, 50))
def test_each_shard_is_in_one_element(shards: int, each: int) -> None:
    elements = Elements(shards, each)
    dealt = [shard for element in range(elements.count) for shard in elements.shards_of(element)]

    assert dealt == list(range(shards))
    assert elements.elements_of(dealt) == list(range(elements.count))
    assert not list(elements.shards_of(COMBINE))
    assert Elements(shards).count == shards


@pytest.mark.parametrize("shell", ["sh", "bash"])
@pytest.mark.parametrize(("each", "shards", "expected"), [(1, 4, ["0", "1", "2", "3"]), (3, 7, ["0-2", "3-5", "6-6"])])
def test_the_shell_finds_the_shards_of_an_element(each: int, shards: int, expected: list[str], shell: str) -> None:
    text = Elements(shards, each).shell_text("PBS_ARRAY_INDEX")
    found = [
        subprocess.run(
            [shell, "-c", f'echo "{text}"'],
            env={**os.environ, "PBS_ARRAY_INDEX": str(element)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for element in range(len(expected))
    ]
    assert found == expected


def test_of_each_element_one_job_counts() -> None:
    jobs = [
        QueuedJob(0, "2_0", State.RUNNING),  # at work: counts more than one that waits for it
        QueuedJob(1, "2_1", State.QUEUED),
        QueuedJob.ended(2, "2_2", "lost", ""),
        QueuedJob.ended(3, "2_3", "well", ""),
        QueuedJob(0, "3_0", State.QUEUED),
        QueuedJob.ended(1, "3_1", "stopped", ""),
        QueuedJob.ended(2, "3_2", "worker", ""),
    ]

    assert [job.name for job in latest(jobs)] == ["2_0", "2_1", "3_2", "2_3"]
    assert [job.state for job in (*jobs[2:4], jobs[5])] == [State.FAILED, State.DONE, State.STOPPED]


def test_what_is_known_of_a_job_and_of_an_element_before_anything_happened() -> None:
    assert QueuedJob(0, "1", State.RUNNING) == QueuedJob(0, "1", State.RUNNING, "", "", in_doubt=False)
    assert Tries() == Tries(0, 0, 0, None, again=False, failed="")


def ended(tries: Tries, fate: Fate, committed: int, retries: int = 2, *, may_have_memory: bool = False) -> bool:
    """A job of an element ended; whether it gets another one, which is submitted then."""
    again: bool = next_try(tries, fate, committed, retries, may_have_memory=may_have_memory)
    if again:
        tries.count += 1
        tries.mark = committed
    return again


def test_jobs_that_commit_nothing_are_counted() -> None:
    tries = Tries(count=1)

    assert [ended(tries, "worker", 0) for _ in range(3)] == [True, True, False]


def test_a_job_that_gets_on_costs_no_try() -> None:
    tries = Tries(count=1)

    assert all(ended(tries, "time", committed) for committed in range(1, 20))
    assert [ended(tries, "time", 19) for _ in range(3)] == [True, True, False]


@pytest.mark.parametrize("fate", ["stopped", "hopeless"])
def test_what_a_person_stopped_or_cannot_be_is_not_tried_again(fate: Fate) -> None:
    assert not ended(Tries(count=1), fate, 5)


def test_memory_is_given_where_it_is_to_be_had() -> None:
    tries = Tries(count=1)

    assert ended(tries, "memory", 0, may_have_memory=True)
    assert ended(tries, "memory", 0, may_have_memory=True)
    assert tries.more_memory == 2
    assert not ended(Tries(count=1), "memory", 0)
    assert ended(Tries(count=1), "memory", 1)


@pytest.mark.parametrize(
    ("at_once", "at_work", "has_throttle", "more"),
    [
        (None, 7, True, None),
        (10, 0, True, None),
        (10, 3, True, 7),
        (10, 12, True, 0),
        (10, 0, False, 10),
        (10, 4, False, 6),
    ],
)
def test_how_many_more_jobs_there_may_be(at_once: int | None, at_work: int, has_throttle: bool, more: int) -> None:
    assert room(at_once, at_work, has_throttle=has_throttle) == more


def test_waits_are_longer_and_longer_and_then_it_is_given_up() -> None:
    bounds = [wait_after(trouble, 15.0, 0.5) for trouble in range(1, CALLS)]
    assert bounds == [30.0, *[LONGEST_WAIT] * (CALLS - 2)]
    assert [wait_after(trouble, 1.0, 0.5) for trouble in (1, 2, 3)] == [2.0, 4.0, 8.0]
    assert (wait_after(1, 15.0, 0.0), wait_after(1, 15.0, 1.0)) == (15.0, 45.0)
    assert wait_after(CALLS, 15.0, 0.5) is None
    assert CALLS == 20  # about as many minutes
