"""What every value of every row of `wfdb-windows` must be: the plain way, window by window, with numpy and scipy.

Samples are decoded by `oracle`, without the code under test.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import scipy.signal
import scipy.stats

from scaledproc.extractors.wfdb.headers.header import Header, SignalLine
from wfdb_oracles.grammar import LOWEST
from wfdb_oracles.oracle import frames_per_second, samples_of

BANDS = {"slow": (0.05, 0.5), "pulse": (0.5, 5.0), "qrs": (5.0, 15.0), "fast": (15.0, 40.0)}
PERCENTILES = {"p05": 5, "p25": 25, "p50": 50, "p75": 75, "p95": 95}
STATISTICS = ("flat_share", "mean", "std", "skewness", "kurtosis", "rms", "min", *PERCENTILES, "max", "line_length",
              "crossings", "hjorth_mobility", "hjorth_complexity")  # fmt: skip
SPECTRUM = ("power_total", *(f"power_{name}" for name in BANDS), "peak_hz", "spectral_entropy", "edge95_hz")
EXACT = ("n_samples", "n_missing", "n_distinct", "n_zero", "n_at_min", "n_at_max", "flat_share", "min", *PERCENTILES,
         "max")  # fmt: skip


def check_windows(
    header: Header,
    files: Mapping[str, bytes],
    rows: Sequence[dict[str, Any]],
    *,
    window: Fraction = Fraction(60),
    step: Fraction | None = None,
    at: Fraction = Fraction(0),
    min_valid: float = 0.5,
) -> int:
    """Every row is what it should be, and there are no others; returns how many there are.

    Parameters
    ----------
    header, files
        What a header means, and its signal files.
    rows
        In the long layout.
    window, step
        Seconds.
    at
        Where on the axis of windows the first sample is.
    min_valid
        As the option.
    """
    step = window if step is None else step
    by_channel: dict[int, dict[int, dict[str, Any]]] = {}
    for row in rows:
        assert row["window"] not in by_channel.setdefault(row["channel"], {})
        by_channel[row["channel"]][row["window"]] = row
    checked = 0
    for channel, (signal, (stored, n)) in enumerate(zip(header.signals, samples_of(header, files), strict=False)):
        fs = frames_per_second(header.fs) * signal.samples_per_frame
        found = by_channel.get(channel, {})
        expected = 0
        if not signal.is_null:
            samples = in_time(signal, stored, n)
            expected = check_signal(
                signal, samples, fs, found, window=window, step=step, at=at, min_valid=min_valid,
                written_fs=header.fs * signal.samples_per_frame,
            )  # fmt: skip
        assert len(found) == expected
        checked += expected
    assert checked == len(rows)
    assert [(row["window"], row["channel"]) for row in rows] == sorted((row["window"], row["channel"]) for row in rows)
    return checked


def in_time(signal: SignalLine, stored: Sequence[int], n: int) -> Any:
    """Digital samples from sample 0 on, shape (n,); missing ones are NaN."""
    samples = np.full(n, np.nan)
    late = list(stored)[min(signal.skew, n) :]
    samples[: len(late)] = [math.nan if x == LOWEST.get(signal.fmt) else x for x in late]
    return samples


def check_signal(
    signal: SignalLine,
    samples: Any,
    fs: Fraction,
    found: Mapping[int, dict[str, Any]],
    *,
    window: Fraction,
    step: Fraction,
    at: Fraction = Fraction(0),
    min_valid: float = 0.5,
    is_across: bool = False,
    written_fs: float | None = None,
) -> int:
    """The rows of one signal by their windows are what they should be; returns how many there are to be."""
    n, expected = len(samples), 0
    number = max(0, math.floor((at - window) / step) + 1)
    while n and number * step <= at + (n - 1) / fs:
        start, stop = (math.ceil((number * step + more - at) * fs) for more in (0, window))
        part = samples[max(start, 0) : max(stop, 0)]
        if len(part) and not (is_across and np.isnan(part).all()):
            row = found[number]
            assert row["fs"] == (float(fs) if written_fs is None else written_fs)
            check_row(row, signal, samples, fs, start, stop, math.floor(window * fs), min_valid)
            expected += 1
        number += 1
    return expected


def check_row(
    row: dict[str, Any],
    signal: SignalLine,
    samples: Any,
    fs: Fraction,
    start: int,
    stop: int,
    length: int,
    min_valid: float,
) -> None:
    whole = np.full(stop - start, np.nan)
    begin, end = max(start, 0), min(stop, len(samples))
    whole[begin - start : end - start] = samples[begin:end]
    part = samples[begin:end]
    valid = part[~np.isnan(part)]
    assert (row["signal"], row["units"]) == (signal.name, signal.units)
    expected: dict[str, Any] = dict.fromkeys((*STATISTICS, *SPECTRUM))
    expected |= {"n_samples": len(part), "n_missing": len(part) - len(valid), "n_distinct": len(set(valid.tolist()))}
    expected["n_zero"] = int((valid == signal.baseline).sum())
    expected |= dict(zip(("n_at_min", "n_at_max"), _at_limits(signal, valid), strict=True))
    is_numerics = row["kind"] == "numerics"
    if len(valid) and len(valid) >= Fraction(repr(min_valid)) * len(whole):
        expected |= statistics_of(part, signal, float(fs))
        if not is_numerics:
            expected |= spectrum_of(whole, signal.gain, float(fs), length)
    compare(row, expected, signal)


def compare(row: Mapping[str, Any], expected: Mapping[str, Any], signal: SignalLine | None = None) -> None:
    """A row has these values: counts and order statistics exactly, other ones up to what rounding explains."""
    scale = max(abs(expected["min"] or 0), abs(expected["max"] or 0))
    for name, value in expected.items():
        got = row[name]
        if value is None or name in EXACT:
            assert got == value, (name, row["window"], got, value)
        elif name in ("peak_hz", "edge95_hz"):
            assert np.isclose(value, got, rtol=1e-6).any(), (name, row["window"], got, value)
        elif name in SPECTRUM:
            assert got == pytest.approx(value, rel=2e-6, abs=1e-9 * (expected["power_total"] or 0)), (
                name,
                row["window"],
                got,
                value,
            )
        else:
            absolute = 1e-13 * scale if name in ("mean", "std", "rms") else 1e-9
            assert got == pytest.approx(value, rel=1e-9, abs=absolute), (name, row["window"], got, value)


def _at_limits(signal: SignalLine, valid: Any) -> list[int | None]:
    lowest = LOWEST.get(signal.fmt)
    ranges = [] if lowest is None else [(lowest + 1, -lowest - 1)]
    if 0 < signal.adc_resolution <= 32:
        half = 2 ** (signal.adc_resolution - 1)
        ranges.append((signal.adc_zero - half, signal.adc_zero + half - 1))
    ranges = [(low, high) for low, high in ranges if len(valid) and low <= valid.min() and valid.max() <= high]
    if not ranges:
        return [None, None]
    ends = [sum(int((valid == value).sum()) for value in {limit[end] for limit in ranges}) for end in (0, 1)]
    return list(ends[::-1] if signal.gain < 0 else ends)


def statistics_of(part: Any, signal: SignalLine, fs: float) -> dict[str, Any]:
    """By numpy and scipy, of digital samples of which missing ones are NaN."""
    is_valid = ~np.isnan(part)
    digital = part[is_valid]
    physical = (digital - signal.baseline) / signal.gain
    unit = abs(signal.gain)
    centred = np.sign(signal.gain) * (digital - digital.mean().round())
    found: dict[str, Any] = {"mean": (digital - signal.baseline).mean() / signal.gain}
    found["std"] = centred.std(ddof=1) / unit if len(digital) > 1 else None
    is_constant = len(set(digital.tolist())) == 1
    found["skewness"] = None if is_constant else scipy.stats.skew(centred)
    found["kurtosis"] = None if is_constant else scipy.stats.kurtosis(centred)
    found["rms"] = np.sqrt(((digital - signal.baseline) ** 2).mean()) / unit
    found["min"], found["max"] = physical.min(), physical.max()
    found |= {name: np.percentile(physical, share) for name, share in PERCENTILES.items()}
    steps = np.diff(part)
    known = steps[~np.isnan(steps)]
    bends = np.diff(part, n=2)
    bends = bends[~np.isnan(bends)]
    found |= dict.fromkeys(("flat_share", "line_length", "crossings", "hjorth_mobility", "hjorth_complexity"))
    if len(known):
        found["flat_share"] = float((known == 0).mean())
        found["line_length"] = np.abs(known).mean() * fs / unit
        total, n = int(digital.sum()), len(digital)
        state = np.array([np.sign(signal.gain) * (n * int(x) - total) >= 0 if x == x else -1 for x in part.tolist()])
        crossed = (state[1:] != state[:-1]) & is_valid[1:] & is_valid[:-1]
        found["crossings"] = crossed.sum() / (len(known) / fs)
    if len(known) >= 2 and not is_constant:
        mobility = np.sqrt(known.var() / digital.var())
        found["hjorth_mobility"] = mobility * fs
        if len(bends) >= 2 and known.var():
            found["hjorth_complexity"] = np.sqrt(bends.var() / known.var()) / mobility
    return found


def fast_length(longest: int) -> int:
    """The largest number up to one that has no prime factor above 13."""
    for n in range(longest, 8, -1):
        rest = n
        for prime in (2, 3, 5, 7, 11, 13):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return n
    return longest


def spectrum_of(whole: Any, gain: float, fs: float, length: int) -> dict[str, Any]:
    """By scipy's Welch, of a window whose missing samples are NaN, those before and after the signal's among them."""
    nothing: dict[str, Any] = dict.fromkeys(SPECTRUM)
    gone = np.isnan(whole)
    run = longest = 0
    for each in gone.tolist():
        run = run + 1 if each else 0
        longest = max(longest, run)
    if length < 8 or longest > 0.5 * fs or gone.sum() > 0.1 * len(whole):
        return nothing
    places = np.arange(len(whole))
    filled = np.interp(places, places[~gone], whole[~gone])
    if gone[length:].any() or gone[:length].any():  # the first samples alone are looked at
        inside = ~gone[:length]
        filled = np.interp(places[:length], places[:length][inside], whole[:length][inside])
    n = fast_length(min(length, math.floor(20 * fs)))
    frequencies, density = scipy.signal.welch(filled[:length], fs, nperseg=n, noverlap=n // 2)
    step = fs / n
    power = density * step / gain / gain
    total = power[1:].sum()
    found = nothing | {"power_total": total}
    for name, (low, high) in BANDS.items():
        is_in = (frequencies >= low - 1e-9) & (frequencies < high - 1e-9) & (frequencies > 0)
        if high <= fs / 2 and 1.01 * low >= step / 2 and is_in.any():
            found[f"power_{name}"] = power[is_in].sum()
    if total > 0:
        shares = power[1:] / total
        there = shares[shares > 0]
        # Of frequencies that are as good as each other rounding chooses.
        found["peak_hz"] = frequencies[1:][power[1:] >= (1 - 1e-6) * power[1:].max()]
        found["spectral_entropy"] = -(there * np.log(there)).sum() / math.log(max(len(shares), 2))
        edges = np.searchsorted(shares.cumsum(), [0.95 - 1e-9, 0.95 + 1e-9]).clip(max=len(shares) - 1)
        found["edge95_hz"] = frequencies[1:][edges[0] : edges[1] + 1]
    return found
