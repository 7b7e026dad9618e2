"""Who may write a run's folder: the decisions, without stores and processes."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaledproc._util.process.processes import Process
from scaledproc.run_folder.lock.lease import TTL, Lease, Seen, may_take, still_holds

HERE = Process("here|boot|pid:[1]", 7, "100")
LEASE = Lease("token", HERE, "2026-01-01T00:00:00+00:00", "local")
ELSEWHERE = replace(LEASE, holder=Process("elsewhere|other|pid:[1]", 7, "100"), ttl=1.5)


@pytest.mark.parametrize(
    ("seen", "verdict"),
    [
        (Seen(None), "take"),
        (Seen(LEASE, alive=False), "take"),
        (Seen(LEASE, alive=False, age=0), "take"),  # killed a moment ago
        (Seen(LEASE, alive=True), "refuse"),
        (Seen(LEASE, alive=True, age=10**6, watched=10**6), "refuse"),  # a clock jumped; the process is there
        (Seen(LEASE, age=0), "refuse"),
        (Seen(LEASE, age=-(10**6)), "refuse"),
        (Seen(LEASE, age=TTL - 1), "refuse"),
        (Seen(LEASE, age=TTL + 1), "watch"),
        (Seen(LEASE, age=10**6, watched=TTL / 3), "watch"),
        (Seen(LEASE, age=TTL + 1, watched=TTL / 2), "take"),
        (Seen(LEASE, age=TTL + 1, watched=TTL / 2, changed=True), "refuse"),
        (Seen(LEASE, watched=TTL / 2), "watch"),  # nobody knows its age
        (Seen(LEASE, watched=TTL), "take"),
        (Seen(LEASE, watched=TTL, changed=True), "refuse"),
    ],
)
def test_who_may_take_a_lease(seen: Seen, verdict: str) -> None:
    assert may_take(seen) == verdict


@pytest.mark.parametrize(
    ("outcome", "silent", "state"),
    [
        ("mine", 0, "holds"),
        ("mine", 10**6, "holds"),  # it slept, and nobody took it
        ("other", 0, "lost"),
        ("gone", 0, "lost"),
        ("unreachable", TTL - 1, "holds"),
        ("unreachable", TTL, "doubtful"),
    ],
)
def test_what_a_driver_may_believe(outcome: Any, silent: float, state: str) -> None:
    assert still_holds(outcome, silent, TTL) == state


@given(
    jump=st.floats(-1e9, 1e9),
    period=st.floats(0.1, TTL / 3),
    asked=st.floats(0, 1000),
)
def test_a_holder_that_renews_is_never_robbed(jump: float, period: float, asked: float) -> None:
    """A model: it renews every `period`; the asker sees a wrong age, and watches from `asked` on."""
    watched, seen = 0.0, Seen(LEASE, age=jump)
    while may_take(seen) == "watch":
        watched += 0.5
        renewed = int((asked + watched) / period) > int(asked / period)
        seen = Seen(LEASE, age=jump, watched=watched, changed=renewed)
    assert may_take(seen) == "refuse"


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff", b'{"token": 1}', LEASE.to_json()[:-20]])
def test_a_damaged_lease_is_none(content: bytes) -> None:
    assert Lease.from_json(content) is None
    assert Lease.from_json(LEASE.to_json()) == LEASE
    assert Lease.from_json(replace(LEASE, ttl=10.0**9).to_json()) is None


def test_what_a_lease_is_at_first() -> None:
    lease = Lease("token", HERE, "2026-01-01T00:00:00+00:00", "local")
    assert (lease.ttl, lease.renewals) == (60.0, 0)
    assert TTL == 60.0
    assert Seen(None) == Seen(None, alive=None, age=None, watched=0.0, changed=False)
    content = LEASE.to_json()
    assert content.endswith(b"}\n")
    assert b'\n "backend": "local",\n' in content  # for a person
    assert list(json.loads(content)) == sorted(json.loads(content))


@pytest.mark.parametrize(
    ("ttl", "is_lease"),
    [
        (0, False),
        (-1.0, False),
        (0.5, True),
        (1, True),
        (999_999.0, True),
        (10**6, False),
        ("60", False),
        (None, False),
    ],
)
def test_a_lease_lasts_for_some_time_and_not_for_ever(ttl: Any, is_lease: bool) -> None:
    found = Lease.from_json(json.dumps({**json.loads(LEASE.to_json()), "ttl": ttl}).encode())
    assert (found is not None) is is_lease


@pytest.mark.parametrize(
    ("seen", "verdict"),
    [
        (Seen(LEASE, age=60.0, watched=30.0), "take"),
        (Seen(LEASE, age=60.0, watched=29.9), "watch"),
        (Seen(LEASE, age=59.9, watched=1000.0), "refuse"),
        (Seen(LEASE, watched=60.0), "take"),
        (Seen(LEASE, watched=59.9), "watch"),
        (Seen(LEASE, alive=True, age=1000.0, watched=1000.0), "refuse"),
        (Seen(LEASE, alive=False, changed=True), "take"),
        (Seen(LEASE), "watch"),
        (Seen(None), "take"),
    ],
)
def test_the_bounds_of_waiting(seen: Seen, verdict: str) -> None:
    assert may_take(seen) == verdict


@pytest.mark.parametrize(
    ("renewal", "silent", "belief"),
    [
        ("mine", 1000.0, "holds"),
        ("unreachable", 59.9, "holds"),
        ("unreachable", 60.0, "doubtful"),
        ("other", 0.0, "lost"),
        ("gone", 0.0, "lost"),
    ],
)
def test_the_bounds_of_belief(renewal: Any, silent: float, belief: str) -> None:
    assert still_holds(renewal, silent, 60.0) == belief
