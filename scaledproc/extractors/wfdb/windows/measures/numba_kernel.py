"""The integers of windows by a compiled kernel: a few passes over each window, which stays in the processor's cache."""

# numba gives the variables of the kernel their types, which mypy cannot follow.
# mypy: disable-error-code="arg-type, assignment, call-overload, index, operator, type-var"

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

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

    kernel: Any = njit(cache=True, nogil=True)(_kernel)
    one = np.zeros(1, np.int64)
    kernel(np.zeros(1, np.int32), one, one + 1, -1, 0, False, np.zeros((1, fields.FIELDS), np.int64))
    return kernel  # type: ignore[no-any-return]


def _kernel(samples: Any, starts: Any, lengths: Any, missing: Any, baseline: Any, is_reversed: Any, table: Any) -> None:
    longest = 1
    for w in range(len(starts)):
        longest = max(longest, min(lengths[w], len(samples)))
    y = np.empty(longest, np.int32)
    valid = np.empty(longest, np.int32)
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
        n = 0
        total = np.int64(0)
        lowest = _BIG
        highest = _SMALL
        for i in range(m):
            is_valid = x[i] != missing
            n += is_valid
            total += x[i] if is_valid else 0
            lowest = min(lowest, x[i] if is_valid else _BIG)
            highest = max(highest, x[i] if is_valid else _SMALL)
        out[fields.N] = n
        if n == 0:
            out[fields.GAP] = length
            continue
        gap = max(before, after)
        if n < m:
            run = before
            for i in range(m):
                if x[i] == missing:
                    run += 1
                elif run:
                    gap = max(gap, run)
                    run = 0
            gap = max(gap, run + after)
        out[fields.GAP] = gap
        width = np.int64(highest) - np.int64(lowest) + 1
        if width > fields.WIDEST:
            continue
        centre = total // n
        out[fields.CENTRE] = centre
        out[fields.LOWEST] = lowest
        out[fields.HIGHEST] = highest
        out[fields.S1] = total - n * centre
        zero = 0
        n_lowest = 0
        n_highest = 0
        middle = np.int32(centre)
        for i in range(m):
            is_valid = x[i] != missing
            valid[i] = is_valid
            y[i] = x[i] - middle if is_valid else 0
            zero += is_valid & (x[i] == baseline)
            n_lowest += x[i] == lowest
            n_highest += x[i] == highest
        out[fields.ZERO] = zero
        out[fields.N_LOWEST] = n_lowest
        out[fields.N_HIGHEST] = n_highest
        s2 = np.int64(0)
        if width <= fields.NARROW:
            s3 = np.int64(0)
            s4 = np.int64(0)
            for i in range(m):
                square = np.int64(y[i]) * np.int64(y[i])
                s2 += square
                s3 += square * np.int64(y[i])
                s4 += square * square
            out[fields.S3_HIGH] = s3 >> fields.CUBE_BITS
            out[fields.S3_LOW] = s3 & _CUBE_LOW
            out[fields.S4_HIGH] = s4 >> fields.FOURTH_BITS
            out[fields.S4_LOW] = s4 & np.int64(_FOURTH_LOW)
        else:
            s3_high = np.int64(0)
            s3_low = np.int64(0)
            s4_high = np.uint64(0)
            s4_low = np.uint64(0)
            for i in range(m):
                square = np.int64(y[i]) * np.int64(y[i])
                s2 += square
                cube = square * np.int64(y[i])
                s3_high += cube >> fields.CUBE_BITS
                s3_low += cube & _CUBE_LOW
                fourth = np.uint64(square) * np.uint64(square)
                s4_high += fourth >> _FOURTH_SHIFT
                s4_low += fourth & _FOURTH_LOW
            out[fields.S3_HIGH] = s3_high + (s3_low >> fields.CUBE_BITS)
            out[fields.S3_LOW] = s3_low & _CUBE_LOW
            out[fields.S4_HIGH] = np.int64(s4_high + (s4_low >> _FOURTH_SHIFT))
            out[fields.S4_LOW] = np.int64(s4_low & _FOURTH_LOW)
        out[fields.S2] = s2
        threshold = np.int32((total // n + 1 if is_reversed else -(-total // n)) - centre)
        pairs = 0
        flat = 0
        way = np.int64(0)
        d1 = np.int64(0)
        d2 = np.int64(0)
        crossings = 0
        for i in range(1, m):
            both = valid[i] & valid[i - 1]
            d = np.int32((y[i] - y[i - 1]) * both)
            pairs += both
            flat += both & (y[i] == y[i - 1])
            way += abs(d)
            d1 += d
            d2 += np.int64(d) * np.int64(d)
            crossings += both & ((y[i] >= threshold) != (y[i - 1] >= threshold))
        out[fields.PAIRS] = pairs
        out[fields.FLAT] = flat
        out[fields.LENGTH] = way
        out[fields.D1] = d1
        out[fields.D2] = d2
        out[fields.CROSSINGS] = crossings
        triples = 0
        e1 = np.int64(0)
        e2 = np.int64(0)
        for i in range(2, m):
            all_three = valid[i] & valid[i - 1] & valid[i - 2]
            e = np.int32((y[i] - 2 * y[i - 1] + y[i - 2]) * all_three)
            triples += all_three
            e1 += e
            e2 += np.int64(e) * np.int64(e)
        out[fields.TRIPLES] = triples
        out[fields.E1] = e1
        out[fields.E2] = e2
        if width > _SORTED * n:
            ordered = np.sort(x)[m - n :]  # the missing value is lower than all others
            distinct = 1
            for i in range(1, n):
                distinct += ordered[i] != ordered[i - 1]
            out[fields.DISTINCT] = distinct
            for place in range(_N_SHARES):
                below = np.int64(fields.SHARES[place] * (n - 1))
                above = min(below + 1, n - 1)
                out[fields.RANKS + 2 * place] = ordered[n - 1 - below] if is_reversed else ordered[below]
                out[fields.RANKS + 2 * place + 1] = ordered[n - 1 - above] if is_reversed else ordered[above]
            continue
        counters[:width] = 0
        for i in range(m):
            if x[i] != missing:
                counters[x[i] - lowest] += 1
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
