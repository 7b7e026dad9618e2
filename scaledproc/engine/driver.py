"""The whole story: a dataset, a plan, a backend, one table."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from scaledproc.backend.base import Backend, Job
from scaledproc.engine.options import Listener, PlanOptions, RunOptions, wants_keys
from scaledproc.engine.preflight import (
    check_places,
    differences,
    foreign_names,
    other_plan,
    refuse_changes,
    refuse_twins,
    refuse_unfinished,
    why_empty,
)
from scaledproc.engine.provenance import as_asked_before, continued_options, new_record
from scaledproc.engine.steps import (
    AtEnd,
    RunTerms,
    add_last,
    do_jobs,
    finish,
    finished_event,
    reporting,
    started_event,
    tell,
    tell_notes,
)
from scaledproc.engine.timeline import Timeline
from scaledproc.errors import OtherPlanError, ScaledprocError, UsageError
from scaledproc.events import Detached, Note
from scaledproc.execution.workers.sending import check_sendable
from scaledproc.extractors import Extractor, load_extractor
from scaledproc.extractors.code.fingerprint import working_here
from scaledproc.extractors.rows.several import collector_for
from scaledproc.extractors.tables import tables_of
from scaledproc.planning.inventory import Inventory, NoteOfRuns, choose, take_inventory
from scaledproc.planning.partition import ChunkCut, ShardCut
from scaledproc.planning.shared_files import find_shared
from scaledproc.run_folder.beginning import Decision, begin, decide
from scaledproc.run_folder.folder import RunFolder
from scaledproc.run_folder.lock.driver_lease import hold_lease
from scaledproc.run_folder.lock.lease_store import HeldError
from scaledproc.run_folder.names import ERROR_LOG, ERRORS, INVENTORY, LOGS, MAIN_TABLE, PLAN, REPORT, TASKS, WARNINGS
from scaledproc.run_folder.record import OTHER_FORM, RunRecord, form_of, read_record
from scaledproc.run_folder.replacement import is_half_replaced
from scaledproc.run_folder.run import Run
from scaledproc.storage.store import Store

if TYPE_CHECKING:
    from scaledproc.planning.plan import Plan

_KEPT = (INVENTORY, PLAN, ERRORS, ERROR_LOG, TASKS, WARNINGS)
"""Files that stay as they are when the table is combined anew, as do those in `logs/`."""


def execute(
    dataset: Store,
    output: Store,
    options: RunOptions,
    backend: Backend,
    on_event: Listener | None,
    ask: Callable[[str], bool],
    others: tuple[Run, ...] = (),
    at_end: AtEnd | None = None,
) -> RunFolder:
    """Run a plan, or what is left of it, or what differs from an earlier run.

    Parameters
    ----------
    dataset, output, options, backend
        What is asked for.
    on_event, ask
        Who listens, and who is asked.
    others
        The runs that rows may be taken from.
    at_end
        Makes what the folder of a run that was finished has besides.
    """
    started = time.perf_counter()
    works_here = backend.capabilities.is_here and backend.capabilities.executes
    is_private = dataset.is_private or output.is_private
    in_process = works_here and (is_private or (backend.cores == 1 and not options.limits.need_processes))
    if works_here and not in_process and isinstance(options.extractor, Extractor):
        check_sendable(options.extractor)
    with _prepared(dataset, output, options, backend):  # before all that takes time, imports too
        from scaledproc.execution.chunks.loading import load_anew
        from scaledproc.execution.tables.finishing import finished_schema

        load_anew()
        if options.with_keys is None and not options.overwrite:
            options = as_asked_before(options, _readable(output))
        extractor = load_extractor(options.extractor, options.options or {})
        collector_for(extractor)  # complains of a schema that cannot be, as the next does
        finished_schema(extractor, with_keys=wants_keys(options, extractor))
        check_places(dataset, output, options.extractor, backend, tables_of(extractor))
        with working_here(extractor) if in_process else contextlib.nullcontext():
            return _carry_out(dataset, output, options, extractor, backend, on_event, ask, others, started, at_end)


def _prepared(
    dataset: Store, output: Store, options: RunOptions, backend: Backend
) -> contextlib.AbstractContextManager[object]:
    """What the backend begins before there is a plan; nothing where there may be nothing to do."""
    existing = None if options.overwrite else _readable(output)
    is_idle = existing is not None and existing.state == "done" and not (options.update or options.retry_failed)
    if dataset.is_private or output.is_private or is_idle:
        return contextlib.nullcontext()
    return backend.prepared(options.limits, options.extractor, options.options or {})


def _carry_out(
    dataset: Store,
    output: Store,
    options: RunOptions,
    extractor: Extractor,
    backend: Backend,
    on_event: Listener | None,
    ask: Callable[[str], bool],
    others: tuple[Run, ...],
    started: float,
    at_end: AtEnd | None,
) -> RunFolder:
    here = backend.capabilities.is_here
    planned = make(dataset, options, extractor, cores=backend.cores, together=here, skip=dataset.contains(output))
    if not planned.n_tasks:
        raise ScaledprocError("; ".join(planned.warnings))
    if options.compare == "content":
        from scaledproc.engine.update import compared_by_content

        there = None if options.overwrite else _readable(output)
        known = [] if there is None else [RunFolder(output, dataset, options.extractor, there)]
        planned = compared_by_content(planned, dataset, [*known, *others])
    _tell_warnings(planned, dataset, output, options, on_event)
    record = new_record(dataset, options, extractor, options.options or {}, planned, backend)
    new = RunFolder(output, dataset, options.extractor, record)
    if not backend.capabilities.executes:
        tell(on_event, started_event(new, planned, backend, resumed=False))
        for event in backend.run(new, [*(Job(shard) for shard in range(planned.n_shards)), Job()]):
            tell(on_event, event)
        return new
    existing, decision = _look(new, planned, options, backend)
    if existing is not None and decision == "finished":
        return _leave(new, existing, planned, options, backend, on_event, at_end)
    for note in backend.check(new, planned):
        tell(on_event, Note(note))
    with contextlib.ExitStack() as stack:
        try:
            new = new.within(stack.enter_context(hold_lease(output, backend.name, on_event)))
        except HeldError as error:
            is_shared = backend.capabilities.shares and error.lease is not None and error.lease.backend == backend.name
            if not is_shared or decision != "continue":
                raise
            tell(on_event, Note(f"{error}; going on beside it"))
        terms = RunTerms(options, backend, others, on_event, ask, started, at_end)
        done = _execute(new, planned, terms)
        return done.within(output)


def _tell_warnings(
    planned: Plan, dataset: Store, output: Store, options: RunOptions, on_event: Listener | None
) -> None:
    """Tell what to know of the plan; of runs in the dataset's folder once, when a run begins that is not there yet."""
    of_runs: list[str] = [warning for warning in planned.warnings if isinstance(warning, NoteOfRuns)]
    is_inside = bool(dataset.contains(output))
    if (of_runs or is_inside) and not options.overwrite and _is_begun(output):
        of_runs, is_inside = [], False
    if is_inside and not of_runs:
        of_runs = ["the output lies in the dataset's folder, where plans leave out folders of runs"]
    for warning in (*of_runs, *(each for each in planned.warnings if not isinstance(each, NoteOfRuns))):
        tell(on_event, Note(warning))


def _is_begun(output: Store) -> bool:
    """Whether a run is in the folder, though it may be damaged."""
    try:
        return read_record(output) is not None
    except ScaledprocError:
        return True


def _look(
    new: RunFolder, planned: Plan, options: RunOptions, backend: Backend
) -> tuple[RunRecord | None, Decision | Literal["update", "put in place"]]:
    """What is in the output folder, and what to do with it."""
    overwrite = options.overwrite
    existing = None if overwrite else read_record(new.store)
    if existing is not None and is_half_replaced(replace(new, record=existing)):
        return existing, "put in place"
    names = foreign_names(new.store, new.dataset)
    try:
        decision = decide(existing, new.record.plan_id, names, overwrite=overwrite)
    except OtherPlanError as error:
        assert existing is not None
        if options.update:
            return existing, "update"
        raise other_plan(new, existing, planned, str(error), backend.cores) from None
    except UsageError as error:
        raise UsageError(f"{new.store}: {error}") from None
    there = None if existing is None else replace(new, record=existing)
    if options.retry_failed and there is None:
        raise UsageError(f"{new.store} holds no run whose failed tasks could be done again; is it spelled right?")
    if decision == "begin" or there is None:
        return existing, "update" if options.reuse else decision
    if decision == "continue" and options.reuse and not options.update:
        return None, "update"
    if options.update:
        from scaledproc.engine.update import needs_update

        if needs_update(there, new.record, planned):
            return existing, "update"
    if options.retry_failed:
        if decision == "continue":
            raise UsageError(f"{new.store} is not finished: the same command without --retry-failed continues it first")
        refuse_changes(there, planned, backend.cores)
        if there.quarantined:
            return existing, "update"
    return existing, decision


def _execute(
    new: RunFolder,
    planned: Plan,
    terms: RunTerms,
) -> RunFolder:
    """Write the output, which nobody else does meanwhile."""
    output, options, backend, on_event = new.store, terms.options, terms.backend, terms.on_event
    refusals_told = partial(
        reporting,
        f"{output} cannot be read or written: ",
        "; what is committed is kept, the same command continues",
        writes=True,
    )
    existing, decision = _look(new, planned, options, backend)  # again: another driver may have ended in between
    if existing is not None and decision == "put in place":
        from scaledproc.engine.update import put_in_place

        tell(on_event, Note("an update was ended while it was put in place: going on with that"))
        put_in_place(new, existing)
        existing, decision = _look(new, planned, options, backend)
    if existing is not None and decision == "finished":
        return _leave(new, existing, planned, options, backend, on_event, terms.at_end)
    resumed = existing is not None and decision == "continue"
    refuse_twins(new, existing or _readable(output), backend, same=resumed)
    if existing is not None and resumed:
        existing, decision = _look(new, planned, options, backend)  # once more: its jobs may have ended it meanwhile
        if existing is not None and decision == "finished":
            return _leave(new, existing, planned, options, backend, on_event, terms.at_end)
    if decision == "update":
        from scaledproc.engine.update import update

        if existing is not None and options.table is None:
            new = replace(new, record=replace(new.record, options={**new.record.options, "table": form_of(existing)}))
        with refusals_told():
            return update(new, existing, planned, terms)
    if existing and resumed:
        backend.take_over(existing.backend)
        current = _resume(new, existing, planned, options, backend, on_event)
    else:
        if options.update:
            tell(on_event, Note(f"{output} holds no run that could be updated: all tasks are done"))
        current = begin(new, planned)
    tell(on_event, started_event(current, current.plan, backend, resumed=resumed))
    with refusals_told():
        if backend.detaches:
            tell(on_event, Detached(backend.detach(current), str(current.store)))
            ended = read_record(current.store)
            if ended is not None and ended.state == "done":  # by its jobs, which were quicker
                return replace(current, record=ended)
            return current.with_record(backend=backend.record())
        shards = [Job(shard) for shard in range(current.record.counts["shards"])]
        timeline = Timeline(terms.started, backend.cores)
        combined = do_jobs(current, backend, [shards, [Job()]], timeline.through(on_event), terms.ask)
        if combined is None:
            return _ended_elsewhere(current, terms)
        return finish(
            current,
            combined,
            terms.started,
            on_event,
            backend=backend.record(),
            timeline=timeline.to_record(),
            at_end=terms.at_end,
        )


def _readable(output: Store) -> RunRecord | None:
    """The run that is there, if it can be read: one that `--overwrite` is about to throw away may be damaged."""
    try:
        return read_record(output)
    except ScaledprocError:
        return None


def _ended_elsewhere(current: RunFolder, terms: RunTerms) -> RunFolder:
    """A run that the service ended while this process watched."""
    record = read_record(current.store)
    if record is None or record.state != "done":
        raise ScaledprocError("the backend ended without combining the shards; run the same command again")
    done = RunFolder(current.store, current.dataset, current.source, record)
    done.clean_up()
    tell_notes(record.notes, terms.on_event)
    add_last(done, terms.at_end, terms.on_event)
    tell(terms.on_event, finished_event(done, time.perf_counter() - terms.started))
    return done


def make(
    dataset: Store, options: PlanOptions, extractor: Extractor, *, cores: int, together: bool, skip: str | None = None
) -> Plan:
    """The plan of a dataset, for so many cores of a machine, which does one shard or all of them together."""
    from scaledproc.planning.plan import make_plan

    shards, chunks = ShardCut.parse(options.shards), ChunkCut.parse(options.chunk)
    selected = None
    if options.only is not None:
        from scaledproc.fetching.selection.only import Selected, Selection, follow_headers

        selected = Selected(Selection.read(options.only))
    inventory = find_inventory(dataset, options, skip=skip)
    if selected is not None:
        follow_headers(selected, dataset, inventory.files["path"])
    made = make_plan(
        inventory,
        extractor,
        unit=options.unit,
        anchors=options.anchor or None,
        limit=options.limit,
        wants=None if selected is None else selected.wants,
        shards=shards,
        chunks=chunks,
        cores=cores,
        together=together,
        reads=find_shared(dataset, extractor.reads, extractor.label),
        with_keys=wants_keys(options, extractor),
    )
    missing = None if selected is None else selected.missing_text(str(dataset))
    if missing:
        made = replace(made, warnings=(missing, *made.warnings))
    if made.n_tasks:
        return made
    reason = why_empty(
        dataset,
        options.anchor or extractor.anchors,
        extractor,
        inventory.files,
        chosen=bool(options.include or options.exclude),
    )
    return replace(made, warnings=made.warnings if missing else (reason, *made.warnings))


def find_inventory(dataset: Store, options: PlanOptions, *, skip: str | None = None) -> Inventory:
    """The dataset as it is listed now, or as it was listed before."""
    if options.inventory is None:
        return take_inventory(
            dataset, include=options.include, exclude=options.exclude, skip=skip, hidden=options.hidden
        )
    from scaledproc.planning.saved_inventory import read_inventory

    saved = read_inventory(options.inventory, dataset)
    return choose(saved, include=options.include, exclude=options.exclude, skip=skip, hidden=options.hidden)


def _resume(
    new: RunFolder,
    existing: RunRecord,
    planned: Plan,
    options: RunOptions,
    backend: Backend,
    on_event: Listener | None,
) -> RunFolder:
    current = RunFolder(new.store, new.dataset, new.source, existing)
    refuse_changes(current, planned, backend.cores)
    for note in differences(existing, new.record):
        tell(on_event, Note(note))
    timings = {**existing.timings, "starts": existing.timings.get("starts", 1) + 1}
    form = options.table or form_of(existing)
    if form != form_of(existing):
        tell(on_event, Note(f"going on with --table {form}"))
        current.remove_tables()
    return current.with_record(
        extractor=new.record.extractor,
        options=continued_options(existing, new.record, form),
        versions=new.record.versions,
        timings=timings,
        backend=backend.record(),
    )


def _leave(
    new: RunFolder,
    existing: RunRecord,
    planned: Plan,
    options: RunOptions,
    backend: Backend,
    on_event: Listener | None,
    at_end: AtEnd | None,
) -> RunFolder:
    """Leave a finished run as it is, if it is what is asked for and is all there; the run."""
    started = time.perf_counter()
    finished = RunFolder(new.store, new.dataset, new.source, existing)
    refuse_unfinished(finished, new.record.extractor["options"] if options.options is not None else None)
    refuse_changes(finished, planned, backend.cores)
    is_combined = finished.record.is_combined
    form = options.table if options.table != form_of(finished.record) else None
    is_left = is_combined and form is None
    # What only tidies up may be refused, as it may have been made read-only.
    with contextlib.suppress(*((OSError, HeldError) if is_left else ())), contextlib.ExitStack() as stack:
        if finished.store.fence is None:
            finished = finished.within(stack.enter_context(hold_lease(finished.store, backend.name, on_event)))
        finished = settled(finished, backend)
        if form is not None:
            tell(on_event, Note(f"making the table of the shards anew, as --table {form}"))
        elif not is_combined:
            tell(on_event, Note("the table was being combined anew when that was ended: doing it again"))
        if is_left:
            finished.clean_up()
            if finished.record.options.get("report", True) and not finished.store.exists(REPORT):
                add_last(finished, at_end, on_event)  # it was ended before it came to that
        else:
            finished = combine_anew(finished, on_event, table=form)
            add_last(finished, at_end, on_event)
    if is_left:
        tell_notes(finished.record.notes, on_event)
    seconds = 0.0 if is_left else time.perf_counter() - started
    tell(on_event, finished_event(finished, seconds, already=True))
    return finished.within(new.store)


def combine_anew(
    run: RunFolder,
    on_event: Listener | None,
    options: Mapping[str, Any] | None = None,
    table: str | None = None,
) -> RunFolder:
    """Write the table and the summaries of a finished run again.

    Until they are there, run.json has no digests of them, which tells the next command that they may be of two kinds.

    Parameters
    ----------
    run, on_event
        The run; who listens.
    options
        Others for the extractor than those that the run has.
    table
        Another form of the table than the run's.
    """
    from scaledproc.execution.tables.combine import combine

    run.clean_up()
    kept = {name: digest for name, digest in run.record.digests.items() if _is_kept(name)}
    extractor = run.record.extractor if options is None else {**run.record.extractor, "options": options}
    asked = with_report(run)
    if table is not None and table != form_of(run.record):
        asked |= {"table": table, OTHER_FORM: form_of(run.record)}
    sizes = {name: size for name, size in run.record.sizes.items() if name in kept or name not in run.record.digests}
    wanted = replace(run, record=replace(run.record, options=asked))
    before = _versions(wanted)
    begun = run.with_record(digests=kept, sizes=sizes, extractor=extractor, options=asked)
    try:
        combined = combine(begun)
    except Exception:
        if _versions(wanted) == before:  # nothing was written
            run.with_record()
        raise
    tell(on_event, combined)
    tell_notes(combined.notes, on_event)
    sizes |= run.store.sizes(combined.digests, listed=False)
    run.store.remove_files([REPORT])  # of the table before, which is there no more
    done = begun.with_record(
        summaries=combined.summaries,
        notes=combined.notes,
        bytes={**run.record.bytes, "features": sum(sizes[name] for name in begun.record.files_of_table())},
        digests={**kept, **combined.digests},
        sizes=sizes,
    )
    done.clean_up()
    return done


def with_report(run: RunFolder) -> dict[str, Any]:
    """A run's options; it has a report if one is there: somebody asked for it since, and it is to stay true."""
    return {**run.record.options, **({"report": True} if run.store.exists(REPORT) else {})}


def _is_kept(name: str) -> bool:
    return name in _KEPT or name.startswith(f"{LOGS}/")


def _versions(run: RunFolder) -> dict[str, str]:
    """What changes when a file of the table is written."""
    names = {*run.record.files_of_table()}
    folder = MAIN_TABLE if run.record.has_table_folders else ""
    versions = run.store.versions(folder)
    return {name: versions[name] for name in versions if (f"{folder}/{name}" if folder else name) in names}


def settled(run: RunFolder, backend: Backend) -> RunFolder:
    """A finished run, with what its backend has yet to say of it in run.json."""
    if run.record.state != "done" or run.record.backend.get("name") != backend.name:
        return run
    backend.take_over(run.record.backend)
    added = backend.settle(run)
    return run if added is None else run.with_record(backend=added)
