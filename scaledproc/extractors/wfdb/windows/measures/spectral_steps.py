"""The steps of spectra that gain by compiling, where numba is installed; both ways give the same values.

Each does the same operations in the same order as numpy does in `spectra`: sums by halves, as numpy's of a row.
"""

# numba gives the variables their types, which mypy cannot follow.
# mypy: disable-error-code="index, operator"

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from scaledproc.extractors.wfdb.beats.compiled import calling


class Steps(NamedTuple):
    """Compiled functions."""

    segments: Any
    powers: Any
    logarithms: Any


def compiled_steps() -> Steps:
    """The steps, compiled or loaded from where an earlier process kept them.

    Raises
    ------
    ImportError
        If numba is not installed.
    """
    from numba import njit

    compiling: Any = njit(cache=True, nogil=True, error_model="numpy")
    total = compiling(calling(_sum, _short_sum=compiling(_short_sum)))
    made = Steps(compiling(calling(_segments, _sum=total)), compiling(_powers), compiling(_logarithms))
    # What cannot be compiled or kept fails here, and not at the first window.
    one, starts = np.ones((1, 1, 8)), np.zeros(1, np.int64)
    made.segments(np.ones(8, np.int32), starts, 8, 0, 8, np.ones(8), np.empty(8), one)
    made.powers(np.ones((1, 1, 5), np.complex128), np.ones(5), np.empty((1, 4)))
    made.logarithms(np.ones((1, 4)), np.zeros((1, 4), np.int64), np.ones((1, 4)), 0.5)
    return made


def _sum(values: Any, first: int, n: int) -> Any:
    """The sum of some values, added up in numpy's order for such a row: by halves, down to 128 or fewer."""
    # Of each half that waits for the other one: where that is, whether it is at work, and the sum of this one.
    firsts, lengths = np.empty(48, np.int64), np.empty(48, np.int64)
    is_second, sums = np.empty(48, np.bool_), np.empty(48)
    waiting = 0
    while True:
        while n > 128:
            half = n // 2
            half -= half % 8
            firsts[waiting], lengths[waiting], is_second[waiting] = first + half, n - half, False
            waiting += 1
            n = half
        total = _short_sum(values, first, n)
        while waiting > 0 and is_second[waiting - 1]:
            waiting -= 1
            total = sums[waiting] + total
        if waiting == 0:
            return total
        sums[waiting - 1], is_second[waiting - 1] = total, True
        first, n = firsts[waiting - 1], lengths[waiting - 1]


def _short_sum(values: Any, first: int, n: int) -> Any:
    """The same of at most 128."""
    if n < 8:
        few = 0.0
        for i in range(n):
            few += values[first + i]
        return few
    a, b, c, d = values[first], values[first + 1], values[first + 2], values[first + 3]
    e, f, g, h = values[first + 4], values[first + 5], values[first + 6], values[first + 7]
    whole = n - n % 8
    for i in range(first + 8, first + whole, 8):
        a += values[i]
        b += values[i + 1]
        c += values[i + 2]
        d += values[i + 3]
        e += values[i + 4]
        f += values[i + 5]
        g += values[i + 6]
        h += values[i + 7]
    total = ((a + b) + (c + d)) + ((e + f) + (g + h))
    for i in range(first + whole, first + n):
        total += values[i]
    return total


def _segments(
    samples: Any, starts: Any, length: int, missing: int, hop: int, weights: Any, line: Any, segments: Any
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
                at = s * hop
                whole = np.int64(0)  # as floats they would be added up to the same: no sum of them is rounded
                for i in range(at, at + n):
                    whole += window[i]
                mean = whole / n
                for i in range(n):
                    segments[w, s, i] = (window[at + i] - mean) * weights[i]
            continue
        before, behind = max(-start, 0), min(length, len(samples) - start)
        gone = before + length - behind
        for i in range(before, behind):
            value = samples[start + i]
            line[i] = value
            gone += value == missing
        if gone:
            last = -1  # the last valid sample
            for i in range(length + 1):
                if i < length and (i < before or i >= behind or samples[start + i] == missing):
                    continue
                if i - last > 1:  # a run of missing ones ends
                    low = line[last] if last >= 0 else line[i]
                    high = line[i] if i < length else line[last]
                    left = last if last >= 0 else i
                    right = i if i < length else last
                    slope = (high - low) / max(right - left, 1)
                    for j in range(last + 1, i):
                        line[j] = low + slope * (j - left)
                last = i
        for s in range(segments.shape[1]):
            at = s * hop
            mean = _sum(line, at, n) / n
            for i in range(n):
                segments[w, s, i] = (line[at + i] - mean) * weights[i]


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


def _logarithms(m: Any, exponents: Any, shares: Any, log_2: float) -> None:
    """`spectra._logarithms`."""
    for row in range(m.shape[0]):
        for i in range(m.shape[1]):
            s = (m[row, i] - 1) / (m[row, i] + 1)
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
            series += exponents[row, i] * log_2
            shares[row, i] = series * shares[row, i]
