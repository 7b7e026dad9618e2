"""Combining: shards of `wfdb-summary` to one table with its names and summaries, beside a plain read-and-write.

`SCALEDPROC_BENCHMARK_ROWS=50000000 pytest --full benchmarks/steps/test_combine.py` tries more rows; these need 10 GB of
disk.
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
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from measure import HERE, Bystanders, cpu_seconds, table

from scaledproc._util.process import startup
from scaledproc.events import ShardDone
from scaledproc.execution.shard import note_shard
from scaledproc.execution.tables.combine import combine
from scaledproc.extractors.wfdb.summary import SCHEMA
from scaledproc.run_folder.folder import RunFolder
from scaledproc.run_folder.names import INVENTORY, WORK_ERROR_SCHEMA, report_name, shard_errors_name, shard_name
from scaledproc.run_folder.names import PLAN as PLAN_FILE
from scaledproc.run_folder.record import RunRecord
from scaledproc.storage.parquet import Writer, write_table
from scaledproc.storage.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.full

ROWS = [int(rows) for rows in os.environ.get("SCALEDPROC_BENCHMARK_ROWS", "1000000,4000000").split(",")]
SHARD = 500_000  # rows
PLAN = "0"
ROUNDS = 3
MOST_TIMES, MOST_BYTES = 2.0, 600e6
SIGNALS = ["II", "V", "MCL1", "ABP", "PLETH", "RESP", "AVR", "III", "ART", "CVP", "HR", "SpO2", "ABP Sys", "?", " ii"]


def write_shards(folder: Path, rows: int, seed: int = 3) -> RunFolder:
    """A run whose shards are committed, all with the same rows."""
    store = Store.at(folder)
    shards = rows // SHARD
    for name in ("shards", "work/done"):
        (folder / name).mkdir(parents=True)
    same = _rows(np.random.default_rng(seed))
    files = pa.table({"path": same["signal_file"].unique().cast(pa.large_string())})
    write_table(folder / INVENTORY, files.schema, [files])
    numbers = np.arange(shards * (SHARD // 4))
    anchors = pc.binary_join_element_wise("30", pa.array(numbers).cast(pa.string()), "/")
    of_shard = pa.array(numbers // (SHARD // 4), pa.int32())
    tasks = pa.table({"group": anchors, "unit": anchors, "anchor": anchors, "shard": of_shard})
    write_table(folder / PLAN_FILE, tasks.schema, [tasks])
    for shard in range(shards):
        with Writer(folder / shard_name(shard), SCHEMA) as writer:
            writer.write_table(same)
            note_shard(writer, PLAN, shard, [4] * (SHARD // 4))
        write_table(folder / shard_errors_name(shard), WORK_ERROR_SCHEMA, [])
        done = ShardDone(shard=shard, tasks=SHARD // 4, rows=SHARD, quarantined=0, size=0, seconds=0.0)
        (folder / report_name(shard)).write_text(json.dumps(done.to_dict()))
    return _run(store, shards)


def _run(store: Store, shards: int) -> RunFolder:
    record = RunRecord("running", PLAN, str(store), {"spec": "wfdb-summary", "options": {}}, {}, {}, {"shards": shards})
    return RunFolder(store, store, "wfdb-summary", record)


def _rows(rng: np.random.Generator) -> pa.Table:
    n, numbers = SHARD, np.arange(SHARD) // 4
    units = [f"30/{3_000_001 + number // 20:07d}" for number in range(n // 4)]
    records = [f"{unit[3:]}_{number % 20:04d}" for number, unit in enumerate(units)]
    of_task = pa.array(numbers)
    floats = {name: rng.normal(80, 30, n) for name in ("mean", "std", "min", "p25", "p50", "p75", "max")}
    samples = rng.integers(1_000, 3_000_000, n)
    columns = {
        "group": pa.array(["30"]).take(pa.array(np.zeros(n, np.int64))),
        "unit": pa.array(units).take(of_task),
        "record": pa.array(records).take(of_task),
        "kind": pa.array(["waveform", "numerics"]).take(pa.array((rng.random(n) < 0.05).astype(int))),
        "channel": np.arange(n) % 4,
        "signal": pa.array(SIGNALS).take(pa.array(rng.integers(len(SIGNALS), size=n))),
        "units": pa.array(["mV", "mmHg", "bpm", None]).take(pa.array(rng.integers(4, size=n))),
        "record_name": pa.array([unit[3:] for unit in units]).take(of_task),
        "subject_id": numbers // 500,
        "hadm_id": pa.nulls(n, pa.int64()),
        "signal_file": pa.array([f"{pair[0]}/{pair[1]}.dat" for pair in zip(units, records, strict=True)]).take(
            of_task
        ),
        "fmt": pa.array(["80"]).take(pa.array(np.zeros(n, np.int64))),
        "fs": np.full(n, 125.0),
        "n_samples": samples,
        "n_missing": samples // rng.integers(2, 1_000, n),
        "n_zero": rng.integers(0, 1_000, n),
        "n_distinct": rng.integers(1, 256, n),
        "n_at_min": rng.integers(0, 10, n),
        "n_at_max": rng.integers(0, 10, n),
        **floats,
        "start": pa.array(rng.integers(4 * 10**15, 6 * 10**15, size=n)).cast(pa.timestamp("us")),
        "offset_s": rng.integers(10**8, size=n) / 125.0,
        "start_date": pa.nulls(n, pa.date32()),
        "start_time": pa.array(rng.integers(86_400_000_000, size=n)).cast(pa.time64("us")),
        "duration_s": samples / 125.0,
        "checksum_ok": rng.random(n) < 0.99,
        "comments": pa.nulls(n, pa.string()),
        "header_note": pa.nulls(n, pa.string()),
    }
    return pa.table([pa.array(columns[field.name]).cast(field.type) for field in SCHEMA], schema=SCHEMA)


def combined(folder: Path, shards: int) -> int:
    """The last job of a run."""
    return combine(_run(Store.at(folder), shards)).rows


def plain(folder: Path, shards: int) -> int:
    """The same bytes read and written, as pyarrow does it, and nothing else."""
    rows = 0
    with pq.ParquetWriter(folder / "plain.parquet", SCHEMA) as writer:
        for shard in range(shards):
            with pq.ParquetFile(folder / shard_name(shard)) as file:
                for batch in file.iter_batches():
                    writer.write_batch(batch)
                    rows += len(batch)
    (folder / "plain.parquet").unlink()
    return rows


def alone(what: str, folder: Path, shards: int) -> dict[str, float]:
    """One of the above in a process of its own: seconds, CPU seconds, and the most bytes of memory that it had."""
    command = [sys.executable, __file__, what, str(folder), str(shards)]
    environment = {**os.environ, **startup.ENVIRONMENT, "PYTHONPATH": str(HERE)}  # as of the command line
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder whose large files do not wait for pytest to remove them."""
    yield tmp_path
    for file in tmp_path.rglob("*.parquet"):
        file.unlink()


def test_combining(folder: Path, show: Callable[[str], None]) -> None:
    lines, times, peaks = [], [], []
    with Bystanders() as others:
        for rows in ROWS:
            shards = len(range(0, rows, SHARD))
            write_shards(folder / str(rows), shards * SHARD)
            rounds = ROUNDS if rows < 10_000_000 else 1
            taken: dict[str, list[dict[str, float]]] = {"plain": [], "combined": []}
            for _ in range(rounds):
                for what, found in taken.items():
                    found.append(alone(what, folder / str(rows), shards))
                    assert found[-1]["rows"] == shards * SHARD
            medians = {
                what: {name: statistics.median(one[name] for one in found) for name in found[0]}
                for what, found in taken.items()
            }
            ours, theirs = medians["combined"], medians["plain"]
            times += [ours["cpu"] / theirs["cpu"]] if not others.are_quiet else [ours["seconds"] / theirs["seconds"]]
            peaks.append(max(one["peak"] for one in taken["combined"]))
            lines += [
                [
                    f"{rows / 1e6:.0f} M rows, {what}",
                    *(f"{one['seconds']:.1f}", f"{one['cpu']:.1f}", f"{rows / one['seconds'] / 1e6:.2f}"),
                    f"{one['peak'] / 1e6:.0f}",
                ]
                for what, one in medians.items()
            ]
            lines.append(
                [
                    "  times plain",
                    *(f"{ours[name] / theirs[name]:.2f}" for name in ("seconds", "cpu")),
                    "",
                    f"{ours['peak'] / theirs['peak']:.2f}",
                ]
            )
    show(
        table(
            f"combining: shards of {SHARD:,} rows; one process each, medians of {ROUNDS} (of 1 from 10 M rows on)",
            ["what", "s", "CPU s", "M rows/s", "peak MB"],
            lines,
            [others.note, f"at most {MOST_TIMES:.0f} x plain, and {MOST_BYTES / 1e6:.0f} MB"],
        )
    )
    assert max(times) <= MOST_TIMES
    assert max(peaks) <= MOST_BYTES


def main(what: str, folder: str, shards: str) -> None:
    """Measure in this process."""
    started, cpu = time.perf_counter(), cpu_seconds()
    rows = {"combined": combined, "plain": plain}[what](Path(folder), int(shards))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    seconds = {"seconds": time.perf_counter() - started, "cpu": cpu_seconds() - cpu}
    print(json.dumps({**seconds, "rows": rows, "peak": peak}))


if __name__ == "__main__":
    main(*sys.argv[1:])
