"""A run as one reads it: its plan, its tables, what failed, and what of it is committed."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa

from scaledproc.errors import ScaledprocError, UsageError
from scaledproc.events import ShardDone
from scaledproc.extractors import Extractor, load_extractor
from scaledproc.planning.shared_files import of_record
from scaledproc.run_folder.names import (
    DONE,
    ERROR_LOG,
    ERRORS,
    RECORD,
    SHARDS,
    TASKS,
    WARNING_SCHEMA,
    WARNINGS,
    common_metadata_name,
    names_beside,
    numbers_in,
    report_name,
    shard_name,
)
from scaledproc.run_folder.plan_files import read_plan
from scaledproc.run_folder.record import RunRecord, read_record
from scaledproc.run_folder.shard_report import read_report
from scaledproc.storage.parquet import damage_told, open_reader, read_csv, read_tables, read_whole
from scaledproc.storage.store import READERS, Store

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import polars as pl
    import pyarrow.dataset as ds
    from numpy.typing import NDArray

    from scaledproc.planning.plan import Plan


@dataclass(frozen=True)
class _ReadOnly:
    """The fence of a store that is only read."""

    is_exclusive = False

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
        """What `repr` tells, for a notebook, with the first failures."""
        from scaledproc._util.html import ROWS, summary_html
        from scaledproc._util.text import bytes_text, seconds_text

        counts, size = self.record.counts, self.record.bytes.get("input", 0)
        facts = {"folder": self.store, "extractor": self.record.extractor.get("label", ""), "state": self.record.state}
        facts |= {"tasks": f"{counts.get('tasks', 0):,}", "shards": f"{counts['shards']:,}"}
        if self.record.state != "done":
            return summary_html("Run", facts, notes=["unfinished: the same call of scaledproc.run continues it"])
        facts |= {"rows": f"{counts['rows']:,}", "input": bytes_text(size), "quarantined": f"{self.quarantined:,}"}
        times = self.record.timings
        if isinstance(seconds := times.get("last_start_seconds"), (int, float)):
            facts["time" if times.get("starts", 1) == 1 else "time of the last start"] = seconds_text(seconds)
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
        try:
            record = read_record(store)
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            raise ScaledprocError(f"{store} holds no run: {error.strerror}") from None
        if record is None or record.state == "beginning":
            raise ScaledprocError(f"{store} holds no run (there is no {RECORD}){store.meant()}")
        return cls(store, Store.at(record.dataset, storage_options), str(record.extractor["spec"]), record)

    @cached_property
    def extractor(self) -> Extractor:
        """The extractor, made in this process."""
        return load_extractor(self.source, self.record.extractor.get("options"))

    @cached_property
    def plan(self) -> Plan:
        """The plan as it was stored, with its cuts.

        Raises
        ------
        ScaledprocError
            If one of the plan's two files is gone or damaged.
        """
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
        """The quarantined tasks, one row each.

        Raises
        ------
        ScaledprocError
            If the run is not finished, or `errors.parquet` is damaged.
        """
        return self._read(ERRORS)

    def tasks(self) -> pa.Table:
        """What became of each task, one row each in the plan's order, as `tasks.parquet` has it.

        Raises
        ------
        ScaledprocError
            If the run is not finished, or `tasks.parquet` is damaged.
        """
        return self._read(TASKS)

    def warnings(self) -> pa.Table:
        """What tasks warned of, in the plan's order: group, unit, anchor, message.

        Raises
        ------
        ScaledprocError
            If the run is not finished, or `warnings.parquet` is damaged.
        """
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
        """One of the extractor's summaries, such as `signal_stats`.

        Raises
        ------
        ScaledprocError
            If the run has no such summary, or its file is damaged.
        """
        if name not in self.record.summaries:
            known = ", ".join(self.record.summaries) or "none"
            raise ScaledprocError(f"{self.store} has no summary {name!r}; there are: {known}")
        with damage_told(self.store, f"{name}.csv"):
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
        committed = numbers_in(self.store.names(SHARDS), ".parquet")
        if self.record.state != "done":
            names = self.store.names(DONE)
            committed &= numbers_in(names, ".json") & numbers_in(names, ".errors.parquet")
        unlisted = [] if self.store.lists_all else [shard for shard in wanted if shard not in committed]
        there = self.store.there(map(shard_name, unlisted))
        unlisted = [shard for shard in unlisted if shard_name(shard) in there]
        if self.record.state != "done":
            beside = self.store.there(name for shard in unlisted for name in names_beside(shard))
            unlisted = [shard for shard in unlisted if beside.issuperset(names_beside(shard))]
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
        """What became of a committed shard, and what each of its tasks cost, shape (tasks, 4).

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
        """What became of several committed shards, in their order."""
        return [done for done, _ in self.full_reports(shards)]

    def full_reports(self, shards: Iterable[int]) -> list[tuple[ShardDone, NDArray[np.int64]]]:
        """What became of several committed shards, in their order, and what their tasks cost."""
        with ThreadPoolExecutor(READERS, thread_name_prefix="reports") as pool:
            return list(pool.map(self.full_report, shards))
