"""Statistics of digital samples, from how often each value occurs.

Counts and sums are integers, so the results are the same on every processor; each float comes from them by a few
correctly rounded operations in a fixed order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

QUANTILES = {"p25": 0.25, "p50": 0.50, "p75": 0.75}
_HISTOGRAM_BITS = 16  # up to here one counter per value is cheaper than sorting the samples


@dataclass(frozen=True)
class Statistics:
    """Statistics over valid samples, in physical units; None where undefined.

    Parameters
    ----------
    n, missing
        All samples, and those that hold the format's missing value.
    mean, std, min, max
        `std` with ddof=1.
    quantiles
        Those of `QUANTILES`, by linear interpolation between order statistics (numpy's default method).
    """

    n: int
    missing: int
    mean: float | None = None
    std: float | None = None
    min: float | None = None
    quantiles: tuple[float | None, ...] = (None,) * len(QUANTILES)
    max: float | None = None


def statistics(samples: NDArray[np.integer], *, missing: int | None, gain: float, baseline: int) -> Statistics:
    """Statistics of one signal.

    Parameters
    ----------
    samples
        Digital samples, integers, shape (n,).
    missing
        The digital value of a missing sample; None where the format has none.
    gain, baseline
        The physical value is `(digital - baseline) / gain`, as the WFDB header specification (header(5)) has it.
    """
    values, counts = _count(samples)
    if missing is not None:
        valid = values != missing
        values, counts = values[valid], counts[valid]
    n = int(counts.sum())
    n_missing = len(samples) - n
    if n == 0:
        return Statistics(len(samples), n_missing)
    # Python's integers do not overflow: squares of 32-bit samples, times their count, would.
    pairs = list(zip(values.tolist(), counts.tolist(), strict=True))
    total = sum(value * count for value, count in pairs)
    squares = sum(value * value * count for value, count in pairs)
    physical = (values.astype(np.float64) - baseline) / gain
    if gain < 0:
        physical, counts = physical[::-1], counts[::-1]
    ranks = np.cumsum(counts)
    return Statistics(
        n=len(samples),
        missing=n_missing,
        mean=(total - n * baseline) / n / gain,
        std=math.sqrt((n * squares - total * total) / (n * (n - 1))) / abs(gain) if n > 1 else None,
        min=float(physical[0]),
        quantiles=tuple(_quantile(physical, ranks, n, q) for q in QUANTILES.values()),
        max=float(physical[-1]),
    )


def _count(samples: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The values that occur, ascending, and how often each does."""
    if samples.size == 0:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    bits = samples.dtype.itemsize * 8
    if bits <= _HISTOGRAM_BITS and samples.size * 8 >= 2**bits:
        low = np.iinfo(samples.dtype).min
        # Shifted to unsigned by flipping the sign bit: no copy in a wider type.
        unsigned = np.ascontiguousarray(samples).view(f"u{samples.dtype.itemsize}") ^ (1 << (bits - 1))
        histogram = np.bincount(unsigned, minlength=1 << bits)
        present = np.flatnonzero(histogram)
        return present + low, histogram[present]
    values, counts = np.unique(samples, return_counts=True)
    return values.astype(np.int64), counts.astype(np.int64)


def _quantile(physical: NDArray[np.float64], ranks: NDArray[np.int64], n: int, q: float) -> float:
    """As numpy's `percentile(…, method="linear")`, rounding included."""
    position = q * (n - 1)
    below = math.floor(position)
    fraction = position - below
    low = float(physical[np.searchsorted(ranks, below, "right")])
    high = float(physical[np.searchsorted(ranks, min(below + 1, n - 1), "right")])
    step = high - low
    return low + step * fraction if fraction < 0.5 else high - step * (1 - fraction)
