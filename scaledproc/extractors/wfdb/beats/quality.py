"""How sure it is that a beat is one: from 0, where beats look as noise does, to 1."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from scaledproc.extractors.wfdb.beats.fiducials import AT_ONCE, windows
from scaledproc.extractors.wfdb.beats.filtering import Peaks, moving_sum

if TYPE_CHECKING:
    from numpy.typing import NDArray

QRS_S = 0.12
"""To both sides of an R peak; what is farther away and nearer than a second is no part of the complex."""
NOISE_SHARE = 0.5
"""So much of a beat's height the mean between beats has in noise alone."""
PULSE_S = (-0.3, 0.4)
"""What is compared of a pulse, around its systolic peak."""
POINTS = 28
"""Values of that which are compared."""
NEIGHBOURS = 7
"""Pulses before and behind a pulse that make its template."""


def qrs_quality(
    peaks: Peaks, places: NDArray[np.int64], heights: NDArray[np.int64], fs: float, n: int
) -> NDArray[np.float64]:
    """From how the summed slopes between beats compare with those of a beat: 1 where there are none, 0 at half or more.

    Parameters
    ----------
    peaks
        What the first stage gave.
    places, heights
        Of the beats.
    fs, n
        Values a second; how many there are.
    """
    size = peaks.bin_size
    sums = np.concatenate([[0], np.cumsum((peaks.bins // size) >> 12)])
    last = len(peaks.bins)

    def between(start: NDArray[Any], stop: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        first = np.clip(np.ceil(start / size).astype(np.int64), 0, last)
        behind = np.maximum(np.clip((stop // size).astype(np.int64), 0, last), first)
        return sums[behind] - sums[first], behind - first

    margin = QRS_S * fs
    before = np.concatenate([[-np.inf], places[:-1].astype(np.float64)]) if len(places) else np.empty(0)
    behind = np.concatenate([places[1:].astype(np.float64), [np.inf]]) if len(places) else np.empty(0)
    left, n_left = between(np.maximum(np.maximum(before + margin, places - fs), 0), places - margin)
    right, n_right = between(places + margin, np.minimum(np.minimum(behind - margin, places + fs), n))
    counted = n_left + n_right
    level = (left + right) / np.maximum(counted, 1)
    share = level / np.maximum(heights >> 12, 1)
    return np.where(counted > 0, np.clip(1 - share / NOISE_SHARE, 0, 1), 0.0)


def pulse_quality(values: NDArray[np.int32], times: NDArray[np.float64], fs: float, low: int) -> NDArray[np.float64]:
    """The correlation of a pulse with the mean of those around it, 0 where it is negative or there are no others.

    After C. Orphanidou et al., "Signal-quality indices for the electrocardiogram and photoplethysmogram", IEEE J
    Biomed Health Inform 2015, 19:832-838, who compare with the mean of all pulses in 10 s and take 0.86 for good.

    Parameters
    ----------
    values
        The signal, shape (n,).
    times
        Of the systolic peaks.
    fs
        Values a second.
    low
        Length of the moving average that smoothes.
    """
    n = len(times)
    if n < 2:
        return np.zeros(n)
    shapes = _shapes(values, np.rint(times).astype(np.int64), compared(fs), low)
    sums = np.concatenate([np.zeros((1, POINTS), np.int64), np.cumsum(shapes, axis=0)])
    at = np.arange(n)
    template = sums[np.minimum(at + NEIGHBOURS + 1, n)] - sums[np.maximum(at - NEIGHBOURS, 0)] - shapes
    # Sums of whole numbers below 2**53, so these are exact in any order.
    product, own, theirs = (
        (a * b).sum(axis=1) for a, b in ((shapes, template), (shapes, shapes), (template, template))
    )
    scale = np.sqrt(own.astype(np.float64)) * np.sqrt(theirs.astype(np.float64))
    return np.where(scale > 0, np.clip(product / np.where(scale > 0, scale, 1), 0, 1), 0.0)


@lru_cache(16)
def compared(fs: float) -> NDArray[np.int64]:
    """The offsets from the peak of what is compared of a pulse, in values."""
    return np.rint(np.linspace(PULSE_S[0] * fs, PULSE_S[1] * fs, POINTS)).astype(np.int64)


def _shapes(
    values: NDArray[np.int32], places: NDArray[np.int64], wanted: NDArray[np.int64], low: int
) -> NDArray[np.int64]:
    """Each pulse at the wanted offsets from its peak, smoothed, without its mean, in parts of its largest value."""
    shapes = np.empty((len(places), POINTS), np.int64)
    offsets = np.arange(wanted[0] - low // 2, wanted[-1] + low - low // 2)
    for start in range(0, len(places), AT_ONCE):
        smooth = moving_sum(windows(values, places[start : start + AT_ONCE], offsets), low)[:, wanted - wanted[0]]
        smooth -= smooth.sum(axis=1, keepdims=True) // POINTS
        largest = np.maximum(np.abs(smooth).max(axis=1, keepdims=True), 1)
        shapes[start : start + AT_ONCE] = smooth * 4_096 // largest
    return shapes
