"""Updating 10 of 100,000 tasks, whose table has 10 million rows: beside listing, planning and copying the table.

An update lists and plans, does what is to be done, and writes the table anew. `SCALEDPROC_BENCHMARK_ROWS_PER_TASK=10
pytest --full benchmarks/steps/test_update.py` tries fewer rows.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from measure import HERE, Bystanders, cpu_seconds, table

import scaledproc
from scaledproc._util.process import startup
from scaledproc.storage.parquet import read_tables, write_table
from scaledproc.storage.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.full

GROUPS, PER_GROUP = 100, 1_000
ROWS = int(os.environ.get("SCALEDPROC_BENCHMARK_ROWS_PER_TASK", "100"))
CHANGED = 10
ROUNDS = 3
MOST_TIMES, MOST_BYTES = 1.5, 600e6
SCHEMA = pa.schema({"path": pa.string(), "t": pa.int64(), "a": pa.float64(), "b": pa.float64(), "c": pa.int32()})


@scaledproc.extractor(schema=SCHEMA, anchor="*.txt", unit="file")
def numbers(task: scaledproc.Task) -> pa.Table:
    """Rows that a file's number and its content tell."""
    rng = np.random.default_rng(int(task.path.stem))
    columns = [pa.array([task.anchor] * ROWS), pa.array(np.arange(ROWS)), pa.array(rng.normal(size=ROWS))]
    columns += [pa.array(rng.normal(size=ROWS) + int(task.path.read_text()))]
    columns += [pa.array(rng.integers(0, 1000, ROWS), pa.int32())]
    return pa.table(columns, schema=SCHEMA)


def change(data: Path, content: int) -> None:
    """Other files, each of another group."""
    for number in range(CHANGED):
        group = number * GROUPS // CHANGED
        (data / f"g{group:03}" / f"{group * PER_GROUP + number:06}.txt").write_text(str(content))


def plan(folder: Path) -> int:
    """List and plan, and nothing else."""
    return scaledproc.plan(folder / "data", extractor=numbers).n_tasks


def copy(folder: Path) -> int:
    """Read the table and write it again."""
    store = Store.at(folder / "out")
    schema = next(read_tables(store, "features.parquet")).schema
    rows = write_table(folder / "copy.parquet", schema, read_tables(store, "features.parquet"))
    (folder / "copy.parquet").unlink()
    return rows


def update(folder: Path) -> int:
    """Update the run."""
    change(folder / "data", time.time_ns())
    return int(
        scaledproc.run(folder / "data", folder / "out", extractor=numbers, jobs=1, update=True).record.counts["rows"]
    )


def alone(what: str, folder: Path) -> dict[str, float]:
    """One of the above in a process of its own: seconds, CPU seconds, and the most bytes of memory that it had."""
    environment = {**os.environ, **startup.ENVIRONMENT, "PYTHONPATH": str(HERE)}
    command = [sys.executable, __file__, what, str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def test_updating(tmp_path: Path, show: Callable[..., None]) -> None:
    for number in range(GROUPS * PER_GROUP):
        path = tmp_path / f"data/g{number // PER_GROUP:03}/{number:06}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("0")
    scaledproc.run(tmp_path / "data", tmp_path / "out", extractor=numbers, jobs=1)
    taken: dict[str, list[dict[str, Any]]] = {"plan": [], "copy": [], "update": []}
    with Bystanders() as others:
        for _ in range(ROUNDS):
            for what, found in taken.items():
                found.append(alone(what, tmp_path))
    medians = {
        what: {name: statistics.median(one[name] for one in found) for name in found[0]}
        for what, found in taken.items()
    }
    assert medians["update"]["count"] == GROUPS * PER_GROUP * ROWS
    times = {
        name: (medians["update"][name] - medians["plan"][name]) / medians["copy"][name] for name in ("seconds", "cpu")
    }
    lines = [
        [what, f"{one['seconds']:.2f}", f"{one['cpu']:.2f}", f"{one['peak'] / 1e6:.0f}"]
        for what, one in medians.items()
    ]
    lines.append(["(update less plan) / copy", f"{times['seconds']:.2f}", f"{times['cpu']:.2f}", ""])
    title = f"updating {CHANGED} of {GROUPS * PER_GROUP:,} tasks, {GROUPS * PER_GROUP * ROWS / 1e6:.0f} M rows"
    show(table(f"{title}; medians of {ROUNDS}", ["what", "s", "CPU s", "peak MB"], lines, [others.note]))
    assert times["seconds" if others.are_quiet else "cpu"] <= MOST_TIMES
    assert medians["update"]["peak"] <= MOST_BYTES


def main(what: str, folder: str) -> None:
    """Measure in this process, once all is imported."""
    scaledproc.plan(Path(folder) / "data" / "g000", extractor=numbers)
    started, cpu = time.perf_counter(), cpu_seconds()
    count = {"plan": plan, "copy": copy, "update": update}[what](Path(folder))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    seconds = {"seconds": time.perf_counter() - started, "cpu": cpu_seconds() - cpu}
    print(json.dumps({**seconds, "count": count, "peak": peak}))


if __name__ == "__main__":
    main(*sys.argv[1:])
