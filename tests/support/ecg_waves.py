"""Leads, pulse waves and noise of known kind, for the tests of beats."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import signal

# Waves of a beat: seconds from the R peak, width (standard deviation, seconds), height (mV).
SHAPES = {
    "narrow": [(-0.17, 0.02, 0.12), (-0.03, 0.008, -0.1), (0, 0.01, 1.0), (0.028, 0.009, -0.2), (0.28, 0.05, 0.25)],
    "inverted": [(-0.17, 0.02, 0.1), (-0.03, 0.008, 0.1), (0, 0.011, -0.9), (0.03, 0.01, 0.15), (0.28, 0.05, -0.2)],
    "wide": [(-0.19, 0.02, 0.1), (-0.03, 0.02, 0.5), (0.02, 0.025, 0.8), (0.3, 0.06, -0.3)],
    "tall T": [(-0.17, 0.02, 0.12), (-0.03, 0.008, -0.1), (0, 0.01, 0.7), (0.03, 0.01, -0.4), (0.27, 0.04, 0.9)],
    "large P": [(-0.18, 0.025, 0.25), (-0.03, 0.008, -0.1), (0, 0.011, 0.8), (0.03, 0.009, -0.15), (0.28, 0.05, 0.2)],
    "small": [(-0.17, 0.02, 0.015), (0, 0.01, 0.1), (0.025, 0.009, -0.04), (0.28, 0.05, 0.03)],
    "brief": [(-0.09, 0.015, 0.08), (0, 0.009, 0.8), (0.02, 0.008, -0.3), (0.13, 0.02, 0.15)],
    "ventricular": [(-0.02, 0.03, 2.6), (0.06, 0.035, -1.6), (0.33, 0.07, -0.6)],
    "P alone": [(-0.18, 0.025, 0.12)],
}


def ecg(fs: float, times: NDArray[np.float64], shape: str) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """A lead that ends half a second after the last beat, and the samples of the R peaks."""
    at = np.arange(int((times[-1] + 0.5) * fs)) / fs
    samples = np.zeros(len(at))
    for time in times.tolist():
        first, last = np.searchsorted(at, [time - 0.5, time + 0.7])
        for later, width, height in SHAPES[shape]:
            samples[first:last] += height * np.exp(-0.5 * ((at[first:last] - time - later) / width) ** 2)
    return samples, np.rint(times * fs).astype(np.int64)


def pressure(fs: float, times: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Blood pressure of 80 to 120 mmHg with a dicrotic wave, and the samples of the systolic peaks."""
    at = np.arange(int((times[-1] + 0.5) * fs)) / fs
    samples = np.full(len(at), 80.0)
    for time in times.tolist():
        samples += 40 * np.exp(-0.5 * ((at - time) / np.where(at < time, 0.06, 0.12)) ** 2)
        samples += 8 * np.exp(-0.5 * ((at - time - 0.33) / 0.05) ** 2)
    return samples, np.rint(times * fs).astype(np.int64)


def with_noise(
    samples: NDArray[np.float64], beats: NDArray[np.int64], fs: float, kind: str, decibels: float
) -> NDArray[np.float64]:
    """Noise at a signal-to-noise ratio as the MIT-BIH Noise Stress Test Database defines it.

    There the power of the signal is an eighth of the squared mean height of QRS complexes.
    """
    rng = np.random.default_rng(7)
    noise = rng.normal(size=len(samples))
    if kind == "muscle":
        noise = signal.sosfiltfilt(signal.butter(2, [8, 60], "band", fs=fs, output="sos"), noise)
    elif kind == "motion":
        steps = np.where(rng.random(len(samples)) < 2 / fs, rng.normal(size=len(samples)), 0)
        noise = signal.lfilter([1], [1, -np.exp(-1 / (0.15 * fs))], steps)
        noise += 0.3 * signal.sosfiltfilt(
            signal.butter(1, [0.3, 8], "band", fs=fs, output="sos"), rng.normal(size=len(samples))
        )
    reach = int(0.05 * fs)
    heights = [np.ptp(samples[max(at - reach, 0) : at + reach + 1]) for at in beats]
    power = np.mean(heights) ** 2 / 8
    noisy: NDArray[np.float64] = samples + noise / noise.std() * np.sqrt(power / 10 ** (decibels / 10))
    return noisy
