"""One job of a run, as a backend's machine does it."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from scaledproc.engine.options import JobOrder
from scaledproc.engine.provenance import versions
from scaledproc.engine.steps import AtEnd, finish, reporting
from scaledproc.errors import UsageError
from scaledproc.events import CombineDone, Event, Note, ShardDone
from scaledproc.execution.heartbeat import PROGRESS, Beating, Heartbeat
from scaledproc.execution.tables.combine import combine
from scaledproc.execution.worker import run_shards
from scaledproc.execution.workers.pool import cores
from scaledproc.extractors.code.fingerprint import CODE, fingerprint_of
from scaledproc.run_folder.changes import extractor_differences, texts_of
from scaledproc.run_folder.folder import RunFolder
from scaledproc.run_folder.names import COMBINED
from scaledproc.run_folder.until_done import UntilDone
from scaledproc.storage.store import Store

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def do_job(order: JobOrder, at_end: AtEnd | None = None) -> Iterator[Event]:
    """Do a job, and tell what happens.

    Parameters
    ----------
    order
        The job.
    at_end
        Makes what the folder of a run that is finished has besides, where the job ends the run.

    Raises
    ------
    UsageError
        If the run has no such shard, nothing was asked for, or the extractor is not what it was when the
        run was begun.
    ScaledprocError
        If the folder holds no run, or the job cannot be done.
    """
    with reporting(writes=True):
        run = open_run(order)
        if run.record.state == "done":  # a job that was queued for a case that did not come
            yield Note(f"{run.store} is finished; there is nothing to do")
            return
        check_job(order, run)
        yield from perform(order, run, progress=run.store.child(PROGRESS), at_end=at_end)


def open_run(order: JobOrder, *, folder: str | None = None, dataset: str | None = None) -> RunFolder:
    """The run that a job is of, with the extractor and the dataset as this machine finds them.

    Parameters
    ----------
    order
        The job.
    folder, dataset
        Where this machine has the run's folder and the dataset, if not where the job and run.json say.
    """
    found = RunFolder.open(Store.at(folder or order.run, order.outputs))
    if order.code:
        _import_from(order.code)
    source = order.extractor or found.source
    return RunFolder(found.store, Store.at(dataset or found.dataset.uri, order.inputs), source, found.record)


def check_job(order: JobOrder, run: RunFolder) -> None:
    """See whether a job can be done.

    Raises
    ------
    UsageError
        If the run is finished, its extractor is another by now, it has no such shard, or nothing is asked for.
    """
    if run.record.state == "done":
        raise UsageError(f"{run.store} is finished; there is nothing to do")
    differ = extractor_differences(
        run.record.extractor["fingerprint"], fingerprint_of(run.extractor), only={*CODE, "env", "enclosed"}
    )
    if differ:
        raise UsageError(f"{run.extractor.label} is not what it was when {run.store} was begun: {texts_of(differ)}")
    count = run.record.counts["shards"]
    strange = [shard for shard in order.shards if not 0 <= shard < count]
    if strange or not (order.shards or order.combine):
        raise UsageError(f"{run.store} has the shards 0 to {count - 1}: name some with --shard, or --combine")


def perform(
    order: JobOrder,
    run: RunFolder,
    *,
    progress: Store,
    host: str = "here",
    here: NDArray[np.bool_] | None = None,
    shared: Path | None = None,
    hand_over: Callable[[int], None] = lambda _: None,
    before_combining: Iterable[Event] = (),
    keep: bool = False,
    has_files: bool = True,
    at_end: AtEnd | None = None,
) -> Iterator[Event]:
    """Make a job's shards, then combine, if it is to; and tell what happens.

    Parameters
    ----------
    order, run
        The job, and its run as this machine has it.
    progress
        Where to tell how the work goes on, if that is asked for.
    host
        How this machine is called there.
    here
        Which of the run's tasks have their files on this machine, shape (tasks,); all where None is.
    shared
        The folder of the files that the extractor declared for all tasks, if they are not in the dataset's.
    hand_over
        Called with each shard that is made, before that is told.
    before_combining
        What is to be done, and told of, when the shards are made.
    keep
        Whether the end of the run keeps what only an unfinished run needs.
    has_files
        Whether this machine has all shards and their files of the tables, to combine.
    at_end
        Makes what the folder of a run that is finished has besides.
    """
    count = cores(order.jobs)
    shards = sorted(set(order.shards))
    steps: list[Iterable[Event]] = []
    if shards:
        made = run_shards(run, shards, jobs=count, scratch=order.scratch_folder, here=here, shared=shared)
        steps.append(_handed_over(made, hand_over))
    if order.combine:
        steps += [before_combining, _combined(run, has_files=has_files)]
    heartbeat = Heartbeat(order.report or "", host, count, versions(), *_scratch(order))
    with Beating(progress if order.report else None, heartbeat) as beating:
        for event in chain.from_iterable(steps):
            beating.listen(event)
            yield event
    if order.combine and order.finish:
        combined = CombineDone.from_json(run.store.read(COMBINED))
        finish(_until_done(run), combined, None, None, keep=keep, at_end=at_end, afterwards=run.store)


def _scratch(order: JobOrder) -> tuple[str, int, int]:
    """The folder of the scratch space, its disk's bytes and those that are free; 0 where it cannot be looked at."""
    folder = str(order.scratch_folder or tempfile.gettempdir())
    try:
        disk = shutil.disk_usage(folder)
    except OSError:  # whoever uses it says so
        return folder, 0, 0
    return folder, disk.total, disk.free


def _handed_over(events: Iterator[Event], hand_over: Callable[[int], None]) -> Iterator[Event]:
    for event in events:
        if isinstance(event, ShardDone):
            hand_over(event.shard)
        yield event


def _combined(run: RunFolder, *, has_files: bool) -> Iterator[Event]:
    run = _until_done(run)
    combined = combine(run, has_files=has_files)
    run.store.write(COMBINED, combined.to_json())
    yield combined


def _until_done(run: RunFolder) -> RunFolder:
    """The run as a job may change it that might not be the only one of its kind."""
    return run.within(replace(run.store, fence=UntilDone(run.store, run.record.work_id)))


def _import_from(folder: str) -> None:
    """Let this process and those that it starts find modules there."""
    sys.path.insert(0, folder)
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = f"{folder}{os.pathsep}{before}" if before else folder
