"""Chunks to macro shards; and the parts of a shard that several machines made, put together in the plan's order."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, lru_cache
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from scaledproc._util.digests import digest_of
from scaledproc.errors import DamagedError, ScaledprocError
from scaledproc.events import SHOWN_FAILURES, ChunkDone, ShardDone
from scaledproc.execution.chunks.chunk import Outputs, RefusedRows, fill, made_together, stored_schema, until_taken
from scaledproc.execution.chunks.chunk_work import TOGETHER
from scaledproc.execution.chunks.committed import ChunkFooter, chunk_name, open_chunk
from scaledproc.execution.chunks.quarantine import ErrorRows, read_rows
from scaledproc.execution.chunks.said import SaidRows
from scaledproc.execution.tables.table_files import finish_in_process, finish_made_shard
from scaledproc.run_folder.names import (
    PARTS,
    SAID_SCHEMA,
    WORK_ERROR_SCHEMA,
    report_name,
    shard_errors_name,
    shard_name,
    shard_said_name,
    table_report_name,
)
from scaledproc.run_folder.record import plan_of
from scaledproc.run_folder.shard_report import costs_of, unknown_costs, write_report
from scaledproc.storage.parquet import (
    Writer,
    damage_told,
    open_reader,
    read_note,
    read_tables,
    tables_in,
    write_table,
)
from scaledproc.storage.row_groups import Rows
from scaledproc.storage.store import scratch_folder

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from scaledproc.execution.chunks.chunk_work import ChunkWork
    from scaledproc.execution.chunks.costs import Cost
    from scaledproc.execution.tables.table_files import Finishing
    from scaledproc.run_folder.folder import RunFolder
    from scaledproc.storage.store import Store


PRESENT = "present.json"


def part_name(shard: int, folder: str = PARTS) -> str:
    """A machine's part of a macro shard, without its ending."""
    return f"{folder}/{shard:05d}"


def note_present(folder: Path, tasks: int) -> None:
    """Leave beside a machine's parts how many tasks it had, also where it had none."""
    (folder / PRESENT).write_text(json.dumps({"tasks": tasks}), encoding="utf-8")


def present_tasks(store: Store, folder: str) -> dict[str, int]:
    """How many tasks the machines of a job had, by machine; only of those that came to their end."""
    found = {}
    for host in store.names(folder):
        try:
            found[host] = int(json.loads(store.read(f"{folder}/{host}/{PRESENT}"))["tasks"])
        except (FileNotFoundError, ValueError, KeyError, TypeError, RecursionError):
            continue
    return found


def merge_shard(store: Store, work_id: str, shard: int, chunks: int, finishing: Finishing | None = None) -> ShardDone:
    """Make a macro shard's one file of its chunks, in order, and remove them.

    The report comes last, and says that all of it is there: a file of the shard may be an earlier run's.

    Parameters
    ----------
    store, work_id
        The run's folder, and which beginning of the run it is.
    shard, chunks
        Which shard, and how many chunks it has.
    finishing
        What its files of the tables are made with, where the tables are folders.

    Raises
    ------
    ScaledprocError
        If a chunk of the shard is gone or damaged.
    """
    (done,) = merge_shards(store, work_id, [(shard, chunks)], finishing)
    return done


def merge_shards(
    store: Store, work_id: str, shards: Sequence[tuple[int, int]], finishing: Finishing | None = None
) -> list[ShardDone]:
    """Make shards as `merge_shard` does, and commit them together; only the first ones where it takes long.

    Parameters
    ----------
    store, work_id, finishing
        As for `merge_shard`.
    shards
        Which shards, each with the number of its chunks.
    """
    started = time.perf_counter()
    made: list[tuple[ShardDone, list[ChunkDone]]] = []
    replacing = {name for shard, _ in shards for name in (shard_name(shard), shard_said_name(shard))}
    with store.committing_together(replacing=replacing) as path:
        for shard, chunks in shards:
            if made and time.perf_counter() - started > TOGETHER:
                break
            made.append(_merge(store, work_id, shard, chunks, finishing, path))
    for _, parts in made:
        _remove_chunks(store, parts)
    return [done for done, _ in made]


def _merge(
    store: Store,
    work_id: str,
    shard: int,
    chunks: int,
    finishing: Finishing | None,
    path: Callable[[str, int], Path],
) -> tuple[ShardDone, list[ChunkDone]]:
    started = time.perf_counter()
    footers: list[ChunkFooter] = []
    tables = _read_chunks(store, work_id, shard, range(chunks), footers)
    target = path(shard_name(shard), 0)
    with Writer(target, next(tables).schema) as writer:
        writer.write_tables(tables)
        counts = [count for footer in footers for count in footer.counts]
        note_shard(writer, plan_of(work_id), shard, counts)
    parts = [footer.done for footer in footers]
    digest = digest_of(target)
    made = None if finishing is None else finish_in_process(finishing, shard, target, digest, counts)
    done = replace(_added_up(parts, writer.rows, time.perf_counter() - started), digest=digest)
    if made is not None:
        path(table_report_name(shard), 0).write_bytes(made)
    _write_errors(store, parts, path(shard_errors_name(shard), 1))  # without which the report does not count
    if done.said:
        _write_said(store, parts, path(shard_said_name(shard), 0))
    path(report_name(shard), 1).write_bytes(write_report(done, _costs_of(footers)))
    return done, parts


def make_shards(chunks: Sequence[ChunkWork]) -> list[tuple[ChunkDone, ShardDone]]:
    """Make small macro shards that are one chunk each, and commit them together; only the first where it takes long.

    They are as `run_chunk` and `merge_shard` make them, without the steps between. For local disks.
    """
    with chunks[0].store.committing_together() as path:
        return made_together(chunks, lambda work: _make_shard(work, path))


def _make_shard(work: ChunkWork, path: Callable[[str, int], Path]) -> tuple[ChunkDone, ShardDone]:
    target, error_target = path(shard_name(work.shard), 0), path(shard_errors_name(work.shard), 0)

    @cache
    def said_target() -> Path:
        return path(shard_said_name(work.shard), 0)

    def make(refused: RefusedRows) -> tuple[ChunkDone, int, float, tuple[Cost, ...]]:
        started = time.perf_counter()
        with (
            Writer(target, stored_schema(work)) as writer,
            ErrorRows(lambda: contextlib.nullcontext(error_target)) as errors,
            SaidRows(lambda: contextlib.nullcontext(said_target())) as said,
        ):
            chunk, counts, costs = fill(work, Outputs(writer, errors, said), refused)
            note_shard(writer, plan_of(work.work_id), work.shard, counts)
        if not errors.count:
            error_target.write_bytes(no_errors())
        return chunk, writer.rows, time.perf_counter() - started, costs

    chunk, rows, seconds, costs = until_taken(make)
    done = _added_up([chunk], rows, seconds - chunk.seconds)
    done = replace(done, digest=digest_of(target))
    if work.finishing is not None:
        finishing_since = time.perf_counter()
        made = finish_made_shard(
            work.finishing,
            work.shard,
            target,
            done.digest,
            _counts_in(target, done),
            lambda name: contextlib.nullcontext(path(name, 0)),
        )
        if made is not None:
            path(table_report_name(work.shard), 0).write_bytes(made)
        done = replace(done, seconds=done.seconds + time.perf_counter() - finishing_since)
    path(report_name(work.shard), 1).write_bytes(write_report(done, costs_of(costs, done.tasks)))
    return chunk, done


def _counts_in(path: Path, done: ShardDone) -> list[int]:
    """How many rows each task gave, as a shard's own file says."""
    with path.open("rb") as source, open_reader(source) as file:
        counts: list[int] = counts_of(read_note(file, source), done.tasks, done.rows).tolist()
        return counts


@lru_cache(maxsize=1)
def no_errors() -> bytes:
    """A shard's table of errors where no task failed."""
    with scratch_folder() as folder:
        write_table(folder / "errors", WORK_ERROR_SCHEMA, [])
        return (folder / "errors").read_bytes()


def merge_part(store: Store, work_id: str, shard: int, chunks: Sequence[int]) -> ShardDone:
    """Make one file of the chunks of a macro shard of which this machine had some tasks, and remove them.

    Its footer says which tasks these were and how many rows each gave: `assemble_shard` puts a shard together by that.
    """
    started = time.perf_counter()
    footers: list[ChunkFooter] = []
    tables = _read_chunks(store, work_id, shard, chunks, footers)
    with store.committing_together() as path:
        with Writer(path(f"{part_name(shard)}.parquet", 1), next(tables).schema) as writer:
            writer.write_tables(tables)
            parts = [footer.done for footer in footers]
            done = _added_up(parts, writer.rows, time.perf_counter() - started)
            positions = [position for footer in footers for position in footer.positions]
            counts = [count for footer in footers for count in footer.counts]
            said = {"plan_id": plan_of(work_id), "done": done.to_dict()}
            writer.note(said, {"positions": positions, "counts": counts, "costs": _costs_of(footers).tolist()})
        _write_errors(store, parts, path(f"{part_name(shard)}.errors.parquet", 0))
        if done.said:
            _write_said(store, parts, path(f"{part_name(shard)}.said.parquet", 0))
    _remove_chunks(store, parts)
    return done


def assemble_shard(run: RunFolder, shard: int, folders: Sequence[str]) -> ShardDone:
    """Make a macro shard's one file of the parts that several machines made of it.

    Parameters
    ----------
    run
        Its folder holds the parts.
    shard
        Its number.
    folders
        The machines' folders.

    Raises
    ------
    ScaledprocError
        If a task was done by no machine, or by two; or a part is another plan's.
    """
    started = time.perf_counter()
    store, plan = run.store, run.plan
    start, stop = int(plan.shard_cuts[shard]), int(plan.shard_cuts[shard + 1])
    parts = [part for folder in folders if (part := _Part.read(store, part_name(shard, folder), run.record.plan_id))]
    machine = _who_did(parts, start, stop, lambda task: str(plan.tasks["anchor"][task].as_py()))
    _assemble_errors(run, shard, parts)
    _assemble_said(run, shard, parts)
    with store.committing(shard_name(shard), replacing=True) as target:
        counts = [iter(part.counts.tolist()) for part in parts]
        with Writer(target, _schema_of(store, parts[0].name)) as writer:
            writer.write_tables(_interleaved(store, parts, machine))
            note_shard(writer, run.record.plan_id, shard, [next(counts[number]) for number in machine.tolist()])
        costs = unknown_costs(stop - start)
        for part in parts:
            costs[part.positions - start] = part.costs
        merged = _added_up([part.done for part in parts], writer.rows, time.perf_counter() - started)
        merged = replace(merged, digest=digest_of(target))
    store.write(report_name(shard), write_report(merged, costs))
    return merged


def _assemble_errors(run: RunFolder, shard: int, parts: Sequence[_Part]) -> None:
    """The quarantined tasks of all parts in the plan's order, which each part has its own in already."""
    plan = run.plan
    start, stop = int(plan.shard_cuts[shard]), int(plan.shard_cuts[shard + 1])
    place = {anchor: at for at, anchor in enumerate(plan.tasks["anchor"].slice(start, stop - start).to_pylist())}
    names = [f"{part.name}.errors.parquet" for part in parts]
    failed = [
        (place[anchor], number)
        for number, name in enumerate(names)
        for table in read_tables(run.store, name, ["anchor"])
        for anchor in table["anchor"].to_pylist()
    ]
    rows = [Rows(read_tables(run.store, name)) for name in names]
    with run.store.committing(shard_errors_name(shard)) as target:
        write_table(target, WORK_ERROR_SCHEMA, (row for _, number in sorted(failed) for row in rows[number].take(1)))


def _assemble_said(run: RunFolder, shard: int, parts: Sequence[_Part]) -> None:
    """What the tasks of all parts said, in the plan's order."""
    if not any(part.done.said for part in parts):
        return
    start, stop = run.plan.shard_cuts[shard : shard + 2].tolist()
    tables = (
        table
        for part in parts
        for table in read_rows(run.store, f"{part.name}.said.parquet", part.done.said, f"{part.name}.parquet")
    )
    with run.store.committing(shard_said_name(shard), replacing=True) as target:
        write_table(target, SAID_SCHEMA, in_order(tables, run.plan.tasks["anchor"].slice(start, stop - start)))


def in_order(tables: Iterable[pa.Table], anchors: pa.ChunkedArray) -> Iterator[pa.Table]:
    """What tasks said, put in the order of some tasks of the plan, which are all of theirs."""
    import pyarrow.compute as pc

    found = pa.concat_tables([SAID_SCHEMA.empty_table(), *tables])
    place = pc.index_in(found["anchor"], value_set=anchors.cast(pa.string()).combine_chunks()).to_numpy()
    yield found.take(pa.array(np.argsort(place, kind="stable")))


class _Part:
    """A machine's part of a shard."""

    def __init__(self, name: str, said: dict[str, Any]) -> None:
        self.name = name
        self.positions: NDArray[np.int64] = np.array(said["positions"], np.int64)
        self.counts: NDArray[np.int64] = np.array(said["counts"], np.int64)
        self.costs = costs_of(said.get("costs", ()), len(self.positions))
        self.done = ShardDone.from_dict(said["done"])

    @classmethod
    def read(cls, store: Store, name: str, plan_id: str) -> _Part | None:
        try:
            with store.open_for_arrow(f"{name}.parquet") as source, open_reader(source) as file:
                said = read_note(file, source)
        except FileNotFoundError:
            return None  # a machine that had none of its tasks
        except (KeyError, TypeError, ValueError) as error:
            raise ScaledprocError(f"{store}/{name}.parquet is damaged: {error}") from None
        if said["plan_id"] != plan_id:
            raise ScaledprocError(f"{store}/{name}.parquet is of another plan")
        return cls(name, said)


def _who_did(parts: Sequence[_Part], start: int, stop: int, name: Callable[[int], str]) -> NDArray[np.int64]:
    """Which part has each task, shape (tasks,): exactly one, or it is an error."""
    machine = np.full(stop - start, -1, np.int64)
    for number, part in enumerate(parts):
        places = part.positions - start
        if len(places) and (places.min() < 0 or places.max() >= len(machine) or (np.diff(places) <= 0).any()):
            raise ScaledprocError(f"{part.name}.parquet names tasks that are not its shard's")
        twice = np.flatnonzero(machine[places] >= 0)
        if len(twice):
            task = name(int(part.positions[twice[0]]))
            raise ScaledprocError(f"{len(twice):,} tasks were done by two machines (the first is {task!r})")
        machine[places] = number
    missing = np.flatnonzero(machine < 0)
    if len(missing):
        raise ScaledprocError(
            f"{len(missing):,} tasks were done by no machine (the first is {name(start + int(missing[0]))!r}): were "
            "their files removed since they were listed? The same command tries again"
        )
    return machine


def _interleaved(store: Store, parts: Sequence[_Part], machine: NDArray[np.int64]) -> Iterator[pa.Table]:
    """The rows of all parts in the plan's order."""
    rows = [Rows(read_tables(store, f"{part.name}.parquet")) for part in parts]
    counts = [iter(part.counts.tolist()) for part in parts]
    for number in machine.tolist():
        yield from rows[number].take(next(counts[number]))


def note_shard(writer: Writer, plan_id: str, shard: int, counts: Sequence[int]) -> None:
    """What a shard's file says of itself: its plan, its place, and how many rows each of its tasks gave, in runs."""
    runs = [[count, sum(1 for _ in same)] for count, same in groupby(counts)]
    writer.note({"plan_id": plan_id, "shard": shard}, {"counts": runs})


def counts_of(said: Mapping[str, Any], tasks: int, rows: int) -> NDArray[np.int64]:
    """How many rows each task of a shard gave, shape (tasks,), from what its file says of itself.

    Raises
    ------
    ValueError, TypeError, KeyError
        If the report is not of so many tasks and rows.
    """
    runs = np.asarray(said["counts"], np.int64).reshape(-1, 2)
    if runs.min(initial=0) < 0 or int(runs[:, 1].sum()) != tasks or int(runs.prod(axis=1).sum()) != rows:
        raise ValueError(f"its footer does not account for {tasks:,} tasks with {rows:,} rows")
    return np.repeat(runs[:, 0], runs[:, 1])


def _read_chunks(
    store: Store, work_id: str, shard: int, chunks: Sequence[int], footers: list[ChunkFooter]
) -> Iterator[pa.Table]:
    """An empty table of the chunks' columns, then their rows; each is asked for once, and its footer is added."""
    for number in chunks:
        name = f"{chunk_name(shard, number)}.parquet"
        with open_chunk(store, work_id, shard, number) as found:
            if found is None or (footers and not found[0].schema.equals(footers[0].schema)):
                raise ScaledprocError(f"chunk {number} of shard {shard} is gone or damaged; run the same command again")
            footer, file = found
            if not footers:
                yield footer.schema.empty_table()
            footers.append(footer)
            try:
                with damage_told(store, name):
                    yield from tables_in(file)
            except DamagedError:
                store.remove(name)  # so that it is made anew
                raise


def _costs_of(footers: Sequence[ChunkFooter]) -> NDArray[np.int64]:
    """What each task of some chunks cost, shape (tasks, 4)."""
    return np.concatenate([unknown_costs(0), *(footer.costs for footer in footers)])


def _schema_of(store: Store, name: str) -> pa.Schema:
    with store.open_for_arrow(f"{name}.parquet") as source:
        return pq.read_schema(source).remove_metadata()


def _write_errors(store: Store, parts: Sequence[ChunkDone], path: Path) -> None:
    """The quarantined tasks of chunks, also where there are none: a file that is missing is then a fault."""
    if not any(part.quarantined for part in parts):  # as nearly always
        path.write_bytes(no_errors())
        return
    write_table(path, WORK_ERROR_SCHEMA, _errors_of(store, parts))


def _write_said(store: Store, parts: Sequence[ChunkDone], path: Path) -> None:
    """What the tasks of chunks said."""
    names = [(part, chunk_name(part.shard, part.chunk)) for part in parts]
    tables = (
        table
        for part, chunk in names
        for table in read_rows(store, f"{chunk}.said.parquet", part.said, f"{chunk}.parquet")
    )
    write_table(path, SAID_SCHEMA, tables)


def _errors_of(store: Store, parts: Sequence[ChunkDone]) -> Iterator[pa.Table]:
    """The quarantined tasks of chunks."""
    for part in parts:
        name = chunk_name(part.shard, part.chunk)
        yield from read_rows(store, f"{name}.errors.parquet", part.quarantined, f"{name}.parquet")


def _added_up(parts: Sequence[ChunkDone | ShardDone], rows: int, seconds: float) -> ShardDone:
    """What became of a shard, from what became of its parts.

    Raises
    ------
    ScaledprocError
        If the number of rows is not the sum of what the parts told.
    """
    shard = parts[0].shard
    if rows != sum(part.rows for part in parts):
        raise ScaledprocError(f"shard {shard} has {rows} rows, not those of its chunks; run the same command again")
    return ShardDone(
        shard=shard,
        tasks=sum(part.tasks for part in parts),
        rows=rows,
        size=sum(part.size for part in parts),
        seconds=sum(part.seconds for part in parts) + seconds,
        quarantined=sum(part.quarantined for part in parts),
        failures=tuple(failure for part in parts for failure in part.failures)[:SHOWN_FAILURES],
        said=sum(part.said for part in parts),
        staging=sum(part.staging for part in parts),
    )


def _remove_chunks(store: Store, parts: Sequence[ChunkDone]) -> None:
    names = {chunk_name(part.shard, part.chunk): part for part in parts}
    store.remove_files([f"{name}.parquet" for name in names])
    store.remove_files([f"{name}.errors.parquet" for name, part in names.items() if part.quarantined])
    store.remove_files([f"{name}.said.parquet" for name, part in names.items() if part.said])
