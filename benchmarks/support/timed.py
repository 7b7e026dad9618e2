"""Extractors that write down when each task began and ended, and a run that reads it.

A core's time from its first task to the end of the last shard is the extractor's, or it is the engine's: scheduling,
checking, committing, merging, waiting. Nothing before a core's first task counts, so start-up does not.
"""

from __future__ import annotations

import json
import mmap
import os
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import wfdb  # noqa: F401 - here, so that no task's time has the import in it
from alone import is_lazy
from measure import cpu_seconds

import scaledproc
from scaledproc.events import ShardDone
from scaledproc.extractors import load_extractor

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import pyarrow as pa

    from scaledproc.events import Event

FOLDER = "SCALEDPROC_BENCHMARK_STAMPS"
OWN = "SCALEDPROC_BENCHMARK_EXTRACTOR"
ROOM = 2**28
"""Bytes of a process's file of stamps, of which nearly all are a hole."""


class Timed(scaledproc.Extractor):
    """Another extractor, with a stopwatch."""

    name = "timed"

    def __init__(self, spec: str) -> None:
        self._inner = load_extractor(spec)
        self.anchors, self.unit, self.companions = self._inner.anchors, self._inner.unit, self._inner.companions
        self._stamps: _Stamps | None = None

    @property
    def schema(self) -> pa.Schema:
        return self._inner.schema

    def expect(self, size: int) -> None:
        self._inner.expect(size)

    def extract(self, task: scaledproc.Task) -> Any:
        watch = _Watch()
        is_over = True
        try:
            with watch:
                returned = self._inner.extract(task)
            if is_lazy(returned):  # most of its time is still to come
                is_over = False
                return self._rows(returned, task, watch)
            return returned
        finally:  # the time of a task that fails is the extractor's too
            if is_over:
                self._end(task, watch)

    def _rows(self, returned: Iterable[Any], task: scaledproc.Task, watch: _Watch) -> Iterator[Any]:
        """Rows that are made while they are taken, which time is the engine's."""
        try:
            with watch:
                rows = iter(returned)
            while True:
                with watch:
                    row = next(rows, _END)
                if row is _END:
                    return
                yield row
        finally:
            self._end(task, watch)

    def _end(self, task: scaledproc.Task, watch: _Watch) -> None:
        ended = watch.began + watch.seconds
        self._stamp(f"{watch.began!r} {ended!r} {watch.cpu!r} {json.dumps(task.anchor)}\n")

    def finish(self, table: pa.Table) -> pa.Table:
        return self._inner.finish(table)

    def summarise(self, tables: Iterable[pa.Table]) -> Mapping[str, pa.Table]:
        return self._inner.summarise(tables)

    def _stamp(self, line: str) -> None:
        folder = os.environ[FOLDER]
        if self._stamps is None or self._stamps.folder != folder:  # one instance in a process, for all its runs
            self._stamps = _Stamps(folder)
        self._stamps.write(line.encode())


_END = object()


class _Watch:
    """Seconds inside the extractor, which may be entered more than once for a task."""

    def __init__(self) -> None:
        self.began = time.perf_counter()
        self.seconds = self.cpu = 0.0

    def __enter__(self) -> None:
        self._entered = time.perf_counter(), time.process_time()

    def __exit__(self, *_: object) -> None:
        self.seconds += time.perf_counter() - self._entered[0]
        self.cpu += time.process_time() - self._entered[1]


class _Stamps:
    """A process's file of lines: in memory, so that a line costs no system call, and there after any end."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        with Path(folder, str(os.getpid())).open("x+b") as file:
            file.truncate(ROOM)
            self._memory = mmap.mmap(file.fileno(), ROOM)

    def write(self, line: bytes) -> None:
        self._memory.write(line)


wfdb_summary = Timed("wfdb-summary")
pattern = Timed(f"{Path(__file__).with_name('pattern_extractor.py')}:pattern_extractor")
busy = Timed(f"{Path(__file__).with_name('busy_extractor.py')}:busy")
idle = Timed(f"{Path(__file__).with_name('idle_extractor.py')}:idle")


def __getattr__(name: str) -> Timed:
    """`own`: the extractor that the environment names."""
    if name == "own" and OWN in os.environ:
        return Timed(os.environ[OWN])
    raise AttributeError(name)


@dataclass(frozen=True)
class TimedRun:
    """Seconds of one run.

    Parameters
    ----------
    whole
        From the call to its return.
    cpu
        CPU time of all its processes.
    tasks, tasks_cpu
        Inside the extractor, added up over the cores: by the clock, and CPU time.
    cores
        From each core's first task to the end of the last shard, added up over the cores.
    jobs
        The number of cores.
    chunks
        How many chunks there were.
    quarantined
        How many tasks failed.
    plan_id
        The run's.
    seconds
        Inside the extractor, by anchor.
    """

    whole: float
    cpu: float
    tasks: float
    tasks_cpu: float
    cores: float
    jobs: int
    chunks: int
    quarantined: int = 0
    plan_id: str = ""
    seconds: Mapping[str, float] = field(default_factory=dict, repr=False)

    @property
    def phase(self) -> float:
        """Seconds of the extraction by the clock, start-up aside."""
        return self.cores / self.jobs

    @property
    def overhead(self) -> float:
        """What the engine adds to the extractor's time."""
        return self.cores / self.tasks - 1


def timed_run(
    dataset: Path,
    output: Path,
    extractor: str,
    *,
    jobs: int,
    chunk: str = "auto",
    failures: bool = False,
    **options: Any,
) -> TimedRun:
    """Run one of this file's extractors.

    Parameters
    ----------
    dataset, output
        Folders; the output is a new one.
    extractor
        `wfdb_summary`, `pattern`, `busy`, `idle`, or `own` for what the environment names, the same in all of a
        session.
    jobs, chunk, options
        As for `scaledproc.run`.
    failures
        Whether tasks may fail.
    """
    stamps = output.with_name(f"{output.name}-stamps")
    stamps.mkdir()
    os.environ[FOLDER] = str(stamps)
    last_shard = 0.0

    def listen(event: Event) -> None:
        nonlocal last_shard
        if isinstance(event, ShardDone):
            last_shard = time.perf_counter()

    started, cpu = time.perf_counter(), cpu_seconds()
    spec = f"{__file__}:{extractor}"
    run = scaledproc.run(dataset, output, extractor=spec, jobs=jobs, chunk=chunk, on_event=listen, **options)
    whole, cpu = time.perf_counter() - started, cpu_seconds() - cpu
    assert failures or run.quarantined == 0
    by_core: list[list[tuple[float, float, float]]] = []
    seconds: dict[str, float] = {}
    for path in stamps.iterdir():
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as memory:
            lines = [line.split(maxsplit=3) for line in memory[: memory.find(b"\0")].decode().splitlines()]
        by_core.append([(float(began), float(ended), float(used)) for began, ended, used, _ in lines])
        seconds |= {json.loads(anchor): float(ended) - float(began) for began, ended, _, anchor in lines}
    begins = [lines[0][0] for lines in by_core]
    begins += [statistics.median(begins)] * (jobs - len(begins))  # a core that had no chunk waited all the time
    return TimedRun(
        whole=whole,
        cpu=cpu,
        tasks=sum(ended - began for lines in by_core for began, ended, _ in lines),
        tasks_cpu=sum(used for lines in by_core for _, _, used in lines),
        cores=sum(last_shard - begin for begin in begins),
        jobs=jobs,
        chunks=run.record.counts["chunks"],
        quarantined=run.quarantined,
        plan_id=run.record.plan_id,
        seconds=seconds,
    )
