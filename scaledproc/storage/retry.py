"""How long what failed is tried again: one policy for stores, web servers and jobs, as plain decisions."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

Fault = Literal["passing", "absent", "final"]
"""`passing` may go by itself; `absent`: nobody listens there, and nobody ever did; `final` stays."""

ABSENT_ATTEMPTS = 3  # a mistyped address is told soon
LEAST_PACE = 256 * 1024  # bytes per second, below which a body is taken for a hung one

_BUSY = frozenset({408, 429, 500, 502, 503, 504, 509})
_PASSING_CODES = frozenset(
    {
        *("SlowDown", "SlowDownRead", "SlowDownWrite", "InternalError", "ServiceUnavailable", "RequestTimeout"),
        *("Throttling", "ThrottlingException", "RequestThrottled", "TooManyRequests", "RequestLimitExceeded"),
        *("OperationAborted", "ConditionalRequestConflict"),  # another request for the same object was under way
        *("BadDigest", "IncompleteBody", "XAmzContentSHA256Mismatch"),  # what arrived was not what was sent
    }
)
_OF_THE_OBJECT = frozenset({"AccessDenied", "AllAccessDisabled", "InvalidObjectState", "403", "Forbidden"})


@dataclass(frozen=True)
class RetryPolicy:
    """How long one request, or one job, is tried again.

    Parameters
    ----------
    attempts
        At most, the first one included.
    seconds
        After which no other attempt is begun.
    first
        Seconds that the wait after the first attempt is drawn from; doubled from one to the next.
    longest
        Seconds; no wait is drawn from more.
    asked
        Seconds; a server that asks to wait longer has refused.
    spread
        Between which shares of its bound a wait is drawn. From 0 to 1, many clients that failed together come back as
        far apart as can be; from more than 0, none comes back at once.
    """

    attempts: int = 10
    seconds: float = 180.0
    first: float = 0.25
    longest: float = 20.0
    asked: float = 60.0
    spread: tuple[float, float] = (0.0, 1.0)

    @classmethod
    def of(cls, config: Mapping[str, Any], environment: Mapping[str, str] = os.environ) -> RetryPolicy:
        """As the user set it where botocore would look: `retries` of its configuration, else AWS_MAX_ATTEMPTS."""
        retries = config.get("retries") or {}
        attempts = retries.get("total_max_attempts")
        if attempts is None and retries.get("max_attempts") is not None:
            attempts = int(retries["max_attempts"]) + 1
        if attempts is None:
            found = environment.get("AWS_MAX_ATTEMPTS", "")
            attempts = int(found) if found.isdecimal() else None
        return cls() if attempts is None else replace(cls(), attempts=max(1, int(attempts)))

    def wait(self, attempt: int, elapsed: float, fault: Fault, retry_after: float | None, draw: float) -> float | None:
        """How long to wait after an attempt that failed; None to give up.

        Exponential backoff with jitter: each wait is drawn from a part of 0 to its bound, so that many clients that
        failed together do not come back together.

        Parameters
        ----------
        attempt
            Which one failed, from 1.
        elapsed
            Seconds since the first one began.
        fault
            What it failed by.
        retry_after
            Seconds that the server asks for, if it does.
        draw
            A random number from 0 to 1.
        """
        attempts = self.attempts if fault == "passing" else min(self.attempts, ABSENT_ATTEMPTS)
        if fault == "final" or attempt >= attempts or elapsed >= self.seconds:
            return None
        if retry_after is not None and retry_after > self.asked:
            return None
        least, most = self.spread
        wait = (least + (most - least) * draw) * min(self.longest, self.first * 2.0 ** (attempt - 1))
        if retry_after is not None:
            wait += max(retry_after, 0.0)
        return None if elapsed + wait > self.seconds else wait


def fault_of_answer(status: int, code: str) -> Fault:
    """What an answer that is an error means.

    Parameters
    ----------
    status
        HTTP's.
    code
        S3's, such as `SlowDown`; empty where there is none.
    """
    return "passing" if status in _BUSY or code in _PASSING_CODES else "final"


def refuses_object(code: str) -> bool:
    """Whether a 403 is about one object; else it is about who asks, and would be the same for all."""
    return code in _OF_THE_OBJECT


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds that an answer asks to wait; None where it does not say.

    Parameters
    ----------
    headers
        The answer's; names in lower case, or a mapping that looks for them in any.
    now
        Seconds since the epoch: the answer may name a date.
    """
    value = headers.get("retry-after", "")
    try:
        seconds = float(value)
    except ValueError:
        from email.utils import mktime_tz, parsedate_tz

        date = parsedate_tz(value)
        try:
            seconds = math.nan if date is None else max(mktime_tz(date) - now, 0.0)
        except (ValueError, OverflowError):  # a date that no calendar has
            return None
    return seconds if 0 <= seconds < float("inf") else None


def seconds_for(size: int, read_timeout: float) -> float:
    """How long a request with so many bytes of body may take: a drip of bytes is a hung connection too."""
    return 2 * read_timeout + size / LEAST_PACE
