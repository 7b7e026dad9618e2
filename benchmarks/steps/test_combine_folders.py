"""The last step where tables are folders (`--table dataset`): what it takes must not depend on how many rows there are.

The shards' jobs write the tables' files; the last step merges what they told. `pytest --full
benchmarks/steps/test_combine_folders.py` goes up to 1 million rows, with `SCALEDPROC_BENCHMARK_ROWS=20000,100000000` to
100 million, which need 5 GB of disk and a quarter of an hour.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from measure import HERE, Bystanders, cpu_seconds, table

import scaledproc
from scaledproc._util.process import startup
from scaledproc.backends.local import LocalBackend
from scaledproc.errors import ScaledprocError
from scaledproc.events import Event
from scaledproc.execution.tables.combine import combine
from scaledproc.run_folder.folder import RunFolder
from scaledproc.run_folder.names import COMMON_METADATA

if TYPE_CHECKING:
    from collections.abc import Callable

    from scaledproc.plugins import Job

pytestmark = pytest.mark.full

SHARDS = 200
ROWS = [int(rows) for rows in os.environ.get("SCALEDPROC_BENCHMARK_ROWS", "20000,1000000").split(",")]
ROUNDS = 3
MOST_TIMES, MOST_BYTES = 1.5, 50e6
"""How much longer it may take with most rows than with fewest, and how many bytes more of memory."""
SCHEMA = {"anchor": "string", "t": "int64", "value": "float32"}


def sums(tables: Iterable[pa.Table]) -> Mapping[str, pa.Table]:
    """How many rows there are, and the largest value."""
    return merged([partial(tables)])


def partial(tables: Iterable[pa.Table]) -> Mapping[str, pa.Table]:
    """The same of one shard."""
    found = [(table.num_rows, pc.max(table["value"]).as_py()) for table in tables]
    return {"sums": pa.table({"rows": [sum(n for n, _ in found)], "max": [max(each for _, each in found)]})}


def merged(partials: Iterable[Mapping[str, pa.Table]]) -> Mapping[str, pa.Table]:
    """The same of all."""
    together = pa.concat_tables([each["sums"] for each in partials])
    return {"sums": pa.table({"rows": [pc.sum(together["rows"])], "max": [pc.max(together["max"])]})}


@scaledproc.extractor(
    schema=SCHEMA, anchor="*.txt", summarise=sums, partial_summaries=partial, merge_summaries=merged, unit="file"
)
def numbers(task: scaledproc.Task, *, rows: int = 100) -> Iterator[pa.Table]:
    """Rows that a file's number tells."""
    rng = np.random.default_rng(int(task.path.stem))
    for start in range(0, rows, 50_000):
        size = min(50_000, rows - start)
        columns = [pa.array([task.anchor] * size), pa.array(np.arange(start, start + size))]
        yield pa.table([*columns, pa.array(rng.normal(size=size).astype(np.float32))], list(SCHEMA))


class ShardsAlone(LocalBackend):  # type: ignore[misc]
    """The jobs of the shards, and no last one."""

    def run(self, run: RunFolder, jobs: Sequence[Job]) -> Iterator[Event]:
        """Leave the last one out."""
        yield from super().run(run, [job for job in jobs if job.shard is not None])


def make(folder: Path, rows: int) -> float:
    """A run of which all is there but what the last step makes; the seconds that it took."""
    for group in range(SHARDS):
        (folder / f"data/{group:03}").mkdir(parents=True)
        (folder / f"data/{group:03}/{group}.txt").touch()
    started = time.perf_counter()
    with pytest.raises(ScaledprocError, match="without combining"):
        scaledproc.run(
            folder / "data",
            folder / "out",
            extractor=f"{__file__}:numbers",
            options={"rows": rows // SHARDS},
            backend=ShardsAlone(),
            table="dataset",
        )
    return time.perf_counter() - started


def alone(folder: Path) -> dict[str, float]:
    """The last step in a process of its own: seconds, CPU seconds, and the most bytes of memory that it had."""
    environment = {**os.environ, **startup.ENVIRONMENT, "PYTHONPATH": str(HERE)}  # as of the command line
    command = [sys.executable, __file__, str(folder / "out")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def test_the_last_step_does_not_depend_on_the_rows(tmp_path: Path, show: Callable[[str], None]) -> None:
    lines, times, peaks = [], [], []
    with Bystanders() as others:
        for rows in ROWS:
            folder = tmp_path / str(rows)
            folder.mkdir()
            made = make(folder, rows)
            found = [alone(folder) for _ in range(ROUNDS)]
            assert [one["rows"] for one in found] == [rows] * ROUNDS
            assert (folder / "out/features" / COMMON_METADATA).exists()
            medians = {name: statistics.median(one[name] for one in found) for name in found[0]}
            size = sum(path.stat().st_size for path in (folder / "out/features").glob("*.parquet"))
            shutil.rmtree(folder)
            times.append(medians["cpu"])
            peaks.append(medians["peak"])
            lines.append(
                [
                    f"{rows:,}",
                    *(f"{size / 1e6:.0f}", f"{made:.0f}", f"{medians['seconds']:.2f}", f"{medians['cpu']:.2f}"),
                    f"{medians['peak'] / 1e6:.0f}",
                ]
            )
    show(
        table(
            f"the last step of {SHARDS} shards, --table dataset; one process each, medians of {ROUNDS}",
            ["rows", "MB of files", "s before", "s", "CPU s", "peak MB"],
            lines,
            [
                others.note,
                f"at most {MOST_TIMES:.1f} x the CPU time of the fewest, {MOST_BYTES / 1e6:.0f} MB more, of the fewest",
            ],
        )
    )
    assert max(times) <= MOST_TIMES * times[0]
    assert max(peaks) <= MOST_BYTES + peaks[0]


def main(folder: str) -> None:
    """Measure in this process."""
    run = RunFolder.open(folder)
    _ = run.extractor
    started, cpu = time.perf_counter(), cpu_seconds()
    rows = combine(run).rows
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    seconds = {"seconds": time.perf_counter() - started, "cpu": cpu_seconds() - cpu}
    print(json.dumps({**seconds, "rows": rows, "peak": peak}))


if __name__ == "__main__":
    main(*sys.argv[1:])
