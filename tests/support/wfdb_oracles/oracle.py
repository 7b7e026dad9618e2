"""What every value of every row of `wfdb-summary` must be.

By the specification: from what a header means and the plain way of decoding in `grammar.py`. By wfdb and numpy, where
wfdb reads what the specification says; where it does not, the tests say so.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal, localcontext
from fractions import Fraction
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import soundfile
import wfdb

from scaledproc.extractors import Task
from scaledproc.extractors.wfdb.headers.header import Header, SignalLine, parse_header
from wfdb_oracles.grammar import LOWEST, decode

STATISTICS = ("mean", "std", "min", "p25", "p50", "p75", "max")
FLAC = ("508", "516", "524")


def task_of(header: Path, root: Path | None = None) -> Task:
    root = root or header.parent
    files = frozenset(path.relative_to(root).as_posix() for path in header.parent.rglob("*") if not path.is_dir())
    anchor = header.relative_to(root).as_posix()
    unit = anchor.rpartition("/")[0] or "."
    return Task(unit.partition("/")[0], unit, anchor, root, files)


def rows_in(given: Iterable[Any]) -> list[Any]:
    """What an extractor gives, its tables of the main table as their rows."""
    return [row for each in given for row in (each.to_pylist() if isinstance(each, pa.Table) else [each])]


def check_by_specification(header: Header, files: Mapping[str, bytes], rows: Sequence[dict[str, Any]]) -> int:
    """Every value is that of header(5) and signal(5); returns how many rows there were."""
    samples = samples_of(header, files)
    assert [row["channel"] for row in rows] == list(range(len(samples)))
    for row, signal, (stored, n) in zip(rows, header.signals, samples, strict=bool(samples)):
        late = min(signal.skew, n)
        valid = np.array([value for value in stored[late:] if value != LOWEST.get(signal.fmt)], np.int64)
        fs = header.fs * signal.samples_per_frame
        assert (row["signal"], row["units"], row["fmt"], row["fs"]) == (signal.name, signal.units, signal.fmt, fs)
        is_numerics = fs <= 2 or row["record"] == f"{row['unit'].rpartition('/')[2]}n"
        assert row["kind"] == ("numerics" if is_numerics else "waveform")
        assert (row["start_date"], row["start_time"]) == (header.date, header.time)
        beyond = f"all of its {n:,} samples are missing, as its skew is {signal.skew:,}"
        notes = [note for note in (header.note, beyond if signal.skew > n and not signal.is_null else None) if note]
        assert row["header_note"] == ("; ".join(notes) or None)
        duration = n / (float(frames_per_second(header.fs)) * signal.samples_per_frame)
        assert (row["n_samples"], row["n_missing"], row["duration_s"]) == (n, n - len(valid), duration)
        has_checksum = signal.checksum is not None and header.n_frames and not signal.is_null
        assert row["checksum_ok"] == (sum(stored) % 65_536 == signal.checksum % 65_536 if has_checksum else None)  # type: ignore[operator]
        assert row["n_zero"] == int((valid == signal.baseline).sum())
        assert row["n_distinct"] == len(set(valid.tolist()))
        check_limits(row, signal, valid)
        check_statistics(row, (valid - signal.baseline) / signal.gain)
    return len(rows)


def frames_per_second(fs: float) -> Fraction:
    """The rate that a header gives: that of a time between samples, if rounding or cutting it off gives the number."""
    written = Decimal(repr(fs))
    last = Decimal((0, (1,), int(written.as_tuple().exponent)))
    if written == written.to_integral_value() or fs < 1e-6:
        return Fraction(written)
    with localcontext(prec=60):
        for unit in map(Decimal, ("10", "1", "0.1", "0.01", "0.001")):
            between = (1 / written / unit).to_integral_value() * unit
            is_sure = 1 / (written - last / 2) - 1 / (written + last) <= unit / 10
            if between and is_sure:
                rate = 1 / between
                ways = (ROUND_HALF_EVEN, ROUND_HALF_UP, ROUND_DOWN)
                shown = {each.quantize(last, way) for each in (rate, Decimal(float(rate))) for way in ways}
                if written in shown or float(rate) == fs:
                    return 1 / Fraction(between)
    return Fraction(written)


def samples_of(header: Header, files: Mapping[str, bytes]) -> list[tuple[Sequence[int], int]]:
    """The samples of each signal as stored, and how many there are, of those that are not stored too."""
    decoded: list[tuple[list[SignalLine], list[list[int]] | None]] = []
    lengths = []
    for is_null, group in groupby(header.signals, lambda signal: "" if signal.is_null else signal.file):
        signals = list(group)
        if not is_null:
            decoded.append((signals, None))
            continue
        first, widths = signals[0], [signal.samples_per_frame for signal in signals]
        content = files[first.file][first.byte_offset :]
        is_flac = first.fmt in FLAC
        flat = flac_samples(content, widths[0], header.n_frames) if is_flac else decode(first.fmt, content)
        frames = len(flat) // sum(widths) if header.n_frames is None else header.n_frames
        assert len(flat) >= frames * sum(widths)
        lengths.append(frames)
        stops = np.cumsum([0, *widths])
        table = np.array(flat[: frames * sum(widths)], np.int64).reshape(frames, sum(widths))
        decoded.append((signals, [table[:, a:b].reshape(-1).tolist() for a, b in pairwise(stops)]))
    n_frames = header.n_frames or min(lengths, default=0)
    if not n_frames and not lengths:
        return []
    found: list[tuple[Sequence[int], int]] = []
    for signals, columns in decoded:
        for place, signal in enumerate(signals):
            n = n_frames * signal.samples_per_frame
            stored = columns[place][:n] if columns else []
            if signal.fmt == "8" and columns:
                stored = np.cumsum([signal.init_value, *stored])[1:].tolist()
            found.append((stored, n))
    return found


def flac_samples(content: bytes, frame: int, n_frames: int | None) -> list[int]:
    """The first frames, or all, in the order of other signal files."""
    with soundfile.SoundFile(io.BytesIO(content)) as stream:
        bits = {"PCM_S8": 8, "PCM_16": 16, "PCM_24": 24}[stream.subtype]
        samples = stream.read(n_frames * frame if n_frames else -1, dtype="int32", always_2d=True) >> (32 - bits)
    whole = samples[: len(samples) // frame * frame]
    flat: list[int] = whole.reshape(-1, frame, samples.shape[1]).transpose(0, 2, 1).reshape(-1).tolist()
    return flat


def check_limits(row: dict[str, Any], signal: SignalLine, valid: Any) -> None:
    """Samples at a limit of the format, or of the converter where it has one that no sample is beyond."""
    ranges = []
    if signal.fmt in LOWEST:
        ranges.append((LOWEST[signal.fmt] + 1, -LOWEST[signal.fmt] - 1))
    if 0 < signal.adc_resolution <= 32:
        half = 2 ** (signal.adc_resolution - 1)
        ranges.append((signal.adc_zero - half, signal.adc_zero + half - 1))
    ranges = [(low, high) for low, high in ranges if len(valid) and low <= valid.min() and valid.max() <= high]
    expected = [sum(int((valid == value).sum()) for value in {limit[end] for limit in ranges}) for end in (0, 1)]
    if signal.gain < 0:  # they go with the lowest and the highest value
        expected = expected[::-1]
    assert [row["n_at_min"], row["n_at_max"]] == (expected if ranges else [None, None])


def check_statistics(row: dict[str, Any], valid: Any) -> None:
    """Order statistics are equal; mean and std to 1e-9, or to the rounding of the largest sample."""
    if not len(valid):
        assert [row[key] for key in STATISTICS] == [None] * len(STATISTICS)
        return
    scale = float(np.abs(valid).max())
    with np.errstate(all="ignore"):
        expected = [valid.min(), *np.percentile(valid, [25, 50, 75]), valid.max()]
    assert [row[key] for key in ("min", "p25", "p50", "p75", "max")] == expected
    assert row["mean"] == pytest.approx(valid.mean(), rel=1e-9, abs=1e-13 * scale)
    if len(valid) == 1:
        assert row["std"] is None
        return
    # Scaled first: the squares of samples that were divided by a gain of 1e256 are zero to numpy.
    unit = scale if 0 < scale < np.inf else 1.0
    assert row["std"] == pytest.approx((valid / unit).std(ddof=1) * unit, rel=1e-9, abs=1e-13 * scale)


def check_against_wfdb(header: Path, rows: Sequence[dict[str, Any]]) -> int:
    """Every value equals what wfdb and numpy make of the same record, which must be one without skew.

    By header(5) skew counts samples, by wfdb frames.
    """
    name = str(header.with_suffix(""))
    described = wfdb.rdheader(name)
    if isinstance(described, wfdb.MultiRecord) or set(described.file_name or ["~"]) == {"~"} or not described.n_sig:
        assert list(rows) == []
        return 0
    with np.errstate(all="ignore"):
        record = wfdb.rdrecord(name, smooth_frames=False)
    assert [row["channel"] for row in rows] == list(range(record.n_sig))
    for channel, row in enumerate(rows):
        _check_row(header, record, channel, row, has_length=described.sig_len is not None)
    return len(rows)


def _check_row(header: Path, record: Any, channel: int, row: dict[str, Any], *, has_length: bool) -> None:
    assert not record.skew[channel]
    signal = record.e_p_signal[channel]
    valid = signal[~np.isnan(signal)]
    fs = record.fs * record.samps_per_frame[channel]
    assert row["record"] == header.stem
    assert row["kind"] == ("numerics" if header.stem == f"{header.parent.name}n" or fs <= 2 else "waveform")
    assert (row["signal"], row["units"], row["fmt"]) == (
        record.sig_name[channel],
        record.units[channel],
        record.fmt[channel],
    )
    assert (row["n_samples"], row["n_missing"]) == (len(signal), len(signal) - len(valid))
    rate = float(frames_per_second(record.fs)) * record.samps_per_frame[channel]
    assert (row["fs"], row["duration_s"]) == (fs, len(signal) / rate)
    assert (row["start_date"], row["start_time"]) == (record.base_date, record.base_time)
    check_statistics(row, valid)
    checksum = record.checksum[channel]
    if checksum is None or not has_length:  # header(5): without a length it is not verified
        assert row["checksum_ok"] is None
        return
    digital = signal * record.adc_gain[channel] + record.baseline[channel]
    digital[np.isnan(digital)] = LOWEST.get(record.fmt[channel], 0)
    total = int(np.rint(digital).astype(np.int64).sum())
    assert row["checksum_ok"] == ((total - checksum) % 65_536 == 0)


def read_files(header: Path) -> tuple[Header, dict[str, bytes]]:
    """What a header means, as far as it is read right, and its signal files."""
    found = parse_header(header.read_bytes())
    return found, {file: (header.parent / file).read_bytes() for file in found.files}
