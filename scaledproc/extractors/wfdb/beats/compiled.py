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

    peaks: Any
    bands: Any
    vertices: Any
    spans: Any
    feet: Any
    shapes: Any
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
    lone = compiling(_not_overshadowed)
    made = CompiledFunctions(
        compiling(calling(_peaks, _reaching=compiling(_reaching), _sums=sums, _band=band, _not_overshadowed=lone)),
        compiling(calling(_bands, _band=band)),
        compiling(_vertices),
        compiling(_spans),
        compiling(_feet),
        compiling(_shapes),
        lone,
        compiling(calling(decide, middle=compiling(_middle))),
    )
    # What cannot be compiled or kept fails here, and not at the first beat.
    nothing, eight = np.zeros(0), np.zeros(8)
    made.peaks(np.zeros(9, np.int32), 0, 9, 0, 9, 4, 5, 2, 3, 1, 2, False, 1, 1)
    first = np.zeros(1, np.int64)
    made.vertices(made.bands(np.zeros(9, np.int32), first, 1, 1, 2, 3), np.ones(1, bool))
    made.spans(np.zeros(9), first, 1)
    made.feet(np.zeros(9), first, first)
    made.shapes(np.zeros(9, np.int32), first, first, 2)
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


def _peaks(
    values: Any,
    first: int,
    last: int,
    start: int,
    stop: int,
    before: int,
    after: int,
    low: int,
    high: int,
    step: int,
    window: int,
    rising: bool,
    reach: int,
    bin_size: int,
) -> Any:
    """What `filtering.find_peaks` tells of the sums from `start` to `stop`, of those from `first` to `last`."""
    band = _band(_reaching(values, first - before, last + after), low, high)
    slopes = np.empty(len(band) - step, np.int64)
    for i in range(len(slopes)):
        slope = band[i + step] - band[i]
        slopes[i] = slope if slope >= 0 else (0 if rising else -slope)
    sums = np.empty(len(slopes) - window + 1, np.int64)
    _sums(slopes, window, sums)
    places = np.empty(len(sums) // 2 + 1, np.int64)
    heights = np.empty(len(sums) // 2 + 1, np.int64)
    n = 0
    for i in range(1, len(sums) - 1):
        if sums[i] > sums[i - 1] and sums[i] >= sums[i + 1]:
            places[n], heights[n] = i, sums[i]
            n += 1
    kept = _not_overshadowed(places[:n], heights[:n], float(reach))
    steepest = np.empty(n, np.int64)
    found = 0
    for peak in range(n):
        place = places[peak]
        if kept[peak] and start - first <= place < stop - first:
            most = slopes[place]
            for i in range(place + 1, place + window):
                most = max(most, slopes[i])
            places[found], heights[found], steepest[found] = place + first, heights[peak], most
            found += 1
    bins = np.zeros((stop - start) // bin_size, np.int64)
    at = start - first
    for number in range(len(bins)):
        total = np.int64(0)
        for i in range(at, at + bin_size):
            total += sums[i]
        bins[number] = total
        at += bin_size
    return places[:found].copy(), heights[:found].copy(), steepest[:found], bins


def _reaching(values: Any, start: int, stop: int) -> Any:
    """`filtering._reaching`."""
    n = len(values)
    out = np.empty(stop - start, np.int64)
    begin, end = max(start, 0), min(stop, n)
    for i in range(begin, end):
        out[i - start] = values[i]
    for i in range(start, begin):
        out[i - start] = values[0]
    for i in range(end, stop):
        out[i - start] = values[n - 1]
    return out


def _bands(values: Any, places: Any, before: int, after: int, low: int, high: int) -> Any:
    """`fiducials._band`."""
    n = len(values)
    half = low - 1 + high // 2
    inside = np.empty(before + after + 1 + 2 * half, np.int64)
    found = np.empty((len(places), before + after + 1), np.int64)
    for row in range(len(places)):
        start = places[row] - before - half
        for i in range(len(inside)):
            inside[i] = values[min(max(start + i, 0), n - 1)]
        found[row] = _band(inside, low, high)
    return found


def _vertices(rows: Any, is_up: Any) -> Any:
    """`fiducials._vertices`."""
    found = np.empty(len(rows))
    width = rows.shape[1]
    for row in range(len(rows)):
        values, upwards = rows[row], is_up[row]
        at = 0
        for i in range(1, width):
            if values[i] > values[at] if upwards else values[i] < values[at]:
                at = i
        shift = 0.0
        if 0 < at < width - 1:
            left, middle, right = values[at - 1], values[at], values[at + 1]
            bend = 2 * middle - left - right if upwards else left + right - 2 * middle
            if bend > 0:
                shift = (right - left if upwards else left - right) / (2 * bend)
                shift = min(max(shift, -0.5), 0.5)
        found[row] = at + shift
    return found


def _spans(samples: Any, positions: Any, reach: int) -> Any:
    """`detection._heights`."""
    found = np.empty(len(positions))
    for beat in range(len(positions)):
        lowest, highest = np.inf, -np.inf
        for i in range(max(positions[beat] - reach, 0), min(positions[beat] + reach + 1, len(samples))):
            if np.isfinite(samples[i]):
                lowest = min(lowest, samples[i])
                highest = max(highest, samples[i])
        found[beat] = highest - lowest
    return found


def _feet(samples: Any, positions: Any, room: Any) -> Any:
    """`pulses._feet`."""
    found = np.full(len(positions), -1, np.int64)
    for beat in range(len(positions)):
        position = positions[beat]
        back = 0
        lowest = samples[position] if np.isfinite(samples[position]) else np.inf
        for by in range(1, min(room[beat], position) + 1):
            value = samples[position - by]
            if np.isfinite(value) and value < lowest:
                back, lowest = by, value
        before = position - back - 1
        if np.isfinite(lowest) and back > 0 and before >= 0 and np.isfinite(samples[before]):
            found[beat] = back
    return found


def _shapes(values: Any, places: Any, wanted: Any, low: int) -> Any:
    """`quality._shapes`."""
    n, points = len(values), len(wanted)
    found = np.empty((len(places), points), np.int64)
    for beat in range(len(places)):
        whole = np.int64(0)
        for point in range(points):
            start = places[beat] + wanted[point] - low // 2
            total = np.int64(0)
            for i in range(start, start + low):
                total += values[min(max(i, 0), n - 1)]
            found[beat, point] = total
            whole += total
        mean = whole // points
        largest = np.int64(1)
        for point in range(points):
            found[beat, point] -= mean
            largest = max(largest, abs(found[beat, point]))
        for point in range(points):
            found[beat, point] = found[beat, point] * 4_096 // largest
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
