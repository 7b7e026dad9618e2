"""What a report is drawn from: plain data, gathered once from a run's folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from scaledproc.extractors.account import Account, Example, Histogram

if TYPE_CHECKING:
    from scaledproc.engine.past.overview import Alike


@dataclass(frozen=True)
class ShardRow:
    """What became of a macro shard.

    Parameters
    ----------
    shard, tasks, rows, quarantined
        Its number, and how many it has of each.
    size
        Bytes of its tasks' files.
    seconds
        Time at work, added up over the cores; None of a shard that is not done.
    state
        `done`, or where it is.
    detail
        Why, for a person.
    staging
        Seconds that cores had nothing to do while its files were staged, added up over the cores.
    """

    shard: int
    tasks: int
    rows: int
    quarantined: int
    size: int
    seconds: float | None
    state: str = "done"
    detail: str = ""
    staging: float = 0.0


@dataclass(frozen=True)
class SlowTask:
    """A task that took long, as `tasks.parquet` has it."""

    anchor: str
    shard: int
    rows: int
    seconds: float
    bytes_read: int | None
    peak_memory: int | None


@dataclass(frozen=True)
class Tasks:
    """What became of all tasks: sums over `tasks.parquet`.

    Parameters
    ----------
    count, rows
        Tasks, and the rows that they gave.
    status
        How many are `done`, `quarantined`, `reused`.
    without_rows, empty
        How many gave no rows without failing, and the anchors of the first few.
    retried
        How many were tried more than once.
    seconds
        Of those that are timed, added up.
    bytes_read, peak_memory
        Sum and largest; None where the system does not tell.
    slowest
        The slowest first.
    spread
        How many tasks took how long, by the logarithm to the base 10 of their seconds.
    reused
        How many tasks of each macro shard have rows of an earlier run.
    """

    count: int
    rows: int
    status: Mapping[str, int]
    without_rows: int
    empty: tuple[str, ...]
    retried: int
    seconds: float
    bytes_read: int | None
    peak_memory: int | None
    slowest: tuple[SlowTask, ...]
    spread: Histogram | None
    reused: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Messages:
    """Failures, or warnings, that say the same counted together.

    Parameters
    ----------
    total
        How many there are.
    kinds
        How many of each kind and error.
    groups
        The most frequent ones first.
    others
        How many are in none of the groups.
    read
        How many were looked at for the groups.
    """

    total: int = 0
    kinds: Mapping[tuple[str, str], int] = field(default_factory=dict)
    groups: tuple[Alike, ...] = ()
    others: int = 0
    read: int = 0


@dataclass(frozen=True)
class Column:
    """What a column of the table has.

    Parameters
    ----------
    name, type, units, description
        As they are declared; the last two are empty where nobody said.
    nulls
        Rows without a value; None where the file does not tell.
    nans, infinite
        How many of the rows that were read have NaN, an infinity: these are in no histogram.
    is_empty
        Whether none of the rows that were read has a value, NaN being none.
    is_counted
        Whether its values were looked at, for all but what the files tell of it.
    low, high
        The smallest and the largest value, as text; empty where there is none, or the file does not tell.
    distinct
        Different values in the rows that were read, without NaN; None where nobody counted, or there are more than
        were counted.
    most
        The most frequent values of a column that is no number, and how often each was read.
    histogram
        Of the rows that were read; None of what is no number.
    """

    name: str
    type: str
    units: str = ""
    description: str = ""
    nulls: int | None = None
    nans: int = 0
    infinite: int = 0
    is_empty: bool = False
    is_counted: bool = True
    low: str = ""
    high: str = ""
    distinct: int | None = None
    most: tuple[tuple[str, int], ...] = ()
    histogram: Histogram | None = None


@dataclass(frozen=True)
class Table:
    """A Parquet table of a run.

    Parameters
    ----------
    name
        Its file.
    rows
        How many it has.
    read
        How many of them distinct values and histograms are of.
    columns
        In their order.
    first
        Its first rows as texts, None where a value is null.
    """

    name: str
    rows: int
    read: int
    columns: tuple[Column, ...]
    first: tuple[tuple[str | None, ...], ...] = ()


@dataclass(frozen=True)
class Going:
    """How fast a run goes on, as whoever watches it saw so far, and how long it still takes.

    Parameters
    ----------
    rate
        Bytes a second; None before anything was done while it was watched.
    left
        Time left, for a person; empty where it cannot be told yet.
    """

    rate: float | None = None
    left: str = ""


@dataclass(frozen=True)
class Findings:
    """All that a report shows, of a run in any state.

    Parameters
    ----------
    output
        Where its folder is, without secrets.
    state
        `done`, `running` or `stopped`.
    made
        When the report was made, UTC.
    version
        Of scaledproc, that made it.
    plan_id, dataset
        Of the run.
    extractor, options, versions, counts, bytes, timings, backend
        As run.json has them.
    notes
        What a person should read of the end.
    shards
        All of them; those that are not done with what is known.
    tables
        The table of features first; none while the run is not done.
    tasks
        None while the run is not done.
    failures, warnings
        What failed, and what tasks warned of.
    account, why_no_account
        What the extractor says of the table; why it could not, where it failed: the table is no worse for it.
    examples, why_no_examples
        Pieces of the data; why they could not be read, where they could not.
    problems
        Which files of the run could not be read or are not as run.json says: texts.
    summaries
        Names of the summaries.
    file_options
        The options of the extractor that a person names a file for, whose content run.json has; None where the
        extractor could not be asked.
    is_built_in
        Whether the extractor is one of scaledproc's own.
    going
        How fast a run goes that is watched, and how long it still takes.
    update_of
        The folder of the run that this is what an update of has to do; empty where it is none.
    """

    output: str
    state: str
    made: str
    version: str
    plan_id: str
    dataset: str
    extractor: Mapping[str, Any]
    options: Mapping[str, Any]
    versions: Mapping[str, str]
    counts: Mapping[str, int]
    bytes: Mapping[str, int]
    timings: Mapping[str, Any]
    backend: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    shards: tuple[ShardRow, ...] = ()
    tables: tuple[Table, ...] = ()
    tasks: Tasks | None = None
    failures: Messages = Messages()
    warnings: Messages = Messages()
    account: Account | None = None
    why_no_account: str = ""
    examples: tuple[Example, ...] = ()
    why_no_examples: str = ""
    problems: tuple[str, ...] = ()
    summaries: tuple[str, ...] = ()
    file_options: frozenset[str] | None = None
    is_built_in: bool = False
    going: Going | None = None
    update_of: str = ""

    @property
    def is_done(self) -> bool:
        """Whether the run is finished."""
        return self.state == "done"

    @property
    def done_tasks(self) -> int:
        """How many tasks are behind the run, those in quarantine too."""
        if self.is_done:
            return self.counts.get("tasks", 0)
        return sum(shard.tasks for shard in self.shards)

    @property
    def quarantined(self) -> int:
        """How many tasks failed so far."""
        if self.is_done:
            return self.counts.get("quarantined", 0)
        return sum(shard.quarantined for shard in self.shards)

    @property
    def rows(self) -> int:
        """How many rows there are so far."""
        return self.counts.get("rows", 0) if self.is_done else sum(shard.rows for shard in self.shards)
