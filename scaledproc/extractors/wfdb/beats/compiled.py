"""The steps of the detectors that gain by compiling, where numba is installed; both ways give the same values.

Loading takes half a second in each process, and some seconds on the first run of an installation, when it is
compiled: so it is used only where it is asked for, by `use_compiled`.
"""

from __future__ import annotations

import contextlib
from types import FunctionType
from typing import Any, NamedTuple

import numpy as np


class CompiledFunctions(NamedTuple):
    """Compiled functions."""

    filtered: Any
    band_passed: Any
    maxima: Any
    not_overshadowed: Any
    decide: Any


functions: CompiledFunctions | None = None
_is_tried = False


def use_compiled() -> bool:
    """Detect the compiled way from now on, if that can be had; whether it can."""
    global functions, _is_tried
    if not _is_tried:
        _is_tried = True
        with contextlib.suppress(Exception):  # not installed, or it cannot keep what it compiles: numpy does the same
            functions = make_functions()
    return functions is not None


def make_functions() -> CompiledFunctions:
    """Compile all.

    Raises
    ------
    ImportError
        If numba is not installed.
    """
    from numba import njit

    from scaledproc.extractors.wfdb.beats.decision import decide

    compiling: Any = njit(cache=True, nogil=True)
    sums = compiling(_sums)
    band = compiling(calling(_band, _sums=sums))
    made = CompiledFunctions(
        compiling(calling(_filtered, _sums=sums, _band=band)),
        compiling(calling(_band_passed, _band=band)),
        compiling(_maxima),
        compiling(_not_overshadowed),
        compiling(calling(decide, middle=compiling(_middle))),
    )
    # What cannot be compiled or kept fails here, and not at the first beat.
    nothing, eight = np.zeros(0), np.zeros(8)
    made.maxima(made.filtered(np.zeros(9, np.int64), 2, 3, 1, 2, False)[1])
    made.band_passed(np.zeros((1, 9), np.int64), 2, 3)
    made.not_overshadowed(np.zeros(0, np.int64), np.zeros(0, np.int64), 1.0)
    made.not_overshadowed(nothing, np.zeros(0, np.int64), 1.0)
    made.decide(
        nothing, nothing, nothing, np.zeros(1, np.int64), nothing, nothing, 1.0, np.zeros(0, bool), *[eight] * 3
    )
    return made


def calling(function: Any, **others: Any) -> FunctionType:
    """The same lines, with other functions by the names that they call: compiled ones, or another way to the same."""
    return FunctionType(function.__code__, {**function.__globals__, **others}, function.__name__)


def _sums(values: Any, length: int, out: Any) -> None:
    """`filtering.moving_sum`, as a running one."""
    total = np.int64(0)
    for i in range(length - 1):
        total += values[i]
    for i in range(len(out)):
        total += values[i + length - 1]
        out[i] = total
        total -= values[i]


def _band(values: Any, low: int, high: int) -> Any:
    """`filtering.band_passed` of one signal."""
    once = np.empty(len(values) - low + 1, np.int64)
    _sums(values, low, once)
    twice = np.empty(len(once) - low + 1, np.int64)
    _sums(once, low, twice)
    if high == 0:
        return twice
    margin = high // 2
    passed = np.empty(len(twice) - high + 1, np.int64)
    _sums(twice, high, passed)
    for i in range(len(passed)):
        passed[i] = twice[i + margin] * high - passed[i]
    return passed


def _filtered(values: Any, low: int, high: int, step: int, window: int, rising: bool) -> Any:
    """`filtering.filtered`."""
    band = _band(values, low, high)
    slopes = np.empty(len(band) - step, np.int64)
    for i in range(len(slopes)):
        slope = band[i + step] - band[i]
        slopes[i] = slope if slope >= 0 else (0 if rising else -slope)
    sums = np.empty(len(slopes) - window + 1, np.int64)
    _sums(slopes, window, sums)
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


def _band_passed(rows: Any, low: int, high: int) -> Any:
    """`filtering.band_passed` of rows."""
    found = np.empty((rows.shape[0], rows.shape[1] - 2 * (low - 1) - 2 * (high // 2)), np.int64)
    for row in range(rows.shape[0]):
        found[row] = _band(rows[row], low, high)
    return found


def _not_overshadowed(places: Any, heights: Any, reach: float) -> Any:
    """`filtering.not_overshadowed`, each place with those behind it."""
    kept = np.ones(len(places), np.bool_)
    for i in range(len(places)):
        j = i + 1
        while j < len(places) and places[j] - places[i] < reach:
            if heights[j] <= heights[i]:
                kept[j] = False
            else:
                kept[i] = False
            j += 1
    return kept


def _middle(values: Any) -> Any:
    """`decision.middle`, by insertion, without a list."""
    ordered = np.empty(8)
    for k in range(8):
        value = values[k]
        at = k
        while at > 0 and ordered[at - 1] > value:
            ordered[at] = ordered[at - 1]
            at -= 1
        ordered[at] = value
    return (ordered[3] + ordered[4]) / 2
