"""Rows of megabytes: how much memory a worker process and the driver take."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest
from support import COMMAND, clean_environment

ROWS, ROW = 60, 4 * 2**20
MOST = 600 * 10**6  # bytes, and twice the rows of the largest task

EXTRACTOR = """
import os
import pyarrow as pa
import scaledproc

def x(f): return scaledproc.extractor(schema={"name": "string", "blob": "binary"}, anchor="*.txt", unit="file")(f)

def blob(): return os.urandom(ROW)

@x
def row(task):
    return {"name": task.path.stem, "blob": blob()}

@x
def table(task):
    return pa.table({"name": [task.path.stem], "blob": pa.array([blob()], pa.binary())})

@x
def rows(task):
    for number in range(20):
        yield {"name": f"{task.path.stem} {number}", "blob": blob()}
"""


def peaks(command: list[str], folder: Path) -> tuple[int, int]:
    """The most resident memory of the driver, and of any process that it started, in bytes."""
    driver = worker = 0
    with subprocess.Popen(command, cwd=folder, env=clean_environment(), stderr=subprocess.DEVNULL) as running:
        process = psutil.Process(running.pid)
        while running.poll() is None:
            try:
                driver = max(driver, process.memory_info().rss)
                children = process.children(recursive=True)
            except psutil.Error:
                continue
            for child in children:
                try:
                    worker = max(worker, child.memory_info().rss)
                except psutil.Error:  # it has just ended
                    continue
            time.sleep(0.02)
    assert running.returncode == 0
    return driver, worker


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "tasks", "table"),
    [("row", ROWS, "file"), ("row", ROWS, "dataset"), ("table", ROWS, "file"), ("rows", ROWS // 20, "file")],
)
def test_memory_is_bounded_by_the_rows_of_a_task(tmp_path: Path, name: str, tasks: int, table: str) -> None:
    (tmp_path / "data").mkdir()
    for number in range(tasks):
        (tmp_path / f"data/{number:02d}.txt").touch()
    (tmp_path / "big.py").write_text(EXTRACTOR.replace("ROW", str(ROW)))
    words = ["data", "out", "--extractor", f"big.py:{name}", "--jobs", "2", "--chunk", str(tasks // 2), "--quiet"]
    driver, worker = peaks([*COMMAND, *words, "--table", table], tmp_path)
    most = MOST + 2 * ROW * (ROWS // tasks)
    assert worker > 50 * 10**6  # they were seen at work
    assert driver < most
    assert worker < most
    files = sorted((tmp_path / "out").glob("features.parquet" if table == "file" else "features/*.parquet"))
    assert sum(pq.read_metadata(file).num_rows for file in files) == ROWS
