"""Submitting all of a run's jobs at once, each after those that it waits for, so that nobody need watch."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from scaledproc._util.text import count_text
from scaledproc.errors import UsageError

from .calls import BusyError, FullError
from .elements import COMBINE, QueuedJob
from .known_jobs import CONTROL

if TYPE_CHECKING:
    from scaledproc.run_folder.folder import RunFolder

    from .queue import BatchBackend

ENDS = "ends"
"""In what a backend keeps in the run's folder: whether the last job that was submitted ends the run by itself."""


@dataclass(frozen=True)
class After:
    """Which jobs a job waits for.

    Parameters
    ----------
    what
        `ended`: until all of them have ended, however that was; `failed`: until all of them have failed; `well`: until
        one of them has ended well.
    ids
        Those jobs and arrays of jobs.
    """

    what: Literal["ended", "failed", "well"]
    ids: tuple[str, ...]


Submit = Callable[[Sequence[int], int, After | None], str]
"""Submits a job, or an array of them, of these elements, with so much more memory, after these jobs; its id."""


def hand_over(
    backend: BatchBackend,
    run: RunFolder,
    jobs: Sequence[QueuedJob],
    submit: Submit,
    cancel: Callable[[Sequence[str]], object],
) -> str:
    """Submit what is left, as often as it may be tried, then the last job; nothing where the last one is there already.

    What is queued or at work without a last job may be of a command that was cut short: all that is left follows it.
    Elements that are done by then end at once.

    Parameters
    ----------
    backend, run
        Whose jobs they are.
    jobs
        All that the batch system knows of the run.
    submit, cancel
        What the batch system is told.

    Returns
    -------
    str
        What was submitted, for a person.

    Raises
    ------
    UsageError
        If a last job is there that somebody is to watch.
    FullError
        If the batch system does not take them all. Those that it took are cancelled.
    """
    known = backend.control(run)
    there = [job for job in jobs if not job.is_over]
    count = count_text(len(there), "job")
    if any(job.element == COMBINE for job in there):
        if not known.get(ENDS):
            raise UsageError(
                f"the last job of this run is in the queue, and was submitted without --{backend.name}-detach, so that "
                "it does not end the run: give the same command without that flag, which watches it"
            )
        return f"{count} of this run in the queue already, the last one among them"
    layout, committed = backend.elements(run), run.committed_shards()
    left = layout.elements_of(set(range(layout.shards)).difference(committed))
    earlier = tuple(dict.fromkeys(job.name.partition("_")[0] for job in there))
    first = After("ended", earlier) if earlier else None
    tries = backend.settings.retries + 1 if left else 0
    arrays: list[str] = []
    try:
        for number in range(tries):
            # After all of the earlier ones: one that is cancelled, as it is not needed, counts as failed too.
            after = After("failed", tuple(arrays)) if arrays else first
            arrays.append(submit(left, number * backend.gives_memory, after))
        last = submit([COMBINE], 0, After("well", tuple(arrays)) if arrays else first)
    except FullError as error:
        undone = _undo(arrays, cancel)
        if not there:  # else those that are there have so many shards each
            run.store.write(f"{CONTROL}/{backend.name}.json", json.dumps(known).encode())
        raise FullError(_refusal(backend, str(error), len(left) * tries + 1, len(there), undone)) from None
    return (
        f"{count_text(len(left), 'job')} submitted{f' after {count}' if there else ''}, then job {last} for the table"
    )


def _undo(arrays: Sequence[str], cancel: Callable[[Sequence[str]], object]) -> str:
    if not arrays:
        return "nothing was submitted"
    try:
        cancel(arrays)
    except BusyError as error:
        return f"what was submitted ({', '.join(arrays)}) cannot be cancelled: {error}"
    return "what was submitted is cancelled"


def _refusal(backend: BatchBackend, said: str, wanted: int, there: int, undone: str) -> str:
    flag = f"--{backend.name}-"
    fewer = f"fewer {flag}retries" if there else f"more {flag}shards-per-job or fewer {flag}retries"
    wait = f", or wait until the {count_text(there, 'job')} that are there have ended" if there else ""
    return (
        f"{said}: {flag}detach submits all jobs at once, {wanted:,} here, and not so many are taken; {undone}. Give "
        f"{fewer}{wait}, or leave {flag}detach out, which submits jobs as there is room"
    )
