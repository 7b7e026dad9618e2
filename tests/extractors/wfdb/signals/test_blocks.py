"""Signal files of several blocks: every value as wfdb has it, wherever a block ends."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import wfdb
from wfdb_oracles.oracle import check_against_wfdb, task_of

from scaledproc.extractors.wfdb.signals.blocks import BLOCK, byte_count
from scaledproc.extractors.wfdb.summary import WfdbSummary

RANGES = {"80": 2**7, "212": 2**11, "16": 2**15, "24": 2**23, "32": 2**31}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fmt", "width"), [("80", 3), ("80", 1), ("80", 20), ("212", 3), ("16", 2), ("24", 2), ("32", 1)]
)
def test_a_signal_file_of_several_blocks(tmp_path: Path, fmt: str, width: int) -> None:
    rng = np.random.default_rng(width)
    n = 2 * BLOCK // byte_count(fmt, 2 * width) * 2 + 12_345  # an odd number of frames: two whole blocks and a rest
    half = RANGES[fmt]
    samples = np.clip(rng.normal(0, half / 4, (n, width)), -half, half - 1).astype(np.int64)
    samples[5_000:200_000, 0] = -half  # missing
    samples[-1] = half - 1
    wfdb.wrsamp(
        "r",
        fs=125,
        units=["mV"] * width,
        sig_name=[f"s{number}" for number in range(width)],
        d_signal=samples,
        fmt=[fmt] * width,
        adc_gain=[80.0] * width,
        baseline=[3] * width,
        write_dir=str(tmp_path),
    )
    assert (tmp_path / "r.dat").stat().st_size > 2 * BLOCK
    assert check_against_wfdb(tmp_path / "r.hea", WfdbSummary().extract(task_of(tmp_path / "r.hea"))) == width


@pytest.mark.slow
def test_several_samples_in_a_frame_are_one_signal(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    n, frame = BLOCK // 3 + 77, (1, 4)
    (tmp_path / "r.dat").write_bytes(rng.integers(0, 256, n * sum(frame), np.uint8).tobytes())
    lines = [f"r 2 100 {n}", "r.dat 80 20/mV 8 0 0 0 0 a", "r.dat 80x4 -30(7)/mV 8 0 0 0 0 b"]
    (tmp_path / "r.hea").write_text("\n".join(lines) + "\n")
    assert check_against_wfdb(tmp_path / "r.hea", WfdbSummary().extract(task_of(tmp_path / "r.hea"))) == 2
