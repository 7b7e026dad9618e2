"""Tables as folders with a file for each macro shard, which is made where the shard is, without any other shard.

What a shard's files are like, and what the last step needs to know of their rows, is in its table report. So the last
step reads no rows: it merges what the reports say.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from scaledproc._util.digests import digest_of, digest_of_stream
from scaledproc.errors import ScaledprocError
from scaledproc.execution.chunks.loading import load_cached
from scaledproc.execution.tables.finishing import (
    check_row_wise,
    finish_piece,
    finished_schema,
    has_keys,
    has_partial_form,
    has_summary,
    noticed_in,
    notices,
    summed_up,
    table_schema,
)
from scaledproc.execution.tables.keys import KEYS, KeyColumns, tasks_of_shards
from scaledproc.extractors.rows.several import MAIN, CountsByTable, columns_of_table, rows_of_table
from scaledproc.extractors.tables import tables_of
from scaledproc.run_folder.names import table_file_name, table_report_name
from scaledproc.run_folder.record import RunRecord
from scaledproc.storage.parquet import Writer, as_stored, open_reader, tables_in
from scaledproc.storage.row_groups import rebatch
from scaledproc.storage.store import READERS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scaledproc.execution.workers.sending import Sent
    from scaledproc.extractors import Extractor
    from scaledproc.run_folder.folder import RunFolder
    from scaledproc.storage.store import Store

Committing = Callable[[str], AbstractContextManager[Path]]
"""Where to write a file of this name, which is committed behind it."""


@dataclass(frozen=True)
class Finishing:
    """All that a process needs to make a shard's files of the tables.

    Parameters
    ----------
    store
        The run's folder.
    source
        The extractor, or what finds it.
    record
        What run.json says, as far as the files depend on it.
    """

    store: Store
    source: str | Extractor | Sent
    record: RunRecord

    @classmethod
    def of(cls, run: RunFolder, source: str | Extractor | Sent) -> Finishing | None:
        """What a run's shards are finished with; None where its tables are single files."""
        record = run.record
        if not record.has_table_folders:
            return None
        needed = RunRecord(
            record.state,
            record.plan_id,
            record.dataset,
            {name: record.extractor[name] for name in ("label", "options", "fingerprint") if name in record.extractor},
            record.options,
            record.versions,
            {"shards": record.counts["shards"]},
            beginning=record.beginning,
        )
        return cls(run.store, source, needed)

    @property
    def options(self) -> Mapping[str, Any]:
        """The extractor's."""
        return self.record.extractor.get("options") or {}


def key_of(record: RunRecord) -> tuple[str, str]:
    """What a table report is of: a beginning of a run, and what may change between two starts of it.

    The extractor's options count that no row of a shard depends on, and who writes.
    """
    content = [record.extractor.get("options") or {}, {name: record.versions.get(name) for name in _WRITERS}]
    content.append({"label": record.extractor.get("label"), "with_keys": has_keys(record)})
    return record.work_id, hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


_WRITERS = ("scaledproc", "pyarrow", "numpy", "pandas")


@dataclass(frozen=True)
class TableFile:
    """A file of a table, as it was written: how many rows, its SHA-256 and its bytes."""

    rows: int
    digest: str
    size: int


@dataclass(frozen=True, eq=False)
class TableReport:
    """What a macro shard's files of the tables are like, and what the last step needs to know of their rows.

    Parameters
    ----------
    files
        By the tables' names.
    digest, size
        Of the shard that they were made of; its SHA-256 is empty where that is not known.
    counts
        How many rows each task gave to each table, shape (tasks, tables).
    named
        The companions that rows of the main table name, each once; None where the extractor has no such column.
    summaries
        The extractor's partial summaries; None where it has no such form.
    noticed
        What the extractor noticed in the main table's rows; None where it notices nothing.
    """

    files: Mapping[str, TableFile]
    digest: str
    size: int
    counts: NDArray[np.int64]
    named: pa.Array | None = None
    summaries: Mapping[str, pa.Table] | None = None
    noticed: frozenset[str] | None = None

    def to_json(self, work_id: str, key: str) -> bytes:
        """The report's content, for a beginning of a run, and what the files depend on besides."""
        counts = pa.table([pa.array(column) for column in self.counts.T], [str(n) for n in range(self.counts.shape[1])])
        content = {
            "work_id": work_id,
            "key": key,
            "files": {name: asdict(file) for name, file in self.files.items()},
            "digest": self.digest,
            "size": self.size,
            "counts": _packed(counts),
            "named": None if self.named is None else _packed(pa.table({"path": self.named})),
            "summaries": None
            if self.summaries is None
            else {name: _packed(table) for name, table in self.summaries.items()},
        }
        if self.noticed is not None:
            content["noticed"] = sorted(self.noticed)
        return json.dumps(content).encode()

    @classmethod
    def from_json(cls, content: bytes, work_id: str, key: str) -> TableReport | None:
        """From the report's content; None where it is of something else.

        Raises
        ------
        ValueError, TypeError, KeyError, AttributeError, RecursionError
            If the content is not what `to_json` made.
        """
        found = json.loads(content)
        if (found["work_id"], found["key"]) != (work_id, key):
            return None
        counts = _unpacked(found["counts"])
        return cls(
            files={name: TableFile(**file) for name, file in found["files"].items()},
            digest=str(found["digest"]),
            size=int(found["size"]),
            counts=np.stack([column.to_numpy() for column in counts.columns], axis=1).astype(np.int64),
            named=None if found["named"] is None else _unpacked(found["named"])["path"].combine_chunks(),
            summaries=None
            if found["summaries"] is None
            else {name: _unpacked(table) for name, table in found["summaries"].items()},
            noticed=frozenset(map(str, found["noticed"])) if "noticed" in found else None,
        )


def _packed(table: pa.Table) -> str:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as writer:
        writer.write_table(table)
    return base64.b64encode(sink.getvalue()).decode()


def _unpacked(text: str) -> pa.Table:
    with pa.ipc.open_stream(pa.py_buffer(base64.b64decode(text))) as reader:
        return reader.read_all()


def finish_shard(
    extractor: Extractor,
    where: Store,
    record: RunRecord,
    shard: int,
    read: Callable[[list[str] | None], Iterator[pa.Table]],
    counts: Sequence[int] | NDArray[np.int64],
    commit: Committing,
    *,
    digest: str = "",
    size: int = 0,
) -> TableReport:
    """Write a macro shard's files of the tables.

    Parameters
    ----------
    extractor
        Whose.
    where, record
        The run's folder, and what run.json says.
    shard
        The shard's number.
    read
        Gives the shard's rows, of some columns.
    counts
        How many rows of all tables each of its tasks gave.
    commit
        Where to write.
    digest, size
        Of the shard's file.

    Raises
    ------
    ScaledprocError
        If the extractor's own code for this step fails.
    """
    import pyarrow.compute as pc

    further = tables_of(extractor)
    counted = CountsByTable(np.asarray(counts, np.int64), 1 + len(further)) if further else None
    by_table = np.asarray(counts, np.int64)[:, np.newaxis] if counted is None else counted.counts
    with_keys = has_keys(record)
    files: dict[str, TableFile] = {}
    names: list[pa.Array] = []
    noticed: frozenset[str] | None = frozenset() if notices(extractor) else None
    column = extractor.companion_column if extractor.companions else None
    schema = finished_schema(extractor)

    def name_of(table: str) -> str:
        return table_file_name(table, shard, record.counts["shards"])

    def writer_of(path: Path, table: str, declared: pa.Schema) -> Writer:
        return Writer(path, table_schema(extractor, record, table, declared), encoded=KEYS if with_keys else ())

    def keyed(number: int) -> Callable[[pa.Table], pa.Table]:
        if not with_keys:
            return lambda rows: rows
        return KeyColumns(tasks_of_shards(where, range(shard, shard + 1)), [by_table], number).add

    def finished(rows: Iterator[pa.Table], writer: Writer) -> Iterator[pa.Table]:
        nonlocal noticed
        add = keyed(0)
        for number, piece in enumerate(rebatch(rows)):
            made = finish_piece(extractor, piece, schema, where)
            if not number:
                check_row_wise(extractor, piece, made)
            writer.write_table(add(made))
            if column is not None:
                names.append(pc.unique(made[column].combine_chunks().cast(pa.string())).drop_null())
            if noticed is not None:
                noticed |= noticed_in(extractor, made)
            yield made
            del piece, made  # while the next ones are made

    summaries: Mapping[str, pa.Table] | None = None
    own = as_stored(extractor.schema)
    rows = read(columns_of_table(MAIN, own) if further else None)
    if counted is not None:
        rows = rows_of_table(map(counted.see, rows), 0, MAIN, own)
    with commit(name_of(MAIN)) as path:
        with writer_of(path, MAIN, schema) as writer:
            pieces = finished(rows, writer)
            if has_partial_form(extractor):
                summaries = summed_up("partial_summaries", partial(extractor.partial_summaries, pieces))
            for _ in pieces:  # what the summaries did not ask for
                pass
        files[MAIN] = _file(path, writer.rows)
    for number, (table, declared) in enumerate(further.items(), 1):
        own = as_stored(declared)
        rows = rows_of_table(read(columns_of_table(table, own)), number, table, own)
        with commit(name_of(table)) as path:
            with writer_of(path, table, declared) as writer:
                writer.write_tables(map(keyed(number), rows))
            files[table] = _file(path, writer.rows)
    return TableReport(
        files=files,
        digest=digest,
        size=size,
        counts=by_table,
        named=None if column is None else pc.unique(pa.chunked_array(names, pa.string())),
        summaries=summaries,
        noticed=noticed,
    )


def _file(path: Path, rows: int) -> TableFile:
    return TableFile(rows, digest_of(path), path.stat().st_size)


def finish_made_shard(
    finishing: Finishing,
    shard: int,
    path: Path,
    digest: str,
    counts: Sequence[int],
    commit: Committing,
) -> bytes | None:
    """Make the tables' files of a shard that was just written, on the machine that made it; their report.

    None where the extractor's own code for this step fails: the rows are kept, and the last step tells of it.
    """
    extractor = load_cached(finishing.source, finishing.options)
    with contextlib.suppress(ScaledprocError), open_reader(path) as file:
        report = finish_shard(
            extractor,
            finishing.store,
            finishing.record,
            shard,
            partial(tables_in, file),
            counts,
            commit,
            digest=digest,
            size=path.stat().st_size,
        )
        return report.to_json(*key_of(finishing.record))
    return None


def finish_in_process(finishing: Finishing, shard: int, path: Path, digest: str, counts: Sequence[int]) -> bytes | None:
    """Make the tables' files of a shard in any process that can read it, and commit them from there; their report."""
    return finish_made_shard(
        finishing, shard, path, digest, counts, partial(finishing.store.committing, replacing=True)
    )


def finished_shards(run: RunFolder, digests: Mapping[int, str], *, has_files: bool = True) -> dict[int, TableReport]:
    """The macro shards whose files of the tables are there, as they were made of the shards that are there.

    Parameters
    ----------
    run
        The run.
    digests
        The SHA-256 of each shard.
    has_files
        Whether this machine has the files; else the reports are believed.
    """
    record, tables = run.record, [MAIN, *tables_of(run.extractor)]
    needs_summaries, needs_noticed = has_partial_form(run.extractor), notices(run.extractor)

    def read(shard: int) -> TableReport | None:
        try:
            report = TableReport.from_json(run.store.read(table_report_name(shard)), *key_of(record))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, pa.ArrowException):
            return None  # a damaged one: the files are made anew
        if report is None or report.digest != digests[shard] or [*report.files] != tables:
            return None
        is_less = (needs_summaries and report.summaries is None) or (needs_noticed and report.noticed is None)
        return None if is_less else report

    with ThreadPoolExecutor(READERS, thread_name_prefix="reports") as pool:
        found = {shard: report for shard, report in zip(digests, pool.map(read, digests), strict=True) if report}
    if not has_files:
        return found
    places = {
        table_file_name(table, shard, len(digests)): (shard, file)
        for shard, report in found.items()
        for table, file in report.files.items()
    }
    sizes = run.store.sizes(places, listed=not record.replaces)
    wrong = {shard for name, (shard, file) in places.items() if sizes.get(name) != file.size}
    if record.replaces:  # files of these names may be an earlier run's
        wrong |= {shard for name, (shard, file) in places.items() if shard not in wrong and _differs(run, name, file)}
    return {shard: report for shard, report in found.items() if shard not in wrong}


def _differs(run: RunFolder, name: str, file: TableFile) -> bool:
    with run.store.open(name) as opened:
        return digest_of_stream(opened).sha256 != file.digest


def needs_rows(run: RunFolder) -> bool:
    """Whether the last step has to read rows: some shards' files are not made, or a summary has no partial form.

    Reports of files that are not there, or not as they were made, are removed: a machine that does not have the files
    believes what is reported.
    """
    if not run.record.has_table_folders or (has_summary(run.extractor) and not has_partial_form(run.extractor)):
        return True
    shards = range(run.record.counts["shards"])
    digests = {report.shard: report.digest for report in run.shard_reports(shards)}
    wrong = sorted({*shards} - finished_shards(run, digests).keys())
    run.store.remove_files([table_report_name(shard) for shard in wrong])
    return bool(wrong)


def write_common_metadata(path: Path, schema: pa.Schema) -> None:
    """Write the columns of a table's files as a file of its own."""
    pq.write_metadata(schema, str(path), version="2.6")
