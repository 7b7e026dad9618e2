"""One chunk: its tasks through the extractor, its rows and its quarantined tasks into one commit."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import wait
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from scaledproc._util.signals import stopping
from scaledproc._util.text import clean_text
from scaledproc.errors import UsageError
from scaledproc.events import ChunkDone
from scaledproc.execution.missing_dataset import Bearing, UnreadError
from scaledproc.execution.quarantine import MESSAGE, NAME, TRACE, ErrorRows, bounded, cleaned
from scaledproc.execution.workers.printing import DebuggerError, printed, was_debugged, watch_questions
from scaledproc.execution.workers.recovery import Piece, Verdict
from scaledproc.execution.workers.worker_guard import between_tasks, guard
from scaledproc.extractors import Extractor, Task, load_extractor
from scaledproc.extractors.code.fingerprint import edited_file
from scaledproc.extractors.rows.collector import REFUSALS, RefusedRowsError, RowCollector, SchemaError, refused_among
from scaledproc.planning.shared_files import AtHand, check_shared, paths_of
from scaledproc.run_folder.folder import INVENTORY, work_name
from scaledproc.storage.local_files import Watch, forget
from scaledproc.storage.parquet import Writer, open_reader, read_note, tables_in
from scaledproc.storage.store import Store, is_refusal, redacted

if TYPE_CHECKING:
    from scaledproc.execution.staging import StagedUnit

T = TypeVar("T")
_ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{6,}\b")


class StagingError(Exception):
    """A unit's files could not be fetched."""


class _RefusedTasksError(Exception):
    """Rows of some tasks cannot be written: what was done has to be done again without these."""

    def __init__(self, errors: Mapping[int, SchemaError]) -> None:
        super().__init__("; ".join(map(str, errors.values())))
        self.errors = errors


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
    retries
        How often a task that failed is tried again.
    ahead
        Bytes that the process may be given from now on, about.
    shared
        Where the files are that the extractor declared with `reads`.
    code
        The files that the extractor's code was read from when the work was begun, with their times and sizes.
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
    source: str | Extractor
    options: Mapping[str, Any]
    positions: tuple[int, ...] = ()
    retries: int = 0
    ahead: int = 0
    shared: Mapping[str, AtHand] = field(default_factory=dict)
    code: tuple[tuple[str, int, int], ...] = ()
    is_last: bool = False

    def error_row(self, verdict: Verdict) -> dict[str, Any]:
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
    path, error_path
        Local files that have the rows and the rows of errors, where they are not yet in the chunk.
    unread, gone, example
        How many of its tasks could not be done because a file could not be read, or was not there, and the first one's
        error: these are in quarantine only if they were tried for the last time.
    """

    start: int
    ends: tuple[int, ...]
    seconds: float
    errors: tuple[Mapping[str, Any], ...] = ()
    path: Path | None = None
    error_path: Path | None = None
    unread: int = 0
    gone: int = 0
    example: str = ""

    def discard(self) -> None:
        """Remove its files."""
        for path in (self.path, self.error_path):
            if path is not None:
                path.unlink(missing_ok=True)


def chunk_name(shard: int, chunk: int) -> str:
    """The name of a committed chunk, without its ending."""
    return work_name(shard, f"{chunk:06d}")


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
    everything = Piece(0, len(work.tasks))
    return until_taken(
        lambda refused: _commit(work, lambda writer, errors: _run_tasks(work, everything, writer, errors, refused))
    )


def run_piece(work: ChunkWork, piece: Piece, path: Path) -> PieceDone:
    """Extract the features of some of a chunk's tasks, and keep them in a local file; raises what `run_chunk` does."""
    error_path = path.with_suffix(".errors.parquet")

    def make(refused: Refused) -> PieceDone:
        with (
            Writer(path, _load(work.source, work.options, work.code).schema) as writer,
            ErrorRows(lambda: contextlib.nullcontext(error_path)) as errors,
        ):
            made = _run_tasks(work, piece, writer, errors, refused)
        return replace(made, path=path, error_path=error_path if errors.count else None)

    return until_taken(make)


class _Listed(NamedTuple):
    """A unit's files, and what they were like when they were listed."""

    files: frozenset[str]
    sizes: Mapping[str, int]

    @classmethod
    def of(cls, sizes: Mapping[str, int]) -> _Listed:
        return cls(frozenset(sizes), sizes)


@dataclass(frozen=True)
class Refused:
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


def until_taken(make: Callable[[Refused], T]) -> T:
    """Make something of all tasks; where rows are refused that passed all checks, once more without their tasks."""
    refused = Refused()
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
    return _commit(work, lambda writer, errors: _put_together(pieces, writer, errors))


def fill(work: ChunkWork, writer: Writer, errors: ErrorRows, refused: Refused) -> tuple[ChunkDone, list[int]]:
    """Write what all of a chunk's tasks give; what became of them, and how many rows each gave."""
    made = _run_tasks(work, Piece(0, len(work.tasks)), writer, errors, refused)
    return _done(work, made, errors), np.diff(made.ends, prepend=0).tolist()


def stored_schema(work: ChunkWork) -> pa.Schema:
    """The columns of a chunk as they are read from its file, which a shard is made with."""
    return _stored(_load(work.source, work.options).schema)


def schema_in_files(extractor: Extractor) -> pa.Schema:
    """The columns of an extractor's rows as they are read from a file."""
    return _stored(extractor.schema)


@lru_cache(maxsize=4)
def _stored(schema: pa.Schema) -> pa.Schema:
    sink = pa.BufferOutputStream()
    pq.write_table(schema.empty_table(), sink, version="2.6")
    return pq.read_schema(pa.BufferReader(sink.getvalue())).remove_metadata()


def _put_together(pieces: Sequence[PieceDone], writer: Writer, errors: ErrorRows) -> PieceDone:
    ends: list[int] = []
    for piece in pieces:
        before = ends[-1] if ends else 0
        ends += [before + end for end in piece.ends]
        if piece.path is not None:
            with open_reader(piece.path) as file:
                writer.write_tables(tables_in(file))
        if piece.error_path is not None:
            with open_reader(piece.error_path) as file:
                for table in tables_in(file):
                    for row in table.to_pylist():
                        errors.append(row)
        for row in piece.errors:
            errors.append(row)
    return PieceDone(
        0,
        tuple(ends),
        sum(piece.seconds for piece in pieces),
        unread=sum(piece.unread for piece in pieces),
        gone=sum(piece.gone for piece in pieces),
        example=next((piece.example for piece in pieces if piece.example), ""),
    )


def _commit(work: ChunkWork, write: Callable[[Writer, ErrorRows], PieceDone]) -> ChunkDone:
    name = chunk_name(work.shard, work.chunk)
    with (
        work.store.committing(f"{name}.parquet") as part,
        Writer(part, _load(work.source, work.options, work.code).schema) as writer,
        # Left, and so committed, before the features: these are what says that the chunk is there.
        ErrorRows(lambda: work.store.committing(f"{name}.errors.parquet")) as errors,
    ):
        made = write(writer, errors)
        done = _done(work, made, errors)
        said = {"work_id": work.work_id, "done": done.to_dict()}
        writer.note(said, {"ends": made.ends, "positions": work.positions})
    return done


def _done(work: ChunkWork, made: PieceDone, errors: ErrorRows) -> ChunkDone:
    """What became of a chunk that is about to be committed.

    Raises
    ------
    UnreadError
        If some of its files could not be read, and the chunk is to be tried again.
    """
    if (made.unread or made.gone) and not work.is_last:
        raise UnreadError(made.unread, made.gone, len(made.ends), made.example)
    return ChunkDone(
        shard=work.shard,
        chunk=work.chunk,
        tasks=len(work.tasks),
        rows=made.ends[-1] if made.ends else 0,
        size=work.size,
        seconds=made.seconds,
        quarantined=errors.count,
        failures=errors.first,
    )


def _run_tasks(work: ChunkWork, piece: Piece, writer: Writer, errors: ErrorRows, refused: Refused) -> PieceDone:
    """Extract some of a chunk's tasks, but those whose rows were refused, and write their rows."""
    started = time.perf_counter()
    extractor = _load(work.source, work.options, work.code)
    extractor.expect(work.ahead)
    collector = RowCollector(extractor.schema)
    shared = paths_of(work.shared)
    last: str | None = None
    ends: list[int] = []
    held: list[int] = []  # whose rows are not yet written
    own = guard()
    bearing = Bearing(_say)
    if own is None:
        watch_questions()
    try:
        for place in range(piece.start, piece.stop):
            group, unit, anchor = work.tasks[place]
            staged = work.staged[unit]
            if unit != last:
                last, sizes = unit, work.files[unit]
                listed = _listed_files(work.store, sizes) if isinstance(sizes, int) else _Listed.of(sizes)
            files = listed.files
            watch = Watch(str(staged.root), listed.sizes if staged.is_dataset else None)
            task = Task(group, unit, anchor, staged.root, files, shared, watch=watch)
            if own is not None and place > piece.start:
                own.between(place)
            if place in refused.errors:
                error: dict[str, Any] | None = _error_row(task, refused.errors[place], 1)
            else:
                may_wait = bearing if staged.is_dataset else None
                error = _attempt(
                    extractor, task, staged.problem, collector, place, piece.losses, work.retries, may_wait
                )
                if watch.shared:  # whatever became of the task: it may have failed for that
                    check_shared(work.shared, watch.shared)
            if error:
                errors.append(error)
            else:
                held.append(place)
            ends.append(collector.rows)
            if collector.is_full:
                _write_rows(writer, collector, held, is_careful=refused.is_careful)
        between_tasks()
        _write_rows(writer, collector, held, is_careful=refused.is_careful)
    except MemoryError:  # not in a task's own work
        if own is not None:
            own.out_of_memory(None)
        raise
    finally:
        forget()
    return PieceDone(
        piece.start,
        tuple(ends),
        time.perf_counter() - started,
        unread=bearing.counts["unread"],
        gone=bearing.counts["gone"],
        example=redacted(bearing.example),
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


@dataclass(frozen=True)
class ChunkFooter:
    """What a committed chunk says of itself.

    Parameters
    ----------
    done
        What became of it.
    counts
        How many rows each of its tasks gave.
    positions
        The tasks' places in the plan, where they are not all of the chunk's.
    schema
        Of its rows.
    """

    done: ChunkDone
    counts: tuple[int, ...]
    positions: tuple[int, ...]
    schema: pa.Schema


def read_footer(store: Store, work_id: str, shard: int, chunk: int) -> ChunkFooter | None:
    """What a committed chunk says; None where it is not there whole, contradicts itself, or is another run's."""
    with open_chunk(store, work_id, shard, chunk) as found:
        return found[0] if found else None


@contextlib.contextmanager
def open_chunk(
    store: Store, work_id: str, shard: int, chunk: int
) -> Iterator[tuple[ChunkFooter, pq.ParquetFile] | None]:
    """A committed chunk's footer as `read_footer` gives it, and its file: who wants both asks the store once."""
    name = chunk_name(shard, chunk)
    with contextlib.ExitStack() as held:
        try:
            source = held.enter_context(store.open_for_arrow(f"{name}.parquet"))
            file = held.enter_context(open_reader(source))
            found = read_note(file, source)
            done = ChunkDone.from_dict(found["done"], resumed=True)
            counts = tuple(np.diff(np.asarray(found["ends"], np.int64), prepend=0).tolist())
            positions = tuple(np.asarray(found["positions"], np.int64).tolist())
            footer = ChunkFooter(done, counts, positions, file.schema_arrow.remove_metadata())
            is_whole = (
                found["work_id"] == work_id
                and (done.shard, done.chunk) == (shard, chunk)
                and file.metadata.num_rows == done.rows == sum(counts)
                and len(counts) == done.tasks
                and min(counts, default=0) >= 0
            )
        except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
            is_whole = False
        except OSError as error:
            if is_refusal(error):
                raise  # that it cannot be read does not say that it is not there
            is_whole = False
        if not is_whole or (done.quarantined and not store.exists(f"{name}.errors.parquet")):
            yield None
        else:
            yield footer, file


def committed_chunks(
    store: Store, work_id: str, shard: int, wanted: Iterable[int] = (), schema: pa.Schema | None = None
) -> Iterator[ChunkDone]:
    """The chunks of a macro shard that are committed and not yet made into the shard.

    Parameters
    ----------
    wanted
        Chunks that are looked for also where they are not listed: a listing of some stores lags behind.
    schema
        Of their rows, where others do not count.
    """
    names = {name.partition(".") for name in store.names(work_name(shard, ""))}
    numbers = {int(number) for number, _, ending in names if ending == "parquet" and number.isdecimal()}
    if not store.lists_all:
        unlisted = {f"{chunk_name(shard, number)}.parquet": number for number in wanted if number not in numbers}
        numbers.update(unlisted[name] for name in store.there(unlisted))
    for number in sorted(numbers):
        chunk = read_footer(store, work_id, shard, number)
        if chunk is not None and (schema is None or chunk.schema.equals(schema.remove_metadata())):
            yield chunk.done


def warm_up(source: str | Extractor, options: Mapping[str, Any]) -> None:
    """In a process that will make chunks: import what that needs."""
    _load(source, options)


def _load(
    source: str | Extractor, options: Mapping[str, Any], code: tuple[tuple[str, int, int], ...] = ()
) -> Extractor:
    found = source if isinstance(source, Extractor) else _load_named(source, json.dumps(options, sort_keys=True))
    if code:
        _check_code(code, found.label)
    return found


@lru_cache(maxsize=4)
def _load_named(spec: str, options: str) -> Extractor:
    """The extractor of a name, made once in each process."""
    return load_extractor(spec, json.loads(options))


@lru_cache(maxsize=4)
def _check_code(code: tuple[tuple[str, int, int], ...], label: str) -> None:
    """See, once in each process, that it loaded the code that the run was planned with.

    Raises
    ------
    UsageError
        If a file of the extractor's code was edited since the run was planned.
    """
    path = edited_file(code)
    if path is not None:
        raise UsageError(
            f"{path}, which {label} is made of, was edited while the run was at work; what is committed is of the code "
            "before: the same command tells what differs"
        )


@lru_cache(maxsize=4)
def _listed_files(store: Store, unit: int) -> _Listed:
    """A unit's files as the run's inventory has them."""
    with store.open(INVENTORY) as file:
        table = pq.read_table(file, columns=["path", "size"], filters=[("unit", "=", unit)])
    return _Listed.of(dict(zip(table["path"].to_pylist(), table["size"].to_pylist(), strict=True)))


def _attempt(
    extractor: Extractor,
    task: Task,
    problem: str | None,
    collector: RowCollector,
    place: int,
    losses: int,
    retries: int,
    bearing: Bearing | None,
) -> dict[str, Any] | None:
    """Add one task's rows; or say why it goes into quarantine, after as many attempts as it may have."""
    own = guard()

    def attempted() -> BaseException | None:
        if own is not None:
            own.begin_task(place)
        error = _extract(extractor, task, problem, collector)
        if error is not None and was_debugged(error):
            error = DebuggerError().with_traceback(error.__traceback__)
        if own is not None:
            own.end_task()
        return error

    for attempt in range(losses + 1, max(losses, retries) + 2):
        error = attempted()
        if error is None:
            return None
        tries = 1  # those that failed for the file system's reasons do not count as attempts
        while error is not None and bearing is not None and (pause := bearing.pause(error, task, tries)) is not None:
            if pause:
                wait([stopping().asked], pause)
            tries += 1
            error = attempted()
        if error is None:
            return None
        if own is not None and isinstance(error, MemoryError):
            traceback.clear_frames(error.__traceback__)  # they hold what took the memory
            own.out_of_memory(place, _trace(error))
        if attempt > retries:
            break
    assert error is not None  # noqa: S101
    return _error_row(task, error, attempt)


def _error_row(task: Task, error: BaseException, attempts: int) -> dict[str, Any]:
    return {
        "group": task.group,
        "unit": task.unit,
        "anchor": task.anchor,
        "kind": _kind(error),
        "error": bounded(type(error).__name__, NAME),
        "message": _message(error, task),
        "attempts": attempts,
        "traceback": _trace(error),
    }


def _extract(extractor: Extractor, task: Task, problem: str | None, collector: RowCollector) -> BaseException | None:
    """Add one task's rows; or say what stood in the way."""
    process, was_asked = os.getpid(), stopping().signal is not None
    # What an extractor prints must not mix with what a program reads from standard output, nor fill a disk.
    before = printed.begin()
    found: BaseException | None = None
    try:
        if problem is not None:
            raise StagingError(problem)
        watch = task.watch
        assert watch is not None  # noqa: S101
        watch.begin(task.anchor)
        returned = extractor.extract(task)
        try:
            collector.add(returned, watch.check)
        except SchemaError:
            watch.check()  # then that is why
            raise
    except BaseException as error:  # one bad task costs one task, sys.exit() included
        found = error
    finally:
        printed.end(before, task.anchor)
    if os.getpid() != process:
        _end_fork(found)
    if found is not None and guard() is None:
        # In the driver's process Ctrl-C reaches the task too, and the programs that it runs.
        if isinstance(found, KeyboardInterrupt) and _is_a_persons():
            raise found
        if (stopping().signal is not None and not was_asked) or (was_debugged(found) and sys.stdin.isatty()):
            raise KeyboardInterrupt from found
    return found


def _is_a_persons() -> bool:
    """Whether a KeyboardInterrupt is of a signal: where none came, the extractor raised it by itself."""
    return stopping().signal is not None or signal.getsignal(signal.SIGINT) != stopping().hear


def _end_fork(error: BaseException | None) -> NoReturn:
    """A process that the extractor forked came out of it: it must not do the rest of the work once more."""
    code: Any = 0 if error is None else 1
    if isinstance(error, SystemExit):
        code = 0 if error.code is None else error.code
    if not isinstance(code, int) or (error is not None and not isinstance(error, SystemExit)):
        text = str(code) if isinstance(error, SystemExit) else "".join(traceback.format_exception(error))
        with contextlib.suppress(OSError):
            os.write(2, f"{text}\n".encode(errors="replace"))
        code = 1
    with contextlib.suppress(Exception):
        sys.stderr.flush()
    os._exit(code & 0xFF)


def _say(text: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # nobody may be there to read it
        print(clean_text(text), file=sys.stderr, flush=True)  # noqa: T201 - a process of a pool has no other way


def _trace(error: BaseException) -> str:
    return bounded(cleaned("".join(traceback.format_exception(error))), TRACE)


def _kind(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return "memory"
    return "schema" if isinstance(error, SchemaError) else "exception"


def _message(error: BaseException, task: Task) -> str:
    """An error's text without what differs from machine to machine: where the dataset lies, addresses in memory."""
    try:
        text = str(error)
    except Exception as broken:
        text = f"(its text cannot be had: {type(broken).__name__})"
    text = cleaned(text)
    for root in dict.fromkeys((str(task.root), os.path.realpath(task.root), repr(str(task.root))[1:-1])):
        if len(root) > 1:
            text = re.sub(rf"{re.escape(root)}(?:/|(?![\w.-]))", "", text)
    return bounded(_ADDRESS.sub("0x…", text), MESSAGE)
