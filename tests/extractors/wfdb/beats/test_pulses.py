"""Pulses are found, their rate is that of the ECG, and their shapes are what they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ecg_waves import pressure, with_noise
from numpy.typing import NDArray
from wfdb import rdrecord

from scaledproc.extractors.wfdb.beats.detection import Beats, detect_beats
from scaledproc.extractors.wfdb.beats.intervals import heart_rate, rr_intervals_ms
from scaledproc.extractors.wfdb.beats.pulses import pulse_features

PULSE_QUALITY, ECG_QUALITY = 0.6, 0.5
"""The mean quality of a window's beats from which on its heart rate is trusted."""
WINDOW_S = 60
# Records with an ECG and a wave of pressure or pleth: the first lead that each has, as a monitor takes it.
RECORDS = [
    ("mimic3wdb/1.0/35/3544749/3544749_0007", "II", "ABP"),
    ("mimic3wdb/1.0/35/3544749/3544749_0007", "AVF", "ABP"),
    ("mimic3wdb/1.0/32/3269321/3269321_0002", "II", "PLETH"),
    ("mimic3wdb/1.0/32/3234460/3234460_0018", "II", "ABP"),
    ("mimic4wdb/waves/p169/p16955095/82284982/82284982_0001", "II", "Pleth"),
    ("wfdb-formats/03700181", "MCL1", "ABP"),
    ("wfdb-formats/mixedsignals", "II", "ABP"),
    ("wfdb-formats/mixedsignals", "II", "Pleth"),
    ("wfdb-formats/a103l", "II", "PLETH"),
]


def test_the_rate_of_pulses_is_that_of_the_ecg(shared_data: Path) -> None:
    differences = []
    for path, lead, wave in RECORDS:
        ecg, ecg_fs = read(shared_data / path, lead)
        pulse, pulse_fs = read(shared_data / path, wave)
        beats, pulses = detect_beats(ecg, ecg_fs, "ecg"), detect_beats(pulse, pulse_fs, "pulse")
        for start in range(0, max(int(len(ecg) / ecg_fs) - WINDOW_S, 0) + 1, WINDOW_S):
            rate, quality = in_window(beats, ecg_fs, start)
            other_rate, other_quality = in_window(pulses, pulse_fs, start)
            if quality > ECG_QUALITY and other_quality > PULSE_QUALITY:
                differences.append(other_rate - rate)
    assert len(differences) >= 20
    assert np.mean(np.abs(differences) <= 2) >= 0.95


def read(record: Path, name: str) -> tuple[NDArray[np.float64], float]:
    found = rdrecord(str(record), smooth_frames=False)
    at = found.sig_name.index(name)
    return found.e_p_signal[at], found.fs * found.samps_per_frame[at]


def in_window(beats: Beats, fs: float, start: int) -> tuple[float, float]:
    is_in = (beats.times >= start * fs) & (beats.times < (start + WINDOW_S) * fs)
    if not is_in.any():
        return float("nan"), 0.0
    return heart_rate(rr_intervals_ms(beats, fs)[is_in]), float(beats.quality[is_in].mean())


@pytest.mark.parametrize("fs", [62.5, 125, 250, 500])
@pytest.mark.parametrize("rate", [40, 75, 150, 200])
def test_systolic_peaks_are_found(fs: float, rate: int) -> None:
    times = np.arange(0.6, 59, 60 / rate)
    samples, peaks = pressure(fs, times)
    found = detect_beats(samples, fs, "pulse")
    assert len(found) >= len(peaks) - 2
    for at in found.positions:
        assert np.abs(peaks - at).min() <= 0.05 * fs


def test_the_shape_of_a_pulse_is_told() -> None:
    times = np.arange(0.6, 59, 0.9)
    samples, peaks = pressure(125, times)
    told = pulse_features(samples, 125, peaks)
    np.testing.assert_allclose(told.systolic, 120, atol=0.3)
    np.testing.assert_allclose(told.diastolic[1:], 80, atol=0.3)
    np.testing.assert_array_equal(told.amplitude, told.systolic - told.diastolic)
    assert (told.rise_time[1:] > 0.1).all()
    assert (told.rise_time[1:] <= 0.5).all()


def test_foot_and_rise_are_exact_where_they_are_plain() -> None:
    samples = np.tile(np.concatenate([np.linspace(80, 120, 26), np.linspace(118, 81, 74)]), 5)
    told = pulse_features(samples, 125, np.arange(25, 500, 100))
    assert told.diastolic[1:].tolist() == [80] * 4
    assert told.rise_time[1:].tolist() == [25 / 125] * 4
    assert np.isnan(told.rise_time[0])  # the wave may have been lower before it began
    assert told.systolic.tolist() == [120] * 5


def test_a_foot_in_a_gap_is_none() -> None:
    samples, peaks = pressure(125, np.arange(0.6, 59, 0.9))
    samples[peaks[10] - 70 : peaks[10] - 15] = np.nan
    told = pulse_features(samples, 125, peaks)
    assert np.isnan(told.diastolic[10])
    assert np.isnan(told.rise_time[10])
    assert np.isfinite(told.systolic).all()
    assert np.isfinite(told.diastolic[11:]).all()


def test_nothing_is_told_of_no_pulse() -> None:
    told = pulse_features(np.zeros(9), 125, np.empty(0, np.int64))
    assert all(len(each) == 0 for each in vars(told).values())


def test_amplitude_is_that_of_pulses() -> None:
    samples, _ = pressure(125, np.arange(0.6, 59, 0.9))
    found = detect_beats(samples, 125, "pulse")
    np.testing.assert_array_equal(found.amplitude, pulse_features(samples, 125, found.positions).amplitude)


@pytest.mark.parametrize("kind", ["white", "motion"])
def test_quality_of_pulses_falls_where_there_is_more_noise(kind: str) -> None:
    samples, peaks = pressure(125, np.cumsum(np.random.default_rng(1).normal(0.8, 0.04, 200)))
    means = [
        float(detect_beats(with_noise(samples, peaks, 125, kind, decibels), 125, "pulse").quality.mean())
        for decibels in (24, 18, 12, 6, 0, -6, -12)
    ]
    assert means == sorted(means, reverse=True)
    assert means[0] > 0.9
    assert means[0] - means[-1] > 0.3
