"""wfdb and numpy as the reference for `wfdb-summary`: every value of every row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import wfdb

from scaledproc.extractors import Task

STATISTICS = ("mean", "std", "min", "p25", "p50", "p75", "max")


def task_of(header: Path, root: Path | None = None) -> Task:
    root = root or header.parent
    files = frozenset(path.relative_to(root).as_posix() for path in header.parent.iterdir())
    anchor = header.relative_to(root).as_posix()
    unit = anchor.rpartition("/")[0] or "."
    return Task(unit.partition("/")[0], unit, anchor, root, files)


def check_against_wfdb(header: Path, rows: Sequence[dict[str, Any]]) -> int:
    """Every value of every row equals what wfdb and numpy make of the same record; returns how many rows there were.

    Counts, texts, times and order statistics are equal; mean and std to 1e-9 of their value, or to the rounding of the
    largest sample where they come out smaller than that.
    """
    name = str(header.with_suffix(""))
    described = wfdb.rdheader(name)
    if isinstance(described, wfdb.MultiRecord) or set(described.file_name or ["~"]) == {"~"} or not described.n_sig:
        assert list(rows) == []
        return 0
    with np.errstate(all="ignore"):
        record = wfdb.rdrecord(name, smooth_frames=False)
        stored = wfdb.rdrecord(name, smooth_frames=False, ignore_skew=True) if any(record.skew) else record
        assert [row["channel"] for row in rows] == list(range(record.n_sig))
        for channel, row in enumerate(rows):
            _check_row(header, record, stored, channel, row)
    return len(rows)


def _check_row(header: Path, record: Any, stored: Any, channel: int, row: dict[str, Any]) -> None:
    signal = record.e_p_signal[channel]
    valid = signal[~np.isnan(signal)]
    fs = record.fs * record.samps_per_frame[channel]
    assert row["record"] == header.stem
    assert row["kind"] == ("numerics" if header.stem == f"{header.parent.name}n" or record.fs <= 2 else "waveform")
    assert (row["signal"], row["units"], row["fmt"]) == (
        record.sig_name[channel],
        record.units[channel],
        record.fmt[channel],
    )
    assert (row["n_samples"], row["n_missing"]) == (len(signal), len(signal) - len(valid))
    assert (row["fs"], row["duration_s"]) == (fs, len(signal) / fs if fs else None)
    assert (row["start_date"], row["start_time"]) == (record.base_date, record.base_time)
    if len(valid):
        scale = float(np.abs(valid).max())
        assert [row[key] for key in ("min", "p25", "p50", "p75", "max")] == [
            *(valid.min(), *np.percentile(valid, [25, 50, 75]), valid.max())
        ]
        assert row["mean"] == pytest.approx(valid.mean(), rel=1e-9, abs=1e-13 * scale)
    else:
        assert [row[key] for key in STATISTICS] == [None] * len(STATISTICS)
    if len(valid) > 1:
        # Scaled first: the squares of samples that were divided by a gain of 1e256 are zero to numpy.
        unit = scale if 0 < scale < np.inf else 1.0
        assert row["std"] == pytest.approx((valid / unit).std(ddof=1) * unit, rel=1e-9, abs=1e-13 * scale)
    else:
        assert row["std"] is None
    checksum = record.checksum[channel]
    if checksum is None:
        assert row["checksum_ok"] is None
        return
    digital = stored.e_p_signal[channel] * record.adc_gain[channel] + record.baseline[channel]
    # Only where the digital samples can be had back from the physical ones.
    if np.isfinite(digital).all() and abs(record.baseline[channel]) < 2**40:
        total = int(np.rint(digital).astype(np.int64).sum())
        assert row["checksum_ok"] == ((total - checksum) % 65_536 == 0)
