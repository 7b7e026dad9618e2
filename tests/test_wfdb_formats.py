"""`wfdb-summary` equals wfdb and numpy on random records: all formats, all shapes that a header can give."""

from __future__ import annotations

import math
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
from wfdb_fuzz import reason_of
from wfdb_oracle import check_against_wfdb, task_of

from scaledproc.extractors.wfdb_summary import WfdbSummary

ANY = WfdbSummary()

WRITTEN = {"80": 8, "212": 12, "16": 16, "24": 24, "32": 32, "508": 8, "516": 16, "524": 24}
"""The bits of all formats that wfdb writes."""
BYTES = {"8": 1, "80": 1, "16": 2, "61": 2, "160": 2, "212": 1.5, "310": 4 / 3, "311": 4 / 3, "24": 3, "32": 4}
"""The bytes of a sample of all formats but FLAC's: any bytes are samples, so a record is written by writing bytes."""
GAINS = ["200", "12.84", "0.5", "-3", "1.052e+04", "1e-3", "0", "-0.25", "1"]
TEXTS = ["mV", "mmHg", "NU", "%", "deg/s", "uV^2"]
NAMES = ["II", "ABP", "sig 1", "ABP SYS", "=1+1", "<b>x</b>", "a,b", '"q"']


@contextmanager
def folder() -> Iterator[Path]:
    with TemporaryDirectory(prefix="record-") as name:
        yield Path(name)


def rows_of(header: Path) -> list[dict[str, Any]]:
    with np.errstate(all="ignore"):
        return ANY.extract(task_of(header))


def read_by_wfdb(header: Path) -> bool:
    try:
        with np.errstate(all="ignore"):
            wfdb.rdrecord(str(header.with_suffix("")), smooth_frames=False)
    except Exception:
        return False
    return True


def check_outcome(header: Path) -> None:
    """The rows are right, or wfdb cannot read the record either: skewed FLAC that has to be filled up, for one.

    A file that is shorter than the first one, whose length goes for all, is refused: wfdb repeats what it has.
    """
    try:
        rows = rows_of(header)
    except (ValueError, FileNotFoundError) as error:
        assert reason_of(error) == "short file" or not read_by_wfdb(header)  # noqa: PT017 - or rows, which are checked
        return
    check_against_wfdb(header, rows)


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


@given(written_records())
@settings(max_examples=150)
def test_records_that_wfdb_writes(record: dict[str, Any]) -> None:
    with folder() as where:
        wfdb.wrsamp("r", write_dir=str(where), **record)
        rows = rows_of(where / "r.hea")
        assert check_against_wfdb(where / "r.hea", rows) == len(record["fmt"])
        assert all(row["checksum_ok"] for row in rows)


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


@st.composite
def raw_records(draw: st.DrawFn) -> tuple[str, dict[str, bytes]]:
    """A header's text and the content of its files, in the formats that need no encoder."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n_frames = draw(st.integers(1, 40))
    files: dict[str, bytes] = {}
    lines: list[str] = []
    for number in range(draw(st.integers(1, 2))):
        fmt = draw(st.sampled_from(sorted(BYTES)))
        name = draw(st.sampled_from(["r.dat", "r_2.dat", "other"])) if number else "r.dat"
        if name in files:
            break
        frames = draw(st.lists(st.integers(1, 3), min_size=1, max_size=3))
        # wfdb reads the first sample of a pair or triple alone only if the record ends there.
        offset = draw(st.sampled_from([0, 0, 3, 24, 7]))
        size = offset + math.ceil(n_frames * sum(frames) * BYTES[fmt] / 4) * 4 + draw(st.sampled_from([0, 0, 5]))
        repeated = draw(st.sampled_from([0, 0, 0x80, 0xFF, 0x01]))
        content = bytes([repeated]) * size if repeated else rng.bytes(size)
        files[name] = content
        for spf in frames:
            skew = draw(st.sampled_from([0, 0, 0, 1, 5]))
            line = f"{name} {fmt}" + (f"x{spf}" if spf > 1 else "") + (f":{skew}" if skew else "")
            line += f"+{offset}" if offset else ""
            if draw(st.booleans()):
                baseline = draw(st.sampled_from(["", "(0)", "(-17)", "(2048)", "(1000000)"]))
                units = draw(st.sampled_from(["", *(f"/{text}" for text in TEXTS)]))
                line += f" {draw(st.sampled_from(GAINS))}{baseline}{units}"
                if draw(st.booleans()):
                    zero, init = draw(st.integers(-300, 3000)), draw(st.integers(-500, 500))
                    line += f" 12 {zero} {init} {draw(st.integers(-32768, 65535))} 0"
                    line += draw(st.sampled_from(["", *(f" {text}" for text in NAMES)]))
            lines.append(line)
    fs = draw(st.sampled_from(["", "125", "0.5", "62.4725", "360.000000001", "0", "999.56/1000(5)"]))
    length = f" {n_frames}" if fs and draw(st.integers(0, 9)) else ""
    when = draw(st.sampled_from(["", " 1:02:03", " 10:47:44.449 21/11/2150"])) if length else ""
    return f"r {len(lines)} {fs}{length}{when}".rstrip() + "\n" + "\n".join(lines) + "\n", files


@given(raw_records())
@settings(max_examples=400)
def test_bytes_in_every_format(record: tuple[str, dict[str, bytes]]) -> None:
    text, files = record
    with folder() as where:
        (where / "r.hea").write_text(text)
        for name, content in files.items():
            (where / name).write_bytes(content)
        check_outcome(where / "r.hea")


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
