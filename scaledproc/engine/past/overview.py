"""What became of a finished run's tasks, of any number of them, in a few lines: `scaledproc show`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from scaledproc.engine.options import SHOWN_TASKS
from scaledproc.errors import ScaledprocError
from scaledproc.events import SHOWN_FAILURES, Failure
from scaledproc.execution.chunks.quarantine import NAME, bounded, own_place
from scaledproc.run_folder.names import ERROR_LOG, ERRORS, TASKS
from scaledproc.run_folder.tasks_table import QUARANTINED
from scaledproc.run_folder.tracebacks import few_tracebacks
from scaledproc.storage.parquet import read_tables
from scaledproc.storage.store import store_errors

if TYPE_CHECKING:
    from scaledproc.run_folder.run import Run

_GROUPS = 10_000
"""Groups of messages that are held; the tasks of further ones are counted together."""
_READ = 2_000  # characters of a message that groups are made by


@dataclass(frozen=True)
class Alike:
    """Tasks that failed, or warned, with the same message but for numbers and the task's own name."""

    kind: str
    """`exception`, `schema`, `crash`, `memory` or `timeout`; `warning`."""
    error: str
    """The name of the exception's class, or how the process ended; empty for a warning."""
    message: str
    """The first one's."""
    count: int
    """How many."""
    examples: tuple[str, ...]
    """Anchors of the first few."""


@dataclass(frozen=True)
class Overview:
    """What became of a run's tasks."""

    output: str
    tasks: int
    rows: int
    status: Mapping[str, int]
    """How many tasks are `done`, `quarantined`, `reused`."""
    seconds: float
    """Of all tasks that this run did, added up over the cores."""
    bytes_read: int | None
    """What their processes read meanwhile; None where the system does not tell."""
    peak_memory: int | None
    """Bytes: the largest peak of a process; None where the system does not tell."""
    retried: int
    """How many tasks were tried more than once."""
    slowest: tuple[Mapping[str, Any], ...]
    """Rows of `tasks.parquet`, the slowest first."""
    without_rows: int
    """How many tasks gave no rows without failing."""
    empty: tuple[Mapping[str, Any], ...]
    """The first few of those, as rows of `tasks.parquet`."""
    failures: tuple[Alike, ...] = ()
    """The most frequent ones first."""
    other_failures: int = 0
    """How many failed tasks are in none of these groups."""
    further: Mapping[str, int] = field(default_factory=dict)
    """The rows of each further table, by its file or folder."""


def find_overview(run: Run, most: int = SHOWN_TASKS) -> Overview:
    """Read what became of a run's tasks, in memory that does not grow with their number.

    Parameters
    ----------
    run
        The run.
    most
        How many tasks and groups of each kind are told of.

    Raises
    ------
    ScaledprocError
        If the run is not finished, an early version made it, or its files are damaged.
    """
    if run.record.state != "done":
        raise ScaledprocError(f"the run in {run.store} is not finished: scaledproc status shows how far it is")
    totals: dict[str, int] = {}
    status: dict[str, int] = {}
    seconds, peaks = 0.0, [-1]
    has_read = False
    slowest: list[dict[str, Any]] = []
    empty: list[dict[str, Any]] = []
    try:
        for table in read_tables(run.store, TASKS):
            for each in table["status"].value_counts().to_pylist():
                status[each["values"]] = status.get(each["values"], 0) + each["counts"]
            is_empty = pc.and_(pc.equal(table["rows"], 0), pc.not_equal(table["status"], QUARANTINED))
            retried = pc.sum(pc.fill_null(pc.greater(table["attempts"], 1), False)).as_py() or 0
            read = pc.sum(table["bytes_read"]).as_py()
            has_read = has_read or read is not None
            few = {"tasks": table.num_rows, "rows": pc.sum(table["rows"]).as_py(), "read": read, "retried": retried}
            few["without_rows"] = pc.sum(is_empty).as_py()
            few |= {name: pc.sum(table[name]).as_py() for name in table.column_names if name.startswith("rows_")}
            for name, value in few.items():
                totals[name] = totals.get(name, 0) + (value or 0)
            seconds += pc.sum(table["seconds"]).as_py() or 0.0
            peaks.append(pc.max(table["peak_memory"]).as_py() or -1)
            slowest = _slowest([*slowest, *_candidates(table, most)], most)
            if len(empty) < most:
                empty += table.filter(is_empty).slice(0, most - len(empty)).to_pylist()
    except FileNotFoundError:
        raise ScaledprocError(
            f"{run.store} has no {TASKS}: an earlier version made it, or it is gone; scaledproc verify tells"
        ) from None
    except KeyError as error:
        raise ScaledprocError(f"{run.store}/{TASKS} is of another version: {error}") from None
    failures = Groups()
    for table in read_tables(run.store, ERRORS, ["anchor", "kind", "error", "message"]):
        for row in table.to_pylist():
            failures.add(row["kind"], row["error"], row["message"], row["anchor"])
    shown, others = failures.most(most)
    return Overview(
        output=str(run.store),
        tasks=totals.get("tasks", 0),
        rows=totals.get("rows", 0),
        further={run.record.place_of_table(name): totals.get(f"rows_{name}", 0) for name in run.record.tables},
        status=status,
        seconds=seconds,
        bytes_read=totals["read"] if has_read else None,
        peak_memory=max(peaks) if max(peaks) >= 0 else None,
        retried=totals.get("retried", 0),
        slowest=tuple(slowest),
        without_rows=totals.get("without_rows", 0),
        empty=tuple(empty),
        failures=shown,
        other_failures=others,
    )


def first_failures(run: Run) -> tuple[tuple[Failure, ...], tuple[int, ...]]:
    """Failures of a run whose errors are written: one for each of the most frequent messages, and how many are alike.

    Raises
    ------
    DamagedError
        If the file of the errors is damaged.
    """
    groups, firsts, following = Groups(), dict[str, Failure](), dict[str, str | None]()
    first = None
    for table in read_tables(run.store, ERRORS, [each.name for each in fields(Failure) if each.name != "place"]):
        for row in table.to_pylist():
            if first is not None:
                following[first] = row["anchor"]
            is_first = groups.add(row["kind"], row["error"], row["message"], row["anchor"])
            first = row["anchor"] if is_first else None
            if is_first:
                firsts[row["anchor"]] = Failure(**row)
    shown, _ = groups.most(SHOWN_FAILURES)
    places = _places_of(run, {each.examples[0]: following.get(each.examples[0]) for each in shown})
    told = (replace(firsts[each.examples[0]], place=places.get(each.examples[0], "")) for each in shown)
    return tuple(told), tuple(each.count for each in shown)


def _places_of(run: Run, following: Mapping[str, str | None]) -> dict[str, str]:
    """The lines of the extractor's code where some tasks failed, of their tracebacks; each with the task after it."""
    try:
        with run.store.open(ERROR_LOG) as log:
            return {task: bounded(own_place(trace), NAME) for task, trace in few_tracebacks(log, following)}
    except store_errors():  # the failures are told all the same
        return {}


def _candidates(table: pa.Table, most: int) -> list[dict[str, Any]]:
    """The slowest tasks of a part."""
    timed = table.filter(pc.is_valid(table["seconds"]))
    if not timed.num_rows:  # as where an update made none of them; Arrow's function fails there
        return []
    found: list[dict[str, Any]] = timed.take(
        pc.select_k_unstable(timed, most, [("seconds", "descending"), ("anchor", "ascending")])
    ).to_pylist()
    return found


def _slowest(rows: list[dict[str, Any]], most: int) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: (-row["seconds"], row["anchor"]))[:most]


@dataclass
class Groups:
    """Messages as they come, those that are alike counted together."""

    held: dict[tuple[str, str, str], list[Any]] = field(default_factory=dict)
    others: int = 0

    def add(self, kind: str, error: str, message: str, anchor: str) -> bool:
        """Take one task's; whether it is the first of a group."""
        key = (kind, error, _alike(message[:_READ], anchor))
        found = self.held.get(key)
        if found is None and len(self.held) >= _GROUPS:
            self.others += 1
        elif found is None:
            self.held[key] = [message[:_READ], 1, [anchor]]
        else:
            found[1] += 1
            if len(found[2]) < 3:
                found[2].append(anchor)
        return found is None and key in self.held

    def most(self, count: int) -> tuple[tuple[Alike, ...], int]:
        """The largest groups, and how many tasks are in none of them."""
        ordered = sorted(self.held.items(), key=lambda item: -item[1][1])  # stable: the first to come stays first
        shown = tuple(
            Alike(kind, error, message, number, tuple(examples))
            for (kind, error, _), (message, number, examples) in ordered[:count]
        )
        return shown, self.others + sum(item[1][1] for item in ordered[count:])


def _alike(message: str, anchor: str) -> str:
    """A message without what differs from task to task."""
    for name in _names(anchor):
        message = message.replace(name, "<task>")
    return re.sub(r"\d+", "#", message)


def _names(anchor: str) -> Iterator[str]:
    """What a message may call a task, the longest first; no name that could be any word."""
    file = anchor.rpartition("/")[2]
    yield from (name for name in (anchor, anchor.rpartition(".")[0], file, file.partition(".")[0]) if len(name) > 3)
