"""What work costs on this machine: a few tasks of a plan, timed here; or a finished run's own measurements."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scaledproc._util.process.scratch import PrivateFolder
from scaledproc._util.user_cache import cache_folder
from scaledproc.errors import ScaledprocError, UsageError
from scaledproc.extractors import Extractor, Task
from scaledproc.extractors.rows.collector import RowCollector
from scaledproc.extractors.rows.several import collector_for
from scaledproc.planning.cost_model import Costs
from scaledproc.planning.shared_files import at_hand, paths_of

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from scaledproc.planning.plan import Plan
    from scaledproc.run_folder.record import RunRecord
    from scaledproc.storage.store import Store

LARGEST_UNIT = 2 * 2**30  # bytes; what calibration fetches or reads for one task at most


@dataclass(frozen=True)
class Calibration:
    """What some tasks of a plan took, in this process.

    Parameters
    ----------
    costs
        Fitted to them.
    tasks, failed
        How many were timed, and how many raised; the latter do not count otherwise.
    size
        Bytes of the timed tasks.
    work_seconds
        In the extractor, over the timed tasks.
    read_seconds, read_bytes
        For having their units here: fetched, or read once from this machine's disks.
    """

    costs: Costs
    tasks: int
    failed: int
    size: int
    work_seconds: float
    read_seconds: float
    read_bytes: int


def calibrate(
    plan: Plan, dataset: Store, extractor: Extractor, n: int = 20, scratch: Path | None = None
) -> Calibration:
    """Run a few tasks of a plan here and time them.

    The tasks are spread over the plan by size, always the same ones for the same plan. Each unit is fetched, or read
    once, before its task is timed. The first task is run once more before, so that imports do not count.

    Parameters
    ----------
    plan, dataset, extractor
        As for a run.
    n
        How many tasks.
    scratch
        Where to fetch a remote dataset's units to; the system's temporary folder where none is given.

    Raises
    ------
    UsageError
        If `n` is below 1, or the plan has no task whose unit is small enough to try.
    ScaledprocError
        If every task that was tried failed.
    """
    chosen = sample_tasks(plan, n)
    sizes, seconds, failures = [], [], []
    collector = collector_for(extractor)
    read_seconds, read_bytes = 0.0, 0
    for position, index in enumerate(chosen):
        with PrivateFolder(scratch) as folder, _shared(plan, dataset, scratch) as shared:
            started = time.perf_counter()
            task, unit_bytes = _at_hand(plan, dataset, index, Path(folder), shared)
            read_seconds += time.perf_counter() - started
            read_bytes += unit_bytes
            if position == 0:
                first = collector_for(extractor)
                _timed(extractor, task, first)
                first.take()
            took = _timed(extractor, task, collector)
        if isinstance(took, BaseException):
            failures.append(f"{task.anchor}: {type(took).__name__}")
        else:
            sizes.append(int(plan.task_sizes[index]))
            seconds.append(took)
    if not sizes:
        raise ScaledprocError(f"all {len(chosen)} tasks that were tried failed, the first with {failures[0]}")
    started = time.perf_counter()
    collector.take()  # as a run does it, for many tasks at once: for one, it takes longer than most
    share = (time.perf_counter() - started) / len(seconds)
    seconds = [each + share for each in seconds]
    per_task, per_byte = fit(np.ones(len(sizes)), sizes, seconds)
    source = f"calibrated on {len(sizes):,} tasks here" + (f", {len(failures):,} more failed" if failures else "")
    return Calibration(
        costs=Costs(per_task, per_byte, source=source),
        tasks=len(sizes),
        failed=len(failures),
        size=sum(sizes),
        work_seconds=sum(seconds),
        read_seconds=read_seconds,
        read_bytes=read_bytes,
    )


def sample_tasks(plan: Plan, n: int) -> list[int]:
    """Places of `n` tasks in the plan, at even quantiles of their sizes, smallest first; fewer where there are fewer.

    Raises
    ------
    UsageError
        If `n` is below 1, or the plan has no task whose unit is small enough to try.
    """
    if n < 1:
        raise UsageError(f"cannot calibrate on {n} tasks; give 1 or more")
    unit_of_task = np.repeat(np.arange(plan.n_units), np.diff(plan.unit_tasks))
    candidates = np.flatnonzero(plan.unit_sizes[unit_of_task] <= LARGEST_UNIT)
    if not len(candidates):
        raise UsageError("cannot calibrate: the plan has no task whose unit is smaller than 2 GiB")
    by_size = candidates[np.argsort(plan.task_sizes[candidates], kind="stable")]
    quantiles = (np.arange(n) + 0.5) / n * len(by_size)
    return [int(index) for index in by_size[np.unique(quantiles.astype(np.int64))]]


def costs_of(record: RunRecord | Mapping[str, Any]) -> Costs:
    """From what a finished run measured.

    Parameters
    ----------
    record
        What `run.json` holds.

    Raises
    ------
    UsageError
        If the record holds no measurements: the run is not finished, or had no work to do.
    """
    shards: Sequence[Mapping[str, Any]] = record["shards"] if isinstance(record, Mapping) else record.shards
    timings: Mapping[str, Any] = record["timings"] if isinstance(record, Mapping) else record.timings
    tasks, sizes, seconds = (
        np.array([float(shard[key]) for shard in shards]) for key in ("tasks", "bytes", "work_seconds")
    )
    if not len(shards) or not seconds.sum() > 0 or not tasks.sum() > 0:
        raise UsageError("that run holds no measurements of its work; is it finished?")
    per_task, per_byte = fit(tasks, sizes, seconds)
    # A shard's seconds vary for more reasons than its size; what must be right is the sum.
    scale = seconds.sum() / (per_task * tasks.sum() + per_byte * sizes.sum())
    return Costs(
        float(per_task * scale),
        float(per_byte * scale),
        combine_task=float(timings.get("combine_seconds", 0.0)) / float(tasks.sum()),
        source=f"the last run's measurements ({tasks.sum():,.0f} tasks)",
        row_byte=_row_byte(record, len(shards), float(sizes.sum())),
    )


def _row_byte(record: RunRecord | Mapping[str, Any], shards: int, size: float) -> float | None:
    """Bytes of a run's shards for a byte of its input; None where they are not all known."""
    sizes, digests = (
        (record.get("sizes", {}), record.get("digests", {}))
        if isinstance(record, Mapping)
        else (record.sizes, record.digests)
    )
    found = [each for name, each in sizes.items() if name not in digests]  # the shards' digests are in `shards`
    return sum(found) / size if size > 0 and len(found) == shards else None


def fit(tasks: ArrayLike, sizes: ArrayLike, seconds: ArrayLike) -> tuple[float, float]:
    """Least squares for `seconds = a · tasks + b · bytes` with neither below zero.

    Returns
    -------
    tuple
        Seconds per task, seconds per byte.
    """
    columns = np.column_stack([np.asarray(tasks, np.float64), np.asarray(sizes, np.float64)])
    target = np.asarray(seconds, np.float64)
    scale = np.maximum(np.abs(columns).max(axis=0), 1e-300)
    columns = columns / scale
    both, _, rank, _ = np.linalg.lstsq(columns, target, rcond=None)
    if rank == 2 and (both >= 0).all():
        found = both
    else:  # the best of the two edges; with all tasks alike, bytes alone say as much
        alone = [max(float(column @ target) / max(float(column @ column), 1e-300), 0.0) for column in columns.T]
        errors = [float(np.square(columns[:, i] * alone[i] - target).sum()) for i in (0, 1)]
        best = 0 if errors[0] < errors[1] else 1
        found = np.array([alone[0] if best == 0 else 0.0, alone[1] if best == 1 else 0.0])
    return float(found[0] / scale[0]), float(found[1] / scale[1])


@contextlib.contextmanager
def _shared(plan: Plan, dataset: Store, scratch: Path | None) -> Iterator[Mapping[str, Path]]:
    """The files that the extractor declared, on this machine."""
    if dataset.local is not None or not plan.reads:
        yield paths_of(at_hand(plan.reads, dataset.local or Path()))
        return
    with PrivateFolder(scratch) as folder:
        dataset.fetch([file.listed for file in plan.reads], Path(folder))
        yield paths_of(at_hand(plan.reads, Path(folder)))


def _at_hand(plan: Plan, dataset: Store, index: int, folder: Path, shared: Mapping[str, Path]) -> tuple[Task, int]:
    """A task with its unit's files on this machine, and their bytes."""
    unit = plan.units_of(index, index + 1)[0]
    files = plan.files_of(unit)
    names = files["path"].to_pylist()
    if dataset.local is None:
        dataset.fetch(plan.listed(unit), folder)
        root = folder
    else:
        root = dataset.local
        for name in names:  # into the page cache, so that a slow disk does not count as work
            with (root / name).open("rb", buffering=0) as file:
                while file.read(2**20):
                    pass
    group, unit_name, anchor = (plan.tasks[name][index].as_py() for name in ("group", "unit", "anchor"))
    return Task(group, unit_name, anchor, root, frozenset(names), shared), sum(files["size"].to_pylist())


def _timed(extractor: Extractor, task: Task, collector: RowCollector) -> float | BaseException:
    """Seconds for a task's rows; or what it raised."""
    started = time.perf_counter()
    try:
        with contextlib.redirect_stdout(sys.stderr):
            collector.add(extractor.extract(task))
            if collector.is_full:
                collector.take()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # as in a run: a bad task costs one task, sys.exit() included
        return error
    return time.perf_counter() - started


# The last run's measurements, for the next estimate on this machine


def remember(extractor: Extractor, record: RunRecord) -> None:
    """Keep what a finished run measured, in the user's cache folder; nothing happens where that cannot be written."""
    try:
        found = costs_of(record)
    except UsageError:
        return
    with contextlib.suppress(OSError):
        path = _cache(extractor)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(found)), encoding="utf-8")


def last_costs(extractor: Extractor) -> Costs | None:
    """What the last finished run with this extractor measured on this machine; None where there was none."""
    try:
        return Costs(**json.loads(_cache(extractor).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _cache(extractor: Extractor) -> Path:
    name = hashlib.sha256(extractor.fingerprint.encode()).hexdigest()[:16]
    return cache_folder() / f"costs-{name}.json"
