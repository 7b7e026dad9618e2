"""Events as a run tells them, and a clock, for what counts or shows them."""

from __future__ import annotations

from typing import Any

from scaledproc.events import ChunkDone, RunStarted, ShardDone, ShardState, State


def started(tasks: int = 100, size: int = 1000, shards: int = 1, *, resumed: bool = False) -> RunStarted:
    return RunStarted("a" * 32, tasks, size, shards, shards, 2, "out", resumed)


def chunk(shard: int, number: int, tasks: int = 1, size: int = 10, *, resumed: bool = False) -> ChunkDone:
    return ChunkDone(shard, tasks, tasks, size, 1.0, 0, resumed=resumed, chunk=number)


def shard_done(shard: int, tasks: int = 1, size: int = 10, *, resumed: bool = False) -> ShardDone:
    return ShardDone(shard, tasks, tasks, size, 1.0, 0, resumed=resumed)


def state(shard: int, name: str, tasks: int = 0, size: int = 0, seconds: float = 0.0, **more: Any) -> ShardState:
    job = more.pop("job", f"job-{shard}")
    return ShardState(shard, State(name), job, tasks=tasks, size=size, seconds=seconds, **more)


class Clock:
    """Seconds that pass when they are told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now
