"""The pace of a run that is looked at, by a clock of the test's."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scaledproc.engine.past.status import Status
from scaledproc.events import ShardDone, ShardState, State
from scaledproc.reporting.report.findings import Going
from scaledproc.reporting.watching.observed import Observed


def status_at(*done: int) -> Status:
    """Two shards of a hundred tasks of 10 kB; the first may be done."""
    states = tuple(
        ShardState(shard, State.BEGUN, tasks=tasks, size=10_000 * tasks)
        for shard, tasks in enumerate(done)
        if tasks < 100
    )
    whole = tuple(ShardDone(at, 100, 100, 1_000_000, 1.0, 0) for at, tasks in enumerate(done) if tasks == 100)
    return Status("out", "id", "running", "local", 200, 2_000_000, whole, states)


def test_it_is_of_what_was_done_while_it_was_looked_at() -> None:
    """And not of what was done before, by another command or before anybody looked."""
    now = [100.0]
    observed = Observed(lambda: now[0])
    assert observed.see(status_at(100, 40)) == Going()
    seen = None
    for tasks in range(45, 75, 5):  # half a task a second
        now[0] += 10
        seen = observed.see(status_at(100, tasks))
    assert seen is not None
    assert seen.rate == pytest.approx(5_000, rel=0.01)
    assert seen.left == "about 1 min left"


def test_a_run_of_one_shard_has_a_pace_before_the_shard_is_done() -> None:
    now = [0.0]
    observed = Observed(lambda: now[0])
    observed.see(status_at(0))
    for tasks in (1, 2, 3):
        now[0] += 60
        seen = observed.see(status_at(tasks))
        assert seen is not None
        assert seen.rate == pytest.approx(10_000 / 60)
        assert seen.left


def test_an_update_begins_anew_and_what_is_over_has_none() -> None:
    now = [0.0]
    observed = Observed(lambda: now[0])
    observed.see(status_at(0))
    now[0] += 60
    assert observed.see(status_at(10)) != Going()
    assert observed.see(replace(status_at(10), output="out/update/todo")) == Going()
    assert observed.see(replace(status_at(10), state="done")) is None
    assert observed.see(status_at(10)) == Going()
