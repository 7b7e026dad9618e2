"""What is done when a worker process is lost: the culprits are found, and nobody else."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaledproc.execution.limits import Limits
from scaledproc.execution.workers.recovery import (
    LOADS,
    Cause,
    ChunkPiece,
    Loss,
    QuarantinedTask,
    WorkerLostError,
    after_loss,
    allowed_losses,
    in_its_part,
)


@given(
    bad=st.sets(st.integers(0, 19)),
    lost_notes=st.lists(st.booleans(), max_size=60),
    tasks=st.integers(1, 20),
    retries=st.integers(0, 3),
)
@settings(deadline=None)
def test_the_culprits_are_found_and_nobody_else(
    bad: set[int], lost_notes: list[bool], tasks: int, retries: int
) -> None:
    """A model: a process dies at the first bad task that it comes to; now and then its note is lost."""
    limits = Limits(task_retries=retries)
    queue, verdicts, processes = [ChunkPiece(0, tasks)], list[QuarantinedTask](), 0
    done: list[int] = []
    while queue:
        piece = queue.pop(0)
        processes += 1
        culprit = next((task for task in range(piece.start, piece.stop) if task in bad), None)
        if culprit is None:
            done += range(piece.start, piece.stop)
            continue
        is_lost = lost_notes.pop() if lost_notes else False
        pieces, verdict = after_loss(piece, Loss("crash", "SIGSEGV", None if is_lost else culprit), limits)
        queue += pieces
        verdicts += [verdict] if verdict else []
    found = {verdict.task for verdict in verdicts}
    assert found == bad & set(range(tasks))
    assert sorted([*done, *found]) == list(range(tasks)), "each task exactly once"
    assert all(verdict.attempts == max(1, retries) + 1 for verdict in verdicts), "whether notes were lost or not"
    assert processes <= 1 + (len(found) + 60) * (4 + retries)


def test_in_which_part_a_process_was_lost() -> None:
    loss = Loss("crash", "SIGSEGV", 5)
    assert in_its_part(loss, [3, 2, 1, 4]) == (2, Loss("crash", "SIGSEGV", 0))
    assert in_its_part(loss, [6]) == (0, loss)
    assert in_its_part(loss, [3, 2]) is None
    assert in_its_part(Loss("crash", "SIGSEGV"), [3, 2]) is None
    assert in_its_part(Loss("crash", "SIGSEGV", 0, begun=False), [3, 2]) is None


def test_losses_that_are_nobodys_fault() -> None:
    piece, limits = ChunkPiece(3, 9), Limits()
    for _ in range(LOADS - 1):
        (piece,), verdict = after_loss(piece, Loss("crash", "SIGKILL", begun=False), limits)
        assert verdict is None
        assert (piece.start, piece.stop) == (3, 9)
    assert after_loss(piece, Loss("crash", "SIGKILL", begun=False), limits) == ([], None)
    assert after_loss(ChunkPiece(3, 9), Loss("worn", "", 5), limits) == ([ChunkPiece(3, 5), ChunkPiece(5, 9)], None)
    alone = after_loss(ChunkPiece(3, 9), Loss("memory", "SIGKILL", 5), limits)[0][-1]
    assert alone == ChunkPiece(5, 6, losses=1, is_alone=True)
    assert alone.is_fresh


def test_a_task_that_hangs_is_not_tried_again_unless_asked_for() -> None:
    hung = Loss("timeout", "exit code 1", 4, trace="Timeout")
    pieces, verdict = after_loss(ChunkPiece(4, 5), hung, Limits(task_timeout=90))
    text = "the task took longer than the 1 min 30 s of --task-timeout"
    assert (pieces, verdict) == ([], QuarantinedTask(4, "timeout", "TimeoutError", text, 1, "Timeout"))
    pieces, verdict = after_loss(ChunkPiece(4, 5), hung, Limits(task_timeout=90, task_retries=1))
    assert (pieces, verdict) == ([ChunkPiece(4, 5, losses=1)], None)


def test_where_it_is_not_known_which_task_it_was_the_piece_is_halved() -> None:
    for task in (None, 2, 9):  # unknown, or none of the piece
        assert after_loss(ChunkPiece(3, 9), Loss("crash", "SIGSEGV", task), Limits()) == (
            [ChunkPiece(3, 6), ChunkPiece(6, 9)],
            None,
        )
    assert after_loss(ChunkPiece(3, 8), Loss("crash", "SIGSEGV"), Limits()) == (
        [ChunkPiece(3, 5), ChunkPiece(5, 8)],
        None,
    )
    assert after_loss(ChunkPiece(3, 9), Loss("worn", "", 9), Limits()) == ([ChunkPiece(3, 6), ChunkPiece(6, 9)], None)
    # A process that gave up before its first task had nothing to give up for; that task is tried alone.
    assert after_loss(ChunkPiece(3, 9), Loss("worn", "", 3), Limits()) == (
        [ChunkPiece(4, 9), ChunkPiece(3, 4, 1)],
        None,
    )


@pytest.mark.parametrize(
    ("task", "others"),
    [(3, [ChunkPiece(4, 9)]), (8, [ChunkPiece(3, 8)]), (5, [ChunkPiece(3, 5), ChunkPiece(6, 9)])],
)
def test_the_others_are_done_first_and_the_culprit_alone(task: int, others: list[ChunkPiece]) -> None:
    pieces, verdict = after_loss(ChunkPiece(3, 9), Loss("crash", "SIGSEGV", task), Limits())
    assert (pieces, verdict) == ([*others, ChunkPiece(task, task + 1, losses=1)], None)
    assert not any(piece.is_fresh for piece in others)
    # Losses of a piece of several tasks are nobody's.
    assert after_loss(ChunkPiece(3, 9, losses=1), Loss("crash", "SIGSEGV", task), Limits())[1] is None


@pytest.mark.parametrize(("cause", "allowed"), [("crash", (1, 1, 3)), ("memory", (1, 1, 3)), ("timeout", (0, 1, 3))])
def test_how_many_processes_a_task_may_end(cause: Cause, allowed: tuple[int, ...]) -> None:
    assert tuple(allowed_losses(cause, Limits(task_retries=retries)) for retries in (0, 1, 3)) == allowed
    assert allowed_losses("timeout", Limits(retry_on=("timeout",))) == 1


def test_a_task_that_ends_its_process_alone_too_is_told_in_the_same_words_everywhere() -> None:
    loss = Loss("crash", "SIGSEGV", 7)
    (piece,), verdict = after_loss(ChunkPiece(4, 5), loss, Limits())
    assert (piece, verdict) == (ChunkPiece(4, 5, losses=1), None)
    text = "the task ended its process: SIGSEGV"
    assert after_loss(piece, loss, Limits()) == (
        [],
        QuarantinedTask(4, "crash", "SIGSEGV", text, 2, f"SIGSEGV: {text}\n"),
    )


@pytest.mark.parametrize(
    ("how", "limits", "message"),
    [
        ("MemoryError", Limits(), "the task took more memory than --memory-per-worker allows"),
        (
            "MemoryError",
            Limits(memory_step=2),
            "the task took more memory than 2 times what --memory-per-worker allows",
        ),
        (
            "SIGKILL",
            Limits(),
            "the task's process was killed, as the system does to the one that takes the last memory",
        ),
    ],
)
def test_a_task_that_takes_too_much_memory(how: str, limits: Limits, message: str) -> None:
    loss = Loss("memory", how, 4)
    (piece,), verdict = after_loss(ChunkPiece(4, 5), loss, limits)
    assert (piece, verdict) == (ChunkPiece(4, 5, losses=1, is_alone=True), None)
    assert after_loss(piece, loss, limits) == ([], QuarantinedTask(4, "memory", how, message, 2, f"{how}: {message}\n"))


def test_what_is_said_of_a_loss_and_a_piece_where_nothing_is_known() -> None:
    assert Loss("crash", "SIGSEGV") == Loss("crash", "SIGSEGV", None, begun=True, trace="")
    assert ChunkPiece(3, 9) == ChunkPiece(3, 9, losses=0, loads=0, is_alone=False)
    assert LOADS == 3
    loss = Loss("worn", "", 3)
    assert WorkerLostError(loss).loss is loss
