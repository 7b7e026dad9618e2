"""Who may write a run's folder: plain decisions, without clock, network or processes.

A driver keeps a lease in the folder, `lease.json`. No decision rests on the wall clocks of two machines: the age of a
lease is the difference of two times of the store's own clock, and waiting is measured by a clock that cannot be set.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Literal

from scaledproc._util.process.processes import Process

TTL = 60.0
"""Seconds without a sign of life, after which another machine may take a lease. It is renewed three times as often."""


@dataclass(frozen=True)
class Lease:
    """What `lease.json` holds.

    Parameters
    ----------
    token
        Of this lease alone.
    holder
        Who has it.
    since
        When it was taken, for a person.
    backend
        Where the holder's jobs run.
    ttl
        Seconds without a sign of life, after which another machine may take it.
    renewals
        How often it was renewed: makes each content another one.
    """

    token: str
    holder: Process
    since: str
    backend: str
    ttl: float = TTL
    renewals: int = 0

    def to_json(self) -> bytes:
        """The lease as the content of its file."""
        return (json.dumps(asdict(self), indent=1, sort_keys=True) + "\n").encode()

    @classmethod
    def from_json(cls, content: bytes) -> Lease | None:
        """The lease that a file holds; None where it is none, as a process leaves it that was killed at once."""
        try:
            found: dict[str, Any] = json.loads(content)
            lease = cls(**{**found, "holder": Process(**found["holder"])})
        except (ValueError, TypeError, KeyError, RecursionError):
            return None
        return lease if isinstance(lease.ttl, (int, float)) and 0 < lease.ttl < 10**6 else None  # nor for ever


@dataclass(frozen=True)
class Seen:
    """What is known of a lease.

    Parameters
    ----------
    lease
        What is there.
    alive
        Whether its process is; None where this machine cannot tell.
    age
        Seconds since it was renewed, by the store's clock; None where the store has none to ask.
    watched
        Seconds for which it was watched, by a clock that nobody sets.
    changed
        Whether it changed meanwhile.
    """

    lease: Lease | None
    alive: bool | None = None
    age: float | None = None
    watched: float = 0.0
    changed: bool = False


Verdict = Literal["take", "watch", "refuse"]


def may_take(seen: Seen) -> Verdict:
    """Whether a second driver may take a lease: of a process that is gone at once, of another machine if it is silent.

    An age alone is not enough, as clocks jump: the lease is watched for longer than its holder lets pass between two
    signs of life.
    """
    lease = seen.lease
    if lease is None or seen.alive is False:
        return "take"
    if seen.alive or seen.changed or (seen.age is not None and seen.age < lease.ttl):
        return "refuse"
    needed = lease.ttl if seen.age is None else lease.ttl / 2
    return "take" if seen.watched >= needed else "watch"


Renewal = Literal["mine", "other", "gone", "unreachable"]


def still_holds(renewal: Renewal, silent: float, ttl: float) -> Literal["holds", "doubtful", "lost"]:
    """What a driver that tried to renew its lease may believe.

    Parameters
    ----------
    renewal
        What the store said: the lease is its own, another's, gone, or nothing at all.
    silent
        Seconds since it was known to be its own, by a clock that goes on while the machine sleeps.
    ttl
        Of the lease.

    Returns
    -------
    str
        `doubtful`: each commit has to ask first. `lost`: nothing may be committed any more.
    """
    if renewal in ("other", "gone"):
        return "lost"
    return "holds" if renewal == "mine" or silent < ttl else "doubtful"
