"""The report of a million tasks in 500 shards: a page that a browser opens, made in seconds."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scaledproc.extractors.wfdb.summary import WfdbSummary
from scaledproc.reporting.report import report_html
from scaledproc.run_folder.folder import RunFolder
from scaledproc.run_folder.names import ERROR_SCHEMA, WARNING_SCHEMA
from scaledproc.run_folder.record import RunRecord
from scaledproc.run_folder.run import Run
from scaledproc.run_folder.tasks_table import TASKS_SCHEMA
from scaledproc.storage.store import Store

TASKS, SHARDS, SIGNALS, FAILED = 1_000_000, 500, 3, 30_000
LARGEST = 3_000_000
"""Bytes of a page."""


@pytest.fixture(scope="module")
def huge(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The files of a run of `wfdb-summary` with a million tasks, made up: 3 % failed, all in other words."""
    folder = tmp_path_factory.mktemp("huge")
    chance = np.random.default_rng(0)
    number = pa.array(np.arange(TASKS)).cast(pa.string())
    names = pa.compute.binary_join_element_wise("30/3000000/", number, ".hea", "")
    shard = np.arange(TASKS) * SHARDS // TASKS
    is_bad = np.zeros(TASKS, bool)
    is_bad[:: TASKS // FAILED] = True
    is_bad[np.flatnonzero(is_bad)[FAILED:]] = False
    rows = np.where(is_bad, 0, SIGNALS)
    columns = [
        pa.array(["30"] * TASKS),
        pa.array(["30/3000000"] * TASKS),
        names,
        pa.array(shard, pa.int32()),
        pa.array(np.where(is_bad, "quarantined", "done")),
        pa.array(rows, pa.int64()),
        pa.array(chance.lognormal(-7, 1, TASKS)),
        pa.array(chance.integers(1, 10**6, TASKS)),
        pa.array(chance.integers(1, 10**9, TASKS)),
        pa.array(np.ones(TASKS), pa.int32()),
        pa.array(["exception" if each else None for each in is_bad.tolist()]),
    ]
    pq.write_table(pa.table(columns, schema=TASKS_SCHEMA), folder / "tasks.parquet", row_group_size=65_536)
    bad = names.filter(pa.array(is_bad))
    words = [
        f"{'abcdefghij'[at % 10]}{'klmnopqrst'[at // 10 % 10] * (at % 50)} <b>{'x' * 1900}" for at in range(FAILED)
    ]
    fixed: dict[str, Any] = {"group": "30", "unit": "30/3000000", "kind": "exception", "error": "ValueError"}
    errors = {name: pa.array([fixed[name]] * FAILED) for name in ("group", "unit", "kind", "error")}
    errors |= {"anchor": bad, "message": pa.array(words), "attempts": pa.array([1] * FAILED, pa.int32())}
    pq.write_table(
        pa.table([errors[name] for name in ERROR_SCHEMA.names], schema=ERROR_SCHEMA), folder / "errors.parquet"
    )
    said = {"group": errors["group"], "unit": errors["unit"], "anchor": bad, "message": pa.array(words)}
    pq.write_table(
        pa.table([said[name] for name in WARNING_SCHEMA.names], schema=WARNING_SCHEMA), folder / "warnings.parquet"
    )
    _write_features(folder, names.filter(pa.array(~is_bad)), chance)
    per_shard = np.bincount(shard, minlength=SHARDS)
    bad_of = np.bincount(shard[is_bad], minlength=SHARDS)
    shards = [
        {
            "shard": at,
            "tasks": int(per_shard[at]),
            "rows": int(SIGNALS * (per_shard[at] - bad_of[at])),
            "quarantined": int(bad_of[at]),
            "bytes": 10**9,
            "work_seconds": float(chance.lognormal(3, 0.3)),
        }
        for at in range(SHARDS)
    ]
    busy = {"width": 10.0, "busy": [5.0] * 240, "shards": [[at, at * 1.0, at + 900.0] for at in range(SHARDS)]}
    record = RunRecord(
        state="done",
        plan_id="0" * 32,
        dataset=str(folder / "data"),
        extractor={"spec": "wfdb-summary", "label": "wfdb-summary", "options": {}, "fingerprint": {}},
        options={"shards": "500", "chunk": "auto", "unit": "folder", "cores": 64},
        versions={"scaledproc": "0"},
        counts={
            "tasks": TASKS,
            "rows": SIGNALS * (TASKS - FAILED),
            "quarantined": FAILED,
            "shards": SHARDS,
            "files": 2 * TASKS,
            "units": 1,
            "chunks": 10_000,
        },
        bytes={"input": SHARDS * 10**9, "features": 1},
        timings={"last_start_seconds": 2400.0, "starts": 1, "timeline": busy},
        shards=shards,
        backend={"name": "local"},
        digests={"warnings.parquet": ""},
    )
    store = Store.at(folder)
    RunFolder(store, Store.at(record.dataset), "wfdb-summary", replace(record)).with_record()
    return Run.open(store)


def _write(file: Path, columns: dict[str, Any], schema: pa.Schema) -> None:
    pq.write_table(pa.table([columns[name] for name in schema.names], schema=schema), file)


def _write_features(folder: Path, anchors: pa.Array, chance: np.random.Generator) -> None:
    """Rows as `wfdb-summary` has them, three for each task that did not fail."""
    schema = WfdbSummary().finish(WfdbSummary().schema.empty_table()).schema
    count = len(anchors)
    with pq.ParquetWriter(folder / "features.parquet", schema) as writer:
        for start in range(0, count, 20_000):
            part = anchors.slice(start, 20_000)
            size = SIGNALS * len(part)
            values = np.sort(chance.normal(0, 1, (size, 5)), axis=1)
            record = part.take(pa.array(np.repeat(np.arange(len(part)), SIGNALS)))
            known: dict[str, Any] = {
                "group": ["30"] * size,
                "unit": ["30/3000000"] * size,
                "record": record,
                "record_name": record,
                "subject_id": np.repeat(np.arange(start, start + len(part)), SIGNALS),
                "kind": ["waveform"] * size,
                "channel": np.tile(np.arange(SIGNALS), len(part)),
                "signal": ["II", "V", "ABP"] * len(part),
                "signal_name": ["II", "V", "ABP"] * len(part),
                "units": ["mV", "mV", "mmHg"] * len(part),
                "fmt": ["80"] * size,
                "fs": np.full(size, 125.0),
                "offset_s": np.zeros(size),
                "duration_s": np.full(size, 60.0),
                "checksum_ok": [True] * size,
                **{name: np.full(size, 7_500) for name in ("n_samples", "n_missing", "n_zero", "n_distinct")},
                **dict(zip(("min", "p25", "p50", "p75", "max"), values.T, strict=True)),
            }
            columns = [
                pa.array(known[each.name], each.type) if each.name in known else pa.nulls(size, each.type)
                for each in schema
            ]
            writer.write_table(pa.table(columns, schema=schema))


@pytest.mark.slow
def test_the_page_of_a_million_tasks_is_small_and_soon_made(huge: Run) -> None:
    started, worked = time.perf_counter(), time.process_time()
    page = report_html(huge, extractor=WfdbSummary())
    seconds, cpu = time.perf_counter() - started, time.process_time() - worked
    print(f"{len(page.encode()):,} bytes in {seconds:.1f} s, {cpu:.1f} s of CPU")  # noqa: T201 - for who measures
    assert len(page.encode()) <= LARGEST
    assert cpu < 20  # 6 s on a busy machine of two cores
    assert "970,000 tasks done, 30,000 quarantined, 2.9 million rows, 40 min on 64 cores" in page
    assert "the counts and the lengths of the files agree" in page
    assert re.search(r"Of 6\d(\.\d)? % of the rows, in whole row groups\.", page)
    assert "Some records over time" not in page
    assert "Failures by message" in page
