"""What a task cost is its own, and nothing of what it takes to measure that."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from scaledproc._util.process import memory
from scaledproc.execution.chunks.costs import Meter

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux counts what is read")


def test_what_is_read_is_the_tasks_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 12_345)
    meter = Meter()
    try:
        (tmp_path / "file").read_bytes()  # before the first task, as of modules that are imported
        for wanted in (0, 12_345, 0):
            meter.begin(has_read=True)
            if wanted:
                with (tmp_path / "file").open("rb", buffering=0) as file:
                    assert len(file.read(wanted)) == wanted
            _, read, peak, attempts = meter.end(1)
            assert read == wanted
            assert peak > 0
            assert attempts == 1
            (tmp_path / "file").read_bytes()  # between two tasks
    finally:
        meter.close()


def test_one_task_after_the_other(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 12_345)
    meter = Meter()
    try:
        for number, wanted in enumerate((0, 12_345, 0, 7, 0, 0)):
            meter.begin(has_read=number == 0)
            if wanted:
                with (tmp_path / "file").open("rb", buffering=0) as file:
                    assert len(file.read(wanted)) == wanted
            assert meter.end(1)[1] == wanted
    finally:
        meter.close()


def test_what_tells_the_peak_is_no_task_s(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the small worker of a large driver it reads a file of the system's."""
    monkeypatch.setattr(memory, "_most_ever", lambda: 2**50)
    monkeypatch.setattr(memory, "OWN_EVERY", 0.0)
    meter = Meter()
    try:
        meter.begin(has_read=True)
        assert [meter.end(1)[1] for _ in range(5)] == [0] * 5
    finally:
        meter.close()


def test_where_the_counters_are_gone_nothing_is_known() -> None:
    meter = Meter()
    meter.begin(has_read=True)
    meter.close()
    assert meter.end(1)[1] == -1
