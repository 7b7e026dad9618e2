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
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from scaledproc.events import SHOWN_FAILURES, ChunkDone, Failure
from scaledproc.extractors import Extractor, Task, load_extractor
from scaledproc.extractors.rows import RowCollector, SchemaError
from scaledproc.run_folder import INVENTORY, WORK_ERROR_SCHEMA, work_name
from scaledproc.storage import Store, redacted
from scaledproc.tables import open_writer, write_table

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
    """
    started = time.perf_counter()
    extractor = _load(work.source, work.options)
    collector = RowCollector(extractor.schema)
    errors: list[dict[str, Any]] = []
    ends: list[int] = []
    name = chunk_name(work.shard, work.chunk)
    with work.store.committing(f"{name}.parquet") as part:
        with open_writer(part, extractor.schema) as writer:
            for group, unit, anchor in work.tasks:
                staged = work.staged[unit]
                listed = work.files[unit]
                files = _listed_files(work.store, listed) if isinstance(listed, int) else listed
                task = Task(group, unit, anchor, staged.root, files)
                error = _extract(extractor, task, staged.problem, collector)
                if error:
                    errors.append(error)
                ends.append(collector.rows)
                if collector.is_full:
                    writer.write_table(collector.take())
            writer.write_table(collector.take())
            shown = Failure.__dataclass_fields__
            done = ChunkDone(
                shard=work.shard,
                chunk=work.chunk,
                tasks=len(work.tasks),
                rows=collector.rows,
                size=work.size,
                seconds=time.perf_counter() - started,
                quarantined=len(errors),
                failures=tuple(Failure(**{key: error[key] for key in shown}) for error in errors[:SHOWN_FAILURES]),
            )
            said: dict[str, Any] = {"plan_id": work.plan_id, "done": done.to_dict()}
            if work.positions:
                said |= {"positions": work.positions, "ends": ends}
            writer.add_key_value_metadata({METADATA: json.dumps(said)})
        if errors:  # before the features: these are what says that the chunk is there
            with work.store.committing(f"{name}.errors.parquet") as error_part:
                table = pa.Table.from_pylist(errors, schema=WORK_ERROR_SCHEMA)
                write_table(error_part, WORK_ERROR_SCHEMA, [table])
    return done


def read_chunk(store: Store, plan_id: str, shard: int, chunk: int) -> ChunkDone | None:
    """What became of a committed chunk; None where it is not there whole, or is another plan's."""
    name = chunk_name(shard, chunk)
    try:
        with store.open(f"{name}.parquet") as file:
            metadata = pq.read_metadata(file)
        found = json.loads(metadata.metadata[METADATA])
        done = ChunkDone.from_dict(found["done"], resumed=True)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    is_whole = found["plan_id"] == plan_id and metadata.num_rows == done.rows
    return done if is_whole and (not done.quarantined or store.exists(f"{name}.errors.parquet")) else None


def committed_chunks(store: Store, plan_id: str, shard: int) -> Iterator[ChunkDone]:
    """The chunks of a macro shard that are committed and not yet made into the shard."""
    for name in store.names(work_name(shard, "")):
        number, _, ending = name.partition(".")
        if ending == "parquet" and number.isdecimal():
            chunk = read_chunk(store, plan_id, shard, int(number))
            if chunk is not None:
                yield chunk


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


def _extract(extractor: Extractor, task: Task, problem: str | None, collector: RowCollector) -> dict[str, Any] | None:
    """Add one task's rows; or say why it goes into quarantine."""
    try:
        if problem is not None:
            raise StagingError(problem)
        # What an extractor prints must not mix with what a program reads from standard output.
        with contextlib.redirect_stdout(sys.stderr):
            collector.add(extractor.extract(task))
    except BaseException as error:  # one bad task costs one task, sys.exit() included
        if isinstance(error, KeyboardInterrupt) and signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
            raise  # a person's, in this process
        trace = redacted("".join(traceback.format_exception(error)))
        return {
            "group": task.group,
            "unit": task.unit,
            "anchor": task.anchor,
            "kind": _kind(error),
            "error": type(error).__name__,
            "message": _message(error, task),
            "attempts": 1,
            "traceback": trace.encode(errors="replace").decode(),
        }
    return None


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
