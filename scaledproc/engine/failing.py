"""Whether a run fails as a whole: each of its first tasks, at the same line of the extractor's own code."""

from __future__ import annotations

import shlex

from scaledproc.events import ChunkDone, Failure, ShardDone, ShardState
from scaledproc.run_folder.folder import RunFolder
from scaledproc.run_folder.names import TODO, UPDATE

ENOUGH = 20
"""Tasks that fail alike, from which on that is no chance."""
SHOWN = 200  # characters of a message


class Alarm:
    """Hears of tasks that failed, and warns once.

    The run goes on nonetheless: the tasks of the first folders may be odd, and what fails costs no more than its task.

    Parameters
    ----------
    run
        The run that is under way.
    """

    def __init__(self, run: RunFolder) -> None:
        self._run = run
        self._tasks: dict[tuple[int, int], int] = {}
        self._first: Failure | None = None

    def hear(self, event: ChunkDone | ShardDone | ShardState) -> str | None:
        """Take an event, all of whose tasks failed.

        Parameters
        ----------
        event
            What is done of a chunk or a shard.

        Returns
        -------
        str or None
            What a person should know; empty where it is too early for that, None where there is no reason to warn.
        """
        if not event.failures:  # what nobody is told of is counted for nothing
            return ""
        for failure in event.failures:
            self._first = self._first or failure
            if not _is_own(failure) or failure.cause != self._first.cause:
                return None
        part = event.chunk if isinstance(event, ChunkDone) else -1  # what is told of a shard is its sum
        self._tasks = {key: count for key, count in self._tasks.items() if key[0] != event.shard or part >= 0 <= key[1]}
        self._tasks[event.shard, part] = event.tasks
        tasks, total = sum(self._tasks.values()), self._run.record.counts["tasks"]
        is_chance = tasks < ENOUGH or (part >= 0 and len(self._tasks) < 2)
        if is_chance or self._first is None or tasks >= total:  # of all of them the end tells
            return ""
        first = self._first
        where = f", at {first.place}" if first.place else ""
        return (
            f"ALL {tasks:,} TASKS SO FAR FAILED, those looked at alike{where}; the extractor itself may be wrong:\n"
            f"  {first.error}: {' '.join(first.message[:SHOWN].splitlines())}\n"
            f"  the run goes on; Ctrl-C ends it; to try one task:\n"
            f"  scaledproc try {shlex.quote(f'{_output(self._run)}#{first.anchor}')}"
        )


def _output(run: RunFolder) -> str:
    """The folder that a person knows the run by: an update works in folders within it."""
    return str(run.store).removesuffix(f"/{TODO}").removesuffix(f"/{UPDATE}")


def _is_own(failure: Failure) -> bool:
    """Whether it is the extractor's own code that failed, or what it gave; no file that cannot be read."""
    return failure.kind == "schema" or (failure.kind == "exception" and bool(failure.place))
