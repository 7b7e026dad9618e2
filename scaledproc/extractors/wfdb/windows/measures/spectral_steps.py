"""The steps of spectra that gain by compiling, where numba is installed; both ways give the same values.

Each does the same operations in the same order as numpy does in `spectra`: sums by halves, as numpy's of a row.
"""

# numba gives the variables their types, which mypy cannot follow.
# mypy: disable-error-code="index, operator"

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from scaledproc.extractors.wfdb.machine_code import Entry

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scaledproc.extractors.wfdb.machine_code import Functions

_GROUP = 64
"""Samples that are searched at once for a missing one."""


class Steps(NamedTuple):
    """Compiled functions."""

    segments: Any
    powers: Any
    summed: Any


def compiled_steps(functions: Functions) -> Steps:
    """The steps, of what is compiled."""
    segments, summed = functions["segments"], functions["summed"]

    def segments_of(*values: Any) -> None:
        segments(*values, *_room_for_halves())

    def summed_of(power: NDArray[np.float64], *values: Any) -> None:
        n = power.shape[1]
        summed(power, *values, *np.empty((3, n)), np.empty(n, np.int64), *_room_for_halves())

    return Steps(segments_of, functions["powers"], summed_of)


def _room_for_halves() -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Room for what `_sum` notes of halves that wait for their other ones."""
    return np.zeros((3, 48), np.int64), np.zeros(48)


def _sum(values: Any, first: int, n: int, halves: Any, sums: Any) -> Any:
    """The sum of some values, added up in numpy's order for such a row: by halves, down to 128 or fewer."""
    # Of each half that waits for the other one: where that is, whether it is at work, and the sum of this one.
    firsts, lengths, is_second = halves[0], halves[1], halves[2]
    waiting = 0
    while True:
        while n > 128:
            half = n // 2
            half -= half % 8
            firsts[waiting], lengths[waiting], is_second[waiting] = first + half, n - half, 0
            waiting += 1
            n = half
        total = _short_sum(values, first, n)
        while waiting > 0 and is_second[waiting - 1] != 0:
            waiting -= 1
            total = sums[waiting] + total
        if waiting == 0:
            return total
        sums[waiting - 1], is_second[waiting - 1] = total, 1
        first, n = firsts[waiting - 1], lengths[waiting - 1]


def _short_sum(values: Any, first: int, n: int) -> Any:
    """The sum of at most 128 values."""
    if n < 8:
        few = 0.0
        for i in range(n):
            few += values[first + i]
        return few
    some = values[first : first + n]
    a, b, c, d, e, f, g, h = some[0], some[1], some[2], some[3], some[4], some[5], some[6], some[7]
    whole = n - n % 8
    for eight in range(1, whole // 8):
        at = np.uint64(8) * np.uint64(eight)  # of which it is known that it does not count from the end
        a += some[at]
        b += some[at + np.uint64(1)]
        c += some[at + np.uint64(2)]
        d += some[at + np.uint64(3)]
        e += some[at + np.uint64(4)]
        f += some[at + np.uint64(5)]
        g += some[at + np.uint64(6)]
        h += some[at + np.uint64(7)]
    total = ((a + b) + (c + d)) + ((e + f) + (g + h))
    for last in range(whole, n):
        total += some[last]
    return total


def _segments(
    samples: Any,
    starts: Any,
    length: int,
    missing: int,
    hop: int,
    weights: Any,
    line: Any,
    segments: Any,
    halves: Any,
    sums_of_halves: Any,
) -> None:
    """The segments of windows, missing samples interpolated, without their means, and weighted.

    `line` is room for a window; `segments` has the shape (windows, segments, samples) and is filled.
    """
    n = segments.shape[2]
    for w in range(len(starts)):
        start = starts[w]
        has_all = start >= 0 and start + length <= len(samples)
        if has_all:
            window = samples[start : start + length]
            lowest = window[0]
            for i in range(1, length):
                lowest = min(lowest, window[i])
            has_all = lowest != missing  # which is lower than all others
        if has_all:
            for s in range(segments.shape[1]):
                part, out = window[s * hop : s * hop + n], segments[w, s]
                whole = np.int64(0)  # as floats they would be added up to the same: no sum of them is rounded
                for i in range(n):
                    whole += part[i]
                mean = whole / n
                for i in range(n):
                    out[i] = (part[i] - mean) * weights[i]
            continue
        _fill_line(samples, start, length, missing, line)
        for s in range(segments.shape[1]):
            values, out = line[s * hop : s * hop + n], segments[w, s]
            mean = _sum(values, 0, n, halves, sums_of_halves) / n
            for i in range(n):
                out[i] = (values[i] - mean) * weights[i]


def _fill_line(samples: Any, start: int, length: int, missing: int, line: Any) -> None:
    """A window of which samples are missing: these on a straight line between their neighbours."""
    before, behind = max(-start, 0), min(length, len(samples) - start)
    there, values = samples[start + before : start + behind], line[before:behind]
    for i in range(len(there)):
        values[i] = there[i]
    last = -1  # the last valid sample
    i = before
    while i < length:
        if last == i - 1 and i + _GROUP <= behind:  # nearly always all of some are there
            group = there[i - before : i - before + _GROUP]
            gone = np.int32(0)
            for j in range(_GROUP):
                gone += np.int32(group[j] == missing)
            if gone == 0:
                i += _GROUP
                last = i - 1
                continue
        for j in range(i, min(i + _GROUP, length)):
            if j >= behind or there[j - before] == missing:
                continue
            if j - last > 1:  # a run of missing ones ends
                _interpolate(line, last, j, length)
            last = j
        i += _GROUP
    if length - last > 1:
        _interpolate(line, last, length, length)


def _interpolate(line: Any, last: int, i: int, length: int) -> None:
    """Fill in what lies between two valid samples, or before the first or after the last one."""
    low = line[last] if last >= 0 else line[i]
    high = line[i] if i < length else line[last]
    left = last if last >= 0 else i
    right = i if i < length else last
    slope = (high - low) / max(right - left, 1)
    for j in range(last + 1, i):
        line[j] = low + slope * (j - left)


def _powers(transformed: Any, scale: Any, power: Any) -> None:
    """The power at each frequency but 0: squares of real and of imaginary parts, each added up over the segments."""
    for w in range(transformed.shape[0]):
        for k in range(1, transformed.shape[2]):
            real = 0.0
            imaginary = 0.0
            for s in range(transformed.shape[1]):
                value = transformed[w, s, k]
                real += value.real * value.real
                imaginary += value.imag * value.imag
            power[w, k - 1] = (real + imaginary) * scale[k]


def _summed(
    power: Any,
    bands: Any,
    share: float,
    bits_of_sqrt_half: int,
    log_2: float,
    sums: Any,
    places: Any,
    entropies: Any,
    below: Any,
    exponents: Any,
    terms: Any,
    bits_of_m: Any,
    halves: Any,
    sums_of_halves: Any,
) -> None:
    """What `spectra.Welch._summed` tells; `bands` are places among the frequencies, `power` is written over.

    What follows the entropies is room for as many numbers as there are frequencies each, and for `_sum`.
    """
    n = power.shape[1]
    m = bits_of_m.view(np.float64)
    for w in range(len(power)):
        row = power[w]
        total = _sum(row, 0, n, halves, sums_of_halves)
        sums[w, 0] = total
        for band in range(len(bands)):
            first = bands[band, 0]
            sums[w, band + 1] = _sum(row, first, bands[band, 1] - first, halves, sums_of_halves)
        added = 0.0
        for i in range(n):
            added += row[i]
            below[i] = added
        wanted = share * added
        edge = 0
        while edge < n and below[edge] < wanted:
            edge += 1
        by = total if total > 0 else 1.0
        for i in range(n):
            row[i] /= by
        peak = 0
        most = np.float32(row[0])
        for i in range(n):
            single = np.float32(row[i])
            if single > most:
                peak, most = i, single
        places[w, 0], places[w, 1] = peak, edge
        # `spectra._entropies`, whose logarithms are those of `m * 2**exponent`.
        bits = row.view(np.int64)
        for i in range(n):
            exponent = (bits[i] - bits_of_sqrt_half) >> 52
            exponents[i] = exponent
            bits_of_m[i] = bits[i] - (exponent << 52)
        for i in range(n):
            s = (m[i] - 1) / (m[i] + 1)
            square = s * s
            series = square * (1 / 9)
            series += 1 / 7
            series *= square
            series += 1 / 5
            series *= square
            series += 1 / 3
            series *= square
            series += 1
            series *= s
            series *= 2
            series += exponents[i] * log_2
            terms[i] = row[i] * series
        entropies[w] = -(0.0 + _sum(terms, 0, n, halves, sums_of_halves))


def _try_segments() -> list[Any]:
    """Three windows of which one begins before the samples, and one has missing ones."""
    samples = (np.arange(40) * 7 % 11 - 5).astype(np.int32)
    samples[[17, 18, 25]] = -(2**15)
    starts, line, segments = np.array([-2, 3, 14]), np.zeros(12), np.zeros((3, 2, 8))
    return [samples, starts, 12, -(2**15), 4, np.linspace(0, 1, 8), line, segments, *_room_for_halves()]


def _try_powers() -> list[Any]:
    values = np.arange(30.0).reshape(2, 3, 5) % 7
    return [values + 1j * (values * 3 % 5), np.arange(5.0) / 3, np.zeros((2, 4))]


def _try_summed() -> list[Any]:
    power = np.arange(600.0).reshape(2, 300) * 7.1 % 13
    bands = np.array([[0, 4], [3, 200]])
    bits = int(np.float64(math.sqrt(0.5)).view(np.int64))
    found = [np.zeros((2, 3)), np.zeros((2, 2), np.int64), np.zeros(2)]
    room = [np.zeros(300), np.zeros(300), np.zeros(300), np.zeros(300, np.int64), *_room_for_halves()]
    return [power, bands, 0.95, bits, math.log(2), *found, *room]


_HALVES = "int64[:,::1], float64[::1]"
ENTRIES = {
    "segments": Entry(
        _segments,
        f"int32[::1], int64[::1], int64, int64, int64, float64[::1], float64[::1], float64[:,:,::1], {_HALVES}",
        [_try_segments],
    ),
    "powers": Entry(_powers, "complex128[:,:,::1], float64[::1], float64[:,::1]", [_try_powers]),
    "summed": Entry(
        _summed,
        "float64[:,::1], int64[:,::1], float64, int64, float64, float64[:,::1], int64[:,::1], float64[::1], "
        f"float64[::1], float64[::1], float64[::1], int64[::1], {_HALVES}",
        [_try_summed],
    ),
}
"""What is compiled with the kernel."""
