"""Where windows begin: exactly, so that the windows of all signals of a record are the same whatever their rates."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from scaledproc.extractors.wfdb.headers.rates import exact

_FAR = 2**61
"""Samples beyond which no signal reaches."""


class Windows(NamedTuple):
    """Windows of a signal.

    Parameters
    ----------
    first, stop
        The first sample of the first window that was asked for, and the first one behind the last.
    numbers, starts, lengths, n_samples
        Of those that have samples: the number, the first sample, how many there are, and how many of them the signal
        has.
    fewest
        How many valid samples make the share of each window that was asked for; one at least.
    """

    first: int
    stop: int
    numbers: list[int]
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    n_samples: list[int]
    fewest: NDArray[np.int64]


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
    _last: dict[str, Any] = field(default_factory=dict, init=False, compare=False, repr=False)
    """What was last asked, and told: signals of a record ask the same, and fractions take their time."""

    def numbers(self, n: int, fs: Fraction) -> range:
        """The windows that overlap the time of so many samples."""
        key = (n, fs)
        known = self._last.get("numbers")
        if known is None or known[0] != key:
            known = self._last["numbers"] = (key, self._numbers(n, fs))
        found: range = known[1]
        return found

    def _numbers(self, n: int, fs: Fraction) -> range:
        if not n:
            return range(0)
        at, under = self.at.as_integer_ratio()
        step, under_step = self.step.as_integer_ratio()
        length, under_length = self.length.as_integer_ratio()
        rate, under_rate = fs.as_integer_ratio()
        first = (at * under_length - length * under) * under_step // (under * under_length * step) + 1
        stop = (at * rate + (n - 1) * under_rate * under) * under_step // (under * rate * step) + 1
        return range(first if self.first is None else max(first, self.first), stop)

    def with_samples(self, numbers: range, n: int, fs: Fraction, share: float) -> Windows:
        """Those of some windows that have any of so many samples; with how many are a share of each."""
        key = (numbers, n, fs, share)
        known = self._last.get("windows")
        if known is None or known[0] != key:
            known = self._last["windows"] = (key, self._with_samples(numbers, n, fs, share))
        found: Windows = known[1]
        return found

    def _with_samples(self, numbers: range, n: int, fs: Fraction, share: float) -> Windows:
        # By Python's numbers, as there are mostly few windows.
        starts, stops = self._bounds(numbers, fs)
        within, begins, lengths, n_samples = [], [], [], []
        for number, start, stop in zip(numbers, starts, stops, strict=True):
            has = min(max(stop, 0), n) - min(max(start, 0), n)
            if has:
                within.append(number)
                begins.append(start)
                lengths.append(stop - start)
                n_samples.append(has)
        over, under = exact(share).as_integer_ratio()
        least = {length: max(-(-over * length // under), 1) for length in set(lengths)}  # at most two lengths
        whole = np.array([begins, lengths, [least[length] for length in lengths]], np.int64)
        return Windows(starts[0], stops[-1], within, whole[0], whole[1], n_samples, whole[2])

    def bounds(self, numbers: Iterable[int], fs: Fraction) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The first sample of each window, and the first one behind it, by their numbers from the first sample on."""
        starts, stops = self._bounds(numbers, fs)
        return np.array(starts, np.int64), np.array(stops, np.int64)

    def _bounds(self, numbers: Iterable[int], fs: Fraction) -> tuple[list[int], list[int]]:
        step, at, length, rate = (each.as_integer_ratio() for each in (self.step, self.at, self.length, fs))
        # In steps of a time that all of these are multiples of.
        under = step[1] * at[1] * length[1] * rate[1]
        every = step[0] * at[1] * length[1] * rate[0]
        begin = at[0] * step[1] * length[1] * rate[0]
        long = length[0] * step[1] * at[1] * rate[0]
        return _rounded_up(every, -begin, under, numbers), _rounded_up(every, long - begin, under, numbers)

    def complete(self, n: int, fs: Fraction) -> int:
        """The number of the first window that reaches beyond so many samples."""
        return (n / fs + self.at - self.length) // self.step + 1

    def shortest(self, fs: Fraction) -> int:
        """Samples that each window has at least."""
        (length, under), (rate, under_rate) = self.length.as_integer_ratio(), fs.as_integer_ratio()
        return length * rate // (under * under_rate)

    def seconds(self, number: int) -> tuple[int, int]:
        """Seconds from the record's beginning to that of a window, as a fraction."""
        (step, under), (record, under_record) = self.step.as_integer_ratio(), self.record.as_integer_ratio()
        return number * step * under_record - record * under, under * under_record


def _rounded_up(a: int, b: int, under: int, numbers: Iterable[int]) -> list[int]:
    """The whole numbers from `(number * a + b) / under` on."""
    values = [-((-(number * a + b)) // under) for number in numbers]
    if values and -_FAR <= min(values) <= max(values) <= _FAR:
        return values
    return [min(max(value, -_FAR), _FAR) for value in values]
