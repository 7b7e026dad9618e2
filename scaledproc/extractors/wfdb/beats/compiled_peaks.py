"""The first stage of the detectors, to be compiled: loops over neighbours that processors do several of at once.

Sums of whole numbers are the same in any order. So a moving sum is made of sums of four, sixteen and so on, each of
which is a simple loop over what the processor's cache holds, instead of one value after the other.
"""

# numba gives the variables their types, which mypy cannot follow.
# mypy: disable-error-code="index, operator"

from __future__ import annotations

from typing import Any

import numpy as np

AT_ONCE = 2**12
"""Sums that are made at once, or more: what comes of them stays in the cache of the processor."""
GROUP = 16
"""Values that are passed over at once where no peak is among them."""


def peaks(
    values: Any,
    lengths: Any,
    reach: int,
    bin_size: int,
    at_once: int,
    is_narrow: bool,
    places: Any,
    heights: Any,
    steepest: Any,
    bins: Any,
    n_found: Any,
    narrow: Any,
    wide: Any,
    is_peak: Any,
) -> None:
    """What `filtering.find_peaks` tells, some sums at a time.

    Parameters
    ----------
    values
        Of the signal.
    lengths
        Those of the filter, shape (5,).
    reach, bin_size
        As `find_peaks` takes them.
    at_once
        Sums at a time, some bins of them.
    is_narrow
        Whether the sums of the low-pass have 32 bits at most.
    places, heights, steepest, bins, n_found
        What is told: of the peaks, and how many they are; no bins where there is no room for any.
    narrow, wide, is_peak
        Room for the sums of `at_once` and of what they are made of, shapes (4, m), (4, m) and (m,).
    """
    low, high, step, window, is_rising = lengths[0], lengths[1], lengths[2], lengths[3], lengths[4] != 0
    before = low - 1 + high // 2 + window // 2
    n = len(values)
    found = 0
    for start in range(0, n, at_once):
        stop = min(start + at_once, n)
        first, last = max(start - reach - 1, 0), min(stop + reach + 1, n)
        n_sums = last - first
        slopes, sums = wide[0, : n_sums + window - 1], wide[1, :n_sums]
        if is_narrow:
            _slopes(values, first - before, low, high, step, is_rising, narrow, slopes)
        else:
            _slopes(values, first - before, low, high, step, is_rising, wide[1:], slopes)
        moving_sum(slopes, window, sums, wide[2], wide[3])
        _mark_peaks(sums, reach, wide[2], wide[3], wide[4], is_peak)
        for group in range(start - first, stop - first, GROUP):
            behind = min(group + GROUP, stop - first)
            own = is_peak[group : group + GROUP]
            n_own = 0
            for i in range(GROUP):
                n_own += own[i]
            if n_own > 0:
                for i in range(group, behind):
                    if is_peak[i]:
                        most = slopes[i]
                        for each in range(i + 1, i + window):
                            most = max(most, slopes[each])
                        places[found], heights[found], steepest[found] = first + i, sums[i], most
                        found += 1
        if len(bins):
            for number in range(start // bin_size, stop // bin_size):
                at = number * bin_size - first
                total = np.int64(0)
                for i in range(at, at + bin_size):
                    total += sums[i]
                bins[number] = total
    n_found[0] = found


def _slopes(values: Any, start: int, low: int, high: int, step: int, is_rising: bool, room: Any, slopes: Any) -> None:
    """Rectified slopes of the band, from the values that `filtering._reaching` has from `start` on.

    What the high-pass takes off is a moving sum: its slope is the difference of two sums as long as a step.
    """
    n = len(slopes)
    n_low = n + step + max(high - 1, 0)
    line, once = room[0, : n_low + 2 * (low - 1)], room[1, : n_low + low - 1]
    reaching(values, start, line)
    moving_sum(line, low, once, room[2], room[3])
    twice = room[0, :n_low]
    moving_sum(once, low, twice, room[2], room[3])
    if high == 0:
        before, behind = twice[:n], twice[step : step + n]
        for i in range(n):
            slopes[i] = np.int64(behind[i]) - np.int64(before[i])
    else:
        centre = high // 2
        stepping = room[1, : n + high]
        moving_sum(twice, step, stepping, room[2], room[3])
        before, behind = twice[centre : centre + n], twice[centre + step : centre + step + n]
        first, last = stepping[:n], stepping[high : high + n]
        for i in range(n):
            passed = (np.int64(behind[i]) - np.int64(before[i])) * high
            slopes[i] = passed - (np.int64(last[i]) - np.int64(first[i]))
    if is_rising:
        for i in range(n):
            slopes[i] = max(slopes[i], 0)
    else:
        for i in range(n):
            slopes[i] = abs(slopes[i])


def reaching(values: Any, start: int, out: Any) -> None:
    """`filtering._reaching`."""
    n = len(values)
    stop = start + len(out)
    for i in range(start, min(stop, 0)):
        out[i - start] = values[0]
    begin, end = min(max(start, 0), n), max(min(stop, n), 0)
    if begin < end:
        _copy(values[begin:end], out[begin - start : end - start])
    for i in range(max(start, n), stop):
        out[i - start] = values[n - 1]


def moving_sum(values: Any, length: int, out: Any, one: Any, other: Any) -> None:
    """`filtering.moving_sum`, by the digits of the length to the base of 4; no array is a part of another one."""
    n = len(out)
    current, power, is_in_one = values, 1, False  # sums of so many values each, and where they are
    summed, done, is_told = values[:n], 0, False  # what is summed up already, of so many values
    while True:
        digit = length // power % 4
        if digit > 0 and done == 0:
            summed, done = current[:n], power
            digit -= 1
            if digit == 0 and power > 1 and 16 * power <= length:  # it would be written over
                _copy(summed, out)
                is_told = True
        if digit > 0 and not is_told:
            _add_up(summed, current[done:], power, digit, out)
            done += digit * power
            is_told, digit = True, 0
        for _ in range(digit):
            more = current[done : done + n]
            for i in range(n):
                out[i] += more[i]
            done += power
        if 4 * power > length:
            break
        if done == 0 and 4 * power == length:
            _add_up(current[:n], current[power:], power, 3, out)
            return
        room = other[: n + length - 4 * power] if is_in_one else one[: n + length - 4 * power]
        _add_up(current[: len(room)], current[power:], power, 3, room)
        current, power, is_in_one = room, 4 * power, not is_in_one
    if not is_told:
        _copy(summed, out)


def _copy(values: Any, out: Any) -> None:
    for i in range(len(out)):
        out[i] = values[i]


def _add_up(summed: Any, values: Any, apart: int, n_terms: int, out: Any) -> None:
    """Add one to three values that are so far apart."""
    n = len(out)
    first = values[:n]
    if n_terms == 1:
        for i in range(n):
            out[i] = summed[i] + first[i]
        return
    second = values[apart : apart + n]
    if n_terms == 2:
        for i in range(n):
            out[i] = summed[i] + first[i] + second[i]
        return
    third = values[2 * apart : 2 * apart + n]
    for i in range(n):
        out[i] = summed[i] + first[i] + second[i] + third[i]


def _mark_peaks(sums: Any, reach: int, heights: Any, one: Any, other: Any, is_peak: Any) -> None:
    """Mark what `filtering._maxima` and `filtering._suppressed` leave, by the highest maxima to both sides."""
    n, width = len(sums), reach - 1
    heights[: width + 1] = 0
    heights[max(width + n - 1, 0) : 2 * width + n + 1] = 0
    before, here, behind, maxima = sums[: n - 2], sums[1 : n - 1], sums[2:], heights[width + 1 :]
    for i in range(n - 2):
        maxima[i] = here[i] if (here[i] > before[i]) & (here[i] >= behind[i]) else 0
    highest, reached, is_in_one = heights[: 2 * width + n + 1], 1, False  # the highest of so many each
    while reached < width:
        more = min(4 * reached, width)
        room = other[: len(highest) - (more - reached)] if is_in_one else one[: len(highest) - (more - reached)]
        m, last = len(room), more - reached
        by, twice = min(reached, last), min(2 * reached, last)
        first, second, third, fourth = highest[:m], highest[by : by + m], highest[twice : twice + m], highest[last:]
        for i in range(m):
            room[i] = max(max(first[i], second[i]), max(third[i], fourth[i]))
        highest, reached, is_in_one = room, more, not is_in_one
    maxima = heights[width : width + n]
    if width == 0:
        for i in range(n):
            is_peak[i] = maxima[i] > 0
        return
    before, behind = highest[:n], highest[width + 1 : width + 1 + n]
    for i in range(n):
        is_peak[i] = (maxima[i] > 0) & (maxima[i] > before[i]) & (maxima[i] >= behind[i])
