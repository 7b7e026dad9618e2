"""`wfdb-windows` on random records of all formats, each value against numpy and scipy; in any pieces the same."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wfdb_oracles.fuzz import reason_of
from wfdb_oracles.grammar import FORMATS, headers
from wfdb_oracles.oracle import read_files, rows_in, task_of
from wfdb_oracles.windows import check_windows

from scaledproc.extractors.wfdb.headers.header import Header
from scaledproc.extractors.wfdb.machine_code import load
from scaledproc.extractors.wfdb.signals import blocks, flac
from scaledproc.extractors.wfdb.windows import kept, streams
from scaledproc.extractors.wfdb.windows.extractor import WfdbWindows
from scaledproc.extractors.wfdb.windows.measures import kernel as kernels
from scaledproc.extractors.wfdb.windows.measures.numba_kernel import LIBRARY, compiled_of
from scaledproc.extractors.wfdb.windows.measures.numpy_kernel import numpy_kernel
from scaledproc.extractors.wfdb.windows.measures.spectra import welch


def rows_of(path: Path, **options: Any) -> list[dict[str, Any]]:
    return rows_in(WfdbWindows(grid="segment", **options).extract(task_of(path)))


def content(header: Header, seed: int, kind: str) -> dict[str, bytes]:
    """Signal files of any bytes, of one byte again and again, or of a wave."""
    rng = np.random.default_rng(seed)
    files: dict[str, bytes] = {}
    for file in header.files:
        signals = [signal for signal in header.signals if signal.file == file]
        size = signals[0].byte_offset + 4 * (header.n_frames or 20) * sum(each.samples_per_frame for each in signals)
        if kind == "any":
            files[file] = rng.bytes(size)
        elif kind == "constant":
            files[file] = bytes([rng.choice([0x80, 0xFF, 0x01, 0x00])]) * size
        else:  # few missing values in format 80
            wave = 100 * np.sin(np.arange(size) / 5) + 128 + rng.normal(0, 5, size)
            files[file] = np.where(rng.random(size) < 0.03, 0, wave.clip(1, 255)).astype(np.uint8).tobytes()
    return files


def check(header: Header, text: bytes, files: dict[str, bytes], window: str, step: str) -> None:
    with TemporaryDirectory(prefix="record-") as name:
        where = Path(name)
        (where / "r.hea").write_bytes(text)
        for file, data in files.items():
            (where / file).parent.mkdir(exist_ok=True)
            (where / file).write_bytes(data)
        try:
            rows = rows_of(where / "r.hea", window=float(window), step=float(step))
        except ValueError as error:
            assert "windows for each of its samples" in str(error) or not reason_of(error)  # noqa: PT017
            return
    check_windows(header, files, rows, window=Fraction(window), step=Fraction(step))


RANDOM = (headers(), st.integers(0, 2**32 - 1), st.sampled_from(["any", "constant", "wave"]))
SECONDS = (st.sampled_from(["0.25", "0.1", "2", "60"]), st.sampled_from(["0.25", "0.1", "1.5", "60"]))


@given(*RANDOM, *SECONDS)
@settings(max_examples=25, deadline=None)
def test_bytes_in_every_format(written: tuple[bytes, Header], seed: int, kind: str, window: str, step: str) -> None:
    text, header = written
    check(header, text, content(header, seed, kind), window, step)


@pytest.mark.slow
@given(*RANDOM, *SECONDS)
@settings(max_examples=400, deadline=None)
def test_bytes_in_every_format_at_length(
    written: tuple[bytes, Header], seed: int, kind: str, window: str, step: str
) -> None:
    text, header = written
    check(header, text, content(header, seed, kind), window, step)


@st.composite
def longer_records(draw: st.DrawFn) -> tuple[str, Any]:
    """Headers of two signals, some windows long, and samples with gaps, flat parts and saturation."""
    fmt = draw(st.sampled_from(FORMATS))
    fs = draw(st.sampled_from(["125", "62.4725", "20", "250"]))
    n = draw(st.integers(200, 1500))
    gains = draw(st.sampled_from([("200", "-12.5(7)"), ("1(100)", "1e3"), ("-0.5", "2.5")]))
    lines = [f"r 2 {fs} {n}", *[f"r.dat {fmt} {gain}/mV 0 0 0 0 0 s{place}" for place, gain in enumerate(gains)]]
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    samples = 60 * np.sin(np.arange(n)[:, None] / rng.uniform(1, 30, 2)) + rng.normal(0, rng.choice([0, 9]), (n, 2))
    for _ in range(draw(st.integers(0, 4))):
        begin, column = rng.integers(0, n), rng.integers(0, 2)
        length = rng.choice([1, 5, 40, 300])
        samples[begin : begin + length, column] = rng.choice([np.nan, 127, -127, 3])
    return "\n".join(lines) + "\n", samples


def encoded(fmt: str, samples: Any) -> Any:
    """Samples of at most 7 bits in a format; NaN is its missing value, in format 8 a difference of 0."""
    flat = samples.reshape(-1)
    gone = np.isnan(flat)
    whole = np.where(gone, 0, flat).round().astype(np.int64)
    if fmt == "8":
        return (whole % 5 - 2).astype(np.int8).tobytes()
    bits = {"80": 8, "212": 12, "310": 10, "311": 10, "24": 24, "32": 32}.get(fmt, 16)
    whole[gone] = -(2 ** (bits - 1))
    if fmt in ("80", "160"):
        return (whole + 2 ** (bits - 1)).astype("u1" if fmt == "80" else "<u2").tobytes()
    if fmt in ("16", "61", "32"):
        return whole.astype({"16": "<i2", "61": ">i2", "32": "<i4"}[fmt]).tobytes()
    if fmt == "24":
        return whole.astype("<i4").reshape(-1, 1).view(np.uint8)[:, :3].tobytes()
    return _packed(fmt, whole % 2**bits)


def _packed(fmt: str, whole: Any) -> Any:
    size = 2 if fmt == "212" else 3
    whole = np.concatenate([whole, np.zeros(-len(whole) % size, np.int64)]).reshape(-1, size)
    a, b = whole[:, 0], whole[:, 1]
    if fmt == "212":
        return np.stack([a & 255, a >> 8 | (b >> 8) << 4, b & 255], axis=1).astype(np.uint8).tobytes()
    c = whole[:, 2]
    if fmt == "311":
        return (a | b << 10 | c << 20).astype("<u4").tobytes()
    return np.stack([a << 1 | (c & 31) << 11, b << 1 | (c >> 5) << 11], axis=1).astype("<u2").tobytes()


@given(longer_records(), st.sampled_from([("2", "2"), ("3", "1"), ("10", "10")]))
@settings(max_examples=20, deadline=None)
def test_gaps_flat_lines_and_saturation(record: tuple[str, Any], lengths: tuple[str, str]) -> None:
    check_longer(record, lengths)


@pytest.mark.slow
@given(longer_records(), st.sampled_from([("2", "2"), ("3", "1"), ("10", "10")]))
@settings(max_examples=300, deadline=None)
def test_gaps_flat_lines_and_saturation_at_length(record: tuple[str, Any], lengths: tuple[str, str]) -> None:
    check_longer(record, lengths)


def check_longer(record: tuple[str, Any], lengths: tuple[str, str]) -> None:
    text, samples = record
    fmt = text.splitlines()[1].split()[1]
    with TemporaryDirectory(prefix="record-") as name:
        where = Path(name)
        (where / "r.hea").write_text(text)
        (where / "r.dat").write_bytes(encoded(fmt, samples))
        header, files = read_files(where / "r.hea")
        rows = rows_of(where / "r.hea", window=float(lengths[0]), step=float(lengths[1]))
        check_windows(header, files, rows, window=Fraction(lengths[0]), step=Fraction(lengths[1]))


@pytest.mark.parametrize("name", ["3544749_0007", "82284982_0001", "mixedsignals", "test01_00s_skewframe"])
def test_the_same_rows_in_any_pieces(shared_data: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    (path,) = shared_data.rglob(f"{name}.hea")
    expected = rows_of(path, window=7.0, step=5.0)
    monkeypatch.setattr(blocks, "BLOCK", 4096)
    monkeypatch.setattr(blocks, "_own", type(blocks._own)())
    monkeypatch.setattr(flac, "_AT_ONCE", 1000)
    monkeypatch.setattr(streams, "_TOGETHER", 3000)
    assert rows_of(path, window=7.0, step=5.0) == expected
    assert len(expected) > 1


def test_the_same_rows_by_either_kernel(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bit for bit, floats too."""
    found = []
    for kernel, steps, taking in ((numpy_kernel, None, None), compiled_of(load(LIBRARY))):
        monkeypatch.setattr(kernels, "_kernel", kernel)
        monkeypatch.setattr(welch, "compiled", steps)
        monkeypatch.setattr(kept, "compiled", taking)
        rows = [row for name in ("3544749_0007", "100_3chan", "82284982_0001", "binformats", "test01_00s_skew")
                for path in shared_data.rglob(f"{name}.hea") for row in rows_of(path, window=5.0)]  # fmt: skip
        found.append(rows)
    assert found[0] == found[1]
    assert len(found[0]) > 100
