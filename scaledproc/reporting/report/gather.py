"""A run's folder, as a report's findings: all reading of a report is here and in the modules that this calls."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scaledproc.engine.past.overview import Groups
from scaledproc.errors import ScaledprocError
from scaledproc.events import ShardDone, ShardState
from scaledproc.extractors.account import Account, Example, ReadPart, Spans, histogram, share_read
from scaledproc.extractors.base import Extractor, FunctionExtractor
from scaledproc.extractors.described import documented_columns
from scaledproc.extractors.options import options_of
from scaledproc.extractors.registry import place
from scaledproc.reporting.report.findings import Findings, Messages, ShardRow, SlowTask, Table, Tasks
from scaledproc.reporting.report.tables import profile, reading
from scaledproc.run_folder.names import ERRORS, MAIN_TABLE, TASKS, WARNINGS, shard_errors_name, work_name
from scaledproc.run_folder.tasks_table import QUARANTINED, REUSED
from scaledproc.storage.parquet import read_tables
from scaledproc.storage.store import describe, store_errors

if TYPE_CHECKING:
    from scaledproc.engine.past.status import Status
    from scaledproc.run_folder.run import Run

SLOWEST = 20
GROUPS = 40
"""Groups of messages that are shown."""
READ_MESSAGES = 20_000
"""Failures that are put into groups by their messages; of more only the kinds are counted."""
CHUNKS = 100
"""Chunks of shards that are not done whose failures are read."""
EMPTY = 10
_COLUMNS = ["anchor", "kind", "error", "message"]
"""Of what failed."""
_ANCHORS = 400
"""Characters of a task's name."""


def gather(
    run: Run,
    *,
    status: Status | None = None,
    extractor: Extractor | None = None,
    examples: int = 0,
    now: datetime | None = None,
) -> Findings:
    """Read what a report shows of a run, in memory and time that hardly grow with the run.

    Parameters
    ----------
    run
        The run, in any state.
    status
        How far it is; needed where it is not done.
    extractor
        The extractor, where it may be asked about the table: what it is made of is run for that.
    examples
        Of how many tasks pieces of the data are drawn.
    now
        When this is.
    """
    record = run.record
    is_done = record.state == "done"
    problems: list[str] = []
    tables: tuple[Table, ...] = ()
    tasks, account, why_no_account = None, None, ""
    drawn: tuple[Example, ...] = ()
    why = ""
    failures, warnings = Messages(), Messages()
    if is_done:
        about = {} if extractor is None else documented_columns(extractor)
        names = [MAIN_TABLE, *record.tables]
        tables = tuple(found for name in names if (found := _tried(problems, _table, run, name, about)))
        tasks = _tried(problems, find_tasks, run)
        failures = _tried(problems, _failures, run) or failures
        if WARNINGS in record.digests:
            warnings = _tried(problems, _warnings, run) or warnings
        if extractor is not None and tables:
            account, why_no_account = _account(run, extractor, problems)
        problems += _sizes(run)
        if extractor is not None and examples:
            from scaledproc.reporting.report.examples import find_examples

            drawn, why = _tried(problems, find_examples, run, extractor, examples) or ((), "")
    elif status is not None:
        failures = _tried(problems, _failures_so_far, run, status) or failures
    return Findings(
        output=str(run.store),
        state=("done" if is_done else "stopped") if status is None else status.state,
        made=(now or datetime.now(UTC)).strftime("%Y-%m-%d %H:%M UTC"),
        version=version("scaledproc"),
        plan_id=record.plan_id,
        dataset=record.dataset,
        extractor=record.extractor,
        options=record.options,
        versions=record.versions,
        counts=record.counts,
        bytes=record.bytes,
        timings=record.timings,
        backend=record.backend,
        notes=tuple(record.notes) if status is None else tuple(filter(None, (status.note, *status.notes))),
        shards=_shards(run, status),
        tables=tables,
        tasks=tasks,
        failures=failures,
        warnings=warnings,
        account=account,
        why_no_account=why_no_account,
        examples=drawn,
        why_no_examples=why,
        problems=tuple(problems),
        summaries=tuple(record.summaries),
        file_options=None if extractor is None else _file_options(extractor),
        is_built_in=str(place(str(record.extractor.get("spec", "")))).startswith("scaledproc."),
    )


def _file_options(extractor: Extractor) -> frozenset[str]:
    """The options that a person names a file for, whose content is what run.json has."""
    declared = options_of(extractor if isinstance(extractor, FunctionExtractor) else type(extractor))
    return frozenset(name for name, option in declared.items() if option.about.read is not None)


def _tried(problems: list[str], read: Any, *given: Any) -> Any:
    """What a function reads; a file that cannot be read is told of, and the report goes on without it."""
    try:
        return read(*given)
    except Exception as error:
        if not isinstance(error, (ScaledprocError, KeyError, *store_errors())):
            raise
        problems.append(str(error) if isinstance(error, ScaledprocError) else describe(error))
    return None


def _table(run: Run, name: str, about: Mapping[str, str]) -> Table:
    return profile(run.store, run.record.files_of_table(name), run.record.place_of_table(name), about)


def _sizes(run: Run) -> list[str]:
    """Which files are not as long as run.json says, or are gone."""
    try:
        found = run.store.sizes(run.record.sizes)
    except store_errors() as error:
        return [f"the files' sizes cannot be told: {type(error).__name__}"]
    wrong = [name for name, size in run.record.sizes.items() if found.get(name) != size]
    shown = ", ".join(wrong[:3])
    return [f"{shown}{' and others' if len(wrong) > 3 else ''}: not as long as run.json says, or gone"] if wrong else []


def _account(run: Run, extractor: Extractor, problems: list[str]) -> tuple[Account | None, str]:
    """What the extractor makes of the table, or why it does not: an extractor is anybody's, and may fail at it.

    That the table cannot be read is a problem of the run's; what else goes wrong is the extractor's.
    """
    read = _tried(problems, reading, run.store, run.record.files_of_table())
    if read is None:
        return None, ""
    broken: list[str] = []

    def guarded(columns: Sequence[str]) -> Iterator[pa.Table]:
        try:
            yield from read(columns)
        except Exception as error:
            if isinstance(error, (ScaledprocError, *store_errors())):
                broken.append(str(error) if isinstance(error, ScaledprocError) else describe(error))
            raise

    share = share_read(read)
    try:
        account = extractor.account(guarded if share == 1 else ReadPart(guarded, share))
    except Exception as error:
        problems += broken[:1]
        return None, "" if broken else f"{type(error).__name__}: {error}"
    if account is None:
        return None, ""
    is_one = isinstance(account, Account)
    return (of_part(account, share), "") if is_one else (None, f"it gave {type(account).__name__} and no Account")


def of_part(account: Account, share: float) -> Account:
    """An account that says of which part of the rows it is; gaps in time would be those of the reading.

    Parameters
    ----------
    account
        What an extractor told.
    share
        Which part of the rows it was given.
    """
    if share == 1:
        return account
    percent = min(max(round(100 * share, 1), 0.1), 99.9)
    words = f"of {percent:g} % of the rows, in whole row groups"
    return Account(
        tuple(replace(each, text=f"{each.text.rstrip('.')} ({words}).") for each in account.worries),
        tuple(
            replace(each, text=f"{each.text} {words.capitalize()}.".strip())
            for each in account.parts
            if not isinstance(each, Spans)
        ),
        f"{account.about} What the extractor tells is {words}: no number is that of the whole table, and what was when "
        "is left out.".lstrip(),
    )


def _shards(run: Run, status: Status | None) -> tuple[ShardRow, ...]:
    if status is None or status.state == "done":
        return tuple(
            ShardRow(
                int(each["shard"]),
                int(each["tasks"]),
                int(each["rows"]),
                int(each["quarantined"]),
                int(each.get("bytes", 0)),
                float(each.get("work_seconds", 0.0)),
                staging=float(each.get("staging_seconds", 0.0)),
            )
            for each in run.record.shards
        )
    found = [*map(_shard_of, status.done), *map(_shard_of, status.states)]
    return tuple(sorted(found, key=lambda each: each.shard))


def _shard_of(each: ShardDone | ShardState) -> ShardRow:
    if isinstance(each, ShardDone):
        return ShardRow(
            each.shard, each.tasks, each.rows, each.quarantined, each.size, each.seconds, staging=each.staging
        )
    return ShardRow(each.shard, each.tasks, each.rows, each.quarantined, each.size, None, str(each.state), each.detail)


def find_tasks(run: Run) -> Tasks:
    """Sums over `tasks.parquet`, in one pass.

    Raises
    ------
    ScaledprocError
        If the file is damaged, or is gone.
    KeyError
        If the file is of another version, and lacks a column.
    """
    status, reused = Counter[str](), Counter[int]()
    count = rows = without = retried = 0
    seconds, read, peaks = 0.0, list[int](), list[int]()
    empty, slowest, logs = list[str](), list[SlowTask](), list[Any]()
    for table in read_tables(run.store, TASKS):
        count += table.num_rows
        rows += pc.sum(table["rows"]).as_py() or 0
        for each in table["status"].value_counts().to_pylist():
            status[each["values"]] += each["counts"]
        for each in table.filter(pc.equal(table["status"], REUSED))["shard"].value_counts().to_pylist():
            reused[each["values"]] += each["counts"]
        is_empty = pc.and_(pc.equal(table["rows"], 0), pc.not_equal(table["status"], QUARANTINED))
        here = pc.sum(is_empty).as_py() or 0
        if here and len(empty) < EMPTY:
            empty += table["anchor"].filter(is_empty).slice(0, EMPTY - len(empty)).to_pylist()
        without += here
        retried += pc.sum(pc.greater(table["attempts"], 1)).as_py() or 0
        seconds += pc.sum(table["seconds"]).as_py() or 0.0
        read += [value for value in [pc.sum(table["bytes_read"]).as_py()] if value is not None]
        peaks += [value for value in [pc.max(table["peak_memory"]).as_py()] if value is not None]
        timed = table.filter(pc.is_valid(table["seconds"]))
        logs.append(np.log10(np.maximum(timed["seconds"].to_numpy(), 1e-6)))
        slowest = _slowest([*slowest, *_candidates(timed)])
    together = np.concatenate(logs) if logs else np.empty(0)
    spread = None
    if len(together):
        spread = histogram(together, math.floor(together.min() * 4) / 4, math.ceil(together.max() * 4) / 4 or 0.25)
    return Tasks(
        count=count,
        rows=rows,
        status=dict(status),
        without_rows=without,
        empty=tuple(name[:_ANCHORS] for name in empty),
        retried=retried,
        seconds=seconds,
        bytes_read=sum(read) if read else None,
        peak_memory=max(peaks, default=None),
        slowest=tuple(slowest),
        spread=spread,
        reused=dict(reused),
    )


def _candidates(timed: pa.Table) -> list[SlowTask]:
    if not timed.num_rows:  # as where an update made none of them; Arrow's function fails there
        return []
    chosen = pc.select_k_unstable(timed, SLOWEST, [("seconds", "descending"), ("anchor", "ascending")])
    return [
        SlowTask(
            each["anchor"][:_ANCHORS],
            each["shard"],
            each["rows"],
            each["seconds"],
            each["bytes_read"],
            each["peak_memory"],
        )
        for each in timed.take(chosen).to_pylist()
    ]


def _slowest(found: list[SlowTask]) -> list[SlowTask]:
    return sorted(found, key=lambda each: (-each.seconds, each.anchor))[:SLOWEST]


def _failures(run: Run) -> Messages:
    """What failed, from `errors.parquet`."""
    return _messages(read_tables(run.store, ERRORS, _COLUMNS))


def _warnings(run: Run) -> Messages:
    """What tasks warned of."""
    tables = read_tables(run.store, WARNINGS, ["anchor", "message"])
    return _messages(_as_errors(table) for table in tables)


def _as_errors(table: pa.Table) -> pa.Table:
    for name, value in (("error", ""), ("kind", "warning")):
        table = table.append_column(name, pa.array([value] * table.num_rows, pa.string()))
    return table


def _failures_so_far(run: Run, status: Status) -> Messages:
    """What failed in the shards that are committed, and the first that did in each of the others.

    Where nobody is at work, all of the first chunks of others: else these go while they are read.
    """
    names = [shard_errors_name(each.shard) for each in status.done if each.quarantined]
    first: list[pa.Table] = []
    if status.state == "stopped":
        begun = [each.shard for each in status.states if each.quarantined]
        names += islice((name for shard in begun for name in _chunk_errors(run, shard)), CHUNKS)
    else:
        known = [each for state in status.states for each in state.failures]
        first = [pa.table({name: [getattr(each, name) for each in known] for name in _COLUMNS})] if known else []
    return _messages(chain((table for name in names for table in read_tables(run.store, name, _COLUMNS)), first))


def _chunk_errors(run: Run, shard: int) -> list[str]:
    """The errors of a shard's chunks that are committed: they are written before the chunk is."""
    there = set(run.store.names(work_name(shard, "")))
    ends = [name for name in sorted(there) if name.endswith(".errors.parquet")]
    return [work_name(shard, name) for name in ends if name.replace(".errors.parquet", ".parquet") in there]


def _messages(tables: Any) -> Messages:
    total, read, kinds, groups = 0, 0, Counter[tuple[str, str]](), Groups()
    for table in tables:
        total += table.num_rows
        counted = table.group_by(["kind", "error"]).aggregate([([], "count_all")])
        for each in counted.to_pylist():
            kinds[(each["kind"], each["error"][:_ANCHORS])] += each["count_all"]
        for row in table.slice(0, max(0, READ_MESSAGES - read)).to_pylist():
            groups.add(row["kind"], row["error"][:_ANCHORS], row["message"], row["anchor"])
            read += 1
    shown, _ = groups.most(GROUPS)
    in_groups = sum(each.count for each in shown)
    return Messages(total, dict(kinds.most_common(GROUPS)), shown, total - in_groups, read)
