"""Intervals between beats, and what is told of them: definitions of the Task Force (1996).

Task Force of the European Society of Cardiology and the North American Society of Pacing and Electrophysiology, "Heart
rate variability: standards of measurement, physiological interpretation and clinical use", Circulation 1996,
93:1043-1065. It defines them for intervals between normal beats (NN). Here intervals are between all beats that were
found (RR), as nothing is known of which are normal: where ectopic beats are, SDNN, RMSSD and pNN50 are larger.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scaledproc.extractors.wfdb.beats.detection import Beats


def rr_intervals_ms(beats: Beats, fs: float) -> NDArray[np.float64]:
    """Milliseconds from the beat before to each beat, NaN for the first of each stretch: none crosses a gap.

    Parameters
    ----------
    beats
        What was found.
    fs
        Samples a second.

    Returns
    -------
    Shape (beats,).
    """
    intervals = np.full(len(beats), np.nan)
    if len(beats) > 1:
        steps = np.diff(beats.times) * (1_000 / fs)
        intervals[1:] = np.where(np.diff(beats.stretch) == 0, steps, np.nan)
    return intervals


def heart_rate(intervals: NDArray[np.float64]) -> float:
    """Beats a minute: 60,000 divided by the median interval in ms; NaN where there is none.

    The median, as a few beats that are missed, ectopic, or without a pulse do not change it.

    Parameters
    ----------
    intervals
        In ms, in order of time; NaN where there is none. So it is in the functions below.
    """
    there = intervals[~np.isnan(intervals)]
    return 60_000 / float(np.median(there)) if len(there) else float("nan")


def sdnn(intervals: NDArray[np.float64]) -> float:
    """The standard deviation of intervals in ms, with n - 1; NaN below two of them."""
    there = intervals[~np.isnan(intervals)]
    return float(there.std(ddof=1)) if len(there) > 1 else float("nan")


def rmssd(intervals: NDArray[np.float64]) -> float:
    """The root of the mean squared difference of successive intervals in ms; NaN where no two follow each other."""
    steps = _successive_differences(intervals)
    return float(np.sqrt((steps * steps).mean())) if len(steps) else float("nan")


def pnn50(intervals: NDArray[np.float64]) -> float:
    """The share, from 0 to 1, of successive intervals that differ by more than 50 ms; NaN where no two follow."""
    steps = _successive_differences(intervals)
    return float((np.abs(steps) > 50).mean()) if len(steps) else float("nan")


def _successive_differences(intervals: NDArray[np.float64]) -> NDArray[np.float64]:
    steps = np.diff(intervals)
    return steps[~np.isnan(steps)]
