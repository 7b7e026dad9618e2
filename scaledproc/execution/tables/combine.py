"""The last job: shards to one table, its summaries, the errors."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from scaledproc._util.digests import digest_of, digest_of_stream
from scaledproc._util.text import count_text
from scaledproc.errors import DamagedError, ScaledprocError
from scaledproc.events import CombineDone
from scaledproc.execution.chunks.quarantine import read_rows
from scaledproc.execution.shard import counts_of
from scaledproc.execution.tables.croissant import DescribedTable, croissant
from scaledproc.execution.tables.finishing import (
    check_names,
    check_row_wise,
    end_notes,
    finish_piece,
    finished_schema,
    has_keys,
    has_partial_form,
    has_summary,
    noticed_in,
    notices,
    of_all_rows,
    summed_up,
    table_schema,
)
from scaledproc.execution.tables.keys import KEYS, KeyColumns
from scaledproc.execution.tables.said_files import write_said
from scaledproc.execution.tables.table_files import (
    TableReport,
    finish_shard,
    finished_shards,
    key_of,
    write_common_metadata,
)
from scaledproc.execution.tables.unreferenced import Unreferenced
from scaledproc.extractors.rows.several import MAIN, CountsByTable, columns_of_table, rows_of_table
from scaledproc.extractors.tables import tables_of
from scaledproc.run_folder.folder import RunFolder
from scaledproc.run_folder.names import (
    CROISSANT,
    ERROR_LOG,
    ERROR_SCHEMA,
    ERRORS,
    FEATURES,
    PLAN,
    REUSED_TASKS,
    TASKS,
    WARNINGS,
    common_metadata_name,
    shard_errors_name,
    shard_name,
    table_file_name,
    table_name,
    table_report_name,
)
from scaledproc.run_folder.record import NO_ROWS
from scaledproc.run_folder.shard_report import unknown_costs
from scaledproc.run_folder.tasks_table import FAILED, task_rows, tasks_schema
from scaledproc.storage.parquet import (
    Writer,
    as_stored,
    damage_told,
    open_reader,
    read_note,
    read_tables,
    tables_in,
    write_csv,
    write_table,
)
from scaledproc.storage.row_groups import ahead, rebatch

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow.parquet as pq
    from numpy.typing import NDArray

    from scaledproc.events import ShardDone

_AGAIN = "; run the same command again"


def combine(run: RunFolder, *, has_files: bool = True) -> CombineDone:
    """Write features, summaries and errors from the committed shards, in memory bounded by one row group.

    On a finished run the errors stay as they are: names and summaries are made anew, nothing is extracted.

    Parameters
    ----------
    run
        The run.
    has_files
        Whether this machine has the shards and their files of the tables; else their reports are believed, where the
        tables are folders.

    Raises
    ------
    ScaledprocError
        If a shard is missing, or the extractor's own code for this step fails.
    """
    started = time.perf_counter()
    every = set(range(run.record.counts["shards"]))
    missing = sorted(every - run.committed_shards(every)) if has_files else []
    if missing and run.record.state == "done":
        raise ScaledprocError(
            f"{len(missing)} of {len(every)} shards of the finished run are gone (the first is {missing[0]}), so the "
            f"table cannot be made of them; scaledproc verify {run.store} tells more, --overwrite starts afresh"
        )
    if missing:
        raise ScaledprocError(
            f"{len(missing)} of {run.record.counts['shards']} shards are not there (the first is {missing[0]}); "
            "run the same command again"
        )
    digests: dict[str, str] = {}
    full = None if run.record.state == "done" else run.full_reports(sorted(every))
    reports = None if full is None else [report for report, _ in full]
    unreferenced = Unreferenced(run, run.extractor)
    noticed: set[str] = set()
    further = tables_of(run.extractor)
    counts: list[NDArray[np.int64]] = []
    sizes: dict[str, int] = {}
    if run.record.has_table_folders:
        made = _finished(run, reports, has_files=has_files)
        counts += [each.counts for each in made]
        rows, summaries, tables = _gather(run, made, reports, unreferenced, digests, sizes, has_files=has_files)
        noticed.update(*(each.noticed or () for each in made))
    else:
        main, summaries = _write_features(run, digests, reports, unreferenced, noticed, counts)
        others = [_write_further(run, name, digests, reports, counts) for name in further]
        _write_croissant(run, digests, [main, *others])
        rows, tables = main.rows, {table.name: table.rows for table in others}
    check_names(summaries)
    for name, table in summaries.items():
        with run.store.committing(f"{name}.csv", replacing=True) as part:
            write_csv(part, table)
            digests[f"{name}.csv"] = digest_of(part)
    quarantined = run.quarantined if reports is None else _write_errors(run, digests, reports)
    if full is not None:
        _write_tasks(run, digests, counts, [costs for _, costs in full], further)
        write_said(run, digests, [report for report, _ in full])
    return CombineDone(
        rows=rows,
        quarantined=quarantined,
        summaries=tuple(sorted(summaries)),
        seconds=time.perf_counter() - started,
        digests=digests,
        notes=(
            *_without_rows(run, rows, tables, quarantined),
            *end_notes(run.extractor, frozenset(noticed)),
            *unreferenced.notes(quarantined),
            *_warned(run, {**run.record.digests, **digests}),
        ),
        tables=tables,
        sizes=sizes,
    )


def _finished(run: RunFolder, reports: Sequence[ShardDone] | None, *, has_files: bool) -> list[TableReport]:
    """What each macro shard's files of the tables are like; those that are not there are made here."""
    shards = range(run.record.counts["shards"])
    if reports is None:  # to be made anew
        return [_finish(run, shard, None) for shard in shards]
    digests = {shard: report.digest for shard, report in zip(shards, reports, strict=True)}
    found = finished_shards(run, digests, has_files=has_files)
    made = []
    for shard in shards:
        report = found.get(shard)
        if report is None:
            report = _finish(run, shard, reports[shard])
            run.store.write(table_report_name(shard), report.to_json(*key_of(run.record)), replacing=True)
        made.append(report)
    return made


def _finish(run: RunFolder, shard: int, report: ShardDone | None) -> TableReport:
    """Make a macro shard's files of the tables from the shard."""
    name, store = shard_name(shard), run.store
    with _checked(run, shard, report, has_digest=True) as (file, said):
        counts = _counts_of(run, name, said, _tasks_of(run, shard, report), file.metadata.num_rows)
    return finish_shard(
        run.extractor,
        store,
        run.record,
        shard,
        lambda columns: _rows_of(run, shard, report, None, columns, 0),
        counts,
        partial(store.committing, replacing=True),
        digest="" if report is None else report.digest,
        size=store.sizes([name]).get(name, 0),
    )


def _gather(
    run: RunFolder,
    made: Sequence[TableReport],
    reports: Sequence[ShardDone] | None,
    unreferenced: Unreferenced,
    digests: dict[str, str],
    sizes: dict[str, int],
    *,
    has_files: bool,
) -> tuple[int, Mapping[str, pa.Table], dict[str, int]]:
    """Put together what the files of the tables are like: rows of the main table, summaries, rows of further ones."""
    extractor = run.extractor
    schemas = {MAIN: finished_schema(extractor), **tables_of(extractor)}
    rows = dict.fromkeys(schemas, 0)
    for shard, report in enumerate(made):
        sizes[shard_name(shard)] = report.size
        for table, file in report.files.items():
            name = table_file_name(table, shard, len(made))
            digests[name], sizes[name] = file.digest, file.size
            rows[table] += file.rows
        if report.named is not None:
            unreferenced.see(pa.table({extractor.companion_column: report.named}))
    if has_files and rows[MAIN] > 1 and max(report.files[MAIN].rows for report in made) == 1:
        # No shard has rows beside which one could be seen to change.
        piece = next(rebatch(_rows_of_table(run, MAIN, reports, None)))
        check_row_wise(extractor, piece, finish_piece(extractor, piece, schemas[MAIN], run.store))
    summaries: Mapping[str, pa.Table] = {}
    if has_partial_form(extractor):
        partials = [report.summaries or {} for report in made]
        summaries = summed_up("merge_summaries", lambda: extractor.merge_summaries(partials))
    elif has_summary(extractor):  # which is given the pieces that it would be given were there one file
        pieces = rebatch(_rows_of_table(run, MAIN, reports, None))
        summaries = of_all_rows(
            extractor, (finish_piece(extractor, piece, schemas[MAIN], run.store) for piece in pieces)
        )
    for table, schema in schemas.items():
        name = common_metadata_name(table)
        with run.store.committing(name, replacing=True) as part:
            write_common_metadata(part, table_schema(extractor, run.record, table, schema))
            digests[name], sizes[name] = digest_of(part), part.stat().st_size
    told = [
        DescribedTable(
            name=table,
            file=table,
            schema=table_schema(extractor, run.record, table, schema),
            rows=rows[table],
            size=sum(report.files[table].size for report in made),
            digest="",
        )
        for table, schema in schemas.items()
    ]
    _write_croissant(run, digests, told)
    return rows.pop(MAIN), summaries, rows


def _write_features(
    run: RunFolder,
    digests: dict[str, str],
    reports: Sequence[ShardDone] | None,
    unreferenced: Unreferenced,
    noticed: set[str],
    counts: list[NDArray[np.int64]],
) -> tuple[DescribedTable, Mapping[str, pa.Table]]:
    extractor = run.extractor
    schema = finished_schema(extractor)
    shards = _rows_of_table(run, MAIN, reports, counts)
    keys = _keys(run, MAIN, counts)

    def written(writer: Writer) -> Iterator[pa.Table]:
        """Every finished piece, after it was written: the summaries come from the same pass."""
        # A local disk is read while rows are written; a store that is elsewhere has its own way to read ahead.
        for piece in ahead(rebatch(shards)) if run.store.local is not None else rebatch(shards):
            finished = finish_piece(extractor, piece, schema, run.store)
            writer.write_table(finished if keys is None else keys.add(finished))
            unreferenced.see(finished)
            if notices(extractor):
                noticed.update(noticed_in(extractor, finished))
            yield finished
            del piece, finished  # while the next ones are made

    with run.store.committing(FEATURES, replacing=True) as part:
        with _table_writer(run, part, MAIN, schema) as writer:
            summaries = of_all_rows(extractor, written(writer))
        made = _written(run, MAIN, FEATURES, schema, writer, part, digests)
    return made, summaries


def _write_further(
    run: RunFolder,
    name: str,
    digests: dict[str, str],
    reports: Sequence[ShardDone] | None,
    counts: list[NDArray[np.int64]],
) -> DescribedTable:
    """Write a further table."""
    file, schema = table_name(name), tables_of(run.extractor)[name]
    keys = _keys(run, name, counts)
    with run.store.committing(file, replacing=True) as part:
        with _table_writer(run, part, name, schema) as writer:
            for table in rebatch(_rows_of_table(run, name, reports, None)):
                writer.write_table(table if keys is None else keys.add(table))
                del table  # while the next one is read
        return _written(run, name, file, schema, writer, part, digests)


def _written(
    run: RunFolder, name: str, file: str, schema: pa.Schema, writer: Writer, part: Path, digests: dict[str, str]
) -> DescribedTable:
    """What is told of a table that stands in a file which is about to be committed."""
    digests[file] = digest_of(part)
    told = table_schema(run.extractor, run.record, name, schema)
    return DescribedTable(name, file, told, writer.rows, part.stat().st_size, digests[file])


def _write_croissant(run: RunFolder, digests: dict[str, str], tables: Sequence[DescribedTable]) -> None:
    """Tell programs what the tables are."""
    label = str(run.record.extractor.get("label") or run.extractor.label)
    version = run.record.versions.get("scaledproc", "")
    with run.store.committing(CROISSANT, replacing=True) as part:
        part.write_text(croissant(label, run.record.plan_id, version, tables), encoding="utf-8")
        digests[CROISSANT] = digest_of(part)


def _table_writer(run: RunFolder, part: Path, name: str, schema: pa.Schema) -> Writer:
    """What writes one of a run's tables, whose own columns are given."""
    schema = table_schema(run.extractor, run.record, name, schema)
    return Writer(part, schema, encoded=KEYS if has_keys(run.record) else ())


def _keys(run: RunFolder, name: str, counts: Sequence[NDArray[np.int64]]) -> KeyColumns | None:
    """What puts the columns in front of a table's rows that lead back; None where the run has none."""
    if not has_keys(run.record):
        return None
    tasks = read_tables(run.store, PLAN, list(KEYS), rows=run.record.counts["tasks"])
    return KeyColumns(tasks, counts, [MAIN, *tables_of(run.extractor)].index(name))


def _rows_of_table(
    run: RunFolder, name: str, reports: Sequence[ShardDone] | None, counts: list[NDArray[np.int64]] | None
) -> Iterator[pa.Table]:
    """The rows of all shards that are of one table; of each only that table's columns are read."""
    further = tables_of(run.extractor)
    own = as_stored(run.extractor.schema if name == MAIN else further[name])
    columns = columns_of_table(name, own) if further else None
    if reports is None and not has_keys(run.record):  # then nobody needs them
        counts = None
    shards = chain.from_iterable(
        _rows_of(run, shard, None if reports is None else reports[shard], counts, columns, len(further))
        for shard in range(run.record.counts["shards"])
    )
    return rows_of_table(shards, [MAIN, *further].index(name), name, own) if further else shards


def _rows_of(
    run: RunFolder,
    shard: int,
    report: ShardDone | None,
    counts: list[NDArray[np.int64]] | None,
    columns: list[str] | None,
    further: int,
) -> Iterator[pa.Table]:
    """The rows of a shard; how many each of its tasks gave, shape (tasks, tables), is added to `counts`.

    In an unfinished run a shard that is not what its report says is made anew by the next start.
    """
    with _checked(run, shard, report, has_digest=counts is not None) as (file, said):
        if counts is None:
            yield from tables_in(file, columns)
            return
        gave = _counts_of(run, shard_name(shard), said, _tasks_of(run, shard, report), file.metadata.num_rows)
        if not further:
            counts.append(gave[:, np.newaxis])
            yield from tables_in(file)
        else:
            by_table = CountsByTable(gave, further + 1)
            counts.append(by_table.counts)
            yield from map(by_table.see, tables_in(file, columns))


def _tasks_of(run: RunFolder, shard: int, report: ShardDone | None) -> int:
    """How many tasks a macro shard has."""
    return int(run.record.shards[shard]["tasks"]) if report is None else report.tasks


@contextlib.contextmanager
def _checked(
    run: RunFolder, shard: int, report: ShardDone | None, *, has_digest: bool
) -> Iterator[tuple[pq.ParquetFile, Mapping[str, Any]]]:
    """A shard that is what its report says, and what it says of itself; that of an unfinished run is removed if not."""
    name = shard_name(shard)
    try:
        # Once, in the pass over all rows that is made first.
        if report is not None and has_digest and run.record.replaces and _digest_of(run, name) != report.digest:
            raise DamagedError(f"{run.store}/{name} is an earlier run's{_AGAIN}")
        with damage_told(run.store, name), run.store.open_for_arrow(name) as source, open_reader(source) as file:
            said = _note_of(run, name, file, source)
            if (said.get("plan_id"), said.get("shard")) != (run.record.plan_id, shard):
                raise DamagedError(f"{run.store}/{name} is of another plan or place{_AGAIN}")
            if report is not None and file.metadata.num_rows != report.rows:
                raise DamagedError(
                    f"{run.store}/{name} has {file.metadata.num_rows:,} rows, not {report.rows:,}{_AGAIN}"
                )
            yield file, said
    except DamagedError:
        if report is not None:
            run.store.remove(name)  # which says that the shard is there
        raise


def _note_of(run: RunFolder, name: str, file: pq.ParquetFile, source: IO[bytes]) -> Mapping[str, Any]:
    try:
        return read_note(file, source)
    except (ValueError, TypeError, KeyError) as error:
        raise DamagedError(f"{run.store}/{name} is damaged: {error}{_AGAIN}") from None


def _counts_of(run: RunFolder, name: str, said: Mapping[str, Any], tasks: int, rows: int) -> NDArray[np.int64]:
    """How many rows each of a shard's tasks gave."""
    try:
        return counts_of(said, tasks, rows)
    except (ValueError, TypeError, KeyError) as error:
        raise DamagedError(f"{run.store}/{name} is damaged: {error}{_AGAIN}") from None


def _write_tasks(
    run: RunFolder,
    digests: dict[str, str],
    counts: Sequence[NDArray[np.int64]],
    costs: Sequence[NDArray[np.int64]],
    further: Iterable[str],
) -> None:
    """What became of each task."""
    names = tuple(further)
    rows = np.concatenate([np.zeros((0, 1 + len(names)), np.int64), *counts])
    schema = tasks_schema(names)
    reused = np.zeros(len(rows), bool)
    if run.record.counts.get("reused"):
        reused = pa.concat_tables(read_tables(run.store, REUSED_TASKS, rows=len(rows)))["reused"].to_numpy()
    failed = pa.concat_tables([ERROR_SCHEMA.empty_table().select(FAILED), *read_tables(run.store, ERRORS, FAILED)])
    pieces = read_tables(run.store, PLAN, ["group", "unit", "anchor", "shard"], rows=len(rows))
    cost = np.concatenate([unknown_costs(0), *costs])
    with run.store.committing(TASKS, replacing=True) as part:
        write_table(part, schema, task_rows(pieces, schema, rows, reused, cost, failed))
        digests[TASKS] = digest_of(part)


def _without_rows(run: RunFolder, rows: int, tables: Mapping[str, int], quarantined: int) -> list[str]:
    """What is told where the table has no rows: tasks that give none are no failures, and yet rarely what is wanted."""
    if rows:
        return []
    tasks = run.record.counts["tasks"]
    others = f"; {', '.join(f'{name!r} has {count:,}' for name, count in tables.items() if count)}"
    text = f"{NO_ROWS}{others if any(tables.values()) else ''}: "
    if quarantined == tasks:
        return [f"{text}{'all tasks' if tasks > 1 else 'its task'} failed, {ERRORS} tells why"]
    gave = count_text(tasks - quarantined, "task")
    failed = f", {quarantined:,} failed" if quarantined else ""
    remedy = "see that the extractor's options fit the data: scaledproc try OUTPUT shows what one task gives"
    return [f"{text}{gave} gave none without failing{failed}; {remedy}"]


def _warned(run: RunFolder, digests: Mapping[str, str]) -> list[str]:
    """What is told of warnings at the end."""
    if WARNINGS not in digests:
        return []
    count = sum(table.num_rows for table in read_tables(run.store, WARNINGS, ["anchor"]))
    return [f"{count_text(count, 'warning')} of tasks: see {WARNINGS}"]


def _digest_of(run: RunFolder, name: str) -> str:
    with run.store.open(name) as file:
        return digest_of_stream(file).sha256


def _errors_of(run: RunFolder, reports: Sequence[ShardDone]) -> Iterator[pa.Table]:
    """The quarantined tasks of all shards with tracebacks."""
    for report in reports:
        yield from read_rows(run.store, shard_errors_name(report.shard), report.quarantined, shard_name(report.shard))


def _write_errors(run: RunFolder, digests: dict[str, str], reports: Sequence[ShardDone]) -> int:
    with run.store.committing(ERRORS, replacing=True) as part:
        count = write_table(
            part, ERROR_SCHEMA, (table.select(ERROR_SCHEMA.names) for table in _errors_of(run, reports))
        )
        digests[ERRORS] = digest_of(part)
    if not count:
        run.store.remove(ERROR_LOG)
        return 0
    with run.store.committing(ERROR_LOG, replacing=True) as part:
        with part.open("w", encoding="utf-8", errors="replace") as file:
            for table in _errors_of(run, reports):
                for row in table.to_pylist():
                    file.write(f"{row['anchor']}\n{row['traceback']}\n")
        digests[ERROR_LOG] = digest_of(part)
    return count
