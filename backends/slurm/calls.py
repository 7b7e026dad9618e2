"""Slurm's commands, and what they print, as data."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from scaledproc._util.text import ranges_text
from scaledproc.errors import ScaledprocError
from scaledproc.events import State

from ..batch.calls import BusyError, FullError, UnansweredError, run_command
from ..batch.elements import COMBINE, Fate, QueuedJob

TIMEOUT = 120.0  # seconds that a command may take; a busy controller answers late
FORMAT = "%F|%K|%A|%T|%r|%N"
"""Of squeue: the array's id, the element, the job's own id, state, reason, node."""
Line = tuple[int, str, str, str, str]
"""The element, the job's name, its own id, its state and why."""
# https://slurm.schedmd.com/squeue.html#lbAG; what is not named here is at work
_WAITING = {"PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD"}
_FATES: dict[str, tuple[Fate, str]] = {
    "OUT_OF_MEMORY": ("memory", "it was killed, as it took more memory than it was given"),
    "TIMEOUT": ("time", "it ran into its time limit"),
    "DEADLINE": ("time", "it ran into its deadline"),
    "NODE_FAIL": ("lost", "its node failed"),
    "BOOT_FAIL": ("lost", "its node did not start"),
    "PREEMPTED": ("lost", "it was preempted"),
    "CANCELLED": ("stopped", "it was cancelled"),
    "REVOKED": ("stopped", "it was revoked"),
    "COMPLETED": ("worker", "it ended well, and left no result"),
}
_ENDS = {"COMPLETED": State.DONE, "CANCELLED": State.STOPPED, "REVOKED": State.STOPPED}
_FULL, _NEVER = ("limit", "temporarily unable", "QOSMax"), "time limit is invalid"
"""What sbatch says where it takes no more jobs now, and may another time; and where it never will."""
_UNANSWERED = ("timed out", "Unable to contact", "Connection refused", "Zero Bytes were transmitted")
"""What sbatch says where it does not know whether the controller has the jobs."""
_USAGE_ERROR, _TERMINATED, _NO_LOG = "2:0", ("143:0", "0:15"), "0:53"


def call(*command: str, script: str = "") -> str:
    """What one of Slurm's commands prints.

    Raises
    ------
    UsageError
        If there is no such command here.
    BusyError
        If Slurm takes no more jobs now (`FullError`), does not answer (`UnansweredError`), or cannot be asked now.
    ScaledprocError
        If Slurm refuses what the command asks for.
    """
    name = command[0]
    missing = f"{name} is not here: this needs Slurm's commands, as a cluster's login nodes have them"
    done = run_command(command, TIMEOUT, script=script, missing=missing, late=f"Slurm does not answer: {name}")
    if done.returncode:
        said = " ".join(line.removeprefix(f"{name}: ").removeprefix("error: ") for line in done.stderr.splitlines())
        kind: type[ScaledprocError] = ScaledprocError if name == "sbatch" else BusyError
        if any(word in said for word in _UNANSWERED):
            kind = UnansweredError
        elif name == "sbatch" and any(word in said for word in _FULL) and _NEVER not in said:
            kind = FullError
        raise kind(f"Slurm: {said or f'{name} failed'}")
    return done.stdout + (done.stderr if "--test-only" in command else "")


def configuration() -> dict[str, str]:
    """The cluster's configuration."""
    lines = call("scontrol", "show", "config").splitlines()
    return {name.strip(): value.strip() for name, equals, value in (line.partition("=") for line in lines) if equals}


def whole_number(text: str, default: int) -> int:
    """The number that a value such as `30 sec` begins with."""
    found = re.match(r"\d+", text)
    return int(found[0]) if found else default


def parse_queue(text: str) -> list[Line]:
    """What each line of squeue tells."""
    found = []
    for fields in (line.split("|") for line in text.splitlines()):
        if len(fields) == 6:
            array, element, job, state, reason, _ = fields
            is_element = element.isdecimal()
            name = f"{array}_{element}" if is_element else array
            found.append((int(element) if is_element else COMBINE, name, job, state, reason))
    return found


def latest(lines: Iterable[Line]) -> list[Line]:
    """One line of each element: of its jobs that are not over, one that is not waiting; else the last job."""

    def rank(line: Line) -> tuple[bool, bool, int]:
        _, name, _, state, _ = line
        return state != "FAILED" and state not in _FATES, state != "PENDING", int(name.partition("_")[0])

    best = {line[0]: line for line in sorted(lines, key=rank)}
    return [best[element] for element in sorted(best)]


def job_of(line: Line, exit_code: str) -> QueuedJob:
    """A job, of its line of the queue and, where it failed, its exit code as `scontrol show job` has it."""
    element, name, _, word, reason = line
    if word in _FATES:
        fate, text = _FATES[word]
    elif word == "FAILED":
        fate, text = of_exit_code(exit_code)
    elif reason == "DependencyNeverSatisfied":
        fate, text = "lost", "the jobs that it waits for failed"
    else:
        state = State.QUEUED if word in _WAITING else State.STARTING if word == "CONFIGURING" else State.RUNNING
        return QueuedJob(element, name, state, reason if word == "PENDING" and reason != "None" else "")
    return QueuedJob(element, name, _ENDS.get(word, State.FAILED), f"{text} (job {name})", fate)


def of_exit_code(code: str) -> tuple[Fate, str]:
    """What ended a job that failed, of an exit code such as `143:0`: the status, then the signal."""
    if code in _TERMINATED:
        return "ended", "it was told to end, as before a time limit"
    if code == _NO_LOG:
        return "worker", "Slurm cannot write its log there: its node does not see the output's folder"
    status, _, signal = code.partition(":")
    if signal not in ("", "0"):
        return "worker", f"signal {signal} ended it"
    return "hopeless" if code == _USAGE_ERROR else "worker", f"it ended with exit code {status or 'unknown'}"


def index_text(elements: Sequence[int], at_once: int | None) -> str:
    """The value of --array: numbers and ranges, `%N` at once."""
    return ranges_text(sorted(elements)).replace(" ", "") + (f"%{at_once}" if at_once else "")


def options(**words: Any) -> list[str]:
    """Options of sbatch, without those that are not set."""
    return [f"--{name.replace('_', '-')}={value}" for name, value in words.items() if value is not None]
