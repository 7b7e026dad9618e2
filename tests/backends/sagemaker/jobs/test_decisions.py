"""What became of a job, and whether it is tried again: case by case."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from scaledproc.backends.sagemaker.jobs.decisions import (
    LONGEST_WAIT,
    Fate,
    fate,
    is_not_the_volume,
    look_again,
    pause,
    reason,
    runtime,
    smallest_scratch,
)
from scaledproc.execution.heartbeat import Heartbeat

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def described(status: str, seconds: float | None = None, **others: Any) -> dict[str, Any]:
    times = {}
    if seconds is not None:
        times = {"ProcessingStartTime": START, "ProcessingEndTime": START + dt.timedelta(seconds=seconds)}
    return {"ProcessingJobStatus": status, **times, **others}


@pytest.mark.parametrize("status", ["Completed", "Stopped", "Failed"])
def test_what_is_committed_is_done_however_the_job_ended(status: str) -> None:
    failed = described(status, 3600, FailureReason="ClientError: AccessDenied", ExitMessage="UsageError: no")
    assert fate(failed, committed=True, max_runtime=3600) == "done"


def test_a_job_that_ended_well_and_left_nothing() -> None:
    assert fate(described("Completed", 10), committed=False, max_runtime=3600) == "uncommitted"


@pytest.mark.parametrize(
    ("seconds", "max_runtime", "expected"),
    [
        (3600, 3600, "timeout"),
        (3540, 3600, "timeout"),  # a minute less, as the service stops a job a little early
        (3539, 3600, "stopped"),
        (10, 3600, "stopped"),
        (270, 300, "timeout"),  # of a short job a tenth
        (269, 300, "stopped"),
        (540, 600, "timeout"),
        (539, 600, "stopped"),
        (None, 300, "stopped"),
    ],
)
def test_a_job_that_was_stopped_ran_into_its_limit_or_not(
    seconds: float | None, max_runtime: float, expected: Fate
) -> None:
    assert fate(described("Stopped", seconds), committed=False, max_runtime=max_runtime) == expected


@pytest.mark.parametrize(
    ("failure", "message", "expected"),
    [
        ("CapacityError: Unable to provision requested ML compute capacity.", "", "capacity"),
        ("Insufficient capacity", "UsageError: x", "capacity"),
        ("ClientError: no capacity: AccessDenied", "", "capacity"),
        ("ClientError: AccessDenied to the bucket", "", "hopeless"),
        ("ClientError: User is not authorized", "", "hopeless"),
        ("ClientError: the key does not exist", "", "hopeless"),
        ("ClientError: NoSuchKey", "", "hopeless"),
        ("ClientError: Could not find model", "", "hopeless"),
        ("ClientError: the image cannot be pulled", "", "hopeless"),
        ("ClientError: No S3 objects found under the prefix", "", "hopeless"),
        ("AlgorithmError: See job logs", "NoRoomError: the largest unit needs 2 GB", "disk"),
        ("ClientError: Please use an instance type with more memory, or reduce the size", "", "memory"),
        ("AlgorithmError: OutOfMemory", "", "memory"),
        ("ClientError: Data download failed: Insufficient disk space", "", "disk"),
        ("AlgorithmError: OSError: No space left on device", "", "disk"),
        ("InternalServerError: OutOfMemory", "", "service"),
        ("ClientError: please retry", "", "service"),
        ("InternalServerError: We encountered an internal error", "", "service"),
        ("Internal failure", "", "service"),
        ("InternalServerError: image", "", "service"),
        ("AlgorithmError: AccessDenied", "", "worker"),
        ("AlgorithmError: a ClientError", "", "worker"),
        ("AlgorithmError: See job logs", "UsageError: no such extractor", "hopeless"),
        ("AlgorithmError: See job logs", "ValueError: UsageError", "worker"),
        ("ClientError: please retry", "UsageError: x", "service"),
        ("", "UsageError: x", "hopeless"),
        ("", "", "worker"),
        (None, None, "worker"),
    ],
)
def test_a_job_that_failed(failure: str | None, message: str | None, expected: Fate) -> None:
    found = described("Failed", 10, FailureReason=failure, ExitMessage=message)
    assert fate(found, committed=False, max_runtime=3600) == expected


def test_a_job_that_failed_and_says_nothing() -> None:
    assert fate(described("Failed"), committed=False, max_runtime=3600) == "worker"


def test_the_runtime_is_known_where_both_times_are() -> None:
    assert runtime(described("Stopped", 12.5)) == 12.5
    assert runtime(described("Stopped")) == 0.0
    assert runtime({"ProcessingStartTime": START}) == 0.0
    assert runtime({"ProcessingEndTime": START}) == 0.0


@pytest.mark.parametrize(
    ("tries", "retries", "wait", "share", "expected"),
    [
        (1, 3, 10, 0.5, 10.0),
        (2, 3, 10, 0.5, 20.0),
        (3, 3, 10, 0.5, 40.0),
        (4, 3, 10, 0.5, None),
        (1, 1, 10, 0.0, 5.0),
        (1, 1, 10, 1.0, 15.0),
        (1, 0, 10, 0.5, None),
        (20, 30, 10, 0.5, LONGEST_WAIT),
        (20, 30, 10, 0.0, LONGEST_WAIT / 2),
        (1, 1, 2000, 0.5, LONGEST_WAIT),
    ],
)
def test_the_pause_doubles_up_to_a_bound(
    tries: int, retries: int, wait: float, share: float, expected: float | None
) -> None:
    assert pause("service", tries, retries, wait, share) == expected
    assert LONGEST_WAIT == 900


@pytest.mark.parametrize("what", ["capacity", "service", "worker", "uncommitted", "timeout"])
def test_what_may_go_better_is_tried_again(what: Fate) -> None:
    assert pause(what, 1, 1, 10, 0.5) == 10.0


@pytest.mark.parametrize("what", ["hopeless", "stopped"])
def test_what_will_not_is_not(what: Fate) -> None:
    assert pause(what, 1, 5, 10, 0.5) is None


@pytest.mark.parametrize(
    ("looks", "poll", "share", "expected"),
    [
        (1, 1.0, 0.5, 2.0),
        (2, 1.0, 0.5, 4.0),
        (4, 1.0, 0.5, 16.0),
        (5, 1.0, 0.5, 32.0),
        (20, 1.0, 0.5, 32.0),
        (21, 1.0, 0.5, None),
        (1, 10.0, 0.0, 10.0),
        (1, 10.0, 1.0, 30.0),
        (20, 10.0, 0.5, 60.0),
        (20, 0.01, 1.0, 0.48),
    ],
)
def test_looks_that_fail_become_rare_and_end(looks: int, poll: float, share: float, expected: float | None) -> None:
    found = look_again(looks, poll, share)
    assert found == (expected if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("uncommitted", "it ended well, and left no result"),
        ("timeout", "it ran for as long as --max-runtime lets it"),
        ("stopped", "it was stopped"),
        ("worker", "Failed"),
    ],
)
def test_the_reason_in_words(what: Fate, expected: str) -> None:
    assert reason(what, described("Failed")) == expected
    assert reason(what, described("Failed", FailureReason="", ExitMessage="  ")) == expected
    assert reason(what, described("Failed", FailureReason="why", ExitMessage=" what \n")) == "why\nwhat"
    assert reason(what, described("Failed", FailureReason="why")) == "why"
    assert reason(what, described("Failed", ExitMessage="what")) == f"{expected}\nwhat"


def test_the_smallest_scratch_space_is_what_a_run_tells_of() -> None:
    beats = [Heartbeat(f"job{n}", "algo-1", 2, {}, f"/scratch{n}", total, 1) for n, total in enumerate((0, 30, 20))]
    assert smallest_scratch(beats) == {"folder": "/scratch2", "total_bytes": 20, "free_bytes": 1}
    assert smallest_scratch(beats[:1]) is None


@pytest.mark.parametrize(("total", "is_other"), [(30 * 2**30, False), (28e9, False), (25e9, True), (0, True)])
def test_a_volume_is_known_by_its_size(total: float, is_other: bool) -> None:
    assert is_not_the_volume(int(total), 30) == is_other
