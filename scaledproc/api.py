"""What a notebook calls, and the command line too: plan, run, combine, work, fetch."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from scaledproc._util.options import at_least, mapping, place
from scaledproc._util.types import Where
from scaledproc.backend.base import Backend, Expected
from scaledproc.backend.registry import MissingBackendError, load_backend, opening_options
from scaledproc.engine.driver import (
    combine_anew,
    execute,
    find_inventory,
    make,
    settled,
)
from scaledproc.engine.options import (
    SHOWN_TASKS,
    FetchOptions,
    JobOrder,
    Listener,
    PlanOptions,
    RunOptions,
    split_options,
)
from scaledproc.engine.steps import finish, reporting
from scaledproc.errors import TooManyFailuresError, UsageError
from scaledproc.events import Event, Note, ReuseFound
from scaledproc.execution.workers.pool import cores
from scaledproc.extractors import Extractor, load_extractor
from scaledproc.extractors.registry import change_options, settle_options
from scaledproc.fetching.defaults import PARALLEL, PHYSIONET
from scaledproc.reporting.notebook import shown_here
from scaledproc.run_folder.folder import Run, RunFolder
from scaledproc.run_folder.lock.driver_lease import hold_lease
from scaledproc.run_folder.replacement import is_half_replaced
from scaledproc.storage.store import Store

AnExtractor = str | Extractor | Callable[..., Any]
Asked = TypeVar("Asked", bound=PlanOptions)

if TYPE_CHECKING:
    import pyarrow as pa

    from scaledproc.engine.overview import Overview
    from scaledproc.engine.status import Status
    from scaledproc.engine.trial import Trial
    from scaledproc.engine.verify import Verified
    from scaledproc.fetching.transfer import Fetched
    from scaledproc.planning.inventory import Inventory
    from scaledproc.planning.plan import Plan


def plan(
    dataset: Where,
    *,
    extractor: AnExtractor = "wfdb-summary",
    options: Mapping[str, Any] | None = None,
    unit: str | None = None,
    anchor: Iterable[str] | str = (),
    include: Iterable[str] | str = (),
    exclude: Iterable[str] | str = (),
    only: Where | None = None,
    hidden: bool = False,
    limit: int | None = None,
    shards: str | int = "folder",
    chunk: str | int = "auto",
    compare: str = "listed",
    jobs: int | None = None,
    inventory: Where | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Plan:
    """Plan a run without doing it.

    Parameters
    ----------
    dataset
        A folder's path, or the URL of one on any fsspec filesystem.
    extractor
        A name, `package.module:name`, `path/to/file.py:name`, or an extractor: a decorated function, a `partial` of
        one, an instance of a class or the class.
    options
        Of the extractor, by name, such as `{"window": 60}`; each has a default.
    unit
        How files form units: `folder`, `stem`, `file`, or a regular expression with a group named `unit`; the
        extractor's own way where none is given.
    anchor
        Globs of the files that start a task, instead of the extractor's.
    include, exclude
        Globs of the files to look at.
    only
        A file that lists the records, folders or subjects to work on, one a line, or in a column of a CSV file
        (`FILE:COLUMN`). What is in no dataset is told.
    hidden
        Whether to look at files and folders whose names begin with a dot, too.
    limit
        Only so many units.
    shards
        Macro cut: `folder`, a number, or a size such as `50GB`.
    chunk
        Micro cut: `auto`, `per-core`, a number of tasks, or a size such as `64MB`.
    compare
        How a file is known to be the one of before, where a run is continued or updated: `listed` (its size and its
        time or etag) or `content` (its SHA-256).
    jobs
        Cores of one machine; as many as this one has where none is given.
    inventory
        What lists the dataset instead of listing it now: a file of `save_inventory`, or the manifest.json of a report
        of Amazon S3 Inventory.
    storage_options
        Arguments for the dataset's fsspec filesystem.

    Raises
    ------
    UsageError
        If there is no such extractor, an option of the plan or of the extractor cannot have its value, or a storage
        option is of no use here.
    ScaledprocError
        If the dataset cannot be listed, or the inventory cannot be read.
    """
    asked = _settled(PlanOptions.parse(locals()))
    inputs, _ = split_options(storage_options)
    source = Store.at(place(dataset, "dataset"), inputs)
    _refuse_idle_options(storage_options, {"input": source})
    made = load_extractor(asked.extractor, asked.options)
    return make(source, asked, made, cores=cores(jobs), together=True)


def save_inventory(
    dataset: Where,
    file: Where,
    *,
    include: Iterable[str] | str = (),
    exclude: Iterable[str] | str = (),
    hidden: bool = False,
    inventory: Where | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Inventory:
    """List a dataset into one file, which `plan` and `run` take as `inventory` instead of listing it again.

    Parameters
    ----------
    dataset, include, exclude, hidden, inventory
        As for `plan`.
    file
        The Parquet file to write, as a path or URL.
    storage_options
        Arguments for the fsspec filesystem of the dataset, and of the file.

    Raises
    ------
    ScaledprocError
        If the dataset cannot be listed, or the file cannot be written.
    """
    asked = PlanOptions.parse(locals())
    from scaledproc.planning import saved_inventory

    inputs, _ = split_options(storage_options)
    with reporting(f"{os.fspath(file)} cannot be written: "):
        source = Store.at(dataset, inputs)
        if saved_inventory.store_of(file, inputs).local is not None:
            _refuse_idle_options(storage_options, {"input": source})
        found = find_inventory(source, asked)
        saved_inventory.save_inventory(found, source, file)
    return found


def run(
    dataset: Where,
    output: Where,
    *,
    extractor: AnExtractor = "wfdb-summary",
    options: Mapping[str, Any] | None = None,
    unit: str | None = None,
    anchor: Iterable[str] | str = (),
    include: Iterable[str] | str = (),
    exclude: Iterable[str] | str = (),
    only: Where | None = None,
    hidden: bool = False,
    limit: int | None = None,
    shards: str | int = "folder",
    chunk: str | int = "auto",
    compare: str = "listed",
    backend: str | Backend = "local",
    jobs: int | None = None,
    overwrite: bool = False,
    update: bool = False,
    retry_failed: bool = False,
    reuse: Iterable[Where] | Where = (),
    max_failures: str | int | None = None,
    task_timeout: str | float | None = None,
    memory_per_worker: str | int | None = None,
    task_retries: int = 0,
    worker_lifespan: int | None = None,
    retry_on: str | Iterable[str] = (),
    memory_step: float = 1.0,
    keep_logs: bool = False,
    inventory: Where | None = None,
    storage_options: Mapping[str, Any] | None = None,
    scratch: Where | None = None,
    grace: str | float | None = None,
    settings: Mapping[str, Any] | None = None,
    on_event: Listener | None = None,
    ask: Callable[[str], bool] | None = None,
) -> Run:
    """Turn a dataset into one table of features; or continue where an interrupted run stopped.

    Parameters
    ----------
    dataset, extractor, options, unit, anchor, include, exclude, only, hidden, limit, shards, chunk, compare, inventory
        As for `plan`.
    output
        The folder to write, as a path or URL. A finished run of the same plan in it is left as it is, an unfinished
        one is continued (with the cuts that it was begun with).
    backend
        Where the jobs run: a name or a backend.
    jobs
        Processes of each machine; as many as it has cores where none is given; 1 for all in this process, unless a
        limit is given that only another process can keep.
    overwrite
        Throw away a run that is in the output folder.
    update
        Bring the run that is in the output folder up to date: do the tasks that are new, whose files changed or that
        failed, and all of them where the extractor changed; keep the rows of the others. The earlier run stays as it
        is until the new one is whole.
    retry_failed
        Do the quarantined tasks of the finished run in the output folder again, and nothing else.
    reuse
        Folders of further runs that rows may be taken from, of tasks with the same files: a path or URL, or several.
    max_failures
        Quarantined tasks that are still a success: a number, or a share such as `5%`; any number where none is given.
    task_timeout
        Time after which a task is ended and put into quarantine: seconds, or a text such as `5m`.
    memory_per_worker
        Memory that a worker process may take: bytes, or a text such as `2GB`.
    task_retries
        How often a task that failed is tried again. One that ended its process is tried again once anyway.
    worker_lifespan
        Chunks, after which a worker process is replaced by a fresh one.
    retry_on
        How a task must have failed that is tried once more: `timeout`, `memory`, `exception`, or several of them.
    memory_step
        How many times the memory of `memory_per_worker` a task gets, alone on the machine, that took more than that.
    keep_logs
        Keep in `logs/` what every task prints and logs, not only that of tasks that fail.
    storage_options
        Arguments for the fsspec filesystems; a name that begins with `input.` or `output.` is for that one only.
    scratch
        Local folder to stage remote data in.
    grace
        Time to finish the chunks at work when SIGINT (Ctrl-C) or SIGTERM comes: seconds, or a text such as `1m`. Where
        none is given, signals are left to the program that calls this.
    settings
        The backend's own, by name.
    on_event
        Called with each event as it happens. Where none is given, a notebook shows how far the run is.
    ask
        Puts a question to a person who interrupts a run whose jobs are elsewhere; without it they go on.

    Returns
    -------
    Run
        `to_arrow()`, `to_pandas()`, `to_dataset()` and `scan()` open its table, `summary(name)` a summary.
        `quarantined` is the number of failed tasks; `errors()` and `traceback(anchor)` tell of them.

    Raises
    ------
    UsageError
        If there is no such extractor or backend, an option or a setting cannot have its value, or the output folder
        holds another plan's run or files that are not a run's.
    TooManyFailuresError
        If more tasks are quarantined than `max_failures`; the run is finished all the same.
    ScaledprocError
        If the run cannot go on: another process has it, the dataset or the output folder cannot be read or written, or
        disk or memory is short. What is committed is kept: the same call continues.
    """
    asked = _settled(RunOptions.parse(locals()))
    if asked.overwrite and (asked.update or asked.retry_failed or asked.reuse):
        raise UsageError("--overwrite throws the earlier run away, whose rows --update, --retry-failed or --reuse want")
    inputs, outputs = split_options(storage_options)
    machine = backend if isinstance(backend, Backend) else make_backend(backend, jobs, scratch, settings)
    source = Store.at(place(dataset, "dataset"), {**machine.store_options("input"), **inputs})
    store = Store.at(place(output, "output"), {**machine.store_options("output"), **outputs})
    _refuse_idle_options(storage_options, {"input": source, "output": store})
    with (
        shown_here(on_event) as shown,
        reporting(f"{store} cannot be read or written: "),
        _leaving_time(asked.grace),
    ):
        others = tuple(Run.open(Store.at(where, outputs)) for where in asked.reuse)
        done = execute(source, store, asked, machine, shown.listen, ask or (lambda _: False), others)
        shown.finished(done.view)
    if asked.fails(done.quarantined, done.record.counts["tasks"]) and done.record.state == "done":
        raise TooManyFailuresError(
            f"{done.quarantined:,} of {done.record.counts['tasks']:,} tasks are quarantined, more than --max-failures "
            f"{max_failures}; the table has the rows of the others, errors.parquet beside it tells why"
        )
    return done.view


def try_task(
    extractor: AnExtractor | None,
    path: Where,
    task: str | None = None,
    *,
    options: Mapping[str, Any] | None = None,
    unit: str | None = None,
    anchor: Iterable[str] | str = (),
    include: Iterable[str] | str = (),
    exclude: Iterable[str] | str = (),
    only: Where | None = None,
    hidden: bool = False,
    inventory: Where | None = None,
    failed: int | None = None,
    storage_options: Mapping[str, Any] | None = None,
    scratch: Where | None = None,
) -> pa.Table:
    """The rows that an extractor gives for one task, as a run's table would have them. Nothing is written.

    The task is done in this process: what it prints is shown, and a debugger works. What it raises is raised.

    Parameters
    ----------
    extractor
        As for `plan`; None is that of the run, where the task is one of a run.
    path
        The file that the task begins at, of which the files beside it are the unit; a dataset, as for `plan`; or a
        run's folder with `#` and the anchor of one of its tasks.
    task
        Which task of the dataset: its anchor, or a glob of which it is the first. The plan's first one where none is
        given.
    options, unit, anchor, include, exclude, only, hidden, inventory
        As for `plan`. For a task of a run whose extractor is not given, other `options` than the run's.
    failed
        Which of the quarantined tasks, from 1, where the path is a run's folder.
    storage_options, scratch
        As for `run`.

    Raises
    ------
    UsageError
        If there is no such extractor or task, or an option cannot have its value.
    ScaledprocError
        If the dataset or the run's folder cannot be read.
    """
    given = {name: value for name, value in locals().items() if name not in ("extractor", "path", "task")}
    done = trial(extractor, path, task, **given)
    if done.rows is None:
        assert done.error is not None  # noqa: S101
        raise done.error
    return done.rows


def trial(
    extractor: AnExtractor | None,
    path: Where,
    task: str | None = None,
    *,
    failed: int | None = None,
    storage_options: Mapping[str, Any] | None = None,
    scratch: Where | None = None,
    on_error: Callable[[BaseException], None] = lambda _: None,
    **options: Any,
) -> Trial:
    """What becomes of one task in this process; the parameters are those of `try_task`.

    Parameters
    ----------
    extractor, path, task, failed, storage_options, scratch, options
        As for `try_task`.
    on_error
        Called with what the task failed with, while its files are here.
    """
    from scaledproc.engine.trial import find_target, try_target

    asked = PlanOptions.parse(options)
    inputs, outputs = split_options(storage_options)
    with reporting():
        target = find_target(extractor, os.fspath(place(path, "path")), task, asked, inputs, outputs, failed)
        sides = {"input": target.dataset} | ({} if target.run is None else {"output": target.run})
        _refuse_idle_options(storage_options, sides)
        return try_target(target, Path(scratch) if scratch else None, on_error)


def make_backend(
    name: str, jobs: int | None = None, scratch: Where | None = None, settings: Mapping[str, Any] | None = None
) -> Backend:
    """The backend of a name, made with these settings.

    Raises
    ------
    UsageError
        If there is no backend of that name, what it needs is not installed, or a setting cannot have its value.
    """
    if not isinstance(name, str):
        raise UsageError(f"backend: give a backend or its name, not a value of type {type(name).__name__}")
    own = {} if settings is None else mapping(settings, "settings")
    return load_backend(name)(jobs=jobs, scratch=Path(scratch) if scratch else None, **own)


def expect(
    made: Plan,
    backend: Backend,
    dataset: Where,
    extractor: AnExtractor = "wfdb-summary",
    *,
    options: Mapping[str, Any] | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Expected | None:
    """What a plan is expected to take and to cost on a backend; None where that cannot be told.

    Parameters
    ----------
    made
        The plan.
    backend
        How it is set.
    dataset, extractor, options, storage_options
        As for `plan`: what the backend may try some tasks with, to know.
    """
    inputs, _ = split_options(storage_options)
    source = Store.at(dataset, {**backend.store_options("input"), **inputs})
    return backend.estimate(made, source, load_extractor(*settle_options(extractor, options)))


def plan_update(
    dataset: Where,
    output: Where,
    *,
    extractor: AnExtractor = "wfdb-summary",
    options: Mapping[str, Any] | None = None,
    jobs: int | None = None,
    storage_options: Mapping[str, Any] | None = None,
    **given: Any,
) -> tuple[Plan, ReuseFound]:
    """Plan what `run(…, update=True)` would do, without doing it.

    Parameters
    ----------
    dataset, extractor, options, jobs, storage_options, given
        As for `plan`.
    output
        The folder of the run that would be updated.

    Returns
    -------
    tuple
        The plan of the tasks that are to be done, and how many they are for which reason. Whether the earlier run's
        files are what was written is looked at only when the update is done.

    Raises
    ------
    UsageError
        If an option cannot have its value, or rows of the run cannot be reused.
    ScaledprocError
        If the folder holds no run, or the dataset cannot be listed.
    """
    from scaledproc.engine.update import compared_by_content, plan_of_update

    asked = _settled(PlanOptions.parse({**given, "extractor": extractor, "options": options}))
    inputs, outputs = split_options(storage_options)
    source, store = Store.at(dataset, inputs), Store.at(output, outputs)
    _refuse_idle_options(storage_options, {"input": source, "output": store})
    with reporting(f"{store} cannot be read: "):
        there = Run.open(store)
        made = load_extractor(asked.extractor, asked.options)
        whole = make(source, asked, made, cores=cores(jobs), together=True, skip=source.contains(store))
        if asked.compare == "content":
            whole = compared_by_content(whole, source, [there])
        return plan_of_update(there, whole, asked, made, cores=cores(jobs))


def status(
    output: Where, *, storage_options: Mapping[str, Any] | None = None, settings: Mapping[str, Any] | None = None
) -> Status:
    """How far a run is, from any machine that can read its folder.

    Parameters
    ----------
    output
        The run's folder.
    storage_options
        Arguments for its fsspec filesystem.
    settings
        The backend's own that its jobs cannot be asked without, such as `{"profile": …}`.

    Raises
    ------
    ScaledprocError
        If the folder holds no run, or the backend cannot be asked about the run's jobs.
    """
    from scaledproc.engine.status import find_status

    try:
        run, backend = _recalled(output, storage_options, settings)
    except MissingBackendError as error:
        _, outputs = split_options(storage_options)
        with reporting(f"{output} cannot be read: "):
            return find_status(
                RunFolder.open(Store.at(output, outputs)), None, f"what its machines do is not known: {error}"
            )
    with reporting(f"{run.store} cannot be read: "):
        return find_status(settled(run, backend), backend)


def stop(
    output: Where, *, storage_options: Mapping[str, Any] | None = None, settings: Mapping[str, Any] | None = None
) -> int:
    """Stop the jobs of a run on a backend's machines; the parameters are those of `status`.

    Returns
    -------
    int
        How many there were. What they committed stays: `run` continues.

    Raises
    ------
    UsageError
        If the run is finished, or is run by the processes that began it, which end with Ctrl-C there.
    """
    from scaledproc.engine.status import at_work_in

    run, _ = _recalled(output, storage_options, settings)
    inner = at_work_in(run)
    run, backend = _recalled(inner.store.uri, storage_options, settings)
    if run.record.state == "done":
        raise UsageError(f"{run.store} is finished; there is nothing to stop")
    if backend.capabilities.is_here:
        raise UsageError(f"{run.store} is run by the processes that began it: end it there, with Ctrl-C")
    with reporting(f"{run.store} cannot be written: "):
        return backend.halt(run)


def _recalled(
    output: Where, storage_options: Mapping[str, Any] | None, settings: Mapping[str, Any] | None
) -> tuple[RunFolder, Backend]:
    """A run, and the backend that has it."""
    _, outputs = split_options(storage_options)
    settings = {} if settings is None else mapping(settings, "settings")
    outputs = {**opening_options(os.fspath(place(output, "output")), settings), **outputs}
    _refuse_idle_options(storage_options, {"output": Store.at(output, outputs)})
    with reporting(f"{output} cannot be read: "):
        run = RunFolder.open(Store.at(output, outputs))
    name = str(run.record.backend.get("name") or "local")
    backend = load_backend(name).recall(run.record.backend, settings or {})
    store = Store.at(output, {**backend.store_options("output"), **outputs})
    return replace(run, store=store), backend


def combine(
    output: Where,
    *,
    options: Mapping[str, Any] | None = None,
    storage_options: Mapping[str, Any] | None = None,
    on_event: Listener | None = None,
) -> Run:
    """Write the table and the summaries of a run's shards anew, without extracting again.

    Parameters
    ----------
    output
        The run's folder.
    options
        Of the extractor, those that only what is made of extracted rows depends on, such as `signal_names` of
        `wfdb-summary`; the others are those that the run has.
    storage_options, on_event
        As for `run`.

    Raises
    ------
    UsageError
        If the extractor has no such option, or the rows of the shards depend on it.
    ScaledprocError
        If the folder holds no run, or a shard of the run is missing.
    """
    from scaledproc.execution.combine import combine as combine_shards

    _, outputs = split_options(storage_options)
    _refuse_idle_options(storage_options, {"output": Store.at(output, outputs)})
    with reporting():
        found = RunFolder.open(Store.at(output, outputs))
        if is_half_replaced(found):
            raise UsageError(
                f"{found.store} is being replaced by an update: run the command that updates it again first"
            )
        values = None
        if options:
            values = change_options(str(found.source), found.record.extractor.get("options") or {}, options)
        open_store = found.store
        with hold_lease(open_store, str(found.record.backend.get("name") or "local"), on_event) as store:
            found = found.within(store)
            if found.record.state == "done":
                combined = combine_anew(found, on_event, values)
            else:
                if values is not None:
                    extractor = {**found.record.extractor, "options": values}
                    found = replace(found, record=replace(found.record, extractor=extractor))
                done = combine_shards(found)
                if on_event is not None:
                    on_event(done)
                    for note in done.notes:
                        on_event(Note(note))
                combined = finish(found, done, time.perf_counter() - done.seconds, on_event)
        return combined.within(open_store).view


def verify(
    output: Where,
    *,
    dataset: Where | None = None,
    inventory: bool = False,
    storage_options: Mapping[str, Any] | None = None,
) -> Verified:
    """Check a finished run against its plan: every task accounted for exactly once, every file as it was written.

    Parameters
    ----------
    output
        The run's folder. All of it is read.
    dataset
        Where the dataset lies, if not where the run found it.
    inventory
        Whether to list the dataset, and compare it with what the run listed.
    storage_options
        As for `run`.

    Returns
    -------
    Verified
        `ok`, and what is wrong: `problems`.

    Raises
    ------
    ScaledprocError
        If the folder holds no run, the run is not finished, or the dataset cannot be listed.
    """
    from scaledproc.engine.verify import verify_run
    from scaledproc.planning.inventory import take_inventory

    inputs, outputs = split_options(storage_options)
    with reporting():
        found = Run.open(Store.at(output, outputs))
        source = Store.at(dataset or found.dataset.uri, inputs)
        lists = inventory or dataset is not None
        _refuse_idle_options(storage_options, {"output": found.store, **({"input": source} if lists else {})})
        options = found.record.options

        def list_now() -> Inventory:
            chosen = {name: tuple(options.get(name) or ()) for name in ("include", "exclude")}
            # Runs of before there was such an option took what is hidden.
            takes_hidden = bool(options.get("hidden", True))
            return take_inventory(source, **chosen, skip=source.contains(found.store), hidden=takes_hidden)

        return verify_run(found, list_now if lists else None)


def show(output: Where, *, most: int = SHOWN_TASKS, storage_options: Mapping[str, Any] | None = None) -> Overview:
    """What became of a finished run's tasks: the slowest, those without rows, failures grouped by message.

    Parameters
    ----------
    output
        The run's folder.
    most
        How many tasks and groups of each kind are told of.
    storage_options
        As for `run`.

    Returns
    -------
    Overview
        Its size does not grow with the run's; all tasks are in `Run.tasks()`.

    Raises
    ------
    UsageError
        If `most` is no number of 1 or more.
    ScaledprocError
        If the folder holds no run, or the run is not finished or its files are damaged.
    """
    from scaledproc.engine.overview import find_overview

    most = at_least(1, "a number of tasks, 1 or more")(most, "--most")
    _, outputs = split_options(storage_options)
    store = Store.at(place(output, "output"), outputs)
    _refuse_idle_options(storage_options, {"output": store})
    with reporting(f"{store} cannot be read: "):
        return find_overview(Run.open(store), most)


def work(
    run: Where,
    shards: Sequence[int],
    *,
    combine: bool = False,
    jobs: int | None = None,
    storage_options: Mapping[str, Any] | None = None,
    scratch: Path | None = None,
) -> Iterator[Event]:
    """Do jobs of a run on this machine: what `scaledproc worker` does.

    Parameters
    ----------
    run
        The run's folder.
    shards
        Macro shards to make.
    combine
        Whether to combine the shards afterwards. run.json is left to whoever began the run.
    jobs, storage_options, scratch
        As for `run`.

    Raises
    ------
    UsageError
        If the run has no such shard or is finished, nothing was asked for, or the extractor is not what it was when the
        run was begun.
    ScaledprocError
        If the folder holds no run, or a job cannot be done.
    """
    from scaledproc.engine.job import do_job

    yield from do_job(JobOrder.parse(os.fspath(run), {**locals(), "shards": tuple(shards)}))


def fetch(
    source: Where,
    dest: Where,
    *,
    groups: str | None = None,
    records: int | None = None,
    limit: int | None = None,
    include: Iterable[str] | str = (),
    exclude: Iterable[str] | str = (),
    only: Where | None = None,
    parallel: int = PARALLEL,
    base_url: str = PHYSIONET,
    username: str | None = None,
    password: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
    on_event: Listener | None = None,
) -> Fetched:
    """Copy a dataset, or a part of it, to where a run can read it. What is there already is left as it is.

    Parameters
    ----------
    source
        A folder's path, the URL of one on any fsspec filesystem, or a database of PhysioNet: `mimic3wdb/1.0`
        (`physionet:mimic3wdb/1.0` even where there is such a folder; the newest version where none is given).
    dest
        The folder to copy to, as a path or URL. The relative paths stay.
    groups
        Top folders: `30-39`, `30,32,35-37`, `p00-p09`.
    records
        At most so many records of each group: lines of the database's RECORDS, or folders of files.
    limit
        At most so many records altogether.
    include, exclude
        Globs of the files to copy, as for `plan`.
    only
        A file that lists the records, folders or subjects to copy, as for `plan`.
    parallel
        Files at once.
    base_url
        Where the databases lie: PhysioNet, or a mirror of it.
    username, password
        For databases that need credentials; PHYSIONET_USERNAME and PHYSIONET_PASSWORD where none are given.
    storage_options
        Arguments for the fsspec filesystems; a name that begins with `input.` or `output.` is for that one only.
    on_event
        Called with each event as it happens.

    Returns
    -------
    Fetched
        What was fetched, what was there, and what could not be fetched (`failed`).

    Raises
    ------
    UsageError
        If SOURCE is neither a folder, a URL nor a database, DEST is a file or lies in SOURCE, or an option cannot have
        its value.
    ScaledprocError
        If the source cannot be read, has no file that was asked for, or the destination cannot be written. What was
        fetched is kept: the same call continues.
    """
    asked = FetchOptions.parse(locals())
    from scaledproc.fetching.selection.only import Selection
    from scaledproc.fetching.selection.subset import Choice
    from scaledproc.fetching.transfer import Folder, fetch_files, open_source, open_store

    selection = None if only is None else Selection.read(only)
    choice = Choice(groups, records, limit, asked.include, asked.exclude, selection)
    inputs, outputs = split_options(storage_options)
    store = open_store(os.fspath(place(dest, "dest")), outputs)
    notes: list[str] = []

    def hear(event: Event) -> None:
        if isinstance(event, Note):
            notes.append(event.text)
        if on_event is not None:
            on_event(event)

    with reporting():
        login = _login(username, password)
        found = open_source(
            os.fspath(place(source, "source")), inputs, base_url, login, parallel, lambda text: hear(Note(text))
        )
        read = found.store if isinstance(found, Folder) else f"{found} is a database of PhysioNet"
        _refuse_idle_options(storage_options, {"input": read, "output": store})
        done = fetch_files(found, store, choice, parallel=parallel, on_event=hear)
        return replace(done, notes=tuple(notes))


def _login(username: str | None, password: str | None) -> tuple[str, str] | None:
    username = username or os.environ.get("PHYSIONET_USERNAME")
    password = password or os.environ.get("PHYSIONET_PASSWORD")
    if username and not password:
        raise UsageError(f"there is no password for the username {username}: set PHYSIONET_PASSWORD")
    return (username, password) if username and password else None


def _refuse_idle_options(options: Mapping[str, Any] | None, sides: Mapping[str, Store | str]) -> None:
    """See that each storage option, but for those of a side that is not there, is for something.

    Parameters
    ----------
    options
        As they were given.
    sides
        The stores of `input` and `output`; a text says what is no store and takes no options.
    """
    for key in options or {}:
        side, dot, _ = key.partition(".")
        is_of_side = dot and side in ("input", "output")
        meant = [place for name, place in sides.items() if name == side or not is_of_side]
        if meant and all(isinstance(place, str) or place.local is not None for place in meant):
            folders = [str(place) for place in meant if not isinstance(place, str)]
            are = "is a folder" if len(folders) == 1 else "are folders"
            texts = [place for place in meant if isinstance(place, str)]
            texts += [f"{' and '.join(folders)} {are} on this machine"] if folders else []
            has = "has" if len(meant) == 1 else "have"
            raise UsageError(
                f"--storage-option {key}: {' and '.join(texts)}, which {has} no storage options; leave it out"
            )


def _settled(asked: Asked) -> Asked:
    """With the extractor's options read and checked, and the extractor made where it has no name."""
    source, options = settle_options(asked.extractor, asked.options)
    return replace(asked, extractor=source, options=options)


@contextlib.contextmanager
def _leaving_time(grace: float | None) -> Iterator[None]:
    """Listen for signals, where a time was asked for to finish what is at work."""
    if grace is None:
        yield
        return
    from scaledproc._util.process.signals import listening

    with listening(grace):
        yield
