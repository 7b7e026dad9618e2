"""Statistics of digital samples, from how often each value occurs.

Counts and sums are integers, so the results are the same on every processor; each float comes from them by a few
correctly rounded operations in a fixed order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
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
        present = np.flatnonzero(histogram)
        return cls(present + lowest, histogram[present])

    @property
    def total(self) -> int:
        """The sum of all samples; it fits 64 bits for 2³¹ samples of 32 bits."""
        return int(self.values @ self.counts)


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


def statistics(found: Counts, *, missing: int | None, gain: float, baseline: int) -> Statistics:
    """Statistics of one signal.

    Parameters
    ----------
    found
        Its digital samples.
    missing
        The digital value of a missing sample; None where the format has none.
    gain, baseline
        The physical value is `(digital - baseline) / gain`, as the WFDB header specification (header(5)) has it.
    """
    values, counts = found
    size = int(counts.sum())
    if missing is not None and len(values) and values[0] == missing:  # always the lowest value of a format
        values, counts = values[1:], counts[1:]
    n = int(counts.sum())
    if n == 0:
        return Statistics(size, size)
    total = found.total if n == size else Counts(values, counts).total
    squares = _sum_of_squares(values, counts)
    physical = (values.astype(np.float64) - baseline) / gain
    if gain < 0:
        physical, counts = physical[::-1], counts[::-1]
    ranks = np.cumsum(counts)
    return Statistics(
        n=size,
        missing=size - n,
        mean=(total - n * baseline) / n / gain,
        std=math.sqrt((n * squares - total * total) / (n * (n - 1))) / abs(gain) if n > 1 else None,
        min=float(physical[0]),
        quantiles=tuple(_quantile(physical, ranks, n, q) for q in QUANTILES.values()),
        max=float(physical[-1]),
    )


def _sum_of_squares(values: NDArray[np.int64], counts: NDArray[np.int64]) -> int:
    if values[0] > -(2**16) and values[-1] < 2**16 and counts.sum() < 2**31:
        return int((values * values) @ counts)
    # Python's integers do not overflow: squares of 32-bit samples, times their count, would.
    return sum(value * value * count for value, count in zip(values.tolist(), counts.tolist(), strict=True))


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


def _quantile(physical: NDArray[np.float64], ranks: NDArray[np.int64], n: int, q: float) -> float:
    """As numpy's `percentile(…, method="linear")`, rounding included."""
    position = q * (n - 1)
    below = math.floor(position)
    fraction = position - below
    low = float(physical[np.searchsorted(ranks, below, "right")])
    high = float(physical[np.searchsorted(ranks, min(below + 1, n - 1), "right")])
    step = high - low
    return low + step * fraction if fraction < 0.5 else high - step * (1 - fraction)
