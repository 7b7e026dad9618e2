"""One machine's jobs: chunks over its cores, each committed as it ends, then a shard of them.

The chunk is what is committed: its rows and its quarantined tasks appear together or not at all. When all chunks of a
shard are there they become the shard's one file, and the chunks go.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from scaledproc.chunks import ChunkWork, committed_chunks, run_chunk
from scaledproc.errors import ScaledprocError
from scaledproc.events import Event, ShardState
from scaledproc.merging import merge_part, merge_shard
from scaledproc.pool import Pool
from scaledproc.run_folder import Run
from scaledproc.staging import Direct, StagedUnits, Stager

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from scaledproc.planning import Chunk, Plan


FILES_SENT = 1_000  # files of a unit that are sent along with each chunk


def run_shards(
    run: Run,
    shards: Sequence[int],
    *,
    jobs: int,
    scratch: Path | None = None,
    here: NDArray[np.bool_] | None = None,
) -> Iterator[Event]:
    """Make the features of macro shards with so many processes, and tell what happened.

    Parameters
    ----------
    run
        Its plan is read from its folder.
    shards
        Their numbers. What is committed of them is not done again.
    jobs
        Processes; 1 works in this one. A store that only this process can see makes it 1.
    scratch
        Where remote data is staged; the system's temporary folder where none is given.
    here
        Which of the plan's tasks this machine has, shape (tasks,), where others have the rest: then parts of shards
        are made instead of shards.

    Yields
    ------
    ShardState, ChunkDone, ShardDone
        As it happens: a shard is staging, running; chunks and shards in the order in which they end.

    Raises
    ------
    ScaledprocError
        A process died.
    """
    plan = run.plan
    left: dict[int, int] = {}
    queue: deque[Chunk] = deque()
    committed = run.committed_shards()
    for shard in shards:
        if shard in committed:
            yield run.shard_report(shard)
            continue
        done = {chunk.chunk: chunk for chunk in committed_chunks(run.store, run.record.plan_id, shard)}
        yield from done.values()
        todo = [chunk for chunk in plan.chunks(shard) if chunk.number not in done]
        if here is not None:
            todo = [chunk for chunk in todo if here[chunk.start : chunk.stop].any()]
            if not todo:
                continue
        left[shard] = len(todo)
        # Largest first, so that no core ends with the longest one; but staged units are used up one after the other.
        queue += sorted(todo, key=lambda chunk: -chunk.size) if run.dataset.local else todo
    if run.store.is_private or run.dataset.is_private:
        jobs = 1
    with (
        Direct(run.dataset) if run.dataset.local else Stager(run.dataset, plan, list(queue), scratch) as stager,
        Pool(min(jobs, max(len(queue), 1))) as pool,
    ):
        yield from _Loop(run, plan, stager, pool, queue, left, here).events()


class _Loop:
    """Stage ahead, keep the cores busy, make a shard of its chunks when the last one is there."""

    def __init__(
        self,
        run: Run,
        plan: Plan,
        stager: Direct | Stager,
        pool: Pool,
        queue: deque[Chunk],
        left: dict[int, int],
        here: NDArray[np.bool_] | None = None,
    ) -> None:
        self._run = run
        self._plan = plan
        self._stager = stager
        self._pool = pool
        self._queue = queue
        self._left = left
        self._here = here
        self._staging: dict[Future[Any], Chunk] = {}
        self._ready: deque[tuple[Chunk, StagedUnits]] = deque()
        self._working: dict[Future[Any], Chunk] = {}
        self._merging: set[Future[Any]] = set()
        self._states: dict[int, str] = {}
        self._news: deque[Event] = deque()

    def events(self) -> Iterator[Event]:
        for shard, left in self._left.items():
            if not left:  # an earlier process ended between a shard's last chunk and the shard
                self._merge(shard)
        while self._queue or self._staging or self._ready or self._working or self._merging:
            self._stage()
            self._work()
            while self._news:
                yield self._news.popleft()
            ended, _ = wait([*self._staging, *self._working, *self._merging], return_when=FIRST_COMPLETED)
            for future in ended:
                yield from self._end(future)

    def _stage(self) -> None:
        while self._queue and len(self._staging) + len(self._ready) < 2 * self._pool.jobs:
            is_idle = not (self._staging or self._ready or self._working)
            if not is_idle and not self._stager.admits(self._queue[0]):
                return  # until a chunk at work gives up its units
            chunk = self._queue.popleft()
            if isinstance(self._stager, Stager):
                self._tell(chunk.shard, "staging")
            self._staging[self._stager.stage(chunk)] = chunk

    def _work(self) -> None:
        while self._ready and len(self._working) < 2 * self._pool.jobs:  # one at work and one waiting for each core
            chunk, units = self._ready.popleft()
            self._tell(chunk.shard, "running")
            work = _chunk_work(self._run, self._plan, chunk, units, self._here)
            self._working[self._pool.submit(partial(run_chunk, work))] = chunk

    def _tell(self, shard: int, state: str) -> None:
        """Tell of a shard's state once: it is staging, then running."""
        if self._states.get(shard) not in (state, "running"):
            self._states[shard] = state
            self._news.append(ShardState(shard, state))

    def _merge(self, shard: int) -> None:
        store, plan_id = self._run.store, self._run.record.plan_id
        if self._here is None:
            merge = partial(merge_shard, store, plan_id, shard, self._plan.n_chunks_of(shard))
        else:
            present = [chunk.number for chunk in self._plan.chunks(shard) if self._here[chunk.start : chunk.stop].any()]
            merge = partial(merge_part, store, plan_id, shard, present)
        self._merging.add(self._pool.submit(merge))

    def _end(self, future: Future[Any]) -> Iterator[Event]:
        if future in self._staging:
            self._ready.append((self._staging.pop(future), future.result()))
            return
        try:
            event = future.result()
        except RuntimeError as error:
            if type(error).__name__ not in ("TerminatedWorkerError", "BrokenProcessPool"):
                raise
            anchors = sorted({self._plan.tasks["anchor"][chunk.start].as_py() for chunk in self._working.values()})
            raise ScaledprocError(
                "a worker process died (out of memory, or a crash in native code?) while chunks were at work that "
                f"begin with {', '.join(map(repr, anchors[:4]))}; what is committed is kept: the same command "
                "continues, with --jobs 1 in one process that a debugger can watch"
            ) from error
        yield event
        if future in self._merging:
            self._merging.remove(future)
            return
        chunk = self._working.pop(future)
        self._stager.release(chunk)
        self._left[chunk.shard] -= 1
        if not self._left[chunk.shard]:
            self._merge(chunk.shard)


def _chunk_work(
    run: Run, plan: Plan, chunk: Chunk, staged: StagedUnits, here: NDArray[np.bool_] | None = None
) -> ChunkWork:
    tasks = plan.tasks.slice(chunk.start, chunk.stop - chunk.start)
    positions: tuple[int, ...] = ()
    if here is not None:
        tasks = tasks.filter(pa.array(here[chunk.start : chunk.stop]))
        positions = tuple((chunk.start + here[chunk.start : chunk.stop].nonzero()[0]).tolist())
    units = {plan.unit_name(unit): unit for unit in plan.units_of(chunk.start, chunk.stop)}
    return ChunkWork(
        plan_id=run.record.plan_id,
        shard=chunk.shard,
        chunk=chunk.number,
        size=chunk.size,
        tasks=tuple(zip(*(tasks[name].to_pylist() for name in ("group", "unit", "anchor")), strict=True)),
        files={name: _files(plan, unit) for name, unit in units.items()},
        staged={name: staged[unit] for name, unit in units.items()},
        store=run.store,
        source=run.source,
        options=run.record.extractor.get("options") or {},
        positions=positions,
    )


def _files(plan: Plan, unit: int) -> frozenset[str] | int:
    """A unit's files; for a unit of many, which many chunks may share, where to read them."""
    files = plan.files_of(unit)
    return frozenset(files["path"].to_pylist()) if files.num_rows <= FILES_SENT else unit
