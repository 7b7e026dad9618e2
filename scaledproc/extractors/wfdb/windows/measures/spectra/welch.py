"""Power spectra of windows by Welch's method (Welch 1967, doi:10.1109/TAU.1967.1161901), many windows at once.

A window is cut into segments of 20 s (`segment_length`) that overlap by half, or is one segment; each has its mean
subtracted and is weighted by a periodic Hann window. So `scipy.signal.welch` computes it, with its defaults and that
length of a segment. All is done in double precision, in an order that does not depend on the processor, and rounded to
single precision at the end.
"""

from __future__ import annotations

import math
import threading
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from scaledproc.extractors.wfdb.windows.measures.spectra.transform_code import LANES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from scaledproc.extractors.wfdb.windows.measures.spectra.steps import Steps
    from scaledproc.extractors.wfdb.windows.measures.spectra.transform import TransformPlan

compiled: Steps | None = None
"""The compiled steps, where they are in use."""
SEGMENT = 20.0
"""Seconds of a segment: so frequencies are 0.05 Hz apart."""
LONGEST_GAP = 0.5
"""Seconds; a gap up to which samples are interpolated linearly, and at a window's edge repeated."""
MOST_MISSING = 0.1
"""Share of missing samples up to which a window has a spectrum."""
FEWEST = 8
"""Samples of a window, below which it has no spectrum."""
EDGE = 0.95
_TOGETHER = 2**16
"""Samples of the segments that are transformed at once: what is made of them stays in the cache."""
_TOLD_TOGETHER = 2**15
"""Frequencies of the windows that are looked at at once."""
_FEW = 3
"""Segments, below which numpy transforms them in less time than compiled code does as many as it can at once."""
_TRIED = 3
"""Windows by which compiled code is compared with numpy, for each length of a segment."""
_TOLERANCE = 1.01  # as no segment is exactly so long
_HAS_OUT = np.lib.NumpyVersion(np.__version__) >= "2.0.0"
_LOG_2 = math.log(2)
_BITS_OF_SQRT_HALF = int(np.float64(math.sqrt(0.5)).view(np.int64))
_SMALLEST, _LARGEST = 1e-37, 1e38
"""Of what single precision can hold, other than 0."""


class Band(NamedTuple):
    """Frequencies from `low` on and below `high`, in Hz."""

    name: str
    low: float
    high: float


def n_columns(bands: Sequence[Band]) -> int:
    """How many numbers a spectrum tells: see `Welch.spectra`."""
    return len(bands) + 4


class Welch:
    """Spectra of windows of a length.

    Parameters
    ----------
    fs
        Samples per second.
    length
        Samples of a window, `FEWEST` or more.
    bands
        Whose power is told.
    """

    def __init__(self, fs: float, length: int, bands: Sequence[Band]) -> None:
        n = segment_length(fs, length)
        self._n, self._hop, self._length = n, n - n // 2, length
        self._n_segments = (length - n // 2) // self._hop
        self._step = fs / n
        # The weights are rounded, as not every processor's library has the same last digits of a cosine.
        weights = [round((0.5 - 0.5 * math.cos(2 * math.pi * i / n)) * 2**32) / 2**32 for i in range(n)]
        self._weights = np.array(weights)
        scale = 1 / (fs * math.fsum(weight * weight for weight in weights)) / self._n_segments
        self._n_bins = n // 2 + 1
        self._frequencies = (np.arange(1, self._n_bins) * self._step).astype(np.float32)
        self._scale = np.full(self._n_bins, 2 * scale * self._step)
        if n % 2 == 0:  # the last one stands for itself alone
            self._scale[-1] = scale * self._step
        bins = [self._bins(band, fs) for band in bands]
        self._bands = [each for each in bins if each is not None]
        self._n_columns = n_columns(bands)
        self._columns = [
            0,
            *(place for place, each in enumerate(bins, 1) if each is not None),
        ]  # of powers that are told

    @cached_property
    def _room(self) -> tuple[NDArray[np.float64], NDArray[np.complex128]]:
        """Room for the segments of windows that are transformed at once, and for what comes of them."""
        shape = (max(_TOGETHER // (self._n_segments * self._n), 1), self._n_segments)
        return np.empty((*shape, self._n)), np.empty((*shape, self._n_bins), np.complex128)

    @cached_property
    def _plan(self) -> TransformPlan | None:
        """How compiled code transforms segments; None where it does not give what numpy does."""
        from scaledproc.extractors.wfdb.windows.measures.spectra.transform import plan_of

        plan = plan_of(self._n)
        if plan is None:
            return None
        at = np.arange(_TRIED + self._length)
        samples = (at * at % 65_521 - 32_000).astype(np.int32)
        starts = np.arange(_TRIED)
        ours, theirs = np.empty((2, _TRIED, self._n_bins - 1))
        self._powers_by_plan(plan, samples, starts, -(2**31), ours)
        self._powers_by_numpy(samples, starts, -(2**31), theirs)
        del self._room  # which takes much for a long window
        return plan if ours.tobytes() == theirs.tobytes() else None

    def _bins(self, band: Band, fs: float) -> tuple[int, int] | None:
        """The frequencies of a band; None where they are not all known.

        A frequency stands for those nearer to it than to others; the lowest is half a step, as the mean is subtracted.
        """
        if band.high > fs / 2 or band.low * _TOLERANCE < self._step / 2:
            return None
        first, last = (math.ceil(round(edge / self._step, 6)) for edge in (band.low, band.high))
        first = max(first, 1)
        return (first, last) if first < last else None

    def spectra(
        self, samples: NDArray[np.int32], starts: NDArray[np.int64], missing: int, gain: float
    ) -> NDArray[np.float32]:
        """What the spectra of windows tell.

        Parameters
        ----------
        samples, starts, missing
            As `interpolated` takes them.
        gain
            Digital units of a physical one.

        Returns
        -------
        Shape (windows, bands + 4), NaN where there is nothing to tell: the power at all frequencies but 0, in squared
        units; that of each band; the frequency of the largest density, in Hz; Shannon's entropy of the densities'
        shares, of that of equal ones; the frequency below which 95 % of the power are, in Hz.
        """
        found = np.full((len(starts), self._n_columns), np.nan, np.float32)
        together = max(_TOLD_TOGETHER // self._n_bins // LANES * LANES, LANES)
        plan = None if compiled is None else self._plan
        for first in range(0, len(starts), together):
            some = starts[first : first + together]
            power = np.empty((len(some), self._n_bins - 1))
            if plan is not None and len(some) * self._n_segments >= _FEW:
                self._powers_by_plan(plan, samples, some, missing, power)
            else:
                self._powers_by_numpy(samples, some, missing, power)
            self._tell(power, gain, found[first : first + together])
        return found

    def _powers_by_plan(
        self,
        plan: TransformPlan,
        samples: NDArray[np.int32],
        starts: NDArray[np.int64],
        missing: int,
        power: NDArray[np.float64],
    ) -> None:
        """Fill in the power at each frequency but 0, in squared digital units, shape (windows, frequencies)."""
        assert compiled is not None, "plans are for compiled code"
        compiled.powers(samples, starts, self._length, missing, self._hop, self._weights, plan, self._scale, power)

    def _powers_by_numpy(
        self, samples: NDArray[np.int32], starts: NDArray[np.int64], missing: int, power: NDArray[np.float64]
    ) -> None:
        """The same to the bit."""
        together = len(self._room[0])
        for first in range(0, len(starts), together):
            some = slice(first, first + together)
            self._powers_of_few(samples, starts[some], missing, power[some])

    def _powers_of_few(
        self, samples: NDArray[np.int32], starts: NDArray[np.int64], missing: int, power: NDArray[np.float64]
    ) -> None:
        segments, transformed = self._room[0][: len(starts)], self._room[1][: len(starts)]
        self._cut(interpolated(samples, starts, self._length, missing), segments)
        if _HAS_OUT:
            np.fft.rfft(segments, out=transformed)
        else:
            transformed[:] = np.fft.rfft(segments)
        squares = transformed.view(np.float64)  # real and imaginary parts
        squares *= squares
        summed = squares[:, 0]
        for each in range(1, self._n_segments):
            summed += squares[:, each]
        np.add(summed[:, 2::2], summed[:, 3::2], out=power)
        power *= self._scale[1:]

    def _cut(self, windows: NDArray[np.float64], segments: NDArray[np.float64]) -> None:
        """Windows as their segments, without their means, and weighted."""
        n_windows = len(windows)
        row, item = windows.strides
        shape, strides = (n_windows, self._n_segments, self._n), (row, self._hop * item, item)
        parts = as_strided(windows, shape, strides, writeable=False)
        np.subtract(parts, parts.mean(axis=2)[:, :, None], out=segments)
        segments *= self._weights

    def _tell(self, power: NDArray[np.float64], gain: float, found: NDArray[np.float32]) -> None:
        sums, peaks, edges, entropies = self._summed(power)
        has_power = sums[:, 0] > 0
        entropies /= math.log(max(self._n_bins - 1, 2))
        sums /= gain
        sums /= gain
        found[:, self._columns] = _single(sums)
        for column, values in ((-3, self._frequencies[peaks]), (-2, entropies), (-1, self._frequencies[edges])):
            found[has_power, column] = values[has_power]

    def _summed(
        self, power: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """Of each window the power at all frequencies and in the known bands; the places of peak and edge; the entropy.

        The power is written over.
        """
        bands = self._bands
        sums = np.empty((len(power), 1 + len(bands)))
        if compiled is not None:
            places, entropies = np.empty((len(power), 2), np.int64), np.empty(len(power))
            of_bands = np.array(bands, np.int64).reshape(-1, 2) - 1
            compiled.summed(power, of_bands, EDGE, _BITS_OF_SQRT_HALF, _LOG_2, sums, places, entropies)
            return sums, places[:, 0], places[:, 1], entropies
        totals = sums[:, 0] = power.sum(axis=1)
        for place, (first, last) in enumerate(bands, 1):
            sums[:, place] = power[:, first - 1 : last - 1].sum(axis=1)
        below = power.cumsum(axis=1)
        edges = np.array([row.searchsorted(EDGE * row[-1]) for row in below], np.int64)
        power /= np.where(totals > 0, totals, 1.0)[:, None]
        peaks = power.astype(np.float32).argmax(axis=1)  # of those that differ by rounding the lowest
        return sums, peaks, edges, _entropies(power)


def segment_length(fs: float, length: int) -> int:
    """Samples of a segment: of 20 s, or of the window if that is shorter, but no multiple of a prime above 13.

    The fast Fourier transform of a length with large prime factors takes several times as long.
    """
    longest = math.floor(SEGMENT * fs) if SEGMENT * fs < length else length
    return next((n for n in range(longest, FEWEST, -1) if _is_fast(n)), longest)


def _is_fast(n: int) -> bool:
    for prime in (2, 3, 5, 7, 11, 13):
        while n % prime == 0:
            n //= prime
    return n == 1


def welch(fs: float, length: int, bands: tuple[Band, ...]) -> Welch:
    """What makes spectra of windows of a length; made once for the signals that follow each other in a thread."""
    return _welch(fs, length, bands, threading.get_ident())


@lru_cache(maxsize=16)
def _welch(fs: float, length: int, bands: tuple[Band, ...], _thread: int) -> Welch:
    return Welch(fs, length, bands)


def interpolated(
    samples: NDArray[np.int32], starts: NDArray[np.int64], length: int, missing: int
) -> NDArray[np.float64]:
    """Windows of samples, the missing ones on a straight line between their neighbours.

    Before the first valid sample of a window, and after the last one, that one is repeated.

    Parameters
    ----------
    samples
        Digital ones, shape (n,).
    starts
        Where windows begin; what they have beyond the samples is missing. Each has a valid sample.
    length
        Of a window.
    missing
        The value of a missing sample.
    """
    windows = np.empty((len(starts), length))
    for row, start in zip(windows, starts.tolist(), strict=True):
        begin, end = max(start, 0), min(start + length, len(samples))
        row[begin - start : end - start] = samples[begin:end]
        row[: begin - start] = row[end - start :] = missing
    flat = windows.reshape(-1)
    gone = np.flatnonzero(flat == missing)
    if not len(gone):
        return windows
    rows = gone // length
    # Runs of missing samples, which end with their window.
    is_first = np.ones(len(gone), bool)
    is_first[1:] = (gone[1:] != gone[:-1] + 1) | (rows[1:] != rows[:-1])
    firsts = np.flatnonzero(is_first)
    lasts = np.append(firsts[1:], len(gone)) - 1
    lower, upper, of_run = gone[firsts] - 1, gone[lasts] + 1, rows[firsts]
    before = np.where(lower >= of_run * length, lower, upper)
    after = np.where(upper < (of_run + 1) * length, upper, lower)
    low = flat[before]
    slope = flat[after] - low
    slope /= np.maximum(after - before, 1)
    lengths = lasts - firsts + 1
    away = gone - np.repeat(before, lengths)
    flat[gone] = np.repeat(low, lengths) + np.repeat(slope, lengths) * away
    return windows


def _entropies(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums of -p ln p of each row, whose shares p are written over.

    The logarithms are right to 1e-9. They are made by operations that every processor rounds alike, as those of numpy
    are not. With m from sqrt(1/2) to sqrt(2) and s = (m - 1) / (m + 1), ln m = 2 (s + s^3/3 + s^5/5 + …).
    """
    bits: NDArray[np.int64] = shares.view(np.int64)
    exponents: NDArray[np.int64] = (bits - _BITS_OF_SQRT_HALF) >> 52
    m: NDArray[np.float64] = (bits - (exponents << 52)).view(np.float64)
    shares *= _logarithms(m, exponents)
    sums: NDArray[np.float64] = -shares.sum(axis=1)
    return sums


def _logarithms(m: NDArray[np.float64], exponents: NDArray[np.int64]) -> NDArray[np.float64]:
    """The logarithms of `m * 2**exponents`."""
    s = (m - 1) / (m + 1)
    square = s * s
    series = square * (1 / 9)
    for odd in (7, 5, 3):
        series += 1 / odd
        series *= square
    series += 1
    series *= s
    series *= 2
    series += exponents * _LOG_2
    return series


def _single(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """Numbers as single precision has them; NaN where it has none that is as large or as small."""
    size = np.abs(values)
    has = (values == 0) | ((size >= _SMALLEST) & (size <= _LARGEST))
    return np.where(has, values, np.nan).astype(np.float32)
