"""A job in the service's container: what is mounted instead of a network, this machine's share, and a last message."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from scaledproc._util.process.scratch import PrivateFolder
from scaledproc._util.redaction import redacted
from scaledproc._util.text import bytes_text
from scaledproc.engine.job import check_job, open_run, perform
from scaledproc.engine.steps import reporting
from scaledproc.errors import ScaledprocError, UsageError
from scaledproc.events import Event, ShardDone
from scaledproc.execution.heartbeat import PROGRESS
from scaledproc.execution.shard import assemble_shard, note_present
from scaledproc.planning.partition import share_out
from scaledproc.run_folder.folder import RunFolder
from scaledproc.run_folder.forms import FILE
from scaledproc.run_folder.names import (
    DONE,
    INVENTORY,
    PARTS,
    PLAN,
    RECORD,
    SHARDS,
    WORK,
    report_name,
    shard_errors_name,
    shard_name,
    table_file_name,
    table_report_name,
)
from scaledproc.storage.store import Store

from ..jobs import requests
from ..jobs.job_list import names_of
from .inputs import input_root
from .machine import Host, everything_in, ml_path, say, scratch_root, this_host
from .order import ContainerOrder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def do_container_job(order: ContainerOrder) -> Iterator[Event]:
    """Do a job, and tell what happens; its end is also left as a message.

    Raises
    ------
    UsageError
        If the run has no such shard or is finished, nothing was asked for, or the extractor is not what it was when the
        run was begun.
    ScaledprocError
        If the folder holds no run, or the job cannot be done.
    """
    done: list[ShardDone] = []
    try:
        for event in _do(order):
            if isinstance(event, ShardDone):
                done.append(event)
            yield event
    except ScaledprocError as error:
        say(f"{type(error).__name__}: {error}")
        raise
    except Exception as error:
        say(_trace(error))
        raise
    say(_summary(done))


def _do(order: ContainerOrder) -> Iterator[Event]:
    host = this_host()
    job = replace(order, scratch=order.scratch or scratch_root())
    output = Path(ml_path(order.output)) if order.output else None
    name = host.name if host else "here"
    with reporting(writes=True), everything_in(job.scratch_folder), _opened(job) as found:
        run = found if output is None or order.combine else _with_tables(found)
        check_job(job, run)
        if order.by_host:
            job = replace(job, shards=_share(run, job.shards, host))
        check_room(run, job.shards, job.scratch_folder)
        here = _here(run) if order.present else None
        reads = [file.path for file in run.plan.reads] if order.shared else []
        yield from perform(
            job,
            run,
            progress=Store.at(ml_path(requests.PROGRESS)) if output else run.store.child(PROGRESS),
            host=name,
            here=here,
            shared=input_root(Path(ml_path(order.shared)), run.record.dataset, reads) if order.shared else None,
            # The next one may fail.
            hand_over=lambda shard: _hand_over_shard(run.store, output, order, shard, _files_of(run, shard)),
            before_combining=_put_together(run, order.parts) if order.parts else (),
            keep=output is not None,
            has_files=output is None or not run.record.has_table_folders,
        )
        if output is not None:
            _hand_over(run.store, output, order, name)
            if here is not None:
                cuts = run.plan.shard_cuts
                note_present(output / name, sum(int(here[cuts[s] : cuts[s + 1]].sum()) for s in set(job.shards)))


def _with_tables(run: RunFolder) -> RunFolder:
    """A run whose tables' files are left to the last job, where this one has not as many outputs."""
    if not run.record.has_table_folders or requests.tables_in_jobs(run):
        return run
    options = {**run.record.options, "table": FILE}
    return RunFolder(run.store, run.dataset, run.source, replace(run.record, options=options)).knowing(run.plan)


class NoRoomError(ScaledprocError):
    """The machine's disks are too small for a job. Another try on such a machine would find the same."""


def check_room(run: RunFolder, shards: Sequence[int], scratch: Path | None) -> None:
    """See whether each unit that is to be staged fits onto the disk, before the hours that it takes to come to it.

    Raises
    ------
    NoRoomError
        If the largest unit does not fit.
    """
    if scratch is None or run.dataset.local is not None or not shards:
        return
    plan = run.plan
    units = [plan.units_of(int(plan.shard_cuts[s]), int(plan.shard_cuts[s + 1])) for s in shards]
    largest = max(int(plan.unit_sizes[each.start : each.stop].max(initial=0)) for each in units)
    needed = largest + sum(file.size for file in plan.reads)
    free = shutil.disk_usage(scratch).free
    if needed > free:
        raise NoRoomError(
            f"the largest unit needs {bytes_text(needed)}, and the roomiest place of this machine, {scratch}, has "
            f"{bytes_text(free)}: give a larger --volume-size, or an --instance-type with a larger disk"
        )


def _share(run: RunFolder, shards: tuple[int, ...], host: Host | None) -> tuple[int, ...]:
    """Those of the shards that are this machine's."""
    if host is None:
        raise UsageError("--by-host is for a job of several machines, which this is not")
    wanted = sorted(set(shards))
    sizes = [int(run.plan.shard_sizes[shard]) for shard in wanted]
    return tuple(wanted[at] for at in share_out(sizes, host.count)[host.index])


def _put_together(run: RunFolder, job: str) -> Iterator[Event]:
    """Make shards of the parts that the machines of a job left."""
    folder = f"{PARTS}/{job}"
    folders = [f"{folder}/{host}" for host in run.store.names(folder)]
    every = set(range(run.record.counts["shards"]))
    for shard in sorted(every - run.committed_shards(every)):
        yield assemble_shard(run, shard, folders)


def _here(run: RunFolder) -> NDArray[np.bool_]:
    """Which tasks' files are on this machine, shape (tasks,); units are single files then."""
    import numpy as np

    root = run.dataset.local
    if root is None or len(run.plan.files) != run.plan.n_tasks:
        raise UsageError("--present is for units of single files in a local folder: files that need each other differ")
    found = {(Path(folder) / name).relative_to(root).as_posix() for folder, _, names in os.walk(root) for name in names}
    return np.array([anchor in found for anchor in run.plan.tasks["anchor"].to_pylist()], bool)


@contextlib.contextmanager
def _opened(order: ContainerOrder) -> Iterator[RunFolder]:
    with contextlib.ExitStack() as stack:
        where = ml_path(order.run)
        if order.output:
            folder = stack.enter_context(PrivateFolder(order.scratch_folder))
            _assemble(Path(where), Path(folder))
            where = folder
        job = replace(
            order,
            code=ml_path(order.code) if order.code else None,
            extractor=_mapped(order.extractor) if order.extractor else None,
        )
        mounted = ml_path(order.dataset) if order.dataset else None
        run = open_run(job, folder=where, dataset=mounted)
        yield _with_root(run, Path(mounted), order) if mounted else run


def _with_root(run: RunFolder, mounted: Path, order: ContainerOrder) -> RunFolder:
    """The run with its dataset where the service put it."""
    shards = [shard for shard in order.shards if 0 <= shard < run.plan.n_shards]  # others are told of later
    root = input_root(mounted, run.record.dataset, names_of(run.plan, shards), is_share=order.present)
    if root == mounted:
        return run
    return replace(run, dataset=Store.at(root)).knowing(run.plan)


def _mapped(spec: str) -> str:
    path, colon, name = spec.rpartition(":")
    return f"{ml_path(path)}{colon}{name}"


def _assemble(mounted: Path, folder: Path) -> None:
    """A run's folder of what a service mounted: `control/`, and for combining `shards/`, `done/` and `parts/`."""
    for name in (RECORD, PLAN, INVENTORY):
        shutil.copyfile(mounted / requests.CONTROL / name, folder / name)
    (folder / WORK).mkdir()
    for name, place in ((SHARDS, SHARDS), ("done", DONE), ("parts", PARTS)):
        (folder / place).mkdir()
        if (mounted / name).is_dir():
            for entry in (mounted / name).iterdir():
                (folder / place / entry.name).symlink_to(entry)


def _hand_over_shard(
    store: Store, output: Path | None, order: ContainerOrder, shard: int, tables: Sequence[str]
) -> None:
    """Leave a shard that is done, after its files of the tables, where the service uploads it meanwhile."""
    if output is None or order.present or order.combine:
        return
    assert store.local is not None  # a machine's own folder
    made = [name for name in (*tables, table_report_name(shard)) if (store.local / name).exists()]
    for name in (*made, shard_errors_name(shard), report_name(shard), shard_name(shard)):
        (output / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.move(store.local / name, output / name)


def _files_of(run: RunFolder, shard: int) -> list[str]:
    """A macro shard's files of the tables that this machine makes."""
    return [table_file_name(table, shard, run.record.counts["shards"]) for table in requests.tables_in_jobs(run)]


def _hand_over(store: Store, output: Path, order: ContainerOrder, host: str) -> None:
    """Leave what was made where the service takes it from; links are what was there before."""
    assert store.local is not None  # a machine's own folder
    parts = store.local / PARTS
    if order.present:
        (output / host).mkdir(parents=True, exist_ok=True)
        for path in sorted(parts.iterdir()):
            shutil.move(path, output / host / path.name)
        return
    for path in sorted(store.local.rglob("*")):
        name = path.relative_to(store.local).as_posix()
        is_result = name not in (RECORD, PLAN, INVENTORY) and not re.match(rf"{PARTS}/|{WORK}/\d", name)
        is_result |= name == RECORD and order.finish
        is_result &= not path.name.startswith(".")  # the lock of the folder that this lies in
        if is_result and path.is_file() and not path.is_symlink():
            (output / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.move(path, output / name)


def _summary(done: list[ShardDone]) -> str:
    """A job's end in a few lines, with the first tasks that failed."""
    quarantined = sum(shard.quarantined for shard in done)
    lines = [f"done: {sum(s.tasks for s in done):,} tasks, {sum(s.rows for s in done):,} rows, {quarantined:,} failed"]
    lines += [f"{failure.anchor}: {failure.error}: {failure.message}" for s in done for failure in s.failures]
    return "\n".join(line[:200] for line in lines)


def _trace(error: Exception) -> str:
    """What broke and where, in the little room that there is: the error, then its innermost frames."""
    frames = [f"{os.path.basename(f.filename)}:{f.lineno} {f.name}" for f in traceback.extract_tb(error.__traceback__)]  # noqa: PTH119 - of a text
    return redacted(f"{type(error).__name__}: {str(error)[:500]}\n" + "\n".join(reversed(frames)))
