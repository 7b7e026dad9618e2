"""Slurm's commands, and what they print, as data."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Sequence
from typing import Any

from scaledproc.errors import ScaledprocError, UsageError
from scaledproc.events import State

from ..batch.elements import COMBINE, Fate, QueuedJob
from ..batch.queue import BusyError

TIMEOUT = 120.0  # seconds that a command may take; a busy controller answers late
FORMAT = "%F|%K|%A|%T|%r|%N"
"""Of squeue: the array's id, the element, the job's own id, state, reason, node."""
# https://slurm.schedmd.com/squeue.html#lbAG
_STATES = {
    "PENDING": State.QUEUED,
    "REQUEUED": State.QUEUED,
    "REQUEUE_FED": State.QUEUED,
    "REQUEUE_HOLD": State.QUEUED,
    "SPECIAL_EXIT": State.QUEUED,
    "RESV_DEL_HOLD": State.QUEUED,
    "CONFIGURING": State.STARTING,
    "COMPLETING": State.RUNNING,
    "STAGE_OUT": State.RUNNING,
    "COMPLETED": State.DONE,
    "CANCELLED": State.STOPPED,
}
_FATES: dict[str, tuple[Fate, str]] = {
    "OUT_OF_MEMORY": ("memory", "it was killed, as it took more memory than it was given"),
    "TIMEOUT": ("time", "it ran into its time limit"),
    "DEADLINE": ("time", "it ran into its deadline"),
    "NODE_FAIL": ("lost", "its node failed"),
    "BOOT_FAIL": ("lost", "its node did not start"),
    "PREEMPTED": ("lost", "it was preempted"),
    "CANCELLED": ("stopped", "it was cancelled"),
    "REVOKED": ("stopped", "it was revoked"),
}
_ENDED = frozenset({"FAILED", *_FATES, "COMPLETED"})
_FULL = ("limit", "temporarily unable", "QOSMax")
"""What sbatch says where it takes no more jobs now; another time it may."""
_NEVER = "time limit is invalid"
_UNANSWERED = ("timed out", "Unable to contact", "Connection refused", "Zero Bytes were transmitted")
"""What sbatch says where it does not know whether the controller has the jobs."""
_USAGE_ERROR, _TERMINATED, _NO_LOG = "2:0", ("143:0", "0:15"), "0:53"


class FullError(BusyError):
    """Slurm takes no more jobs now, or not so many at once."""


class UnansweredError(BusyError):
    """Slurm did not answer: whether it did what it was asked for is not known."""


def call(*command: str, script: str | None = None) -> str:
    """What one of Slurm's commands prints.

    Raises
    ------
    UsageError
        If there is no such command here.
    FullError
        If Slurm takes no more jobs now.
    UnansweredError
        If Slurm does not answer.
    BusyError
        If Slurm cannot be asked now.
    ScaledprocError
        If Slurm refuses what the command asks for.
    """
    try:
        done = subprocess.run(command, input=script, capture_output=True, text=True, check=False, timeout=TIMEOUT)  # noqa: S603 - no shell
    except FileNotFoundError:
        raise UsageError(
            f"{command[0]} is not here: this needs Slurm's commands, as a cluster's login nodes have them"
        ) from None
    except subprocess.TimeoutExpired:
        raise UnansweredError(f"Slurm does not answer: {command[0]} took more than {TIMEOUT:g} s") from None
    if done.returncode:
        said = " ".join(
            line.removeprefix(f"{command[0]}: ").removeprefix("error: ") for line in done.stderr.splitlines()
        )
        kind: type[ScaledprocError] = ScaledprocError if command[0] == "sbatch" else BusyError
        if any(word in said for word in _UNANSWERED):
            kind = UnansweredError
        elif command[0] == "sbatch" and any(word in said for word in _FULL) and _NEVER not in said:
            kind = FullError
        raise kind(f"Slurm: {said or f'{command[0]} failed'}")
    return done.stdout + (done.stderr if "--test-only" in command else "")


def configuration() -> dict[str, str]:
    """The cluster's configuration."""
    lines = call("scontrol", "show", "config").splitlines()
    return {name.strip(): value.strip() for name, equals, value in (line.partition("=") for line in lines) if equals}


def whole_number(text: str, default: int) -> int:
    """The number that a value such as `30 sec` begins with."""
    found = re.match(r"\d+", text)
    return int(found[0]) if found else default


def parse_queue(text: str) -> list[tuple[int, str, str, str, str]]:
    """For each line of squeue the element, the job's name, its own id, its state and why."""
    found = []
    for line in text.splitlines():
        fields = line.split("|")
        if len(fields) != 6:
            continue
        array, element, job, state, reason, _ = fields
        number = int(element) if element.isdecimal() else COMBINE
        found.append((number, f"{array}_{element}" if element.isdecimal() else array, job, state, reason))
    return found


def latest(lines: Iterable[tuple[int, str, str, str, str]]) -> list[tuple[int, str, str, str, str]]:
    """One line of each element: of its jobs that are not over, one that is not waiting; else the last job."""

    def rank(line: tuple[int, str, str, str, str]) -> tuple[bool, bool, int]:
        _, name, _, state, _ = line
        return state not in _ENDED, state != "PENDING", int(name.partition("_")[0])

    best: dict[int, tuple[int, str, str, str, str]] = {}
    for line in lines:
        if line[0] not in best or rank(line) > rank(best[line[0]]):
            best[line[0]] = line
    return [best[element] for element in sorted(best)]


def job_of(line: tuple[int, str, str, str, str], exit_code: str) -> QueuedJob:
    """A job, of its line of the queue and, where it failed, its exit code as `scontrol show job` has it."""
    element, name, _, word, reason = line
    why = "" if reason in ("None", "") else reason
    if word in _FATES:
        fate, text = _FATES[word]
        return QueuedJob(
            element, name, State.STOPPED if fate == "stopped" else State.FAILED, f"{text} (job {name})", fate
        )
    if word == "COMPLETED":
        return QueuedJob(element, name, State.DONE, f"it ended well, and left no result (job {name})", "worker")
    if word == "FAILED":
        fate, text = of_exit_code(exit_code)
        return QueuedJob(element, name, State.FAILED, f"{text} (job {name})", fate)
    if why == "DependencyNeverSatisfied":
        return QueuedJob(element, name, State.FAILED, f"the jobs that it waits for failed (job {name})", "lost")
    return QueuedJob(element, name, _STATES.get(word, State.RUNNING), why if word == "PENDING" else "")


def of_exit_code(code: str) -> tuple[Fate, str]:
    """What ended a job that failed, of an exit code such as `143:0`: the status, then the signal."""
    if code in _TERMINATED:
        return "ended", "it was told to end, as before a time limit"
    if code == _NO_LOG:
        return "worker", "Slurm cannot write its log there: its node does not see the output's folder"
    if code == _USAGE_ERROR:
        return "hopeless", "it ended with exit code 2"
    status, _, signal = code.partition(":")
    if signal not in ("", "0"):
        return "worker", f"signal {signal} ended it"
    return "worker", f"it ended with exit code {status or 'unknown'}"


def index_text(elements: Sequence[int], at_once: int | None) -> str:
    """The value of --array: numbers and ranges, `%N` at once."""
    from scaledproc._util.text import ranges_text

    return ranges_text(sorted(elements)).replace(" ", "") + (f"%{at_once}" if at_once else "")


def options(**words: Any) -> list[str]:
    """Options of sbatch, without those that are not set."""
    return [f"--{name.replace('_', '-')}={value}" for name, value in words.items() if value is not None]
