"""Where windows begin: exactly, so that the windows of all signals of a record are the same whatever their rates."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

_FAR = 2**61
"""Samples beyond which no signal reaches."""


@dataclass(frozen=True)
class Grid:
    """Windows on an axis of time: the window k begins at `k * step`, and lasts `length`.

    Parameters
    ----------
    step, length
        Seconds.
    at
        Where on the axis the first sample is.
    record
        Where on the axis the record begins.
    first
        The number of the first window there may be; None where there is none.
    """

    step: Fraction
    length: Fraction
    at: Fraction
    record: Fraction
    first: int | None = 0

    def numbers(self, n: int, fs: Fraction) -> range:
        """The windows that overlap the time of so many samples."""
        if not n:
            return range(0)
        begin, last = self.at, self.at + (n - 1) / fs
        first = (begin - self.length) // self.step + 1
        return range(first if self.first is None else max(first, self.first), last // self.step + 1)

    def bounds(self, numbers: Iterable[int], fs: Fraction) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The first sample of each window, and the first one behind it, by their numbers from the first sample on."""
        starts = _rounded_up(self.step * fs, -self.at * fs, numbers)
        stops = _rounded_up(self.step * fs, (self.length - self.at) * fs, numbers)
        return starts, stops

    def complete(self, n: int, fs: Fraction) -> int:
        """The number of the first window that reaches beyond so many samples."""
        return (n / fs + self.at - self.length) // self.step + 1

    def shortest(self, fs: Fraction) -> int:
        """Samples that each window has at least."""
        return self.length * fs // 1

    def seconds(self, number: int) -> tuple[int, int]:
        """Seconds from the record's beginning to that of a window, as a fraction."""
        return (number * self.step - self.record).as_integer_ratio()


def _rounded_up(factor: Fraction, more: Fraction, numbers: Iterable[int]) -> NDArray[np.int64]:
    under = factor.denominator * more.denominator
    a, b = factor.numerator * more.denominator, more.numerator * factor.denominator
    values = [-((-(number * a + b)) // under) for number in numbers]
    return np.array([min(max(value, -_FAR), _FAR) for value in values], np.int64)
