"""The steps of the detectors that gain by compiling, where numba is installed; both ways give the same values.

Loading takes half a second in each process, and some seconds on the first run of an installation, when it is
compiled: so it is used only where it is asked for, by `use_compiled`.
"""

from __future__ import annotations

import contextlib
from typing import Any, NamedTuple

import numpy as np


class Ways(NamedTuple):
    """Compiled functions."""

    filtered: Any
    maxima: Any
    decide: Any


ways: Ways | None = None
_is_tried = False


def use_compiled() -> bool:
    """Detect the compiled way from now on, if that can be had; whether it can."""
    global ways, _is_tried
    if not _is_tried:
        _is_tried = True
        with contextlib.suppress(Exception):  # not installed, or it cannot keep what it compiles: numpy does the same
            ways = make_ways()
    return ways is not None


def make_ways() -> Ways:
    """Compile all.

    Raises
    ------
    ImportError
        If numba is not installed.
    """
    from numba import njit

    from scaledproc.extractors.wfdb.beats.decision import decide

    compiling: Any = njit(cache=True, nogil=True)
    made = Ways(compiling(_filtered), compiling(_maxima), compiling(decide))
    # What cannot be compiled or kept fails here, and not at the first beat.
    nothing, eight = np.zeros(0), np.zeros(8)
    made.maxima(made.filtered(np.zeros(9, np.int64), 2, 3, 1, 2, False)[1])
    made.decide(
        nothing, nothing, nothing, np.zeros(1, np.int64), nothing, nothing, 1.0, np.zeros(0, bool), *[eight] * 3
    )
    return made


def _filtered(values: Any, low: int, high: int, step: int, window: int, rising: bool) -> Any:
    """`filtering.filtered`, as running sums."""
    n = len(values)
    once = np.empty(n - low + 1, np.int64)
    total = np.int64(0)
    for i in range(low - 1):
        total += values[i]
    for i in range(len(once)):
        total += values[i + low - 1]
        once[i] = total
        total -= values[i]
    band = np.empty(len(once) - low + 1, np.int64)
    total = np.int64(0)
    for i in range(low - 1):
        total += once[i]
    for i in range(len(band)):
        total += once[i + low - 1]
        band[i] = total
        total -= once[i]
    if high > 0:
        margin = high // 2
        passed = np.empty(len(band) - high + 1, np.int64)
        total = np.int64(0)
        for i in range(high - 1):
            total += band[i]
        for i in range(len(passed)):
            total += band[i + high - 1]
            passed[i] = band[i + margin] * high - total
            total -= band[i]
        band = passed
    slopes = np.empty(len(band) - step, np.int64)
    for i in range(len(slopes)):
        slope = band[i + step] - band[i]
        slopes[i] = slope if slope >= 0 else (0 if rising else -slope)
    sums = np.empty(len(slopes) - window + 1, np.int64)
    total = np.int64(0)
    for i in range(window - 1):
        total += slopes[i]
    for i in range(len(sums)):
        total += slopes[i + window - 1]
        sums[i] = total
        total -= slopes[i]
    return slopes, sums


def _maxima(sums: Any) -> Any:
    """The places of `filtering._maxima`."""
    places = np.empty(len(sums) // 2 + 1, np.int64)
    n = 0
    for i in range(1, len(sums) - 1):
        if sums[i] > sums[i - 1] and sums[i] >= sums[i + 1]:
            places[n] = i
            n += 1
    return places[:n]
