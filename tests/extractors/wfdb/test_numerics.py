"""MIMIC-IV's numerics in CSV, against numpy and by hand."""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from wfdb_oracles.oracle import task_of

import scaledproc
from scaledproc.extractors.wfdb import numerics
from scaledproc.extractors.wfdb.numerics import read_numerics
from scaledproc.extractors.wfdb.summary import WfdbSummary

ANY = WfdbSummary()
at = dt.datetime.fromisoformat
MASTER = "82284982/1 1 62.5/1000(500) 625 10:00:00.25 21/11/2150\n82284982_0001 625\n# subject_id 16955095\n"


def rows_of(folder: Path, text: str | bytes, master: str | None = MASTER) -> list[dict[str, Any]]:
    """The rows of a file of numerics beside a master header."""
    if master is not None:
        (folder / "82284982.hea").write_text(master)
    path = folder / "82284982n.csv.gz"
    path.write_bytes(gzip.compress(text if isinstance(text, bytes) else text.encode()))
    return ANY.extract(task_of(path))


def test_real_numerics(shared_data: Path) -> None:
    (path,) = (shared_data / "mimic4wdb").rglob("*n.csv.gz")
    rows = ANY.extract(task_of(path, shared_data / "mimic4wdb"))
    with gzip.open(path, "rt") as file:
        headings, *lines = csv.reader(file)
    assert len(rows) == len(headings) - 1 == 7
    for column, row in enumerate(rows, 1):
        cells = [line[column] for line in lines]
        values = np.array([float(cell) for cell in cells if cell])
        times = [int(line[0]) for line in lines if line[column]]
        assert f"{row['signal']} [{row['units']}]" == headings[column]
        assert (row["n_samples"], row["n_missing"]) == (len(cells), cells.count(""))
        assert [row[key] for key in ("min", "p25", "p50", "p75", "max")] == [
            *(values.min(), *np.percentile(values, [25, 50, 75]), values.max())
        ]
        assert row["mean"] == pytest.approx(values.mean(), rel=1e-12)
        assert row["std"] == pytest.approx(values.std(ddof=1), rel=1e-12)
        assert (row["n_zero"], row["n_distinct"]) == ((values == 0).sum(), len(set(values)))
        assert row["offset_s"] == pytest.approx(times[0] / 999.56, rel=1e-15)
        assert row["duration_s"] == pytest.approx((times[-1] - times[0]) / 999.56, rel=1e-15)
        assert row["start"] == at("2150-11-21 14:30:58.417") + dt.timedelta(seconds=row["offset_s"])
        assert (row["kind"], row["record"], row["record_name"]) == ("numerics", "82284982n", "82284982")
        assert (row["subject_id"], row["hadm_id"]) == (16955095, 25163344)
        assert row["header_note"] is None


def test_values_and_times_by_hand(tmp_path: Path) -> None:
    text = '"time","HR [bpm]","PVC [/min]","Empty [mmHg]","bare"\n1500,80,0.1,,\n500,81.5,,,1e-3\n2500,,0.20,,\n'
    rate, pvc, empty, bare = rows_of(tmp_path, text)
    assert (rate["signal"], rate["units"], rate["channel"]) == ("HR", "bpm", 0)
    assert (rate["n_samples"], rate["n_missing"], rate["mean"], rate["min"], rate["max"]) == (3, 1, 80.75, 80.0, 81.5)
    # The counter is at 500 when the record begins; the lines need not be in order.
    assert (rate["start"], rate["offset_s"], rate["duration_s"]) == (at("2150-11-21 10:00:00.25"), 0.0, 1.0)
    assert (pvc["signal"], pvc["units"], pvc["offset_s"], pvc["duration_s"]) == ("PVC", "/min", 1.0, 1.0)
    assert pvc["mean"] == 0.15  # exact: (0.1 + 0.2) / 2 is 0.15000000000000002 in binary
    assert (empty["n_missing"], empty["mean"], empty["start"], empty["duration_s"]) == (3, None, None, None)
    assert (bare["signal"], bare["units"], bare["mean"], bare["std"], bare["duration_s"]) == (
        "bare",
        None,
        0.001,
        None,
        0,
    )
    assert {row["fs"] for row in (rate, pvc)} == {None}


@given(
    st.lists(
        st.tuples(st.integers(0, 10**9), st.none() | st.decimals(-1000, 1000, places=2, allow_nan=False)), max_size=50
    ),
    st.integers(20, 200),
)
def test_any_numbers_in_any_pieces(tmp_path_factory: pytest.TempPathFactory, lines: list[Any], piece: int) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv.gz"
    text = "time,X [u]\n" + "".join(f"{time},{'' if value is None else value}\n" for time, value in lines)
    path.write_bytes(gzip.compress(text.encode()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(numerics, "PIECE", piece)
        found = read_numerics(str(path))
    assert found is not None
    (column,) = found
    values = [float(value) for _, value in lines if value is not None]
    times = [time for time, value in lines if value is not None]
    assert (column.statistics.n, column.statistics.missing) == (len(lines), len(lines) - len(values))
    assert (column.first, column.last) == (min(times, default=None), max(times, default=None))
    if values:
        assert column.statistics.mean == pytest.approx(math.fsum(values) / len(values), rel=1e-12, abs=1e-12)
        assert (column.statistics.min, column.statistics.max) == (min(values), max(values))
        assert column.statistics.quantiles == pytest.approx(np.percentile(values, [25, 50, 75]).tolist(), abs=1e-9)
    if len(values) > 1:
        assert column.statistics.std == pytest.approx(np.std(values, ddof=1), rel=1e-9, abs=1e-9)


def test_cells_that_are_no_numbers_are_missing_and_noted(tmp_path: Path) -> None:
    text = "time,A,B\n1,1,\n2,x,NaN\n3,--,nan\n4,1_000,2\n5,٣,1e999\n6,inf,3\n"
    a, b = rows_of(tmp_path, text)
    assert (a["n_samples"], a["n_missing"], a["mean"], a["duration_s"]) == (6, 5, 1.0, 0.0)
    assert a["header_note"] == "5 of its values are no number, such as '--'"
    assert (b["n_missing"], b["mean"], b["offset_s"]) == (4, 2.5, -0.496)
    assert b["header_note"] == "1 of its values is no number, such as '1e999'"


@pytest.mark.parametrize("master", [MASTER, None])
def test_a_byte_order_mark_is_none_of_the_first_heading(tmp_path: Path, master: str | None) -> None:
    for heading in ('"time","HR [bpm]"', "time,HR [bpm]"):
        (row,) = rows_of(tmp_path, f"\ufeff{heading}\n1500,60\n", master)
        assert (row["signal"], row["mean"], row["offset_s"]) == ("HR", 60.0, None if master is None else 1.0)


@pytest.mark.parametrize("heading", ["time;HR [bpm]", "Time [s],HR", ' "time","HR"', "\ufeff\ufefftime,HR"])
def test_a_first_column_that_may_be_the_time_is_no_file_of_another_origin(tmp_path: Path, heading: str) -> None:
    with pytest.raises(ValueError, match="the first column is not called time, but "):
        rows_of(tmp_path, f"{heading}\n1,2\n", None)


def test_exponents_of_several_digits(tmp_path: Path) -> None:
    text = "time,A,B\n1e+03,1e-05,1e-100\n1.5E+03,1.5E+10,1e100\n1.5e003,1e101,1e-101\n1500,0e-999,0\n"
    a, b = rows_of(tmp_path, text)
    assert (a["n_missing"], a["min"], a["max"], a["n_zero"]) == (1, 0.0, 1.5e10, 1)
    assert a["mean"] == pytest.approx((1.5e10 + 1e-5) / 3, rel=1e-15)
    assert (a["offset_s"], a["duration_s"]) == (0.5, 0.5)
    assert a["header_note"] == "1 of its values is no number, such as '1e101'"
    assert (b["n_missing"], b["min"], b["max"]) == (1, 0.0, 1e100)
    assert b["std"] == pytest.approx(1e100 / math.sqrt(3), rel=1e-12)


def test_headings_of_many_blanks_are_read_at_once() -> None:
    blanks = " " * 60_000
    begun = time.process_time()
    assert numerics.name_and_units(f"{blanks}a{blanks}b") == (f"a{blanks}b", None)
    assert numerics.name_and_units(f"{blanks}x]") == ("x]", None)
    assert numerics.name_and_units(f"{blanks}a [b]{blanks}[{blanks}c ]{blanks}") == ("a [b]", "c")
    assert time.process_time() - begun < 0.5


def test_columns_of_one_name_are_rows_of_their_own(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, "time,HR [bpm],HR [bpm]\n1,2,3\n")
    assert [(row["channel"], row["signal"], row["mean"]) for row in rows] == [(0, "HR", 2.0), (1, "HR", 3.0)]


@pytest.mark.parametrize(
    ("heading", "name", "units"),
    [
        ("Temp [°C]", "Temp", "°C"),
        ("Pulse (SpO2) [bpm]", "Pulse (SpO2)", "bpm"),
        ("a [b] [c]", "a [b]", "c"),
        ("[bpm]", None, "bpm"),
        (" A [ x ]", "A", "x"),
        ("X []", "X", None),
        ('"a, ""b"" [c]"', 'a, "b"', "c"),
    ],
)
def test_headings(tmp_path: Path, heading: str, name: str | None, units: str | None) -> None:
    for encoding in ("utf-8", "latin-1"):
        (row,) = rows_of(tmp_path, f"time,{heading}\r\n1,2\r\n\r\n".encode(encoding))
        assert (row["signal"], row["units"], row["n_samples"]) == (name, units, 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("HR [bpm],time\n1,2\n", "not called time"),
        ("time,A\n1,2,3\n", "3 cells; the first line has 2"),
        ("time,A\n1\n", "1 cells"),
        ("time,A\nx,2\n", "'x' is no time"),
        ("time,A\n,2\n", "'' is no time"),
        ("time,A\n1_0,2\n", "'1_0' is no time"),
        ('time,A\n1,"2\n', "no CSV file"),
        ('time,A\n1,"2\n3",4\n', "goes on in the next line"),
        ('time,A\n1,"2"3\n', "no CSV file"),
        ("time,A\n1," + "2" * 70_000 + "\n", "more than 65,536 characters"),
        ("time," + "x" * 5_000_000, "more than 65,536 characters"),
        ("time" + ",A" * 1_001 + "\n", "at most 1,000"),
    ],
)
def test_what_is_no_file_of_numerics_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rows_of(tmp_path, text)


def test_too_many_different_values_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numerics, "MOST_VALUES", 100)
    monkeypatch.setattr(numerics, "PIECE", 256)
    text = "time,A\n" + "".join(f"{number},{number}\n" for number in range(1_000))
    with pytest.raises(ValueError, match="more than 100 different values"):
        rows_of(tmp_path, text)


@pytest.mark.parametrize("damage", ["cut", "flip", "tail", "none"])
def test_a_damaged_file_is_refused(tmp_path: Path, damage: str) -> None:
    data = gzip.compress(b"time,A\n" + b"".join(b"%d,%d\n" % (n, n * n % 97) for n in range(5_000)))
    damaged = {
        "cut": data[:-9],
        "flip": data[:500] + bytes([data[500] ^ 1]) + data[501:],
        "tail": data + b"garbage",
        "none": b"time,A\n1,2\n",
    }[damage]
    (tmp_path / "82284982.hea").write_text(MASTER)
    path = tmp_path / "82284982n.csv.gz"
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match="the compressed file is damaged"):
        ANY.extract(task_of(path))


def test_files_of_several_members_are_read_whole(tmp_path: Path) -> None:
    (tmp_path / "82284982.hea").write_text(MASTER)
    path = tmp_path / "82284982n.csv.gz"
    path.write_bytes(gzip.compress(b"time,A\n1,2\n") + gzip.compress(b"2,4"))
    (row,) = ANY.extract(task_of(path))
    assert (row["n_samples"], row["mean"]) == (2, 3.0)


def test_without_a_master_there_is_no_time(tmp_path: Path) -> None:
    (row,) = rows_of(tmp_path, "time,A\n1,2\n", master=None)
    assert (row["mean"], row["start"], row["record_name"]) == (2.0, None, None)
    assert row["header_note"] == "there is no header 82284982.hea, so no time"
    (row,) = rows_of(tmp_path, "time,A\n1,2\n", master="82284982/2 1 62.5\n82284982_0001 625\n")
    assert (row["mean"], row["start"]) == (2.0, None)
    assert "82284982.hea, which may be its master header, cannot be read" in row["header_note"]


@pytest.mark.parametrize("fs", ["62.5/x", "62.5/1000(y)", "62.5(500)", "62.5/1,000(500)", "62.5/inf"])
def test_a_counter_that_is_not_understood_gives_no_time(tmp_path: Path, fs: str) -> None:
    """It would be a wrong one: 1,000 ticks are a second by the counter, and 16 by the frames."""
    (row,) = rows_of(tmp_path, "time,A\n1500,2\n2500,3\n", MASTER.replace("62.5/1000(500)", fs))
    assert (row["mean"], row["record_name"], row["subject_id"]) == (2.5, "82284982", 16955095)
    assert (row["start"], row["offset_s"], row["duration_s"]) == (None, None, None)
    assert "82284982.hea: line 1, " in row["header_note"]


def test_an_ordinary_header_has_the_clock_too(tmp_path: Path) -> None:
    header = "82284982 1 62.5/1000(500) 625 10:00:00.25 21/11/2150\n82284982.dat 80\n# subject_id 16955095\n"
    (row,) = rows_of(tmp_path, "time,A\n1500,2\n", header)
    assert (row["start"], row["offset_s"]) == (at("2150-11-21 10:00:01.25"), 1.0)
    assert (row["record_name"], row["subject_id"], row["header_note"]) == ("82284982", 16955095, None)
    (row,) = rows_of(tmp_path, "time,A\n1500,2\n", header.replace("21/11/2150", "21/13/2150"))
    assert (row["start"], row["offset_s"]) == (None, 1.0)
    assert "82284982.hea: line 1, base date" in row["header_note"]
    for header, why in (("82284982 1 0\n", "sampling frequency"), ("82284982 1\n", "number of signals")):
        (row,) = rows_of(tmp_path, "time,A\n1500,2\n", header)
        assert (row["mean"], row["start"]) == (2.0, None)
        assert "82284982.hea cannot be read: line 1, " + why in row["header_note"]


def test_other_compressed_files_start_no_failing_tasks(tmp_path: Path) -> None:
    data = tmp_path / "in"
    data.mkdir()
    for name in ("admissions.csv.gz", "transfusion.csv.gz", "1234n.csv.gz", "123456789n.csv.gz", "8228498xn.csv.gz"):
        (data / name).write_bytes(b"no gzip")
    (data / "12345678n.csv.gz").write_bytes(gzip.compress(b"subject_id,hadm_id\n1,2\n"))
    (data / "82284982.hea").write_text(MASTER)
    (data / "82284982n.csv.gz").write_bytes(gzip.compress(b"time,HR [bpm]\n1,2\n"))
    run = scaledproc.run(data, tmp_path / "out", jobs=1)
    assert (run.quarantined, run.record.counts["tasks"]) == (0, 3)
    (row,) = run.to_arrow().to_pylist()
    assert (row["signal_name"], row["signal_file"], row["fmt"]) == ("HR", "82284982n.csv.gz", "csv")
    (stats,) = run.summary("signal_stats").to_pylist()
    assert (stats["samples"], stats["mean"]) == (1, 2.0)
