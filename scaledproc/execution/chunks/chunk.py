"""One chunk: its tasks through the extractor, its rows and its quarantined tasks into one commit."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from scaledproc._util.redaction import redacted
from scaledproc._util.text import clean_text
from scaledproc.events import ChunkDone
from scaledproc.execution.chunks.chunk_work import TOGETHER, ChunkWork, PieceDone
from scaledproc.execution.chunks.committed import chunk_name
from scaledproc.execution.chunks.costs import Cost, Meter
from scaledproc.execution.chunks.loading import UnitFiles, listed_files, load_cached
from scaledproc.execution.chunks.missing_dataset import DatasetRetries, UnreadError, is_refused
from scaledproc.execution.chunks.quarantine import ErrorRows
from scaledproc.execution.chunks.said import SaidRows
from scaledproc.execution.chunks.task_call import error_row, run_task
from scaledproc.execution.workers.printing import printed, watch_questions
from scaledproc.execution.workers.recovery import ChunkPiece
from scaledproc.execution.workers.worker_guard import between_tasks, end_part, guard, is_worker, is_worn
from scaledproc.extractors import Extractor, Task
from scaledproc.extractors.rows.collector import REFUSALS, RefusedRowsError, RowCollector, SchemaError, refused_among
from scaledproc.extractors.rows.several import collector_for, schema_between
from scaledproc.planning.shared_files import check_shared, paths_of
from scaledproc.storage.local_files import Watch, forget
from scaledproc.storage.parquet import Writer, as_stored, open_reader, tables_in

T = TypeVar("T")

_DENIED = PermissionError.__name__


class _RefusedTasksError(Exception):
    """Rows of some tasks cannot be written: what was done has to be done again without these."""

    def __init__(self, errors: Mapping[int, SchemaError]) -> None:
        super().__init__("; ".join(map(str, errors.values())))
        self.errors = errors


def run_chunk(work: ChunkWork) -> ChunkDone:
    """Extract the features of a chunk's tasks and commit them.

    Raises
    ------
    UsageError
        If the extractor cannot be loaded, or its code was edited since the run's processes loaded it.
    OSError
        If the run's folder cannot be written.
    WorkerLostError
        If this process has too little memory or too few files left for its tasks, so that a fresh one must do them.
    DatasetAwayError
        If the dataset is not there any more, and did not come back in time.
    UnreadError
        If some files could not be read, and the chunk is to be tried again.
    ScaledprocError
        If a file that the extractor declared was edited while the run was at work.
    """
    return until_taken(lambda refused: _commit(work, lambda out: _run_all(work, out, refused)))


def run_chunks(works: Sequence[ChunkWork]) -> list[ChunkDone]:
    """Make chunks as `run_chunk` does, and commit them together; only the first where it takes long.

    For local disks; raises what `run_chunk` does, and nothing is committed then.
    """
    with works[0].store.committing_together() as path:
        return made_together(works, lambda work: _make_chunk(work, path))


def made_together(works: Sequence[ChunkWork], make: Callable[[ChunkWork], T]) -> list[T]:
    """What is made of chunks, one after the other, until it took long enough or this process is worn."""
    started = time.perf_counter()
    made: list[T] = []
    for work in works:
        if made and (time.perf_counter() - started > TOGETHER or is_worn()):
            break
        made.append(make(work))
        end_part(len(work.tasks))
    return made


def _make_chunk(work: ChunkWork, path: Callable[[str, int], Path]) -> ChunkDone:
    """Make a chunk at paths that are given by name and step; the features come in the last step."""
    name = chunk_name(work.shard, work.chunk)
    target = path(f"{name}.parquet", 1)

    @cache  # as it may be made more than once
    def beside(what: str) -> Path:
        return path(f"{name}.{what}.parquet", 0)

    def make(refused: RefusedRows) -> ChunkDone:
        with (
            ErrorRows(lambda: contextlib.nullcontext(beside("errors"))) as errors,
            SaidRows(lambda: contextlib.nullcontext(beside("said"))) as said,
        ):
            return _write_chunk(work, target, errors, said, lambda out: _run_all(work, out, refused))

    return until_taken(make)


def run_piece(work: ChunkWork, piece: ChunkPiece, path: Path) -> PieceDone:
    """Extract the features of some of a chunk's tasks, and keep them in a local file; raises what `run_chunk` does."""
    error_path, said_path = path.with_suffix(".errors.parquet"), path.with_suffix(".said.parquet")

    def make(refused: RefusedRows) -> PieceDone:
        with (
            Writer(
                path, schema_between(load_cached(work.source, work.options, work.code)), for_queries=False
            ) as writer,
            ErrorRows(lambda: contextlib.nullcontext(error_path)) as errors,
            SaidRows(lambda: contextlib.nullcontext(said_path)) as said,
        ):
            made = _run_tasks(work, piece, Outputs(writer, errors, said), refused)
        return replace(
            made,
            path=path,
            error_path=error_path if errors.count else None,
            said_path=said_path if said.count else None,
        )

    own = guard()
    factor = work.limits.memory_step if piece.is_alone else 1
    with own.more_memory(factor) if own is not None else contextlib.nullcontext():
        return until_taken(make)


@dataclass(frozen=True)
class RefusedRows:
    """What of a chunk was refused when it was made before.

    Parameters
    ----------
    errors
        Why, by the tasks' places.
    is_careful
        Whether Parquet refused some rows: then each task's are tried alone, so that it is known whose they are.
    """

    errors: Mapping[int, SchemaError] = field(default_factory=dict)
    is_careful: bool = False


@dataclass(frozen=True)
class Outputs:
    """Where a chunk's work goes: the rows of its tasks, those of its errors, and what its tasks said."""

    writer: Writer
    errors: ErrorRows
    said: SaidRows


def until_taken(make: Callable[[RefusedRows], T]) -> T:
    """Make something of all tasks; where rows are refused that passed all checks, once more without their tasks."""
    refused = RefusedRows()
    while True:
        try:
            return make(refused)
        except _RefusedTasksError as error:
            if refused.errors.keys() & error.errors.keys():
                raise
            refused = replace(refused, errors={**refused.errors, **error.errors})
        except MemoryError:
            raise
        except REFUSALS:
            if refused.is_careful:
                raise
            refused = replace(refused, is_careful=True)


def assemble_chunk(work: ChunkWork, pieces: Sequence[PieceDone]) -> ChunkDone:
    """Commit a chunk of its pieces, given in order and with all its tasks; raises `UnreadError` as `run_chunk`."""
    return _commit(work, lambda out: _put_together(pieces, out))


def fill(work: ChunkWork, out: Outputs, refused: RefusedRows) -> tuple[ChunkDone, list[int], tuple[Cost, ...]]:
    """Write what all of a chunk's tasks give; what became of them, how many rows each gave, and what it cost."""
    made = _run_all(work, out, refused)
    return _done(work, made, out), np.diff(made.ends, prepend=0).tolist(), made.costs


def stored_schema(work: ChunkWork) -> pa.Schema:
    """The columns of a chunk as they are read from its file, which a shard is made with."""
    return schema_in_files(load_cached(work.source, work.options))


def schema_in_files(extractor: Extractor) -> pa.Schema:
    """The columns of an extractor's rows, of all its tables, as they are read from a file."""
    return as_stored(schema_between(extractor))


def _put_together(pieces: Sequence[PieceDone], out: Outputs) -> PieceDone:
    ends: list[int] = []
    for piece in pieces:
        before = ends[-1] if ends else 0
        ends += [before + end for end in piece.ends]
        if piece.path is not None:
            with open_reader(piece.path) as file:
                out.writer.write_tables(tables_in(file))
        if piece.error_path is not None:
            with open_reader(piece.error_path) as file:
                for table in tables_in(file):
                    for row in table.to_pylist():
                        out.errors.append(row)
        if piece.said_path is not None:
            with open_reader(piece.said_path) as file:
                for table in tables_in(file):
                    for row in table.to_pylist():
                        out.said.take(row)
        for row in piece.errors:
            out.errors.append(row)
    return PieceDone(
        0,
        tuple(ends),
        sum(piece.seconds for piece in pieces),
        unread=sum(piece.unread for piece in pieces),
        gone=sum(piece.gone for piece in pieces),
        example=next((piece.example for piece in pieces if piece.example), ""),
        refused=sum(piece.refused for piece in pieces),
        costs=tuple(cost for piece in pieces for cost in piece.costs),
    )


def _commit(work: ChunkWork, write: Callable[[Outputs], PieceDone]) -> ChunkDone:
    name = chunk_name(work.shard, work.chunk)
    with (
        work.store.committing(f"{name}.parquet") as part,
        # Left, and so committed, before the features: these are what says that the chunk is there.
        ErrorRows(lambda: work.store.committing(f"{name}.errors.parquet")) as errors,
        SaidRows(lambda: work.store.committing(f"{name}.said.parquet")) as said_rows,
    ):
        return _write_chunk(work, part, errors, said_rows, write)


def _write_chunk(
    work: ChunkWork, path: Path, errors: ErrorRows, said_rows: SaidRows, write: Callable[[Outputs], PieceDone]
) -> ChunkDone:
    schema = schema_between(load_cached(work.source, work.options, work.code))
    with Writer(path, schema, for_queries=False) as writer:
        out = Outputs(writer, errors, said_rows)
        made = write(out)
        done = _done(work, made, out)
        said = {"work_id": work.work_id, "done": done.to_dict()}
        writer.note(said, {"ends": made.ends, "positions": work.positions, "costs": made.costs})
    return done


def _done(work: ChunkWork, made: PieceDone, out: Outputs) -> ChunkDone:
    """What became of a chunk that is about to be committed.

    Raises
    ------
    UnreadError
        If some of its files could not be read, or the files of all tasks were refused, and the chunk is to be tried
        again.
    """
    if (made.unread or made.gone) and not work.is_last:
        raise UnreadError(made.unread, made.gone, len(made.ends), made.example)
    if made.refused == len(work.tasks) and not work.is_last:
        raise UnreadError(0, 0, made.refused, made.example, made.refused)
    return ChunkDone(
        shard=work.shard,
        chunk=work.chunk,
        tasks=len(work.tasks),
        rows=made.ends[-1] if made.ends else 0,
        size=work.size,
        seconds=made.seconds,
        quarantined=out.errors.count,
        failures=out.errors.first,
        said=out.said.count,
        staging=work.staging,
    )


def _run_all(work: ChunkWork, out: Outputs, refused: RefusedRows) -> PieceDone:
    return _run_tasks(work, ChunkPiece(0, len(work.tasks)), out, refused)


def _run_tasks(work: ChunkWork, piece: ChunkPiece, out: Outputs, refused: RefusedRows) -> PieceDone:
    """Extract some of a chunk's tasks, but those whose rows were refused, and write their rows."""
    started = time.perf_counter()
    extractor = load_cached(work.source, work.options, work.code)
    extractor.expect(work.ahead)
    collector = collector_for(extractor)
    shared = paths_of(work.shared)
    last: str | None = None
    ends: list[int] = []
    costs: list[Cost] = []
    held: list[int] = []  # whose rows are not yet written
    own = guard()
    dataset_retries = DatasetRetries(_say)
    refused_files, refusal = 0, ""
    meter = Meter()
    has_read = True
    if not is_worker():
        watch_questions()
    try:
        for place in range(piece.start, piece.stop):
            group, unit, anchor = work.tasks[place]
            staged = work.staged[unit]
            if unit != last:
                last, sizes = unit, work.files[unit]
                if isinstance(sizes, int):
                    has_read = True
                    listed = listed_files(work.store, sizes)
                else:
                    listed = UnitFiles.of(sizes)
            files = listed.files
            watch = Watch(str(staged.root), listed.sizes if staged.is_dataset else None)
            task = Task(group, unit, anchor, staged.root, files, shared, watch=watch)
            if own is not None and place > piece.start:
                own.between(place)
            meter.begin(has_read=has_read)
            has_read = False
            attempts, has_run = 1, False
            if place in refused.errors:
                error: dict[str, Any] | None = error_row(task, refused.errors[place], 1)
            else:
                may_wait = dataset_retries if staged.is_dataset else None
                has_run = True
                error, attempts = run_task(
                    extractor, task, staged.problem, collector, place, piece.losses, work.limits, may_wait
                )
                if watch.shared:  # whatever became of the task: it may have failed for that
                    check_shared(work.shared, watch.shared)
            if has_run:
                out.said.of_task(task, printed.tape if error or work.limits.keep_logs else None)
            if error:
                out.errors.append(error)
                if staged.is_refused or (staged.is_dataset and error["error"] == _DENIED and is_refused(task)):
                    refused_files += 1
                    refusal = refusal or f"{task.anchor}: {error['error']}: {error['message']}"
            else:
                held.append(place)
            ends.append(collector.rows)
            costs.append(meter.end(attempts))
            if collector.is_full:
                has_read = True  # what this imports, for once
                _write_rows(out.writer, collector, held, is_careful=refused.is_careful)
        between_tasks()
        _write_rows(out.writer, collector, held, is_careful=refused.is_careful)
    except MemoryError:  # not in a task's own work
        if own is not None:
            own.out_of_memory(None)
        raise
    finally:
        meter.close()
        forget()
    return PieceDone(
        piece.start,
        tuple(ends),
        time.perf_counter() - started,
        unread=dataset_retries.counts["unread"],
        gone=dataset_retries.counts["gone"],
        example=redacted(dataset_retries.example or refusal),
        refused=refused_files,
        costs=tuple(costs),
    )


def _write_rows(writer: Writer, collector: RowCollector, held: list[int], *, is_careful: bool) -> None:
    """Write the rows that wait, which are these tasks'.

    Raises
    ------
    _RefusedTasksError
        If Arrow or Parquet refuses rows of some of the tasks.
    """
    ends = collector.ends
    try:
        table = collector.take()
        if is_careful and (errors := refused_among(ends, lambda *part: _try_to_write(table, *part))):
            raise RefusedRowsError(errors)
    except RefusedRowsError as error:
        raise _RefusedTasksError({held[number]: each for number, each in error.errors.items()}) from None
    writer.write_table(table)
    held.clear()


def _try_to_write(table: pa.Table, start: int, stop: int) -> None:
    pq.write_table(table.slice(start, stop - start), pa.BufferOutputStream(), version="2.6")


def _say(text: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # nobody may be there to read it
        print(clean_text(text), file=sys.stderr, flush=True)  # noqa: T201 - a process of a pool has no other way
