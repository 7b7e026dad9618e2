"""Numerics once a minute: each window of a minute has the value of that minute, however the header rounds 1/60 Hz."""

from __future__ import annotations

import datetime as dt
from array import array
from pathlib import Path
from typing import Any

import pytest
from wfdb_oracles.oracle import rows_in, task_of

from scaledproc.extractors.wfdb.summary import WfdbSummary
from scaledproc.extractors.wfdb.windows.extractor import WfdbWindows

ROUNDINGS = ("0.0166666666667", "0.016666666666666666", "0.0166667", "0.016667", "0.0166666", "0.01667", "1.66667e-2")
BEGIN = dt.datetime(2130, 2, 1, 10, 0, 7, 500_000)  # noqa: DTZ001 - records have no zone


def minutes_in(file: Path, n_signals: int, channel: int, gain: float) -> list[float]:
    """What each minute's value is: the file's 16-bit numbers one after the other."""
    stored = array("h", file.read_bytes())
    return [value / gain for value in stored[channel::n_signals]]


def windows_of(path: Path, **options: Any) -> list[dict[str, Any]]:
    return rows_in(WfdbWindows(**options).extract(task_of(path, path.parents[2])))


@pytest.mark.parametrize(("name", "n_signals", "n"), [("3234460", 7, 72), ("3544749", 15, 1315), ("3248903", 10, 1)])
@pytest.mark.parametrize("grid", ["record", "segment"])
def test_each_minute_of_mimics_numerics(shared_data: Path, name: str, n_signals: int, n: int, grid: str) -> None:
    (path,) = shared_data.rglob(f"{name}n.hea")
    rates = minutes_in(path.with_suffix(".dat"), n_signals, 0, 10.0)
    assert len(rates) == n
    if name == "3234460":
        assert rates[:3] == [101.3, 103.0, 89.5]
    rows = windows_of(path, grid=grid, window=60.0, signals=("HR",))
    assert [row["window"] for row in rows] == list(range(n))
    assert [row["mean"] for row in rows] == rates
    assert {row["n_samples"] for row in rows} == {1}
    assert [row["offset_s"] for row in rows] == [60.0 * minute for minute in range(n)]


@pytest.fixture(params=ROUNDINGS)
def numerics(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """200 minutes of a record's numerics: the value of a minute is its number."""
    folder = tmp_path / "data/30/r"
    folder.mkdir(parents=True)
    (folder / "r.hea").write_text("r/1 1 125 1500000 10:00:07.5 01/02/2130\nr_1 1500000\n")
    (folder / "rn.hea").write_text(f"rn 1 {request.param} 200 10:00:07.5 01/02/2130\nrn.dat 16 1/bpm 0 0 0 0 0 HR\n")
    (folder / "rn.dat").write_bytes(array("h", range(200)).tobytes())
    return folder / "rn.hea"


def test_however_the_rate_is_rounded(numerics: Path) -> None:
    rows = windows_of(numerics, window=60.0)
    assert [(row["window"], row["mean"], row["start"]) for row in rows] == [
        (minute, float(minute), BEGIN + dt.timedelta(minutes=minute)) for minute in range(200)
    ]
    hours = windows_of(numerics, window=3600.0)
    assert [(row["n_samples"], row["min"], row["max"]) for row in hours] == [
        (60, 0.0, 59.0), (60, 60.0, 119.0), (60, 120.0, 179.0), (20, None, None),
    ]  # fmt: skip
    halves = windows_of(numerics, window=60.0, step=30.0)
    assert [row["mean"] for row in halves[:4]] == [0.0, 1.0, 1.0, 2.0]


def test_minutes_of_the_clock(numerics: Path) -> None:
    """The value k was taken at 10:k:07.5, in the minute 10:k."""
    rows = windows_of(numerics, window=60.0, grid="clock")
    assert [(row["start"], row["mean"]) for row in rows] == [
        (BEGIN.replace(second=0, microsecond=0) + dt.timedelta(minutes=minute), float(minute)) for minute in range(200)
    ]
    assert {row["offset_s"] + 7.5 - 60 * row["mean"] for row in rows} == {0.0}


def test_how_long_numerics_last(numerics: Path) -> None:
    (found,) = WfdbSummary().extract(task_of(numerics, numerics.parents[2]))
    assert (found["duration_s"], found["offset_s"], found["start"]) == (12_000.0, 0.0, BEGIN)
