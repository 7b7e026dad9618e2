"""What the scheduler is told, and what it tells: events of one machine, and instructions to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from scaledproc.execution.workers.recovery import ChunkPiece, Loss, QuarantinedTask

if TYPE_CHECKING:
    from scaledproc.events import ChunkDone
    from scaledproc.execution.chunks.chunk_work import PieceDone
    from scaledproc.execution.chunks.missing_dataset import UnreadError
    from scaledproc.planning.plan import Chunk


class ShardPhase(Enum):
    """How far a shard is on this machine; it never goes back."""

    WAITING = "waiting"
    STAGING = "staging"
    RUNNING = "running"
    MERGING = "merging"
    DONE = "done"


# What to do.


@dataclass(frozen=True)
class Stage:
    """Have the files of a chunk's units at hand, if there is room; answered by `Staged` or at once by `NoRoom`."""

    chunk: Chunk
    must: bool = False
    """Whether to do so without room: nothing else will make any."""


@dataclass(frozen=True)
class RunChunk:
    """Make a chunk and commit it."""

    chunk: Chunk
    ahead: int
    """Bytes that a process may be given from now on, about."""


@dataclass(frozen=True)
class RunLast:
    """Make a chunk and commit it; tasks whose files cannot be read go into quarantine now."""

    chunk: Chunk


@dataclass(frozen=True)
class RunChunks:
    """Make several chunks in one call of a process, and commit them together: the first ones, as `MakeShards`."""

    runs: tuple[RunChunk, ...]


@dataclass(frozen=True)
class MakeShards:
    """Make several shards of one chunk each in one call of a process: the first ones, until that took long enough."""

    runs: tuple[RunChunk, ...]


@dataclass(frozen=True)
class RunPiece:
    """Make a part of a chunk, and keep it on this machine."""

    chunk: Chunk
    piece: ChunkPiece


@dataclass(frozen=True)
class Assemble:
    """Commit a chunk of its parts."""

    chunk: Chunk
    parts: tuple[PieceDone | QuarantinedTask, ...] = field(hash=False)
    """In order; some may be single tasks, which go into quarantine."""


@dataclass(frozen=True)
class Merge:
    """Make a shard of its committed chunks."""

    shard: int
    losses: int = 0
    """How many processes ended so far while they did."""


@dataclass(frozen=True)
class MergeShards:
    """Make several short shards of their chunks in one call of a process: the first ones, as `RunChunks`."""

    merges: tuple[Merge, ...]


@dataclass(frozen=True)
class Release:
    """A chunk is committed, and nobody needs its files for it any more."""

    chunk: Chunk


@dataclass(frozen=True)
class Tell:
    """A shard is at work, in this phase."""

    shard: int
    phase: ShardPhase


@dataclass(frozen=True)
class CannotRead:
    """Since files could not be read for the first time, those of more tasks could not be read than could."""

    unread: int
    tasks: int
    """Of all that were tried."""
    example: str
    """The first one's error."""
    is_refused: bool = False
    """Whether that is so of all, as this account may not read them or a store has them no more."""


@dataclass(frozen=True)
class LookElsewhere:
    """See whether any other file of the dataset can be read; answered at once by `SeenElsewhere`."""


@dataclass(frozen=True)
class CannotGoOn:
    """Several processes in a row ended in the same call, each before it came to a task."""

    call: RunChunk | RunLast | RunPiece | Assemble | Merge
    loss: Loss


@dataclass(frozen=True)
class End:
    """Nothing is at work, or must be waited for: that is all."""

    failure: CannotRead | CannotGoOn | None = None


Together = RunChunks | MakeShards
Call = RunChunk | RunLast | Together | RunPiece | Assemble | Merge | MergeShards
"""What a process is given: answered by `Made`, `PieceMade` or `Merged`; or by `Lost` or `Unread`."""
Instruction = Call | Stage | Release | Tell | LookElsewhere | End


# What happened.


@dataclass(frozen=True)
class Staged:
    """A chunk's files are there, or it is known why not."""

    chunk: Chunk


@dataclass(frozen=True)
class NoRoom:
    """There is no room for a chunk's files."""

    chunk: Chunk
    is_freeing: bool
    """Whether files are being removed, so that `RoomFreed` comes."""


@dataclass(frozen=True)
class RoomFreed:
    """Files were removed."""


@dataclass(frozen=True)
class Made:
    """Chunks are committed: the call's one, or those of several that it came to, in order."""

    call: RunChunk | RunLast | Together | Assemble
    done: tuple[ChunkDone, ...]


@dataclass(frozen=True)
class PieceMade:
    """A part of a chunk is there."""

    call: RunPiece
    part: PieceDone


@dataclass(frozen=True)
class Merged:
    """A shard is there; or the first ones of several."""

    call: Merge | MergeShards
    count: int = 1


@dataclass(frozen=True)
class Lost:
    """The process that had the call ended."""

    call: Call
    loss: Loss


@dataclass(frozen=True)
class Unread:
    """Files could not be read, so nothing was committed."""

    call: RunChunk | RunLast | Together | Assemble
    error: UnreadError


@dataclass(frozen=True)
class SeenElsewhere:
    """Whether any other file of the dataset can be read."""

    is_readable: bool


@dataclass(frozen=True)
class StopAsked:
    """The run is to end after what is at work."""

    withdrawn: tuple[Call, ...] = ()
    """Calls that no process had begun, and none will."""


Event = Staged | NoRoom | RoomFreed | Made | PieceMade | Merged | Lost | Unread | SeenElsewhere | StopAsked
