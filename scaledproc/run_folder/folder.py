"""The run's folder: what is committed in it, what is left, and what to do with what is there."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Self

import pyarrow as pa

from scaledproc._util.digests import digest_of
from scaledproc.errors import OtherPlanError, ScaledprocError, UsageError
from scaledproc.events import ShardDone
from scaledproc.extractors import Extractor, load_extractor
from scaledproc.planning.shared_files import of_record
from scaledproc.run_folder.names import (
    DONE,
    ERROR_LOG,
    ERRORS,
    IN_WORK,
    INVENTORY,
    LEASE,
    LOG_FILE,
    LOGS,
    MAIN_TABLE,
    OWN_FILES,
    PLAN,
    RECORD,
    REUSED_TASKS,
    SHARD_FILE,
    SHARDS,
    TABLE_FILE,
    TASKS,
    UPDATE,
    WARNING_SCHEMA,
    WARNINGS,
    WORK,
    common_metadata_name,
    log_name,
    report_name,
    shard_errors_name,
    shard_name,
    shard_said_name,
    table_name,
    table_report_name,
)
from scaledproc.run_folder.record import OTHER_FORM, RunRecord, read_record
from scaledproc.run_folder.shard_report import read_report
from scaledproc.storage.parquet import damage_told, open_reader, read_csv, read_tables, read_whole, write_table
from scaledproc.storage.store import Store

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import polars as pl
    import pyarrow.dataset as ds
    from numpy.typing import NDArray

    from scaledproc.planning.plan import Plan

READERS = 16  # files read at once: each may be a round trip


@dataclass(frozen=True)
class _ReadOnly:
    """The fence of a store that is only read."""

    def __call__(self) -> float:
        """Refuse the change."""
        raise UsageError("a Run can only be read; scaledproc.run(…) continues it, scaledproc.combine(…) combines anew")

    def sure(self) -> float:
        """No time at all."""
        return 0.0


@dataclass(frozen=True, repr=False)
class Run:
    """One execution of a plan, as whoever opens it reads it; by it nothing in its folder or its dataset can be changed.

    Parameters
    ----------
    store
        The output folder. Its changes are refused.
    dataset
        The input. Its changes are refused too.
    source
        The extractor, or the specification that finds it.
    record
        What `run.json` says.

    Examples
    --------
    ::

        run = scaledproc.Run.open("s3://bucket/features")
        run.to_pandas()
    """

    store: Store
    dataset: Store
    source: str | Extractor
    record: RunRecord

    def __post_init__(self) -> None:
        for name in ("store", "dataset"):
            object.__setattr__(self, name, replace(getattr(self, name), fence=_ReadOnly()))

    def __repr__(self) -> str:
        from scaledproc._util.text import bytes_text, count_text

        counts = self.record.counts
        if self.record.state != "done":
            return f"<Run {self.store}: unfinished, {count_text(counts.get('tasks', 0), 'task')}>"
        return (
            f"<Run {self.store}: {count_text(counts['rows'], 'row')} from {count_text(counts['tasks'], 'task')}, "
            f"{bytes_text(self.record.bytes['input'])} in {count_text(counts['shards'], 'shard')}, "
            f"{counts['quarantined']:,} quarantined>"
        )

    def _repr_html_(self) -> str:
        """The same for a notebook, with the first failures."""
        from scaledproc._util.html import ROWS, summary_html
        from scaledproc._util.text import bytes_text, seconds_text

        counts, size = self.record.counts, self.record.bytes.get("input", 0)
        facts = {"folder": self.store, "extractor": self.record.extractor.get("label", ""), "state": self.record.state}
        facts |= {"tasks": f"{counts.get('tasks', 0):,}", "shards": f"{counts['shards']:,}"}
        if self.record.state != "done":
            return summary_html("Run", facts, notes=["unfinished: the same call of scaledproc.run continues it"])
        facts |= {"rows": f"{counts['rows']:,}", "input": bytes_text(size), "quarantined": f"{self.quarantined:,}"}
        if isinstance(seconds := self.record.timings.get("seconds"), (int, float)):
            facts["time"] = seconds_text(seconds)
        columns, failures, notes = ["anchor", "error", "message"], list[dict[str, Any]](), list[str]()
        if self.quarantined:
            try:
                first = next(read_tables(self.store, ERRORS, columns), None)
                failures = [] if first is None else first.slice(0, ROWS).to_pylist()
            except Exception as error:  # a picture of a run is no place to fail
                notes = [f"{ERRORS} cannot be read: {type(error).__name__}"]
        rows = [[each[name] for name in columns] for each in failures]
        return summary_html("Run", facts, columns, rows, total=self.quarantined, notes=notes)

    @classmethod
    def open(cls, where: str | os.PathLike[str] | Store, storage_options: Mapping[str, Any] | None = None) -> Self:
        """The run in a folder.

        Parameters
        ----------
        where
            Its path or URL.
        storage_options
            Arguments for the fsspec filesystem.

        Raises
        ------
        ScaledprocError
            If the folder holds no run, or its run.json cannot be read.
        """
        store = where if isinstance(where, Store) else Store.at(where, storage_options)
        record = read_record(store)
        if record is None or record.state == "beginning":
            raise ScaledprocError(f"{store} holds no run (there is no {RECORD})")
        return cls(store, Store.at(record.dataset, storage_options), str(record.extractor["spec"]), record)

    @cached_property
    def extractor(self) -> Extractor:
        """The extractor, made in this process."""
        return load_extractor(self.source, self.record.extractor.get("options"))

    @cached_property
    def plan(self) -> Plan:
        """The plan as it was stored, with its cuts."""
        try:
            return replace(read_plan(self.store, self.record.plan_id), reads=of_record(self.record.extractor))
        except (FileNotFoundError, ScaledprocError, LookupError, ValueError, TypeError) as error:  # whatever is there
            raise ScaledprocError(f"the plan cannot be read: {error}; start afresh with --overwrite") from None

    # What a user opens

    @property
    def features(self) -> str:
        """Where the table is: the path or URL of its file or folder."""
        return self.store.child(self.record.place_of_table()).uri

    @property
    def quarantined(self) -> int:
        """How many tasks failed."""
        return self.record.counts.get("quarantined", 0)

    def to_arrow(
        self, columns: Sequence[str] | None = None, filters: Any = None, *, table: str | None = None
    ) -> pa.Table:
        """The features, or some of them.

        Parameters
        ----------
        columns
            Names of columns; all where None is given.
        filters
            Which rows: an expression of `pyarrow.compute`, or tuples such as `[("signal", "==", "II")]` as
            `pyarrow.parquet.read_table` takes them. What a file's statistics exclude is not read.
        table
            The name of a further table that the extractor declares; the main one where None is given.

        Raises
        ------
        UsageError
            If there is no such column or table, or the filters cannot be used.
        ScaledprocError
            If the run is not finished, or its table is damaged.
        """
        names = self._files_of(table)
        self._check_finished()
        if columns is None and filters is None:
            return pa.concat_tables([read_whole(self.store, name) for name in names])
        from scaledproc.storage.datasets import read_some

        return read_some(self.store, names, columns, filters)

    def to_pandas(
        self, columns: Sequence[str] | None = None, filters: Any = None, *, table: str | None = None
    ) -> pd.DataFrame:
        """The features as a DataFrame; the parameters are those of `to_arrow`."""
        frame: pd.DataFrame = self.to_arrow(columns, filters, table=table).to_pandas()
        return frame

    def to_dataset(self, *, table: str | None = None) -> ds.Dataset:
        """The table as a `pyarrow.dataset`, of which nothing is read yet; with the run's storage options.

        Parameters
        ----------
        table
            As for `to_arrow`.

        Raises
        ------
        UsageError
            If there is no such table.
        ScaledprocError
            If the run is not finished, or its table is damaged.
        """
        from scaledproc.storage.datasets import open_dataset

        self._check_finished()
        return open_dataset(self.store, self._files_of(table))

    def scan(self, *, table: str | None = None) -> pl.LazyFrame:
        """The table as a lazy frame of polars, of which nothing is read yet; with the run's storage options.

        Parameters
        ----------
        table
            As for `to_arrow`.

        Raises
        ------
        UsageError
            If polars is not installed, or there is no such table.
        ScaledprocError
            If the run is not finished, or its table is damaged.
        """
        from scaledproc.storage.datasets import scan_polars

        self._check_finished()
        return scan_polars(self.store, self._files_of(table))

    def schema_of(self, table: str) -> pa.Schema:
        """The columns of a table that is a folder, with what they say of themselves.

        Raises
        ------
        ScaledprocError
            If the run is not finished, or the file of its columns is damaged.
        """
        self._check_finished()
        name = common_metadata_name(table)
        with damage_told(self.store, name), self.store.open_for_arrow(name) as source, open_reader(source) as file:
            return file.schema_arrow

    def _files_of(self, table: str | None) -> list[str]:
        if table is None:
            return self.record.files_of_table()
        if table not in self.record.tables:
            raise UsageError(f"there is no table {table!r}; there are: {', '.join(self.record.tables) or 'none'}")
        return self.record.files_of_table(table)

    def errors(self) -> pa.Table:
        """The quarantined tasks, one row each."""
        return self._read(ERRORS)

    def tasks(self) -> pa.Table:
        """What became of each task, one row each in the plan's order, as `tasks.parquet` has it."""
        return self._read(TASKS)

    def warnings(self) -> pa.Table:
        """What tasks warned of, in the plan's order: group, unit, anchor, message."""
        has_any = self.record.state != "done" or WARNINGS in self.record.digests
        return self._read(WARNINGS) if has_any else WARNING_SCHEMA.empty_table()

    def traceback(self, task: str) -> str:
        """The traceback of a quarantined task, as it is in `errors.log`.

        Parameters
        ----------
        task
            Its anchor.

        Raises
        ------
        UsageError
            If no such task is in quarantine.
        ScaledprocError
            If the run is not finished, or the traceback cannot be told from the others in `errors.log`.
        """
        anchors = self.errors()["anchor"].to_pylist()
        if task not in anchors:
            raise UsageError(f"{task!r} is no quarantined task of {self.store}; run.errors() has them")
        from scaledproc.run_folder.tracebacks import traceback_in

        found = traceback_in(self.store.read(ERROR_LOG).decode(errors="replace"), anchors, task)
        if found is None:
            raise ScaledprocError(f"the traceback of {task!r} cannot be told from others in {self.store}/{ERROR_LOG}")
        return found

    def summary(self, name: str) -> pa.Table:
        """One of the extractor's summaries, such as `signal_stats`."""
        if name not in self.record.summaries:
            known = ", ".join(self.record.summaries) or "none"
            raise ScaledprocError(f"{self.store} has no summary {name!r}; there are: {known}")
        return read_csv(self.store.read(f"{name}.csv"))

    def _read(self, name: str) -> pa.Table:
        self._check_finished()
        return read_whole(self.store, name)

    def _check_finished(self) -> None:
        if self.record.state != "done":
            raise ScaledprocError(f"the run in {self.store} is not finished; run the same command again")

    # How far it is

    def committed_shards(self, wanted: Iterable[int] = ()) -> set[int]:
        """The macro shards that are done.

        While the run goes on, a shard's report and its errors must be there too: a service that uploads a job's files
        does so in an order of its own.

        Parameters
        ----------
        wanted
            Shards whose work is lost if they are overlooked. A listing of some stores lags behind, so each of them that
            is not listed is asked for by its name.
        """
        committed = _numbers(self.store.names(SHARDS), ".parquet")
        if self.record.state != "done":
            names = self.store.names(DONE)
            committed &= _numbers(names, ".json") & _numbers(names, ".errors.parquet")
        unlisted = [] if self.store.lists_all else [shard for shard in wanted if shard not in committed]
        there = self.store.there(map(shard_name, unlisted))
        unlisted = [shard for shard in unlisted if shard_name(shard) in there]
        if self.record.state != "done":
            beside = self.store.there(name for shard in unlisted for name in _beside(shard))
            unlisted = [shard for shard in unlisted if beside.issuperset(_beside(shard))]
        return committed.union(unlisted)

    def shard_report(self, shard: int) -> ShardDone:
        """What became of a committed shard.

        Raises
        ------
        ScaledprocError
            If the shard's report is damaged.
        """
        return self.full_report(shard)[0]

    def full_report(self, shard: int) -> tuple[ShardDone, NDArray[np.int64]]:
        """The same, and what each of its tasks cost, shape (tasks, 4).

        Raises
        ------
        ScaledprocError
            If the shard's report is damaged.
        """
        try:
            return read_report(self.store.read(report_name(shard)))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ScaledprocError(
                f"{self.store}/{report_name(shard)} is damaged ({type(error).__name__}); remove it, and the same "
                "command makes this shard anew"
            ) from None

    def shard_reports(self, shards: Iterable[int]) -> list[ShardDone]:
        """What became of several, in their order."""
        return [done for done, _ in self.full_reports(shards)]

    def full_reports(self, shards: Iterable[int]) -> list[tuple[ShardDone, NDArray[np.int64]]]:
        """The same, and what their tasks cost."""
        with ThreadPoolExecutor(READERS, thread_name_prefix="reports") as pool:
            return list(pool.map(self.full_report, shards))


class RunFolder(Run):
    """The same as the engine and the backends have it, who write the folder."""

    def __post_init__(self) -> None:
        """Keep the store as it is given, with its fence."""

    @property
    def view(self) -> Run:
        """The run as a user is given it, who can only read it."""
        view = Run(self.store, self.dataset, self.source, self.record)
        if "plan" in self.__dict__:
            view.__dict__["plan"] = self.plan
        return view

    def knowing(self, plan: Plan | None) -> Self:
        """The same run with its plan at hand, which need not be read then."""
        if plan is not None:
            self.__dict__["plan"] = plan  # where the cached property keeps it
        return self

    def with_record(self, **changes: Any) -> RunFolder:
        """The run after a change of run.json, which is written."""
        changed = replace(self, record=replace(self.record, **changes))
        changed.store.write(RECORD, changed.record.to_json().encode(), replacing=True)
        return changed.knowing(self.__dict__.get("plan"))

    def within(self, store: Store) -> RunFolder:
        """The same run in the same folder, as a store that may be allowed more or less."""
        return replace(self, store=store).knowing(self.__dict__.get("plan"))

    def clean_up(self) -> None:
        """Remove what only an unfinished run needs, and what killed commits left."""
        _remove_unlisted(self.store, [name for shard in range(self.record.counts["shards"]) for name in _around(shard)])
        _remove_own(self.store, WORK, IN_WORK)
        self._remove_replaced()
        self._remove_other_form()
        self._remove_update()
        for folder in ("", SHARDS, *(self._tables if self.record.has_table_folders else ())):
            self.store.remove_temporaries(folder)

    @property
    def _tables(self) -> tuple[str, ...]:
        """The names of all tables, those of the run that was here before too."""
        return tuple(dict.fromkeys([MAIN_TABLE, *self.record.tables, *self.record.replaces.get("tables", ())]))

    def remove_tables(self) -> None:
        """Remove the tables of a run that is not done, in whichever form they are."""
        self.store.remove_files([table_name(table) for table in self._tables])
        for table in self._tables:
            _remove_own(self.store, table, TABLE_FILE)

    def _remove_other_form(self) -> None:
        """Remove what is left of tables in the form that they had before, and of folders that had more files."""
        is_known = self.record.replaces.get("folders") or OTHER_FORM in self.record.options
        if self.record.has_table_folders:
            names = [table_name(table) for table in self._tables]
            self.store.remove_files([name for name in names if name not in self.record.digests])
        if self.store.local is None and not is_known:
            return  # nothing of the kind was ever there, and it takes a request each to see that
        for table in self._tables:
            if common_metadata_name(table) not in self.record.digests:
                _remove_own(self.store, table, TABLE_FILE)
                continue
            left = [f"{table}/{name}" for name in self.store.names(table) if TABLE_FILE.fullmatch(name)]
            self.store.remove_files([name for name in left if name not in self.record.digests])

    def _remove_update(self) -> None:
        """Remove what is left of an update that took this run's place, but none that is being made."""
        if not self.store.names(UPDATE):
            return
        try:
            left = read_record(self.store.child(UPDATE))
        except ScaledprocError:
            return
        if left is None or left.state == "done":
            self.store.remove(UPDATE)

    def _remove_replaced(self) -> None:
        """Remove what an earlier run left, as far as this one has put nothing in its place."""
        replaces = self.record.replaces
        if not replaces:
            return
        count = self.record.counts["shards"]
        shards = {*range(replaces["shards"]), *_numbers(self.store.names(SHARDS), ".parquet")}
        names = [f"{name}.csv" for name in replaces["summaries"] if name not in self.record.summaries]
        names += [table_name(name) for name in replaces.get("tables", ()) if name not in self.record.tables]
        names += [shard_name(shard) for shard in sorted(shards) if shard >= count]
        names += [log_name(shard) for shard in sorted(_numbers(self.store.names(LOGS), ".log"))]
        self.store.remove_files([name for name in names if name not in self.record.digests])


def _beside_all(shards: int) -> list[str]:
    """What may belong to the files of so many shards while the run goes on."""
    return [REUSED_TASKS, *(name for shard in range(shards) for name in _around(shard))]


def _beside(shard: int) -> tuple[str, str]:
    """What belongs to a shard's file while the run goes on."""
    return report_name(shard), shard_errors_name(shard)


def _around(shard: int) -> tuple[str, ...]:
    """The same, and what belongs to it only at times."""
    return (*_beside(shard), shard_said_name(shard), table_report_name(shard))


def _remove_unlisted(store: Store, names: Sequence[str]) -> None:
    """Remove files by their names, where a listing may not show them."""
    if not store.lists_all:
        store.remove_files(names)


def _numbers(names: Sequence[str], ending: str) -> set[int]:
    """The numbers of the files `NNNNN<ending>`."""
    stems = (name.removesuffix(ending) for name in names if name.endswith(ending))
    return {int(stem) for stem in stems if stem.isdecimal()}


Decision = Literal["begin", "continue", "finished"]


def decide(existing: RunRecord | None, plan_id: str, names: Sequence[str], *, overwrite: bool) -> Decision:
    """What to do with an output folder.

    Parameters
    ----------
    existing
        The run that is there already.
    plan_id
        The plan to run now.
    names
        What is in the folder.
    overwrite
        Whether an existing run may be thrown away.

    Raises
    ------
    OtherPlanError
        If the folder holds another plan's run.
    UsageError
        If the folder holds files that are not a run's.
    """
    if RECORD not in names and existing is None:
        foreign = [name for name in names if not name.startswith(".") and name != LEASE]
        if foreign:
            raise UsageError(
                f"it holds other files ({', '.join(map(repr, foreign[:3]))}{', …' if len(foreign) > 3 else ''}); "
                "name a new or empty folder"
            )
        return "begin"
    if overwrite or existing is None or existing.state == "beginning":
        return "begin"
    if existing.plan_id != plan_id:
        raise OtherPlanError(f"it holds the run of another plan ({existing.plan_id[:12]}, this is {plan_id[:12]})")
    return "finished" if existing.state == "done" else "continue"


def begin(run: RunFolder, plan: Plan) -> RunFolder:
    """Write a new run's folder, in the place of the run that is there.

    run.json comes first, to say whose folder it is from now on, and again last: only then there is a plan to run.
    Nothing goes but what a run writes.

    In a store elsewhere the earlier run's table and shards stay until this run's take their places. A removal that
    arrives there late, when another driver was at work meanwhile, would take that one's files, which have the same
    names and may have the same bytes. What has no successor is removed when the run is done.
    """
    try:
        previous = read_record(run.store)
        replaces = _replaced_by_next(previous)
    except ScaledprocError:  # a damaged one is what --overwrite is for
        replaces = {"summaries": [], "shards": plan.n_shards, "folders": True}
    begun = run.with_record(state="beginning", beginning=uuid.uuid4().hex, replaces=replaces)
    store = begun.store
    shards = max(plan.n_shards, replaces.get("shards", 0))
    if replaces and store.local is not None:
        gone = [f"{summary}.csv" for summary in replaces["summaries"]]
        gone += map(table_name, replaces.get("tables", ()))
        store.remove_files([*sorted(OWN_FILES - {RECORD}), *gone])
        for table in (MAIN_TABLE, *replaces.get("tables", ())) if replaces.get("folders") else ():
            _remove_own(store, table, TABLE_FILE)
        _remove_own(store, SHARDS, SHARD_FILE)
        _remove_own(store, LOGS, LOG_FILE)
        replaces = {}
    _remove_unlisted(store, [name for shard in range(shards) for name in _around(shard)])
    _remove_own(store, WORK, IN_WORK)
    store.remove_temporaries()
    digests = write_plan(store, plan)
    return begun.with_record(state="running", digests=digests, replaces=replaces).knowing(plan)


def _replaced_by_next(record: RunRecord | None) -> dict[str, Any]:
    """What a run leaves to the one that begins in its place."""
    if record is None:
        return {}
    before = record.replaces or {"summaries": [], "shards": 0}
    tables = sorted({*record.tables, *before.get("tables", ())})
    return {
        "summaries": sorted({*record.summaries, *before["summaries"]}),
        "shards": max(record.counts["shards"], before["shards"]),
        **({"tables": tables} if tables else {}),
        **({"folders": True} if record.has_table_folders or before.get("folders") else {}),
    }


def write_plan(store: Store, plan: Plan) -> dict[str, str]:
    """Write a plan's two files, side by side; their digests."""

    def write(name: str, table: pa.Table) -> str:
        with store.committing(name, replacing=True) as part:
            write_table(part, table.schema, [table])
            return digest_of(part)

    names = (INVENTORY, PLAN)
    with ThreadPoolExecutor(2, thread_name_prefix="plan") as pool:
        return dict(zip(names, pool.map(write, names, (plan.file_table(), plan.task_table())), strict=True))


def read_plan(store: Store, plan_id: str) -> Plan:
    """The plan that `write_plan` wrote.

    Raises
    ------
    FileNotFoundError, ScaledprocError
        If one of the plan's two files is not there, or is damaged.
    """
    from scaledproc.planning.plan import Plan

    def read(name: str) -> pa.Table:
        return pa.concat_tables(read_tables(store, name))

    pa.default_memory_pool().release_unused()  # of the plan that was written, where it was here
    with ThreadPoolExecutor(2, thread_name_prefix="plan") as pool:
        tasks, files = pool.map(read, (PLAN, INVENTORY))
    return Plan.from_tables(plan_id, tasks, files)


def _remove_own(store: Store, folder: str, own: re.Pattern[str]) -> None:
    """Remove from a folder what a run wrote, and the folder itself if nothing else was in it."""
    store.remove_temporaries(folder)
    names = store.names(folder)
    if all(map(own.fullmatch, names)):
        store.remove(folder)
        return
    for name in filter(own.fullmatch, names):
        store.remove(f"{folder}/{name}")


def changed_files(run: Run, plan: Plan) -> int:
    """How many files changed since a run listed them (paths and sizes are the same: the plan's id is)."""
    from scaledproc.planning.comparison import same_files

    return int((~same_files(run.plan, plan)[1]).sum())
