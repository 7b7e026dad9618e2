"""The pulse detector of Elgendi et al. as it was published, which the project's own is weighed against.

M. Elgendi, I. Norton, M. Brearley, D. Abbott and D. Schuurmans, "Systolic peak detection in acceleration
photoplethysmograms measured from emergency responders in tropical conditions", PLoS ONE 2013, 8(10):e76585,
doi:10.1371/journal.pone.0076585.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import signal

PEAK_S, BEAT_S, OFFSET = 0.111, 0.667, 0.02
"""Lengths of the two moving averages, and the share of the mean by which the threshold lies above the longer one."""


def elgendi_2013(samples: NDArray[np.float64], fs: float) -> NDArray[np.int64]:
    """The systolic peaks of a pulse wave; missing samples are interpolated, as the detector knows of none."""
    is_valid = np.isfinite(samples)
    if not is_valid.any():
        return np.empty(0, np.int64)
    at = np.arange(len(samples))
    whole = np.interp(at, at[is_valid], samples[is_valid])
    passed = signal.sosfiltfilt(signal.butter(2, [0.5, 8], "bandpass", fs=fs, output="sos"), whole)
    squared = np.maximum(passed, 0) ** 2
    of_peak, of_beat = (_moving_mean(squared, round(length * fs)) for length in (PEAK_S, BEAT_S))
    is_block = of_peak > of_beat + OFFSET * squared.mean()
    edges = np.flatnonzero(np.diff(np.concatenate([[False], is_block, [False]]).astype(np.int8)))
    blocks = [(start, stop) for start, stop in edges.reshape(-1, 2).tolist() if stop - start >= PEAK_S * fs]
    return np.array([start + int(squared[start:stop].argmax()) for start, stop in blocks], np.int64)


def _moving_mean(values: NDArray[np.float64], length: int) -> NDArray[np.float64]:
    return np.convolve(values, np.full(length, 1 / length), "same")
