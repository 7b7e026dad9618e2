"""When a run warns that all its tasks fail alike: of events alone."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from scaledproc.engine.failing import ENOUGH, Alarm
from scaledproc.events import ChunkDone, Failure, ShardState, State


def alarm_of(store: str = "/data/out", tasks: int = 1000) -> Alarm:
    run: Any = SimpleNamespace(store=store, record=SimpleNamespace(counts={"tasks": tasks}))
    return Alarm(run)


KNOWN = Failure("g", "u", "a.txt", "exception", "ValueError", "bad", "mine.py:3")


def chunk_of(number: int, tasks: int = 100, *failures: Failure, shard: int = 0) -> ChunkDone:
    return ChunkDone(shard, tasks, 0, 1, 1.0, tasks, failures or (KNOWN,), chunk=number)


@pytest.mark.parametrize("within", ["", "/update", "/update/work/todo", "/work/todo"])
def test_only_chunks_whose_failures_are_told_of_count(within: str) -> None:
    alarm = alarm_of(f"/data/out{within}")
    for chunk in range(3):
        assert alarm.hear(ChunkDone(0, 100, 0, 1, 1.0, 100, (), chunk=chunk)) == ""
    assert alarm.hear(chunk_of(3)) == ""
    assert alarm.hear(chunk_of(4, 50)) == (
        "ALL 150 TASKS SO FAR FAILED, those looked at alike, at mine.py:3; the extractor itself may be wrong:\n"
        "  ValueError: bad\n"
        "  the run goes on; Ctrl-C ends it; to try one task:\n"
        "  scaledproc try '/data/out#a.txt'"
    )


@pytest.mark.parametrize(("first", "second", "is_told"), [(10, 9, False), (10, 10, True), (1, 19, True)])
def test_a_few_tasks_of_two_chunks_are_chance(first: int, second: int, is_told: bool) -> None:
    alarm = alarm_of()
    assert alarm.hear(chunk_of(0, first)) == ""
    assert alarm.hear(chunk_of(0, first)) == ""  # the same one, told again
    assert bool(alarm.hear(chunk_of(1, second))) == is_told
    assert ENOUGH == 20
    alarm = alarm_of()
    assert alarm.hear(chunk_of(1, 10)) == ""
    assert alarm.hear(chunk_of(0, 10))  # in any order


def test_of_all_tasks_the_end_tells() -> None:
    alarm = alarm_of(tasks=40)
    assert alarm.hear(chunk_of(0, 20)) == ""
    assert alarm.hear(chunk_of(1, 20)) == ""
    alarm = alarm_of(tasks=41)
    alarm.hear(chunk_of(0, 20))
    assert alarm.hear(chunk_of(1, 20))


def test_what_is_told_of_a_shard_is_its_sum() -> None:
    alarm = alarm_of()
    shard = ShardState(0, State.RUNNING, tasks=30, quarantined=30, failures=(KNOWN,))
    assert str(alarm.hear(shard)).startswith("ALL 30 TASKS")
    assert str(alarm.hear(replace(shard, tasks=35))).startswith("ALL 35 TASKS")
    assert str(alarm.hear(replace(shard, shard=1))).startswith("ALL 65 TASKS")
    assert str(alarm.hear(chunk_of(0, 7))).startswith("ALL 37 TASKS")  # of the first shard its chunks are told now
    assert str(alarm.hear(chunk_of(1, 7))).startswith("ALL 44 TASKS")
    assert str(alarm.hear(replace(shard, tasks=40))).startswith("ALL 70 TASKS")


@pytest.mark.parametrize(
    "other",
    [
        replace(KNOWN, place="mine.py:4"),
        replace(KNOWN, error="KeyError"),
        replace(KNOWN, kind="schema"),
        replace(KNOWN, kind="timeout"),
        replace(KNOWN, place=""),
    ],
)
def test_what_does_not_fail_alike_or_not_by_ones_own_code_is_no_reason_to_warn(other: Failure) -> None:
    alarm = alarm_of()
    assert alarm.hear(chunk_of(0)) == ""
    assert alarm.hear(chunk_of(1, 100, KNOWN, other)) is None
    first = alarm_of().hear(chunk_of(0, 100, other))
    assert (first is None) == (other.kind == "timeout" or not other.place)


def test_a_long_message_and_a_failure_without_a_place() -> None:
    alarm = alarm_of(tasks=10_000)
    failure = Failure("g", "u", "a b.txt", "schema", "SchemaError", f"one\ntwo {'x' * 300}")
    alarm.hear(chunk_of(0, 1000, failure))
    head, message, _, last = str(alarm.hear(chunk_of(1, 1000, failure))).splitlines()
    assert head == "ALL 2,000 TASKS SO FAR FAILED, those looked at alike; the extractor itself may be wrong:"
    assert message == f"  SchemaError: one two {'x' * 192}"
    assert last == "  scaledproc try '/data/out#a b.txt'"
