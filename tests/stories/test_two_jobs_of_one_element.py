"""Two jobs of one element, as where a batch system took one late: no row is lost or there twice."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

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

import scaledproc

@scaledproc.extractor(schema={"path": "string", "line": "int64"}, anchor="*.txt")
def sleepy(task):
    with Path(os.environ["CALLS"]).open("a") as file:
        file.write(f"{os.environ.get('TWIN', 'first')} {task.anchor}\\n")
    time.sleep(float(os.environ.get("SLEEP", 0.05)))
    for number, line in enumerate(task.path.read_text().splitlines()):
        if line == "poison":
            raise ValueError("poison")
        yield {"path": task.anchor, "line": number}
"""
TWICE = """#!/bin/sh
# Starts a job, and a little later the same once more, whose tasks may be slower; prints the first one's id.
setsid "$1" > "$2" 2>&1 &
echo $!
{ sleep "$3"; TWIN=twin SLEEP="$4" setsid "$1"; echo $? > "$2.ended"; } > "$2.twin" 2>&1 &
"""


@pytest.mark.slow
@pytest.mark.parametrize("table", ["file", "dataset"])
@pytest.mark.parametrize(("late", "sleep"), [(0.0, 0.05), (0.3, 0.05), (0.0, 0.4), (2.0, 0.05)])
def test_both_work_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: str, late: float, sleep: float
) -> None:
    dataset, output, calls = write_probe_dataset(tmp_path / "data", poison=True), tmp_path / "out", tmp_path / "calls"
    (tmp_path / "sleepy.py").write_text(SLEEPY)
    (tmp_path / "twice.sh").write_text(TWICE)
    logs = tmp_path / "logs"
    logs.mkdir()
    settings = {
        "submit": f"sh {tmp_path}/twice.sh {{script}} {logs}/{{name}} {late} {sleep}",
        "poll": 'sh -c \'kill -0 "$1" && ! grep -q "State:.Z" /proc/$1/status\' sh {id}',
        "cancel": "kill {id}",
        "poll_seconds": 0.1,
    }
    cuts: dict[str, Any] = {"shards": "3", "chunk": "2", "table": table, "extractor": f"{tmp_path}/sleepy.py:sleepy"}
    monkeypatch.setenv("CALLS", str(tmp_path / "local-calls"))
    local = scaledproc.run(dataset, tmp_path / "local", backend="local", jobs=8, **cuts)
    monkeypatch.setenv("CALLS", str(calls))

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

    assert output_bytes(Store.at(str(output))) == output_bytes(local.store)
    assert verify(output).problems == ()
    go()  # finished: removes what the later ones left
    assert output_bytes(Store.at(str(output))) == output_bytes(local.store)
    assert not (output / "work").exists()
    assert not [path for path in output.rglob("*") if path.name.startswith(".")]
