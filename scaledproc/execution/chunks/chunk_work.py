"""What a process is given to make a chunk, and what it gives back of a part of one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaledproc.execution.chunks.costs import Cost
from scaledproc.execution.limits import Limits
from scaledproc.execution.workers.recovery import QuarantinedTask
from scaledproc.execution.workers.sending import Sent
from scaledproc.planning.shared_files import AtHand
from scaledproc.storage.store import Store

if TYPE_CHECKING:
    from scaledproc.execution.staging import StagedUnit
    from scaledproc.execution.tables.table_files import Finishing

TOGETHER = 0.25
"""Seconds, after which what is made together is committed."""


@dataclass(frozen=True)
class ChunkWork:
    """All that a process needs to make a chunk.

    Parameters
    ----------
    work_id, shard, chunk, size
        Of which beginning of which run it is (`RunRecord.work_id`), and its place; its bytes.
    tasks
        (group, unit, anchor) of each.
    files, staged
        By unit: the paths of its files with their sizes (or its place in the run's inventory, where they are many), and
        where they are.
    store
        The run's folder.
    source, options
        The extractor, or what finds it.
    positions
        The tasks' places in the plan, where they are not all of the chunk's: what a part of a shard is put together by.
    limits
        How often a task that failed is tried again, and with how much memory.
    ahead
        Bytes that the process may be given from now on, about.
    shared
        Where the files are that the extractor declared with `reads`.
    code
        The files that the extractor's code was read from when the work was begun, with their times and sizes.
    finishing
        What its shard's files of the tables are made with, where the tables are folders.
    staging
        Seconds that cores had nothing to do until its files were there, added up over the cores.
    is_last
        Whether tasks whose files cannot be read are put into quarantine now, instead of being left to the end.
    """

    work_id: str
    shard: int
    chunk: int
    size: int
    tasks: tuple[tuple[str, str, str], ...]
    files: Mapping[str, Mapping[str, int] | int]
    staged: Mapping[str, StagedUnit]
    store: Store
    source: str | Sent
    options: Mapping[str, Any]
    positions: tuple[int, ...] = ()
    limits: Limits = field(default_factory=Limits)
    ahead: int = 0
    shared: Mapping[str, AtHand] = field(default_factory=dict)
    code: tuple[tuple[str, int, int], ...] = ()
    finishing: Finishing | None = None
    staging: float = 0.0
    is_last: bool = False

    def error_row(self, verdict: QuarantinedTask) -> dict[str, Any]:
        """A task's row of errors."""
        group, unit, anchor = self.tasks[verdict.task]
        content = asdict(verdict)
        del content["task"]
        return {"group": group, "unit": unit, "anchor": anchor, **content}


@dataclass(frozen=True)
class PieceDone:
    """What became of some of a chunk's tasks.

    Parameters
    ----------
    start
        The first one's place in the chunk.
    ends
        How many rows there are up to the end of each task.
    seconds
        Time at work.
    errors
        Rows of errors that are in no file.
    path, error_path, said_path
        Local files that have the rows, the rows of errors and what tasks said, where they are not yet in the chunk.
    unread, gone, example
        How many of its tasks could not be done because a file could not be read, or was not there, and the first one's
        error: these are in quarantine only if they were tried for the last time.
    refused
        How many could not be done because this account may not read their files, or a store has these no more.
    costs
        What each task cost.
    """

    start: int
    ends: tuple[int, ...]
    seconds: float
    errors: tuple[Mapping[str, Any], ...] = ()
    path: Path | None = None
    error_path: Path | None = None
    said_path: Path | None = None
    unread: int = 0
    gone: int = 0
    example: str = ""
    refused: int = 0
    costs: tuple[Cost, ...] = ()

    def discard(self) -> None:
        """Remove its files."""
        for path in (self.path, self.error_path, self.said_path):
            if path is not None:
                path.unlink(missing_ok=True)
