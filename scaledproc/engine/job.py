"""One job of a run, as a backend's machine does it: what `scaledproc worker` is told, and how it is done."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaledproc._util.scratch import PrivateFolder
from scaledproc.engine.driver import finish, reporting
from scaledproc.engine.provenance import versions
from scaledproc.errors import ScaledprocError, UsageError
from scaledproc.events import CombineDone, Event, ShardDone
from scaledproc.execution.combine import combine
from scaledproc.execution.container import ml_path, say, scratch_root, this_host
from scaledproc.execution.heartbeat import PROGRESS, Beating, Heartbeat
from scaledproc.execution.shard import PARTS, assemble_shard, note_present
from scaledproc.execution.worker import run_shards
from scaledproc.execution.workers.pool import cores
from scaledproc.extractors.code.fingerprint import CODE, fingerprint_of
from scaledproc.planning.partition import share_out
from scaledproc.run_folder.changes import extractor_differences, texts_of
from scaledproc.run_folder.folder import (
    COMBINED,
    DONE,
    INVENTORY,
    PLAN,
    RECORD,
    SHARDS,
    WORK,
    RunFolder,
    report_name,
    shard_errors_name,
    shard_name,
)
from scaledproc.storage.store import Store, redacted

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MOST_SHARDS = 1_000_000
CONTROL = "control"
"""Beside the mounted shards and reports: run.json, the plan and the inventory of a run that is not in reach itself."""


@dataclass(frozen=True)
class JobOrder:
    """What a worker is told.

    Parameters
    ----------
    run
        The run's folder; or, with `output`, a folder in which its parts are mounted.
    shards
        Macro shards to make.
    combine
        Whether to combine the shards afterwards.
    by_host
        Whether to take only this machine's share of the shards, by its place in its job.
    present
        Whether to do only the tasks whose files are on this machine, and leave parts of shards.
    parts
        The job whose parts are to be put together before the shards are combined.
    finish
        Whether to end the run after combining it, because nobody watches.
    dataset
        Where the dataset is for this machine, if not where run.json says.
    output
        A local folder to leave results in, where the run's folder is not in reach.
    extractor
        What finds the extractor on this machine, if not what run.json says.
    code
        A folder of modules that the extractor needs.
    shared
        A folder of the files that the extractor declared for all tasks, if they are not in the dataset's.
    report
        The name under which to tell how the work goes on; none tells nothing.
    jobs, scratch
        Processes; where to stage remote data.
    inputs, outputs
        Arguments for the fsspec filesystems of dataset and run.
    """

    run: str
    shards: tuple[int, ...] = ()
    combine: bool = False
    by_host: bool = False
    present: bool = False
    parts: str | None = None
    finish: bool = False
    dataset: str | None = None
    output: str | None = None
    extractor: str | None = None
    code: str | None = None
    shared: str | None = None
    report: str | None = None
    jobs: int | None = None
    scratch: Path | None = None
    inputs: Mapping[str, Any] = field(default_factory=dict, repr=False)
    outputs: Mapping[str, Any] = field(default_factory=dict, repr=False)


def parse_shards(texts: Sequence[str]) -> tuple[int, ...]:
    """Numbers from texts such as `3` and `0-3,7`.

    Raises
    ------
    UsageError
        They are something else.
    """
    shards: list[int] = []
    for piece in ",".join(texts).split(",") if texts else ():
        match = re.fullmatch(r"\s*(\d{1,9})(?:-(\d{1,9}))?\s*", piece)
        if not match:
            raise UsageError(f"--shard {piece!r}: give a number such as 3, or numbers such as 0-3,7")
        first, last = int(match[1]), int(match[2] or match[1])
        if not first <= last < first + MOST_SHARDS:
            raise UsageError(f"--shard {piece!r}: from the smaller number to the larger one, {MOST_SHARDS:,} at most")
        shards += range(first, last + 1)
    return tuple(shards)


def do_job(order: JobOrder) -> Iterator[Event]:
    """Do a job, and tell what happens. In a service's container its end is also left as a message.

    Raises
    ------
    UsageError
        There is no such shard, or nothing was asked for.
    ScaledprocError
        There is no run, or the job cannot be done.
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


def _do(order: JobOrder) -> Iterator[Event]:
    started = time.perf_counter()
    host = this_host()
    scratch = order.scratch or scratch_root()
    name = host.name if host else "here"
    with reporting(), _opened(order, scratch) as run:
        _check(order, run)
        count = cores(order.jobs)
        heartbeat = Heartbeat(order.report or "", name, count, versions())
        here = _here(run) if order.present else None
        with Beating(_told_to(order, run) if order.report else None, heartbeat) as beating:
            for event in _work(order, run, count, scratch, here):
                if isinstance(event, ShardDone) and order.output and not (order.present or order.combine):
                    _hand_over_shard(run.store, Path(ml_path(order.output)), event.shard)  # the next one may fail
                beating.listen(event)
                yield event
        if order.combine and order.finish:
            combined = CombineDone.from_json(run.store.read(COMBINED))
            finish(run, combined, started, None, keep=order.output is not None)
        if order.output:
            output = Path(ml_path(order.output))
            _hand_over(run.store, output, order, name)
            if here is not None:
                cuts = run.plan.shard_cuts
                note_present(output / name, sum(int(here[cuts[s] : cuts[s + 1]].sum()) for s in set(order.shards)))


def _work(
    order: JobOrder, run: RunFolder, count: int, scratch: Path | None, here: NDArray[np.bool_] | None
) -> Iterator[Event]:
    shards = sorted(set(order.shards))
    if order.by_host:
        host = this_host()
        if host is None:
            raise UsageError("--by-host is for a job of several machines, which this is not")
        sizes = [int(run.plan.shard_sizes[shard]) for shard in shards]
        shards = [shards[at] for at in share_out(sizes, host.count)[host.index]]
    if shards:
        shared = Path(ml_path(order.shared)) if order.shared else None
        yield from run_shards(run, shards, jobs=count, scratch=scratch, here=here, shared=shared)
    if not order.combine:
        return
    if order.parts:
        folder = f"{WORK}/{PARTS}/{order.parts}"
        folders = [f"{folder}/{host}" for host in run.store.names(folder)]
        every = set(range(run.record.counts["shards"]))
        for shard in sorted(every - run.committed_shards(every)):
            yield assemble_shard(run, shard, folders)
    combined = combine(run)
    run.store.write(COMBINED, combined.to_json())
    yield combined


def _here(run: RunFolder) -> NDArray[np.bool_]:
    """Which tasks' files are on this machine, shape (tasks,); units are single files then."""
    import numpy as np

    root = run.dataset.local
    if root is None or len(run.plan.files) != run.plan.n_tasks:
        raise UsageError("--present is for units of single files in a local folder: files that need each other differ")
    found = {(Path(folder) / name).relative_to(root).as_posix() for folder, _, names in os.walk(root) for name in names}
    return np.array([anchor in found for anchor in run.plan.tasks["anchor"].to_pylist()], bool)


def _check(order: JobOrder, run: RunFolder) -> None:
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


def _told_to(order: JobOrder, run: RunFolder) -> Store:
    """Where progress goes: into the run's folder, or to where the service uploads it from meanwhile."""
    return Store.at(ml_path("/opt/ml/processing/progress")) if order.output else run.store.child(PROGRESS)


@contextlib.contextmanager
def _opened(order: JobOrder, scratch: Path | None) -> Iterator[RunFolder]:
    with contextlib.ExitStack() as stack:
        where = ml_path(order.run)
        if order.output:
            folder = stack.enter_context(PrivateFolder(scratch))
            _assemble(Path(where), Path(folder))
            where = folder
        found = RunFolder.open(Store.at(where, order.outputs))
        if order.code:
            _import_from(ml_path(order.code))
        dataset = ml_path(order.dataset) if order.dataset else found.dataset.uri
        source = _mapped(order.extractor) if order.extractor else found.source
        yield RunFolder(found.store, Store.at(dataset, order.inputs), source, found.record)


def _import_from(folder: str) -> None:
    """Let this process and those that it starts find modules there."""
    sys.path.insert(0, folder)
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = f"{folder}{os.pathsep}{before}" if before else folder


def _mapped(spec: str) -> str:
    path, colon, name = spec.rpartition(":")
    return f"{ml_path(path)}{colon}{name}"


def _assemble(mounted: Path, folder: Path) -> None:
    """A run's folder of what a service mounted: `control/`, and for combining `shards/`, `done/` and `parts/`."""
    for name in (RECORD, PLAN, INVENTORY):
        shutil.copyfile(mounted / CONTROL / name, folder / name)
    (folder / WORK).mkdir()
    for name, place in ((SHARDS, SHARDS), ("done", DONE), (PARTS, f"{WORK}/{PARTS}")):
        (folder / place).mkdir()
        if (mounted / name).is_dir():
            for entry in (mounted / name).iterdir():
                (folder / place / entry.name).symlink_to(entry)


def _hand_over_shard(store: Store, output: Path, shard: int) -> None:
    """Leave a shard that is done, its table last."""
    assert store.local is not None  # noqa: S101
    for name in (shard_errors_name(shard), report_name(shard), shard_name(shard)):
        (output / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.move(store.local / name, output / name)


def _hand_over(store: Store, output: Path, order: JobOrder, host: str) -> None:
    """Leave what was made where the service takes it from; links are what was there before."""
    assert store.local is not None  # noqa: S101
    parts = store.local / WORK / PARTS
    if order.present:
        (output / host).mkdir(parents=True, exist_ok=True)
        for path in sorted(parts.iterdir()):
            shutil.move(path, output / host / path.name)
        return
    for path in sorted(store.local.rglob("*")):
        name = path.relative_to(store.local).as_posix()
        is_result = name not in (RECORD, PLAN, INVENTORY) and not re.match(rf"{WORK}/({PARTS}/|\d)", name)
        is_result |= name == RECORD and order.finish
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
    frames = [f"{os.path.basename(f.filename)}:{f.lineno} {f.name}" for f in traceback.extract_tb(error.__traceback__)]  # noqa: PTH119
    return redacted(f"{type(error).__name__}: {str(error)[:500]}\n" + "\n".join(reversed(frames)))
