"""`wfdb-summary` on random records, in all formats: by the specification, and by wfdb for those that wfdb writes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import wfdb
from hypothesis import given, settings
from hypothesis import strategies as st
from wfdb_oracles.fuzz import reason_of
from wfdb_oracles.grammar import headers
from wfdb_oracles.oracle import check_against_wfdb, check_by_specification, read_files, task_of

from scaledproc.extractors.wfdb.headers.header import Header
from scaledproc.extractors.wfdb.summary import WfdbSummary

ANY = WfdbSummary()

WRITTEN = {"80": 8, "212": 12, "16": 16, "24": 24, "32": 32, "508": 8, "516": 16, "524": 24}
"""The bits of all formats that wfdb writes."""


@contextmanager
def folder() -> Iterator[Path]:
    with TemporaryDirectory(prefix="record-") as name:
        yield Path(name)


def rows_of(header: Path) -> list[dict[str, Any]]:
    with np.errstate(all="ignore"):
        return ANY.extract(task_of(header))


def check_outcome(header: Path) -> None:
    """The rows are right, or a file is shorter than the header says."""
    try:
        rows = rows_of(header)
    except ValueError as error:
        assert reason_of(error) in ("short file", "skew", "flac")  # noqa: PT017 - or rows, which are checked
        return
    check_by_specification(*read_files(header), rows)


@st.composite
def written_records(draw: st.DrawFn) -> dict[str, Any]:
    """Arguments of `wfdb.wrsamp`."""
    fmt = draw(st.sampled_from(sorted(WRITTEN)))
    high = 2 ** (WRITTEN[fmt] - 1) - 1
    n_sig, length = draw(st.integers(1, 4)), draw(st.integers(1, 60))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    low = draw(st.sampled_from([-high - 1, -high, -3]))  # the first stands for a missing sample
    top = draw(st.sampled_from([high, 2, low]))
    frames = draw(st.lists(st.integers(1, 3), min_size=n_sig, max_size=n_sig))
    if fmt.startswith("5") or draw(st.booleans()):  # FLAC has as many of each signal
        frames = [frames[0]] * n_sig
    signals: dict[str, Any]
    if set(frames) == {1}:
        signals = {"d_signal": rng.integers(low, top, (length, n_sig), endpoint=True)}
    else:
        signals = {
            "e_d_signal": [rng.integers(low, top, length * spf, endpoint=True) for spf in frames],
            "samps_per_frame": frames,
        }
    return {
        "fs": draw(st.sampled_from([0.5, 1, 125, 62.4725, 360])),
        "units": draw(st.lists(st.sampled_from(["mV", "mmHg", "NU"]), min_size=n_sig, max_size=n_sig)),
        "sig_name": ["II", "ABP", "sig 1", "ABP SYS"][:n_sig],
        "fmt": [fmt] * n_sig,
        "adc_gain": draw(st.lists(st.sampled_from([200.0, 12.84, 0.5]), min_size=n_sig, max_size=n_sig)),
        "baseline": draw(st.lists(st.integers(-2000, 2000), min_size=n_sig, max_size=n_sig)),
        **signals,
    }


@pytest.mark.slow
@given(written_records())
@settings(max_examples=100)
def test_records_that_wfdb_writes(record: dict[str, Any]) -> None:
    with folder() as where:
        wfdb.wrsamp("r", write_dir=str(where), **record)
        rows = rows_of(where / "r.hea")
        assert check_against_wfdb(where / "r.hea", rows) == len(record["fmt"])
        assert all(row["checksum_ok"] for row in rows)


@pytest.mark.slow
@given(written_records(), st.integers(0, 6), st.integers(0, 3), st.integers(0, 5))
@settings(max_examples=80)
def test_skewed_and_shortened_records(record: dict[str, Any], skew: int, offset: int, cut: int) -> None:
    """What `wrsamp` does not write: signals that are late, samples that begin or end elsewhere."""
    with folder() as where:
        wfdb.wrsamp("r", write_dir=str(where), **record)
        header = where / "r.hea"
        first, *signals = [line for line in header.read_text().splitlines() if line and not line.startswith("#")]
        name = signals[0].split()[0]
        padding = 0 if record["fmt"][0].startswith("5") else offset * 7
        first = re.sub(r" (\d+)$", lambda length: f" {max(int(length[1]) - cut, 1)}", first.strip())
        changed = f":{skew}" + (f"+{padding}" if padding else "")
        signals = [re.sub(rf"^({re.escape(name)} \d+(?:x\d+)?)\S*", rf"\g<1>{changed}", line) for line in signals]
        header.write_text("\n".join([first, *signals, ""]))
        (where / name).write_bytes(bytes(padding) + (where / name).read_bytes())
        check_outcome(header)


@pytest.mark.slow
@given(headers(), st.integers(0, 2**32 - 1), st.sampled_from([0, 0, 5, -3]))
@settings(max_examples=150)
def test_bytes_in_every_format(written: tuple[bytes, Header], seed: int, more: int) -> None:
    """Headers by their grammar, whose meaning is known, beside files of bytes: any bytes are samples."""
    text, header = written
    rng = np.random.default_rng(seed)
    files: dict[str, bytes] = {}
    for file in header.files:
        signals = [signal for signal in header.signals if signal.file == file]
        n = (header.n_frames or 20) * sum(signal.samples_per_frame for signal in signals)
        size = signals[0].byte_offset + n * 4 + more if signals[0].fmt == "32" else 24 + 3 * n + max(more, 0)
        repeated = rng.choice([0, 0, 0x80, 0xFF, 0x01])
        files[file] = bytes([repeated]) * size if repeated else rng.bytes(size)
    with folder() as where:
        (where / "r.hea").write_bytes(text)
        for name, content in files.items():
            (where / name).parent.mkdir(exist_ok=True)
            (where / name).write_bytes(content)
        try:
            rows = rows_of(where / "r.hea")
        except ValueError as error:
            assert reason_of(error) in ("skew", "short file" if more < 0 else "")  # noqa: PT017 - or rows
            return
        assert check_by_specification(header, files, rows) == len(header.signals)


@pytest.mark.slow
@given(st.integers(0, 2**32 - 1), st.sampled_from(sorted(WRITTEN)))
@settings(max_examples=40)
def test_missing_values_in_physical_units(seed: int, fmt: str) -> None:
    """NaN in, missing out: as many as were written, and none of them in a statistic."""
    rng = np.random.default_rng(seed)
    signal = rng.normal(0, 1, (50, 2))
    signal[rng.random((50, 2)) < 0.3] = np.nan
    signal[0] = 0.5
    with folder() as where:
        wfdb.wrsamp("r", 125, ["mV", "mV"], ["I", "II"], p_signal=signal, fmt=[fmt, fmt], write_dir=str(where))
        rows = rows_of(where / "r.hea")
        check_against_wfdb(where / "r.hea", rows)
    assert [row["n_missing"] for row in rows] == np.isnan(signal).sum(axis=0).tolist()


@pytest.mark.slow
@pytest.mark.parametrize("fmt", ["80", "212", "16", "24", "32"])
def test_long_records(tmp_path: Path, fmt: str) -> None:
    """Longer than what is counted at once, and odd."""
    high = 2 ** (WRITTEN[fmt] - 1) - 1
    samples = np.random.default_rng(1).integers(-high - 1, high, (700_001, 3), endpoint=True)
    wfdb.wrsamp("r", 125, ["mV"] * 3, ["a", "b", "c"], d_signal=samples, fmt=[fmt] * 3, adc_gain=[200.0] * 3,
                baseline=[7] * 3, write_dir=str(tmp_path))  # fmt: skip
    rows = rows_of(tmp_path / "r.hea")
    assert check_against_wfdb(tmp_path / "r.hea", rows) == 3
    assert all(row["checksum_ok"] for row in rows)
