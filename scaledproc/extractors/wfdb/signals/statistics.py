"""Statistics of digital samples, from how often each value occurs.

Counts and sums are integers, so the results are the same on every processor; each float comes from them by a few
correctly rounded operations in a fixed order.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

QUANTILES = {"p25": 0.25, "p50": 0.50, "p75": 0.75}
BLOCK = 2**20  # samples that are counted at once: what numpy copies meanwhile stays small
_HISTOGRAM_BITS = 16  # up to here one counter per value is cheaper than sorting the samples


class Counts(NamedTuple):
    """The values that occur in a signal, ascending, and how often each does; both of shape (values,)."""

    values: NDArray[np.int64]
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, histogram: NDArray[np.int64], lowest: int) -> Counts:
        """From a counter for each value from `lowest` on."""
        present = histogram.nonzero()[0]
        return cls(present + lowest, histogram[present])


class Limits(NamedTuple):
    """The lowest and the highest digital value that a sample can have."""

    low: int
    high: int


class Coding(NamedTuple):
    """How digital samples stand for physical values.

    Parameters
    ----------
    missing
        The digital value of a missing sample, which is the lowest of a format; None where the format has none.
    gain, baseline
        The physical value is `(digital - baseline) / gain`, as the WFDB header specification (header(5)) has it.
    limits
        Of the format and of the converter, as far as known.
    """

    missing: int | None
    gain: float
    baseline: int
    limits: tuple[Limits, ...] = ()


class Statistics(NamedTuple):
    """Statistics over valid samples, in physical units; None where undefined.

    Parameters
    ----------
    n, missing
        All samples, and those that hold the format's missing value.
    total
        The sum of all digital samples, the missing ones too.
    zero, distinct
        How many valid samples are physically 0; how many different values they have.
    at_min, at_max
        How many are at the limit on the side of `min`, and of `max`; None where none is known. Limits that samples lie
        beyond are none.
    mean, std, min, max
        `std` with ddof=1.
    quantiles
        Those of `QUANTILES`, by linear interpolation between order statistics (numpy's default method).
    """

    n: int
    missing: int
    total: int
    zero: int = 0
    distinct: int = 0
    at_min: int | None = None
    at_max: int | None = None
    mean: float | None = None
    std: float | None = None
    min: float | None = None
    quantiles: tuple[float | None, ...] = (None,) * len(QUANTILES)
    max: float | None = None


def statistics(found: Counts, coding: Coding) -> Statistics:
    """Statistics of one signal, from the counts of its digital samples."""
    values, counts = found
    missing = coding.missing
    ranks = counts.cumsum()
    size = int(ranks[-1]) if len(ranks) else 0
    total = _sum(values, counts, size)
    # The missing value stands before all others.
    gone = int(counts[0]) if missing is not None and size and values[0] == missing else 0
    n = size - gone
    if n == 0:
        return Statistics(size, size, total)

    def how_often(value: int) -> int:
        place = int(values.searchsorted(value))
        return int(counts[place]) if values[place] == value else 0

    places = ranks.searchsorted(_wanted(n, gone, coding.gain), "right")
    lost = missing or 0
    squares = _sum_of_squares(values, counts, size) - lost * lost * gone
    distinct = len(values) - (gone > 0)
    return _finish(
        size, gone, total, total - lost * gone, squares, distinct, values[places].tolist(), 0, coding, how_often
    )


def statistics_of_bytes(histograms: NDArray[np.int64], codings: Sequence[Coding]) -> list[Statistics]:
    """Statistics of several signals of 8 bits at once, of which the lowest value is the missing one.

    Parameters
    ----------
    histograms
        How often each value from -128 to 127 occurs, shape (signals, 256).
    codings
        Of each signal.
    """
    ranks = histograms.reshape(-1).cumsum()  # one signal's after the other's, so that all are searched at once
    missing = histograms[:, 0].tolist()
    wanted: list[int] = []
    sizes = []
    start = 0
    for stop, gone, coding in zip(ranks[255::256].tolist(), missing, codings, strict=True):
        size = stop - start
        sizes.append(size)
        if size != gone:
            wanted += _wanted(size - gone, start + gone, coding.gain)
        start = stop
    places = ranks.searchsorted(wanted, "right").tolist()
    how_often = histograms.reshape(-1).item
    present = np.minimum(histograms, 1).sum(axis=1).tolist()
    found = []
    at, origin = 0, 128  # where the value 0 of a signal stands among the counts of all
    for size, gone, distinct, (total, squares), coding in zip(
        sizes, missing, present, (histograms @ _MOMENTS).tolist(), codings, strict=True
    ):
        if size == gone:
            found.append(Statistics(size, gone, total))
        else:
            valid, valid_squares = total + 128 * gone, squares - 16_384 * gone
            values = places[at : at + _RANKS]
            at += _RANKS
            distinct -= gone > 0
            found.append(_finish(size, gone, total, valid, valid_squares, distinct, values, origin, coding, how_often))
        origin += 256
    return found


def statistics_of_numbers(counts: Sequence[tuple[int, int]], scale: int, size: int) -> Statistics:
    """Statistics of numbers that are written in decimals, exact but for the last step of each.

    Parameters
    ----------
    counts
        Each number that occurs, times `scale`, ascending, and how often it does.
    scale
        What makes integers of them all.
    size
        How many there could be; the others are missing.
    """
    n = sum(often for _, often in counts)
    total = sum(value * often for value, often in counts)
    if n == 0:
        return Statistics(size, size, total)
    squares = sum(value * value * often for value, often in counts)
    ranks = list(accumulate(often for _, often in counts))
    wanted, fractions = _order(n)
    low, high, *around = [counts[bisect_right(ranks, rank)][0] / scale for rank in wanted]
    return Statistics(
        n=size,
        missing=size - n,
        total=total,
        zero=next((often for value, often in counts if value == 0), 0),
        distinct=len(counts),
        mean=total / (n * scale),
        std=_deviation(n * squares - total * total, n * (n - 1), scale) if n > 1 else None,
        min=low,
        quantiles=_between(around, fractions),
        max=high,
    )


def _deviation(squares: int, n: int, scale: int) -> float:
    try:
        return math.sqrt(squares / n) / scale
    except OverflowError:  # the scale makes them too large for a float
        return math.sqrt(squares / (n * scale * scale))


_MOMENTS = np.stack([np.arange(-128, 128) ** power for power in (1, 2)], axis=1)
_SHARES = tuple(QUANTILES.values())
_RANKS = 2 + 2 * len(_SHARES)
"""How many `_order` gives."""


@lru_cache(maxsize=1024)
def _order(n: int) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Ranks of the lowest and the highest of `n` values and of those around each quantile; how far between these."""
    last = n - 1
    ranks, fractions = [0, last], []
    for share in _SHARES:
        position = share * last
        below = int(position)
        ranks += (below, below + 1 if below < last else last)
        fractions.append(position - below)
    return tuple(ranks), tuple(fractions)


def _wanted(n: int, gone: int, gain: float) -> list[int]:
    """The ranks of `_order` among all samples, of which so many are missing and stand first."""
    ranks, _ = _order(n)
    if gain < 0:  # the largest digital value is the smallest physical one
        return [gone + n - 1 - rank for rank in ranks]
    return [gone + rank for rank in ranks]


def _finish(
    size: int,
    gone: int,
    all_total: int,
    total: int,
    squares: int,
    distinct: int,
    values: Sequence[int],
    origin: int,
    coding: Coding,
    how_often: Callable[[int], int],
) -> Statistics:
    """What valid samples sum up to, in physical units.

    Parameters
    ----------
    size, gone, all_total
        How many samples there are, how many of them are missing, and the sum of all.
    total, squares, distinct
        The sum of the valid ones and of their squares; how many different values they have.
    values
        The digital values at the ranks of `_order`, each with `origin` added.
    how_often
        How many samples have a digital value, with `origin` added, between the lowest and the highest valid one.
    """
    _, gain, baseline, limits = coding
    n = size - gone
    first, last = (values[0], values[1]) if gain > 0 else (values[1], values[0])
    lowest, highest = first - origin, last - origin
    at_min = at_max = None
    for least, most in limits:
        if least <= lowest and highest <= most:
            at_min = how_often(first) if least == lowest else at_min or 0
            at_max = how_often(last) if most == highest else at_max or 0
    if gain < 0:
        at_min, at_max = at_max, at_min
    zero = baseline + origin
    low, high, *around = [(value - zero) / gain for value in values]  # of 32 bits each, so the floats are exact
    return Statistics(
        size,
        gone,
        all_total,
        how_often(zero) if lowest <= baseline <= highest else 0,
        distinct,
        at_min,
        at_max,
        (total - n * baseline) / n / gain,
        math.sqrt((n * squares - total * total) / (n * (n - 1))) / abs(gain) if n > 1 else None,
        low,
        _between(around, _order(n)[1]),
        high,
    )


def _sum(values: NDArray[np.int64], counts: NDArray[np.int64], size: int) -> int:
    if not size or max(-int(values[0]), int(values[-1])) * size < 2**63:
        return int(values @ counts)
    return sum(value * often for value, often in zip(values.tolist(), counts.tolist(), strict=True))


def _sum_of_squares(values: NDArray[np.int64], counts: NDArray[np.int64], size: int) -> int:
    if values[0] > -(2**16) and values[-1] < 2**16 and size < 2**31:
        return int((values * values) @ counts)
    # Python's integers do not overflow: squares of 32-bit samples, times their count, would.
    return sum(value * value * count for value, count in zip(values.tolist(), counts.tolist(), strict=True))


def _between(around: Sequence[float], fractions: Sequence[float]) -> tuple[float, ...]:
    """Between each two values what numpy's `percentile(…, method="linear")` gives, rounding included."""
    found = []
    at = 0
    for fraction in fractions:  # indices and no zip of slices: this is done for each signal of each record
        low, high = around[at], around[at + 1]
        at += 2
        if low == high and low:  # of a zero the sign depends on the fraction
            found.append(low)
        elif fraction < 0.5:
            found.append(low + (high - low) * fraction)
        else:
            found.append(high - (high - low) * (1 - fraction))
    return tuple(found)


def count(samples: NDArray[np.integer]) -> Counts:
    """The histogram of a signal.

    Parameters
    ----------
    samples
        Digital samples, shape (n,).
    """
    bits = samples.dtype.itemsize * 8
    if bits > _HISTOGRAM_BITS or samples.size * 8 < 1 << bits:  # sorting costs less than a counter per value
        values, counts = np.unique(samples, return_counts=True)
        return Counts(values.astype(np.int64), counts.astype(np.int64))
    # Signed to unsigned, in order, by flipping the highest bit.
    unsigned = np.ascontiguousarray(samples).view(f"u{samples.itemsize}")
    highest = unsigned.dtype.type(1 << (bits - 1))
    histogram = np.zeros(1 << bits, np.int64)
    for start in range(0, len(unsigned), BLOCK):
        histogram += np.bincount(unsigned[start : start + BLOCK] ^ highest, minlength=1 << bits)
    return Counts.of(histogram, -(1 << (bits - 1)))


def merged(parts: Sequence[Counts]) -> Counts:
    """The counts of several pieces of a signal as those of the whole."""
    values = np.concatenate([part.values for part in parts])
    order = np.argsort(values, kind="stable")
    values, counts = values[order], np.concatenate([part.counts for part in parts])[order]
    firsts = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]])[: len(values)])
    return Counts(values[firsts], np.add.reduceat(counts, firsts) if len(firsts) else counts)
