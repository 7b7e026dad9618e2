"""Run a plan, combine its shards anew, and do single jobs of it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from scaledproc._util.options import at_least, mapping
from scaledproc._util.types import Where
from scaledproc.api.arguments import AnExtractor, check_kinds, refuse_idle_options, settle
from scaledproc.backend import registry
from scaledproc.backend.base import Backend
from scaledproc.engine.driver import combine_anew, execute, with_report
from scaledproc.engine.options import JobOrder, Listener, RunOptions, split_options
from scaledproc.engine.steps import add_last, finish, reporting
from scaledproc.errors import TooManyFailuresError, UsageError
from scaledproc.events import ChunkDone, Event, Note
from scaledproc.extractors.registry import change_options
from scaledproc.reporting.notebook import shown_here
from scaledproc.reporting.report import load, write_at_end
from scaledproc.run_folder.folder import RunFolder
from scaledproc.run_folder.lock.driver_lease import hold_lease
from scaledproc.run_folder.record import form_of
from scaledproc.run_folder.replacement import is_half_replaced
from scaledproc.run_folder.run import Run
from scaledproc.storage.store import Store


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
    with_keys: bool | None = None,
    backend: str | Backend = "local",
    jobs: int | None = None,
    table: str | None = None,
    overwrite: bool = False,
    update: bool = False,
    retry_failed: bool = False,
    reuse: Iterable[Where] | Where = (),
    max_failures: str | int | None = None,
    report: bool = True,
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
    dataset, extractor, options, unit, anchor, include, exclude, only, hidden, limit, shards, chunk, compare, with_keys
        As for `plan`.
    output
        The folder to write, as a path or URL. A finished run of the same plan in it is left as it is, an unfinished
        one is continued (with the cuts that it was begun with).
    backend
        Where the jobs run: a name or a backend.
    jobs
        Processes of each machine; as many as it has cores where none is given; 1 for all in this process, unless a
        limit is given that only another process can keep.
    table
        The form of each table: `file`, or `dataset`, a folder with one file for each macro shard. Where None is given,
        that of the run in the output folder, or a file. Of a finished run another form is made of its shards.
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
    report
        Whether to write `report.html` at the end, a page that tells whether to trust the table; `scaledproc.report`
        makes it at any time.
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
    inventory
        As for `plan`.
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
    check_kinds(locals())
    asked = settle(RunOptions.parse(locals()))
    if asked.overwrite and (asked.update or asked.retry_failed or asked.reuse):
        raise UsageError("--overwrite throws the earlier run away, whose rows --update, --retry-failed or --reuse want")
    inputs, outputs = split_options(storage_options)
    machine = backend if isinstance(backend, Backend) else make_backend(backend, jobs, scratch, settings)
    source = Store.at(dataset, {**machine.store_options("input"), **inputs})
    store = Store.at(output, {**machine.store_options("output"), **outputs})
    refuse_idle_options(storage_options, {"input": source, "output": store})
    with (
        shown_here(on_event) as shown,
        reporting(f"{store} cannot be read or written: ", writes=True),
        _leaving_time(asked.grace),
    ):
        others = tuple(Run.open(Store.at(where, outputs)) for where in asked.reuse)
        heard = _loading_meanwhile(shown.listen) if asked.report else shown.listen
        done = execute(source, store, asked, machine, heard, ask or (lambda _: False), others, write_at_end)
        shown.finished(done.view)
    if asked.fails(done.quarantined, done.record.counts["tasks"]) and done.record.state == "done":
        raise TooManyFailuresError(
            f"{done.quarantined:,} of {done.record.counts['tasks']:,} tasks are quarantined, more than --max-failures "
            f"{max_failures}; the table has the rows of the others, errors.parquet beside it tells why"
        )
    return done.view


def _loading_meanwhile(listen: Listener | None) -> Listener:
    """Load what makes the report once the first chunk is done: others are at work then, at the end all would wait."""
    is_loaded = False

    def heard(event: Event) -> None:
        nonlocal is_loaded
        if listen is not None:
            listen(event)
        if not is_loaded and isinstance(event, ChunkDone):
            is_loaded = True
            with contextlib.suppress(Exception):  # the end says what is wrong
                load()

    return heard


def combine(
    output: Where,
    *,
    options: Mapping[str, Any] | None = None,
    table: str | None = None,
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
    table
        The form of each table, as for `run`; the one that it has where None is given.
    storage_options, on_event
        As for `run`.

    Raises
    ------
    UsageError
        If the extractor has no such option, or the rows of the shards depend on it.
    ScaledprocError
        If the folder holds no run, or a shard of the run is missing.
    """
    check_kinds(locals())
    from scaledproc.execution.tables.combine import combine as combine_shards

    form = RunOptions.parse({"table": table}).table
    _, outputs = split_options(storage_options)
    refuse_idle_options(storage_options, {"output": Store.at(output, outputs)})
    with reporting(writes=True):
        found = RunFolder.open(Store.at(output, outputs))
        if is_half_replaced(found):
            raise UsageError(
                f"{found.store} is being replaced by an update: run the command that updates it again first"
            )
        values = None
        if options:
            had = found.record.extractor.get("options") or {}
            values = change_options(str(found.source), had, mapping(options, "options"))
        open_store = found.store
        with hold_lease(open_store, str(found.record.backend.get("name") or "local"), on_event) as store:
            found = found.within(store)
            if found.record.state == "done":
                combined = combine_anew(found, on_event, values, form)
                add_last(combined, write_at_end, on_event)
            else:
                asked = with_report(found)
                if form is not None and form != form_of(found.record):
                    found.remove_tables()
                    asked["table"] = form
                if asked != found.record.options:
                    found = found.with_record(options=asked)
                if values is not None:
                    extractor = {**found.record.extractor, "options": values}
                    found = replace(found, record=replace(found.record, extractor=extractor))
                done = combine_shards(found)
                if on_event is not None:
                    on_event(done)
                    for note in done.notes:
                        on_event(Note(note))
                combined = finish(found, done, None, on_event, at_end=write_at_end)
        return combined.within(open_store).view


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
    check_kinds(locals())
    if not isinstance(shards, Iterable):
        raise UsageError(f"shards {shards!r}: give numbers of macro shards, such as [3]")
    number = at_least(0, "numbers of macro shards, such as [3]")
    shards = [number(shard, "shards") for shard in shards]
    from scaledproc.engine.job import do_job

    yield from do_job(JobOrder.parse(os.fspath(run), {**locals(), "shards": tuple(shards)}), write_at_end)


def make_backend(
    name: str, jobs: int | None = None, scratch: Where | None = None, settings: Mapping[str, Any] | None = None
) -> Backend:
    """The backend of a name, made with these settings.

    Raises
    ------
    UsageError
        If there is no backend of that name, what it needs is not installed, or a setting cannot have its value.
    """
    check_kinds(locals())
    if not isinstance(name, str):
        raise UsageError(f"backend: give a backend or its name, not a value of type {type(name).__name__}")
    return registry.make_backend(name, jobs, scratch, settings or {})


@contextlib.contextmanager
def _leaving_time(grace: float | None) -> Iterator[None]:
    """Listen for signals, where a time was asked for to finish what is at work."""
    if grace is None:
        yield
        return
    from scaledproc._util.process.signals import listening

    with listening(grace):
        yield
