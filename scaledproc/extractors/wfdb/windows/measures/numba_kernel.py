"""The integers of windows by a compiled kernel: a few passes over each window, which stays in the processor's cache."""

# numba gives the variables of the kernel their types, which mypy cannot follow.
# mypy: disable-error-code="arg-type, assignment, call-overload, index, operator, type-var"

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from scaledproc.extractors.wfdb.beats.compiled import calling
from scaledproc.extractors.wfdb.windows.measures import fields

if TYPE_CHECKING:
    from scaledproc.extractors.wfdb.windows.measures.fields import Kernel

_BIG, _SMALL = np.int32(2**31 - 1), np.int32(-(2**31))
_CUBE_LOW = (1 << fields.CUBE_BITS) - 1
_FOURTH_LOW, _FOURTH_SHIFT = np.uint64((1 << fields.FOURTH_BITS) - 1), np.uint64(fields.FOURTH_BITS)
_SORTED = 16
"""So many times as many values as samples: sorting the samples costs less than counters of all values."""
_N_SHARES = len(fields.SHARES)


def compiled_kernel() -> Kernel:
    """The kernel, compiled or loaded from where an earlier process kept it.

    Raises
    ------
    ImportError
        If numba is not installed.
    """
    from numba import njit

    compiling: Any = njit(cache=True, nogil=True)
    powers = {"_tell_powers": compiling(_tell_powers)}
    steps = {
        "_runs": compiling(_runs),
        "_sum_steps": compiling(_sum_steps),
        "_sum_powers_of_samples": compiling(calling(_sum_powers_of_samples, **powers)),
        "_sum_powers_of_counts": compiling(calling(_sum_powers_of_counts, **powers)),
    }
    kernel: Any = compiling(calling(_kernel, **steps))
    one = np.zeros(1, np.int64)
    kernel(np.zeros(1, np.int32), one, one + 1, -1, 0, False, np.zeros((1, fields.FIELDS), np.int64))
    return kernel  # type: ignore[no-any-return]


def _kernel(samples: Any, starts: Any, lengths: Any, missing: Any, baseline: Any, is_reversed: Any, table: Any) -> None:
    longest = 1
    for w in range(len(starts)):
        longest = max(longest, min(lengths[w], len(samples)))
    begins = np.empty(longest // 2 + 1, np.int64)  # of runs of valid samples
    ends = np.empty(longest // 2 + 1, np.int64)
    counters = np.empty(fields.WIDEST, np.int32)
    for w in range(len(starts)):
        length = lengths[w]
        before = min(max(-starts[w], 0), length)
        begin = max(starts[w], 0)
        end = min(starts[w] + length, len(samples))
        m = max(end - begin, 0)
        after = length - before - m
        x = samples[begin : begin + m]
        out = table[w]
        total = np.int64(0)
        lowest = _BIG
        highest = _SMALL
        for i in range(m):
            total += x[i]
            lowest = min(lowest, x[i])
            highest = max(highest, x[i])
        n = m
        gap = max(before, after)
        n_runs = 1
        begins[0], ends[0] = 0, m
        if m and lowest == missing:
            n_runs = _runs(x, missing, begins, ends)
            lowest = _BIG
            n = 0
            gap = before
            last = 0
            for run in range(n_runs):
                for i in range(begins[run], ends[run]):
                    lowest = min(lowest, x[i])
                n += ends[run] - begins[run]
                gap = max(gap, begins[run] - last + (before if run == 0 else 0))
                last = ends[run]
            gap = max(gap, m - last + after)
            total -= np.int64(missing) * (m - n)
        out[fields.N] = n
        if n == 0:
            out[fields.GAP] = length
            continue
        out[fields.GAP] = gap
        width = np.int64(highest) - np.int64(lowest) + 1
        if width > fields.WIDEST:
            continue
        centre = total // n
        out[fields.CENTRE] = centre
        out[fields.LOWEST] = lowest
        out[fields.HIGHEST] = highest
        out[fields.S1] = total - n * centre
        _sum_steps(x, begins[:n_runs], ends[:n_runs], total // n + 1 if is_reversed else -(-total // n), out)
        if width > _SORTED * n:
            _sum_powers_of_samples(x, begins[:n_runs], ends[:n_runs], centre, width, out)
            ordered = np.sort(x)[m - n :]  # the missing value is lower than all others
            distinct = 1
            n_lowest = 0
            n_highest = 0
            zero = 0
            for i in range(n):
                distinct += i > 0 and ordered[i] != ordered[i - 1]
                n_lowest += ordered[i] == lowest
                n_highest += ordered[i] == highest
                zero += ordered[i] == baseline
            out[fields.DISTINCT] = distinct
            out[fields.N_LOWEST], out[fields.N_HIGHEST], out[fields.ZERO] = n_lowest, n_highest, zero
            for place in range(_N_SHARES):
                below = np.int64(fields.SHARES[place] * (n - 1))
                above = min(below + 1, n - 1)
                out[fields.RANKS + 2 * place] = ordered[n - 1 - below] if is_reversed else ordered[below]
                out[fields.RANKS + 2 * place + 1] = ordered[n - 1 - above] if is_reversed else ordered[above]
            continue
        counters[:width] = 0
        for run in range(n_runs):
            for i in range(begins[run], ends[run]):
                counters[x[i] - lowest] += 1
        if width < n:
            _sum_powers_of_counts(counters[:width], lowest - centre, out)
        else:
            _sum_powers_of_samples(x, begins[:n_runs], ends[:n_runs], centre, width, out)
        out[fields.N_LOWEST], out[fields.N_HIGHEST] = counters[0], counters[width - 1]
        if lowest <= baseline <= highest:
            out[fields.ZERO] = counters[baseline - lowest]
        distinct = 0
        for value in range(width):
            distinct += counters[value] != 0
        out[fields.DISTINCT] = distinct
        value = np.int64(0)
        seen = np.int64(counters[0])
        for number in range(_N_SHARES):  # by ascending digital values
            place = _N_SHARES - 1 - number if is_reversed else number
            below = np.int64(fields.SHARES[place] * (n - 1))
            above = min(below + 1, n - 1)
            low, high = (n - 1 - above, n - 1 - below) if is_reversed else (below, above)
            while seen <= low:
                value += 1
                seen += counters[value]
            later, seen_later = value, seen
            while seen_later <= high:
                later += 1
                seen_later += counters[later]
            out[fields.RANKS + 2 * place] = lowest + (later if is_reversed else value)
            out[fields.RANKS + 2 * place + 1] = lowest + (value if is_reversed else later)


def _runs(x: Any, missing: Any, begins: Any, ends: Any) -> int:
    """Where runs of valid samples begin and end; how many there are."""
    n = 0
    is_inside = False
    for i in range(len(x)):
        if (x[i] != missing) != is_inside:
            if is_inside:
                ends[n] = i
                n += 1
            else:
                begins[n] = i
            is_inside = not is_inside
    if is_inside:
        ends[n] = len(x)
        n += 1
    return n


def _sum_steps(x: Any, begins: Any, ends: Any, threshold: Any, out: Any) -> None:
    """What neighbours have, within runs of valid samples."""
    pairs = 0
    triples = 0
    flat = 0
    crossings = 0
    way = np.int64(0)
    d1 = np.int64(0)
    d2 = np.int64(0)
    e1 = np.int64(0)
    e2 = np.int64(0)
    for run in range(len(begins)):
        y = x[begins[run] : ends[run]]
        m = len(y)
        pairs += m - 1
        d1 += np.int64(y[m - 1]) - np.int64(y[0])
        for i in range(1, m):
            d = np.int32(y[i] - y[i - 1])
            flat += d == 0
            way += abs(d)
            d2 += np.int64(d) * np.int64(d)
            crossings += (y[i] >= threshold) != (y[i - 1] >= threshold)
        if m > 2:
            triples += m - 2
            e1 += np.int64(y[m - 1]) - np.int64(y[m - 2]) - np.int64(y[1]) + np.int64(y[0])
            for i in range(2, m):
                e = np.int32(y[i] - 2 * y[i - 1] + y[i - 2])
                e2 += np.int64(e) * np.int64(e)
    out[fields.PAIRS] = pairs
    out[fields.FLAT] = flat
    out[fields.LENGTH] = way
    out[fields.D1] = d1
    out[fields.D2] = d2
    out[fields.CROSSINGS] = crossings
    out[fields.TRIPLES] = triples
    out[fields.E1] = e1
    out[fields.E2] = e2


def _sum_powers_of_samples(x: Any, begins: Any, ends: Any, centre: Any, width: Any, out: Any) -> None:
    s2 = np.int64(0)
    s3 = np.int64(0)
    s4 = np.int64(0)
    s3_low = np.int64(0)
    s4_high = np.uint64(0)
    s4_low = np.uint64(0)
    middle = np.int32(centre)
    for run in range(len(begins)):
        if width <= fields.NARROW:
            for i in range(begins[run], ends[run]):
                y = np.int64(np.int32(x[i] - middle))
                square = y * y
                s2 += square
                s3 += square * y
                s4 += square * square
        else:
            for i in range(begins[run], ends[run]):
                y = np.int64(np.int32(x[i] - middle))
                square = y * y
                s2 += square
                cube = square * y
                s3 += cube >> fields.CUBE_BITS
                s3_low += cube & _CUBE_LOW
                fourth = np.uint64(square) * np.uint64(square)
                s4_high += fourth >> _FOURTH_SHIFT
                s4_low += fourth & _FOURTH_LOW
    out[fields.S2] = s2
    _tell_powers(s3, s3_low, s4, s4_high, s4_low, width, out)


def _sum_powers_of_counts(counters: Any, first: Any, out: Any) -> None:
    """The same, from how often each value is there; `first` is the lowest one, less the centre."""
    width = len(counters)
    s2 = np.int64(0)
    s3 = np.int64(0)
    s4 = np.int64(0)
    s3_low = np.int64(0)
    s4_high = np.uint64(0)
    s4_low = np.uint64(0)
    if width <= fields.NARROW:
        for value in range(width):
            y = first + value
            square = y * y
            often = square * counters[value]
            s2 += often
            s3 += often * y
            s4 += often * square
    else:
        for value in range(width):
            y = first + value
            square = y * y
            often = np.int64(counters[value])
            s2 += square * often
            cube = square * y
            s3 += (cube >> fields.CUBE_BITS) * often
            s3_low += (cube & _CUBE_LOW) * often
            fourth = np.uint64(square) * np.uint64(square)
            s4_high += (fourth >> _FOURTH_SHIFT) * np.uint64(often)
            s4_low += (fourth & _FOURTH_LOW) * np.uint64(often)
    out[fields.S2] = s2
    _tell_powers(s3, s3_low, s4, s4_high, s4_low, width, out)


def _tell_powers(s3: Any, s3_low: Any, s4: Any, s4_high: Any, s4_low: Any, width: Any, out: Any) -> None:
    if width <= fields.NARROW:
        out[fields.S3_HIGH] = s3 >> fields.CUBE_BITS
        out[fields.S3_LOW] = s3 & _CUBE_LOW
        out[fields.S4_HIGH] = s4 >> fields.FOURTH_BITS
        out[fields.S4_LOW] = s4 & np.int64(_FOURTH_LOW)
    else:
        out[fields.S3_HIGH] = s3 + (s3_low >> fields.CUBE_BITS)
        out[fields.S3_LOW] = s3_low & _CUBE_LOW
        out[fields.S4_HIGH] = np.int64(s4_high + (s4_low >> _FOURTH_SHIFT))
        out[fields.S4_LOW] = np.int64(s4_low & _FOURTH_LOW)
