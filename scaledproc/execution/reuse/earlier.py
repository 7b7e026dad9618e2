"""An earlier run as a source of rows: which tasks' rows are there, in which files, and whether these are sound."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scaledproc._util.digests import digest_of_stream
from scaledproc.errors import DamagedError, ScaledprocError
from scaledproc.execution.chunks.committed import chunk_name, committed_chunks, read_footer
from scaledproc.execution.chunks.quarantine import read_rows
from scaledproc.execution.reuse.decision import Earlier
from scaledproc.execution.shard import counts_of
from scaledproc.run_folder.names import (
    ERRORS,
    INVENTORY,
    PLAN,
    SAID_SCHEMA,
    WARNING,
    WARNINGS,
    shard_errors_name,
    shard_name,
    shard_said_name,
)
from scaledproc.run_folder.record import digest_of_content
from scaledproc.run_folder.run import Run
from scaledproc.storage.parquet import damage_told, open_reader, read_note, read_tables

if TYPE_CHECKING:
    import pyarrow.parquet as pq
    from numpy.typing import NDArray

    from scaledproc.planning.plan import Plan
    from scaledproc.storage.store import Store


@dataclass(frozen=True, eq=False)
class RowsFile:
    """A file that has the rows of consecutive tasks: a macro shard, or a chunk of one that is not there yet.

    Parameters
    ----------
    name
        The file.
    start
        The first task's place in the plan.
    counts
        How many rows each task gave, shape (tasks,).
    digest
        SHA-256 of the file; empty where that is not known.
    shard
        The number of the macro shard; None for a chunk.
    """

    name: str
    start: int
    counts: NDArray[np.int64]
    digest: str
    shard: int | None

    @property
    def stop(self) -> int:
        """Behind the last task."""
        return self.start + len(self.counts)

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        """Where each task's rows begin in the file, and where the last one's end, shape (tasks + 1,)."""
        return np.concatenate([[0], np.cumsum(self.counts)]).astype(np.int64)


@dataclass(frozen=True, eq=False)
class EarlierRun:
    """A run whose rows can be taken.

    Parameters
    ----------
    run
        It; finished, or with shards and chunks that are committed.
    pieces
        Its files, in the plan's order.
    is_failed
        Which of its plan's tasks are in quarantine, shape (tasks,).
    damaged
        Files that are not what was written, with what is wrong; their tasks' rows are not taken.
    """

    run: Run
    pieces: tuple[RowsFile, ...]
    is_failed: NDArray[np.bool_]
    damaged: tuple[tuple[str, str], ...] = ()

    @property
    def plan(self) -> Plan:
        """Its plan."""
        return self.run.plan

    def known(self, *, is_same: bool) -> Earlier:
        """What a decision needs to know of it.

        Parameters
        ----------
        is_same
            Whether its rows depend on the same code and options as those that are wanted.
        """
        n_tasks = self.plan.n_tasks
        is_made, is_damaged = np.zeros(n_tasks, bool), np.zeros(n_tasks, bool)
        names = dict(self.damaged)
        for piece in self.pieces:
            (is_damaged if piece.name in names else is_made)[piece.start : piece.stop] = True
        return Earlier(self.plan, is_made & ~self.is_failed, self.is_failed, is_damaged, is_same)

    def piece_of(self, tasks: NDArray[np.int64]) -> NDArray[np.int64]:
        """Which piece has each of some tasks that were made, shape (tasks,)."""
        starts = np.array([piece.start for piece in self.pieces], np.int64)
        return np.searchsorted(starts, tasks, "right") - 1

    def said(self, tasks: NDArray[np.int64], *, with_logs: bool) -> Iterator[pa.Table]:
        """What some tasks said, among what others did, as `SAID_SCHEMA` has it.

        Parameters
        ----------
        tasks
            Their places in the plan, shape (tasks,).
        with_logs
            Whether their logs are wanted too, which a finished run has elsewhere.
        """
        store, plan = self.run.store, self.plan
        if self.run.record.state == "done":
            if WARNINGS in self.run.record.digests:
                yield from map(_as_said, read_tables(store, WARNINGS))
            return
        for number in np.unique(self.piece_of(tasks)).tolist():
            piece = self.pieces[number]
            if piece.shard is None:
                shard = int(np.searchsorted(plan.shard_cuts, piece.start, "right")) - 1
                stem = piece.name.removesuffix(".parquet")
                footer = read_footer(store, self.run.record.work_id, shard, int(stem.rpartition("/")[2]))
                tables = read_rows(store, f"{stem}.said.parquet", footer.done.said, piece.name) if footer else iter(())
            else:
                report = self.run.shard_report(piece.shard)
                tables = read_rows(store, shard_said_name(piece.shard), report.said, piece.name)
            yield from (table if with_logs else table.filter(pc.equal(table["what"], WARNING)) for table in tables)

    def checked(self, pieces: Iterable[int]) -> EarlierRun:
        """The earlier run, with those of some pieces noted as damaged that differ from their digests."""
        wanted = [self.pieces[number] for number in sorted(pieces)]
        found = [(piece.name, wrong) for piece in wanted if (wrong := _problem(self.run.store, piece))]
        return replace(self, damaged=(*self.damaged, *found))


def _as_said(table: pa.Table) -> pa.Table:
    what = pa.array([WARNING], pa.string()).take(pa.array(np.zeros(table.num_rows, np.int64)))
    return pa.table([table["group"], table["unit"], table["anchor"], what, table["message"]], schema=SAID_SCHEMA)


def open_earlier(run: Run) -> EarlierRun:
    """A run as a source of rows; what of its files cannot be read as what they should be counts as damaged.

    Raises
    ------
    ScaledprocError
        If the earlier run's plan or run.json are damaged, so that it cannot be told what its rows are of.
    """
    record, store = run.record, run.store
    if record.digest != digest_of_content(asdict(record)):
        raise ScaledprocError(f"{store}/run.json is not what was written: its rows cannot be taken; --overwrite redoes")
    for name in (PLAN, INVENTORY):
        if (wrong := _wrong_digest(store, name, record.digests.get(name, ""))) is not None:
            raise ScaledprocError(f"{store}/{name} {wrong}: its rows cannot be taken; --overwrite starts afresh")
    return _finished(run) if record.state == "done" else _unfinished(run)


def _finished(run: Run) -> EarlierRun:
    pieces, damaged = [], []
    for shard in run.record.shards:
        number = int(shard["shard"])
        piece = _of_shard(run, number, int(shard["rows"]), str(shard.get("digest") or ""))
        if isinstance(piece, RowsFile):
            pieces.append(piece)
        else:
            damaged.append((shard_name(number), piece))
            pieces.append(_lost(run, number))
    is_failed = np.zeros(run.plan.n_tasks, bool)
    if _wrong_digest(run.store, ERRORS, run.record.digests.get(ERRORS, "")) is None:
        is_failed = _failed(run, [ERRORS])
    else:  # any task without rows may be one of those
        for piece in pieces:
            is_failed[piece.start : piece.stop] = piece.counts == 0
    return EarlierRun(run, tuple(pieces), is_failed, tuple(damaged))


def _unfinished(run: Run) -> EarlierRun:
    pieces, names, damaged = [], [], []
    plan = run.plan
    committed = run.committed_shards(range(plan.n_shards))
    for shard in range(plan.n_shards):
        if shard in committed:
            try:
                report = run.shard_report(shard)
                piece = _of_shard(run, shard, report.rows, report.digest)
            except ScaledprocError as error:
                piece = str(error)
            if isinstance(piece, RowsFile):
                pieces.append(piece)
                names.append(shard_errors_name(shard))
                continue
            damaged.append((shard_name(shard), piece))
            pieces.append(_lost(run, shard))
            continue
        chunks = {chunk.number: chunk for chunk in plan.chunks(shard)}
        for done in committed_chunks(run.store, run.record.work_id, shard, chunks):
            footer, chunk = read_footer(run.store, run.record.work_id, shard, done.chunk), chunks.get(done.chunk)
            if footer is None or chunk is None or len(footer.counts) != chunk.stop - chunk.start or footer.positions:
                continue
            name = chunk_name(shard, done.chunk)
            pieces.append(RowsFile(f"{name}.parquet", chunk.start, np.array(footer.counts, np.int64), "", None))
            if done.quarantined:
                names.append(f"{name}.errors.parquet")
    return EarlierRun(run, tuple(pieces), _failed(run, names), tuple(damaged))


def _lost(run: Run, shard: int) -> RowsFile:
    """What stands for a shard that cannot be read."""
    start, stop = run.plan.shard_cuts[shard : shard + 2].tolist()
    return RowsFile(shard_name(shard), start, np.zeros(stop - start, np.int64), "", shard)


def _of_shard(run: Run, shard: int, rows: int, digest: str) -> RowsFile | str:
    """A macro shard by its footer; or what is wrong with it."""
    name = shard_name(shard)
    start, stop = run.plan.shard_cuts[shard : shard + 2].tolist()
    try:
        with run.store.open_for_arrow(name) as source, open_reader(source) as file:
            said = read_note(file, source)
            if (said["plan_id"], said["shard"]) != (run.record.plan_id, shard) or file.metadata.num_rows != rows:
                return "is not what run.json tells of"
            return RowsFile(name, start, counts_of(said, stop - start, rows), digest, shard)
    except FileNotFoundError:
        return "is gone"
    except (ValueError, TypeError, KeyError, IndexError, pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        return f"cannot be read ({type(error).__name__})"


def _failed(run: Run, names: Iterable[str]) -> NDArray[np.bool_]:
    """Which tasks are in some tables of errors, shape (tasks,)."""
    tables = (table for name in names for table in read_tables(run.store, name, ["anchor"]))
    anchors = [table["anchor"].cast(pa.large_string()).combine_chunks() for table in tables]
    failed = pa.chunked_array(anchors, pa.large_string()).combine_chunks()
    own = run.plan.tasks["anchor"].cast(pa.large_string())
    is_failed: NDArray[np.bool_] = pc.is_in(own, value_set=failed).to_numpy()
    return is_failed


def _wrong_digest(store: Store, name: str, digest: str) -> str | None:
    """What is wrong with a file, by its SHA-256; None where it is what was written."""
    try:
        with store.open(name) as file:
            found = digest_of_stream(file).sha256
    except (FileNotFoundError, NotADirectoryError):
        return "is gone"
    return None if found == digest else "is not what was written (its SHA-256 differs)"


def _problem(store: Store, piece: RowsFile) -> str | None:
    return _wrong_digest(store, piece.name, piece.digest) if piece.digest else None


class PieceRows:
    """The rows of a piece, taken in order; only row groups that have some of them are read.

    Parameters
    ----------
    store, piece
        Where it is.
    schema
        What its columns must be.
    """

    def __init__(self, store: Store, piece: RowsFile, schema: pa.Schema) -> None:
        self._store = store
        self._piece = piece
        self._schema = schema
        self._held = ExitStack()
        self._table: pa.Table | None = None
        self._group = -1

    def __enter__(self) -> Self:
        with ExitStack() as held:
            held.enter_context(damage_told(self._store, self._piece.name))
            self._file: pq.ParquetFile = held.enter_context(
                open_reader(held.enter_context(self._store.open_for_arrow(self._piece.name)))
            )
            if not self._file.schema_arrow.remove_metadata().equals(self._schema):
                raise DamagedError(f"{self._store}/{self._piece.name} has other columns than the extractor declares")
            metadata: Any = self._file.metadata
            lengths = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]
            self._ends = np.cumsum(lengths, dtype=np.int64)
            self._held = held.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._held.__exit__(kind, error, at)

    def of_tasks(self, first: int, stop: int) -> Iterator[pa.Table]:
        """The rows of consecutive tasks, by their places in the plan."""
        start, end = self._piece.rows[[first - self._piece.start, stop - self._piece.start]].tolist()
        while start < end:
            group = int(np.searchsorted(self._ends, start, "right"))
            if group != self._group:
                self._table = None
                batches = self._file.iter_batches(65_536, row_groups=[group], use_threads=False)
                self._table = pa.Table.from_batches(list(batches)).replace_schema_metadata(None)
                self._group = group
            assert self._table is not None
            begins = int(self._ends[group]) - self._table.num_rows
            piece = self._table.slice(start - begins, end - start)
            start += piece.num_rows
            yield piece
