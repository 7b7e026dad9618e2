"""Windows of MIMIC-IV's numerics, against the lines of the file as they are written."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
from wfdb_oracles.oracle import rows_in
from wfdb_oracles.windows import PERCENTILES

from scaledproc.extractors import Task
from scaledproc.extractors.wfdb.windows.extractor import WfdbWindows

FREQUENCY, BASE = Fraction("999.56"), 1000


def task_of(path: Path) -> Task:
    files = frozenset(each.name for each in path.parent.iterdir())
    return Task(".", ".", path.name, path.parent, files)


def written(folder: Path, lines: Sequence[Sequence[str]]) -> Path:
    (folder / "12345678.hea").write_text(f"12345678/1 1 10/999.56({BASE}) 100 10:00:00 01/02/2130\n~ 100\n")
    path = folder / "12345678n.csv.gz"
    path.write_bytes(gzip.compress("\n".join(",".join(line) for line in lines).encode() + b"\n"))
    return path


def check(
    path: Path, rows: Sequence[dict[str, Any]], base: Fraction, frequency: Fraction, window: int, step: int
) -> int:
    """Every row is what the lines say, and all are there."""
    with gzip.open(path, "rt") as file:
        headings, *lines = list(csv.reader(file))
    times = [(Fraction(line[0]) - base) / frequency for line in lines]
    order = sorted(range(len(lines)), key=times.__getitem__)
    found = {(row["channel"], row["window"]): row for row in rows}
    assert len(found) == len(rows)
    checked = 0
    for channel in range(len(headings) - 1):
        for number in range(-(-window // step) * -1, int(max(times) // step) + 1):
            inside = [k for k in order if number * step <= times[k] < number * step + window]
            known = [(times[k], Fraction(lines[k][channel + 1])) for k in inside if lines[k][channel + 1]]
            if number < 0 or not known:
                assert (channel, number) not in found
                continue
            row = found[channel, number]
            values = np.array([float(value) for _, value in known])
            assert (row["n_samples"], row["n_missing"]) == (len(inside), len(inside) - len(known))
            assert (row["n_distinct"], row["n_zero"]) == (len({value for _, value in known}), (values == 0).sum())
            assert [row[name] for name in ("min", *PERCENTILES, "max")] == pytest.approx(
                [values.min(), *np.percentile(values, list(PERCENTILES.values())), values.max()], rel=1e-14
            )
            assert row["mean"] == pytest.approx(values.mean(), rel=1e-12)
            assert row["rms"] == pytest.approx(np.sqrt((values**2).mean()), rel=1e-12)
            several = len(values) > 1
            assert row["std"] == (pytest.approx(values.std(ddof=1), rel=1e-8, abs=1e-9) if several else None)
            if len(set(values)) > 1:
                assert row["skewness"] == pytest.approx(scipy.stats.skew(values), rel=1e-6, abs=1e-9)
                assert row["kurtosis"] == pytest.approx(scipy.stats.kurtosis(values), rel=1e-6, abs=1e-9)
            seconds = float(known[-1][0] - known[0][0])
            length = np.abs(np.diff(values)).sum() / seconds if seconds else None
            assert row["line_length"] == (None if length is None else pytest.approx(length, rel=1e-9, abs=1e-12))
            for name in ("hjorth_mobility", "hjorth_complexity", "power_total", "peak_hz", "n_at_min", "fs"):
                assert row[name] is None
            assert (row["kind"], row["offset_s"]) == ("numerics", number * step)
            checked += 1
    assert checked == len(rows)
    return checked


@pytest.mark.parametrize(("window", "step"), [(60, 60), (45, 20)])
def test_real_numerics(shared_data: Path, window: int, step: int) -> None:
    (path,) = shared_data.rglob("82284982n.csv.gz")
    rows = rows_in(WfdbWindows(window=float(window), step=float(step)).extract(task_of(path)))
    frames = (path.parent / "82284982.hea").read_text().splitlines()[1].split()[2]
    frequency, _, base = frames.partition("/")[2].rstrip(")").partition("(")
    assert check(path, rows, Fraction(base or 0), Fraction(frequency), window, step) > 20


def test_lines_in_any_order_and_windows_that_overlap(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    ticks = rng.integers(BASE, BASE + 400_000, 60)
    lines = [["time", "HR [bpm]", "Far [x]", "ST [mm]"]]
    for tick in ticks.tolist():
        heart = f"{rng.integers(50, 60)}" if rng.random() < 0.7 else ""
        lines.append([str(tick), heart, f"{rng.integers(0, 9)}e12", rng.choice(["0.25", "-0.1", "0.250", "0"])])
    path = written(tmp_path, lines)
    rows = rows_in(WfdbWindows(window=60.0, step=25.0).extract(task_of(path)))
    assert check(path, rows, Fraction(BASE), FREQUENCY, 60, 25) > 30
    wide = rows_in(WfdbWindows(window=60.0, step=25.0, layout="wide", signals=("HR", "RESP")).extract(task_of(path)))
    assert [(row["window"], row["HR_mean"]) for row in wide] == [
        (row["window"], row["mean"]) for row in rows if row["signal"] == "HR"
    ]
    assert {row["RESP_mean"] for row in wide} == {None}


def test_cells_that_are_no_numbers_are_noted(tmp_path: Path) -> None:
    path = written(tmp_path, [["time", "HR [bpm]"], ["1000", "60"], ["2000", "high"], ["3000", ""]])
    (row,) = WfdbWindows().extract(task_of(path))
    assert (row["n_samples"], row["n_missing"], row["mean"]) == (3, 2, 60.0)
    assert row["header_note"] == "HR: 1 of its values is no number, such as 'high'"


def test_without_a_header_nothing_tells_the_times(tmp_path: Path) -> None:
    path = written(tmp_path, [["time", "HR [bpm]"], ["1000", "60"]])
    (tmp_path / "12345678.hea").unlink()
    with pytest.raises(ValueError, match=r"there is no header 12345678\.hea, so nothing tells its times"):
        rows_in(WfdbWindows().extract(task_of(path)))
    path.write_bytes(gzip.compress(b"name,value\na,1\n"))
    assert rows_in(WfdbWindows().extract(task_of(path))) == []


def test_a_counter_that_is_not_understood_tells_no_times(tmp_path: Path) -> None:
    path = written(tmp_path, [["time", "HR [bpm]"], ["1000", "60"]])
    header = tmp_path / "12345678.hea"
    header.write_text(header.read_text().replace("999.56", "x"))
    with pytest.raises(ValueError, match=r"12345678\.hea: line 1, counter frequency: 'x' is no number"):
        rows_in(WfdbWindows().extract(task_of(path)))
