"""An update: what no earlier run has the rows of is done, the rest of the table is taken from there.

The result has the bytes of a run from nothing. It is made in a run's folder of its own, `update/` below the output, or
in the output itself where nothing is there; what is to be done is a run too, in `work/todo/` of that, so backends and
resuming are what they always are. Only when it is whole it takes the place of the earlier one.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from scaledproc._util.text import count_text
from scaledproc.backend.base import Job
from scaledproc.engine.preflight import changed_sizes, refuse_twins, seconds_for, version_differences
from scaledproc.engine.provenance import continued_options
from scaledproc.engine.steps import RunTerms, add_last, do_jobs, finish, finished_event, started_event, tell, tell_notes
from scaledproc.engine.timeline import TIMELINE_OF, Timeline
from scaledproc.errors import DamagedError, ScaledprocError, UsageError
from scaledproc.events import Note, ReuseFound
from scaledproc.execution.reuse.builders import BUILDERS, Builders, builders_of
from scaledproc.execution.reuse.decision import Reuse, find_reuse, is_same_extractor
from scaledproc.execution.reuse.earlier import EarlierRun, open_earlier
from scaledproc.execution.reuse.shards import Finish, Origins, is_copy, make_shard, pieces_of
from scaledproc.execution.workers.pool import cores
from scaledproc.planning.partition import ChunkCut, ShardCut
from scaledproc.run_folder.beginning import begin
from scaledproc.run_folder.changes import OLD, changed_files, part_differences, texts_of
from scaledproc.run_folder.folder import RunFolder
from scaledproc.run_folder.forms import FILE
from scaledproc.run_folder.names import REUSED_TASKS, TODO, UPDATE
from scaledproc.run_folder.record import RunRecord, form_of, read_record
from scaledproc.run_folder.replacement import UPDATES, replace_run
from scaledproc.run_folder.run import Run
from scaledproc.run_folder.tasks_table import REUSED_SCHEMA
from scaledproc.storage.parquet import write_table

if TYPE_CHECKING:
    from scaledproc.engine.options import Listener, PlanOptions
    from scaledproc.extractors import Extractor
    from scaledproc.planning.plan import Plan
    from scaledproc.storage.store import Store


def needs_update(run: RunFolder, wanted: RunRecord, planned: Plan) -> bool:
    """Whether a run of the same plan would not be the same if it were done now.

    Parameters
    ----------
    run
        The one that is there.
    wanted
        What run.json would say.
    planned
        The plan.
    """
    if changed_files(run, planned):
        return True
    if run.record.state != "done":
        return False
    had = run.record.extractor["options"]
    return bool(run.quarantined or had != wanted.extractor["options"] or changed_sizes(run))


def compared_by_content(planned: Plan, dataset: Store, earlier: Iterable[Run]) -> Plan:
    """A plan with the SHA-256 of its files, of which earlier runs may know some."""
    from scaledproc.fetching.contents import with_contents

    plans = []
    for run in earlier:
        with suppress(ScaledprocError):  # of one that cannot be read all are read
            plans.append(run.plan)
    return with_contents(planned, dataset, plans)


def _is_same(run: Run, planned: Plan) -> bool:
    return is_same_extractor(run.record.extractor["fingerprint"], planned.fingerprint)


def plan_of_update(
    run: Run, planned: Plan, options: PlanOptions, extractor: Extractor, *, cores: int
) -> tuple[Plan, ReuseFound]:
    """The tasks that an update of a run would do, cut for this machine's cores; and why, as `update` tells it.

    Parameters
    ----------
    run
        The run.
    planned, options, extractor
        The whole plan, and what it was made of.
    cores
        To work with.

    Raises
    ------
    UsageError
        If the run's rows cannot be reused.
    """
    check_source(run, extractor.label, planned, is_replaced=True)
    reuse = find_reuse(planned, [open_earlier(run).known(is_same=_is_same(run, planned))])
    todo = _todo(planned, reuse, options, cores=cores, together=True)
    return replace(todo, warnings=(*planned.warnings, *todo.warnings)), _told(reuse, run, planned, cores)


def _todo(planned: Plan, reuse: Reuse, options: PlanOptions, *, cores: int, together: bool) -> Plan:
    """The plan of what is to be done."""
    todo = planned.of_tasks(reuse.is_todo)
    if not todo.n_tasks:
        return todo
    return todo.cut(ShardCut.parse(options.shards), ChunkCut.parse(options.chunk), cores=cores, together=together)


def check_source(run: Run, wanted: str, planned: Plan, *, is_replaced: bool) -> None:
    """See whether rows can be taken from an earlier run.

    Parameters
    ----------
    run
        The earlier run.
    wanted, planned
        What the extractor is called; the plan.
    is_replaced
        Whether the earlier run is the one that is updated, so that none of its rows need be of use.

    Raises
    ------
    UsageError
        If the run is another extractor's, or it cannot be told whether its rows are what they would be now.
    """
    label, was = str(run.record.extractor.get("label") or ""), run.record.extractor["fingerprint"]
    remedy = "give --overwrite to throw it away" if is_replaced else "leave --reuse out to do all tasks"
    if isinstance(was, str):
        raise UsageError(f"{run.store} cannot be reused: {OLD}; {remedy}")
    if label != wanted:
        raise UsageError(f"{run.store} has rows of the extractor {label}, not of {wanted}; {remedy}")
    if not is_replaced and not _is_same(run, planned):
        why = texts_of(part_differences(was, dict(planned.fingerprint)))
        raise UsageError(f"no row of {run.store} can be reused: {why}; {remedy}")


def update(new: RunFolder, existing: RunRecord | None, planned: Plan, terms: RunTerms) -> RunFolder:
    """Make what is asked for, of rows that earlier runs have as far as these are what they would be now.

    Parameters
    ----------
    new
        The run as it is asked for, in a folder that nobody else writes meanwhile.
    existing
        The run in that folder, which gives its rows and is replaced; None where the folder is the new one's.
    planned
        The plan.
    terms
        The rest.

    Raises
    ------
    UsageError
        If rows of an earlier run cannot be taken.
    ScaledprocError
        If the jobs cannot be done. What is committed stays: the same command continues.
    """
    if terms.backend.detaches:
        raise UsageError("an update is put together by the process that begins it: leave --detach out")
    found = ([] if existing is None else [replace(new, record=existing)]) + list(terms.others)
    for run in found:
        check_source(run, new.record.extractor["label"], planned, is_replaced=existing is not None and run is found[0])
    earlier = [open_earlier(run) for run in found]
    for run in found:
        told = version_differences(run.record, new.record, f"the rows of {run.store} were made", "they")
        tell_notes(told, terms.on_event)
    timeline = Timeline(terms.started, terms.backend.cores)
    heard = replace(terms, on_event=timeline.through(terms.on_event))
    target = new
    if existing is not None:
        record = replace(new.record, options={**new.record.options, UPDATES: existing.work_id})
        target = replace(new, store=new.store.child(UPDATE), record=record)
    current = _begun(target, planned)
    backend = terms.backend
    # The machine of a driver that waits for others may be one that many log in to.
    jobs = backend.cores if backend.capabilities.is_here else min(BUILDERS, cores())
    with builders_of(current, backend.processes, jobs) as builders:
        reuse, earlier = _decided(current, earlier, builders, terms.on_event)
        current = current.with_record(
            counts={**current.record.counts, "reused": current.plan.n_tasks - reuse.n_todo},
        )
        tell(terms.on_event, _told(reuse, found[0] if found else None, current.plan, backend.cores))
        if reuse.n_todo == current.plan.n_tasks:  # a run as any other
            started = started_event(current, current.plan, backend, resumed=False)
            tell(terms.on_event, replace(started, output=str(new.store)))
            steps = [[Job(shard) for shard in range(current.record.counts["shards"])], [Job()]]
        else:
            with current.store.committing(REUSED_TASKS, replacing=True) as part:
                reused = pa.table([pa.array(~reuse.is_todo)], schema=REUSED_SCHEMA)
                write_table(part, REUSED_SCHEMA, [reused])
            _put_together(current, reuse, earlier, builders, heard, str(new.store))
            steps = [[Job()]]
    combined = do_jobs(current, backend, steps, heard.on_event, terms.ask)
    if combined is None:
        raise ScaledprocError("the backend ended without combining the shards; run the same command again")
    # The shards of what was to be done are others than the run's, which are put together of them.
    line = {**timeline.to_record(), TIMELINE_OF: "todo"} if steps == [[Job()]] else timeline.to_record()
    done = finish(current, combined, terms.started, None, backend=terms.backend.record(), timeline=line)
    if existing is not None:
        done = put_in_place(new, existing)
    add_last(done, terms.at_end, terms.on_event)
    if terms.on_event is not None:
        tell(terms.on_event, finished_event(done, time.perf_counter() - terms.started))
    return done


def put_in_place(new: RunFolder, existing: RunRecord) -> RunFolder:
    """Put a whole update in the place of the run that it was made of; the run."""
    done = replace(new, record=replace_run(new.store, existing))
    done.clean_up()
    return done


def _told(reuse: Reuse, first: Run | None, planned: Plan, cores: int) -> ReuseFound:
    seconds = seconds_for(reuse, planned, first, cores) if first is not None and reuse.n_todo else None
    return ReuseFound(planned.n_tasks, reuse.n_todo, reuse.counts, reuse.text(seconds))


def _begun(target: RunFolder, planned: Plan) -> RunFolder:
    """The run that is made, begun or continued."""
    known = _known(target)
    if known is None or known.record.state != "running" or known.record.plan_id != planned.plan_id:
        return begin(target, planned)
    if changed_files(known, planned):
        return begin(target, planned)
    timings = {**known.record.timings, "starts": known.record.timings.get("starts", 1) + 1}
    form = form_of(target.record)
    if form != form_of(known.record):
        known.remove_tables()
    current = known.with_record(
        extractor=target.record.extractor,
        options=continued_options(known.record, target.record, form),
        versions=target.record.versions,
        timings=timings,
    )
    return current.knowing(replace(known.plan, fingerprint=planned.fingerprint))  # which is not in the plan's files


def _known(run: RunFolder) -> RunFolder | None:
    """The run that a folder has, if it can be read."""
    try:
        record = read_record(run.store)
    except ScaledprocError:
        return None
    return None if record is None else RunFolder(run.store, run.dataset, run.source, record)


def _decided(
    current: RunFolder, earlier: list[EarlierRun], builders: Builders, on_event: Listener | None
) -> tuple[Reuse, list[EarlierRun]]:
    """Which rows are reused, once the files that they stand in were compared with their digests.

    Shards that are earlier ones as they are, are made in the same pass.
    """
    plan = current.plan
    checked: list[set[int]] = [set() for _ in earlier]
    while True:
        reuse = find_reuse(plan, [each.known(is_same=_is_same(each.run, plan)) for each in earlier])
        origins = Origins.of(reuse, earlier, None)
        committed = current.committed_shards(range(plan.n_shards))
        todo = np.add.reduceat(reuse.is_todo.astype(np.int64), plan.shard_cuts[:-1])
        is_whole = [todo[shard] == 0 and is_copy(current, shard, origins) for shard in range(plan.n_shards)]
        before = [len(each.damaged) for each in earlier]
        for number in range(len(earlier)):
            mixed = [shard for shard in range(plan.n_shards) if not is_whole[shard]]
            needed = pieces_of(current, mixed, origins, number) - checked[number]
            checked[number] |= needed
            earlier[number] = earlier[number].checked(needed)
        if before != [len(each.damaged) for each in earlier]:
            continue
        left = [shard for shard in range(plan.n_shards) if is_whole[shard] and shard not in committed]
        failed = _copied(current, left, origins, builders)
        if not failed:
            break
        for shard in failed:
            number = int(reuse.run[int(plan.shard_cuts[shard])])
            earlier[number] = earlier[number].checked(pieces_of(current, [shard], origins, number))
        if before == [len(each.damaged) for each in earlier]:
            raise ScaledprocError(f"{current.store}: files that rows are taken from change meanwhile; run it again")
    for each in earlier:
        for name, what in each.damaged:
            tell(on_event, Note(f"{each.run.store}/{name} {what}: its tasks are done again"))
    return reuse, earlier


def _copied(current: RunFolder, shards: Sequence[int], origins: Origins, builders: Builders) -> list[int]:
    """Make shards that are earlier ones as they are; those of which that one is damaged."""

    def is_damaged(shard: int, finish: Finish | None) -> bool:
        try:
            make_shard(current, shard, origins, finish)
        except DamagedError:
            return True
        return False

    return [shard for shard, failed in zip(shards, builders.each(shards, is_damaged), strict=True) if failed]


def _put_together(
    current: RunFolder, reuse: Reuse, earlier: Sequence[EarlierRun], builders: Builders, terms: RunTerms, where: str
) -> None:
    """Do what is to be done, and make all shards that are not there; `where` is what a person knows the run by."""
    every = range(current.plan.n_shards)
    left = sorted(set(every) - current.committed_shards(every))
    if not left:
        return
    made = _made(current, reuse, terms, where) if reuse.n_todo else None
    origins = Origins.of(reuse, earlier, made)
    builders.each(left, lambda shard, finish: make_shard(current, shard, origins, finish))


def _made(current: RunFolder, reuse: Reuse, terms: RunTerms, where: str) -> EarlierRun:
    """Do the tasks that are to be done, as a run of its own."""
    options, backend = terms.options, terms.backend
    todo = _todo(current.plan, reuse, options, cores=backend.cores, together=backend.capabilities.is_here)
    counts = {"tasks": todo.n_tasks, "units": todo.n_units, "files": todo.files.num_rows}
    record = replace(
        current.record,
        state="running",
        options={**current.record.options, "table": FILE},  # which is not written
        plan_id=todo.plan_id,
        counts={**counts, "shards": todo.n_shards, "chunks": todo.n_chunks},
        bytes={"input": todo.size},
        digests={},
        beginning="",
        replaces={},
    )
    sub = RunFolder(current.store.child(TODO), current.dataset, current.source, record)
    known = _known(sub)
    is_same = known is not None and (known.record.state, known.record.plan_id) == ("running", todo.plan_id)
    if known is not None:
        refuse_twins(sub, known.record, backend, same=is_same)
    if known is not None and is_same and not changed_files(known, todo):
        backend.take_over(known.record.backend)
        timings = {**known.record.timings, "starts": known.record.timings.get("starts", 1) + 1}
        run = known.with_record(
            extractor=record.extractor, options=record.options, timings=timings, backend=backend.record()
        )
    else:
        run = begin(sub, todo)
    for note in backend.check(run, run.plan):
        tell(terms.on_event, Note(note))
    tell(terms.on_event, replace(started_event(run, run.plan, backend, resumed=is_same), output=where))
    do_jobs(run, backend, [[Job(shard) for shard in range(run.plan.n_shards)]], terms.on_event, terms.ask)
    known = _known(run)
    assert known is not None
    made = open_earlier(known)
    left = run.plan.n_tasks - int((made.known(is_same=True).is_made | made.is_failed).sum())
    if left:
        raise ScaledprocError(f"{count_text(left, 'task')} were not done; run the same command again")
    return made
