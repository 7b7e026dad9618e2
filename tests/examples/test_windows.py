"""The example `examples/windows.py`, against the same features of the samples as they were written."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import wfdb

import scaledproc

EXAMPLE = Path(__file__).resolve().parents[2] / "examples/windows.py"
FS = 50
GAIN = 100.0
LENGTH = 10 * FS


@pytest.fixture
def samples(tmp_path: Path) -> np.ndarray[Any, Any]:
    """Stored values of two signals, 25 s long, in the record `data/a/r1`; the second has 6 s without a value."""
    stored = np.random.default_rng(3).integers(-2000, 2000, (25 * FS, 2))
    stored[3 * FS : 9 * FS, 1] = -32768
    folder = tmp_path / "data/a"
    folder.mkdir(parents=True)
    words: dict[str, Any] = {"fmt": ["16", "16"], "adc_gain": [GAIN, GAIN], "baseline": [0, 0]}
    wfdb.wrsamp("r1", FS, ["mV", "mV"], ["II", "V"], d_signal=stored, write_dir=str(folder), **words)
    return stored


def rows_of(folder: Path) -> list[dict[str, Any]]:
    run = scaledproc.run(folder / "data", folder / "out", extractor=f"{EXAMPLE}:windows", jobs=1)
    assert run.quarantined == 0, run.errors().to_pylist()
    found: list[dict[str, Any]] = run.to_arrow().to_pylist()
    return found


def test_each_whole_window_of_each_signal_is_a_row(samples: np.ndarray[Any, Any], tmp_path: Path) -> None:
    rows = rows_of(tmp_path)
    assert [(row["signal"], row["channel"], row["start_s"]) for row in rows] == [
        (signal, channel, start) for channel, signal in enumerate(["II", "V"]) for start in (0.0, 10.0)
    ]
    for row in rows:
        begin = int(row["start_s"] * FS)
        stored = samples[begin : begin + LENGTH, row["channel"]]
        valid = stored[stored != -32768] / GAIN
        assert row["n_valid"] == len(valid)
        assert row["mean"] == pytest.approx(sum(valid) / len(valid), rel=1e-9)
        assert row["std"] == pytest.approx((sum((valid - sum(valid) / len(valid)) ** 2) / len(valid)) ** 0.5, rel=1e-9)
        pairs = [(a, b) for a, b in itertools.pairwise(stored.tolist()) if -32768 not in (a, b)]  # none across the gap
        steps = sum(abs(b - a) for a, b in pairs) / GAIN
        assert row["line_length"] == pytest.approx(steps * FS / len(pairs), rel=1e-9)


def test_line_length_is_that_of_the_built_in_windows(samples: np.ndarray[Any, Any], tmp_path: Path) -> None:
    del samples
    rows = rows_of(tmp_path)
    options = {"window": 10, "beats": False, "min_valid": 0}
    run = scaledproc.run(tmp_path / "data", tmp_path / "built-in", extractor="wfdb-windows", options=options, jobs=1)
    found = {(row["channel"], row["offset_s"]): row["line_length"] for row in run.to_arrow().to_pylist()}
    for row in rows:
        assert row["line_length"] == pytest.approx(found[row["channel"], row["start_s"]], rel=1e-9)


def test_a_window_without_any_value_has_no_features(samples: np.ndarray[Any, Any], tmp_path: Path) -> None:
    del samples
    stored = np.full((LENGTH, 1), -32768)
    words: dict[str, Any] = {"fmt": ["16"], "adc_gain": [GAIN], "baseline": [0]}
    wfdb.wrsamp("r2", FS, ["mV"], ["ABP"], d_signal=stored, write_dir=str(tmp_path / "data/a"), **words)
    row = rows_of(tmp_path)[-1]
    assert (row["record"], row["n_valid"], row["mean"], row["std"], row["line_length"]) == ("r2", 0, None, None, None)


def test_masters_layouts_and_slow_numerics_give_no_rows(demo: Path, tmp_path: Path) -> None:
    run = scaledproc.run(demo, tmp_path / "out", extractor=f"{EXAMPLE}:windows", include=["30/**"])
    assert run.quarantined == 0, run.errors().to_pylist()
    table = run.to_pandas()
    assert {"3000003_0001", "3000105n"} <= set(table["record"])
    assert not {"3000003", "3000003n"} & set(table["record"])


def test_a_header_that_names_a_file_of_another_unit_is_an_error(samples: np.ndarray[Any, Any], tmp_path: Path) -> None:
    del samples
    (tmp_path / "data/b").mkdir()
    (tmp_path / "data/a/r1.dat").rename(tmp_path / "data/b/r1.dat")
    run = scaledproc.run(tmp_path / "data", tmp_path / "out", extractor=f"{EXAMPLE}:windows", jobs=1)
    assert [error["error"] for error in run.errors().to_pylist()] == ["FileNotFoundError"]
