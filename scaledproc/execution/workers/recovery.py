"""What to do when a worker process is lost: plain decisions, without processes.

A chunk that lost its process is done again in pieces: what came before the task that was at work, that task alone in
a fresh process, and what comes after it. A task that ends its process alone, too, goes into quarantine. Where it is
not known which task it was, the piece is cut in halves. So each loss makes the pieces smaller, and no task is done
more often than a few times, however many of a chunk's tasks are bad.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from scaledproc._util.text import seconds_text
from scaledproc.execution.limits import Limits

LOADS = 3
"""So many processes in a row may end before they begin with a piece's first task."""

Cause = Literal["crash", "memory", "timeout", "worn"]


@dataclass(frozen=True)
class Loss:
    """The end of a worker process.

    Parameters
    ----------
    cause
        `worn`: it gave up between two tasks, because earlier ones left too little for the next.
    how
        `SIGSEGV`, `exit code 3`, or the name of an exception's class.
    task
        The place in its chunk of the task that was at work (`worn`: that would have been next).
    begun
        Whether the process had come to a task at all.
    trace
        What is known of where it was; for a log.
    """

    cause: Cause
    how: str
    task: int | None = None
    begun: bool = True
    trace: str = ""


class WorkerLostError(Exception):
    """A worker process ended, or must end, before its work was done."""

    @property
    def loss(self) -> Loss:
        """How it ended."""
        loss = self.args[0]
        assert isinstance(loss, Loss)
        return loss


@dataclass(frozen=True)
class ChunkPiece:
    """Consecutive tasks of a chunk, for one process.

    Parameters
    ----------
    start, stop
        Their places in the chunk.
    losses
        How many processes its one task has ended so far.
    loads
        How many processes ended before they began with it.
    is_alone
        Whether nothing else may be at work meanwhile: others may have taken the memory that it lacked.
    """

    start: int
    stop: int
    losses: int = 0
    loads: int = 0
    is_alone: bool = False

    @property
    def is_fresh(self) -> bool:
        """Whether it needs a fresh process: what an earlier task left behind must not count against its one task."""
        return self.losses > 0


@dataclass(frozen=True)
class QuarantinedTask:
    """A task that goes into quarantine; the fields are those of its row of errors."""

    task: int
    kind: str
    error: str
    message: str
    attempts: int
    traceback: str


def after_loss(piece: ChunkPiece, loss: Loss, limits: Limits) -> tuple[list[ChunkPiece], QuarantinedTask | None]:
    """What becomes of a piece whose process was lost.

    Parameters
    ----------
    piece
        What the process had been given.
    loss
        How it ended.
    limits
        How often a task is tried.

    Returns
    -------
    list of ChunkPiece
        What is to be done instead; nothing where the process could not even begin, too often.
    QuarantinedTask or None
        The task that is not tried again.
    """
    if not loss.begun:
        loads = piece.loads + 1
        return ([replace(piece, loads=loads)] if loads < LOADS else []), None
    if loss.cause == "worn" and loss.task is not None and piece.start < loss.task < piece.stop:
        return [ChunkPiece(piece.start, loss.task), ChunkPiece(loss.task, piece.stop)], None
    is_one = piece.stop - piece.start == 1
    culprit = piece.start if is_one else loss.task
    if culprit is None or not piece.start <= culprit < piece.stop:
        middle = (piece.start + piece.stop) // 2
        return [ChunkPiece(piece.start, middle), ChunkPiece(middle, piece.stop)], None
    losses = (piece.losses if is_one else 0) + 1
    others = [p for p in (ChunkPiece(piece.start, culprit), ChunkPiece(culprit + 1, piece.stop)) if p.start < p.stop]
    if losses > allowed_losses(loss.cause, limits):
        return others, _verdict(culprit, loss, losses, limits)
    # The rest first: it needs no fresh process of its own.
    return [*others, ChunkPiece(culprit, culprit + 1, losses, is_alone=loss.cause == "memory")], None


def in_its_part(loss: Loss, tasks: Sequence[int]) -> tuple[int, Loss] | None:
    """In which part of its work a process was lost.

    Parameters
    ----------
    loss
        Its task's place is among those of all parts.
    tasks
        The number of tasks of each part, in order.

    Returns
    -------
    int
        The part's place.
    Loss
        With the task's place in that part. None instead of both where it is not known which task was at work.
    """
    place = loss.task
    if place is None or not loss.begun:
        return None
    for part, count in enumerate(tasks):
        if place < count:
            return part, replace(loss, task=place)
        place -= count
    return None


def allowed_losses(cause: Cause, limits: Limits) -> int:
    """How many processes one task may end. A task that hangs would cost the same time again: not unless asked for."""
    return limits.retries_of("timeout") if cause == "timeout" else max(1, limits.task_retries)


def _verdict(task: int, loss: Loss, losses: int, limits: Limits) -> QuarantinedTask:
    """The same words on every machine and in every run: no process, no address."""
    if loss.cause == "timeout":
        kind, error = "timeout", "TimeoutError"
        message = f"the task took longer than the {seconds_text(limits.task_timeout or math.nan)} of --task-timeout"
    elif loss.cause == "memory" and loss.how != "SIGKILL":
        step = "" if limits.memory_step == 1 else f"{limits.memory_step:g} times what "
        kind, error = "memory", loss.how
        message = f"the task took more memory than {step}--memory-per-worker allows"
    elif loss.cause == "memory":
        kind, error = "memory", loss.how
        message = "the task's process was killed, as the system does to the one that takes the last memory"
    else:
        kind, error, message = "crash", loss.how, f"the task ended its process: {loss.how}"
    return QuarantinedTask(task, kind, error, message, losses, loss.trace or f"{error}: {message}\n")
