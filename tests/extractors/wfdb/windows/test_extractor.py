"""The options of `wfdb-windows`: where windows are, which signals and bands there are, and the two layouts."""

from __future__ import annotations

import datetime as dt
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from wfdb_oracles.oracle import read_files, rows_in, task_of
from wfdb_oracles.windows import check_windows

import scaledproc
from scaledproc.errors import UsageError
from scaledproc.events import Note
from scaledproc.extractors.wfdb.windows.extractor import WfdbWindows

SEGMENTS = {"r_1": 700, "r_2": 900}
GAP = 333


@pytest.fixture
def record(tmp_path: Path) -> Path:
    """A record of two segments at 10 Hz with a gap between, begun at 10:00:07.5; its numerics at 1 Hz."""
    folder = tmp_path / "data/30/r"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(5)
    total = sum(SEGMENTS.values()) + GAP
    lines = [f"r/3 2 10 {total} 10:00:07.5 01/02/2130", "r_1 700", f"~ {GAP}", "r_2 900"]
    (folder / "r.hea").write_text("\n".join(lines) + "\n")
    for name, n in SEGMENTS.items():
        described = [f"{name}.dat 80 2/mV 8 0 0 0 0 II", f"{name}.dat 80 -4(3)/mmHg 8 0 0 0 0 ABP"]
        (folder / f"{name}.hea").write_text("\n".join([f"{name} 2 10 {n}", *described]) + "\n")
        (folder / f"{name}.dat").write_bytes(rng.integers(1, 255, 2 * n, dtype=np.uint8).tobytes())
    (folder / "rn.hea").write_text(f"rn 1 1 {total // 10} 10:00:07.5 01/02/2130\nrn.dat 16 1/bpm 0 0 0 0 0 HR\n")
    (folder / "rn.dat").write_bytes(rng.integers(50, 90, total // 10).astype("<i2").tobytes())
    return folder


def rows_of(path: Path, **options: Any) -> list[dict[str, Any]]:
    return rows_in(WfdbWindows(**options).extract(task_of(path, path.parents[2])))


@pytest.mark.parametrize(("grid", "at"), [("record", Fraction(1033, 10)), ("segment", Fraction(0))])
def test_windows_from_the_records_beginning_or_the_segments(record: Path, grid: str, at: Fraction) -> None:
    path = record / "r_2.hea"
    header, files = read_files(path)
    rows = rows_of(path, grid=grid, window=20.0, step=15.0)
    assert check_windows(header, files, rows, window=Fraction(20), step=Fraction(15), at=at) == len(rows) > 8
    zero = 0.0 if grid == "record" else 103.3
    begin = dt.datetime(2130, 2, 1, 10, 0, 7, 500_000)  # noqa: DTZ001 - records have no zone
    for row in rows:
        assert row["offset_s"] == pytest.approx(zero + 15 * row["window"], abs=1e-9)
        assert row["start"] == begin + dt.timedelta(seconds=zero + 15 * row["window"])


def test_the_windows_of_segments_and_numerics_are_the_same(record: Path) -> None:
    found: dict[int, Any] = {}
    for path in (record / "r_1.hea", record / "r_2.hea", record / "rn.hea"):
        for row in rows_of(path, window=20.0):
            assert found.setdefault(row["window"], (row["start"], row["offset_s"])) == (row["start"], row["offset_s"])
            assert row["record_name"] == "r"
    assert sorted(found) == list(range(10))


def test_windows_by_the_clock(record: Path) -> None:
    rows = rows_of(record / "r_1.hea", grid="clock", window=60.0)
    assert sorted({row["start"].isoformat() for row in rows}) == ["2130-02-01T10:00:00", "2130-02-01T10:01:00"]
    assert sorted({row["offset_s"] for row in rows}) == [-7.5, 52.5]
    assert [row["n_samples"] for row in rows if row["signal"] == "II"] == [525, 175]
    (record / "r.hea").write_text((record / "r.hea").read_text().replace(" 01/02/2130", ""))
    with pytest.raises(ValueError, match="no header has date and time of its samples"):
        rows_of(record / "r_1.hea", grid="clock")


def test_a_segment_whose_place_is_not_known(record: Path) -> None:
    """Its master cannot be read: windows are counted from its own beginning, and there is no offset."""
    (record / "r.hea").write_text("r/3 2 10 x\nr_1 700\n")
    rows = rows_of(record / "r_2.hea", window=60.0)
    assert {(row["window"], row["offset_s"], row["record_name"]) for row in rows} == {(0, None, None), (1, None, None)}
    assert all("cannot be read" in row["header_note"] for row in rows)


def test_chosen_signals(record: Path) -> None:
    path = record / "r_1.hea"
    everything = rows_of(path)
    for signals, names in {
        ("ABP",): {"ABP"}, ("abp,  i i",): {"ABP", "II"}, ("A*",): {"ABP"}, ("?i",): {"II"}, ("V",): set(),
        ("II", "*"): {"II", "ABP"},
    }.items():  # fmt: skip
        assert rows_of(path, signals=signals) == [row for row in everything if row["signal"] in names]
    (record / "r_1.dat").rename(record / "gone")
    assert rows_of(record / "r_1.hea", signals=("V",)) == []


def test_the_wide_layout_has_what_the_long_one_has(record: Path, tmp_path: Path) -> None:
    options = {"window": 20.0, "step": 10.0}
    wide = {"layout": "wide", "signals": ["ABP", "II", "HR"], **options}
    long_run = scaledproc.run(tmp_path / "data", tmp_path / "long", extractor="wfdb-windows", options=options)
    wide_run = scaledproc.run(tmp_path / "data", tmp_path / "wide", extractor="wfdb-windows", options=wide)
    assert (long_run.quarantined, wide_run.quarantined) == (0, 0)
    rows = {(row["record"], row["kind"], row["window"]): row for row in wide_run.to_arrow().to_pylist()}
    assert len(rows) == wide_run.to_arrow().num_rows
    own = {"channel", "signal", "signal_name"}
    seen = set()
    for row in long_run.to_arrow().to_pylist():
        beside = rows[row["record"], row["kind"], row["window"]]
        for name, value in row.items():
            if name not in own:
                assert beside[name if name in beside else f"{row['signal_name']}_{name}"] == value, name
        seen.add((row["record"], row["kind"], row["window"]))
    assert seen == set(rows)
    waves = [row for row in rows.values() if row["record"] == "r_1"]
    assert all(row["HR_mean"] is None and row["ABP_n_samples"] for row in waves)


def test_of_two_signals_of_a_name_the_first_is_in_the_wide_row(tmp_path: Path) -> None:
    lines = ["r 2 1 4", "r.dat 80 1/mV 8 0 0 0 0 ECG lead II", "r.dat 80 1/mV 8 0 0 0 0 II"]
    (tmp_path / "r.hea").write_text("\n".join(lines) + "\n")
    (tmp_path / "r.dat").write_bytes(bytes([129, 140] * 4))
    (row,) = WfdbWindows(layout="wide", signals=("II",), window=4.0).extract(task_of(tmp_path / "r.hea"))
    assert (row["II_mean"], row["II_units"], row["II_fs"]) == (12.0, "mV", 1.0)
    lines[1], lines[0] = lines[1].replace("ECG lead II", "II"), "r 2 100 4"
    (tmp_path / "r.hea").write_text("\n".join(lines) + "\n")
    (row,) = WfdbWindows(layout="wide", signals=("II",), window=0.04).extract(task_of(tmp_path / "r.hea"))
    assert row["II_mean"] == 1.0


def test_bands(tmp_path: Path) -> None:
    extractor = WfdbWindows(bands=("low:1-2,high:2-6", "beyond:10-20"), window=10.0)
    names = extractor.schema.names
    at = names.index("power_total")
    assert names[at : at + 5] == ["power_total", "power_low", "power_high", "power_beyond", "peak_hz"]
    wave = 20 * np.sin(2 * np.pi * 1.5 * np.arange(300) / 30) + 5 * np.sin(2 * np.pi * 4 * np.arange(300) / 30)
    (tmp_path / "r.hea").write_text("r 1 30 300\nr.dat 16 1/mV 0 0 0 0 0 x\n")
    (tmp_path / "r.dat").write_bytes(wave.round().astype("<i2").tobytes())
    (row,) = extractor.extract(task_of(tmp_path / "r.hea"))
    assert (row["power_low"], row["power_high"]) == (pytest.approx(200, rel=0.02), pytest.approx(12.5, rel=0.05))
    assert (row["power_beyond"], row["peak_hz"]) == (None, 1.5)


def test_the_share_of_valid_samples(tmp_path: Path) -> None:
    (tmp_path / "r.hea").write_text("r 1 10 60\nr.dat 80 1/mV 8 0 0 0 0 x\n")
    (tmp_path / "r.dat").write_bytes(bytes([0] * 5 + list(range(1, 56))))
    for share, has in {0.0: [True, True], 0.5: [True, True], 0.51: [False, True], 1.0: [False, True]}.items():
        rows = rows_in(WfdbWindows(window=1.0, min_valid=share).extract(task_of(tmp_path / "r.hea")))
        assert [row["mean"] is not None for row in rows[:2]] == has
        assert [row["n_missing"] for row in rows[:2]] == [5, 0]
        assert [row["n_distinct"] for row in rows[:2]] == [5, 10]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 0.0}, "--set window=0: give seconds"),
        ({"window": 60.0, "step": 0.01}, "more than 1,000 windows"),
        ({"min_valid": 1.5}, "--set min_valid=1.5: give a share from 0 to 1"),
        ({"bands": ("slow",)}, "--set bands=slow: a band is a name and two frequencies"),
        ({"bands": ("slow:2-1",)}, "--set bands=slow:2-1"),
        ({"bands": ("a:1-2", "a:2-3")}, "there is a column power_a already"),
        ({"bands": ("total:1-2",)}, "there is a column power_total already"),
        ({"layout": "wide"}, "name the signals that have columns"),
        ({"layout": "wide", "signals": ("A*",)}, "each signal is named once"),
        ({"layout": "wide", "signals": ("ABP", "abp")}, "each signal is named once"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        WfdbWindows(**options)


def test_windows_that_are_far_too_long_or_short(tmp_path: Path) -> None:
    (tmp_path / "r.hea").write_text("r 1 100000 2200000\nr.dat 80\n")
    (tmp_path / "r.dat").write_bytes(bytes([129, 130] * 1_100_000))
    with pytest.raises(ValueError, match="a window has 6,000,000 samples; at most"):
        rows_in(WfdbWindows().extract(task_of(tmp_path / "r.hea")))
    (tmp_path / "r.hea").write_text("r 1 1e-300 4\nr.dat 80\n")
    with pytest.raises(ValueError, match="more than 1,000 windows for each of its samples"):
        rows_in(WfdbWindows().extract(task_of(tmp_path / "r.hea")))
    (tmp_path / "r.hea").write_text("r 1 100 4\nr.dat 80 1e-320 8 0 0 0 0 x\n")
    with pytest.raises(ValueError, match="the header has numbers that nothing can be computed with"):
        rows_in(WfdbWindows(window=0.04).extract(task_of(tmp_path / "r.hea")))


def test_differences_that_add_up_beyond_32_bits(tmp_path: Path) -> None:
    (tmp_path / "r.hea").write_text("r 1 100 4\nr.dat 8 1/mV 8 0 2147483600\n")
    (tmp_path / "r.dat").write_bytes(bytes([127] * 4))
    with pytest.raises(ValueError, match="beyond 32 bits"):
        rows_in(WfdbWindows().extract(task_of(tmp_path / "r.hea")))


@pytest.mark.parametrize("layout", ["long", "wide"])
@pytest.mark.parametrize("form", ["file", "dataset"])
def test_signals_that_nothing_is_called_are_told_at_the_end(
    record: Path, tmp_path: Path, layout: str, form: str
) -> None:
    told: list[Any] = []
    signals = ("abp", "FOO", *(("AB*", "B?R") if layout == "long" else ()))
    scaledproc.run(
        record.parents[1],
        tmp_path / "out",
        extractor="wfdb-windows",
        options={"signals": signals, "layout": layout, "beats": False},
        table=form,
        jobs=1,
        on_event=told.append,
    )
    missed = "FOO,B?R" if layout == "long" else "FOO"
    notes = [event.text for event in told if isinstance(event, Note)]
    assert [note.partition(":")[0] for note in notes if "--set" in note] == [f"--set signals={missed}"]
    assert scaledproc.combine(tmp_path / "out").record.notes == tuple(notes)


@pytest.mark.parametrize(("n_valid", "has"), [(4050, True), (4049, False)])
def test_a_share_is_what_was_written(tmp_path: Path, n_valid: int, has: bool) -> None:
    """0.54 of 7,500 samples are 4,050; the product of floats is a little more."""
    (tmp_path / "r.hea").write_text("r 1 125 7500\nr.dat 80 1/mV 8 0 0 0 0 x\n")
    (tmp_path / "r.dat").write_bytes(bytes([*[0] * (7500 - n_valid), *[130] * n_valid]))
    (row,) = WfdbWindows(min_valid=0.54, beats=False).extract(task_of(tmp_path / "r.hea"))
    assert (row["n_missing"], row["mean"]) == (7500 - n_valid, 2.0 if has else None)
