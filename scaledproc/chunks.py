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
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from scaledproc.away import Bearing, UnreadError
from scaledproc.describe import clean_text
from scaledproc.events import SHOWN_FAILURES, ChunkDone, Failure
from scaledproc.extractors import Extractor, Task, load_extractor
from scaledproc.extractors.rows import RowCollector, SchemaError
from scaledproc.faults import Piece, Verdict
from scaledproc.guard import Printed, between_tasks, guard
from scaledproc.opening import Watch, forget
from scaledproc.run_folder import INVENTORY, WORK_ERROR_SCHEMA, work_name
from scaledproc.stopping import stopping
from scaledproc.storage import Store, is_refusal, redacted
from scaledproc.tables import open_reader, open_writer, write_table

if TYPE_CHECKING:
    from scaledproc.staging import StagedUnit

METADATA = b"scaledproc"
"""The key of what a part says of itself in its Parquet footer."""
_ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{6,}\b")


class StagingError(Exception):
    """A unit's files could not be fetched."""


@dataclass(frozen=True)
class ChunkWork:
    """All that a process needs to make a chunk.

    Parameters
    ----------
    plan_id, shard, chunk, size
        Which chunk it is; its bytes.
    tasks
        (group, unit, anchor) of each.
    files, staged
        By unit: the paths of its files (or its place in the run's inventory, where they are many), and where they are.
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
    is_last
        Whether tasks whose files cannot be read are put into quarantine now, instead of being left to the end.
    """

    plan_id: str
    shard: int
    chunk: int
    size: int
    tasks: tuple[tuple[str, str, str], ...]
    files: Mapping[str, frozenset[str] | int]
    staged: Mapping[str, StagedUnit]
    store: Store
    source: str | Extractor
    options: Mapping[str, Any]
    positions: tuple[int, ...] = ()
    retries: int = 0
    ahead: int = 0
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
    errors
        Rows of errors.
    seconds
        Time at work.
    path
        A local file that has the rows, where they are not yet in the chunk.
    """

    start: int
    ends: tuple[int, ...]
    errors: tuple[Mapping[str, Any], ...]
    seconds: float
    path: Path | None = None


def chunk_name(shard: int, chunk: int) -> str:
    """The name of a committed chunk, without its ending."""
    return work_name(shard, f"{chunk:06d}")


def run_chunk(work: ChunkWork) -> ChunkDone:
    """Extract the features of a chunk's tasks and commit them.

    Raises
    ------
    UsageError
        The extractor cannot be loaded.
    OSError
        The run's folder cannot be written.
    WorkerLostError
        This process has too little left for its tasks.
    DatasetAwayError
        The dataset is not there any more.
    UnreadError
        Some files could not be read, and it is not the last time that this is tried.
    """
    everything = Piece(0, len(work.tasks))
    return _commit(work, lambda writer: _run_tasks(work, everything, writer))


def run_piece(work: ChunkWork, piece: Piece, path: Path) -> PieceDone:
    """Extract the features of some of a chunk's tasks, and keep them in a local file; raises what `run_chunk` does."""
    with open_writer(path, _load(work.source, work.options).schema) as writer:
        return replace(_run_tasks(replace(work, is_last=True), piece, writer), path=path)


def assemble_chunk(work: ChunkWork, pieces: Sequence[PieceDone]) -> ChunkDone:
    """Commit a chunk that was made in pieces, which are given in order and have all its tasks."""
    return _commit(work, lambda writer: _put_together(pieces, writer))


def _put_together(pieces: Sequence[PieceDone], writer: pq.ParquetWriter) -> PieceDone:
    ends: list[int] = []
    for piece in pieces:
        before = ends[-1] if ends else 0
        ends += [before + end for end in piece.ends]
        if piece.path is not None:
            with pq.ParquetFile(piece.path) as file:
                for batch in file.iter_batches(use_threads=False):
                    writer.write_batch(batch)
    errors = tuple(error for piece in pieces for error in piece.errors)
    return PieceDone(0, tuple(ends), errors, sum(piece.seconds for piece in pieces))


def _commit(work: ChunkWork, write: Callable[[pq.ParquetWriter], PieceDone]) -> ChunkDone:
    extractor = _load(work.source, work.options)
    name = chunk_name(work.shard, work.chunk)
    with work.store.committing(f"{name}.parquet") as part:
        with open_writer(part, extractor.schema) as writer:
            made = write(writer)
            errors = list(made.errors)
            shown = Failure.__dataclass_fields__
            done = ChunkDone(
                shard=work.shard,
                chunk=work.chunk,
                tasks=len(work.tasks),
                rows=made.ends[-1] if made.ends else 0,
                size=work.size,
                seconds=made.seconds,
                quarantined=len(errors),
                failures=tuple(Failure(**{key: error[key] for key in shown}) for error in errors[:SHOWN_FAILURES]),
            )
            said = {
                "plan_id": work.plan_id,
                "done": done.to_dict(),
                "ends": made.ends,
                "positions": work.positions,
            }
            writer.add_key_value_metadata({METADATA: json.dumps(said)})
        if errors:  # before the features: these are what says that the chunk is there
            with work.store.committing(f"{name}.errors.parquet") as error_part:
                table = pa.Table.from_pylist(errors, schema=WORK_ERROR_SCHEMA)
                write_table(error_part, WORK_ERROR_SCHEMA, [table])
    return done


def _run_tasks(work: ChunkWork, piece: Piece, writer: pq.ParquetWriter) -> PieceDone:
    """Extract some of a chunk's tasks, and write their rows."""
    started = time.perf_counter()
    extractor = _load(work.source, work.options)
    extractor.expect(work.ahead)
    collector = RowCollector(extractor.schema)
    errors: list[dict[str, Any]] = []
    ends: list[int] = []
    own = guard()
    bearing = Bearing(_say)
    try:
        for place in range(piece.start, piece.stop):
            group, unit, anchor = work.tasks[place]
            staged = work.staged[unit]
            listed = work.files[unit]
            files = _listed_files(work.store, listed) if isinstance(listed, int) else listed
            task = Task(group, unit, anchor, staged.root, files, watch=Watch(str(staged.root)))
            if own is not None and place > piece.start:
                own.between(place)
            may_wait = bearing if staged.is_dataset else None
            error = _attempt(extractor, task, staged.problem, collector, place, piece.losses, work.retries, may_wait)
            if error:
                errors.append(error)
            ends.append(collector.rows)
            if collector.is_full:
                writer.write_table(collector.take())
        between_tasks()
        writer.write_table(collector.take())
    except MemoryError:  # not in a task's own work
        if own is not None:
            own.out_of_memory(None)
        raise
    finally:
        forget()
    if any(bearing.counts.values()) and not work.is_last:
        raise UnreadError(bearing.counts["unread"], bearing.counts["gone"], len(ends), redacted(bearing.example))
    return PieceDone(piece.start, tuple(ends), tuple(errors), time.perf_counter() - started)


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


def read_footer(store: Store, plan_id: str, shard: int, chunk: int) -> ChunkFooter | None:
    """What a committed chunk says; None where it is not there whole, contradicts itself, or is another plan's."""
    with open_chunk(store, plan_id, shard, chunk) as found:
        return found[0] if found else None


@contextlib.contextmanager
def open_chunk(
    store: Store, plan_id: str, shard: int, chunk: int
) -> Iterator[tuple[ChunkFooter, pq.ParquetFile] | None]:
    """A committed chunk's footer as `read_footer` gives it, and its file: who wants both asks the store once."""
    name = chunk_name(shard, chunk)
    with contextlib.ExitStack() as held:
        try:
            file = held.enter_context(open_reader(held.enter_context(store.open(f"{name}.parquet"))))
            metadata, schema = file.metadata, file.schema_arrow.remove_metadata()
            found = json.loads(metadata.metadata[METADATA])
            done = ChunkDone.from_dict(found["done"], resumed=True)
            counts = tuple(end - start for start, end in pairwise((0, *found["ends"])))
            footer = ChunkFooter(done, counts, tuple(found["positions"]), schema)
            is_whole = (
                found["plan_id"] == plan_id
                and (done.shard, done.chunk) == (shard, chunk)
                and metadata.num_rows == done.rows == sum(counts)
                and len(counts) == done.tasks
                and min(counts, default=0) >= 0
            )
        except (FileNotFoundError, ValueError, KeyError, TypeError):
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
    store: Store, plan_id: str, shard: int, wanted: Iterable[int] = (), schema: pa.Schema | None = None
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
        chunk = read_footer(store, plan_id, shard, number)
        if chunk is not None and (schema is None or chunk.schema.equals(schema.remove_metadata())):
            yield chunk.done


def warm_up(source: str | Extractor, options: Mapping[str, Any]) -> None:
    """In a process that will make chunks: import what that needs."""
    _load(source, options)


def _load(source: str | Extractor, options: Mapping[str, Any]) -> Extractor:
    return source if isinstance(source, Extractor) else _load_named(source, json.dumps(options, sort_keys=True))


@lru_cache(maxsize=4)
def _load_named(spec: str, options: str) -> Extractor:
    """Made once in each process."""
    return load_extractor(spec, json.loads(options))


@lru_cache(maxsize=4)
def _listed_files(store: Store, unit: int) -> frozenset[str]:
    """A unit's files as the run's inventory has them."""
    with store.open(INVENTORY) as file:
        return frozenset(pq.read_table(file, columns=["path"], filters=[("unit", "=", unit)])["path"].to_pylist())


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
    return {
        "group": task.group,
        "unit": task.unit,
        "anchor": task.anchor,
        "kind": _kind(error),
        "error": type(error).__name__,
        "message": _message(error, task),
        "attempts": attempt,
        "traceback": _trace(error),
    }


def _extract(extractor: Extractor, task: Task, problem: str | None, collector: RowCollector) -> BaseException | None:
    """Add one task's rows; or say what stood in the way."""
    # What an earlier task left running may have deleted them.
    out: Any = getattr(sys, "stdout", sys.__stdout__)
    err: Any = getattr(sys, "stderr", sys.__stderr__)
    printed = Printed(err)
    try:
        if problem is not None:
            raise StagingError(problem)
        # What an extractor prints must not mix with what a program reads from standard output, nor fill a disk.
        sys.stdout = sys.stderr = printed
        watch = task.watch
        assert watch is not None  # noqa: S101
        watch.begin(task.anchor)
        collector.add(_watched(extractor.extract(task), watch))
    except BaseException as error:  # one bad task costs one task, sys.exit() included
        if isinstance(error, KeyboardInterrupt) and signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
            raise  # a person's, in this process
        return error
    finally:
        sys.stdout, sys.stderr = out, err
        printed.end(task.anchor)
    return None


def _say(text: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # nobody may be there to read it
        print(clean_text(text), file=sys.stderr, flush=True)  # noqa: T201 - a process of a pool has no other way


def _watched(returned: Any, watch: Watch) -> Any:
    """What a task returned, unless its files changed while it was at work."""
    if (
        not isinstance(returned, (list, dict))
        and isinstance(returned, Iterator)
        and not hasattr(returned, "__arrow_c_stream__")
    ):
        return _watched_to_the_end(returned, watch)  # its rows are yet to be made
    watch.check()
    return returned


def _watched_to_the_end(rows: Iterator[Any], watch: Watch) -> Iterator[Any]:
    yield from rows
    watch.check()


def _trace(error: BaseException) -> str:
    return redacted("".join(traceback.format_exception(error))).encode(errors="replace").decode()


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
    for root in dict.fromkeys((str(task.root), os.path.realpath(task.root), repr(str(task.root))[1:-1])):
        if len(root) > 1:
            text = re.sub(rf"{re.escape(root)}(?:/|(?![\w.-]))", "", text)
    return _ADDRESS.sub("0x…", redacted(text)).encode(errors="replace").decode()
