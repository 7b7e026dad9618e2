"""What became of a job, and what to do about it: plain functions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

from scaledproc.storage.retry import RetryPolicy

Fate = Literal["done", "capacity", "service", "worker", "hopeless", "uncommitted", "timeout", "stopped"]

LONGEST_WAIT = 900.0  # seconds
MOST_TROUBLE = 20  # looks in a row that fail before giving up
LONGEST_BLINDNESS = 60.0  # seconds between two looks, the second of which may succeed
_LASTING = ("AccessDenied", "not authorized", "does not exist", "NoSuchKey", "Could not find", "image", "No S3 objects")


_FINAL = ("UsageError", "MissingInputError")
"""How a worker's last message begins that says what another try would find again."""


def fate(description: Mapping[str, Any], *, committed: bool, max_runtime: float) -> Fate:
    """What became of a job that ended.

    Parameters
    ----------
    description
        As DescribeProcessingJob has it.
    committed
        Whether what it was to make is there.
    max_runtime
        Seconds that it was given.
    """
    status = description["ProcessingJobStatus"]
    if committed:  # also if it did all that it should, and then stumbled
        return "done"
    if status == "Completed":
        return "uncommitted"
    if status == "Stopped":
        return "timeout" if runtime(description) >= max_runtime - min(60, max_runtime / 10) else "stopped"
    reason, message = description.get("FailureReason") or "", description.get("ExitMessage") or ""
    if "apacity" in reason:
        return "capacity"
    if reason.startswith("ClientError") and any(word in reason for word in _LASTING):
        return "hopeless"
    if "Internal" in reason or reason.startswith("ClientError"):
        return "service"
    return "hopeless" if message.startswith(_FINAL) else "worker"


def runtime(description: Mapping[str, Any]) -> float:
    """Seconds for which a job's machines ran, as far as is known."""
    start, end = description.get("ProcessingStartTime"), description.get("ProcessingEndTime")
    return float((end - start).total_seconds()) if start and end else 0.0


def pause(what: Fate, tries: int, retries: int, wait: float, share: float) -> float | None:
    """How long to wait before the next try; None to give up.

    Parameters
    ----------
    what
        What became of the last one.
    tries
        How many there were.
    retries
        How many more than one are allowed.
    wait
        Seconds before the first repetition; doubled for each further one.
    share
        Random, from 0 to 1, so that jobs that failed together do not return together.
    """
    policy = RetryPolicy(retries + 1, math.inf, wait, LONGEST_WAIT, spread=(0.5, 1.5))
    return policy.wait(tries, 0.0, "final" if what in ("hopeless", "stopped") else "passing", None, share)


def look_again(looks: int, poll_seconds: float, share: float) -> float | None:
    """How long to wait after looks at the jobs that failed in a row; None to give up.

    Parameters
    ----------
    looks
        How many there were.
    poll_seconds
        Seconds between two looks that succeed.
    share
        Random, from 0 to 1.
    """
    longest = min(LONGEST_BLINDNESS, 32 * poll_seconds)
    policy = RetryPolicy(MOST_TROUBLE + 1, math.inf, 2 * poll_seconds, longest, spread=(0.5, 1.5))
    return policy.wait(looks, 0.0, "passing", None, share)


def reason(what: Fate, description: Mapping[str, Any]) -> str:
    """Why a job did not do it, for a person: what the service says, then what the worker left."""
    words = {
        "uncommitted": "it ended well, and left no result",
        "timeout": "it ran for as long as --max-runtime lets it",
        "stopped": "it was stopped",
    }
    said = description.get("FailureReason") or words.get(what) or str(description["ProcessingJobStatus"])
    message = (description.get("ExitMessage") or "").strip()
    return f"{said}\n{message}".strip() if message else str(said)
