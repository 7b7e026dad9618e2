"""Slurm's commands, and what they print, as data."""

from __future__ import annotations

from typing import Any

from scaledproc.errors import ScaledprocError
from scaledproc.events import State

from ..batch.calls import BusyError, FullError, UnansweredError, run_command
from ..batch.elements import COMBINE, Fate, QueuedJob

TIMEOUT = 120.0  # seconds that a command may take; a busy controller answers late
FORMAT = "ArrayJobID:|,ArrayTaskID:|,State:|,Reason:|,exit_code:|"
"""Of squeue: the array's id, the element, state, reason, and how the job ended, as `wait` has it."""
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
    "COMPLETED": ("well", "it ended well, and left no result"),
}
_FULL, _NEVER = ("limit", "temporarily unable", "QOSMax"), "time limit is invalid"
"""What sbatch says where it takes no more jobs now, and may another time; and where it never will."""
_UNANSWERED = ("timed out", "Unable to contact", "Connection refused", "Zero Bytes were transmitted")
"""What sbatch says where it does not know whether the controller has the jobs."""
_USAGE_ERROR, _TERMINATED, _SIGTERM, _NO_LOG = 2, 143, 15, 53


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


def options(**words: Any) -> list[str]:
    """Options of sbatch, without those that are not set."""
    return [f"--{name.replace('_', '-')}={value}" for name, value in words.items() if value is not None]


def jobs_in(text: str) -> list[QueuedJob]:
    """The jobs that squeue tells of in `FORMAT`, in the order in which they were submitted."""
    lines = [line.split("|") for line in text.splitlines() if line.count("|") == FORMAT.count("|")]
    return [job_of(*fields[:-1]) for fields in sorted(lines, key=lambda fields: int(fields[0]))]


def job_of(array: str, element: str, word: str, reason: str, status: str) -> QueuedJob:
    """A job, of what squeue tells of it."""
    number, name = (int(element), f"{array}_{element}") if element.isdecimal() else (COMBINE, array)
    if word in _FATES:
        fate, text = _FATES[word]
    elif word == "FAILED":
        fate, text = of_status(int(status)) if status.isdecimal() else ("worker", "it failed; its exit code is unknown")
    elif reason == "DependencyNeverSatisfied":
        fate, text = "lost", "the jobs that it waits for failed"
    else:
        state = State.QUEUED if word in _WAITING else State.STARTING if word == "CONFIGURING" else State.RUNNING
        return QueuedJob(number, name, state, reason if word == "PENDING" and reason != "None" else "")
    return QueuedJob.ended(number, name, fate, f"{text} (job {name})")


def of_status(status: int) -> tuple[Fate, str]:
    """What ended a job that failed, of its status: the signal, and 256 times the exit code."""
    signal, code = status & 0x7F, status >> 8
    if code == _TERMINATED or signal == _SIGTERM:
        return "ended", "it was told to end, as before a time limit"
    if signal == _NO_LOG:
        return "worker", "Slurm cannot write its log there: its node does not see the output's folder"
    if signal:
        return "worker", f"signal {signal} ended it"
    return "hopeless" if code == _USAGE_ERROR else "worker", f"it ended with exit code {code}"
