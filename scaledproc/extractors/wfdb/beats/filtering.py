"""The first stage of both detectors: a band-pass filter, slopes, and their sum over a moving window, with its peaks.

All filters are moving sums of whole numbers: exact, the same in every order and on every processor, and each costs the
same at any length. So numpy, block by block, and the compiled way (`compiled.py`) give the same values.

The filters are those of Hamilton's open-source ECG detector (P. Hamilton, "Open source ECG analysis", Computers in
Cardiology 2002, 29:101-104, after P. S. Hamilton and W. J. Tompkins, IEEE Trans Biomed Eng 1986, 33:1157-1165): a
low-pass of two moving averages, a high-pass that takes a longer moving average off, the difference over 10 ms,
rectified, and a moving average. For pulses the rising slopes alone are summed, the slope sum function of W. Zong,
T. Heldt, G. B. Moody and R. G. Mark, "An open-source algorithm to detect onset of arterial blood pressure pulses",
Computers in Cardiology 2003, 30:259-262.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from scaledproc.extractors.wfdb.beats import compiled

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK = 2**15
"""Values that are filtered at once: what numpy makes meanwhile stays in the processor's cache."""
BINS_S = 0.04
"""Seconds of each bin that the summed slopes are kept in, to tell the noise between beats."""


class Filter(NamedTuple):
    """Lengths in values."""

    low: int
    """Of each of the two moving averages of the low-pass."""
    high: int
    """Of the moving average that the high-pass takes off, odd; 0 for none."""
    step: int
    """Over which differences are taken."""
    window: int
    """Over which they are summed."""
    rising: bool
    """Only rising slopes count; else all do, whatever their sign."""

    @property
    def half(self) -> int:
        """How far the band-pass looks to both sides."""
        return self.low - 1 + self.high // 2

    @property
    def before(self) -> int:
        """How far back a sum of slopes looks."""
        return self.half + self.window // 2

    @property
    def after(self) -> int:
        """How far ahead it looks."""
        return self.half + self.step + self.window - 1 - self.window // 2


class Peaks(NamedTuple):
    """Where the summed slopes are highest within the refractory period to both sides."""

    places: NDArray[np.int64]
    heights: NDArray[np.int64]
    slopes: NDArray[np.int64]
    """The steepest slope of each."""
    bins: NDArray[np.int64]
    """The sums of `bin_size` summed slopes each, over all of the signal; what is left at the end is not in one.

    There are none where that is 0.
    """
    bin_size: int


def qrs_filter(fs: float) -> Filter:
    """Which filters make QRS complexes stand out at so many values a second.

    The band is a little lower than Hamilton's (28 and 150 ms for 24 and 125 ms), as wide complexes (ventricular beats,
    bundle branch block) are then less often lost, and noise of muscles is less; the window of 100 ms is that of a wide
    complex.
    """
    return Filter(_length(0.028, fs), _length(0.150, fs) // 2 * 2 + 1, _length(0.010, fs), _length(0.100, fs), False)


def pulse_filter(fs: float) -> Filter:
    """Which filters make upstrokes of pulses stand out: those of Zong et al., a window of 128 ms."""
    return Filter(_length(0.028, fs), 0, _length(0.010, fs), _length(0.128, fs), True)


def _length(seconds: float, fs: float) -> int:
    return max(int(seconds * fs + 0.5), 1)


def without_spikes(values: NDArray[np.int32], fs: float) -> NDArray[np.int32]:
    """The median of each value and those 6 ms before and behind it: what is shorter than that is gone.

    So the pulses of a pacemaker are no beats, which in bedside monitors' leads can be higher than the complexes.

    Parameters
    ----------
    values
        Shape (n,).
    fs
        Values a second.
    """
    apart = _length(0.006, fs)
    if (functions := compiled.functions) is not None:
        return functions.without_spikes(values, apart)
    out = values.copy()
    for start in range(apart, len(values) - apart, BLOCK):
        stop = min(start + BLOCK, len(values) - apart)
        before, here, behind = (values[start + by : stop + by] for by in (-apart, 0, apart))
        out[start:stop] = np.maximum(np.minimum(before, here), np.minimum(np.maximum(before, here), behind))
    return out


def find_peaks(values: NDArray[np.int32], lengths: Filter, reach: int, bin_size: int) -> Peaks:
    """Peaks of the summed slopes.

    Parameters
    ----------
    values
        Of a continuous signal, shape (n,).
    lengths
        Of the filters.
    reach
        A peak has no higher one, nor an equal one before it, less than so many values away.
    bin_size
        Values of a bin; 0 where no bins are needed.
    """
    if (functions := compiled.functions) is not None:
        places, heights, steepest, bins_found = functions.peaks(values, lengths, reach, bin_size)
        return Peaks(places, heights, steepest, bins_found, bin_size)
    n = len(values)
    block = max(BLOCK // bin_size, 1) * bin_size if bin_size else BLOCK
    found: list[tuple[NDArray[np.int64], ...]] = []
    bins = []
    for start in range(0, n, block):
        stop = min(start + block, n)
        first, last = max(start - reach - 1, 0), min(stop + reach + 1, n)
        slopes, sums = filtered(_reaching(values, first - lengths.before, last + lengths.after), lengths)
        places = _suppressed(*_maxima(sums), reach)
        places = places[(places >= start - first) & (places < stop - first)]
        found.append((places + first, sums[places], _steepest(slopes, places, lengths.window)))
        bins.append(_binned(sums[start - first : stop - first], bin_size))
    if not found:
        nothing = np.empty(0, np.int64)
        return Peaks(nothing, nothing, nothing, nothing, bin_size)
    places, heights, steepest = (np.concatenate(each) for each in zip(*found, strict=True))
    return Peaks(places, heights, steepest, np.concatenate(bins), bin_size)


def _binned(sums: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    if not size:
        return sums[:0]
    rows = sums[: len(sums) // size * size].reshape(-1, size)
    total = rows[:, 0].copy()
    for column in range(1, size):  # numpy's own sum of so short rows takes four times as long
        total += rows[:, column]
    return total


def _reaching(values: NDArray[np.int32], start: int, stop: int) -> NDArray[np.int64]:
    """Values from `start` to `stop`, where those beyond the ends are as the ends are."""
    n = len(values)
    inside = values[max(start, 0) : min(stop, n)].astype(np.int64)
    if start >= 0 and stop <= n:
        return inside
    return np.pad(inside, (max(-start, 0), max(stop - n, 0)), mode="edge")


def filtered(values: NDArray[np.int64], lengths: Filter) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rectified slopes, and their sums over the window, of values that reach `before` and `after` on both sides.

    Returns
    -------
    The window of sum `i` begins at slope `i`.
    """
    band = band_passed(values, lengths)
    slopes = band[lengths.step :] - band[: -lengths.step]
    if lengths.rising:
        np.maximum(slopes, 0, out=slopes)
    else:
        np.abs(slopes, out=slopes)
    return slopes, moving_sum(slopes, lengths.window)


def band_passed(values: NDArray[np.int64], lengths: Filter) -> NDArray[np.int64]:
    """The band-pass alone, along the last axis, which gets shorter by `half` at both ends."""
    low = moving_sum(moving_sum(values, lengths.low), lengths.low)
    if not lengths.high:
        return low
    margin = lengths.high // 2
    inner = low[..., margin : low.shape[-1] - margin] * lengths.high
    inner -= moving_sum(low, lengths.high)
    return inner


def moving_sum(values: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Sums of so many values each, along the last axis, which gets shorter."""
    if length == 1:
        return values
    sums = np.cumsum(values, axis=-1)
    out = sums[..., length - 1 :].copy()
    out[..., 1:] -= sums[..., :-length]
    return out


def _maxima(sums: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places that are higher than the one before and as high as the one behind, and how high."""
    rises = sums[1:] > sums[:-1]
    places = np.flatnonzero(rises[:-1] & ~rises[1:]) + 1
    return places, sums[places]


def _suppressed(places: NDArray[np.int64], heights: NDArray[np.int64], reach: int) -> NDArray[np.int64]:
    """Places without a higher one near."""
    return places[not_overshadowed(places, heights, reach)]


def not_overshadowed(places: NDArray[Any], heights: NDArray[np.int64], reach: float) -> NDArray[np.bool_]:
    """Which have no higher one, nor an equal one before, less than `reach` away."""
    kept = np.ones(len(places), bool)
    for by in range(1, len(places)):
        near = places[by:] - places[:-by] < reach
        if not near.any():
            break
        lower = heights[by:] <= heights[:-by]
        kept[by:] &= ~(near & lower)
        kept[:-by] &= ~near | lower
    return kept


def _steepest(slopes: NDArray[np.int64], places: NDArray[np.int64], window: int) -> NDArray[np.int64]:
    if not len(places):
        return np.empty(0, np.int64)
    inside = np.lib.stride_tricks.sliding_window_view(slopes, window)
    steepest: NDArray[np.int64] = inside[places].max(axis=1)
    return steepest
