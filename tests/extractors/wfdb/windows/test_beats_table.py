"""The further table of beats, against one detection over the whole signal."""

from __future__ import annotations

import datetime as dt
import shutil
from pathlib import Path
from typing import Any

import ecg_waves
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from wfdb_oracles.oracle import read_files, rows_in, samples_of, task_of
from wfdb_oracles.windows import in_time

import scaledproc
from scaledproc.errors import UsageError
from scaledproc.extractors.described import descriptions
from scaledproc.extractors.tables import TableRows
from scaledproc.extractors.wfdb.beats.detection import detect_beats
from scaledproc.extractors.wfdb.beats.intervals import rr_intervals_ms
from scaledproc.extractors.wfdb.signals import blocks
from scaledproc.extractors.wfdb.windows import streams
from scaledproc.extractors.wfdb.windows.beats_table import SCHEMA
from scaledproc.extractors.wfdb.windows.extractor import WfdbWindows
from scaledproc.extractors.wfdb.windows.measures import beats


def both_tables(path: Path, **options: Any) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rows of windows, and those of beats."""
    given = rows_in(WfdbWindows(beats_table=True, **options).extract(task_of(path)))
    found = [each.given for each in given if isinstance(each, TableRows)]
    rows = pa.concat_tables(found).to_pylist() if found else []
    return [each for each in given if not isinstance(each, TableRows)], rows


@pytest.mark.parametrize(("name", "channel", "kind"), [("a103l", 0, "ecg"), ("3234460_0018", 2, "pulse")])
def test_the_rows_are_the_beats_that_are_found(shared_data: Path, name: str, channel: int, kind: Any) -> None:
    (path,) = shared_data.rglob(f"{name}.hea")
    windows, rows = both_tables(path)
    assert windows == rows_in(WfdbWindows().extract(task_of(path)))
    rows = [row for row in rows if row["channel"] == channel]
    header, files = read_files(path)
    signal, (stored, n) = header.signals[channel], samples_of(header, files)[channel]
    samples = (in_time(signal, stored, n) - signal.baseline) / signal.gain
    fs = header.fs * signal.samples_per_frame
    found = detect_beats(samples[: round(fs * 620)], fs, kind)
    inside = found.times < 600 * fs
    first = rows[: inside.sum()]
    assert [row["sample"] for row in first] == found.positions[inside].tolist()
    assert all(row["sample"] >= 600 * fs for row in rows[len(first) :])
    offset = next(row["offset_s"] - row["window"] * 60 for row in windows) if windows[0]["window"] else 0.0
    at = [row["time_s"] for row in first]
    expected = found.times[inside] / fs
    begin = at[0] - expected[0]
    assert np.allclose(at, expected + begin, rtol=0, atol=1e-6)
    assert begin >= offset
    for column, values in (
        ("rr_ms", rr_intervals_ms(found, fs)),
        ("amplitude", found.amplitude),
        ("quality", found.quality),
    ):
        told = [np.nan if row[column] is None else row[column] for row in first]
        assert np.array_equal(told, values[inside], equal_nan=True), column


def test_times_of_beats_by_a_rounded_rate(tmp_path: Path) -> None:
    """At 333.3 Hz, which is a sample every 3 ms, as windows have it."""
    samples, _ = ecg_waves.ecg(1000 / 3, np.arange(1.0, 300.0, 0.9), "narrow")
    (tmp_path / "r.hea").write_text(f"r 1 333.3 {len(samples)}\nr.dat 16 1000/mV 0 0 0 0 0 II\n")
    (tmp_path / "r.dat").write_bytes((samples * 1000).astype("<i2").tobytes())
    windows, rows = both_tables(tmp_path / "r.hea", window=9.0)
    assert len(rows) > 300
    assert max(abs(row["time_s"] - 0.003 * row["sample"]) for row in rows) <= 0.0015
    assert {window["n_samples"] for window in windows[:-1]} == {3000}
    assert {window["fs"] for window in windows} == {333.3}


def test_beats_are_counted_by_window(shared_data: Path) -> None:
    """Where windows follow each other all beats of windows with values are in the table, by the record's time."""
    (path,) = shared_data.rglob("3234460_0018.hea")
    windows, rows = both_tables(path)
    checked = 0
    for window in windows:
        if window["n_beats"]:
            times = [row["time_s"] for row in rows if row["channel"] == window["channel"]]
            assert window["n_beats"] == sum(window["offset_s"] <= time < window["offset_s"] + 60 for time in times)
            checked += 1
    assert checked > 20


def test_the_same_rows_in_any_pieces_of_the_file(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beats outside of windows, too, in the same order."""
    monkeypatch.setattr(beats, "PIECE", 50.0)
    (path,) = shared_data.rglob("a103l.hea")
    _, expected = both_tables(path, window=3.0, step=100.0)
    monkeypatch.setattr(blocks, "BLOCK", 4096)
    monkeypatch.setattr(blocks, "_own", type(blocks._own)())
    monkeypatch.setattr(streams, "_TOGETHER", 9000)
    _, rows = both_tables(path, window=3.0, step=100.0)
    assert rows == expected
    order = [(row["time_s"] // 50, row["channel"], row["time_s"]) for row in rows]
    assert order == sorted(order)
    assert len({row["channel"] for row in rows}) > 1


@pytest.mark.parametrize(
    ("name", "piece"), [("101", 600.0), ("231", 600.0), ("100", 90.0), ("101", 90.0), ("102", 90.0), ("231", 90.0)]
)
def test_intervals_are_between_the_rows(
    shared_data: Path, monkeypatch: pytest.MonkeyPatch, name: str, piece: float
) -> None:
    """Where a lead is noisy the pieces of a signal do not agree on each beat; every interval has both its beats."""
    monkeypatch.setattr(beats, "PIECE", piece)
    path = shared_data.parent / "annotated/mitdb" / f"{name}.hea"
    windows, rows = both_tables(path, window=7.0)
    rows = [row for row in rows if row["channel"] == 1]
    times = np.array([row["time_s"] for row in rows])
    steps = np.diff(times) * 1000
    assert len(steps) > 1000
    assert rows[0]["rr_ms"] is None
    np.testing.assert_allclose([row["rr_ms"] for row in rows[1:]], steps, rtol=0, atol=1e-6)
    assert steps.min() >= 195  # no beat is there twice
    windows = [row for row in windows if row["channel"] == 1]
    for window in windows:
        inside = (times >= window["offset_s"]) & (times < window["offset_s"] + 7)
        assert window["n_beats"] == inside.sum()
        if inside.sum() > 1:
            assert window["rr_mean"] == pytest.approx(np.diff(times[inside]).mean() * 1000, rel=1e-9)
    assert sum(window["n_beats"] for window in windows) == len(rows)


def test_across_segments_beats_are_those_of_segments(shared_data: Path) -> None:
    (path,) = shared_data.rglob("82284982.hea")
    _, rows = both_tables(path, across_segments=True)
    apart = [row for each in sorted(path.parent.glob("82284982_0*.hea")) for row in both_tables(each)[1]]
    assert len(rows) > 100
    assert abs(len(rows) - len(apart)) <= 0.02 * len(apart)  # at the edges of segments
    for name in {row["signal_name"] for row in rows}:
        known = np.sort([row["time_s"] for row in apart if row["signal_name"] == name])
        times = np.array([row["time_s"] for row in rows if row["signal_name"] == name])
        distances = np.abs(times[:, None] - known).min(axis=1)
        assert (distances < 0.01).mean() > 0.97, name
    assert all(row["time"] is not None for row in rows)
    begins = {row["time"] - dt.timedelta(seconds=row["time_s"]) for row in rows}
    assert max(begins) - min(begins) <= dt.timedelta(microseconds=2)


def test_a_run_writes_it_beside_the_same_features(shared_data: Path, tmp_path: Path) -> None:
    """Whatever the cuts are."""
    data = tmp_path / "data" / "p" / "a"
    data.mkdir(parents=True)
    for name in ("a103l", "100"):
        for file in next(iter(shared_data.rglob(f"{name}.hea"))).parent.glob(f"{name}.*"):
            shutil.copy(file, data)
    runs = {}
    for number, (chunk, options) in enumerate([(1, {"beats_table": True}), (5, {"beats_table": True}), (5, {})]):
        out = tmp_path / f"out{number}"
        scaledproc.run(tmp_path / "data", out, extractor="wfdb-windows", options=options, chunk=chunk, jobs=1)
        runs[number] = out
    assert not (runs[2] / "beats.parquet").exists()
    assert (runs[0] / "features.parquet").read_bytes() == (runs[1] / "features.parquet").read_bytes()
    # The file names its plan, which an option makes another one; its rows are the same.
    assert pq.read_table(runs[0] / "features.parquet").equals(pq.read_table(runs[2] / "features.parquet"))
    assert (runs[0] / "beats.parquet").read_bytes() == (runs[1] / "beats.parquet").read_bytes()
    table = pq.read_table(runs[0] / "beats.parquet")
    assert table.num_rows > 4000
    assert set(table["record"].to_pylist()) == {"a103l", "100"}
    assert descriptions(table.schema) == descriptions(SCHEMA)


def test_its_columns_tell_their_units_and_meanings() -> None:
    told = descriptions(WfdbWindows(beats_table=True).tables["beats"])
    assert [name for name in SCHEMA.names if not told.get(name, {}).get("description")] == []
    assert {name: each["unit"] for name, each in told.items() if "unit" in each} == {
        "time_s": "s",
        "rr_ms": "ms",
        "amplitude": "as in the column units of the windows",
        "quality": "1",
    }
    assert told["quality"]["description"] == "From 0, where a beat cannot be told from noise, to 1."


def test_there_are_none_without_beats() -> None:
    with pytest.raises(UsageError, match="there are none with beats=false"):
        WfdbWindows(beats=False, beats_table=True)
