"""The whole story: a dataset, a plan, a backend, one table."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from scaledproc._util.process.machine import shortage
from scaledproc.backend.base import Backend, Job
from scaledproc.backend.registry import load_backend
from scaledproc.engine.options import Listener, PlanOptions, RunOptions
from scaledproc.engine.preflight import (
    check_places,
    differences,
    foreign_names,
    other_plan,
    refuse_changes,
    refuse_unfinished,
    why_empty,
)
from scaledproc.engine.provenance import finished_record, new_record
from scaledproc.errors import OtherPlanError, ScaledprocError, UsageError
from scaledproc.events import SHOWN_FAILURES, CombineDone, Detached, Event, Failure, Note, RunFinished, RunStarted
from scaledproc.execution.limits import Limits
from scaledproc.execution.workers.sending import check_sendable
from scaledproc.extractors import Extractor, load_extractor
from scaledproc.extractors.code.fingerprint import working_here
from scaledproc.extractors.rows.collector import RowCollector
from scaledproc.planning.calibration import remember
from scaledproc.planning.inventory import Inventory, choose, matches, take_inventory
from scaledproc.planning.partition import ChunkCut, ShardCut
from scaledproc.planning.shared_files import find_shared
from scaledproc.run_folder.folder import Decision, RunFolder, begin, decide
from scaledproc.run_folder.lock.driver_lease import hold_lease
from scaledproc.run_folder.lock.keeper import HeldError
from scaledproc.run_folder.names import ERROR_LOG, ERRORS, FEATURES, INVENTORY, PLAN
from scaledproc.run_folder.record import RunRecord, read_record
from scaledproc.storage.store import Store, describe, store_errors

if TYPE_CHECKING:
    from scaledproc.planning.plan import Plan

MEASURED = 2.0  # core-seconds of work, from which on a run's measurements say something


def execute(
    dataset: Store,
    output: Store,
    options: RunOptions,
    backend: Backend,
    on_event: Listener | None,
    ask: Callable[[str], bool],
) -> RunFolder:
    """Run a plan, or what is left of it."""
    started = time.perf_counter()
    works_here = backend.capabilities.is_here and backend.capabilities.executes
    is_private = dataset.is_private or output.is_private
    in_process = works_here and (is_private or (backend.cores == 1 and not options.limits.need_processes))
    if works_here and not in_process and isinstance(options.extractor, Extractor):
        check_sendable(options.extractor)
    with _prepared(dataset, output, options, backend):  # before all that takes time, imports too
        from scaledproc.execution.combine import finished_schema

        extractor = load_extractor(options.extractor, options.options or {})
        RowCollector(extractor.schema)  # complains of a schema that cannot be, as the next does
        finished_schema(extractor)
        check_places(dataset, output, options.extractor, backend)
        with working_here(extractor) if in_process else contextlib.nullcontext():
            return _carry_out(dataset, output, options, extractor, backend, on_event, ask, started)


def _prepared(
    dataset: Store, output: Store, options: RunOptions, backend: Backend
) -> contextlib.AbstractContextManager[object]:
    """What the backend begins before there is a plan; nothing where there may be nothing to do."""
    existing = None if options.overwrite else _readable(output)
    if dataset.is_private or output.is_private or (existing is not None and existing.state == "done"):
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
    started: float,
) -> RunFolder:
    here = backend.capabilities.is_here
    planned = make(dataset, options, extractor, cores=backend.cores, together=here, skip=dataset.contains(output))
    if not planned.n_tasks:
        raise ScaledprocError("; ".join(planned.warnings))
    for warning in planned.warnings:
        _tell(on_event, Note(warning))
    record = new_record(dataset, options, extractor, options.options or {}, planned, backend)
    new = RunFolder(output, dataset, options.extractor, record)
    if not backend.capabilities.executes:
        _tell(on_event, _started(new, planned, backend, resumed=False))
        for event in backend.run(new, [*(Job(shard) for shard in range(planned.n_shards)), Job()]):
            _tell(on_event, event)
        return new
    existing, decision = _look(new, planned, overwrite=options.overwrite)
    if existing is not None and decision == "finished":
        return _leave(new, existing, planned, options, backend, on_event)
    for note in backend.check(new, planned):
        _tell(on_event, Note(note))
    with contextlib.ExitStack() as stack:
        try:
            new = new.within(stack.enter_context(hold_lease(output, backend.name, on_event)))
        except HeldError as error:
            is_shared = backend.capabilities.shares and error.lease is not None and error.lease.backend == backend.name
            if not is_shared or decision != "continue":
                raise
            _tell(on_event, Note(f"{error}; going on beside it"))
        done = _execute(new, planned, options, backend, started, on_event=on_event, ask=ask)
        return done.within(output)


def _look(new: RunFolder, planned: Plan, *, overwrite: bool) -> tuple[RunRecord | None, Decision]:
    """What is in the output folder, and what to do with it."""
    existing = None if overwrite else read_record(new.store)
    names = foreign_names(new.store, new.dataset)
    try:
        return existing, decide(existing, new.record.plan_id, names, overwrite=overwrite)
    except OtherPlanError as error:
        assert existing is not None  # noqa: S101
        raise other_plan(new, existing, planned, str(error)) from None
    except UsageError as error:
        raise UsageError(f"{new.store}: {error}") from None


def _execute(
    new: RunFolder,
    planned: Plan,
    options: RunOptions,
    backend: Backend,
    started: float,
    *,
    on_event: Listener | None,
    ask: Callable[[str], bool],
) -> RunFolder:
    """Write the output, which nobody else does meanwhile."""
    output = new.store
    existing, decision = _look(
        new, planned, overwrite=options.overwrite
    )  # again: another driver may have ended in between
    if existing is not None and decision == "finished":
        return _leave(new, existing, planned, options, backend, on_event)
    resumed = existing is not None and decision == "continue"
    _refuse_twins(new, existing or _readable(output), backend, same=resumed)
    if existing and resumed:
        backend.take_over(existing.backend)
        current = _resume(new, existing, planned, backend, on_event)
    else:
        current = begin(new, planned)
    _tell(on_event, _started(current, current.plan, backend, resumed=resumed))
    with reporting(f"{output} cannot be read or written: ", "; what is committed is kept, the same command continues"):
        if backend.detaches:
            _tell(on_event, Detached(backend.detach(current), str(current.store)))
            return current.with_record(backend=backend.record())
        combined = _do_jobs(current, backend, on_event, ask)
        if combined is None:
            return _ended_elsewhere(current, started, on_event)
        return finish(current, combined, started, on_event, backend=backend.record())


def _readable(output: Store) -> RunRecord | None:
    """The run that is there, if it can be read: one that `--overwrite` is about to throw away may be damaged."""
    try:
        return read_record(output)
    except ScaledprocError:
        return None


def _refuse_twins(new: RunFolder, existing: RunRecord | None, backend: Backend, *, same: bool) -> None:
    """See that no other backend's machines are at work for what is in the output folder, nor for what goes.

    Raises
    ------
    UsageError
        If jobs of another backend are at work for the run that is in the folder.
    """
    name = existing.backend.get("name") if existing else None
    if existing is None or existing.state != "running" or not name or (same and name == backend.name):
        return
    earlier = load_backend(str(name))
    if earlier.capabilities.is_here:
        return  # its processes are this machine's, or another's that cannot be asked
    there = RunFolder(new.store, new.dataset, new.source, existing)
    busy = earlier.recall(existing.backend, {}).at_work(there)
    if busy:
        jobs = "1 job" if busy == 1 else f"{busy} jobs"
        raise UsageError(
            f"{jobs} of the run in {new.store} {'is' if busy == 1 else 'are'} at work on the backend {name!r}: wait "
            f"for the end, or stop first: scaledproc stop {new.store}"
        )


def _ended_elsewhere(current: RunFolder, started: float, on_event: Listener | None) -> RunFolder:
    """A run that the service ended while this process watched."""
    record = read_record(current.store)
    if record is None or record.state != "done":
        raise ScaledprocError("the backend ended without combining the shards; run the same command again")
    done = RunFolder(current.store, current.dataset, current.source, record)
    done.clean_up()
    _tell_notes(record.notes, on_event)
    _tell(on_event, _finished(done, time.perf_counter() - started))
    return done


def make(
    dataset: Store, options: PlanOptions, extractor: Extractor, *, cores: int, together: bool, skip: str | None = None
) -> Plan:
    """The plan of a dataset, for so many cores of a machine, which does one shard or all of them together."""
    from scaledproc.planning.plan import make_plan

    shards, chunks = ShardCut.parse(options.shards), ChunkCut.parse(options.chunk)
    selected = None
    if options.only is not None:
        from scaledproc.planning.selection.only import Selected, Selection, read_headers

        selected = Selected(Selection.read(options.only))
    inventory = find_inventory(dataset, options, skip=skip)
    if selected is not None:
        headers = inventory.files["path"].filter(matches(inventory.files["path"], ["*.hea"]))
        selected.follow(headers.to_pylist(), partial(read_headers, dataset), into_segments=False)
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
    new: RunFolder, existing: RunRecord, planned: Plan, backend: Backend, on_event: Listener | None
) -> RunFolder:
    current = RunFolder(new.store, new.dataset, new.source, existing)
    refuse_changes(current, planned)
    limits = Limits.of(new.record.options).to_options()  # others than before may be why it is continued
    for note in differences(existing, new.record):
        _tell(on_event, Note(note))
    timings = {**existing.timings, "starts": existing.timings.get("starts", 1) + 1}
    return current.with_record(
        extractor=new.record.extractor,
        options={**existing.options, **limits},
        versions=new.record.versions,
        timings=timings,
        backend=backend.record(),
    )


def _leave(
    new: RunFolder, existing: RunRecord, planned: Plan, options: RunOptions, backend: Backend, on_event: Listener | None
) -> RunFolder:
    """Leave a finished run as it is, if it is what is asked for and is all there; the run."""
    finished = RunFolder(new.store, new.dataset, new.source, existing)
    refuse_unfinished(finished, new.record.extractor["options"] if options.options is not None else None)
    refuse_changes(finished, planned)
    is_combined = FEATURES in finished.record.digests
    # What only tidies up may be refused, as it may have been made read-only.
    with contextlib.suppress(*((OSError, HeldError) if is_combined else ())), contextlib.ExitStack() as stack:
        if finished.store.fence is None:
            finished = finished.within(stack.enter_context(hold_lease(finished.store, backend.name, on_event)))
        finished = settled(finished, backend)
        if is_combined:
            finished.clean_up()
        else:
            _tell(on_event, Note("the table was being combined anew when that was ended: doing it again"))
            finished = combine_anew(finished, on_event)
    if is_combined:
        _tell_notes(finished.record.notes, on_event)
    _tell(on_event, _finished(finished, 0.0, already=True))
    return finished.within(new.store)


def combine_anew(run: RunFolder, on_event: Listener | None, options: Mapping[str, Any] | None = None) -> RunFolder:
    """Write the table and the summaries of a finished run again.

    Until they are there, run.json has no digests of them, which tells the next command that they may be of two kinds.

    Parameters
    ----------
    run, on_event
        The run; who listens.
    options
        Others for the extractor than those that the run has.
    """
    from scaledproc.execution.combine import combine

    run.clean_up()
    kept = {name: digest for name, digest in run.record.digests.items() if name in (INVENTORY, PLAN, ERRORS, ERROR_LOG)}
    extractor = run.record.extractor if options is None else {**run.record.extractor, "options": options}
    before = run.store.versions().get(FEATURES)
    sizes = {name: size for name, size in run.record.sizes.items() if name in kept or name not in run.record.digests}
    begun = run.with_record(digests=kept, sizes=sizes, extractor=extractor)
    try:
        combined = combine(begun)
    except Exception:
        if run.store.versions().get(FEATURES) == before:  # nothing was written
            run.with_record()
        raise
    _tell(on_event, combined)
    _tell_notes(combined.notes, on_event)
    sizes |= run.store.sizes(combined.digests, listed=False)
    return begun.with_record(
        summaries=combined.summaries,
        notes=combined.notes,
        bytes={**run.record.bytes, "features": sizes[FEATURES]},
        digests={**kept, **combined.digests},
        sizes=sizes,
    )


def settled(run: RunFolder, backend: Backend) -> RunFolder:
    """A finished run, with what its backend has yet to say of it in run.json."""
    if run.record.state != "done" or run.record.backend.get("name") != backend.name:
        return run
    backend.take_over(run.record.backend)
    added = backend.settle(run)
    return run if added is None else run.with_record(backend=added)


def _do_jobs(
    current: RunFolder, backend: Backend, on_event: Listener | None, ask: Callable[[str], bool]
) -> CombineDone | None:
    """All shards, then their table; None where the service that has the run combined them by itself."""
    combined = None
    try:
        for jobs in ([Job(shard) for shard in range(current.record.counts["shards"])], [Job()]):
            for event in backend.run(current, jobs):
                _tell(on_event, event)
                if isinstance(event, CombineDone):
                    combined = event
                    _tell_notes(event.notes, on_event)
    except KeyboardInterrupt:
        parting = backend.interrupt(ask)
        if parting:
            _tell(on_event, Note(parting))
        raise
    except BaseException:
        backend.stop()
        raise
    return combined


def finish(
    current: RunFolder,
    combined: CombineDone,
    started: float,
    on_event: Listener | None,
    *,
    backend: Mapping[str, Any] | None = None,
    keep: bool = False,
) -> RunFolder:
    """Write the end into run.json, then remove what only an unfinished run needs, unless it is to be kept."""
    shards = current.shard_reports(range(current.record.counts["shards"]))
    seconds = time.perf_counter() - started
    changes = finished_record(current, combined, shards, seconds)
    done = current.with_record(**changes, backend=backend or current.record.backend)
    if not keep:
        done.clean_up()
    if done.record.timings.get("work_seconds", 0) >= MEASURED:
        remember(done.extractor, done.record)
    failures = tuple(failure for shard in shards for failure in shard.failures)[:SHOWN_FAILURES]
    _tell(on_event, _finished(done, seconds, failures=failures))
    return done


@contextlib.contextmanager
def reporting(where: str = "", consolation: str = "") -> Iterator[None]:
    """What a disk or a store refuses becomes an error for a person."""
    try:
        yield
    except Exception as error:
        if not isinstance(error, ScaledprocError) and (reason := shortage(error)):  # whatever it was needed for
            raise ScaledprocError(f"{describe(error)}: {reason}{consolation}") from error
        if isinstance(error, store_errors()):  # known only once the store's library is in use
            raise ScaledprocError(f"{where}{describe(error)}{consolation}") from error
        raise


def _started(current: RunFolder, planned: Plan, backend: Backend, *, resumed: bool) -> RunStarted:
    return RunStarted(
        plan_id=planned.plan_id,
        tasks=planned.n_tasks,
        size=planned.size,
        shards=planned.n_shards,
        chunks=planned.n_chunks,
        cores=backend.cores,
        output=str(current.store),
        resumed=resumed,
    )


def _finished(
    current: RunFolder, seconds: float, *, already: bool = False, failures: Sequence[Failure] = ()
) -> RunFinished:
    record = current.record
    return RunFinished(
        output=str(current.store),
        tasks=record.counts["tasks"],
        rows=record.counts["rows"],
        size=record.bytes["input"],
        quarantined=record.counts["quarantined"],
        seconds=seconds,
        already=already,
        failures=tuple(failures),
    )


def _tell_notes(notes: Sequence[str], on_event: Listener | None) -> None:
    for note in notes:
        _tell(on_event, Note(note))


def _tell(on_event: Listener | None, event: Event) -> None:
    if on_event is None:
        return
    try:
        on_event(event)
    except OSError as error:  # a notebook's or a script's output that cannot be written: nobody else is to blame
        raise ScaledprocError(f"on_event cannot tell of {type(event).__name__}: {describe(error)}") from error
