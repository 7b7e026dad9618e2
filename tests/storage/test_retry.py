"""The policy by which a store is tried again: events in, instructions out."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaledproc.storage.retry import Fault, RetryPolicy, fault_of_answer, refuses_object, retry_after, seconds_for

USUAL = RetryPolicy(attempts=5, seconds=100.0, first=1.0, longest=6.0, asked=30.0)


@pytest.mark.parametrize(
    ("attempt", "elapsed", "fault", "asked", "draw", "wait"),
    [
        (1, 0.0, "passing", None, 1.0, 1.0),
        (2, 1.0, "passing", None, 1.0, 2.0),
        (3, 3.0, "passing", None, 1.0, 4.0),
        (4, 7.0, "passing", None, 1.0, 6.0),  # no longer than the longest
        (4, 7.0, "passing", None, 0.0, 0.0),  # full jitter: from nothing …
        (4, 7.0, "passing", None, 0.5, 3.0),  # … to all of it
        (5, 0.0, "passing", None, 0.5, None),  # the last attempt
        (1, 100.0, "passing", None, 0.5, None),  # took too long
        (3, 97.0, "passing", None, 1.0, None),  # would take too long
        (1, 0.0, "final", None, 0.5, None),
        (1, 0.0, "final", 1.0, 0.5, None),
        (1, 0.0, "absent", None, 1.0, 1.0),
        (2, 0.0, "absent", None, 1.0, 2.0),
        (3, 0.0, "absent", None, 1.0, None),  # a mistyped address
        (1, 0.0, "passing", 10.0, 0.0, 10.0),  # never before the store asks to
        (1, 0.0, "passing", 10.0, 1.0, 11.0),  # and not all at once then
        (1, 0.0, "passing", 30.0, 0.0, 30.0),
        (1, 0.0, "passing", 31.0, 0.0, None),  # it has refused
        (1, 0.0, "passing", -5.0, 0.0, 0.0),
        (1, 80.0, "passing", 25.0, 0.0, None),
    ],
)
def test_what_follows_an_attempt(
    attempt: int, elapsed: float, fault: Fault, asked: float | None, draw: float, wait: float | None
) -> None:
    assert USUAL.wait(attempt, elapsed, fault, asked, draw) == wait


@given(
    st.lists(st.tuples(st.floats(0, 40), st.none() | st.floats(0, 100), st.floats(0, 1)), min_size=31, max_size=31),
    st.integers(1, 30),
)
def test_every_sequence_of_faults_ends_in_bounded_time(
    events: list[tuple[float, float | None, float]], attempts: int
) -> None:
    policy = RetryPolicy(attempts=attempts)
    elapsed = 0.0
    for attempt, (took, asked, draw) in enumerate(events, 1):
        elapsed += took
        wait = policy.wait(attempt, elapsed, "passing", asked, draw)
        if wait is None:
            break
        assert wait >= 0
        elapsed += wait
    assert attempt <= attempts
    assert elapsed <= policy.seconds + 40  # the last attempt itself


@pytest.mark.parametrize(
    ("status", "code", "fault"),
    [
        (503, "SlowDown", "passing"),
        (503, "", "passing"),
        (500, "InternalError", "passing"),
        (502, "", "passing"),
        (504, "", "passing"),
        (429, "TooManyRequests", "passing"),
        (408, "", "passing"),
        (400, "RequestTimeout", "passing"),
        (400, "BadDigest", "passing"),
        (200, "InternalError", "passing"),  # as CompleteMultipartUpload answers
        (409, "OperationAborted", "passing"),
        (501, "NotImplemented", "final"),
        (400, "InvalidArgument", "final"),
        (403, "AccessDenied", "final"),
        (404, "NoSuchKey", "final"),
        (412, "PreconditionFailed", "final"),
        (416, "InvalidRange", "final"),
        (301, "PermanentRedirect", "final"),
    ],
)
def test_answers(status: int, code: str, fault: Fault) -> None:
    assert fault_of_answer(status, code) == fault


def test_a_refusal_is_of_an_object_or_of_who_asks() -> None:
    assert refuses_object("AccessDenied")
    assert refuses_object("InvalidObjectState")  # in an archive
    for code in ("ExpiredToken", "InvalidAccessKeyId", "SignatureDoesNotMatch", "RequestTimeTooSkewed"):
        assert not refuses_object(code)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        *(("3", 3.0), ("0", 0.0), ("-1", None), ("inf", None), ("nan", None)),
        ("Wed, 21 Oct 2026 07:28:00 GMT", 60.0),
        ("Wed, 21 Oct 2026 07:27:00 GMT", 0.0),
        ("Wed, 21 Oct 2026 07:26:00 GMT", 0.0),  # it is over
        ("Wed, 21 Oct 2026 09:28:00 +0200", 60.0),
        ("Wed, 21 Oct 99999999999 07:28:00 GMT", None),
        ("Wed, 99 Oct 2026", None),
        ("soon", None),
    ],
)
def test_retry_after(value: str, seconds: float | None) -> None:
    now = datetime(2026, 10, 21, 7, 27, tzinfo=UTC).timestamp()
    assert retry_after({"retry-after": value}, now) == seconds
    assert retry_after({}, now) is None


@pytest.mark.parametrize(
    ("config", "environment", "attempts"),
    [
        ({}, {}, RetryPolicy().attempts),
        ({}, {"AWS_MAX_ATTEMPTS": "3"}, 3),
        ({}, {"AWS_MAX_ATTEMPTS": "some"}, RetryPolicy().attempts),
        ({}, {"AWS_MAX_ATTEMPTS": "0"}, 1),
        ({"retries": {"total_max_attempts": 7}}, {"AWS_MAX_ATTEMPTS": "3"}, 7),
        ({"retries": {"max_attempts": 7}}, {}, 8),  # botocore does not count the first one
        ({"retries": {"mode": "adaptive"}}, {}, RetryPolicy().attempts),
    ],
)
def test_the_users_settings(config: dict[str, object], environment: dict[str, str], attempts: int) -> None:
    assert RetryPolicy.of(config, environment).attempts == attempts


def test_a_body_may_take_time_but_not_for_ever() -> None:
    assert seconds_for(0, 15.0) == 30.0
    assert seconds_for(16 * 2**20, 15.0) == 94.0


@pytest.mark.parametrize(("draw", "expected"), [(0.0, 2.0), (0.5, 4.0), (1.0, 6.0)])
def test_a_wait_is_drawn_from_a_part_of_its_bound(draw: float, expected: float) -> None:
    policy = RetryPolicy(first=2.0, spread=(0.5, 1.5))
    assert policy.wait(2, 0.0, "passing", None, draw) == expected
    assert policy.wait(2, 0.0, "passing", 7.0, draw) == expected + 7.0


def test_the_usual_policy() -> None:
    assert RetryPolicy() == RetryPolicy(attempts=10, seconds=180.0, first=0.25, longest=20.0, asked=60.0)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 509])
def test_a_busy_server_may_answer_better(status: int) -> None:
    assert fault_of_answer(status, "") == "passing"


@pytest.mark.parametrize("status", [407, 409, 428, 430, 499, 501, 505, 508, 510])
def test_its_neighbours_will_not(status: int) -> None:
    assert fault_of_answer(status, "") == "final"


@pytest.mark.parametrize(
    "code",
    [
        *("SlowDown", "SlowDownRead", "SlowDownWrite", "InternalError", "ServiceUnavailable", "RequestTimeout"),
        *("Throttling", "ThrottlingException", "RequestThrottled", "TooManyRequests", "RequestLimitExceeded"),
        *("OperationAborted", "ConditionalRequestConflict"),
        *("BadDigest", "IncompleteBody", "XAmzContentSHA256Mismatch"),
    ],
)
def test_a_code_says_that_it_passes_whatever_the_status_is(code: str) -> None:
    assert fault_of_answer(400, code) == "passing"


@pytest.mark.parametrize("code", ["AccessDenied", "AllAccessDisabled", "InvalidObjectState", "403", "Forbidden"])
def test_an_object_may_be_refused_alone(code: str) -> None:
    assert refuses_object(code)


def test_the_bounds_of_the_time_that_a_request_may_take() -> None:
    last = RetryPolicy(attempts=5, seconds=10.0, first=1.0)
    assert last.wait(1, 9.0, "passing", None, 1.0) == 1.0  # just in time
    assert last.wait(1, 9.01, "passing", None, 1.0) is None
    assert last.wait(1, 10.0, "passing", None, 0.0) is None
