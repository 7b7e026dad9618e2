"""One task, in this process: found, its files brought here, its extractor called; for whoever writes an extractor."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from scaledproc._util.nearest import LOOKED_AT, nearest_paths
from scaledproc._util.process.memory import PeakMemory
from scaledproc.engine.driver import make
from scaledproc.engine.options import PlanOptions, wants_keys
from scaledproc.engine.provenance import IN_MEMORY
from scaledproc.errors import ScaledprocError, UsageError
from scaledproc.execution.chunks.task_call import StagingError
from scaledproc.execution.staging import Direct, Stager
from scaledproc.execution.tables.finishing import finish_table, finished_schema, has_keys
from scaledproc.execution.tables.keys import keyed_rows
from scaledproc.execution.workers.printing import was_debugged
from scaledproc.extractors import Extractor, Task, load_extractor
from scaledproc.extractors.code.fingerprint import working_here
from scaledproc.extractors.registry import settle_options
from scaledproc.extractors.rows.collector import REFUSALS, RefusedRowsError, RowCollector, SchemaError
from scaledproc.extractors.rows.several import MAIN, collector_for, rows_of_table
from scaledproc.extractors.tables import tables_of
from scaledproc.planning.inventory import Inventory, matches
from scaledproc.planning.plan import Chunk, Plan, make_plan
from scaledproc.planning.shared_files import at_hand, find_shared, paths_of
from scaledproc.run_folder.names import RECORD
from scaledproc.run_folder.run import Run
from scaledproc.storage.listing import is_safe_name
from scaledproc.storage.local_files import Watch, forget
from scaledproc.storage.store import Store

SHOWN = 3  # anchors in a message
TRIED = 10
"""Tasks, one after the other, until one gives rows, where any may be tried."""
_NOTHING = "name what is to be tried: EXTRACTOR INPUT [TASK], OUTPUT, OUTPUT#ANCHOR, or OUTPUT --failed N"
NOTED = 2_000  # characters of a row in an error's note
_EXTRACTORS = Path(__file__).parents[1] / "extractors"
_ROWS = f"{_EXTRACTORS / 'rows'}/"
_CALLERS = (__file__, str(_EXTRACTORS / "base.py"), _ROWS)
"""Whose frames stand before an extractor's own."""
_FILES = pa.schema([("path", pa.large_string()), ("size", pa.int64()), ("version", pa.large_string())])


class Target(NamedTuple):
    """A task that is to be tried.

    Parameters
    ----------
    dataset
        Where its files are.
    plan
        A plan that has the task, as the dataset is now.
    place
        The task's, in the plan.
    extractor
        What to call.
    run
        The folder of the run that it is a task of; None where it is of no run.
    among
        How many tasks what was asked for stands for.
    with_keys
        Whether its rows have the columns that lead back to it.
    others
        Places of the next few tasks that are meant too, for where this one gives no rows.
    """

    dataset: Store
    plan: Plan
    place: int
    extractor: Extractor
    run: Store | None = None
    among: int = 1
    with_keys: bool = False
    others: tuple[int, ...] = ()


@dataclass(frozen=True)
class Trial:
    """What became of a task that was tried.

    Parameters
    ----------
    task
        The task.
    schema
        What the extractor declares.
    among
        How many tasks what was asked for stands for; this is the first of them.
    rows
        What it gave, as `features.parquet` would have it; None where it failed.
    error
        What it failed with; None where it did not.
    seconds
        Its time.
    memory, memory_before
        Most bytes that this process took meanwhile, and those that it had before; None where the system does not tell.
    tables
        What it gave to further tables, by their names.
    passed
        Anchors of the tasks that were tried before, and gave no rows.
    """

    task: Task
    schema: pa.Schema
    among: int
    rows: pa.Table | None
    error: BaseException | None
    seconds: float
    memory: int | None
    memory_before: int | None
    tables: Mapping[str, pa.Table] = field(default_factory=dict)
    passed: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether it gave no rows without failing."""
        return self.rows is not None and not any(each.num_rows for each in (self.rows, *self.tables.values()))


@dataclass(frozen=True)
class OffendingRow:
    """A row that does not fit.

    Parameters
    ----------
    values
        What was given, by its names.
    columns
        What is wrong with a value, by the column's name; none where something else is wrong.
    """

    values: Mapping[str, Any]
    columns: Mapping[str, str]


# What is tried


def find_target(
    extractor: Any,
    where: str,
    task: str | None,
    asked: PlanOptions,
    inputs: Mapping[str, Any],
    outputs: Mapping[str, Any],
    failed: int | None = None,
) -> Target:
    """The task that a person means.

    Parameters
    ----------
    extractor
        As for `load_extractor`; None for that of the run.
    where
        A dataset's folder or URL, one of its files, the folder of a run with `failed`, or that with `#` and an anchor.
    task
        An anchor of the dataset, or a glob of some; its first task where None is given.
    asked
        How the dataset is planned.
    inputs, outputs
        Arguments for the fsspec filesystems of the dataset and of the run.
    failed
        Which of the run's quarantined tasks, from 1.

    Raises
    ------
    UsageError
        If there is no such task, or what is given stands for none.
    ScaledprocError
        If the dataset or the run's folder cannot be read.
    """
    if not where:
        raise UsageError(_NOTHING)
    of_run = _split_run(where, outputs, failed, may_be_whole=extractor is None and task is None)
    if of_run is not None:
        if task is not None:
            raise UsageError(f"{task!r} is one word too many: a run's task is OUTPUT#ANCHOR, or OUTPUT --failed N")
        return _of_run(*of_run, extractor, asked, inputs)
    if extractor is None:
        raise UsageError(_NOTHING)
    source, options = settle_options(extractor, asked.options)
    made = load_extractor(source, options)
    parent, _, name = where.rstrip("/").rpartition("/")
    if _is_file(where, parent, name, inputs):
        if task is not None:
            raise UsageError(f"{where} is a file, and so a task of its own: leave {task!r} out")
        return _of_file(Store.at(parent or "/" if "/" in where else ".", inputs), name, made, asked)
    dataset = Store.at(where, inputs)
    plan = make(dataset, asked, made, cores=1, together=True)
    if not plan.n_tasks:
        raise ScaledprocError("; ".join(plan.warnings))
    (index, *others), among = _choose(plan, task)
    return Target(dataset, plan, index, made, None, among, wants_keys(asked, made), tuple(others))


def _choose(plan: Plan, task: str | None) -> tuple[Sequence[int], int]:
    """The places of the first few tasks that are meant, and how many are."""
    anchors = plan.tasks["anchor"]
    if task is None:
        return range(min(plan.n_tasks, TRIED)), plan.n_tasks
    index = pc.index(anchors, pa.scalar(task, anchors.type)).as_py()
    if index >= 0:
        return [index], 1
    meant = np.flatnonzero(matches(anchors, [task]).to_numpy(zero_copy_only=False))
    if not len(meant):
        raise UsageError(f"no task begins at {task!r}; give an anchor or a glob of some: {_nearest(anchors, task)}")
    return meant[:TRIED].tolist(), len(meant)


def _nearest(anchors: pa.ChunkedArray, word: str) -> str:
    """The anchors that are most like what was asked for, before all others those of its folder."""
    folder = word.rpartition("/")[0]
    beside = anchors.filter(pc.starts_with(anchors, f"{folder}/")) if folder else anchors
    found = nearest_paths(word, (beside if len(beside) else anchors).slice(0, LOOKED_AT).to_pylist(), SHOWN)
    return ", ".join(map(repr, found)) + (", …" if len(anchors) > len(found) else "")


def _is_file(where: str, parent: str, name: str, inputs: Mapping[str, Any]) -> bool:
    if "://" not in where:
        return Path(where).expanduser().is_file()
    if where.endswith("/") or parent.endswith("/"):  # of a bucket alone
        return False
    return bool(Store.at(parent, inputs).sizes([name], listed=False))


def _of_file(folder: Store, name: str, made: Extractor, asked: PlanOptions) -> Target:
    """The task that begins at a file, of which the folder is all that is known of the dataset."""
    found = folder.versions()
    names = [each for each in found if is_safe_name(each) and (asked.hidden or each == name or each[0] != ".")]
    sizes = folder.sizes(names)
    files = pa.table([list(sizes), list(sizes.values()), [found[each] for each in sizes]], schema=_FILES)
    try:
        reads = find_shared(folder, made.reads, made.label)
    except UsageError as error:
        raise UsageError(f"{error}; give the dataset's folder, and the task behind it") from None
    plan = make_plan(
        Inventory(files),
        made,
        unit=asked.unit,
        anchors=asked.anchor or None,
        wants=lambda anchor: anchor == name,
        reads=reads,
    )
    if not plan.n_tasks:
        globs = " or ".join(asked.anchor or made.anchors)
        raise UsageError(
            f"{name} starts no task of {made.label} by itself: its anchors are {globs}, its units "
            f"{asked.unit or made.unit} (--anchor and --unit give others; or give the dataset's folder, and the task "
            "behind it)"
        )
    return Target(folder, plan, 0, made, with_keys=wants_keys(asked, made))


def _split_run(
    where: str, outputs: Mapping[str, Any], failed: int | None, *, may_be_whole: bool
) -> tuple[Run, str] | None:
    """The run and the anchor that are named, the first where none is; None where no run is."""
    if failed is not None:
        run = Run.open(Store.at(where, outputs))
        return run, _failed(run, failed)
    if may_be_whole and Store.at(where, outputs).exists(RECORD):
        run = Run.open(Store.at(where, outputs))
        return run, str(run.plan.tasks["anchor"][0].as_py())
    if "://" not in where and Path(where).expanduser().exists():
        return None
    for end in (at for at, char in enumerate(where) if char == "#"):
        store = Store.at(where[:end], outputs) if where[:end] else None
        if store is not None and store.exists(RECORD):
            return Run.open(store), where[end + 1 :]
    return None


def _failed(run: Run, number: int) -> str:
    """The anchor of a quarantined task, by its place in the run's errors from 1."""
    errors = run.errors()
    if not 1 <= number <= errors.num_rows:
        has = f"1 to {errors.num_rows:,}" if errors.num_rows else "none"
        raise UsageError(f"--failed {number}: the quarantined tasks of {run.store} are {has}")
    return str(errors["anchor"][number - 1].as_py())


def _of_run(run: Run, anchor: str, extractor: Any, asked: PlanOptions, inputs: Mapping[str, Any]) -> Target:
    """A task of a run, with its unit's files as they are now."""
    plan = run.plan
    index = pc.index(plan.tasks["anchor"], pa.scalar(anchor, plan.tasks["anchor"].type)).as_py()
    if index < 0:
        near = _nearest(plan.tasks["anchor"], anchor)
        raise UsageError(f"the run in {run.store} has no task {anchor!r}; its plan.parquet has the anchors: {near}")
    if extractor is None:
        if str(run.source).startswith(IN_MEMORY):
            raise UsageError(
                f"the extractor of {run.store} was none that can be found by a name: name the extractor: EXTRACTOR "
                "OUTPUT#ANCHOR; or in Python try_task(extractor, …)"
            )
        source, given = settle_options(run.source, asked.options)
        made = load_extractor(source, {**(run.record.extractor.get("options") or {}), **(given or {})})
    else:
        source, given = settle_options(extractor, asked.options)
        made = load_extractor(source, given)
    dataset = Store.at(run.dataset.uri, inputs)
    (unit,) = plan.units_of(index, index + 1)
    start, stop = int(plan.unit_tasks[unit]), int(plan.unit_tasks[unit + 1])
    sizes = dataset.sizes(plan.files_of(unit)["path"].to_pylist(), listed=False)
    if not sizes:
        raise ScaledprocError(
            f"no file of {anchor!r} is in {dataset} any more; where the dataset is elsewhere now, name it: scaledproc "
            "try EXTRACTOR INPUT TASK"
        )
    files = pa.table([list(sizes), list(sizes.values()), [""] * len(sizes)], schema=_FILES)
    now = replace(
        plan,
        tasks=plan.tasks.slice(start, stop - start),
        files=files,
        unit_tasks=np.array([0, stop - start]),
        unit_files=np.array([0, len(sizes)]),
        shard_cuts=np.array([0, stop - start]),
        chunk_cuts=np.array([0, stop - start]),
        reads=find_shared(dataset, made.reads, made.label),
    )
    if asked.with_keys is not None:
        with_keys = asked.with_keys
    else:
        with_keys = has_keys(run.record) if extractor is None else made.with_keys
    return Target(dataset, now, index - start, made, run.store, with_keys=with_keys)


# How it is tried


def try_first_with_rows(
    target: Target, scratch: Path | None = None, on_error: Callable[[BaseException], None] = lambda _: None
) -> Trial:
    """Try a task; where it gives no rows, the next few until one does, or fails; the first of all where none does.

    A dataset may begin with tasks that only tell of others, as WFDB's master headers do.
    The parameters and errors are those of `try_target`.
    """
    first = done = try_target(target, scratch, on_error)
    passed: list[str] = []
    for place in target.others:
        if not done.is_empty:
            break
        passed.append(done.task.anchor)
        done = try_target(target._replace(place=place), scratch, on_error)
    return replace(done, passed=tuple(passed)) if not done.is_empty else replace(first, passed=tuple(passed))


def try_target(
    target: Target, scratch: Path | None = None, on_error: Callable[[BaseException], None] = lambda _: None
) -> Trial:
    """Call the extractor with one task, in this process, and take its rows as a run would.

    Parameters
    ----------
    target
        The task.
    scratch
        Where remote files are staged; the system's temporary folder where none is given.
    on_error
        Called with what the task failed with, while its files are still here.

    Raises
    ------
    UsageError
        If the extractor's schema cannot be written.
    ScaledprocError
        If a file that the extractor declared cannot be fetched, or its `finish` fails.
    KeyboardInterrupt
        If a person ends it, or quits a debugger that the task started.
    """
    dataset, plan, index, extractor = target[:4]
    collector = collector_for(extractor)
    finished_schema(extractor, with_keys=target.with_keys)
    (unit,) = plan.units_of(index, index + 1)
    chunk = Chunk(0, 0, index, index + 1, int(plan.unit_sizes[unit]))
    with Direct(dataset) if dataset.local else Stager(dataset, plan, [chunk], scratch) as stager:
        shared = paths_of(at_hand(plan.reads, stager.share(plan.reads))) if plan.reads else {}
        staged = stager.stage(chunk).result()[unit]
        sizes = plan.sizes_of(unit)
        watch = Watch(str(staged.root), sizes if staged.is_dataset else None)
        group, name, anchor = (plan.tasks[column][index].as_py() for column in ("group", "unit", "anchor"))
        task = Task(group, name, anchor, staged.root, frozenset(sizes), shared, watch=watch)
        extractor.expect(chunk.size)
        table, error = None, None
        with PeakMemory() as memory, working_here(extractor):
            started = time.perf_counter()
            try:
                table = _rows_of(extractor, task, staged.problem, collector)
            except KeyboardInterrupt:
                raise
            except BaseException as raised:  # sys.exit() included, as in a run
                if was_debugged(raised):
                    raise KeyboardInterrupt from raised
                error = raised
            finally:
                seconds = time.perf_counter() - started
                forget()
        if isinstance(error, SchemaError):
            _add_row(error)
        if error is not None:
            on_error(error)
    rows, tables = None, {}
    if table is not None:
        further = tables_of(extractor)
        schemas = {MAIN: extractor.schema, **further}
        each = {
            name: pa.concat_tables(rows_of_table([table], number, name, schema)) if further else table
            for number, (name, schema) in enumerate(schemas.items())
        }
        each[MAIN] = finish_table(extractor, each[MAIN])
        if target.with_keys:
            each = {name: keyed_rows(found, task) for name, found in each.items()}
        rows, tables = each.pop(MAIN), each
    return Trial(task, extractor.schema, target.among, rows, error, seconds, memory.peak, memory.before, tables)


def _rows_of(extractor: Extractor, task: Task, problem: str | None, collector: RowCollector) -> pa.Table:
    """The rows of a task.

    Raises
    ------
    SchemaError
        If the rows do not fit the schema, or Arrow or Parquet does not take them.
    StagingError
        If the unit's files could not be fetched.
    """
    if problem is not None:
        raise StagingError(problem)
    watch = task.watch
    assert watch is not None
    watch.begin(task.anchor)
    returned = extractor.extract(task)
    try:
        collector.add(returned, watch.check)
    except SchemaError:
        watch.check()  # then that is why
        raise
    try:
        table = collector.take()
        pq.write_table(table, pa.BufferOutputStream(), version="2.6")
    except RefusedRowsError as error:
        raise next(iter(error.errors.values())) from None
    except MemoryError:
        raise
    except REFUSALS as error:
        raise SchemaError(f"Arrow or Parquet refuses the rows: {error}") from error
    return table


# What became of it


def offending_row(error: BaseException) -> OffendingRow | None:
    """The row that does not fit the schema; None where that is not what is wrong, or it is not known."""
    if not isinstance(error, SchemaError):
        return None
    values = _values_at(error.item, error.place)
    return None if values is None else OffendingRow(values, error.columns or {})


def _values_at(item: Any, place: int) -> dict[str, Any] | None:
    """A row of what an extractor gave: the item itself, or a row of a table."""
    if isinstance(item, Mapping):
        return {str(name): value for name, value in item.items()}
    try:
        if isinstance(item, (pa.Table, pa.RecordBatch)):
            (row,) = item.slice(place, 1).to_pylist()
            return dict(row)
        if type(item).__module__.partition(".")[0] == "pandas":
            found = item.iloc[place] if hasattr(item, "columns") else item
            return {str(name): value for name, value in found.items()}
        if hasattr(item, "row"):  # of polars
            return {str(name): value for name, value in item.row(place, named=True).items()}
    except Exception:  # whatever it is: the error's own text tells enough
        return None
    return None


def _add_row(error: SchemaError) -> None:
    """Have a traceback show the row, as pytest and a notebook do it."""
    row = offending_row(error)
    if row is not None:
        text = repr(row.values)
        error.add_note(f"the row: {text if len(text) <= NOTED else text[: NOTED - 1] + '…'}")


def own_traceback(error: BaseException) -> TracebackType | None:
    """An error's traceback from the extractor's first line on; without the checks of rows, which say nothing to it."""
    trace = error.__traceback__
    frames: list[TracebackType] = []
    while trace is not None:
        is_callers = trace.tb_frame.f_code.co_filename.startswith(_CALLERS)
        if not is_callers or (frames and not isinstance(error, SchemaError)):
            frames.append(trace)
        trace = trace.tb_next
    made: TracebackType | None = None
    for each in reversed(frames):
        made = TracebackType(made, each.tb_frame, each.tb_lasti, each.tb_lineno)
    return made


def trace_text(error: BaseException) -> str:
    """An error with its own traceback, as Python shows it."""
    return "".join(traceback.format_exception(type(error), error, own_traceback(error)))
