"""Two jobs of one element, as where a batch system took one late: no row is lost or there twice."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import Bucket, forget_s3

import scaledproc
from scaledproc.api import verify
from scaledproc.storage.store import Store
from scaledproc.testing import output_bytes
from scaledproc.testing.probes import write_probe_dataset

WAIT = 60.0  # seconds
JOBS = 4  # three shards, then the table
SLEEPY = """
import os
import time
from pathlib import Path

import pyarrow as pa

from scaledproc.plugins import Extractor

def sleep(name):
    time.sleep(float(os.environ.get(name, 0)))

class Sleepy(Extractor):
    name = "sleepy"
    anchors = ("*.txt",)
    schema = pa.schema({"path": pa.string(), "line": pa.int64()})

    def extract(self, task):
        with Path(os.environ["CALLS"]).open("a") as file:
            file.write(f"{os.environ.get('TWIN', 'first')} {task.anchor}\\n")
        sleep("SLEEP")
        for number, line in enumerate(task.path.read_text().splitlines()):
            if line == "poison":
                raise ValueError("poison")
            yield {"path": task.anchor, "line": number}

    def finish(self, table):
        if table.num_rows:
            sleep("BEFORE_TABLE")
        return table

    def end_notes(self, noticed):
        sleep("AFTER_TABLE")
        return ()
"""
TWICE = """#!/bin/sh
# Starts a job, and a little later the same once more, whose tasks may be slower; prints the first one's id.
# Unless it is very late, that one writes the table while the first does, and is still at work when the first ends.
setsid "$1" > "$2" 2>&1 &
echo $!
{ sleep "$3"; TWIN=twin SLEEP="$4" BEFORE_TABLE=0 AFTER_TABLE=3 setsid "$1"; echo $? > "$2.ended"; } > "$2.twin" 2>&1 &
"""


@pytest.fixture
def output(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Where the run goes: a folder, and a prefix on a real S3 server that the environment leads to."""
    if request.param == "local":
        yield str(tmp_path / "out")
        return
    s3: Bucket = request.getfixturevalue("s3")
    for name, value in s3.server.environment().items():
        monkeypatch.setenv(name, value)
    forget_s3()
    yield s3.url(f"two-jobs/{tmp_path.name}")
    forget_s3()


@pytest.mark.slow
@pytest.mark.parametrize("table", ["file", "dataset"])
@pytest.mark.parametrize(
    ("output", "late", "sleep"),
    [("local", 0.0, 0.05), ("local", 0.3, 0.05), ("local", 0.0, 0.4), ("local", 2.0, 0.05), ("s3", 0.3, 0.05)],
    indirect=["output"],
)
def test_both_work_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str, table: str, late: float, sleep: float
) -> None:
    dataset, calls = write_probe_dataset(tmp_path / "data", poison=True), tmp_path / "calls"
    (tmp_path / "sleepy.py").write_text(SLEEPY)
    (tmp_path / "twice.sh").write_text(TWICE)
    logs = tmp_path / "logs"
    logs.mkdir()
    settings = {
        "submit": f"sh {tmp_path}/twice.sh {{script}} {logs}/{{name}} {late} {sleep}",
        "poll": 'sh -c \'kill -0 "$1" && ! grep -q "State:.Z" /proc/$1/status\' sh {id}',
        "cancel": "kill {id}",
        "poll_seconds": 0.1,
        "retries": 0,  # two jobs at once cost time alone
    }
    cuts: dict[str, Any] = {"shards": "3", "chunk": "2", "table": table, "extractor": f"{tmp_path}/sleepy.py:Sleepy"}
    monkeypatch.setenv("CALLS", str(tmp_path / "local-calls"))
    local = scaledproc.run(dataset, tmp_path / "local", backend="local", jobs=8, **cuts)
    monkeypatch.setenv("CALLS", str(calls))
    monkeypatch.setenv("BEFORE_TABLE", "1")
    monkeypatch.setenv("SLEEP", "0.05")

    def go() -> scaledproc.Run:
        return scaledproc.run(dataset, output, backend="commands", jobs=1, settings=settings, **cuts)

    found = go()
    assert output_bytes(found.store) == output_bytes(local.store)  # while the later jobs may be at work yet
    end = time.monotonic() + WAIT
    while len(list(logs.glob("*.ended"))) < JOBS:
        assert time.monotonic() < end, "a job does not end"
        time.sleep(0.1)
    by = Counter(line.split()[0] for line in calls.read_text().splitlines())
    assert late > 1 or by["twin"] > 0
    told = next(logs.glob(f"*-{JOBS}")).read_text()
    assert '"CombineDone"' in told, told  # the other one cost time alone

    store = Store.at(output)
    assert output_bytes(store) == output_bytes(local.store)
    assert verify(output).problems == ()
    go()  # finished: removes what the later ones left
    assert output_bytes(store) == output_bytes(local.store)
    left = [file.path for file in store.listing().files]
    assert not [path for path in left if path.startswith("work/") or path.rpartition("/")[2].startswith(".")]
    assert store.local is None or not store.exists("work")  # the S3 server keeps folders that are empty
