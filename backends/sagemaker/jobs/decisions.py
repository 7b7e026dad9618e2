"""What became of a job, and what to do about it: plain functions."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from scaledproc.execution.heartbeat import Heartbeat
from scaledproc.storage.retry import RetryPolicy

Fate = Literal[
    "done", "capacity", "service", "worker", "memory", "disk", "hopeless", "uncommitted", "timeout", "stopped"
]

LONGEST_WAIT = 900.0  # seconds
MOST_TROUBLE = 20  # looks in a row that fail before giving up
LONGEST_BLINDNESS = 60.0  # seconds between two looks, the second of which may succeed
_LASTING = ("AccessDenied", "not authorized", "does not exist", "NoSuchKey", "Could not find", "image", "No S3 objects")


_MEMORY = ("instance type with more memory", "OutOfMemory", "out of memory", "Cannot allocate memory")
_DISK = ("nsufficient disk space", "No space left on device", "isk is full", "not enough disk space")
_QUOTAS = (
    re.compile(r"limit '(?P<quota>[^']+)' is (?P<limit>[\d.,]+).*request delta of (?P<delta>[\d.,]+)", re.DOTALL),
    re.compile(r"delta of (?P<delta>[\d.,]+)[^']*'(?P<quota>[^']+)' is greater than.*limit of (?P<limit>[\d.,]+)"),
)
_LASTS: tuple[Fate, ...] = ("hopeless", "stopped", "memory", "disk")
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
    if not reason.startswith("Internal"):
        if any(word in reason for word in _MEMORY):
            return "memory"
        if any(word in reason for word in _DISK):
            return "disk"
        if message.startswith("NoRoomError"):
            return "disk"
    if reason.startswith("ClientError") and any(word in reason for word in _LASTING):
        return "hopeless"
    if "Internal" in reason or reason.startswith("ClientError"):
        return "service"
    return "hopeless" if message.startswith(_FINAL) else "worker"


def runtime(description: Mapping[str, Any]) -> float:
    """Seconds for which a job's machines ran, as far as is known."""
    start, end = description.get("ProcessingStartTime"), description.get("ProcessingEndTime")
    return float((end - start).total_seconds()) if start and end else 0.0


def smallest_scratch(beats: Iterable[Heartbeat]) -> dict[str, Any] | None:
    """Where the smallest of the machines' scratch spaces was, and its bytes; None where no machine told of it."""
    told = [beat for beat in beats if beat.scratch_total]
    if not told:
        return None
    least = min(told, key=lambda beat: (beat.scratch_total, beat.name))
    return {"folder": least.scratch, "total_bytes": least.scratch_total, "free_bytes": least.scratch_free}


def is_not_the_volume(total: int, asked_gb: int) -> bool:
    """Whether a disk of so many bytes is none of so many GB: a filesystem takes some of it, GiB or GB make 7 %."""
    return total < 0.85 * asked_gb * 10**9


def machine_of(description: Mapping[str, Any]) -> str:
    """The type of the machines that a job had."""
    cluster = description.get("ProcessingResources", {}).get("ClusterConfig", {})
    return str(cluster.get("SelectedInstanceType") or cluster.get("InstanceType") or "")


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
    return policy.wait(tries, 0.0, "final" if what in _LASTS else "passing", None, share)


def pause_for_room(refusals: int, wait: float, share: float) -> float:
    """How long to wait before machines are asked for again, of which there were none.

    Parameters
    ----------
    refusals
        How often in a row there were none, from 1.
    wait, share
        As for `pause`.
    """
    seconds = pause("capacity", min(refusals, 40), 40, wait, share)
    assert seconds is not None
    return seconds


def exceeded_quota(text: str) -> str | None:
    """The quota that a request alone is above, by the service's refusal; None where others have what it asks for.

    The refusal has the form "The account-level service limit 'NAME' is 2 Instances, with current utilization of 0
    Instances and a request delta of 3 Instances.", or "The request delta of 1025 GBs for 'NAME' is greater than the
    account-level service-limit of 1024 GBs." (https://github.com/aws/sagemaker-python-sdk/issues/4939).
    """
    found = next(filter(None, (pattern.search(text) for pattern in _QUOTAS)), None)
    if found is None:
        return None
    limit, delta = (float(found[name].rstrip(".,").replace(",", "")) for name in ("limit", "delta"))
    return found["quota"] if delta > limit else None


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
        "memory": "its machine has not enough memory",
        "disk": "its machine has not enough disk",
    }
    said = description.get("FailureReason") or words.get(what) or str(description["ProcessingJobStatus"])
    message = (description.get("ExitMessage") or "").strip()
    return f"{said}\n{message}".strip() if message else str(said)
