"""The beats of windows, against one detection over the whole signal and numpy."""

from __future__ import annotations

import math
import statistics
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wfdb_oracles.oracle import read_files, rows_in, samples_of, task_of
from wfdb_oracles.windows import in_time

from scaledproc.extractors.wfdb.beats import compiled
from scaledproc.extractors.wfdb.beats.compiled_windows import sum_of
from scaledproc.extractors.wfdb.beats.detection import detect_beats
from scaledproc.extractors.wfdb.beats.intervals import heart_rate, pnn50, rmssd, rr_intervals_ms, sdnn
from scaledproc.extractors.wfdb.beats.pulses import pulse_features
from scaledproc.extractors.wfdb.machine_code import load
from scaledproc.extractors.wfdb.signals import blocks
from scaledproc.extractors.wfdb.windows import streams
from scaledproc.extractors.wfdb.windows.extractor import WfdbWindows
from scaledproc.extractors.wfdb.windows.measures import beats

TIMES = st.floats(200, 2_000) | st.just(float("nan"))
TOLD = ("n_beats", *beats.COLUMNS)


def physical(path: Path, channel: int) -> tuple[Any, float]:
    """A signal's samples, and how many there are a second."""
    header, files = read_files(path)
    signal, (stored, n) = header.signals[channel], samples_of(header, files)[channel]
    samples = (in_time(signal, stored, n) - signal.baseline) / signal.gain
    return samples, header.fs * signal.samples_per_frame


def in_pieces(samples: Any, fs: float, kind: Any) -> dict[str, Any]:
    """The beats of pieces of 600 s, each seen with 20 s before and after it."""
    size, margin = round(600 * fs), round(20 * fs)
    parts: dict[str, list[Any]] = {}
    for number, start in enumerate(range(0, len(samples), size)):
        first = max(start - margin, 0)
        piece = samples[first : start + size + margin]
        found = detect_beats(piece, fs, kind)
        pulses = pulse_features(piece, fs, found.positions)
        times = found.times + first
        inside = (times >= start) & (times < start + size)
        columns = {
            "times": times,
            "positions": found.positions + first,
            "quality": found.quality,
            "stretch": found.stretch + 10**6 * number,
        }
        columns |= {"pulse_amplitude": pulses.amplitude, "systolic": pulses.systolic}
        columns |= {"diastolic": pulses.diastolic, "rise_time": pulses.rise_time}
        for column, values in columns.items():
            parts.setdefault(column, []).append(values[inside])
    return {column: np.concatenate(values) for column, values in parts.items()}


@given(st.lists(TIMES, min_size=1, max_size=300))
def test_variability_is_what_its_definitions_give_to_the_bit(times: list[float]) -> None:
    intervals = np.array(times)
    there = intervals[~np.isnan(intervals)]
    mean = float(np.nanmean(intervals)) if len(there) else np.nan
    wanted = heart_rate(intervals), mean, sdnn(intervals), rmssd(intervals), pnn50(intervals)
    assert beats._variability(intervals) == tuple(None if np.isnan(each) else each for each in wanted)
    assert beats._median(intervals) == (float(np.nanmedian(intervals)) if len(there) else None)


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(["ecg", "pulse"]),
    st.sampled_from([0, 1, 2, 3, 9, 130, 2_000]),
    st.sampled_from([0.0, 0.1, 0.9, 1.0]),
    st.integers(0, 2**32 - 1),
)
def test_many_windows_are_told_as_one_by_one(kind: Any, n: int, share_missing: float, seed: int) -> None:
    """By the compiled way to the bit what numpy tells of each."""
    rng = np.random.default_rng(seed)
    track = beats.Track(kind, 125.0)
    track._beats = rng.choice([1.0, 50.0, 300.0]) * rng.normal(1, 0.2, (n, 9))
    track._beats[:, 0] = np.cumsum(rng.integers(25, 200, n))
    track._beats[rng.random((n, 9)) < share_missing * np.array([0, 1, 0, 1, 1, 1, 1, 0, 0])] = np.nan
    starts = rng.integers(-1_000, 100 * n + 1_000, 20)
    stops = starts + rng.integers(1, rng.choice([100, 10_000, 300_000]), 20)
    told = track.of_many(starts, stops).tobytes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled, "functions", compiled.CompiledFunctions(load(compiled.LIBRARY)))
        assert track.of_many(starts, stops).tobytes() == told
        # Where numpy makes sums in another order by now, it makes these too.
        patch.setattr(compiled.CompiledFunctions, "sums_as_numpy", False)
        assert track.of_many(starts, stops).tobytes() == told


@given(st.lists(st.floats(-1e6, 1e6), max_size=3_000))
def test_sums_are_made_in_the_order_of_numpy(values: list[float]) -> None:
    rooms = np.empty((2, 64), np.int64), np.empty(64)
    assert sum_of(np.array(values, np.float64), *rooms) == np.array(values, np.float64).sum()


@pytest.mark.parametrize(
    ("name", "channel", "kind"),
    [("100", 0, "ecg"), ("a103l", 0, "ecg"), ("a103l", 2, "pulse"), ("3234460_0018", 2, "pulse")],
)
def test_windows_tell_of_the_beats_in_them(shared_data: Path, name: str, channel: int, kind: Any) -> None:
    (path,) = shared_data.rglob(f"{name}.hea")
    samples, fs = physical(path, channel)
    found = in_pieces(samples, fs, kind)
    length = int(30 * Fraction(repr(fs)))
    given = WfdbWindows(window=30.0, grid="segment").extract(task_of(path))
    rows = [row for row in rows_in(given) if row["channel"] == channel]
    checked = 0
    for row in rows:
        if row["mean"] is None:
            assert [row[column] for column in TOLD] == [None] * len(TOLD)
            continue
        start = row["window"] * length
        inside = np.flatnonzero((found["times"] >= start) & (found["times"] < start + length))
        assert row["n_beats"] == len(inside)
        if not len(inside):
            assert [row[column] for column in beats.COLUMNS] == [None] * len(beats.COLUMNS)
            continue
        intervals = np.diff(found["times"][inside]) / fs * 1000
        intervals[np.diff(found["stretch"][inside]) % 10**6 != 0] = np.nan
        known, steps = intervals[~np.isnan(intervals)], np.diff(intervals)
        steps = steps[~np.isnan(steps)]
        expected: dict[str, Any] = dict.fromkeys(beats.COLUMNS)
        if len(known):
            expected |= {"hr": 60_000 / np.median(known), "rr_mean": known.mean()}
        if len(known) > 1:
            expected["sdnn"] = known.std(ddof=1)
        if len(steps):
            expected |= {"rmssd": np.sqrt((steps**2).mean()), "pnn50": (np.abs(steps) > 50).mean()}
        expected["beat_quality"] = found["quality"][inside].mean()
        if kind == "pulse":
            for column in ("pulse_amplitude", "systolic", "diastolic", "rise_time"):
                values = found[column]
                there = values[inside][~np.isnan(values[inside])]
                expected[column] = np.median(there) if len(there) else None
        for column, value in expected.items():
            assert row[column] == (None if value is None else pytest.approx(value, rel=1e-9)), (column, row["window"])
        checked += 1
    assert checked > 3


def shape_of(samples: list[float], fs: float, peak: int, before: int | None) -> tuple[float, float, float] | None:
    """Systolic and diastolic value and rise time of a pulse, sample by sample from its peak; None without a foot."""
    foot, lowest = peak, math.inf
    first = max(peak - int(0.5 * fs), 0 if before is None else before + 1)
    for at in range(peak, first - 1, -1):
        if samples[at] < lowest:  # never true of a missing sample
            foot, lowest = at, samples[at]
    if foot in (0, peak) or math.isnan(samples[foot - 1]):
        return None
    return samples[peak], lowest, (peak - foot) / fs


@pytest.mark.parametrize(("name", "channel"), [("a103l", 2), ("3234460_0018", 2), ("mixedsignals", 3), ("03700181", 1)])
def test_the_shapes_of_pulses_sample_by_sample(shared_data: Path, name: str, channel: int) -> None:
    (path,) = [each for each in shared_data.rglob(f"{name}.hea") if "broken" not in each.parts]
    samples, fs = physical(path, channel)
    found = in_pieces(samples, fs, "pulse")
    peaks, values = found["positions"].tolist(), samples.tolist()
    shapes = [shape_of(values, fs, *pair) for pair in zip(peaks, [None, *peaks[:-1]], strict=True)]
    given = WfdbWindows(window=10.0, grid="segment").extract(task_of(path))
    rows = [row for row in rows_in(given) if row["channel"] == channel]
    checked = 0
    for row in rows:
        if not row["n_beats"]:
            continue
        start = row["window"] * 10
        inside = [at for at, time in enumerate(found["times"].tolist()) if start <= time / fs < start + 10]
        assert row["n_beats"] == len(inside)
        whole = [shape for at in inside if (shape := shapes[at]) is not None]
        expected = dict.fromkeys(("systolic", "diastolic", "rise_time", "pulse_amplitude"))
        expected["systolic"] = statistics.median(values[peaks[at]] for at in inside)
        if whole:
            expected["diastolic"] = statistics.median(low for _, low, _ in whole)
            expected["rise_time"] = statistics.median(rise for _, _, rise in whole)
            expected["pulse_amplitude"] = statistics.median(high - low for high, low, _ in whole)
        for column, value in expected.items():
            assert row[column] == (None if value is None else pytest.approx(value, rel=1e-12)), (column, row["window"])
        assert row["rise_time"] is None or row["rise_time"] <= 0.5
        checked += 1
    assert checked > 3


def test_the_same_beats_in_any_pieces_of_the_file(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces in which beats are detected are of the signal, whatever is read at once."""
    monkeypatch.setattr(beats, "PIECE", 50.0)
    (path,) = shared_data.rglob("100.hea")
    extractor = WfdbWindows(window=20.0, step=15.0, grid="segment")
    expected = rows_in(extractor.extract(task_of(path)))
    monkeypatch.setattr(blocks, "BLOCK", 4096)
    monkeypatch.setattr(blocks, "_own", type(blocks._own)())
    monkeypatch.setattr(streams, "_TOGETHER", 9000)
    assert rows_in(extractor.extract(task_of(path))) == expected
    # Beats at the edges of pieces are neither lost nor found twice.
    samples, fs = physical(path, 0)
    whole = detect_beats(samples, fs, "ecg").times
    for row in expected:
        if row["channel"] == 0 and row["mean"] is not None:
            start = row["window"] * 15 * fs
            assert row["n_beats"] == ((whole >= start) & (whole < start + 20 * fs)).sum()


def followed(samples: Any, fs: float, monkeypatch: pytest.MonkeyPatch) -> list[beats.Piece]:
    """The beats of an ECG in pieces of 50 s."""
    monkeypatch.setattr(beats, "PIECE", 50.0)
    track = beats.Track("ecg", fs, keeps_pieces=True)
    while track.end < len(samples):
        first = max(track.end - track.margin, 0)
        track.advance(samples[first : track.needed(len(samples))], first, len(samples))
    return track.pieces


@pytest.mark.parametrize(
    "gaps",
    [
        [],
        [(49.6, 50.4)],
        [(50.0, 50.9), (99.5, 100.0)],
        [(49.99, 50.02), (99.97, 100.01)],  # which are bridged
        [(20.0, 64.0)],  # the last beat is out of the next piece's sight
        [(49.0, 175.0)],  # a whole piece has none
        [(10.0, 10.5), (99.9, 101.2), (149.0, 149.9)],
    ],
)
def test_no_interval_crosses_a_gap_between_pieces(
    gaps: list[tuple[float, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a signal without noise there are the beats and the intervals of one detection."""
    fs = 125.0
    at = np.arange(0, 220, 1 / fs)
    samples = np.exp(-0.5 * (((at + 0.4) % 0.8 - 0.4) / 0.012) ** 2) + 0.1 * np.sin(at)
    for begin, end in gaps:
        samples[(at >= begin) & (at < end)] = np.nan
    whole = detect_beats(samples, fs, "ecg")
    pieces = followed(samples, fs, monkeypatch)
    assert np.concatenate([piece.positions for piece in pieces]).tolist() == whole.positions.tolist()
    told = np.concatenate([piece.rr_ms for piece in pieces])
    np.testing.assert_allclose(told, rr_intervals_ms(whole, fs), rtol=0, atol=2)
    times = np.concatenate([piece.times for piece in pieces])
    steps = np.diff(times) * 1000 / fs
    known = ~np.isnan(told[1:])
    np.testing.assert_allclose(told[1:][known], steps[known], rtol=0, atol=1e-6)


def test_an_interval_is_as_long_as_there_are_no_beats(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the beat before is out of the next piece's sight, without a gap."""
    fs = 125.0
    at = np.arange(0, 160, 1 / fs)
    samples = np.exp(-0.5 * (((at + 0.4) % 0.8 - 0.4) / 0.012) ** 2)
    samples[(at >= 20.2) & (at < 75.8)] = 0.0
    pieces = followed(samples, fs, monkeypatch)
    times, told = (np.concatenate([getattr(piece, name) for piece in pieces]) for name in ("times", "rr_ms"))
    np.testing.assert_allclose(told[1:], np.diff(times) * 1000 / fs, rtol=0, atol=1e-6)
    assert told[1:].max() > 50_000


@pytest.mark.parametrize("name", ["101", "102"])
def test_what_both_pieces_find_at_an_edge_is_there_once(
    shared_data: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples, fs = physical(shared_data.parent / "annotated/mitdb" / f"{name}.hea", 1)
    samples = samples[: round(400 * fs)]
    pieces = followed(samples, fs, monkeypatch)
    known = np.concatenate([piece.positions for piece in pieces])
    assert (np.diff(known) > 0).all()
    size, margin = round(50 * fs), round(20 * fs)
    for edge in range(size, len(samples), size):
        found = []
        for start in (edge - size, edge):
            first = max(start - margin, 0)
            found.append(detect_beats(samples[first : start + size + margin], fs, "ecg").positions + first)
        agreed = np.intersect1d(found[0], found[1])
        # Nearer than those that this pair agrees on may be where other pieces meet.
        near = agreed[np.abs(agreed - edge) < margin]
        assert np.isin(near, known).all()
        assert len(near) > 5
    for piece in pieces:
        assert piece.begin <= piece.times[0]


def test_where_no_beats_are_looked_for(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    lines = ["r 3 40 4000", *[f"r.dat 80 1/mV 8 0 0 0 0 {name}" for name in ("II", "RESP", "ABP")]]
    (tmp_path / "r.dat").write_bytes(rng.bytes(12_000))
    for fs in ("40", "125"):
        (tmp_path / "r.hea").write_text("\n".join([lines[0].replace("40", fs, 1), *lines[1:]]) + "\n")
        rows = rows_in(WfdbWindows(window=10.0).extract(task_of(tmp_path / "r.hea")))
        looked_for = {row["signal"] for row in rows if row["n_beats"] is not None}
        assert looked_for == ({"II", "ABP"} if fs == "125" else set())
    assert "n_beats" not in WfdbWindows(beats=False).schema.names
    without = rows_in(WfdbWindows(window=10.0, beats=False).extract(task_of(tmp_path / "r.hea")))
    assert without == [{name: value for name, value in row.items() if name not in TOLD} for row in rows]
