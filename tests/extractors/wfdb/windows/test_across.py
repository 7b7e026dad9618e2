"""Windows across the segments of a record, against the record's samples in one piece."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from wfdb_oracles.oracle import read_files, rows_in, samples_of, task_of
from wfdb_oracles.windows import check_signal, in_time

from scaledproc.extractors.wfdb.headers.header import SignalLine, parse_header
from scaledproc.extractors.wfdb.windows.extractor import WfdbWindows


def whole_signals(master: Path) -> list[tuple[SignalLine, Any]]:
    """Each signal of a record in the order in which they come, with its samples from beginning to end."""
    record = parse_header(master.read_bytes())
    total = sum(segment.n_frames for segment in record.segments)
    found: dict[tuple[object, ...], tuple[SignalLine, Any]] = {}
    before = 0
    for segment in record.segments:
        path = master.parent / f"{segment.name}.hea"
        if path.exists():
            header, files = read_files(path)
            seen: list[str | None] = []
            for signal, (stored, n) in zip(header.signals, samples_of(header, files), strict=False):
                seen.append(signal.name)
                if signal.is_null:
                    continue
                width = signal.samples_per_frame
                coding = (signal.gain, signal.baseline, signal.units, signal.adc_resolution, signal.adc_zero)
                key = (seen.count(signal.name), signal.name, signal.fmt, width, *coding)
                _, samples = found.setdefault(key, (signal, np.full(total * width, np.nan)))
                n = min(n, segment.n_frames * width)
                samples[before * width : before * width + n] = in_time(signal, stored, n)
        before += segment.n_frames
    return list(found.values())


def check(master: Path, rows: Sequence[dict[str, Any]], window: str, step: str) -> int:
    """All rows are right, and all are there."""
    fs = Fraction(repr(parse_header(master.read_bytes()).fs))
    checked = 0
    for channel, (signal, samples) in enumerate(whole_signals(master)):
        found = {row["window"]: row for row in rows if row["channel"] == channel}
        expected = check_signal(
            signal, samples, fs * signal.samples_per_frame, found,
            window=Fraction(window), step=Fraction(step), is_across=True,
        )  # fmt: skip
        assert len(found) == expected
        checked += expected
    assert checked == len(rows)
    assert [(row["window"], row["channel"]) for row in rows] == sorted((row["window"], row["channel"]) for row in rows)
    return checked


@pytest.mark.parametrize(
    ("name", "window", "step"),
    [
        ("3269321", "60", "60"),
        *(
            pytest.param(name, *cut, marks=pytest.mark.slow)
            for name in ("3000221", "3234460", "3269321", "3544749", "82284982")
            for cut in (("60", "60"), ("20", "15"))
        ),
    ],
)
def test_real_records(shared_data: Path, name: str, window: str, step: str) -> None:
    (master,) = shared_data.rglob(f"{name}.hea")
    extractor = WfdbWindows(window=float(window), step=float(step), across_segments=True)
    rows = rows_in(extractor.extract(task_of(master)))
    assert check(master, rows, window, step) > 0
    for path in master.parent.glob(f"{name}_*.hea"):  # they are in its rows
        assert rows_in(extractor.extract(task_of(path))) == []


@pytest.mark.parametrize("gap", [3, 40, 100_000, 10**17])
@pytest.mark.parametrize(("window", "step"), [(2.0, 2.0), (2.0, 0.5), (1.0, 7.0)])
def test_gaps_of_any_length(tmp_path: Path, gap: int, window: float, step: float) -> None:
    """Between segments that end within windows, and before the first one; a signal whose gain changes is another."""
    rng = np.random.default_rng(1)
    lines = ["r/5 2 10", "~ 7", "r_1 55", f"~ {gap}", "r_2 33", "r_3 41"]
    (tmp_path / "r.hea").write_text("\n".join(lines) + "\n")
    for name, n, gains in (("r_1", 55, (2, 4)), ("r_2", 33, (2, 4)), ("r_3", 41, (4, 4))):
        described = [f"{name}.dat 80 {gain}/mV 8 0 0 0 0 s{place}" for place, gain in enumerate(gains)]
        (tmp_path / f"{name}.hea").write_text("\n".join([f"{name} 2 10 {n}", *described]) + "\n")
        (tmp_path / f"{name}.dat").write_bytes(rng.bytes(2 * n))
    extractor = WfdbWindows(window=window, step=step, across_segments=True)
    rows = rows_in(extractor.extract(task_of(tmp_path / "r.hea")))
    if step <= window:
        assert [row["channel"] for row in rows if row["signal"] == "s0"][-1] == 2
    begin = (62 + gap) / 10
    assert {row["window"] for row in rows if 7 < row["window"] * step < begin - window} == set()
    if gap <= 100_000:
        assert check(tmp_path / "r.hea", rows, str(window), str(step)) == len(rows)
    else:  # as after a gap that is as long as that one for windows
        shorter = 10**17 % (10 * 7 * 8) + 10 * 7 * 8 * 20
        (tmp_path / "r.hea").write_text("\n".join(lines).replace(str(gap), str(shorter)) + "\n")
        expected = rows_in(extractor.extract(task_of(tmp_path / "r.hea")))
        moved = (Fraction(gap - shorter) / 10) / Fraction(step)
        assert moved.denominator == 1
        shifted = [
            {**row, "window": row["window"] + (moved if row["window"] * step > 20 else 0), "offset_s": None}
            for row in expected
        ]
        assert [{**row, "offset_s": None} for row in rows] == shifted


def test_a_segment_of_another_rate_is_refused(tmp_path: Path) -> None:
    (tmp_path / "r.hea").write_text("r/1 1 10 5\nr_1 5\n")
    (tmp_path / "r_1.hea").write_text("r_1 1 20 5\nr_1.dat 80\n")
    (tmp_path / "r_1.dat").write_bytes(b"\x81" * 5)
    with pytest.raises(ValueError, match=r"r_1\.hea has 20 frames a second, its record 10"):
        rows_in(WfdbWindows(across_segments=True).extract(task_of(tmp_path / "r.hea")))


def test_the_channel_does_not_depend_on_which_signals_are_wanted(shared_data: Path) -> None:
    (master,) = shared_data.rglob("3544749.hea")
    options: dict[str, Any] = {"window": 60.0, "across_segments": True, "beats": False}
    every = rows_in(WfdbWindows(**options).extract(task_of(master)))
    names = {row["signal"] for row in every}
    assert len({row["channel"] for row in every}) > len(names) > 2  # some signals change
    for name in names:
        found = rows_in(WfdbWindows(**options, signals=(name,)).extract(task_of(master)))
        assert found == [row for row in every if row["signal"] == name]
