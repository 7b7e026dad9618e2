"""Times, records and patients of rows: from the master headers of a unit, and from MIMIC's conventions."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from wfdb_oracles.oracle import task_of
from wfdb_units import ANY, rows_of, segment

import scaledproc
from scaledproc.extractors import Task
from scaledproc.extractors.wfdb.headers.record import rounded

at = dt.datetime.fromisoformat


def when(row: Mapping[str, Any]) -> tuple[object, ...]:
    return tuple(row[key] for key in ("record_name", "start", "offset_s", "header_note"))


def test_a_variable_layout_with_gaps(tmp_path: Path) -> None:
    master = (
        "p000020-2183-04-28-17-47/6 4 125 1250 17:47:59.486 28/04/2183\n"
        "x_layout 0\n~ 93\nx_0001 250\n~ 500\nx_0002 250\n~ 157\n"
    )
    rows = rows_of(
        tmp_path,
        {
            **segment("x_0001", time="17:48:00.230"),
            **segment("x_0002", time="17:48:06.230"),
            "p000020-2183-04-28-17-47.hea": master.encode(),
            "x_layout.hea": b"x_layout 1 125 0 17:47:59.486\n~ 0 43/mV 14 0 -8192 0 0 II\n",
        },
        "p00/p000020",
    )
    name = "p000020-2183-04-28-17-47"
    assert when(rows["x_0001"]) == (name, at("2183-04-28 17:48:00.230000"), 0.744, None)
    assert when(rows["x_0002"]) == (name, at("2183-04-28 17:48:06.230000"), 6.744, None)
    assert {row["subject_id"] for row in rows.values()} == {20}
    assert (rows["x_0001"]["start_date"], rows["x_0001"]["start_time"]) == (None, dt.time(17, 48, 0, 230_000))


def test_a_fixed_layout_over_midnight_and_new_year(tmp_path: Path) -> None:
    master = b"r/3 1 250 3000 23:59:58 31/12/2199\nb 1000\na 1000\nc 1000\n"
    files = {"r.hea": master, **segment("a", 1000, fs=250), **segment("b", 1000, fs=250), **segment("c", 1000, fs=250)}
    rows = rows_of(tmp_path, files)
    assert when(rows["b"]) == ("r", at("2199-12-31 23:59:58"), 0.0, None)
    assert when(rows["a"]) == ("r", at("2200-01-01 00:00:02"), 4.0, None)
    assert when(rows["c"]) == ("r", at("2200-01-01 00:00:06"), 8.0, None)


def test_records_without_a_master(tmp_path: Path) -> None:
    rows = rows_of(
        tmp_path,
        {
            **segment("a", time="10:00:00.5 01/02/2130"),
            **segment("b", time="10:00:00"),
            **segment("c"),
            "other.hea": b"other/1 1 125 250 10:00:00 01/02/2130\nelsewhere 250\n",
        },
    )
    assert when(rows["a"]) == (None, at("2130-02-01 10:00:00.500000"), None, None)
    assert when(rows["b"]) == when(rows["c"]) == (None, None, None, None)


def test_a_master_of_another_folder_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "r.hea").write_bytes(b"r/1 1 125 250 10:00:00 01/02/2130\nr_1 250\n")
    assert when(rows_of(tmp_path, segment("r_1"), "below")["r_1"]) == (None, None, None, None)


def test_a_master_without_a_date_gives_the_offset(tmp_path: Path) -> None:
    files = {"r.hea": b"r/2 1 125 375 10:00:00\n~ 125\nr_1 250\n", **segment("r_1", time="10:00:01")}
    assert when(rows_of(tmp_path, files)["r_1"]) == ("r", None, 1.0, None)


@pytest.mark.parametrize("unmatched_date", ["", " 28/04/2183"])
def test_of_several_masters_the_dated_one_counts_then_that_of_the_patient(tmp_path: Path, unmatched_date: str) -> None:
    matched = "p000020-2183-04-28-17-47"
    files = {
        "3544749.hea": f"3544749/2 1 125 500 17:47:59{unmatched_date}\n~ 250\n3544749_0001 250\n".encode(),
        f"{matched}.hea": f"{matched}/2 1 125 375 17:48:00 28/04/2183\n~ 125\n3544749_0001 250\n".encode(),
        **segment("3544749_0001"),
    }
    (row,) = rows_of(tmp_path, files).values()
    assert when(row) == (matched, at("2183-04-28 17:48:01"), 1.0, None)
    assert row["subject_id"] == 20


def test_masters_of_different_dates_leave_the_start_open(tmp_path: Path) -> None:
    segments = "~ 125\n1_0001 250\n"
    patients = "p010001-2100-01-01-00-00"
    files = {
        "1.hea": f"1/2 1 125 375 00:00:00 05/05/2105\n{segments}".encode(),
        f"{patients}.hea": f"{patients}/2 1 125 375 00:00:00 01/01/2100\n{segments}".encode(),
        **segment("1_0001"),
        **segment("1n", 5, "00:00:00", fs=1),
    }
    rows = rows_of(tmp_path, files)
    note = f"{patients}.hea and 1.hea have it begin at different times, so no start"
    assert when(rows["1_0001"]) == (patients, None, 1.0, note)
    assert when(rows["1n"]) == (patients, None, 0.0, note)
    agreeing = {"1.hea": f"1/2 1 125 375 00:00:00.5 01/01/2100\n{segments}".encode()}  # but for the rounding
    rows = rows_of(tmp_path, {**files, **agreeing})
    assert when(rows["1_0001"]) == (patients, at("2100-01-01 00:00:01"), 1.0, None)
    assert when(rows["1n"]) == (patients, at("2100-01-01"), 0.0, None)


def test_numerics_of_an_undated_master_begin_with_the_dated_one_of_the_same_segments(tmp_path: Path) -> None:
    matched = "p000020-2183-04-28-17-47"
    other = "p000020-2184-04-28-17-47"
    files = {
        "3544749.hea": b"3544749/2 1 125 500 17:47:59\n~ 250\n3544749_0001 250\n",
        f"{matched}.hea": f"{matched}/2 1 125 500 17:47:59 28/04/2183\n~ 250\n3544749_0001 250\n".encode(),
        f"{other}.hea": f"{other}/1 1 125 250 17:47:59 28/04/2184\nx 250\n".encode(),
        **segment("3544749_0001"),
        **segment("3544749n", 5, "17:47:59", fs=1),
    }
    rows = rows_of(tmp_path, files)
    assert when(rows["3544749_0001"]) == (matched, at("2183-04-28 17:48:01"), 2.0, None)
    assert when(rows["3544749n"]) == (matched, at("2183-04-28 17:47:59"), 0.0, None)


def test_a_disputed_length_is_noted_on_all_segments_that_follow(tmp_path: Path) -> None:
    master = b"r/5 1 125 1000 10:00:00 01/02/2130\nl 0\na 250\nb 250\ngone 250\nc 250\n"
    layout = {"l.hea": b"l 1 125 1000\n~ 0\n"}
    files = {"r.hea": master, **layout, **segment("a"), **segment("b", 200), **segment("c")}
    rows = rows_of(tmp_path, files)
    assert rows["a"]["header_note"] is None
    assert rows["b"]["header_note"] == "r.hea gives it 250 frames, its own header 200"
    assert rows["c"]["header_note"] == "r.hea gives b before it 250 frames, that one's own header 200"
    assert rows["c"]["start"] == at("2130-02-01 10:00:06")


def test_a_segment_that_is_listed_twice_is_where_it_is_first(tmp_path: Path) -> None:
    files = {"r.hea": b"r/3 1 125 750 10:00:00 01/02/2130\n~ 250\na 250\na 250\n", **segment("a")}
    name, start, offset, note = when(rows_of(tmp_path, files)["a"])
    assert (name, start, offset) == ("r", at("2130-02-01 10:00:02"), 2.0)
    assert "lists it 2 times" in str(note)


@pytest.mark.parametrize(
    ("master", "start", "offset", "note"),
    [
        ("r/3 1 125 500 10:00:00 01/02/2130\n~ 250\na 250\n", None, None, "r.hea, which may be its master header"),
        ("r/2 1 125 500 10:00:00 01/02/2130\n~ x\na 250\n", None, None, "line 2, number of samples: 'x'"),
        ("r/2 1 0 500 10:00:00 01/02/2130\n~ 250\na 250\n", None, None, "sampling frequency"),
        ("r/2 1 125 500 10:00:00 1/13/2130\n~ 250\na 250\n", None, 2.0, "'1/13/2130' is no date"),
        ("r/2 1 125 999 10:00:00 01/02/2130\n~ 250\na 250\n", 2, 2.0, "have 500 frames, the record 999"),
        ("r/2 1 125 450 10:00:00 01/02/2130\n~ 250\na 200\n", 2, 2.0, "200 frames, its own header 250"),
        ("r/2 1 250 500 10:00:00 01/02/2130\n~ 250\na 250\n", 1, 1.0, "250 Hz, its own header at 125 Hz"),
        ("r/2 1 125 500 23:00:00 31/12/9999\n~ 999999999\na 250\n", None, None, "no date for it"),
        ("r/2 1 1e-300 500 10:00:00 01/02/2130\n~ 999999999999999\na 250\n", None, None, "no date for it"),
    ],
)
def test_what_is_wrong_with_a_master_is_noted_and_fails_nothing(
    tmp_path: Path, master: str, start: int | None, offset: float | None, note: str
) -> None:
    row = rows_of(tmp_path, {"r.hea": master.encode(), **segment("a")})["a"]
    assert row["start"] == (start and at(f"2130-02-01 10:00:0{start}"))
    assert row["offset_s"] == offset
    assert note in row["header_note"]
    assert row["n_samples"] == 250


@pytest.mark.parametrize("content", [b"", b"# only a comment\n", b"\x00\xff/\x01 garbage\n", b"r/1 1"])
def test_an_empty_or_broken_header_in_the_place_of_a_master_is_noted(tmp_path: Path, content: bytes) -> None:
    row = rows_of(tmp_path, {"r.hea": content, **segment("r_0001"), **segment("other")})
    assert when(row["r_0001"])[:3] == (None, None, None)
    assert "r.hea, which may be its master header, cannot be read" in row["r_0001"]["header_note"]
    assert row["other"]["header_note"] is None


def test_a_master_that_is_no_file_any_more(tmp_path: Path) -> None:
    for name, content in segment("r_0001").items():
        (tmp_path / name).write_bytes(content)
    os.mkfifo(tmp_path / "r.hea")  # on which nobody should wait
    row = rows_of(tmp_path, {})["r_0001"]
    assert "r.hea" in row["header_note"]
    assert str(tmp_path) not in row["header_note"]


def test_a_time_of_its_own_that_contradicts_the_place_is_noted(tmp_path: Path) -> None:
    master = b"r/2 1 125 375 23:59:59.5 01/02/2130\n~ 125\na 250\n"
    for time, note in (
        ("0:00:00.5", None),
        ("0:00:01", None),
        ("0:01:00.5", "60 s apart"),
        ("23:59:00.5", "60 s apart"),
    ):
        row = rows_of(tmp_path, {"r.hea": master, **segment("a", time=time)})["a"]
        assert row["start"] == at("2130-02-02 00:00:00.500000")
        assert row["header_note"] is None if note is None else note in row["header_note"]
    row = rows_of(tmp_path, {"r.hea": master, **segment("a", time="0:00:00.5 01/02/2130")})["a"]
    assert "86400 s apart" in row["header_note"]


def test_thousands_of_missing_segments(tmp_path: Path) -> None:
    lines = [f"3783537_{number:04d} 125" for number in range(1, 13_934)]
    master = "\n".join(["3783537/13933 1 125 1741625 10:00:00 01/02/2130", *lines, ""])
    files = {"3783537.hea": master.encode(), **segment("3783537_13933", 125), **segment("3783537_0002", 125)}
    rows = rows_of(tmp_path, files)
    assert when(rows["3783537_0002"]) == ("3783537", at("2130-02-01 10:00:01"), 1.0, None)
    assert rows["3783537_13933"]["offset_s"] == 13_932.0


def test_offsets_are_exact_and_do_not_drift(tmp_path: Path) -> None:
    lines = ["~ 1"] * 3_000
    master = "\n".join(["r/3001 1 62.4725/999.56 3250 10:00:00 01/02/2130", *lines, "a 250", ""])
    row = rows_of(tmp_path, {"r.hea": master.encode(), **segment("a", fs=62.4725)})["a"]
    seconds = Fraction(3_000 * 10_000, 624_725)
    assert row["offset_s"] == float(seconds)
    assert row["start"] == at("2130-02-01 10:00:00") + dt.timedelta(microseconds=round(seconds * 10**6))


@given(st.integers(-(10**20), 10**20), st.integers(1, 10**20))
def test_rounding_is_to_the_nearest_and_ties_go_to_the_even_one(over: int, under: int) -> None:
    assert rounded(over, under) == round(Fraction(over, under))


@given(st.integers(-(10**6), 10**6))
def test_halves_are_rounded_to_the_even_one(number: int) -> None:
    assert rounded(number, 2) == round(Fraction(number, 2))


def test_numerics_begin_with_the_waveforms(tmp_path: Path) -> None:
    master = {"r.hea": b"r/1 1 125 250 10:00:00.25 01/02/2130\nr_1 250\n# Location: micu\n"}
    for time, expected in {
        "10:00:00.25": ("r", at("2130-02-01 10:00:00.250000"), 0.0),
        "10:00:00.25 01/02/2130": ("r", at("2130-02-01 10:00:00.250000"), 0.0),
        "10:01:00.25 01/02/2130": ("r", at("2130-02-01 10:01:00.250000"), 60.0),
        "10:01:00.25": ("r", None, None),
        "": ("r", None, None),
    }.items():
        row = rows_of(tmp_path, {**master, **segment("rn", 5, time, fs=0.0166666666667)})["rn"]
        assert (row["record_name"], row["start"], row["offset_s"]) == expected, time
        assert (row["header_note"] is not None) == (time == "10:01:00.25")
        assert row["comments"] == "Location: micu"


def test_the_second_time_a_header_is_read_it_may_say_something_else(tmp_path: Path) -> None:
    files = {"r.hea": b"r/1 1 125 250 10:00:00 01/02/2130\na 250\n", **segment("a")}
    assert rows_of(tmp_path, files)["a"]["offset_s"] == 0.0
    files = {"r.hea": b"r/2 1 125 250 10:00:00 01/02/2130\n~ 125\na 250\n", **segment("a", 200)}
    row = rows_of(tmp_path, files)["a"]
    assert (row["offset_s"], row["n_samples"]) == (1.0, 200)


def test_rows_do_not_depend_on_the_order_of_tasks(shared_data: Path) -> None:
    unit = shared_data / "mimic3wdb/1.0/32/3234460"
    task = task_of(unit / "3234460.hea", shared_data / "mimic3wdb/1.0")
    anchors = sorted(name for name in task.files if name.endswith(".hea"))
    # Some twice: a task that is tried again finds its header too.
    orders = [anchors, anchors[::-1] * 2, [anchors[5]]]
    found = []
    for order in orders:
        files = frozenset(list(task.files))
        rows = {name: ANY.extract(Task("32", task.unit, name, task.root, files)) for name in order}
        found.append(rows)
    assert all(found[0][name] == rows for other in found[1:] for name, rows in other.items())


def test_real_segments_begin_when_their_own_headers_say(shared_data: Path) -> None:
    run = 0
    for header in sorted((shared_data / "mimic3wdb/1.0").rglob("*_[0-9]*.hea")):
        for row in ANY.extract(task_of(header)):
            assert (row["header_note"], row["record_name"]) == (None, header.parent.name)
            own = dt.datetime.combine(dt.date.min, row["start_time"])
            master = next(line for line in (header.parent / f"{header.parent.name}.hea").read_text().splitlines())
            begin = dt.datetime.combine(dt.date.min, dt.time.fromisoformat(master.split()[4]))
            apart = (begin + dt.timedelta(seconds=row["offset_s"]) - own) % dt.timedelta(days=1)
            assert min(apart, dt.timedelta(days=1) - apart) < dt.timedelta(seconds=0.01)
            run += 1
    assert run > 30


def test_rows_join_to_a_cohort_by_patient_and_time(tmp_path: Path) -> None:
    matched = "p000020-2183-04-28-17-47"
    files = {
        f"{matched}.hea": f"{matched}/3 1 125 900000 17:47:59.486 28/04/2183\n3544749_0001 450000\n~ 449750\n"
        "3544749_0002 250\n",
        "3544749_0001.hea": "3544749_0001 1 125 450000 17:47:59.486\n3544749_0001.dat 80 2 8 0 0 0 0 II\n",
        "3544749_0002.hea": "3544749_0002 1 125 250 19:47:57.486\n3544749_0002.dat 80 2 8 0 0 0 0 II\n",
        f"{matched}n.hea": f"{matched}n 1 0.0166666666667/125 120 17:47:59.486\n3544749n.dat 16 10/bpm 16 0 0 0 0 HR\n",
    }
    unit = tmp_path / "in/p00/p000020"
    unit.mkdir(parents=True)
    for name, text in files.items():
        (unit / name).write_text(text)
    (unit / "3544749_0001.dat").write_bytes(b"\x81" * 450_000)
    (unit / "3544749_0002.dat").write_bytes(b"\x81" * 250)
    (unit / "3544749n.dat").write_bytes(b"\x01\x00" * 120)
    run = scaledproc.run(tmp_path / "in", tmp_path / "out", jobs=1)
    stays = pa.table(
        {
            "subject_id": pa.array([20, 20, 21], pa.int64()),
            "stay_id": [1, 2, 3],
            "intime": [at("2183-04-28 17:00:00"), at("2183-04-28 19:00:00"), at("2183-04-28 00:00:00")],
            "outtime": [at("2183-04-28 19:00:00"), at("2183-04-29 00:00:00"), at("2183-04-30 00:00:00")],
        }
    ).to_pandas()
    rows = run.to_pandas()
    joined = rows.merge(stays, on="subject_id")
    joined = joined[joined["start"].between(joined["intime"], joined["outtime"], inclusive="left")]
    found = sorted(zip(joined["record"], joined["stay_id"], joined["offset_s"], strict=True))
    assert found == [("3544749_0001", 1, 0.0), ("3544749_0002", 2, 7198.0), (f"{matched}n", 1, 0.0)]
    assert set(joined["record_name"]) == {matched}


def test_one_rate_that_is_rounded_in_two_ways(tmp_path: Path) -> None:
    """A sample every 3 ms: the master's digits and the segment's stand for the same rate."""
    master = b"r/2 1 333.333 4000 10:00:00 01/02/2130\na 1000\nb 3000\n"
    rows = rows_of(tmp_path, {"r.hea": master, **segment("a", 1000, fs=333.33), **segment("b", 3000, fs=333.3)})
    assert when(rows["b"]) == ("r", at("2130-02-01 10:00:03"), 3.0, None)
    assert (rows["a"]["duration_s"], rows["b"]["duration_s"]) == (3.0, 9.0)
    assert (rows["a"]["fs"], rows["b"]["fs"]) == (333.33, 333.3)
