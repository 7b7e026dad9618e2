"""One machine's jobs: chunks over its cores, each committed as it ends, then a shard of them.

The chunk is what is committed: its rows and its quarantined tasks appear together or not at all. When all chunks of a
shard are there they become the shard's one file, and the chunks go.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from scaledproc.chunks import ChunkWork, chunk_name, read_chunk, run_chunk
from scaledproc.errors import ScaledprocError
from scaledproc.events import SHOWN_FAILURES, ChunkDone, Event, ShardDone
from scaledproc.pool import Pool
from scaledproc.run_folder import WORK_ERROR_SCHEMA, Run, shard_name, work_name
from scaledproc.staging import Direct, StagedUnits, Stager
from scaledproc.storage import Store
from scaledproc.tables import read_tables, write_table

if TYPE_CHECKING:
    from scaledproc.planning import Chunk, Plan


FILES_SENT = 1_000  # files of a unit that are sent along with each chunk


def run_shards(run: Run, shards: Sequence[int], *, jobs: int, scratch: Path | None = None) -> Iterator[Event]:
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

    Yields
    ------
    ChunkDone, ShardDone
        In the order in which they end.

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
        done = _committed_chunks(run, shard)
        yield from done.values()
        todo = [chunk for chunk in plan.chunks(shard) if chunk.number not in done]
        left[shard] = len(todo)
        # Largest first, so that no core ends with the longest one; but staged units are used up one after the other.
        queue += sorted(todo, key=lambda chunk: -chunk.size) if run.dataset.local else todo
    if run.store.is_private or run.dataset.is_private:
        jobs = 1
    with (
        Direct(run.dataset) if run.dataset.local else Stager(run.dataset, plan, list(queue), scratch) as stager,
        Pool(min(jobs, max(len(queue), 1))) as pool,
    ):
        yield from _Loop(run, plan, stager, pool, queue, left).events()


class _Loop:
    """Stage ahead, keep the cores busy, make a shard of its chunks when the last one is there."""

    def __init__(
        self, run: Run, plan: Plan, stager: Direct | Stager, pool: Pool, queue: deque[Chunk], left: dict[int, int]
    ) -> None:
        self._run = run
        self._plan = plan
        self._stager = stager
        self._pool = pool
        self._queue = queue
        self._left = left
        self._staging: dict[Future[Any], Chunk] = {}
        self._ready: deque[tuple[Chunk, StagedUnits]] = deque()
        self._working: dict[Future[Any], Chunk] = {}
        self._merging: set[Future[Any]] = set()

    def events(self) -> Iterator[Event]:
        for shard, left in self._left.items():
            if not left:  # an earlier process ended between a shard's last chunk and the shard
                self._merge(shard)
        while self._queue or self._staging or self._ready or self._working or self._merging:
            self._stage()
            self._work()
            ended, _ = wait([*self._staging, *self._working, *self._merging], return_when=FIRST_COMPLETED)
            for future in ended:
                yield from self._end(future)

    def _stage(self) -> None:
        while self._queue and len(self._staging) + len(self._ready) < 2 * self._pool.jobs:
            is_idle = not (self._staging or self._ready or self._working)
            if not is_idle and not self._stager.admits(self._queue[0]):
                return  # until a chunk at work gives up its units
            chunk = self._queue.popleft()
            self._staging[self._stager.stage(chunk)] = chunk

    def _work(self) -> None:
        while self._ready and len(self._working) < 2 * self._pool.jobs:  # one at work and one waiting for each core
            chunk, units = self._ready.popleft()
            work = _chunk_work(self._run, self._plan, chunk, units)
            self._working[self._pool.submit(partial(run_chunk, work))] = chunk

    def _merge(self, shard: int) -> None:
        run, chunks = self._run, self._plan.n_chunks_of(shard)
        self._merging.add(self._pool.submit(partial(merge_shard, run.store, run.record.plan_id, shard, chunks)))

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


def _chunk_work(run: Run, plan: Plan, chunk: Chunk, staged: StagedUnits) -> ChunkWork:
    tasks = plan.tasks.slice(chunk.start, chunk.stop - chunk.start)
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
    )


def _files(plan: Plan, unit: int) -> frozenset[str] | int:
    """A unit's files; for a unit of many, which many chunks may share, where to read them."""
    files = plan.files_of(unit)
    return frozenset(files["path"].to_pylist()) if files.num_rows <= FILES_SENT else unit


def _committed_chunks(run: Run, shard: int) -> dict[int, ChunkDone]:
    """The chunks of a shard that an earlier process committed."""
    done = {}
    for name in run.store.names(work_name(shard, "")):
        number, _, ending = name.partition(".")
        if ending == "parquet" and number.isdecimal():
            chunk = read_chunk(run.store, run.record.plan_id, shard, int(number))
            if chunk is not None:
                done[int(number)] = chunk
    return done


def merge_shard(store: Store, plan_id: str, shard: int, chunks: int) -> ShardDone:
    """Make a macro shard's one file of its chunks, in order, and remove them.

    The errors and the report come first: the shard's file is what says that all of it is there.
    """
    started = time.perf_counter()
    parts: list[ChunkDone] = []
    for number in range(chunks):
        part = read_chunk(store, plan_id, shard, number)
        if part is None:
            raise ScaledprocError(f"chunk {number} of shard {shard} is gone or damaged; run the same command again")
        parts.append(part)
    names = [chunk_name(shard, part.chunk) for part in parts]
    failed = [f"{name}.errors.parquet" for name, part in zip(names, parts, strict=True) if part.quarantined]
    if failed:
        with store.committing(work_name(shard, "errors.parquet")) as target:
            write_table(target, WORK_ERROR_SCHEMA, (table for name in failed for table in read_tables(store, name)))
    with store.open(f"{names[0]}.parquet") as source:
        schema = pq.read_schema(source).remove_metadata()
    tables = (table.cast(schema) for name in names for table in read_tables(store, f"{name}.parquet"))
    with store.committing(shard_name(shard)) as target:
        rows = write_table(target, schema, tables)
        if rows != sum(part.rows for part in parts):
            raise ScaledprocError(f"shard {shard} has {rows} rows, not those of its chunks; run the same command again")
        done = ShardDone(
            shard=shard,
            tasks=sum(part.tasks for part in parts),
            rows=rows,
            size=sum(part.size for part in parts),
            seconds=sum(part.seconds for part in parts) + time.perf_counter() - started,
            quarantined=sum(part.quarantined for part in parts),
            failures=tuple(failure for part in parts for failure in part.failures)[:SHOWN_FAILURES],
        )
        store.write(work_name(shard, "shard.json"), json.dumps(done.to_dict()).encode())
    for name in names:
        store.remove(f"{name}.parquet")
    for name in failed:
        store.remove(name)
    return done
