"""Steps of a run that an update has too: jobs on a backend, the end in run.json, what is told of both."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scaledproc._util.process.machine import shortage
from scaledproc.engine.past.overview import first_failures
from scaledproc.engine.provenance import finished_record, seconds_since_start
from scaledproc.errors import ScaledprocError
from scaledproc.events import (
    ChunkDone,
    CombineDone,
    Event,
    Failure,
    Note,
    RunFinished,
    RunStarted,
    ShardDone,
    ShardState,
)
from scaledproc.planning.calibration import remember
from scaledproc.run_folder.names import REPORT
from scaledproc.storage.store import describe, store_errors

if TYPE_CHECKING:
    from scaledproc.backend.base import Backend, Job
    from scaledproc.engine.failing import Alarm
    from scaledproc.engine.options import Listener, RunOptions
    from scaledproc.planning.plan import Plan
    from scaledproc.run_folder.folder import RunFolder
    from scaledproc.run_folder.run import Run
    from scaledproc.storage.store import Store

AtEnd = Callable[["RunFolder"], str]
"""Makes what a finished run's folder has besides, such as its report; returns what a person should read of that."""
MEASURED = 2.0  # core-seconds of work, from which on a run's measurements say something


@dataclass(frozen=True)
class RunTerms:
    """What a run, or an update, is made with.

    Parameters
    ----------
    options, backend
        Of the run.
    others
        Further runs that rows may be taken from.
    on_event, ask
        Who listens, and who is asked.
    started
        When the command was, by `time.perf_counter`.
    at_end
        Makes what the folder has besides.
    """

    options: RunOptions
    backend: Backend
    others: tuple[Run, ...]
    on_event: Listener | None
    ask: Callable[[str], bool]
    started: float
    at_end: AtEnd | None = None


def do_jobs(
    current: RunFolder,
    backend: Backend,
    steps: Sequence[Sequence[Job]],
    on_event: Listener | None,
    ask: Callable[[str], bool],
) -> CombineDone | None:
    """Jobs, step after step. What the combine job told; None where there was none, or the service did it by itself."""
    combined = None
    alarm, is_failing = None, True
    try:
        for jobs in steps:
            for event in backend.run(current, jobs):
                tell(on_event, event)
                if is_failing and isinstance(event, (ChunkDone, ShardDone, ShardState)):
                    is_failing = event.tasks == event.quarantined
                    if is_failing and event.tasks:
                        alarm = alarm or _alarm(current)
                        warning = alarm.hear(event)
                        is_failing = warning == ""
                        tell_notes([warning] if warning else [], on_event)
                if isinstance(event, CombineDone):
                    combined = event
                    tell_notes(event.notes, on_event)
    except KeyboardInterrupt:
        parting = backend.interrupt(ask)
        if parting:
            tell(on_event, Note(parting))
        raise
    except BaseException:
        backend.stop()
        raise
    return combined


def _alarm(current: RunFolder) -> Alarm:
    from scaledproc.engine.failing import Alarm

    return Alarm(current)


def finish(
    current: RunFolder,
    combined: CombineDone,
    started: float | None,
    on_event: Listener | None,
    *,
    backend: Mapping[str, Any] | None = None,
    keep: bool = False,
    timeline: Mapping[str, Any] | None = None,
    at_end: AtEnd | None = None,
    afterwards: Store | None = None,
) -> RunFolder:
    """Write the end into run.json, then remove what only an unfinished run needs, unless it is to be kept.

    `started` is when the command was started that did the whole run, by this process's clock; None where this process
    did only its end, so that only run.json knows the beginning. `afterwards` is the run's folder as it may be changed
    once the run is done, where that is not as before.
    """
    shards = current.shard_reports(range(current.record.counts["shards"]))
    seconds = seconds_since_start(current.record) if started is None else time.perf_counter() - started
    changes = finished_record(current, combined, shards, seconds)
    if timeline:
        changes["timings"] = {**changes["timings"], "timeline": dict(timeline)}
    if current.record.replaces:  # elsewhere an earlier run's report is still there
        current.store.remove_files([REPORT])
    done = current.with_record(**changes, backend=backend or current.record.backend)
    if afterwards is not None:
        done = done.within(afterwards)
    if not keep:
        done.clean_up()
    if done.record.timings.get("work_seconds", 0) >= MEASURED and not done.record.counts.get("reused"):
        remember(done.extractor, done.record)
    add_last(done, at_end, on_event)
    if on_event is not None:
        tell(on_event, finished_event(done, combined.seconds if seconds is None else seconds))
    return done


def add_last(done: RunFolder, at_end: AtEnd | None, on_event: Listener | None) -> None:
    """Make what the folder has besides, and tell what is to be read of that."""
    note = "" if at_end is None else at_end(done)
    if note:
        tell(on_event, Note(note))


@contextlib.contextmanager
def reporting(where: str = "", consolation: str = "", *, writes: bool = False) -> Iterator[None]:
    """What a disk or a store refuses becomes an error for a person.

    Parameters
    ----------
    where, consolation
        What is said before and after it.
    writes
        Whether something is written, so that another folder may help.
    """
    try:
        yield
    except Exception as error:
        if not isinstance(error, ScaledprocError) and (reason := shortage(error)):  # whatever it was needed for
            raise ScaledprocError(f"{describe(error)}: {reason}{consolation}") from error
        if isinstance(error, store_errors()):  # known only once the store's library is in use
            from scaledproc.storage.refusals import refusal_text

            told = refusal_text(error, writes=writes) or describe(error)
            raise ScaledprocError(f"{where}{told}{consolation}") from error
        raise


def started_event(current: RunFolder, planned: Plan, backend: Backend, *, resumed: bool) -> RunStarted:
    """What is told when the jobs are about to begin."""
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


def finished_event(current: RunFolder, seconds: float, *, already: bool = False) -> RunFinished:
    """What is told at the end; of a run that was finished before without its failures."""
    record = current.record
    failures, alike = ((), ()) if already or not record.counts["quarantined"] else _failures_of(current)
    return RunFinished(
        output=str(current.store),
        tasks=record.counts["tasks"],
        rows=record.counts["rows"],
        size=record.bytes["input"],
        quarantined=record.counts["quarantined"],
        seconds=seconds,
        already=already,
        failures=failures,
        alike=alike,
        table=record.place_of_table(),
        further={record.place_of_table(name): record.counts.get(f"rows_{name}", 0) for name in record.tables},
    )


def _failures_of(current: RunFolder) -> tuple[tuple[Failure, ...], tuple[int, ...]]:
    """What failed, to be told; nothing where it cannot be read: the run is done all the same."""
    try:
        return first_failures(current)
    except Exception as error:
        if isinstance(error, (ScaledprocError, OSError, *store_errors())):
            return (), ()
        raise


def tell_notes(notes: Sequence[str], on_event: Listener | None) -> None:
    """Tell what a person should read."""
    for note in notes:
        tell(on_event, Note(note))


def tell(on_event: Listener | None, event: Event) -> None:
    """Tell whoever listens.

    Raises
    ------
    ScaledprocError
        If whoever listens cannot write what it was told.
    """
    if on_event is None:
        return
    try:
        on_event(event)
    except OSError as error:  # a notebook's or a script's output that cannot be written: nobody else is to blame
        raise ScaledprocError(f"on_event cannot tell of {type(event).__name__}: {describe(error)}") from error
