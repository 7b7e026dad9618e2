"""Macro shards of rows that earlier runs have, and of those that were made for them: what a run from nothing writes."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from scaledproc._util.digests import digest_of
from scaledproc.errors import DamagedError
from scaledproc.events import SHOWN_FAILURES, ShardDone
from scaledproc.execution.chunks.chunk import schema_in_files
from scaledproc.execution.chunks.quarantine import failure_of, read_rows
from scaledproc.execution.reuse.earlier import EarlierRun, PieceRows
from scaledproc.execution.shard import in_order, no_errors, note_shard
from scaledproc.run_folder.folder import RunFolder
from scaledproc.run_folder.names import (
    SAID_SCHEMA,
    WORK_ERROR_SCHEMA,
    report_name,
    shard_errors_name,
    shard_name,
    shard_said_name,
    table_report_name,
)
from scaledproc.run_folder.shard_report import unknown_costs, write_report
from scaledproc.storage.parquet import Writer, open_reader, read_note, write_table

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from scaledproc.execution.reuse.decision import Reuse
    from scaledproc.execution.reuse.earlier import RowsFile

_BLOCK = 2**18  # bytes, which stay in a processor's cache from reading to writing
_FAR_BLOCK = 2**22  # bytes, where each may be a request

Finish = Callable[[int, "Path", str, Sequence[int]], bytes | None]
"""Makes a macro shard's files of the tables, from the shard's number, its file, its SHA-256, and how many rows each of
its tasks gave; gives their report, or None where that is left to the last step."""


@dataclass(frozen=True, eq=False)
class Origins:
    """Where the rows of all of a plan's tasks are.

    Parameters
    ----------
    runs
        The runs that have them: the earlier ones, and last the one that did the tasks that were to be done.
    run, task
        Which of these has a task's rows, and the task's place in that run's plan, shape (tasks,).
    made
        Which of `runs` did the tasks for this run; -1 where there were none to do.
    """

    runs: tuple[EarlierRun, ...]
    run: NDArray[np.int32]
    task: NDArray[np.int64]
    made: int = -1

    @classmethod
    def of(cls, reuse: Reuse, earlier: Sequence[EarlierRun], made: EarlierRun | None) -> Origins:
        """Where they are, once what was to be done is done."""
        run, task = reuse.run.copy(), reuse.task.copy()
        if made is None:
            return cls(tuple(earlier), run, task)
        todo = reuse.is_todo
        run[todo], task[todo] = len(earlier), np.arange(reuse.n_todo)
        return cls((*earlier, made), run, task, len(earlier))


@dataclass(frozen=True)
class _Stretch:
    """Consecutive tasks whose rows stand beside each other in one file."""

    run: int
    piece: int
    first: int
    stop: int


def is_copy(run: RunFolder, shard: int, origins: Origins) -> bool:
    """Whether a macro shard has just the tasks of one of an earlier run's, which is compared while it is copied."""
    stretches = list(_stretches(origins, slice(*run.plan.shard_cuts[shard : shard + 2].tolist())))
    return _whole(origins, stretches) is not None


def pieces_of(run: RunFolder, shards: Iterable[int], origins: Origins, number: int) -> set[int]:
    """Which pieces of one of the earlier runs have rows of some macro shards."""
    found: set[int] = set()
    for shard in shards:
        part = slice(*run.plan.shard_cuts[shard : shard + 2].tolist())
        tasks = origins.task[part][origins.run[part] == number]
        found.update(np.unique(origins.runs[number].piece_of(tasks)).tolist())
    return found


def make_shard(run: RunFolder, shard: int, origins: Origins, finish: Finish | None = None) -> ShardDone:
    """Make a macro shard of the rows of its tasks, wherever they are.

    Its file has the bytes that it would have had if all of its tasks had been done now.

    Parameters
    ----------
    run
        The run that is made.
    shard
        The shard's number.
    origins
        Where the rows are.
    finish
        Makes the shard's files of the tables, where these are folders and that is not left to the last step.

    Raises
    ------
    DamagedError
        If a file that rows are taken from is not what it should be.
    """
    started = time.perf_counter()
    plan, store = run.plan, run.store
    start, stop = plan.shard_cuts[shard : shard + 2].tolist()
    of_shard = slice(start, stop)
    stretches = list(_stretches(origins, of_shard))
    counts = _counts(origins, stretches)
    own = origins.run[of_shard] == origins.made
    failures: list[Any] = []
    with store.committing_together(replacing=True) as path:
        target = path(shard_name(shard), 0)
        digest = _copied(run, shard, origins, stretches, target)
        if digest is None:
            with Writer(target, schema_in_files(run.extractor)) as writer:
                writer.write_tables(_rows(origins, stretches, schema_in_files(run.extractor)))
                note_shard(writer, run.record.plan_id, shard, counts.tolist())
            if writer.rows != counts.sum():
                raise DamagedError(
                    f"shard {shard} has {writer.rows:,} rows, not {counts.sum():,}; run the command again"
                )
            digest = digest_of(target)
        quarantined, error_target = 0, path(shard_errors_name(shard), 0)
        if own.any():
            errors = _errors(origins.runs[origins.made], origins.task[of_shard][own])
            quarantined = write_table(error_target, WORK_ERROR_SCHEMA, _first_failures(errors, failures))
        else:
            error_target.write_bytes(no_errors())
        said = _said(run, shard, origins)
        if said.num_rows:
            write_table(path(shard_said_name(shard), 0), SAID_SCHEMA, [said])
        done = ShardDone(
            said=said.num_rows,
            shard=shard,
            tasks=stop - start,
            rows=int(counts.sum()),
            size=int(plan.shard_sizes[shard]),
            seconds=time.perf_counter() - started,
            quarantined=quarantined,
            failures=tuple(failures),
            digest=digest,
        )
        finished = None if finish is None else finish(shard, target, digest, counts.tolist())
        if finished is not None:
            path(table_report_name(shard), 0).write_bytes(finished)
        path(report_name(shard), 1).write_bytes(write_report(done, _costs(origins, of_shard)))
    return done


def _stretches(origins: Origins, of_shard: slice) -> Iterator[_Stretch]:
    runs, tasks = origins.run[of_shard], origins.task[of_shard]
    pieces = np.zeros(len(runs), np.int64)
    for number, each in enumerate(origins.runs):
        own = runs == number
        pieces[own] = each.piece_of(tasks[own])
    begins = (np.diff(runs) != 0) | (np.diff(pieces) != 0) | (np.diff(tasks) != 1)
    edges = np.concatenate([[0], np.flatnonzero(begins) + 1, [len(runs)]])
    for first, stop in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        yield _Stretch(int(runs[first]), int(pieces[first]), int(tasks[first]), int(tasks[stop - 1]) + 1)


def _piece(origins: Origins, stretch: _Stretch) -> RowsFile:
    return origins.runs[stretch.run].pieces[stretch.piece]


def _counts(origins: Origins, stretches: Sequence[_Stretch]) -> NDArray[np.int64]:
    """How many rows each task of a shard gave, shape (tasks,)."""
    found = [np.zeros(0, np.int64)]
    for stretch in stretches:
        piece = _piece(origins, stretch)
        found.append(piece.counts[stretch.first - piece.start : stretch.stop - piece.start])
    return np.concatenate(found)


def _costs(origins: Origins, of_shard: slice) -> NDArray[np.int64]:
    """What each task of a shard cost, shape (tasks, 4), as far as it was done for this run."""
    own = np.flatnonzero(origins.run[of_shard] == origins.made)
    costs = unknown_costs(of_shard.stop - of_shard.start)
    if origins.made < 0 or not len(own):
        return costs
    made = origins.runs[origins.made]
    tasks = origins.task[of_shard][own]
    shards = np.searchsorted(made.plan.shard_cuts, tasks, "right") - 1
    for shard in np.unique(shards).tolist():
        in_it = shards == shard
        found = made.run.full_report(shard)[1]
        costs[own[in_it]] = found[tasks[in_it] - made.plan.shard_cuts[shard]]
    return costs


def _rows(origins: Origins, stretches: Sequence[_Stretch], schema: pa.Schema) -> Iterator[pa.Table]:
    """The rows of a shard. Of each run one file is open at a time, as its tasks come in order."""
    with contextlib.ExitStack() as held:
        opened: dict[int, tuple[int, PieceRows, contextlib.ExitStack]] = {}
        for stretch in stretches:
            before = opened.get(stretch.run)
            if before is None or before[0] != stretch.piece:
                if before is not None:
                    before[2].close()
                own = held.enter_context(contextlib.ExitStack())
                store = origins.runs[stretch.run].run.store
                rows = own.enter_context(PieceRows(store, _piece(origins, stretch), schema))
                opened[stretch.run] = (stretch.piece, rows, own)
            yield from opened[stretch.run][1].of_tasks(stretch.first, stretch.stop)


def _errors(made: EarlierRun, tasks: NDArray[np.int64]) -> Iterator[pa.Table]:
    """The quarantined ones of some tasks, in order, with tracebacks."""
    import pyarrow.compute as pc

    failed = tasks[made.is_failed[tasks]]
    if not len(failed):
        return
    anchors = made.plan.tasks["anchor"].take(pa.array(failed)).cast(pa.string()).combine_chunks()
    shards = np.unique(np.searchsorted(made.plan.shard_cuts, failed, "right") - 1)
    for shard in shards.tolist():
        report = made.run.shard_report(shard)
        for table in read_rows(made.run.store, shard_errors_name(shard), report.quarantined, shard_name(shard)):
            yield table.filter(pc.is_in(table["anchor"], value_set=anchors))


def _said(run: RunFolder, shard: int, origins: Origins) -> pa.Table:
    """What the tasks of a shard said: all of those done for this run, of the others what they warned of."""
    import pyarrow.compute as pc

    start, stop = run.plan.shard_cuts[shard : shard + 2].tolist()
    found: list[pa.Table] = []

    @cache
    def anchors() -> pa.Array:
        """The names of the tasks, which mostly nobody asks for: to make them takes longer than all else here."""
        return run.plan.tasks["anchor"].slice(start, stop - start).cast(pa.string()).combine_chunks()

    for number, each in enumerate(origins.runs):
        own = origins.run[start:stop] == number
        if own.any():
            tasks = origins.task[start:stop][own]
            said = each.said(tasks, with_logs=number == origins.made)
            found += [
                table.filter(pc.is_in(table["anchor"], value_set=anchors().filter(pa.array(own)))) for table in said
            ]
    if not found:
        return SAID_SCHEMA.empty_table()
    return pa.concat_tables([SAID_SCHEMA.empty_table(), *in_order(found, pa.chunked_array([anchors()]))])


def _first_failures(tables: Iterator[pa.Table], failures: list[Any]) -> Iterator[pa.Table]:
    """Tables of failed tasks, as they are; the first tasks, as an event tells of them, are added to `failures`."""
    for table in tables:
        failures += [failure_of(row) for row in table.slice(0, SHOWN_FAILURES - len(failures)).to_pylist()]
        yield table


# A shard whose tasks are all an earlier one's, and all of it: its bytes, but for what its footer says of its place


def _copied(run: RunFolder, shard: int, origins: Origins, stretches: Sequence[_Stretch], target: Path) -> str | None:
    """Copy an earlier run's shard that has just these tasks; its SHA-256, or None where it has to be written anew."""
    piece = _whole(origins, stretches)
    if piece is None or piece.shard is None:
        return None
    source = origins.runs[stretches[0].run]
    digest = hashlib.sha256()
    with source.run.store.open(piece.name) as opened:
        patched = _footer(opened, source.run.record.plan_id, piece.shard, run.record.plan_id, shard)
        if patched is None:
            return None
        start, footer = patched
        opened.seek(0)
        size = _FAR_BLOCK if source.run.store.local is None else _BLOCK
        with target.open("wb", buffering=0) as copy, memoryview(bytearray(size)) as block:
            left = start
            while left:
                count = opened.readinto(block[: min(size, left)])  # type: ignore[attr-defined]  # every such file has it
                if not count:
                    raise DamagedError(f"{source.run.store}/{piece.name} is shorter than it was: run the command again")
                left -= count
                digest.update(block[:count])
                _write_all(copy, block[:count])
            found = digest.copy()
            digest.update(opened.read())
            found.update(footer)
            _write_all(copy, footer)
    if digest.hexdigest() != piece.digest:
        raise DamagedError(f"{source.run.store}/{piece.name} is not what was written: run the same command again")
    with open_reader(target) as file, target.open("rb") as again:
        said = read_note(file, again)
        is_right = (said["plan_id"], said["shard"]) == (run.record.plan_id, shard)
        same_writer = file.metadata.created_by == _created_by() and file.schema_arrow.remove_metadata().equals(
            schema_in_files(run.extractor)
        )
    return found.hexdigest() if is_right and same_writer else None


def _write_all(file: IO[bytes], content: bytes | memoryview) -> None:
    """Write all of it to a file without a buffer of its own, which may take less at once."""
    while len(content):
        content = content[file.write(content) :]


def _whole(origins: Origins, stretches: Sequence[_Stretch]) -> RowsFile | None:
    """The earlier shard that has all the tasks of a shard, and no other."""
    if len(stretches) != 1 or stretches[0].run < 0:
        return None
    piece = _piece(origins, stretches[0])
    is_whole = (piece.start, piece.stop) == (stretches[0].first, stretches[0].stop)
    return piece if is_whole and piece.shard is not None and piece.digest else None


def _footer(opened: Any, plan_id: str, shard: int, new_plan_id: str, new_shard: int) -> tuple[int, bytes] | None:
    """Where a file's footer begins, and the footer with another place of the same length; None if that cannot be."""
    if len(str(shard)) != len(str(new_shard)) or len(plan_id) != len(new_plan_id):
        return None
    size = opened.seek(0, 2)
    opened.seek(max(size - 8, 0))
    end = opened.read()
    length = int.from_bytes(end[:4], "little")
    if end[4:] != b"PAR1" or length > size - 12:
        return None
    start = size - 8 - length
    opened.seek(start)
    footer: bytes = opened.read()
    was, now = (
        f'"plan_id": "{each}", "shard": {place}}}'.encode()
        for each, place in ((plan_id, shard), (new_plan_id, new_shard))
    )
    return (start, footer.replace(was, now)) if footer.count(was) == 1 else None


@lru_cache(maxsize=1)
def _created_by() -> str:
    """What this version's files say of who wrote them."""
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"x": pa.array([], pa.int8())}), sink)
    return str(pq.read_metadata(pa.BufferReader(sink.getvalue())).created_by)
