"""What makes a signal ready to be filtered, to be compiled: each step is one loop over its samples."""

# numba gives the variables their types, which mypy cannot follow.
# mypy: disable-error-code="index, operator"

from __future__ import annotations

from typing import Any

import numpy as np

LARGEST = 1e100
"""No signal has larger samples, and no sum of these overflows."""
_NOT_SIGN = np.int64(2**63 - 1)


def physical(stored: Any, missing: int, baseline: float, gain: float, samples: Any) -> None:
    """Samples in physical units, of what is stored; NaN where they are missing."""
    for i in range(len(stored)):
        value = (np.float64(stored[i]) - baseline) / gain
        samples[i] = np.nan if stored[i] == missing else value


def extremes(bits: Any, told: Any) -> None:
    """The lowest and the highest of floats, as whole numbers in the same order, and the largest but for its sign.

    Parameters
    ----------
    bits
        The floats as whole numbers of 64 bits; what is NaN is larger than all others.
    told
        Shape (3,); `floats_of` makes floats of them again.
    """
    lowest, highest, largest = _NOT_SIGN, ~_NOT_SIGN, np.int64(0)
    for i in range(len(bits)):
        magnitude = bits[i] & _NOT_SIGN
        in_order = bits[i] ^ ((bits[i] >> 63) & _NOT_SIGN)
        lowest = min(lowest, in_order)
        highest = max(highest, in_order)
        largest = max(largest, magnitude)
    told[0], told[1], told[2] = lowest, highest, largest


def level(samples: Any, bridged: int, out: Any, starts: Any, stops: Any, n_found: Any) -> None:
    """What `stretches.prepare` makes of a signal where samples are missing, and its stretches without a gap."""
    n, found, stop, shift = len(samples), 0, 0, 0.0
    while True:
        start = stop
        while start < n and not abs(samples[start]) <= LARGEST:
            start += 1
        if start == n:
            break
        if found == 0:
            out[:start] = samples[start]
            starts[0], found = start, 1
        elif start - stop > bridged:
            out[stop:start] = samples[stop - 1] + shift
            shift += samples[stop - 1] - samples[start]
            stops[found - 1], starts[found] = stop, start
            found += 1
        else:
            left, right = samples[stop - 1], samples[start]
            for i in range(stop, start):
                out[i] = left + (right - left) * ((i - stop + 1) / (start - stop + 1)) + shift
        stop = start
        while stop < n and abs(samples[stop]) <= LARGEST:
            out[stop] = samples[stop] + shift
            stop += 1
    if found > 0:
        stops[found - 1] = stop
        out[stop:] = samples[stop - 1] + shift
    n_found[0] = found


def digital(values: Any, middle: float, factor: float, out: Any) -> None:
    """So many steps from the middle, of which a unit has `factor`."""
    for i in range(len(values)):
        out[i] = np.int32(np.rint((values[i] - middle) * factor))


def without_spikes(values: Any, apart: int, out: Any) -> None:
    """`filtering.without_spikes`."""
    n = max(len(values) - 2 * apart, 0)
    for i in range(min(apart, len(values))):
        out[i] = values[i]
    for i in range(max(len(values) - apart, 0), len(values)):
        out[i] = values[i]
    if n == 0:
        return
    before, here, behind, told = values[:n], values[apart : apart + n], values[2 * apart :], out[apart : apart + n]
    for i in range(n):
        told[i] = max(min(before[i], here[i]), min(max(before[i], here[i]), behind[i]))
